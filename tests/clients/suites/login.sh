# `lockgate login` once, with every kind of identity; then every client pulls by the credential helper, without a login
# of its own, and gets what that identity may have, nothing else.
#
#   docker, podman, buildah, skopeo, crane, oras, regctl, helm 3, helm 4: by credHelpers in docker's configuration
#   ctr: with what `lockgate token` prints, as a password
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$here/containerd.sh"
source "$here/planes.sh"
source "$here/kinds.sh"

out="$WORK/login"
# Of KINDS, the first three get a refresh token; the others come back with what they showed.
readonly OIDC_CLAIMS='{"iss":"https://oidc.example.test","aud":"lockgate","sub":"repo:corp/app","repository":"corp/app"}'
mkdir -p "$out/resources" "$out/bin" "$out/docker"
export XDG_CONFIG_HOME="$out/config" DOCKER_CONFIG="$out/docker"
export REGISTRY_AUTH_FILE="$out/docker/config.json" REGCTL_CONFIG="$out/regctl.json"
ln -s "$LOCKGATE_BIN" "$out/bin/docker-credential-lockgate"
export PATH="$out/bin:$PATH"

# ---- keys, users, documents ---------------------------------------------------------------------------------------

make_identities
{
  remote first registry.example.test "$FIRST"
  providers 'kind: CI'
  access_of_workloads
  access robot '{ kind: User, name: robot }'
  access oidc '{ kind: CI, repository: corp/app }'
} >"$out/resources/all.yaml"
own_plane "$out"

# ---- logins and pulls ----------------------------------------------------------------------------------------------

login() { # KIND
  case $1 in
    password) secret "$1" | "$LOCKGATE_BIN" login --docker --username alice --password-stdin "$OWN" ;;
    robot | cluster) secret "$1" | "$LOCKGATE_BIN" login --docker --username "$1" --password-stdin "$OWN" ;;
    oidc) LOCKGATE_ID_TOKEN=$(secret oidc) "$LOCKGATE_BIN" login --docker --ci "http://$OWN" ;;
    *) secret "$1" | "$LOCKGATE_BIN" login --docker --token-stdin "$OWN" ;;
  esac
}
# asks_at_terminal PASSWORD: types it in at a terminal of its own; what the terminal showed is printed.
asks_at_terminal() {
  python3 - "$LOCKGATE_BIN" "$OWN" "$1" <<'PYTHON'
import os, pty, sys
program, plane, password = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(program, [program, "login", "--username", "alice", plane])
shown, is_typed = b"", False
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    shown += piece
    if b": " in shown and not is_typed:
        os.write(terminal, password.encode() + b"\n")
        is_typed = True
print(shown.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PYTHON
}
declare -a d=(/usr/bin/docker --host "unix://$out/docker.sock")
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$out/policy.json"
engine=(--root "$out/root" --runroot "$out/runroot" --storage-driver overlay)
podman=(podman "${engine[@]}" --tmpdir "$out/tmp" --cgroup-manager cgroupfs --events-backend file)
pull_with() { # CLIENT REPOSITORY
  local image="$OWN/$2/lib/busybox:1"
  rm -rf "$out/pulled" && mkdir -p "$out/pulled"
  case $1 in
    docker) "${d[@]}" pull --quiet "$image" ;;
    podman) "${podman[@]}" pull --quiet --tls-verify=false --signature-policy "$out/policy.json" "$image" ;;
    buildah) buildah "${engine[@]}" pull --quiet --policy always --tls-verify=false --signature-policy "$out/policy.json" "$image" ;;
    skopeo) skopeo copy --quiet --src-tls-verify=false "docker://$image" "oci:$out/pulled/x:x" ;;
    crane) "$tools/bin/crane" pull --insecure "$image" "$out/pulled/x.tar" ;;
    oras) "$tools/bin/oras" copy --from-plain-http --to-oci-layout "$image" "$out/pulled/x:x" ;;
    regctl) "$tools/bin/regctl" image copy --host "reg=$OWN,tls=disabled" "$image" "ocidir://$out/pulled/x:x" ;;
    helm3 | helm4) "$tools/bin/$1" pull --plain-http "oci://$OWN/$2/charts/shop" --version 1.2.3 --destination "$out/pulled" ;;
  esac
}
readonly CLIENTS=(docker podman buildah skopeo crane oras regctl helm3 helm4)

pulls() { # KIND
  local kind=$1 client other=robot
  [[ $kind != robot ]] || other=oidc
  succeeds "login, $kind" login "$kind"
  contains "$kind: tells who one is" 'logged in at' "$OUT"
  for client in "${CLIENTS[@]}"; do
    succeeds "$client: pull of what $kind may have" pull_with "$client" "$kind.example.test"
    fails "$client: pull of what $kind may not have" pull_with "$client" "$other.example.test"
  done
  check "$kind: logout" "$LOCKGATE_BIN" logout "$OWN"
  for client in "${CLIENTS[@]}"; do
    fails "$client: after the logout" pull_with "$client" "$kind.example.test"
  done
}

# What clients keep by themselves goes into the same place.
clients_log_in() {
  succeeds 'docker login stores by the helper' "${d[@]}" login --username alice --password-stdin "$OWN" <<<'correct horse battery'
  contains 'and the helper has it' '"Secret"' "$("$LOCKGATE_BIN" docker-credential get <<<"$OWN")"
  succeeds 'docker: pull with it' pull_with docker password.example.test
  succeeds 'crane: pull with what docker stored' pull_with crane password.example.test
  check 'docker logout erases it' "${d[@]}" logout "$OWN"
  same 'and the helper has nothing' 'credentials not found in native keychain' "$("$LOCKGATE_BIN" docker-credential get <<<"$OWN" || true)"
  same 'docker keeps no secret itself' null "$(jq -c ".auths[\"$OWN\"].auth" "$out/docker/config.json")"
}

# A terminal does not show what is typed, and is usable afterwards.
terminal() {
  succeeds 'the password is asked for at a terminal' asks_at_terminal 'correct horse battery'
  contains 'and tells who one is' 'User alice' "$OUT"
  if [[ $OUT == *horse* ]]; then fail 'the terminal shows no password' "$OUT"; else ok 'the terminal shows no password'; fi
  fails 'a wrong one is refused' asks_at_terminal 'wrong horse'
  check 'other commands use the login' "$LOCKGATE_BIN" check --plane "http://$OWN" "password.example.test/lib/busybox:1"
}

ctr_pulls() {
  local version
  succeeds 'login for ctr' login password
  mkdir -p "$out/certs.d"
  for version in "${CONTAINERD_VERSIONS[@]}"; do
    containerd_version "$version"
    start_containerd "$out/$version" "$out/certs.d"
    check "$CONTAINERD_NAME, ctr: pull with an access token" "${CTR[@]}" images pull --plain-http --user "token:$("$LOCKGATE_BIN" token "$OWN")" "$OWN/password.example.test/lib/busybox:1"
    stop "$CONTAINERD_PID"
  done
}

printf '{ "auths": {}, "credHelpers": { "other.example.test": "other" }, "HttpHeaders": { "X-Kept": "yes" } }\n' >"$out/docker/config.json"
printf '{ "insecure-registries": ["127.0.0.0/8"], "max-download-attempts": 1 }\n' >"$out/daemon.json"
daemon docker-login dockerd --config-file "$out/daemon.json" --host "unix://$out/docker.sock" --data-root "$out/docker-data" --exec-root "$out/exec" \
  --pidfile "$out/docker.pid" --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false
ENGINE_PID=$DAEMON_PID
wait_for 'docker engine' 60 "${d[@]}" version
for kind in "${KINDS[@]}"; do pulls "$kind"; done
same "docker's other settings are kept" 'other yes lockgate' "$(jq -r ".credHelpers[\"other.example.test\"], .HttpHeaders[\"X-Kept\"], .credHelpers[\"$OWN\"]" "$out/docker/config.json" | paste -sd ' ')"
same 'logins are their owner'"'"'s alone' 600 "$(stat -c %a "$out/config/lockgate/logins.json")"
clients_log_in
terminal
stop "$ENGINE_PID"
ctr_pulls
stop "$OWN_PID"
