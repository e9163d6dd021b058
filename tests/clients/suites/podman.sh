# podman: by the plane's address and by the name of the registry with the generated registries.conf.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

name="$PLANE/registry.example.test/lib"
out="$WORK/podman"
expect="$WORK/expect"
p=(podman --root "$out/root" --runroot "$out/runroot" --tmpdir "$out/tmp" --storage-driver overlay --cgroup-manager cgroupfs --events-backend file)
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$out/policy.json"
pull=("${p[@]}" pull --quiet --signature-policy "$out/policy.json")
clear() { "${p[@]}" image rm --all --force >/dev/null 2>&1 || true; }
# holds TEXT TREE REFERENCE: the mounted image against the upstream's files.
holds() {
  local at
  at=$("${p[@]}" image mount "$3" 2>&1) || true
  same_tree "$1" "$2" "$at"
  "${p[@]}" image umount "$3" >/dev/null 2>&1 || true
}
digests() { "${p[@]}" image inspect --format '{{ join .RepoDigests " " }}' "$1" 2>&1; }

check 'pull by tag' "${pull[@]}" --tls-verify=false "$name/debian:bookworm"
contains 'has the digest of the upstream' "@$DEBIAN" "$(digests "$name/debian:bookworm")"
holds 'holds the files of the upstream'\''s' "$expect/debian.tree" "$name/debian:bookworm"
clear
check 'pull by digest' "${pull[@]}" --tls-verify=false "$name/debian@$DEBIAN"
holds 'holds the same files' "$expect/debian.tree" "$name/debian@$DEBIAN"
clear
check 'pull of a multi-architecture image' "${pull[@]}" --tls-verify=false "$name/busybox:1"
contains 'has the digest of the index' "@$MULTI" "$(digests "$name/busybox:1")"
holds 'holds the files of this architecture' "$expect/multi-amd64.tree" "$name/busybox:1"
clear
check 'pull of another architecture' "${pull[@]}" --tls-verify=false --arch arm64 "$name/busybox@$MULTI"
holds 'holds the files of that architecture' "$expect/multi-arm64.tree" "$name/busybox@$MULTI"
clear

"$LOCKGATE_BIN" client-config podman --registry registry.example.test --plane "http://$PLANE" >"$out/registries.conf"
named=(env "CONTAINERS_REGISTRIES_CONF=$out/registries.conf" "${pull[@]}")
check 'pull by the name of the registry' "${named[@]}" registry.example.test/lib/debian:bookworm
contains 'has the digest of the upstream' "@$DEBIAN" "$(digests registry.example.test/lib/debian:bookworm)"
holds 'holds the files of the upstream'\''s' "$expect/debian.tree" registry.example.test/lib/debian:bookworm
check 'pull by name and digest' "${named[@]}" "registry.example.test/lib/busybox@$MULTI"
holds 'holds the files of this architecture' "$expect/multi-amd64.tree" "registry.example.test/lib/busybox@$MULTI"
"$LOCKGATE_BIN" client-config podman --registry docker.io --plane "http://$PLANE" >"$out/docker.io.conf"
check 'pull of a docker.io image' env "CONTAINERS_REGISTRIES_CONF=$out/docker.io.conf" "${pull[@]}" docker.io/library/busybox:1
contains 'has the digest of the index' "@$MULTI" "$(digests docker.io/library/busybox:1)"
refused 'pull of an absent tag' "${named[@]}" registry.example.test/lib/debian:absent
contains 'says so' 'manifest unknown' "$OUT"
