# The catalog is locked by another process, made read-only, deleted, replaced by nonsense: what is hot is served all the
# while, and the plane recovers by itself.
# shellcheck shell=bash disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
require curl jq sha256sum python3 chattr

start_upstream up --image 100K,1M --image 1M --image 1M --image 1M --image 1M --image 1M
usual_resources
start_plane

# hot WHEN: an image that was pulled before, several times over.
hot() {
  local n
  gives "$1: hot tag" "$DIR/got" "$(image 1 digest)" "$(plane_manifest 1 latest)"
  gives "$1: hot manifest by digest" "$DIR/got" "$(image 1 digest)" "$(plane_manifest 1 "$(image 1 digest)")"
  for n in 1 2; do gives "$1: hot layer $n" "$DIR/got" "$(layer 1 digest "$n")" "$(plane_layer 1 "$n")"; done
  local bad
  bad=$(curl -sS -m 60 -H "$ACCEPT" -o /dev/null -w '%{http_code}\n' "$(plane_manifest 1 latest)?[1-300]" \
    -o /dev/null "$(plane_layer 1)?[1-50]" 2>&1 | grep -vx 200 | sort | uniq -c || true)
  nothing "$1: 350 hot requests on one connection" "$bad"
}
# cold WHEN N: it may fail while there is no catalog, but honestly and in time.
cold() {
  ask "$DIR/cold" "$(plane_layer "$2")"
  if [[ $CODE -eq 0 && $STATUS == 200 && sha256:$(sha256_of "$DIR/cold") == "$(layer "$2" digest)" ]]; then
    ok "$1: a cold layer is served as well"
  else
    one_of "$1: a cold layer is refused for now, status" '503' "$STATUS"
  fi
}
kept() {
  local before
  before=$(layer_bytes "$1")
  curl -fsS -m "$HANG_SECONDS" -o "$DIR/kept" "$(plane_layer "$1")" && [[ sha256:$(sha256_of "$DIR/kept") == "$(layer "$1" digest)" && $(layer_bytes "$1") == "$before" ]]
}
drained() { metric_is lockgate_catalog_writable 1 && metric_is lockgate_catalog_waiting_batches 0; }

hot 'before'
soon 'before: the catalog is written' 10 drained

python3 - "$DIR/data/catalog.sqlite" "$DIR/locked" <<'PY' &
import pathlib, sqlite3, sys, time
held = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
try:
    held.execute("BEGIN EXCLUSIVE")
except sqlite3.OperationalError as refusal:
    # The plane keeps others out of its catalog altogether: nobody can lock it against it.
    pathlib.Path(sys.argv[2]).write_text(f"refused: {refusal}")
    sys.exit()
pathlib.Path(sys.argv[2]).write_text("locked")
while pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.1)
held.execute("ROLLBACK")
PY
LOCKER=$!
wait_for 'lock' 40 test -s "$DIR/locked"
note "another process that asks for an exclusive lock: $(cat "$DIR/locked")"
hot 'locked'
cold 'locked' 2
plane_alive 'locked: the plane is ready'
rm "$DIR/locked"
wait "$LOCKER" || true
soon 'unlocked: what waited is written' 40 drained
same 'unlocked: nothing was lost' 0 "$(metric lockgate_catalog_gaps)"
soon 'unlocked: a cold layer is served and kept' 30 kept 2

if touch "$DIR/probe" && chattr +i "$DIR/probe" 2>/dev/null && ! { echo x >>"$DIR/probe"; } 2>/dev/null; then
  chattr -i "$DIR/probe"
  # Written out first: the kernel asks again before it lets a mapped page that is clean be changed.
  sync "$DIR"/data/catalog.sqlite*
  chattr +i "$DIR"/data/catalog.sqlite*
  hot 'read-only'
  cold 'read-only' 3
  plane_alive 'read-only: the plane is ready'
  end_plane
  start_plane
  plane_alive 'started on a read-only catalog: the plane is ready'
  gives 'started on a read-only catalog: a tag' "$DIR/got" "$(image 1 digest)" "$(plane_manifest 1 latest)"
  gives 'started on a read-only catalog: a layer' "$DIR/got" "$(layer 1 digest)" "$(plane_layer 1)"
  chattr -i "$DIR"/data/catalog.sqlite*
  soon 'writable again: what waited is written' 75 drained
else
  chattr -i "$DIR/probe" 2>/dev/null || true
  note 'this file system knows no immutable files: read-only is not tried'
fi

hot 'before it is deleted'
rm -f "$DIR"/data/catalog.sqlite*
hot 'deleted'
cold 'deleted' 4
plane_alive 'deleted: the plane is ready'
soon 'deleted: there is a new catalog before long' 75 test -s "$DIR/data/catalog.sqlite"
soon 'deleted: it is written' 40 drained
soon 'deleted: a cold layer is served and kept' 30 kept 5

end_plane
rm -f "$DIR"/data/catalog.sqlite*
head -c 100000 /dev/urandom >"$DIR/data/catalog.sqlite"
start_plane
plane_alive 'replaced by nonsense: the plane starts'
soon 'replaced by nonsense: the log says so' 5 log_says 'catalog'
gives 'replaced by nonsense: a tag' "$DIR/got" "$(image 1 digest)" "$(plane_manifest 1 latest)"
gives 'replaced by nonsense: a layer' "$DIR/got" "$(layer 1 digest)" "$(plane_layer 1)"
soon 'replaced by nonsense: a cold layer is served and kept' 30 kept 6
