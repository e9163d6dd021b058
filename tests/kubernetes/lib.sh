# Shared by run.sh and the suites: API servers that stand for clusters, tokens, an upstream, a plane and its resources.
# Sourced, not run. Results, daemons, the plane and their end are those of the other suites.
# shellcheck shell=bash disable=SC2034,SC2154
# shellcheck source=../faults/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../faults/lib.sh"

# What every cluster calls itself unless told otherwise: the reason why an issuer alone says nothing of the cluster.
readonly ISSUER=https://kubernetes.default.svc.cluster.local
readonly AUDIENCE=lockgate.example.test
readonly NODE=node-1
readonly APISERVER_RELEASE=v1.37.2

# ---- clusters ----------------------------------------------------------------------------------------------------

# start_etcd: one for all clusters; each has a prefix of its own. Sets ETCD (URL).
start_etcd() {
  local peers
  ETCD="http://127.0.0.1:$(free_port)"
  peers="http://127.0.0.1:$(free_port)"
  daemon etcd "$tools/bin/etcd" --data-dir "$WORK/etcd" --logger zap --log-level warn --unsafe-no-fsync \
    --listen-client-urls "$ETCD" --advertise-client-urls "$ETCD" \
    --listen-peer-urls "$peers" --initial-advertise-peer-urls "$peers" --initial-cluster "default=$peers"
  wait_for etcd 30 answers "$ETCD/health"
}

# make_authority DIRECTORY COMMON_NAME: ca.crt, ca.key.
make_authority() {
  mkdir -p "$1"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$2" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout "$1/ca.key" -out "$1/ca.crt" 2>/dev/null
}

# make_certificate DIRECTORY: tls.crt and tls.key of a server on 127.0.0.1, signed by the authority in that directory.
make_certificate() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server \
    -keyout "$1/tls.key" -out "$1/tls.csr" 2>/dev/null
  openssl x509 -req -in "$1/tls.csr" -CA "$1/ca.crt" -CAkey "$1/ca.key" -CAcreateserial -days 2 -out "$1/tls.crt" \
    -extfile <(printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\n') 2>/dev/null
}

# make_signing_key STEM RSA|EC: STEM.key and STEM.pub.
make_signing_key() {
  case $2 in
    RSA) openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1.key" 2>/dev/null ;;
    # In the form of RFC 5915: the API server reads no other of elliptic curves.
    EC) openssl ecparam -name prime256v1 -genkey -noout -out "$1.key" ;;
  esac
  openssl pkey -in "$1.key" -pubout -out "$1.pub"
}

# make_cluster NAME RSA|EC: what a cluster keeps: its authority, who may log in, its port and its first signing key.
make_cluster() {
  local dir="$WORK/clusters/$1"
  make_authority "$dir" "$1-authority"
  make_certificate "$dir"
  make_signing_key "$dir/signing-1" "$2"
  echo 1 >"$dir/signs"
  free_port >"$dir/port"
  openssl rand -hex 16 >"$dir/admin.token"
  openssl rand -hex 16 >"$dir/node.token"
  chmod 600 "$dir"/*.token "$dir"/*.key
  {
    printf '%s,admin,admin,system:masters\n' "$(cat "$dir/admin.token")"
    printf '%s,system:node:%s,%s,system:nodes\n' "$(cat "$dir/node.token")" "$NODE" "$NODE"
  } >"$dir/tokens.csv"
}

# server NAME: URL of its API server.
server() { printf 'https://127.0.0.1:%s' "$(cat "$WORK/clusters/$1/port")"; }

# start_cluster NAME: its API server. It signs with the newest of its keys and publishes all of them.
start_cluster() {
  local name=$1 dir="$WORK/clusters/$1" keys=() key
  for key in "$dir"/signing-*.pub; do keys+=(--service-account-key-file "$key"); done
  daemon "apiserver-$name" "$tools/bin/kube-apiserver" \
    --etcd-servers "$ETCD" --etcd-prefix "/registry-$name" \
    --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --secure-port "$(cat "$dir/port")" \
    --endpoint-reconciler-type none --service-cluster-ip-range 10.0.0.0/24 \
    --cert-dir "$dir/certs" --tls-cert-file "$dir/tls.crt" --tls-private-key-file "$dir/tls.key" \
    --service-account-issuer "$ISSUER" --service-account-jwks-uri "$(server "$name")/openid/v1/jwks" \
    "${keys[@]}" --service-account-signing-key-file "$dir/signing-$(cat "$dir/signs").key" \
    --token-auth-file "$dir/tokens.csv" --authorization-mode Node,RBAC \
    --enable-admission-plugins NodeRestriction --disable-admission-plugins ServiceAccount
  echo "$DAEMON_PID" >"$dir/pid"
  wait_for "API server of $name" 60 api "$name" GET /readyz || { tail -n 5 "$WORK/log/apiserver-$name.log" >&2; return 1; }
}

stop_cluster() { stop "$(cat "$WORK/clusters/$1/pid")"; }

# rotate NAME RSA|EC: a new key signs from the next start on; the old ones are still published.
rotate() {
  local dir="$WORK/clusters/$1" next
  next=$(($(cat "$dir/signs") + 1))
  make_signing_key "$dir/signing-$next" "$2"
  echo "$next" >"$dir/signs"
}

# api NAME METHOD PATH [JSON]: as the administrator. Prints the body; fails on any status but 2xx.
api() {
  local name=$1 method=$2 path=$3 dir="$WORK/clusters/$1"
  curl -fsS -m 20 --cacert "$dir/ca.crt" -H "Authorization: Bearer $(cat "$dir/admin.token")" -X "$method" \
    ${4:+-H 'Content-Type: application/json' --data "$4"} "$(server "$name")$path"
}

# apply NAME PATH JSON: creates it; what is there already is as good.
apply() {
  local code
  code=$(curl -sS -m 20 -o "$WORK/clusters/$1/answer" -w '%{http_code}' --cacert "$WORK/clusters/$1/ca.crt" \
    -H "Authorization: Bearer $(cat "$WORK/clusters/$1/admin.token")" -H 'Content-Type: application/json' \
    -X POST --data "$3" "$(server "$1")$2")
  [[ $code == 201 || $code == 409 ]] || { printf '%s\n' "$code: $(cat "$WORK/clusters/$1/answer")" >&2; return 1; }
}

# populate NAME: a node, two namespaces, in each two service accounts with a pod on the node.
populate() {
  local name=$1 namespace account
  apply "$name" /api/v1/nodes "{\"metadata\":{\"name\":\"$NODE\"}}"
  for namespace in shop payments; do
    apply "$name" /api/v1/namespaces "{\"metadata\":{\"name\":\"$namespace\"}}"
    for account in web worker; do
      apply "$name" "/api/v1/namespaces/$namespace/serviceaccounts" "{\"metadata\":{\"name\":\"$account\"}}"
      apply "$name" "/api/v1/namespaces/$namespace/pods" "{\"metadata\":{\"name\":\"$account-1\"},\"spec\":{\"nodeName\":\"$NODE\",
        \"serviceAccountName\":\"$account\",\"containers\":[{\"name\":\"app\",\"image\":\"app\"}]}}"
      wait_for "leave of $NODE" 20 node_may "$name" get serviceaccounts "$namespace" "$account"
    done
  done
}

# apply_yaml NAME RESOURCE FILE: one document of RBAC, as `kubectl apply` would.
apply_yaml() {
  curl -fsS -m 20 -o "$WORK/clusters/$1/answer" --cacert "$WORK/clusters/$1/ca.crt" \
    -H "Authorization: Bearer $(cat "$WORK/clusters/$1/admin.token")" -H 'Content-Type: application/yaml' \
    -X POST --data-binary "@$3" "$(server "$1")/apis/rbac.authorization.k8s.io/v1/$2"
}

# node_may NAME VERB RESOURCE [NAMESPACE OBJECT]: whether its authorizer lets the node; it learns of new objects a moment
# after they were made.
node_may() {
  api "$1" POST /apis/authorization.k8s.io/v1/subjectaccessreviews "{\"spec\":{\"user\":\"system:node:$NODE\",\"groups\":[\"system:nodes\"],
    \"resourceAttributes\":{\"verb\":\"$2\",\"resource\":\"$3\",\"namespace\":\"${4:-}\",\"name\":\"${5:-}\"}}}" | jq -e .status.allowed
}

# open_discovery NAME: anybody may read its keys. Without this only its own service accounts may.
open_discovery() {
  apply "$1" /apis/rbac.authorization.k8s.io/v1/clusterrolebindings '{"metadata":{"name":"issuer-discovery-for-all"},
    "roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"system:service-account-issuer-discovery"},
    "subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"system:unauthenticated"}]}'
}

# jwks NAME: the keys its API server publishes.
jwks() { api "$1" GET /openid/v1/jwks; }

# ---- tokens ------------------------------------------------------------------------------------------------------

# token CLUSTER NAMESPACE ACCOUNT [AUDIENCE]: a fresh one, from TokenRequest. The shortest that a server gives: 10 minutes.
token() {
  api "$1" POST "/api/v1/namespaces/$2/serviceaccounts/$3/token" \
    "{\"spec\":{\"audiences\":[\"${4:-$AUDIENCE}\"],\"expirationSeconds\":600}}" | jq -r .status.token
}

base64url() { base64 -w 0 | tr '+/' '-_' | tr -d '='; }
# token_part TOKEN 1|2: header or claims as JSON.
token_part() {
  local part
  part=$(cut -d . -f "$2" <<<"$1" | tr '_-' '/+')
  while ((${#part} % 4)); do part+='='; done
  base64 -d <<<"$part"
}

# forge TOKEN KEY FILTER: the token with its claims changed by a jq filter, signed (RS256) with a private key. How a test
# gets what no API server hands out.
forge() {
  local signed
  signed="$(cut -d . -f 1 <<<"$1").$(token_part "$1" 2 | jq -cj "$3" | base64url)"
  printf '%s.%s' "$signed" "$(printf '%s' "$signed" | openssl dgst -sha256 -sign "$2" | base64url)"
}

# ---- the kubelet's code ------------------------------------------------------------------------------------------

# allow_audience CLUSTER AUDIENCE: its nodes may ask for tokens for it.
allow_audience() {
  apply "$1" /apis/rbac.authorization.k8s.io/v1/clusterroles "{\"metadata\":{\"name\":\"tokens-for-$2\"},
    \"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"$2\"],\"verbs\":[\"request-serviceaccounts-token-audience\"]}]}"
  apply "$1" /apis/rbac.authorization.k8s.io/v1/clusterrolebindings "{\"metadata\":{\"name\":\"tokens-for-$2\"},
    \"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"tokens-for-$2\"},
    \"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Group\",\"name\":\"system:nodes\"}]}"
  wait_for "leave to ask for $2" 20 node_may "$1" request-serviceaccounts-token-audience "$2"
}

# static_question IMAGE: what the kubelet knows of a pod that the kubelet runs from a file: it has no service account.
static_question() {
  jq -nc --arg image "$1" '{ image: $image, namespace: "kube-system", serviceAccount: "", pod: "static-1", podUid: "0" }'
}

# question NAMESPACE ACCOUNT IMAGE [CLUSTER]: what the kubelet knows of that account's pod, as the driver reads it.
question() {
  local uid
  uid=$(api "${4:-a}" GET "/api/v1/namespaces/$1/pods/$2-1" | jq -r .metadata.uid)
  jq -nc --arg namespace "$1" --arg account "$2" --arg image "$3" --arg uid "$uid" \
    '{ image: $image, namespace: $namespace, serviceAccount: $account, pod: ($account + "-1"), podUid: $uid }'
}

# driver CONFIG BIN_DIR CLUSTER: the kubelet's code with these settings, on the node of that cluster.
driver() {
  timeout -k 5 60 "$tools/bin/credential-plugin-driver" --config "$1" --bin-dir "$2" --server "$(server "$3")" \
    --ca "$WORK/clusters/$3/ca.crt" --token-file "$WORK/clusters/$3/node.token"
}

# ---- an upstream and the plane in front of it --------------------------------------------------------------------

# start_upstream_registry: one small image under the names the policies tell apart. Sets REGISTRY (host:port).
start_upstream_registry() {
  local name
  REGISTRY="127.0.0.1:$(free_port)"
  start_registry upstream "$tools/bin/distribution" "$REGISTRY" "$WORK/upstream"
  wait_for 'upstream' 20 answers "http://$REGISTRY/v2/"
  mkdir -p "$WORK/image"
  head -c 200000 /dev/urandom >"$WORK/image/content"
  tar -C "$WORK/image" -cf "$WORK/layer.tar" content
  for name in "${IMAGES[@]}"; do
    "$tools/bin/crane" append --insecure -f "$WORK/layer.tar" -t "$REGISTRY/$name:1" >>"$WORK/log/crane.log" 2>&1
  done
  DIGEST=$("$tools/bin/crane" digest --insecure "$REGISTRY/${IMAGES[0]}:1")
}
readonly IMAGES=(shop/app payments/app of-a/app of-b/app of-c/app)

# kubernetes_provider NAME SPEC: SPEC is YAML in flow form, without its braces.
kubernetes_provider() {
  cat <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: IdentityProvider
metadata: { name: $1 }
spec:
  kubernetes: { $2 }
---
YAML
}

# allow NAME SUBJECT REPOSITORIES: who may pull what, both YAML in flow form.
allow() {
  cat <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: { name: $1 }
spec:
  allow: [{ subjects: [{ $2 }], actions: [Pull], repositories: [$3] }]
---
YAML
}

# put NAME: standard input becomes a resource file, at once.
put() {
  mkdir -p "$DIR/resources"
  cat >"$DIR/.$1.new"
  mv "$DIR/.$1.new" "$DIR/resources/$1.yaml"
}

# usual_resources: the upstream behind up.example.test.
usual_resources() {
  put upstream < <(upstream_resource up "$REGISTRY" && repository_resource up.example.test up)
}

manifest_url() { printf '%s/v2/up.example.test/%s/manifests/%s' "$PLANE_URL" "$1" "${2:-1}"; }

# pull STATUS TEXT IMAGE TOKEN: the manifest, with the token as it is; the answer has that status. Its body is in $BODY.
pull() {
  local status=$1 text=$2 image=$3 token=$4
  AUTHORIZATION="Authorization: Bearer $token"
  ask "$DIR/answer" "$(manifest_url "$image")" -H "$AUTHORIZATION"
  BODY=$(head -c 4000 "$DIR/answer" 2>/dev/null || true)
  same "$text" "$status" "$STATUS"
  [[ $status == "$STATUS" ]] || note "${BODY:-$SAID}"
}

# exchange TOKEN: what /token gives for it, as docker and containerd ask: Basic, the token as the password. Sets STATUS and
# OURS, the token it gave.
exchange() {
  ask "$DIR/token" "$PLANE_URL/token?service=any&scope=repository:up.example.test/shop/app:pull" -u "k8s:$1"
  OURS=$(jq -r '.token // empty' "$DIR/token" 2>/dev/null || true)
}

# docker_config FILE USERNAME PASSWORD: credentials for the plane where skopeo and crane look.
docker_config() {
  (umask 077 && jq -n --arg host "$PLANE" --arg auth "$(printf '%s:%s' "$2" "$3" | base64 -w 0)" \
    '{ auths: { ($host): { auth: $auth } } }' >"$1")
}

# decided FILTER: of the decision that the last answer to `pull` names, asked for by whom it was about.
decided() {
  local id
  id=$(header Lockgate-Decision)
  curl -sS -m 10 "$PLANE_URL/api/v1/decisions/$id" -H "$AUTHORIZATION" | jq -r "$1 // empty" 2>/dev/null || true
}
# principal TEXT KEY: who the plane took the last request's client for.
principal() { same "$1" "$2" "$(decided .principalKey)"; }

# at_least TEXT LIMIT ACTUAL: integers.
at_least() {
  if [[ $3 =~ ^[0-9]+$ && $3 -ge $2 ]]; then ok "$1 ($3, at least $2)"; else fail "$1" "at least: $2"$'\n'"actual:   $3"; fi
}
