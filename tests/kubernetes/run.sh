#!/bin/bash
# Kubernetes' own code against the plane: tokens of two real API servers that call themselves the same, and the kubelet's
# own code that runs our credential provider. Asks for nothing outside this machine. See README.md.
#
#   run.sh [SUITE...]      peers, issuers, discovery, kubelet; default: all
#   LOCKGATE_BIN=FILE      the binary to test; without it the release build of this workspace is made and used
#   KEEP=1                 leave the work directory with all logs behind
set -euo pipefail
kubernetes=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
source "$kubernetes/lib.sh"

readonly ALL_SUITES=(peers issuers discovery kubelet)
readonly SUITE_SECONDS=400

suites=("$@")
[[ ${#suites[@]} -gt 0 ]] || suites=("${ALL_SUITES[@]}")
for suite in "${suites[@]}"; do
  [[ -f $kubernetes/suites/$suite.sh ]] || { echo "run.sh: no suite $suite; there are: ${ALL_SUITES[*]}" >&2; exit 64; }
done
incomplete=0
for program in etcd kube-apiserver credential-plugin-driver; do
  [[ -x $tools/bin/$program ]] || { echo "run.sh: $program is missing; tests/kubernetes/install.sh builds it" >&2; incomplete=1; }
done
for program in crane distribution; do
  [[ -x $tools/bin/$program ]] || { echo "run.sh: $program is missing; tests/clients/install.sh builds it" >&2; incomplete=1; }
done
for program in curl jq openssl python3 skopeo; do
  command -v "$program" >/dev/null || { echo "run.sh: $program is missing; tests/clients/install.sh installs it" >&2; incomplete=1; }
done
[[ $incomplete -eq 0 ]] || exit 1

ROOT=$(cd "$kubernetes/../.." && pwd)
if [[ -z ${LOCKGATE_BIN:-} ]]; then
  target="${CARGO_TARGET_DIR:-$ROOT/target}"
  (cd "$ROOT" && CARGO_TARGET_DIR="$target" cargo build --release --quiet --bin lockgate)
  LOCKGATE_BIN="$target/release/lockgate"
fi
LOCKGATE_BIN=$(realpath "$LOCKGATE_BIN")

clean_up() {
  local pid
  trap - EXIT
  while read -r pid _; do stop "$pid"; done < <(tac "$WORK/pids" 2>/dev/null)
  if [[ -n ${KEEP:-} ]]; then echo "kept: $WORK"; else rm -rf --one-file-system "$WORK"; fi
}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/lockgate-kubernetes.XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -p "$WORK/log" "$WORK/home"
: >"$WORK/pids"
RESULTS="$WORK/results"
: >"$RESULTS"
# Clients read and write settings below HOME: they must find none of the user's and leave none.
export HOME="$WORK/home" XDG_RUNTIME_DIR="$WORK/home" LOCKGATE_TOOLS="$tools"
unset DOCKER_CONFIG REGISTRY_AUTH_FILE KUBECONFIG
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY

echo '== two clusters and an upstream'
start_etcd
# Of two kinds, because a cluster's administrator chooses.
make_cluster a RSA
make_cluster b EC
for cluster in a b; do
  start_cluster "$cluster"
  populate "$cluster"
done
start_upstream_registry
export WORK RESULTS LOCKGATE_BIN ROOT ETCD REGISTRY DIGEST

for SUITE in "${suites[@]}"; do
  DIR="$WORK/$SUITE"
  export SUITE DIR
  echo "== $SUITE"
  before=$(wc -l <"$RESULTS")
  mkdir -p "$DIR"
  timeout -k 20 "$SUITE_SECONDS" bash -euo pipefail "$kubernetes/suites/$SUITE.sh" &
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
