# With the plane stopped, a client set up by `client-config` must not fall back to the real registry: that would be a
# silent way around every rule of the plane. The real registry is a real one here, reachable by its name over TLS with a
# certificate the clients trust, and the same clients without our files do pull from it: the trap is shown to be open
# before it is shown to stay empty.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$here/containerd.sh"

out="$WORK/stopped"
# An address of the loopback network of its own, so that the ports of a registry (443, 80) are free.
readonly REAL=127.0.0.77
image=registry.example.test/lib/debian:bookworm

make_certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=registry.example.test \
    -addext subjectAltName=DNS:registry.example.test -keyout "$out/key.pem" -out "$out/cert.pem" 2>/dev/null
}
real_requests() { requests "$WORK/log/real.log" "$WORK/log/real-plain.log" 2>/dev/null | wc -l; }
# alone COMMAND...: where the name of the registry leads to the real one and its certificate is trusted.
alone=(unshare --mount --propagation private env "SSL_CERT_FILE=$out/cert.pem" sh -c 'mount --bind "$0" /etc/hosts && exec "$@"' "$out/hosts")

make_certificate
printf '127.0.0.1 localhost\n%s registry.example.test\n' "$REAL" >"$out/hosts"
start_registry real "$tools/bin/distribution" "$REAL:443" "$WORK/first" "$out/cert.pem" "$out/key.pem"
start_registry real-plain "$tools/bin/distribution" "$REAL:80" "$WORK/first"
wait_for 'real registry' 20 "${alone[@]}" curl -fsS -m 2 --cacert "$out/cert.pem" -o /dev/null https://registry.example.test/v2/
certs_for "$out/certs.d" registry.example.test
mkdir -p "$out/no-certs"
"$LOCKGATE_BIN" client-config podman --registry registry.example.test --plane "http://$PLANE" >"$out/registries.conf"
printf 'unqualified-search-registries = []\n' >"$out/no-registries.conf"
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$out/policy.json"

stop "$PLANE_PID"
if answers "http://$PLANE/v2/" 2>/dev/null; then fail 'the plane is stopped'; else ok 'the plane is stopped'; fi
wait_for 'exit status' 5 test -s "$WORK/plane.exit" || true
same 'on SIGTERM it ended by itself, with status' 0 "$(cat "$WORK/plane.exit" 2>&1)"

# trap_is_open TEXT COMMAND...: without our file the client does reach the real registry.
trap_is_open() {
  local before
  before=$(real_requests)
  check "$1" "${@:2}"
  same "$1: the real registry saw it" yes "$([[ $(real_requests) -gt $before ]] && echo yes)"
}
# stays_away TEXT COMMAND...: with our file the pull fails and the real registry hears nothing.
stays_away() {
  local before
  before=$(real_requests)
  refused "$1" "${@:2}"
  contains "$1: it tried the plane" "$PLANE" "$OUT"
  same "$1: requests the real registry saw" 0 "$(($(real_requests) - before))"
}

for version in "${CONTAINERD_VERSIONS[@]}"; do
  containerd_version "$version"
  start_containerd "$out/open-$version" "$out/no-certs" "${alone[@]}"
  trap_is_open "$CONTAINERD_NAME, no hosts.toml: CRI pull" "${CRI[@]}" "$image"
  stop "$CONTAINERD_PID"
  start_containerd "$out/closed-$version" "$out/certs.d" "${alone[@]}"
  stays_away "$CONTAINERD_NAME, our hosts.toml, plane down: CRI pull" "${CRI[@]}" "$image"
  stays_away "$CONTAINERD_NAME, our hosts.toml, plane down: CRI pull by digest" "${CRI[@]}" "registry.example.test/lib/debian@$DEBIAN"
  stays_away "$CONTAINERD_NAME, our hosts.toml, plane down: ctr pull" "${alone[@]}" "${CTR[@]}" images pull --hosts-dir "$out/certs.d" "$image"
  stop "$CONTAINERD_PID"
done

for client in podman skopeo; do
  case $client in
    podman) pull=(podman --root "$out/root" --runroot "$out/runroot" --storage-driver overlay --cgroup-manager cgroupfs --events-backend file
      pull --quiet --signature-policy "$out/policy.json" "$image") ;;
    skopeo) pull=(skopeo --insecure-policy --registries-conf "$out/registries.conf" copy "docker://$image" "dir:$out/copy") ;;
  esac
  trap_is_open "$client, no registries.conf of ours: pull" "${alone[@]}" env "CONTAINERS_REGISTRIES_CONF=$out/no-registries.conf" "${pull[@]/#$out\/registries.conf/$out/no-registries.conf}"
  [[ $client != podman ]] || podman --root "$out/root" --runroot "$out/runroot" --storage-driver overlay image rm --all --force >/dev/null 2>&1
  stays_away "$client, our registries.conf, plane down: pull" "${alone[@]}" env "CONTAINERS_REGISTRIES_CONF=$out/registries.conf" "${pull[@]}"
done
