# kill -9 of the plane at random moments while it fills several blobs: after each restart the pulls complete with the
# right bytes, from where they were; nothing below blobs/ is other than its name says; nothing is left lying about.
# shellcheck shell=bash disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
require curl jq sha256sum python3

readonly ROUNDS="${KILL_ROUNDS:-10}" BLOBS=4 SIZE=16M
RANDOM=${KILL_SEED:-$$}
note "seed of the moments: ${KILL_SEED:-$$} (KILL_SEED to repeat)"

flags=()
for ((n = 0; n < ROUNDS * BLOBS; n++)); do flags+=(--blob "$SIZE"); done
start_upstream up --bandwidth 60M "${flags[@]}"
usual_resources

# filling: some fill has begun to arrive.
filling() { [[ -n $(find "$DIR/data/fills" -name '*.part' -size +1k 2>/dev/null) ]]; }
# strays: files where blobs and parts are that are neither.
strays() {
  find "$DIR/data/blobs" "$DIR/data/fills" "$DIR/data/uploads" -type f 2>/dev/null |
    grep -vE "/blobs/sha(256|512)/[0-9a-f]{2}/[0-9a-f]{64,128}$" | wc -l
}
# wrong_blobs: those below blobs/ that do not hash to their name.
wrong_blobs() {
  find "$DIR/data/blobs/sha256" -type f -regextype posix-extended -regex '.*/[0-9a-f]{64}' -exec sha256sum {} + 2>/dev/null |
    awk '{ name = $2; sub(".*/", "", name); if (name != $1) print name }'
}

# pull_all ROUND: all blobs of a round at once; the clients' exit statuses and files are in $DIR/N.
pull_all() {
  local n
  CLIENTS=()
  for ((n = ($1 - 1) * BLOBS + 1; n <= $1 * BLOBS; n++)); do
    # -f: an error body is no blob. A client that is cut off must notice it.
    curl -sS -f -m 60 -o "$DIR/$n" "$(plane_layer "$n")" 2>"$DIR/$n.err" &
    CLIENTS+=("$!:$n")
  done
}
# wait_for_clients: counts those that got a whole body, and those of them that got a wrong one.
wait_for_clients() {
  local client n
  WHOLE=0 WRONG=0
  for client in "${CLIENTS[@]}"; do
    n=${client#*:}
    wait "${client%:*}" || continue
    WHOLE=$((WHOLE + 1))
    [[ sha256:$(sha256_of "$DIR/$n") == "$(layer "$n" digest)" ]] || WRONG=$((WRONG + 1))
    rm -f "$DIR/$n"
  done
}

cut=0 wrong=0 unfinished=0
for ((round = 1; round <= ROUNDS; round++)); do
  start_plane
  pull_all "$round"
  wait_for 'a fill under way' 20 filling
  sleep "0.$(printf '%03d' $((RANDOM % 700)))"
  kill_plane
  wait_for_clients
  cut=$((cut + BLOBS - WHOLE)) wrong=$((wrong + WRONG))
  start_plane
  pull_all "$round"
  if ((round % 2)); then
    # Twice in a row: a fill that is being resumed is cut again.
    sleep "0.$(printf '%03d' $((RANDOM % 400)))"
    kill_plane
    wait_for_clients
    wrong=$((wrong + WRONG))
    start_plane
    pull_all "$round"
  fi
  wait_for_clients
  wrong=$((wrong + WRONG)) unfinished=$((unfinished + BLOBS - WHOLE))
  kill_plane
done

note "transfers cut by the kills: $cut of $((ROUNDS * BLOBS))"
if ((cut > 0)); then ok 'the kills met transfers under way'; else fail 'the kills met transfers under way'; fi
same 'clients that got a whole but wrong body' 0 "$wrong"
same 'pulls that did not complete after the restart' 0 "$unfinished"
nothing 'no file below blobs/ hashes to another name' "$(wrong_blobs)"

start_plane
bad=
for ((n = 1; n <= ROUNDS * BLOBS; n++)); do
  ask "$DIR/again" "$(plane_layer "$n")"
  [[ $CODE -eq 0 && sha256:$(sha256_of "$DIR/again") == "$(layer "$n" digest)" ]] || bad+="blob $n: $(outcome)"$'\n'
done
nothing 'every blob is served in the end' "$bad"
soon 'the upstream is done' 20 settled
sent=$(stats '[.paths[] | .bytes] | add')
size=$(jq '[.images[].layers[].size] | add' "$DIR/up.json")
resumed=$(jq -r 'select(.path | contains("/blobs/")) | .range // empty' "$DIR/up.access" | grep -cv '^bytes=0-$' || true)
note "the upstream sent $((sent * 100 / size)) % of the bytes, in $resumed resumed transfers"
if ((resumed > 0)); then ok "fills resumed where they were ($resumed times)"; else fail 'fills resumed where they were' "no request with a range in $DIR/up.access"; fi
# What was on its way when the process died is fetched again: a few hundred kilobytes of each socket.
at_most 'bytes the upstream sent, in percent of the blobs' 115 "$((sent * 100 / size))"
end_plane
at_most 'files left lying about' "$BLOBS" "$(strays)"
same 'the catalog is sound' ok "$(python3 -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("PRAGMA integrity_check").fetchone()[0])' "$DIR/data/catalog.sqlite" 2>&1)"
