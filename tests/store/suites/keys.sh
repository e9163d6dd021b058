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

# says_so TEXT WORDS: in the answer, in the log or by doctor.
says_so() {
  local doctor
  doctor=$("$LOCKGATE_BIN" doctor --data-dir "$DIR/data" 2>&1 || true)
  if grep -qiE "$2" <<<"$(cat "$DIR/push.body" "$DIR/got" 2>/dev/null) $doctor $(readyz)"; then
    ok "$1: $(grep -iE -m 1 -o ".{0,60}($2).{0,100}" <<<"$(cat "$DIR/push.body" 2>/dev/null) $doctor")"
  else
    fail "$1" "answer: $(cat "$DIR/push.body" "$DIR/got" 2>/dev/null)"$'\n'"doctor: $doctor"
  fi
}
# with_trouble TEXT WORDS: pushes and pulls are refused as not possible now; then the words.
with_trouble() {
  printf 'other bytes of %s\n' "$1" >"$DIR/other"
  push_by_curl "$DIR/other" team/app
  one_of "$1: a push" '500 502 503 507' "$STATUS"
  says_so "$1: why is told" "$2"
}

resources "$ACCESS_KEY" wrong-secret keys
start_plane
ask "$DIR/got" "$PLANE_URL/v2/$url"
one_of 'wrong secret: a pull is never absent' '200 500 502 503' "$STATUS"
with_trouble 'wrong secret' 'key|credential|signature'
refused 'wrong secret: does not show in what the plane says' grep -rq wrong-secret "$PLANE_LOG"
end_plane

resources "$READER_KEY" "$READER_SECRET" keys
start_plane
gives 'a key that may only read: pull' "$DIR/got" "$digest" "$PLANE_URL/v2/$url"
with_trouble 'a key that may only read' 'denied|not allowed|may not|permission|forbidden|key'
end_plane

resources "$ACCESS_KEY" "$SECRET_KEY" keys
sed -i "s|http://$S3|http://127.0.0.1:$(free_port)|" "$DIR/resources/all.yaml"
start_plane
ask "$DIR/got" "$PLANE_URL/v2/$url"
one_of 'no server: a pull is never absent' '500 502 503 504' "$STATUS"
with_trouble 'no server' 'connect|reach|refused'
# The right address comes by an edit; the plane goes on without a restart, or says that it needs one.
resources "$ACCESS_KEY" "$SECRET_KEY" keys
restart_plane
gives 'with all of it right again: pull' "$DIR/got" "$digest" "$PLANE_URL/v2/$url"
end_plane
