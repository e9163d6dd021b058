# Keys that are wrong, that may only read, and a server that is gone: said in clear words, and nothing is taken for absent.
# shellcheck shell=bash disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/../../faults/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

printf 'some bytes\n' >"$DIR/blob"
digest="sha256:$(sha256_of "$DIR/blob")"
url="team/app/blobs/$digest"

resources "$ACCESS_KEY" "$SECRET_KEY" keys
start_plane
push_by_curl "$DIR/blob" team/app
same 'push with the right key' 201 "$STATUS"
gives 'pull' "$DIR/got" "$digest" "$PLANE_URL/v2/$url"
end_plane

# says_so TEXT WORDS: in the answer, by doctor, or in the log since the last start.
says_so() {
  local said
  said=$({ jq -r '.errors[0].message' "$DIR/push.body"; "$LOCKGATE_BIN" doctor --data-dir "$DIR/data" 2>&1 | grep -v '✓'
    tail -n "+$LOG_FROM" "$PLANE_LOG" | grep -v ' access '; } 2>/dev/null | grep -iE "$2" || true)
  if [[ -n $said ]]; then ok "$1: $(head -n 1 <<<"$said" | cut -c 1-300)"; else
    fail "$1" "answer: $(cat "$DIR/push.body")"$'\n'"log: $(tail -n "+$LOG_FROM" "$PLANE_LOG" | grep -v ' access ' | tail -n 10)"
  fi
}
begin() { LOG_FROM=$(($(wc -l <"$PLANE_LOG") + 1)); start_plane; }
# with_trouble TEXT WORDS: pushes and pulls are refused as not possible now; then the words.
with_trouble() {
  printf 'other bytes of %s\n' "$1" >"$DIR/other"
  push_by_curl "$DIR/other" team/app
  one_of "$1: a push" '500 502 503 507' "$STATUS"
  says_so "$1: why is told" "$2"
}

resources "$ACCESS_KEY" wrong-secret keys
begin
ask "$DIR/got" "$PLANE_URL/v2/$url"
one_of 'wrong secret: a pull is never absent' '200 500 502 503' "$STATUS"
with_trouble 'wrong secret' 'these keys|wrong key|signature'
refused 'wrong secret: does not show in what the plane says' grep -rq wrong-secret "$PLANE_LOG"
end_plane

resources "$READER_KEY" "$READER_SECRET" keys
begin
gives 'a key that may only read: pull' "$DIR/got" "$digest" "$PLANE_URL/v2/$url"
with_trouble 'a key that may only read' 'let these keys|may not'
end_plane

resources "$ACCESS_KEY" "$SECRET_KEY" keys
sed -i "s|http://$S3|http://127.0.0.1:$(free_port)|" "$DIR/resources/all.yaml"
begin
ask "$DIR/got" "$PLANE_URL/v2/$url"
one_of 'no server: a pull is never absent' '500 502 503 504' "$STATUS"
with_trouble 'no server' 'cannot be reached'
# The right address comes by an edit; the plane goes on without a restart, or says that it needs one.
resources "$ACCESS_KEY" "$SECRET_KEY" keys
restart_plane
gives 'with all of it right again: pull' "$DIR/got" "$digest" "$PLANE_URL/v2/$url"
end_plane
