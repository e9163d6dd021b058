# Many clients, one cold layer: the upstream sends it once, every client gets every byte, memory stays small. Times are
# told as ratios to one download of the same layer straight from the same upstream; they fail nothing.
# shellcheck shell=bash disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
require curl jq python3

readonly CLIENTS=200 BANDWIDTH=100M
readonly BIG="${HERD_SIZE:-1G}"
ulimit -n 8192

# Image 1: for the direct download and the big herd. 2: compared byte by byte. 3: a herd with stragglers. 4: ranges.
start_upstream up --bandwidth "$BANDWIDTH" --blob "$BIG" --blob 32M --blob 64M --blob 32M
usual_resources
start_plane
note "memory of the idle plane: $(($(high_water_kib) / 1024)) MiB"

# What the high water is made of: pages of its own, and pages of files it has mapped, which the kernel takes back at will.
python3 - "$PLANE_PID" "$DIR/memory" <<'PY' &
import pathlib, sys, time
pid, out = sys.argv[1], pathlib.Path(sys.argv[2])
most = {"RssAnon:": 0, "RssFile:": 0}
while True:
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        break
    for line in lines:
        field, *rest = line.split()
        if field in most:
            most[field] = max(most[field], int(rest[0]))
    out.write_text(", ".join(f"{field} {kib // 1024} MiB" for field, kib in most.items()))
    time.sleep(0.1)
PY
SAMPLER=$!

# herd N FLAG...: on the layer of image N, through the plane; its report in $REPORT.
herd() {
  local n=$1
  shift
  REPORT=$("$TESTKIT/testkit-herd" --url "$(plane_layer "$n")" --timeout-s 500 "$@") || true
}
report() { jq -r "$1" <<<"$REPORT" 2>/dev/null || echo none; }
ratio() { python3 -c 'import sys; print("%.2f" % (float(sys.argv[1]) / float(sys.argv[2])))' "$1" "$2" 2>/dev/null || echo '?'; }

# once N: what the upstream sent of the layer is the layer, once.
once() {
  soon "$1: the upstream is done" 20 settled
  same "$1: bytes the upstream sent of the layer" "$(layer "$2" size)" "$(layer_bytes "$2")"
}
nobody_failed() {
  if [[ $(report .error_count) == 0 && $(report .completed) == "$2" ]]; then
    ok "$1: $2 clients got the right bytes"
  else
    fail "$1: $2 clients got the right bytes" "$(report '"\(.completed) completed, \(.error_count) errors: \(.errors | unique | join("; "))"')"
  fi
}

herd 2 --clients "$CLIENTS" --seed "$(layer 2 seed)" --size "$(layer 2 size)"
nobody_failed 'herd, every byte compared' "$CLIENTS"
once 'herd, every byte compared' 2

herd 3 --clients 60 --seed "$(layer 3 seed)" --size "$(layer 3 size)" --slow 5 --slow-rate 64K --leave 15 --stagger-ms 10
nobody_failed 'late, slow and leaving clients' 55
once 'late, slow and leaving clients' 3

herd 4 --clients 16 --seed "$(layer 4 seed)" --size "$(layer 4 size)" --range
nobody_failed 'each client its own range of a cold layer' 16
once 'each client its own range of a cold layer' 4

one=$(curl -fsS -o /dev/null -w '%{time_total} %{time_starttransfer}' "$(upstream_layer 1)")
one_ms=$(awk '{ printf "%d", $1 * 1000 }' <<<"$one")
first_ms=$(awk '{ printf "%.1f", $2 * 1000 }' <<<"$one")
settled || sleep 1
forget
herd 1 --clients "$CLIENTS" --digest "$(layer 1 digest)" --verify-count 4 --length-only
nobody_failed "$CLIENTS clients, one cold layer of $BIG" "$CLIENTS"
once "$CLIENTS clients, one cold layer of $BIG" 1
note "one download from the upstream: $one_ms ms, first byte after $first_ms ms"
note "first byte of the herd, min/median/max: $(report '.first_byte_ms | "\(.min) / \(.p50) / \(.max)"') ms (aim: within 100 ms of the upstream's)"
note "last client done after $(report .done_ms.max) ms: $(ratio "$(report .done_ms.max)" "$one_ms") x one download (aim: 1.1; the clients share the processors with the plane, which sent them $(python3 -c 'import sys; print("%.1f" % (float(sys.argv[1]) / 1e6 / float(sys.argv[2])))' "$(report .bytes_total)" "$(report .done_ms.max)" 2>/dev/null) GB/s)"
at_most 'most memory ever resident, MiB' 200 "$(($(high_water_kib) / 1024))"
note "most of each kind, sampled: $(cat "$DIR/memory" 2>/dev/null)"
kill "$SAMPLER" 2>/dev/null || true
plane_alive
