# shellcheck shell=bash disable=SC1091,SC2153
# Service-account tokens of two clusters that call themselves the same: their keys, read from files, and their audiences
# tell them apart, and a cluster's word counts for nothing in the other's place.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

usual_resources
for cluster in a b; do jwks "$cluster" >"$DIR/$cluster.jwks"; done
put identity < <(
  kubernetes_provider cluster-a "issuer: $ISSUER, audience: $AUDIENCE, cluster: a, jwksFile: $DIR/a.jwks"
  kubernetes_provider cluster-b "issuer: $ISSUER, audience: $AUDIENCE, cluster: b, jwksFile: $DIR/b.jwks"
)
put access < <(
  allow of-a 'kind: ServiceAccount, cluster: a' '"up.example.test/of-a/**"'
  allow of-b 'kind: ServiceAccount, cluster: b' '"up.example.test/of-b/**"'
  allow shop 'kind: ServiceAccount, cluster: a, namespace: shop, name: web' '"up.example.test/shop/**"'
)
put environments <<'YAML'
apiVersion: lockgate.dev/v1alpha1
kind: Environment
metadata: { name: prod }
spec: { strictness: 100, subjects: [{ kind: ServiceAccount, cluster: a }] }
YAML
start_plane

# ---- whose token it is

of_a=$(token a shop web)
of_b=$(token b shop web)
same 'both say they are the same' "$(token_part "$of_a" 2 | jq -c '[.iss, .sub, .aud]')" "$(token_part "$of_b" 2 | jq -c '[.iss, .sub, .aud]')"
pull 200 'a token of a reads what is for a' of-a/app "$of_a"
same 'the bytes of the upstream' "$DIGEST" "sha256:$(sha256_of "$DIR/answer")"
principal 'who that was, by the decision' ServiceAccount:cluster-a:system:serviceaccount:shop:web
same 'in the environment of cluster a' prod "$(decided .environment)"
pull 403 'and not what is for b' of-b/app "$of_a"
contains 'refused as itself' system:serviceaccount:shop:web "$BODY"
pull 200 'a token of b reads what is for b' of-b/app "$of_b"
principal 'who that was' ServiceAccount:cluster-b:system:serviceaccount:shop:web
same 'not in the environment of cluster a' default "$(decided .environment)"
pull 403 'and not what is for a' of-a/app "$of_b"
pull 403 'nor what is for the account of that name in a' shop/app "$of_b"
pull 200 'which the account of a reads' shop/app "$of_a"
pull 403 'and another account of its namespace does not' shop/app "$(token a shop worker)"
pull 403 'nor an account of that name in another namespace' shop/app "$(token a payments web)"

# ---- the token service gives its own tokens for them

for cluster in a b; do
  exchange "$(token "$cluster" shop web)"
  ours=$OURS
  same "/token takes the token of $cluster as a password" 200 "$STATUS"
  pull 200 "its token reads what is for $cluster" "of-$cluster/app" "$ours"
  principal 'as the same principal' "ServiceAccount:cluster-$cluster:system:serviceaccount:shop:web"
  other=$([[ $cluster == a ]] && echo b || echo a)
  pull 403 "and not what is for $other" "of-$other/app" "$ours"
done
ask "$DIR/answer" "$(manifest_url of-a/app)" -u "anything:$of_a"
same 'a token as the password of a plain request' 200 "$STATUS"

# ---- what is no token for us

# no_token TEXT TOKEN: neither at a repository nor at the token service, and not as an anonymous client either.
no_token() {
  pull 401 "$1" of-a/app "$2"
  contains "$1: the challenge says so" 'error="invalid_token"' "$(header WWW-Authenticate)"
  exchange "$2"
  same "$1: nor at /token" 401 "$STATUS"
}
key="$WORK/clusters/a/signing-1.key"
pull 200 'a token made here with the key of a reads (so that the next ones fail for their claims)' of-a/app \
  "$(forge "$of_a" "$key" '.jti = "of this test"')"
no_token 'a token for another audience' "$(token a shop web another.example.test)"
no_token 'a token for the API server itself' "$(token a shop web "$ISSUER")"
no_token 'an expired token' "$(forge "$of_a" "$key" '.exp = .iat - 120 | .iat = .iat - 720 | .nbf = .iat')"
no_token 'a token that is not valid yet' "$(forge "$of_a" "$key" '.nbf = .exp - 60')"
no_token 'a token without an end' "$(forge "$of_a" "$key" 'del(.exp)')"
no_token 'a token of another issuer' "$(forge "$of_a" "$key" '.iss = "https://elsewhere.example.test"')"
no_token 'a token whose subject is not its service account' "$(forge "$of_a" "$key" '.sub = "system:serviceaccount:payments:web"')"
no_token 'a token of no service account' "$(forge "$of_a" "$key" '.sub = "admin" | del(."kubernetes.io")')"
no_token 'a token changed after it was signed' \
  "$(cut -d . -f 1 <<<"$of_a").$(token_part "$of_a" 2 | jq -cj '.sub = "system:serviceaccount:shop:admin"' | base64url).$(cut -d . -f 3 <<<"$of_a")"
no_token 'claims of a with the signature of b' "$(cut -d . -f 1-2 <<<"$of_a").$(cut -d . -f 3 <<<"$of_b")"
no_token 'a token without a signature' \
  "$(token_part "$of_a" 1 | jq -cj '.alg = "none"' | base64url).$(cut -d . -f 2 <<<"$of_a")."
# Signed with what everybody may read, the public key, as if it were a shared secret.
head=$(token_part "$of_a" 1 | jq -cj '.alg = "HS256"' | base64url)
body=$(cut -d . -f 2 <<<"$of_a")
mac=$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -binary -mac HMAC \
  -macopt "hexkey:$(od -An -v -tx1 "$WORK/clusters/a/signing-1.pub" | tr -d ' \n')" | base64url)
no_token 'a token with the public key as its secret' "$head.$body.$mac"
make_signing_key "$DIR/stranger" RSA
no_token 'a token signed by a stranger under the name of the key' "$(forge "$of_a" "$DIR/stranger.key" .)"
for refusal in 'of-a/app' 'of-b/app'; do
  ask "$DIR/answer" "$(manifest_url "$refusal")"
  same "without any token $refusal is refused" 401 "$STATUS"
done
nothing 'no token in the log' "$(grep -F "$(cut -d . -f 3 <<<"$of_a")" "$PLANE_LOG" || true)"

# ---- audiences tell clusters apart as well, and the file of a key set is read again

put identity < <(
  kubernetes_provider cluster-a "issuer: $ISSUER, audience: a.$AUDIENCE, cluster: a, jwksFile: $DIR/a.jwks"
  kubernetes_provider cluster-b "issuer: $ISSUER, audience: b.$AUDIENCE, cluster: b, jwksFile: $DIR/b.jwks"
)
reads() { [[ $(curl -sS -m 10 -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $2" "$(manifest_url "$1")") == 200 ]]; }
soon 'each cluster with an audience of its own' 20 reads of-a/app "$(token a shop web "a.$AUDIENCE")"
no_token 'the audience of before' "$(token a shop web)"
no_token 'a token of a for the audience of b' "$(token a shop web "b.$AUDIENCE")"
pull 200 'a token of b for the audience of b' of-b/app "$(token b shop web "b.$AUDIENCE")"

mv "$DIR/b.jwks" "$DIR/b.jwks.before"
jq '.keys |= map(.kid = "another" | .x = .y)' "$DIR/b.jwks.before" >"$DIR/.b.jwks" && mv "$DIR/.b.jwks" "$DIR/b.jwks"
refuses() { [[ $(curl -sS -m 10 -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $(token b shop web "b.$AUDIENCE")" "$(manifest_url of-b/app)") == 401 ]]; }
soon 'a key that is taken out of the file counts no longer' 30 refuses
mv "$DIR/b.jwks.before" "$DIR/b.jwks"
renewed() { reads of-b/app "$(token b shop web "b.$AUDIENCE")"; }
soon 'and does when it is back' 30 renewed
