# containerd, three versions: `ctr` and the call the kubelet makes, with the generated hosts.toml.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$here/containerd.sh"

out="$WORK/containerd"
expect="$WORK/expect"
certs="$out/certs.d"
certs_for "$certs" registry.example.test second.example.test
check 'the generated hosts.toml names no host but the plane' \
  bash -c "grep -oE 'https?://[^\"/]+' '$certs/registry.example.test/hosts.toml' | sort -u | grep -qx 'http://$PLANE'
           test \$(grep -v '^ *#' '$certs/registry.example.test/hosts.toml' | grep -oE 'https?://[^\"/]+' | sort -u | wc -l) = 1"

# holds TEXT TREE REFERENCE [OPTION...]: the mounted image against the upstream's files.
holds() {
  mkdir -p "$out/mount"
  timeout 60 "${CTR[@]}" images mount "${@:4}" "$3" "$out/mount" >/dev/null 2>&1 || true
  same_tree "$1" "$2" "$out/mount"
  timeout 60 "${CTR[@]}" images unmount --rm "$out/mount" >/dev/null 2>&1 || umount -l "$out/mount" 2>/dev/null || true
}
# digest_of NAMESPACE REFERENCE: what the store of containerd has under the name.
digest_of() { "${CTR[@]}" --namespace "$1" images ls "name==$2" 2>/dev/null | awk -v name="$2" '$1 == name { print $3 }'; }
# stored NAMESPACE: digests of all content, which containerd hashes itself while it writes.
stored() { "${CTR[@]}" --namespace "$1" content ls --quiet 2>/dev/null | sed 's/sha256://' | LC_ALL=C sort; }

by_ctr() {
  local n=$CONTAINERD_NAME pull=("${CTR[@]}" images pull --hosts-dir "$certs") debian=registry.example.test/lib/debian busybox=second.example.test/lib/busybox
  check "$n: ctr pull by tag" "${pull[@]}" "$debian:bookworm"
  same "$n: has the digest of the upstream" "$DEBIAN" "$(digest_of default "$debian:bookworm")"
  same "$n: has the blobs of the upstream" "$(cat "$expect/debian.blobs")" "$(stored default)"
  holds "$n: holds the files of the upstream's" "$expect/debian.tree" "$debian:bookworm"
  "${CTR[@]}" images rm --sync "$debian:bookworm" >/dev/null 2>&1 || true
  check "$n: ctr pull by digest" "${pull[@]}" "$debian@$DEBIAN"
  holds "$n: holds the same files" "$expect/debian.tree" "$debian@$DEBIAN"
  check "$n: ctr pull of another architecture" "${pull[@]}" --platform linux/arm64 "$busybox:1"
  same "$n: has the digest of the index" "$MULTI" "$(digest_of default "$busybox:1")"
  holds "$n: holds the files of that architecture" "$expect/multi-arm64.tree" "$busybox:1" --platform linux/arm64
  check "$n: ctr pull of an index by digest" "${pull[@]}" "$busybox@$MULTI"
  holds "$n: holds the files of this architecture" "$expect/multi-amd64.tree" "$busybox@$MULTI"
  check "$n: ctr pull of all architectures" "${pull[@]}" --all-platforms "$busybox:1"
  same "$n: has the blobs of every architecture" "$(LC_ALL=C sort -u "$expect/debian.blobs" "$expect/multi.blobs")" "$(stored default)"
  refused "$n: ctr pull of an absent tag" "${pull[@]}" "$debian:absent"
  contains "$n: says so" 'not found' "$OUT"
}

by_cri() {
  local n=$CONTAINERD_NAME debian=registry.example.test/lib/debian busybox=second.example.test/lib/busybox
  check "$n: CRI PullImage by tag" "${CRI[@]}" "$debian:bookworm"
  same "$n: has the digest of the upstream" "$DEBIAN" "$(digest_of k8s.io "$debian:bookworm")"
  same "$n: has the blobs of the upstream" "$(cat "$expect/debian.blobs")" "$(stored k8s.io)"
  check "$n: CRI PullImage by digest" "${CRI[@]}" "$debian@$DEBIAN"
  check "$n: CRI PullImage of a multi-architecture image" "${CRI[@]}" "$busybox:1"
  same "$n: has the digest of the index" "$MULTI" "$(digest_of k8s.io "$busybox:1")"
  check "$n: CRI PullImage of a multi-architecture image by digest" "${CRI[@]}" "$busybox@$MULTI"
  refused "$n: CRI PullImage of an absent tag" "${CRI[@]}" "$debian:absent"
  contains "$n: tells the kubelet so" 'code = NOT_FOUND' "$OUT"
}

for version in "${CONTAINERD_VERSIONS[@]}"; do
  containerd_version "$version"
  start_containerd "$out/$version" "$certs"
  by_ctr
  by_cri
  stop "$CONTAINERD_PID"
done
