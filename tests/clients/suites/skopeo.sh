# skopeo: by tag, by digest, one architecture and all, by the generated registries.conf, and the raw bytes.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

name="$PLANE/registry.example.test/lib"
out="$WORK/skopeo"
expect="$WORK/expect"
s=(skopeo --command-timeout 120s)

check 'copy by tag' "${s[@]}" copy --src-tls-verify=false "docker://$name/debian:bookworm" "dir:$out/by-tag"
same 'has the digest of the upstream' "${DEBIAN#sha256:}" "$(sha256_of "$out/by-tag/manifest.json")"
check 'copy by digest' "${s[@]}" copy --preserve-digests --src-tls-verify=false "docker://$name/debian@$DEBIAN" "oci:$out/by-digest:x"
verified_blobs 'has the blobs of the upstream' "$out/by-digest/blobs/sha256" "$expect/debian.blobs"
check 'unpacks' umoci unpack --image "$out/by-digest:x" "$out/bundle"
same_tree 'holds the files of the upstream'\''s' "$expect/debian.tree" "$out/bundle/rootfs"

check 'copy --all of a multi-architecture image' "${s[@]}" copy --all --preserve-digests --src-tls-verify=false "docker://$name/busybox:1" "oci:$out/all:x"
same 'has the digest of the index' "$MULTI" "$(jq -r '.manifests[0].digest' "$out/all/index.json" 2>&1)"
verified_blobs 'has the blobs of every architecture' "$out/all/blobs/sha256" "$expect/multi.blobs"
check 'copy --all by the digest of the index' "${s[@]}" copy --all --preserve-digests --src-tls-verify=false "docker://$name/busybox@$MULTI" "oci:$out/all-by-digest:x"
verified_blobs 'has the same blobs' "$out/all-by-digest/blobs/sha256" "$expect/multi.blobs"
for arch in amd64 arm64; do
  check "copy of $arch out of the index" "${s[@]}" --override-arch "$arch" copy --src-tls-verify=false "docker://$name/busybox:1" "oci:$out/$arch:x"
  verified_blobs "has the blobs of $arch" "$out/$arch/blobs/sha256" "$expect/multi-$arch.blobs"
done

"${s[@]}" inspect --raw --tls-verify=false "docker://$name/busybox:1" >"$out/raw" 2>&1 || true
same_file 'inspect --raw gives the bytes of the upstream' "$expect/multi.json" "$out/raw"
check 'inspect of a digest' "${s[@]}" inspect --tls-verify=false "docker://$name/debian@$DEBIAN"
same 'names the digest' "$DEBIAN" "$(jq -r .Digest <<<"$OUT" 2>&1)"
check 'list-tags' "${s[@]}" list-tags --tls-verify=false "docker://$name/debian"
same 'lists the tags' bookworm "$(jq -r '.Tags | join(",")' <<<"$OUT" 2>&1)"

for form in podman crio; do
  "$LOCKGATE_BIN" client-config "$form" --registry registry.example.test --plane "http://$PLANE" >"$out/$form.conf"
  check "copy by the name of the registry with client-config $form" \
    "${s[@]}" --registries-conf "$out/$form.conf" copy docker://registry.example.test/lib/debian:bookworm "dir:$out/named-$form"
  same 'has the digest of the upstream' "${DEBIAN#sha256:}" "$(sha256_of "$out/named-$form/manifest.json" 2>&1)"
done
refused 'copy of an absent tag' "${s[@]}" copy --src-tls-verify=false "docker://$name/debian:absent" "dir:$out/absent"
contains 'says so' 'manifest unknown' "$OUT"
