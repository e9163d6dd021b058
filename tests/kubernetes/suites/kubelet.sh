# shellcheck shell=bash disable=SC1091,SC2153
# From a pod's service account to a pull: the settings that `lockgate client-config kubelet` prints, the kubelet's own code
# with tokens of a real API server, our plugin, and clients that show the plane what it gave.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

PLANE="127.0.0.1:$(free_port)"
PLANE_URL="http://$PLANE"
# Not the audience that other suites allow.
readonly FOR_US="pulls.$AUDIENCE"
usual_resources
jwks a >"$DIR/a.jwks"
openssl rand -hex 16 >"$DIR/nodes-of-a"
chmod 600 "$DIR/nodes-of-a"
put identity < <(
  kubernetes_provider cluster-a "issuer: $ISSUER, audience: $FOR_US, cluster: a, jwksFile: $DIR/a.jwks"
  cat <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: IdentityProvider
metadata: { name: nodes-of-a }
spec: { clusterCredential: { cluster: a, secretFile: $DIR/nodes-of-a } }
YAML
)
put access < <(
  allow shop 'kind: ServiceAccount, cluster: a, namespace: shop, name: web' '"up.example.test/shop/**"'
  allow payments 'kind: ServiceAccount, cluster: a, namespace: payments' '"up.example.test/payments/**"'
  allow nodes 'kind: Node, cluster: a' '"up.example.test/of-a/**"'
)
start_plane
mkdir -p "$DIR/bin"
ln -s "$LOCKGATE_BIN" "$DIR/bin/lockgate-credential-provider"
reference() { printf '%s/up.example.test/%s:1' "$PLANE" "$1"; }

# ---- what the operator is told to set up

check 'client-config kubelet prints the settings' bash -c \
  "'$LOCKGATE_BIN' client-config kubelet --plane '$PLANE_URL' --audience '$FOR_US' >'$DIR/config.yaml'"
printed=$(cat "$DIR/config.yaml")
for word in --image-credential-provider-config --image-credential-provider-bin-dir 'kind: IdentityProvider'; do
  contains "and says what else is needed: $word" "$word" "$printed"
done
drive() { driver "$DIR/config.yaml" "$DIR/bin" a >"$DIR/answers" 2>"$DIR/said"; }
# username N / password N: of the plane, in the N-th answer.
username() { sed -n "$1p" "$DIR/answers" | jq -r --arg host "$PLANE" '.auth[$host].username // empty'; }
password() { sed -n "$1p" "$DIR/answers" | jq -r --arg host "$PLANE" '.auth[$host].password // empty'; }

drive < <(question shop web "$(reference shop/app)")
same 'without the roles it prints the kubelet gives no credentials' 0 "$(jq -r .credentials "$DIR/answers")"
contains 'for the API server gives no token' 'not authorized to request tokens for audience' "$(cat "$DIR/said")"
# The comments hold two documents, as they are to be applied.
sed -n '/^# 3\./,/^# 4\./p' "$DIR/config.yaml" | sed -n 's/^#      //p' |
  awk -v dir="$DIR" 'BEGIN { n = 1 } /^---$/ { n++; next } { print > (dir "/role-" n ".yaml") }'
soon 'the API server takes the role' 5 apply_yaml a clusterroles "$DIR/role-1.yaml"
soon 'and the binding' 5 apply_yaml a clusterrolebindings "$DIR/role-2.yaml"
soon 'with which a node may' 20 node_may a request-serviceaccounts-token-audience "$FOR_US"

drive < <(question shop web "$(reference shop/app)"; question payments web "$(reference shop/app)"
  question shop worker "$(reference shop/app)"; question shop web "$(reference shop/app)"; question shop web other.example.test/app:1)
same 'the kubelet takes the settings and the plugin' 5 "$(wc -l <"$DIR/answers")"
nothing 'without a complaint' "$(grep -E '^[EW][0-9]' "$DIR/said" || true)"
same 'credentials for the plane' k8s "$(username 1)"
same 'are the token of the pod'\''s service account' "system:serviceaccount:shop:web $FOR_US" \
  "$(token_part "$(password 1)" 2 | jq -r '.sub + " " + .aud[0]')"
same 'of the pod' web-1 "$(token_part "$(password 1)" 2 | jq -r '."kubernetes.io".pod.name')"
same 'another account, of the same registry and a moment later, has its own' system:serviceaccount:payments:web \
  "$(token_part "$(password 2)" 2 | jq -r .sub)"
same 'and so has another of the same namespace' system:serviceaccount:shop:worker "$(token_part "$(password 3)" 2 | jq -r .sub)"
same 'the first has the same as before' "$(password 1)" "$(password 4)"
same 'no other registry is given any' '{}' "$(sed -n 5p "$DIR/answers" | jq -c .auth)"
same 'the kubelet knows whose they are' 'shop/web' "$(sed -n 1p "$DIR/answers" | jq -r '.serviceAccount | .Namespace + "/" + .Name')"

# ---- the pull

# fetches CLIENT N IMAGE DIRECTORY: with the credentials of the N-th answer.
fetches() {
  mkdir -p "$4"
  docker_config "$4/config.json" "$(username "$2")" "$(password "$2")"
  case $1 in
    skopeo) skopeo copy --authfile "$4/config.json" --src-tls-verify=false "docker://$(reference "$3")" "dir:$4/image" ;;
    crane) DOCKER_CONFIG="$4" "$tools/bin/crane" pull --insecure "$(reference "$3")" "$4/image.tar" ;;
  esac
}
export -f fetches docker_config username password reference
export PLANE tools
for client in skopeo crane; do
  check "$client pulls as shop/web" bash -c "fetches $client 1 shop/app '$DIR/$client-shop'"
  refused "$client does not as payments/web" bash -c "fetches $client 2 shop/app '$DIR/$client-payments'"
  contains "$client says that it is refused" "DENIED" "${OUT^^}"
  contains "$client says who it was" system:serviceaccount:payments:web "$OUT"
  check "$client pulls as payments/web what is theirs" bash -c "fetches $client 2 payments/app '$DIR/$client-theirs'"
done
same 'the image of the upstream' "$DIGEST" "sha256:$(sha256_of "$DIR/skopeo-shop/image/manifest.json")"
pull 200 'the same by its token' shop/app "$(password 1)"
principal 'is known as the service account' ServiceAccount:cluster-a:system:serviceaccount:shop:web
same 'that pulls to deploy' Deploy "$(decided .purpose)"
pull 403 'another account of the namespace is refused' shop/app "$(password 3)"
same 'with the code that clients know' DENIED "$(jq -r '.errors[0].code' <<<"$BODY")"
contains 'and the reason' system:serviceaccount:shop:worker "$(jq -r '.errors[0].message' <<<"$BODY")"

# ---- static pods, as the comments say

drive < <(static_question "$(reference of-a/app)")
same 'a pod without a service account has no credentials' 0 "$(jq -r .credentials "$DIR/answers")"
sed -e 's/requireServiceAccount: true/requireServiceAccount: false/' \
  -e "s|^    tokenAttributes:|    args: [\"--cluster-credential-file=$DIR/nodes-of-a\"]\n&|" "$DIR/config.yaml" >"$DIR/static.yaml"
mv "$DIR/static.yaml" "$DIR/config.yaml"
drive < <(static_question "$(reference of-a/app)"; question payments web "$(reference shop/app)")
check 'with the cluster'\''s credential it pulls' bash -c "fetches skopeo 1 of-a/app '$DIR/static'"
same 'a pod with an account has that of the account alone' '1 system:serviceaccount:payments:web' \
  "$(sed -n 2p "$DIR/answers" | jq -r .credentials) $(token_part "$(password 2)" 2 | jq -r .sub)"
refused 'which is refused as before' bash -c "fetches skopeo 2 shop/app '$DIR/static-refused'"
ask "$DIR/answer" "$(manifest_url of-a/app)" -u "$(username 1):$(password 1)"
AUTHORIZATION="Authorization: Basic $(printf '%s:%s' "$(username 1)" "$(password 1)" | base64 -w 0)"
principal 'the static pod is known as a node' Node:nodes-of-a:system:node:a

# ---- the plugin by itself

request() { jq -nc --arg image "$1" --arg token "$2" '{ apiVersion: "credentialprovider.kubelet.k8s.io/v1", kind: "CredentialProviderRequest", image: $image, serviceAccountToken: $token } | del(.. | select(. == ""))'; }
plugin() { request "$@" | timeout 20 "$DIR/bin/lockgate-credential-provider" 2>&1; }
answer=$(plugin "$(reference shop/app)" a-token)
same 'its answer is of the version that was asked' credentialprovider.kubelet.k8s.io/v1 "$(jq -r .apiVersion <<<"$answer")"
same 'nothing is to be remembered' '0s Registry' "$(jq -r '.cacheDuration + " " + .cacheKeyType' <<<"$answer")"
same 'it is a subcommand as well' "$answer" "$(request "$(reference shop/app)" a-token | "$LOCKGATE_BIN" credential-provider)"
code=0
said=$(plugin "$(reference shop/app)" '') || code=$?
same 'without a token it fails' yes "$([[ $code -ne 0 && $code -ne 124 ]] && echo yes)"
contains 'and says what to set' tokenAttributes "$said"
