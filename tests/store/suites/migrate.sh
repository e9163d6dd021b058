# The place of the blobs changes from the data directory to the bucket, and back, while clients pull and push: no request
# fails, every blob arrives, and nothing is left where it was.
# shellcheck shell=bash disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/../../faults/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

readonly BLOBS=60
crane="$tools/bin/crane"
image=team/app
migrate=("$LOCKGATE_BIN" store migrate --data-dir "$DIR/data")
keys=(--endpoint "http://$S3" --region us-east-1 --path-style --access-key-id-file "$DIR/key-id" --secret-access-key-file "$DIR/key-secret")

resources
start_plane
head -c 3000000 /dev/urandom >"$DIR/file.bin"
tar -C "$DIR" -cf "$DIR/layer.tar" file.bin
check 'push of an image' "$crane" append --insecure --oci-empty-base --new_layer "$DIR/layer.tar" --new_tag "$PLANE/$image:1"
digest=$("$crane" digest --insecure "$PLANE/$image:1")
layer=$("$crane" manifest --insecure "$PLANE/$image:1" | jq -r '.layers[0].digest')
bad=0
for ((n = 0; n < BLOBS; n++)); do
  head -c $((200000 + n * 10000)) /dev/urandom >"$DIR/blob"
  push_by_curl "$DIR/blob" "$image"
  [[ $STATUS == 201 ]] || bad=$((bad + 1))
done
same "$BLOBS more blobs: refused" 0 "$bad"
at_rest=$(local_blobs)

# Who pulls and pushes all the time; every line that is not as it should be is a failed request.
pull_and_push() {
  local n=0
  trap 'exit 0' TERM
  while :; do
    n=$((n + 1))
    curl -sS -m 20 -o "$DIR/pulled" -w 'pull %{http_code}\n' "$PLANE_URL/v2/$image/blobs/$layer" >>"$DIR/requests" 2>&1 || echo "pull curl $?" >>"$DIR/requests"
    [[ sha256:$(sha256_of "$DIR/pulled") == "$layer" ]] || echo 'pull wrong' >>"$DIR/requests"
    printf 'push %s of this run\n' "$n" >"$DIR/small"
    curl -sS -m 20 -o /dev/null -w 'push %{http_code}\n' -X POST -H 'Content-Type: application/octet-stream' --data-binary "@$DIR/small" \
      "$PLANE_URL/v2/$image/blobs/uploads/?digest=sha256:$(sha256_of "$DIR/small")" >>"$DIR/requests" 2>&1 || echo "push curl $?" >>"$DIR/requests"
  done
}
pull_and_push &
client=$!

printf '%s' "$ACCESS_KEY" >"$DIR/key-id"
printf '%s' wrong >"$DIR/key-secret"
refused 'to a bucket with a wrong key: refused' "${migrate[@]}" --to "s3://$BUCKET/moved" "${keys[@]}"
contains 'in words' 'keys' "$(tr '[:upper:]' '[:lower:]' <<<"$OUT")"
printf '%s' "$SECRET_KEY" >"$DIR/key-secret"
# Interrupted in the middle, and run again.
timeout -s INT 0.6 "${migrate[@]}" --to "s3://$BUCKET/moved" "${keys[@]}" >"$DIR/interrupted" 2>&1 || true
check 'again, to the end' "${migrate[@]}" --to "s3://$BUCKET/moved" "${keys[@]}"
at_least_objects=$(objects moved/ | wc -l)
if [[ $at_least_objects -ge $at_rest ]]; then ok "the bucket has what the directory had ($at_least_objects, $at_rest)"; else fail 'the bucket has what the directory had' "$at_least_objects of $at_rest"; fi

resources "$ACCESS_KEY" "$SECRET_KEY" moved
writes_there() { "$LOCKGATE_BIN" store ls --data-dir "$DIR/data" 2>/dev/null | grep -q "s3://$BUCKET/moved"; }
soon 'an edit later, blobs are written there' 20 writes_there
check 'what came meanwhile follows, and the directory is left' "${migrate[@]}" --to configured --remove-source
soon 'nothing lies in the data directory' 30 test 0 -eq "$(find "$DIR/data/blobs/sha256" -type f 2>/dev/null | wc -l)"
sleep 2
kill -TERM "$client" 2>/dev/null || true
wait "$client" 2>/dev/null || true
note "$(sort "$DIR/requests" | uniq -c | xargs)"
same 'requests that failed or gave wrong bytes meanwhile' 0 "$(grep -cvxE 'pull 200|push 201' "$DIR/requests" || true)"
restart_plane
rm -rf "$DIR/oci"
check 'pull after a restart' skopeo copy --quiet --src-tls-verify=false "docker://$PLANE/$image:1" "oci:$DIR/oci:x"
same 'the digest is the same' "$digest" "$("$crane" digest --insecure "$PLANE/$image:1" 2>&1)"

# And back.
resources
home() { "$LOCKGATE_BIN" store ls --data-dir "$DIR/data" 2>/dev/null | grep -q '^written.*the data directory'; }
soon 'back to the data directory by an edit' 20 home
check 'all of it back' "${migrate[@]}" --to data-dir --remove-source
rm -rf "$DIR/oci"
check 'pull from the directory' skopeo copy --quiet --src-tls-verify=false "docker://$PLANE/$image:1" "oci:$DIR/oci:x"
plane_alive
