# Every client logs in with every kind of identity that it can carry, and gets what that identity may have, nothing else.
#
#            password robot oidc kubernetes spiffe cluster | certificate
#   docker, podman, skopeo, crane, oras, helm 3, helm 4, ctr (three versions): all six, as a password
#   curl: certificates and X.509-SVIDs over TLS as well
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$here/containerd.sh"
source "$here/planes.sh"
source "$here/kinds.sh"

out="$WORK/identity"
crane="$tools/bin/crane" oras="$tools/bin/oras"
readonly OIDC_CLAIMS='{"iss":"https://oidc.example.test","aud":"lockgate","sub":"42","email":"bob@example.test","email_verified":true}'
mkdir -p "$out/resources"

# ---- keys, users, documents ---------------------------------------------------------------------------------------

make_identities --kind CI
openssl genrsa -out "$out/stranger.key" 2048 2>/dev/null

# authority NAME and certificate NAME AUTHORITY SUBJECT ALTERNATIVE_NAME: NAME.pem and NAME.key.
authority() {
  openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj "/CN=$1" -keyout "$out/$1.key" -out "$out/$1.pem" 2>/dev/null
}
certificate() {
  openssl req -newkey rsa:2048 -nodes -subj "$3" -keyout "$out/$1.key" -out "$out/$1.csr" 2>/dev/null
  printf 'basicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\nextendedKeyUsage = serverAuth, clientAuth\nsubjectAltName = %s\n' "$4" >"$out/$1.ext"
  openssl x509 -req -days 1 -in "$out/$1.csr" -CA "$out/$2.pem" -CAkey "$out/$2.key" -CAcreateserial -extfile "$out/$1.ext" -out "$out/$1.pem" 2>/dev/null
}
authority people-ca
authority workload-ca
authority other-ca
certificate server people-ca /CN=plane IP:127.0.0.1
certificate carol people-ca /CN=carol/O=people-with-cards DNS:carol.example.test
certificate svid workload-ca /CN=ignored URI:spiffe://x509.example.test/ns/shop/sa/api
certificate impostor other-ca /CN=carol DNS:carol.example.test
TLS_PLANE="127.0.0.1:$(free_port)"
cat >"$out/plane.yaml" <<YAML
listeners:
  - address: 127.0.0.1:0
  - address: $TLS_PLANE
    tls: { certFile: $out/server.pem, keyFile: $out/server.key, requestClientCertificate: true }
YAML

# user KIND: the name beside it; only a password has one that matters. No colon: Basic ends the name there (RFC 7617, section 2).
user() { case $1 in password) echo alice ;; cluster) echo cluster-west ;; *) echo token ;; esac; }

{
  remote first registry.example.test "$FIRST"
  providers
  access_of_workloads
  access robot '{ kind: CI }'
  access oidc '{ kind: User, name: bob@example.test }'
  provider cards "clientCertificates: { caFile: $out/people-ca.pem }"
  provider svids "spiffe: { trustDomain: x509.example.test, bundleFile: $out/workload-ca.pem }"
  access carol '{ kind: User, name: carol }'
  access svid '{ kind: Workload, spiffeId: "spiffe://x509.example.test/ns/shop/sa/*" }'
  access anonymous '{ kind: Anonymous }'
} >"$out/resources/all.yaml"
own_plane "$out" --config "$out/plane.yaml"

# ---- clients -------------------------------------------------------------------------------------------------------

printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$out/policy.json"
podman=(podman --root "$out/root" --runroot "$out/runroot" --tmpdir "$out/tmp" --storage-driver overlay --cgroup-manager cgroupfs --events-backend file)

# Settings of one login, empty at the start of each: no client may use what another one left.
fresh() { rm -rf "$out/settings" "$out/pulled" && mkdir -p "$out/settings" "$out/pulled" && printf '{}' >"$out/settings/config.json" && export DOCKER_CONFIG="$out/settings"; }
login_with() { # CLIENT USER PASSWORD
  case $1 in
    docker) "${d[@]}" login --username "$2" --password-stdin "$OWN" <<<"$3" ;;
    podman | skopeo) "$1" login --tls-verify=false --authfile "$out/settings/config.json" --username "$2" --password-stdin "$OWN" <<<"$3" ;;
    crane) "$crane" auth login --username "$2" --password-stdin "$OWN" <<<"$3" ;;
    oras) "$oras" login --plain-http --username "$2" --password-stdin "$OWN" <<<"$3" ;;
    helm3 | helm4) "$tools/bin/$1" registry login --plain-http --registry-config "$out/settings/config.json" --username "$2" --password-stdin "$OWN" <<<"$3" ;;
  esac
}
pull_with() { # CLIENT REPOSITORY
  local image="$OWN/$2/lib/busybox:1"
  case $1 in
    docker) "${d[@]}" pull --quiet "$image" ;;
    podman) "${podman[@]}" pull --quiet --tls-verify=false --authfile "$out/settings/config.json" --signature-policy "$out/policy.json" "$image" ;;
    skopeo) skopeo copy --quiet --src-tls-verify=false --src-authfile "$out/settings/config.json" "docker://$image" "oci:$out/pulled/x:x" ;;
    crane) "$crane" pull --insecure "$image" "$out/pulled/x.tar" ;;
    oras) "$oras" copy --from-plain-http --to-oci-layout "$image" "$out/pulled/x:x" ;;
    helm3 | helm4) "$tools/bin/$1" pull --plain-http --registry-config "$out/settings/config.json" "oci://$OWN/$2/charts/shop" --version 1.2.3 --destination "$out/pulled" ;;
  esac
}
declare -a d=(/usr/bin/docker --host "unix://$out/docker.sock")

# A 401 is put in words of their own by two, and one does not ask before it stores what it was told.
wrong_password() {
  local said='user name or password is wrong'
  if [[ $1 == crane ]]; then
    succeeds 'crane: stores a wrong password unasked' login_with crane alice 'wrong horse'
    fails 'crane: pull with a wrong password' pull_with crane password.example.test
  else
    fails "$1: login with a wrong password" login_with "$1" alice 'wrong horse'
  fi
  case $1 in podman | skopeo) said='invalid username/password' ;; esac
  contains "$1: says that it is wrong" "$said" "$OUT"
}

client_logs_in() {
  local client=$1 kind other=oidc
  for kind in "${KINDS[@]}"; do
    fresh
    succeeds "$client: login, $kind" login_with "$client" "$(user "$kind")" "$(secret "$kind")"
    succeeds "$client: pull of what $kind may have" pull_with "$client" "$kind.example.test"
  done
  fails "$client: pull of what the last one may not have" pull_with "$client" "$other.example.test"
  fresh
  wrong_password "$client"
  fresh
  succeeds "$client: pull of what is for all, without a login" pull_with "$client" anonymous.example.test
  fails "$client: pull of the rest, without a login" pull_with "$client" password.example.test
}

ctr_shows() {
  local kind version
  for version in "${CONTAINERD_VERSIONS[@]}"; do
    containerd_version "$version"
    start_containerd "$out/$version" "$out/certs.d"
    for kind in "${KINDS[@]}"; do
      check "$CONTAINERD_NAME, ctr: pull with $kind" "${CTR[@]}" images pull --plain-http --user "$(user "$kind"):$(secret "$kind")" "$OWN/$kind.example.test/lib/busybox:1"
    done
    refused "$CONTAINERD_NAME, ctr: wrong password" "${CTR[@]}" images pull --plain-http --user 'alice:wrong' "$OWN/password.example.test/lib/busybox:1"
    check "$CONTAINERD_NAME, ctr: anonymous" "${CTR[@]}" images pull --plain-http "$OWN/anonymous.example.test/lib/busybox:1"
    stop "$CONTAINERD_PID"
  done
}

# token_status USER PASSWORD: what the token endpoint answers.
token_status() { curl -s -m 10 -o "$out/answer" -w '%{http_code}' -u "$1:$2" "http://$OWN/token?service=lockgate&scope=repository:oidc.example.test/lib/busybox:pull"; }
tokens_that_are_not_good() {
  same 'a good token is exchanged' 200 "$(token_status token "$(secret oidc)")"
  same 'an expired token is not' 401 "$(token_status token "$("${sign[@]}" -600 "$OIDC_CLAIMS")")"
  contains 'and the answer says so' 'the token expired at' "$(cat "$out/answer")"
  same 'one of another key is not' 401 "$(token_status token "$("$here/identities.py" token "$out/stranger.key" k1 3600 "$OIDC_CLAIMS")")"
  same 'one for another audience is not' 401 "$(token_status token "$("${sign[@]}" 3600 "${OIDC_CLAIMS/lockgate/other}")")"
  same 'a wrong password is not' 401 "$(token_status alice wrong)"
  contains 'and the answer has the code' UNAUTHORIZED "$(cat "$out/answer")"
}

# tls_status REPOSITORY [CERTIFICATE]: of a manifest over TLS.
tls_status() {
  local shown=()
  [[ $# -lt 2 ]] || shown=(--cert "$out/$2.pem" --key "$out/$2.key")
  curl -s -m 20 -o "$out/answer" -w '%{http_code}' --cacert "$out/people-ca.pem" "${shown[@]}" "https://$TLS_PLANE/v2/$1.example.test/lib/busybox/manifests/1"
}
certificates() {
  local holder
  for holder in carol svid; do
    same "certificate of $holder: gets what is for its holder" 200 "$(tls_status "$holder" "$holder")"
    same "certificate of $holder: does not get what is for another" 403 "$(tls_status password "$holder")"
  done
  same 'certificate of a stranger: says nothing' 401 "$(tls_status carol impostor)"
  same 'no certificate: a token is asked for' 401 "$(tls_status carol)"
}

tokens_that_are_not_good
certificates
mkdir -p "$out/certs.d"
printf '{ "insecure-registries": ["127.0.0.0/8"], "max-download-attempts": 1 }\n' >"$out/daemon.json"
daemon docker-identity dockerd --config-file "$out/daemon.json" --host "unix://$out/docker.sock" --data-root "$out/docker" --exec-root "$out/exec" \
  --pidfile "$out/docker.pid" --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false
ENGINE_PID=$DAEMON_PID
wait_for 'docker engine' 60 "${d[@]}" version
for client in docker podman skopeo crane oras helm3 helm4; do client_logs_in "$client"; done
stop "$ENGINE_PID"
ctr_shows
stop "$OWN_PID"
