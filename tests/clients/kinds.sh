# The kinds of identity that clients can carry as a secret: who gives them, what they may have, and the secret itself. Sourced by
# suites; `out` is the suite's directory.
# shellcheck shell=bash disable=SC2034,SC2154

readonly KINDS=(password robot oidc kubernetes spiffe cluster)

# make_identities [OPTION...]: the issuer's keys, the cluster's secret, and users: alice with a password, and a robot, whose token
# (made with these options) is ROBOT. The issuer signs with `sign`.
make_identities() {
  sign=("$here/identities.py" token "$out/issuer.key" k1)
  openssl genrsa -out "$out/issuer.key" 2048 2>/dev/null
  "$here/identities.py" jwks "$out/issuer.key" k1 >"$out/keys.jwks"
  "$here/identities.py" jwks "$out/issuer.key" k1 jwt-svid >"$out/bundle.jwks"
  printf 'a-secret-of-this-cluster-only\n' >"$out/cluster.secret"
  local users=("$LOCKGATE_BIN" users)
  check 'users add' "${users[@]}" add alice --group people --file "$out/users.yaml"
  printf 'correct horse battery' | "${users[@]}" passwd alice --file "$out/users.yaml" >/dev/null
  check 'users add a robot' "${users[@]}" add robot --file "$out/users.yaml"
  ROBOT=$("${users[@]}" token robot --id build-1 --expires 1d --actions Pull,List "$@" --file "$out/users.yaml" | grep -oE 'lgt_[A-Za-z0-9_-]+' | head -n 1)
}

# secret KIND: what is shown. The claims of an OIDC token are the suite's, in OIDC_CLAIMS.
secret() {
  case $1 in
    password) printf 'correct horse battery' ;;
    robot) printf '%s' "$ROBOT" ;;
    oidc) "${sign[@]}" 3600 "$OIDC_CLAIMS" ;;
    kubernetes) "${sign[@]}" 3600 '{"iss":"https://kube.example.test","aud":["lockgate"],"sub":"system:serviceaccount:shop:web","kubernetes.io":{"namespace":"shop","serviceaccount":{"name":"web","uid":"1"}}}' ;;
    spiffe) "${sign[@]}" 3600 '{"aud":["lockgate"],"sub":"spiffe://example.test/ns/shop/sa/api"}' ;;
    cluster) cat "$out/cluster.secret" ;;
  esac
}

provider() { printf 'apiVersion: lockgate.dev/v1alpha1\nkind: IdentityProvider\nmetadata: { name: %s }\nspec:\n  %s\n---\n' "$1" "$2"; }

# providers [OIDC]: one for each kind; OIDC are further fields of the one with OIDC tokens.
providers() {
  provider local "local: { usersFile: $out/users.yaml }"
  provider oidc "oidc: { issuer: \"https://oidc.example.test\", audiences: [lockgate], ${1:+$1, }jwksFile: $out/keys.jwks }"
  provider kube "kubernetes: { issuer: \"https://kube.example.test\", audience: lockgate, cluster: west, jwksFile: $out/keys.jwks }"
  provider spiffe "spiffe: { trustDomain: example.test, bundleFile: $out/bundle.jwks, audience: lockgate }"
  provider cluster "clusterCredential: { cluster: west, secretFile: $out/cluster.secret }"
}

# access KIND SUBJECT: a repository for each kind, and only that kind may pull it.
access() {
  cat <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: $1.example.test }
spec:
  hosts: [$1.example.test]
  remote: { upstream: first }
---
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: { name: $1 }
spec:
  allow: [{ subjects: [$2], actions: [Pull, List], repositories: ["$1.example.test/**"] }]
---
YAML
}

# access_of_workloads: of the kinds that are the same in every suite.
access_of_workloads() {
  access password '{ kind: Group, name: people }'
  access kubernetes '{ kind: ServiceAccount, cluster: west, namespace: shop, name: web }'
  access spiffe '{ kind: Workload, spiffeId: "spiffe://example.test/ns/shop/sa/*" }'
  access cluster '{ kind: Node, cluster: west }'
}

# succeeds / fails TEXT FUNCTION...: `check` and `refused` for a function, with its output in $OUT.
succeeds() { if OUT=$("${@:2}" 2>&1); then ok "$1"; else fail "$1" "$(tail -n 8 <<<"$OUT")"; fi; }
fails() { if OUT=$("${@:2}" 2>&1 </dev/null); then fail "$1" 'succeeded'; else ok "$1"; fi; }
