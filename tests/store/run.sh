#!/bin/bash
# The object store, on a real S3 server (SeaweedFS) of this machine: the contract of the store, and a plane that keeps its
# blobs there while it is restarted, killed, given a wrong key, and asked to redirect clients. Asks for nothing outside
# this machine. See README.md.
#
#   run.sh [SUITE...]      contract, plane, keys, redirect, migrate; default: all
#   LOCKGATE_BIN=FILE      the binary to test; without it the release build of this workspace is made and used
#   KEEP=1                 leave the work directory with all logs behind
set -euo pipefail
store=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../faults/lib.sh
source "$store/../faults/lib.sh"
# shellcheck source=lib.sh
source "$store/lib.sh"

readonly ALL_SUITES=(contract plane keys redirect migrate)
readonly SUITE_SECONDS=400

suites=("$@")
[[ ${#suites[@]} -gt 0 ]] || suites=("${ALL_SUITES[@]}")
for suite in "${suites[@]}"; do
  [[ -f $store/suites/$suite.sh ]] || { echo "run.sh: no suite $suite; there are: ${ALL_SUITES[*]}" >&2; exit 64; }
done
[[ -x $tools/seaweedfs/bin/weed ]] || { echo 'run.sh: SeaweedFS is missing; tests/clients/install.sh installs it' >&2; exit 1; }

ROOT=$(cd "$store/../.." && pwd)
if [[ -z ${LOCKGATE_BIN:-} ]]; then
  target="${CARGO_TARGET_DIR:-$ROOT/target}"
  (cd "$ROOT" && CARGO_TARGET_DIR="$target" cargo build --release --quiet --bin lockgate)
  LOCKGATE_BIN="$target/release/lockgate"
fi
LOCKGATE_BIN=$(realpath "$LOCKGATE_BIN")

clean_up() {
  local pid
  trap - EXIT
  while read -r pid _; do stop "$pid"; done < <(tac "$WORK/pids" "$WORK/servers" 2>/dev/null)
  if [[ -n ${KEEP:-} ]]; then echo "kept: $WORK"; else rm -rf --one-file-system "$WORK"; fi
}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/lockgate-store.XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -p "$WORK/log"
: >"$WORK/pids"
RESULTS="$WORK/results"
: >"$RESULTS"
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY
start_s3
export WORK RESULTS LOCKGATE_BIN ROOT S3

for SUITE in "${suites[@]}"; do
  DIR="$WORK/$SUITE"
  export SUITE DIR
  echo "== $SUITE"
  before=$(wc -l <"$RESULTS")
  mkdir -p "$DIR"
  timeout -k 20 "$SUITE_SECONDS" bash -euo pipefail "$store/suites/$SUITE.sh" &
  printf '%s %s\n' "$!" "$(started_at "$!")" >>"$WORK/pids"
  wait "$!" || fail 'the suite ran to its end' "exit $? :: $(tail -n 20 "$WORK/log/$SUITE-plane.log" 2>/dev/null)"
  [[ $(wc -l <"$RESULTS") -gt $before ]] || fail 'the suite checked something'
  if grep -q 'panicked at' "$WORK/log/$SUITE-plane.log" 2>/dev/null; then
    fail 'no thread of the plane panicked' "$(grep -m 3 'panicked at' "$WORK/log/$SUITE-plane.log")"
  fi
done

passed=$(grep -c '^ok ' "$RESULTS" || true)
failed=$(grep -c '^FAIL ' "$RESULTS" || true)
if [[ $failed -gt 0 ]]; then
  echo '== failed'
  grep '^FAIL ' "$RESULTS"
fi
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
