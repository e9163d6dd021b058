# regctl: copies with everything an index names, HEAD and raw bodies.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

name="$PLANE/registry.example.test/lib"
out="$WORK/regctl"
expect="$WORK/expect"
export REGCTL_CONFIG="$out/config.json"
regctl="$tools/bin/regctl"

check 'plain HTTP is set' "$regctl" registry set --skip-check --tls disabled "$PLANE"
check 'manifest head' "$regctl" manifest head "$name/debian:bookworm"
same 'gives the digest of the upstream' "$DEBIAN" "$OUT"
"$regctl" manifest get --format raw-body "$name/busybox:1" >"$out/manifest" 2>&1 || true
same_file 'manifest get gives the bytes of the upstream' "$expect/multi.json" "$out/manifest"
check 'image copy by tag' "$regctl" image copy "$name/busybox:1" "ocidir://$out/by-tag:x"
verified_blobs 'has the blobs of every architecture' "$out/by-tag/blobs/sha256" "$expect/multi.blobs"
check 'image copy by digest' "$regctl" image copy "$name/debian@$DEBIAN" "ocidir://$out/by-digest:x"
verified_blobs 'has the blobs of the upstream' "$out/by-digest/blobs/sha256" "$expect/debian.blobs"
check 'image digest of one architecture' "$regctl" image digest --platform linux/arm64 "$name/busybox:1"
same 'is that of the upstream' "$MULTI_ARM64" "$OUT"
layer=$(jq -r '.layers[0].digest' "$expect/debian.json")
"$regctl" blob get "$name/debian" "$layer" >"$out/layer" 2>"$out/layer.err" || true
same 'blob get gives the blob' "${layer#sha256:}" "$(sha256_of "$out/layer")"
check 'blob head' "$regctl" blob head "$name/debian" "$layer"
check 'tag ls' "$regctl" tag ls "$name/debian"
same 'lists the tags' bookworm "$OUT"
refused 'manifest head of an absent tag' "$regctl" manifest head "$name/debian:absent"
