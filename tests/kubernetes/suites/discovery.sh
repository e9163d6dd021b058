# shellcheck shell=bash disable=SC1091,SC2153
# Keys found by discovery at the API servers themselves, over TLS with each cluster's own authority: rotated while the plane
# runs, unreachable, and never had.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# A cluster of its own, because its keys change.
make_cluster c RSA
start_cluster c
populate c
usual_resources
providers() {
  kubernetes_provider cluster-c "issuer: $ISSUER, audience: $AUDIENCE, cluster: c, discoveryUrl: $(server c), caFile: $WORK/clusters/$1/ca.crt"
  kubernetes_provider cluster-b "issuer: $ISSUER, audience: $AUDIENCE, cluster: b, discoveryUrl: $(server b), caFile: $WORK/clusters/b/ca.crt"
}
put access < <(
  allow of-c 'kind: ServiceAccount, cluster: c' '"up.example.test/of-c/**"'
  allow of-b 'kind: ServiceAccount, cluster: b' '"up.example.test/of-b/**"'
)

# status TOKEN IMAGE: of the answer to it.
status() { curl -sS -m "$HANG_SECONDS" -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $1" "$(manifest_url "$2")"; }
# fresh CLUSTER STATUS: what a token just issued there gets for what is for that cluster.
fresh() { [[ $(status "$(token "$1" shop web)" "of-$1/app") == "$2" ]]; }

is_good() { [[ $(status "$1" of-c/app) == 200 ]]; }

# ---- a cluster that lets nobody read its keys: neither yes nor no

put identity < <(providers c)
start_plane
pull 503 'without any keys of its cluster a token is neither good nor bad' of-c/app "$(token c shop web)"
same 'the client may try again' yes "$([[ $(header Retry-After) =~ ^[0-9]+$ ]] && echo yes)"
exchange "$(token c shop web)"
same 'nor at /token' 503 "$STATUS"
open_discovery c
open_discovery b
soon 'once c is readable its tokens are good' 60 fresh c 200
soon 'and those of b' 60 fresh b 200

# ---- two clusters

of_c=$(token c shop web)
of_b=$(token b shop web)
pull 200 'a token of c reads what is for c' of-c/app "$of_c"
principal 'who that was' ServiceAccount:cluster-c:system:serviceaccount:shop:web
pull 403 'and not what is for b' of-b/app "$of_c"
pull 200 'a token of b reads what is for b' of-b/app "$of_b"
principal 'who that was' ServiceAccount:cluster-b:system:serviceaccount:shop:web
pull 403 'and not what is for c' of-c/app "$of_b"
pull 401 'a token for another audience' of-c/app "$(token c shop web another.example.test)"

# ---- a key rotated at the API server: the old one is still published, tokens of both are good

before=$(jwks c | jq -c '[.keys[].kid]')
rotate c EC
stop_cluster c
start_cluster c
of_new=$(token c shop web)
same 'the server signs with a new key' true "$(jq -n --argjson before "$before" --arg kid "$(token_part "$of_new" 1 | jq -r .kid)" '$before | index($kid) == null')"
same 'of another kind' ES256 "$(token_part "$of_new" 1 | jq -r .alg)"
# The plane leaves ten seconds between two looks for unknown keys, and looks every few minutes without being asked.
soon 'a token signed by it is good, without anybody having told the plane' 30 is_good "$of_new"
pull 200 'it reads what is for c' of-c/app "$of_new"
principal 'and of the same cluster' ServiceAccount:cluster-c:system:serviceaccount:shop:web
pull 200 'a token signed by the old key is good as well' of-c/app "$of_c"
pull 403 'it reads nothing of b' of-b/app "$of_new"
same 'the plane was not restarted' "$PLANE_PID" "$(cat "$DIR/plane.pid")"

# Unknown keys make no client ask the API server as often as it likes.
refreshes() { count lockgate_identity_source_reads "provider=\"cluster-c\""; }
earlier=$(refreshes)
for n in $(seq 30); do
  status "$(token_part "$of_c" 1 | jq -cj ".kid = \"unknown-$n\"" | base64url).$(cut -d . -f 2- <<<"$of_c")" of-c/app >/dev/null
done
at_least 'reading keys is counted' 2 "$earlier"
at_most 'thirty tokens of unknown keys ask for keys' 2 "$(($(refreshes) - earlier))"

# ---- the API server is down: what was known counts on

stop_cluster c
pull 200 'while the API server is down the keys it had are kept' of-c/app "$(forge "$of_c" "$WORK/clusters/c/signing-1.key" '.jti = "while down"')"
pull 200 'b is nobody'\''s business' of-b/app "$(token b shop web)"
start_cluster c
soon 'it is back' 60 fresh c 200

# ---- a server of another authority is not asked

end_plane
put identity < <(providers b)
start_plane
pull 503 'an API server whose certificate another authority signed gives no keys' of-c/app "$(token c shop web)"
pull 200 'the other cluster goes on' of-b/app "$(token b shop web)"
