# The disk is full, of bytes or of inodes, at the start of a fill or in the middle of one: clients still get the right
# bytes, what is cached is served, the condition is loud, and all is well again when there is room.
# shellcheck shell=bash disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
require curl jq sha256sum mount
[[ $(id -u) -eq 0 ]] || { fail 'needs root: it mounts a small file system'; exit 1; }

start_upstream up --blob 4M --blob 12M --blob 12M --blob 12M --blob 200M --blob 1M
usual_resources
# The usual reserve is larger than this whole disk.
printf 'cache: { reserve: 1MiB }\n' >"$DIR/lockgate.yaml"
mkdir -p "$DIR/data"
mount -t tmpfs -o size=64m,nr_inodes=400,mode=0700 lockgate-faults "$DIR/data"
start_plane

free_kib() { df --output=avail -k "$DIR/data" | tail -n 1 | tr -d ' '; }
# fill_disk KIB: leaves this much.
fill_disk() { head -c "$((($(free_kib) - $1) * 1024))" /dev/zero >"$DIR/data/ballast" || true; }
restored() { metric_over lockgate_store_free_bytes 20000000; }
little_free() { local free; free=$(metric lockgate_store_free_bytes); [[ $free != none && $free -lt 8000000 ]]; }
hit() {
  local before
  before=$(layer_bytes "$1")
  curl -fsS -m "$HANG_SECONDS" -o "$DIR/hit" "$(plane_layer "$1")" && [[ $(layer_bytes "$1") == "$before" ]]
}
loud() {
  soon "$1: the log says so" 15 log_says "$2"
  soon "$1: /readyz says so" 15 readyz_says "$2"
  plane_alive "$1: the plane is ready all the same"
}

gives 'with room: a layer' "$DIR/got" "$(layer 1 digest)" "$(plane_layer 1)"

fill_disk 2048
gives 'no room for it: a cold layer' "$DIR/got" "$(layer 2 digest)" "$(plane_layer 2)"
gives 'no room: what is cached' "$DIR/got" "$(layer 1 digest)" "$(plane_layer 1)"
gives 'no room: a cold manifest' "$DIR/got" "$(image 3 digest)" "$(plane_manifest 3 latest)"
gives 'no room: a cold layer again' "$DIR/got" "$(layer 2 digest)" "$(plane_layer 2)"
loud 'no room' '(disk|space|full|ENOSPC)'
soon 'no room: /metrics says so' 75 little_free

rm -f "$DIR/data/ballast"
soon 'room again: the plane notices' 75 restored
gives 'room again: a cold layer' "$DIR/got" "$(layer 3 digest)" "$(plane_layer 3)"
soon 'room again: it is kept' 20 hit 3

# Larger than the disk: it must run full in the middle of the fill, with several clients on it.
report=$("$TESTKIT/testkit-herd" --url "$(plane_layer 5)" --clients 8 --seed "$(layer 5 seed)" --size "$(layer 5 size)" --timeout-s 120) || true
same 'full in the middle: clients that got the right bytes of a layer larger than the disk' 8 "$(jq -r 'if .error_count == 0 then .completed else .errors end' <<<"$report" 2>&1)"
plane_alive 'full in the middle: the plane is ready all the same'
soon 'full in the middle: what was kept of it is given back' 75 restored
gives 'afterwards: a cold layer' "$DIR/got" "$(layer 4 digest)" "$(plane_layer 4)"
soon 'afterwards: it is kept' 20 hit 4

mkdir -p "$DIR/data/crowd"
(cd "$DIR/data/crowd" && for ((n = 0; n < 500; n++)); do : >"$n" || break; done) 2>/dev/null || true
same 'inodes in use, percent' 100% "$(df --output=ipcent "$DIR/data" | tail -n 1 | tr -d ' ')"
gives 'no inodes: a cold layer' "$DIR/got" "$(layer 6 digest)" "$(plane_layer 6)"
gives 'no inodes: what is cached' "$DIR/got" "$(layer 4 digest)" "$(plane_layer 4)"
soon 'no inodes: /readyz says so' 75 readyz_says 'inode|(disk|space|full)'
plane_alive 'no inodes: the plane is ready all the same'
rm -rf "$DIR/data/crowd"
gives 'inodes again: a cold layer' "$DIR/got" "$(layer 6 digest)" "$(plane_layer 6)"
soon 'inodes again: it is kept' 75 hit 6

# A start on a full disk is a start.
end_plane
fill_disk 0
start_plane
gives 'started on a full disk: what is cached' "$DIR/got" "$(layer 4 digest)" "$(plane_layer 4)"
gives 'started on a full disk: a cold layer' "$DIR/got" "$(layer 2 digest)" "$(plane_layer 2)"
plane_alive 'started on a full disk: the plane is ready'
rm -f "$DIR/data/ballast"
end_plane
umount -l "$DIR/data"
