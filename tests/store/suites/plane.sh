# A plane on S3: pushes and pulls by real clients, restarts, and kill -9 while a large blob is on its way into the bucket.
# shellcheck shell=bash disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/../../faults/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

crane="$tools/bin/crane"
image="team/app"
big="$DIR/big.bin"
head -c 96000000 /dev/urandom >"$big"
digest="sha256:$(sha256_of "$big")"

resources "$ACCESS_KEY" "$SECRET_KEY" plane
start_plane
tar -C "$DIR" -cf "$DIR/layer.tar" big.bin
check 'crane: push of an image of 96 MB' "$crane" append --insecure --oci-empty-base --new_layer "$DIR/layer.tar" --new_tag "$PLANE/$image:1"
pushed=$("$crane" digest --insecure "$PLANE/$image:1" 2>&1)
same 'no blob lies in the data directory' 0 "$(local_blobs)"
if [[ $(objects plane/ | wc -l) -ge 3 ]]; then ok "they lie in the bucket ($(objects plane/ | wc -l) objects)"; else fail 'they lie in the bucket' "$(objects)"; fi
check 'skopeo: pull' skopeo copy --quiet --src-tls-verify=false "docker://$PLANE/$image:1" "oci:$DIR/pulled:x"
restart_plane
rm -rf "$DIR/pulled"
check 'skopeo: pull after a restart' skopeo copy --quiet --src-tls-verify=false "docker://$PLANE/$image:1" "oci:$DIR/pulled:x"
same 'the digest is the same' "$pushed" "$("$crane" digest --insecure "$PLANE/$image:1" 2>&1)"
push_by_curl "$big" "$image"
same 'push by one POST' 201 "$STATUS"
gives 'and its bytes' "$DIR/got" "$digest" "$PLANE_URL/v2/$image/blobs/$digest"
ask "$DIR/part" "$PLANE_URL/v2/$image/blobs/$digest" -H 'Range: bytes=50000000-50000999'
same 'a range from the middle' 206 "$STATUS"
dd if="$big" of="$DIR/part.expected" bs=1000 skip=50000 count=1 2>/dev/null
same_file 'has the bytes of the middle' "$DIR/part.expected" "$DIR/part"

# Killed while the bytes go from the disk to the bucket, in several parts.
cut=0
for round in 1 2 3 4 5 6; do
  head -c 96000000 /dev/urandom >"$DIR/next.bin"
  next="sha256:$(sha256_of "$DIR/next.bin")"
  (push_by_curl "$DIR/next.bin" "$image" && echo "$STATUS" >"$DIR/answer") &
  client=$!
  # Through the upload itself and into the commit, a little further each time.
  sleep "0.$((round * 14))"
  kill_plane
  wait "$client" || true
  answered=$(cat "$DIR/answer" 2>/dev/null || true)
  [[ $answered == 201 ]] || cut=$((cut + 1))
  start_plane
  ask "$DIR/got" "$PLANE_URL/v2/$image/blobs/$next"
  if [[ $answered == 201 ]]; then
    same "round $round: what was answered 201 is there" 200 "$STATUS"
  else
    one_of "round $round: what was not answered is whole or absent" '200 404' "$STATUS"
  fi
  [[ $STATUS != 200 ]] || same "round $round: its bytes are right" "$next" "sha256:$(sha256_of "$DIR/got")"
  push_by_curl "$DIR/next.bin" "$image"
  same "round $round: pushed again" 201 "$STATUS"
  gives "round $round: and pulled" "$DIR/got" "$next" "$PLANE_URL/v2/$image/blobs/$next"
  rm -f "$DIR/got" "$DIR/answer"
done
note "pushes cut by the kills: $cut of 6"
if ((cut > 0)); then ok 'the kills met pushes under way'; else fail 'the kills met pushes under way'; fi
rm -rf "$DIR/pulled"
check 'what was pushed first is whole' skopeo copy --quiet --src-tls-verify=false "docker://$PLANE/$image:1" "oci:$DIR/pulled:x"
same 'multipart uploads left open in the bucket' 0 "$(open_uploads)"
same 'files left below blobs/ and fills/' 0 "$(find "$DIR/data/fills" "$DIR/data/blobs" -type f 2>/dev/null | wc -l)"
# The session of a push that was cut stays for a day: its client may go on with it.
at_most 'files left of uploads' "$((2 * cut))" "$(find "$DIR/data/uploads" -type f 2>/dev/null | wc -l)"
plane_alive
