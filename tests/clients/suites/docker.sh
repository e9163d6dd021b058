# docker engine: started by hand with everything it owns below the work directory.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

name="$PLANE/registry.example.test/lib"
out="$WORK/docker"
expect="$WORK/expect"
# Not the first one in PATH: that may be another client than the package's.
d=(/usr/bin/docker --host "unix://$out/docker.sock")

# start_engine SETTINGS: with an empty store each time.
start_engine() {
  rm -rf --one-file-system "$out/data" "$out/exec"
  daemon docker "${@:2}" dockerd --config-file "$1" --host "unix://$out/docker.sock" --data-root "$out/data" --exec-root "$out/exec" \
    --pidfile "$out/docker.pid" --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false
  ENGINE_PID=$DAEMON_PID
  wait_for 'docker engine' 60 "${d[@]}" version || { tail -n 20 "$WORK/log/docker.log"; return 1; }
}
digests() { "${d[@]}" image inspect --format '{{ join .RepoDigests " " }}' "$1" 2>&1; }
# holds TEXT TREE REFERENCE [OPTION...]: the exported root file system against the upstream's files.
holds() {
  local id
  id=$("${d[@]}" create --network none "${@:4}" "$3" /bin/true 2>/dev/null) || true
  same_tree_of_tar "$1" "$2" "${d[@]}" export "$id"
  "${d[@]}" rm "$id" >/dev/null 2>&1 || true
}
clear() { "${d[@]}" image prune --all --force >/dev/null 2>&1 || true; }

printf '{ "insecure-registries": ["127.0.0.0/8"], "max-download-attempts": 1 }\n' >"$out/daemon.json"
start_engine "$out/daemon.json"
check 'pull by tag' "${d[@]}" pull --quiet "$name/debian:bookworm"
contains 'has the digest of the upstream' "@$DEBIAN" "$(digests "$name/debian:bookworm")"
holds 'holds the files of the upstream'\''s' "$expect/debian.tree" "$name/debian:bookworm"
clear
check 'pull by digest' "${d[@]}" pull --quiet "$name/debian@$DEBIAN"
holds 'holds the same files' "$expect/debian.tree" "$name/debian@$DEBIAN"
clear
check 'pull of a multi-architecture image' "${d[@]}" pull --quiet "$name/busybox:1"
contains 'has the digest of the index' "@$MULTI" "$(digests "$name/busybox:1")"
holds 'holds the files of this architecture' "$expect/multi-amd64.tree" "$name/busybox:1"
clear
check 'pull of another architecture' "${d[@]}" pull --quiet --platform linux/arm64 "$name/busybox@$MULTI"
holds 'holds the files of that architecture' "$expect/multi-arm64.tree" "$name/busybox@$MULTI" --platform linux/arm64
clear
refused 'pull of an absent tag' "${d[@]}" pull "$name/debian:absent"
contains 'says so' 'manifest unknown' "$OUT"
stop "$ENGINE_PID"

# docker.io through the generated settings. The engine accepts a mirror only without a path, so the plane is told by its
# host name; that name is known to this engine alone, by a hosts file in a mount namespace of its own.
host=docker.io.plane.test
port=${PLANE##*:}
printf '127.0.0.1 localhost %s\n' "$host" >"$out/hosts"
sed "s/hosts: \[docker.io\]/hosts: [docker.io, $host]/" "$WORK/resources/upstreams.yaml" >"$out/upstreams.yaml"
mv "$out/upstreams.yaml" "$WORK/resources/upstreams.yaml"
wait_for 'plane that knows the new host name' 30 \
  curl -fsS -m 2 -H "Host: $host" "http://$PLANE/v2/library/busybox/manifests/1" || fail 'a changed resource applies at once'
"$LOCKGATE_BIN" client-config docker --registry docker.io --plane "http://$host:$port" >"$out/mirror.json"
# Comments are for the reader: the engine's settings are JSON, which has none.
sed -i '/^[[:space:]]*\(#\|\/\/\)/d' "$out/mirror.json"
check 'client-config docker prints settings' jq -e '."registry-mirrors" | length > 0' "$out/mirror.json"
start_engine "$out/mirror.json" unshare --mount --propagation private sh -c 'mount --bind "$0" /etc/hosts && exec "$@"' "$out/hosts"
check 'pull of a docker.io image through the mirror' "${d[@]}" pull --quiet busybox:1
contains 'has the digest of the index' "@$MULTI" "$(digests busybox:1)"
stop "$ENGINE_PID"
