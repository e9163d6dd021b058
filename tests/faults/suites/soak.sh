# Pushes, tags that move, deletes, pulls and collection all at once on a hosted repository, with graces of seconds, while
# the plane is killed (-9) again and again. `testkit-soak` knows what must be there: nothing reachable is ever lost, and
# after a last collection nothing else is left.
# shellcheck shell=bash disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
require curl jq sha256sum python3

readonly SECONDS_OF_WORK="${SOAK_SECONDS:-70}" WORKERS="${SOAK_WORKERS:-6}"
readonly SEED="${SOAK_SEED:-$$}"
RANDOM=$SEED
note "seed: $SEED (SOAK_SEED to repeat), $SECONDS_OF_WORK s of work (SOAK_SECONDS for more)"

mkdir -p "$DIR/resources"
cat >"$DIR/resources/all.yaml" <<'YAML'
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: soak }
spec:
  hosted: { untagged: { keepFor: 3s } }
---
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: { name: anybody }
spec:
  allow: [{ subjects: [{ kind: Anonymous }], actions: ["*"], repositories: ["**"] }]
YAML
# Short enough for many rounds, long enough that most pushes are done in between.
cat >"$DIR/lockgate.yaml" <<'YAML'
gc: { interval: 1s, blobGrace: 3s, uploadTtl: 5s }
cache: { grace: 1s }
YAML

# driver_works: the process in DRIVER is still at it.
driver_works() { kill -0 "$DRIVER" 2>/dev/null; }
# files: of blobs, by digest. catalog QUERY: once the plane, which has it for itself, has ended.
files() { find "$DIR/data/blobs" -type f -regextype posix-extended -regex '.*/[0-9a-f]{64}' -printf '%f\n' | LC_ALL=C sort; }
catalog() { python3 -c 'import sqlite3, sys; [print(*row) for row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2])]' "$DIR/data/catalog.sqlite" "$1" 2>&1; }
wrong_blobs() {
  find "$DIR/data/blobs/sha256" -type f -regextype posix-extended -regex '.*/[0-9a-f]{64}' -exec sha256sum {} + 2>/dev/null |
    awk '{ name = $2; sub(".*/", "", name); if (name != $1) print name }'
}
uploads_gone() { [[ -z $(find "$DIR/data/uploads" -type f 2>/dev/null) ]]; }
# quiet_below_blobs: nothing came or went for a while. A sweep takes a thousand files at a time.
quiet_below_blobs() {
  local before
  before=$(files | wc -l)
  sleep 8
  [[ $(files | wc -l) -eq $before ]]
}

# at_least TEXT LIMIT ACTUAL
at_least() { if [[ $3 -ge $2 ]]; then ok "$1 ($3)"; else fail "$1" "at least: $2"$'\n'"actual:   $3"; fi; }

start_plane
soak=("$TESTKIT/testkit-soak" --addr "$PLANE" --repository soak --model "$DIR/model.json")
"${soak[@]}" --seconds "$SECONDS_OF_WORK" --seed "$SEED" --workers "$WORKERS" >"$DIR/work.json" 2>"$DIR/work.err" &
DRIVER=$!
kills=0 collected=0
while driver_works; do
  # Collection begins some seconds after a start; it must have the time to come.
  for ((tenth = 0; tenth < 60 + RANDOM % 90; tenth++)); do
    driver_works || break
    sleep 0.1
  done
  driver_works || break
  collected=$((collected + $(count lockgate_collected_manifests) + $(count lockgate_collected_blobs)))
  kill_plane
  kills=$((kills + 1))
  start_plane
done
code=0
wait "$DRIVER" || code=$?
collected=$((collected + $(count lockgate_collected_manifests) + $(count lockgate_collected_blobs)))
note "$kills kills; collected under way: $collected manifests and blobs; $(jq -c .done "$DIR/work.json" 2>/dev/null)"
same 'the driver came to its end, nothing reachable was lost under way' 0 "$code"
nothing 'what was lost, or wrong' "$(jq -r '.wrong[]?' "$DIR/work.json" 2>/dev/null; cat "$DIR/work.err")"
at_least 'the plane was killed' 2 "$kills"
at_least 'collection took something away meanwhile' 20 "$collected"
at_least 'images were pushed' 50 "$(jq -r '.done["image pushed"] // 0' "$DIR/work.json")"

restart_plane
check 'after a clean restart nothing reachable is lost' "${soak[@]}" --verify
same 'after it, wrong' 0 "$(jq -r .wrong_count <<<"$OUT")"

check 'a last collection, without graces' "$LOCKGATE_BIN" gc --untagged-for 0s --blobs-unused-for 0s --data-dir "$DIR/data"
check 'what is reachable is there, and nothing else' "${soak[@]}" --gone
same 'left' 0 "$(jq -r .left_count <<<"$OUT")"
nothing 'what was left' "$(jq -r '.left[]?, .wrong[]?' <<<"$OUT")"
check 'a dry run finds nothing more' "$LOCKGATE_BIN" gc --dry-run --untagged-for 0s --blobs-unused-for 0s --json --data-dir "$DIR/data"

soon 'the files of what is gone are swept' 10 quiet_below_blobs
soon 'uploads that nobody ended are gone' 60 uploads_gone
plane_alive
end_plane
nothing 'no file below blobs/ hashes to another name' "$(wrong_blobs)"
catalog 'SELECT substr(digest, 8) FROM blob' | LC_ALL=C sort >"$DIR/rows"
same 'nothing is on its way out' 0 "$(catalog 'SELECT count(*) FROM blob WHERE condemned_at IS NOT NULL')"
# A kill between a file and its row leaves the file, for a purge of what is unknown to find.
at_most 'files without a row' "$kills" "$(comm -23 <(files) "$DIR/rows" | wc -l)"
nothing 'rows without a file' "$(comm -13 <(files) "$DIR/rows")"
same 'the catalog is sound' ok "$(catalog 'PRAGMA integrity_check')"
