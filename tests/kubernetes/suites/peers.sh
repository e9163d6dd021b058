# shellcheck shell=bash disable=SC1091,SC2153
# What the other suites stand on: two real API servers that differ in nothing but their keys, a node that may do what a
# node may, and the kubelet's code, which runs a plugin and gives what the plugin says.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

for cluster in a b; do
  same "$cluster is a Kubernetes API server" "$APISERVER_RELEASE" "$(api "$cluster" GET /version | jq -r .gitVersion)"
  same "$cluster calls itself as every cluster does" "$ISSUER" \
    "$(api "$cluster" GET /.well-known/openid-configuration | jq -r .issuer)"
done
same 'the kinds of their keys' 'RSA EC' "$(jwks a | jq -r '.keys[0].kty') $(jwks b | jq -r '.keys[0].kty')"
of_a=$(token a shop web)
of_b=$(token b shop web)
same 'a token says who' system:serviceaccount:shop:web "$(token_part "$of_a" 2 | jq -r .sub)"
claims() { token_part "$1" 2 | jq -c '[.iss, .sub, .aud]'; }
same 'tokens of both clusters say the same' "$(claims "$of_a")" "$(claims "$of_b")"
same 'the key of a token is one that its server publishes' "$(token_part "$of_a" 1 | jq -r .kid)" "$(jwks a | jq -r '.keys[0].kid')"
nothing 'and no other does' "$(jwks b | jq -r --arg kid "$(token_part "$of_a" 1 | jq -r .kid)" '.keys[] | select(.kid == $kid)')"

# A plugin of a few lines, which counts how often it runs and gives the token back.
mkdir -p "$DIR/bin"
cat >"$DIR/bin/echo-provider" <<'PLUGIN'
#!/bin/bash
request=$(cat)
echo run >>"$RUNS"
jq -c --arg duration "${CACHE:-0s}" '{ apiVersion, kind: "CredentialProviderResponse", cacheKeyType: "Registry", cacheDuration: $duration,
  auth: { (.image | split("/")[0]): { username: "k8s", password: .serviceAccountToken } } }' <<<"$request"
PLUGIN
chmod +x "$DIR/bin/echo-provider"
provider_config() {
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: echo-provider
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["registry.example.test"]
  defaultCacheDuration: "0s"
  tokenAttributes: { serviceAccountTokenAudience: $AUDIENCE, cacheType: $1, requireServiceAccount: true }
YAML
}
provider_config Token >"$DIR/config.yaml"
export RUNS="$DIR/runs"

# drive CONFIG: questions on standard input; answers in $DIR/answers, what the kubelet's code said in $DIR/said.
drive() { driver "$1" "$DIR/bin" a >"$DIR/answers" 2>"$DIR/said"; }
password() { sed -n "$1p" "$DIR/answers" | jq -r '.auth["registry.example.test"].password // empty'; }

drive "$DIR/config.yaml" < <(question shop web registry.example.test/app:1)
nothing 'a node that was not allowed the audience gets no token' "$(password 1)"
contains 'the API server says so' "not authorized to request tokens for audience" "$(cat "$DIR/said")"
nothing 'and no plugin runs' "$(cat "$RUNS" 2>/dev/null)"

allow_audience a "$AUDIENCE"
: >"$RUNS"
drive "$DIR/config.yaml" < <(question shop web registry.example.test/app:1; question payments web registry.example.test/app:1
  question shop web registry.example.test/other; question shop web elsewhere.example.test/app:1)
same 'four answers' 4 "$(wc -l <"$DIR/answers")"
same 'the token is of the pod'\''s service account' system:serviceaccount:shop:web "$(token_part "$(password 1)" 2 | jq -r .sub)"
same 'and bound to the pod' "web-1 $NODE" "$(token_part "$(password 1)" 2 | jq -r '."kubernetes.io" | .pod.name + " " + .node.name')"
same 'another account gets another' system:serviceaccount:payments:web "$(token_part "$(password 2)" 2 | jq -r .sub)"
same 'an image of another registry gets none' '{}' "$(sed -n 4p "$DIR/answers" | jq -c .auth)"
same 'nothing is remembered for 0 s' 3 "$(wc -l <"$RUNS")"

provider_config ServiceAccount >"$DIR/wrong.yaml"
drive "$DIR/wrong.yaml" < <(question shop web registry.example.test/app:1)
nothing 'a provider that gives the token itself needs cacheType Token' "$(password 1)"
contains 'the kubelet says so' "not allowed when service account cache type is not set to 'Token'" "$(cat "$DIR/said")"
