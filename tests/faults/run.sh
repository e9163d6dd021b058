#!/bin/bash
# Breaks what can break around the plane, and checks that clients get right bytes or an honest error. Asks for nothing
# outside this machine. Needs root (small file systems, immutable files, a hosts file of its own). See README.md.
#
#   run.sh [SUITE...]      default: all; a suite is a file in suites/
#   LOCKGATE_BIN=FILE      the binary to test; without it the release build of this workspace is made and used
#   HERD_SIZE=64M          a smaller layer for `herd` (default 1G); KILL_ROUNDS=3 fewer rounds of `kill` (default 10)
#   SOAK_SECONDS=600       a longer `soak` (default 70)
#   KEEP=1                 leave the work directory with all logs behind
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
faults=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

readonly ALL_SUITES=(herd outage faults kill disk drain reload catalog tls soak)
# A suite that hangs in spite of the limits of each step ends here.
readonly SUITE_SECONDS=$((600 + ${SOAK_SECONDS:-0}))

suites=("$@")
[[ ${#suites[@]} -gt 0 ]] || suites=("${ALL_SUITES[@]}")
for suite in "${suites[@]}"; do
  [[ -f $faults/suites/$suite.sh ]] || { echo "run.sh: no suite $suite; there are: ${ALL_SUITES[*]}" >&2; exit 64; }
done

build() {
  local root target
  root=$(cd "$faults/../.." && pwd)
  target="${CARGO_TARGET_DIR:-$root/target}"
  (cd "$root" && CARGO_TARGET_DIR="$target" cargo build --release --quiet "$@")
  BUILT="$target/release"
}

clean_up() {
  local pid
  trap - EXIT
  while read -r pid _; do stop "$pid"; done < <(tac "$WORK/pids" 2>/dev/null)
  chattr -R -i "$WORK" 2>/dev/null || true
  unmount_all
  if [[ -n ${KEEP:-} ]]; then echo "kept: $WORK"; else rm -rf --one-file-system "$WORK"; fi
}

if [[ -z ${LOCKGATE_BIN:-} ]]; then
  build --bin lockgate
  LOCKGATE_BIN="$BUILT/lockgate"
fi
[[ -x $LOCKGATE_BIN ]] || { echo "run.sh: $LOCKGATE_BIN is not a program" >&2; exit 64; }
LOCKGATE_BIN=$(realpath "$LOCKGATE_BIN")
TESTKIT=${TESTKIT:-$(dirname "$LOCKGATE_BIN")}
if [[ ! -x $TESTKIT/testkit-registry || ! -x $TESTKIT/testkit-herd || ! -x $TESTKIT/testkit-soak ]]; then
  build --package lockgate-testkit
  TESTKIT=$BUILT
fi

WORK=$(mktemp -d "${TMPDIR:-/tmp}/lockgate-faults.XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -p "$WORK/log" "$WORK/home"
: >"$WORK/pids"
RESULTS="$WORK/results"
: >"$RESULTS"
export HOME="$WORK/home" WORK RESULTS LOCKGATE_BIN TESTKIT
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY

for SUITE in "${suites[@]}"; do
  DIR="$WORK/$SUITE"
  export SUITE DIR
  echo "== $SUITE"
  before=$(wc -l <"$RESULTS")
  mkdir -p "$DIR"
  # A process of its own: `set -e` holds inside, and a suite that breaks off is a failure of that suite only. In the
  # background, because only a `wait` is interrupted by a signal to this script.
  started=$SECONDS
  timeout -k 20 "$SUITE_SECONDS" bash -euo pipefail "$faults/suites/$SUITE.sh" &
  printf '%s %s\n' "$!" "$(started_at "$!")" >>"$WORK/pids"
  wait "$!" || fail 'the suite ran to its end' "exit $? :: $(tail -n 20 "$WORK/log/$SUITE-plane.log" 2>/dev/null)"
  [[ $(wc -l <"$RESULTS") -gt $before ]] || fail 'the suite checked something'
  # What a suite started ends with it: the next one shall not share the machine with it.
  while read -r pid _; do stop "$pid"; done < <(tac "$WORK/pids")
  : >"$WORK/pids"
  if grep -q 'panicked at' "$WORK/log/$SUITE-plane.log" 2>/dev/null; then
    fail 'no thread of the plane panicked' "$(grep -m 3 'panicked at' "$WORK/log/$SUITE-plane.log")"
  fi
  printf '      %s: %s s\n' "$SUITE" "$((SECONDS - started))"
done

passed=$(grep -c '^ok ' "$RESULTS" || true)
failed=$(grep -c '^FAIL ' "$RESULTS" || true)
if [[ $failed -gt 0 ]]; then
  echo '== failed'
  grep '^FAIL ' "$RESULTS"
fi
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
