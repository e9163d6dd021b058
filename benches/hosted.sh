#!/bin/bash
# Registries side by side, on one machine, in one run: what pushes, pulls and lists cost on each of them, as hosts of what
# is pushed. The work is that of zot's `zb`: images of one layer of 1, 10 and 100 MB, pushed in one piece and in chunks,
# pulled, and mixed; lists of many tags and of many repositories. Prints a table of medians. It measures; it judges
# nothing, and exits 0 unless something could not be run. See README.md.
#
#   hosted.sh [--rounds N] [--peers 'A B …'] [--clients N] [--tags N] [--names N] [--size 'A B …']
#   LOCKGATE_BIN=FILE   the lockgate to measure; without it the release build of this workspace is made and used
#   KEEP=1              leave the work directory with logs and every single figure (figures.tsv) behind
set -euo pipefail
benches=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../tests/clients/lib.sh
source "$benches/../tests/clients/lib.sh"
# shellcheck source=peers.sh
source "$benches/peers.sh"
COMMAND_LINE="benches/hosted.sh${*:+ ${*@Q}}"

ROUNDS=3 CLIENTS=4 TAGS=10000 NAMES=100000
PEERS=(lockgate distribution docker-registry)
SIZES=(1 10 100)
declare -A REQUESTS=([1]=200 [10]=40 [100]=8)
declare -A GIVEN=() ADDRESS=() PEER_PID=() VERSION=() PREFIX=()
readonly LIST_REQUESTS=20

while [[ $# -gt 0 ]]; do
  case $1 in
    --rounds) ROUNDS=$2 ;;
    --peers) read -ra PEERS <<<"$2" ;;
    --clients) CLIENTS=$2 ;;
    --tags) TAGS=$2 ;;
    --names) NAMES=$2 ;;
    --size) read -ra SIZES <<<"$2" ;;
    *) echo "hosted.sh: unknown $1" >&2; exit 64 ;;
  esac
  shift 2
done

build() {
  local root="$benches/.." target
  target="${CARGO_TARGET_DIR:-$root/target}"
  (cd "$root" && CARGO_TARGET_DIR="$target" cargo build --release --quiet "$@")
  BUILT="$target/release"
}
if [[ -z ${LOCKGATE_BIN:-} ]]; then
  build --bin lockgate
  LOCKGATE_BIN="$BUILT/lockgate"
fi
TESTKIT=${TESTKIT:-$(dirname "$LOCKGATE_BIN")}
if [[ ! -x $TESTKIT/testkit-load ]]; then
  build --package lockgate-testkit
  TESTKIT=$BUILT
fi

clean_up() {
  local pid
  trap - EXIT
  while read -r pid _; do stop "$pid"; done < <(tac "$WORK/pids" 2>/dev/null)
  if [[ -n ${KEEP:-} ]]; then echo "kept: $WORK"; else rm -rf --one-file-system "$WORK"; fi
}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/lockgate-hosted.XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -p "$WORK/log"
: >"$WORK/pids"
FIGURES="$WORK/figures.tsv"
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY

record() { [[ -z $3 || $3 == null ]] || printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$FIGURES"; }
calc() { python3 -c 'import sys; print(eval(sys.argv[1]))' "$1"; }

# begin_peer NAME: with nothing in it. Only one runs at a time: the machine is small.
begin_peer() {
  local name=$1 dir="$WORK/$1"
  rm -rf --one-file-system "$dir"
  mkdir -p "$dir/resources"
  ADDRESS[$name]="127.0.0.1:$(free_port)"
  case $name in
    lockgate)
      cat >"$dir/resources/all.yaml" <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: load }
spec:
  hosted: {}
---
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: { name: anybody }
spec:
  allow: [{ subjects: [{ kind: Anonymous }], actions: ["*"], repositories: ["**"] }]
YAML
      VERSION[lockgate]=$("$LOCKGATE_BIN" --version 2>/dev/null || echo "$LOCKGATE_BIN")
      daemon lockgate "$LOCKGATE_BIN" serve --listen "${ADDRESS[lockgate]}" --data-dir "$dir/data" --resources "$dir/resources"
      ;;
    distribution) begin_distribution "$name" "$tools/bin/distribution" "$dir" ;;
    docker-registry) begin_distribution "$name" docker-registry "$dir" ;;
    *) echo "hosted.sh: no peer $name" >&2; return 64 ;;
  esac
  PEER_PID[$name]=$DAEMON_PID
  wait_for "$name" 30 answers "http://${ADDRESS[$name]}/v2/" || { tail -n 20 "$WORK/log/$name.log" >&2; return 1; }
}
# begin_distribution NAME PROGRAM DIRECTORY: the settings of its own container image.
begin_distribution() {
  printf 'version: 0.1\nlog: { level: info }\nstorage:\n  cache: { blobdescriptor: inmemory }\n  filesystem: { rootdirectory: %s/data }\n  delete: { enabled: true }\nhttp: { addr: "%s", secret: of-this-run-only }\n%s' \
    "$3" "${ADDRESS[$1]}" 'catalog: { maxentries: 1000 }' >"$3/config.yml"
  [[ $1 == distribution ]] || sed -i '/^catalog:/d' "$3/config.yml"
  VERSION[$1]=$("$2" --version 2>&1 | head -n 1 | awk '{ print $NF }')
  daemon "$1" env OTEL_TRACES_EXPORTER=none "$2" serve "$3/config.yml"
}

# work PEER LABEL FLAG...: figures LABEL_per_second, _mb_per_second, _p50_ms, _p99_ms; nothing if anything failed.
work() {
  local peer=$1 label=$2 report
  shift 2
  report=$("$TESTKIT/testkit-load" --addr "${ADDRESS[$peer]}" --clients "$CLIENTS" "$@" 2>&1) || true
  if [[ $(jq -r .error_count <<<"$report" 2>/dev/null) != 0 ]]; then
    echo "  $peer: $label: $(jq -c .errors <<<"$report" 2>/dev/null || echo "$report")" | cut -c 1-300 >&2
    return 0
  fi
  for figure in per_second mb_per_second p50_ms p99_ms; do record "${label}_$figure" "$peer" "$(jq -r ".$figure" <<<"$report")"; done
}

one_round() {
  local peer=$1 round=$2 size kind
  for size in "${SIZES[@]}"; do
    for kind in push push-chunked pull mixed; do
      work "$peer" "${kind//-/_}_${size}m" --work "$kind" --name "load/$kind-$size" --size "${size}M" --requests "${REQUESTS[$size]:-20}" --run "$round"
    done
  done
}

# seed_names PEER: so many repositories. Pushed where that is fast; distribution takes minutes for it, but its repositories
# are directories, so those are made.
seed_names() {
  local peer=$1
  case $peer in
    lockgate) work "$peer" seed_names --work seed-names --name load/seed --size 4K --requests "$NAMES" --clients 16 ;;
    *) python3 - "$WORK/$peer/data/docker/registry/v2/repositories" "$NAMES" <<'PY'
import pathlib, sys
top, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
for number in range(count):
    for part in ("_layers", "_manifests"):
        (top / "load" / "seed" / f"n{number % 1000:03}" / f"1-{number:06}" / part).mkdir(parents=True, exist_ok=True)
PY
      ;;
  esac
}

echo "$(nproc) processors, $CLIENTS clients, $ROUNDS rounds; zot is not served by the Go module proxy in reach, so it is not here"
for peer in "${PEERS[@]}"; do
  echo "== $peer"
  begin_peer "$peer"
  record memory_idle_mib "$peer" "$(memory_mib "$peer" VmRSS)"
  for ((round = 1; round <= ROUNDS; round++)); do one_round "$peer" "$round"; done
  if [[ $TAGS -gt 0 ]]; then
    work "$peer" seed_tags --work seed-tags --name load/tags --size 4K --requests "$TAGS" --clients 8
    work "$peer" tags_whole --work list --path "/v2/load/tags/tags/list?n=$TAGS" --requests "$LIST_REQUESTS"
    work "$peer" tags_paged --work list --path '/v2/load/tags/tags/list?n=1000' --requests "$LIST_REQUESTS"
  fi
  if [[ $NAMES -gt 0 ]]; then
    seed_names "$peer"
    work "$peer" catalog_whole --work list --path '/v2/_catalog?n=1000' --requests 1 --clients 1
  fi
  record memory_high_water_mib "$peer" "$(memory_mib "$peer" VmHWM)"
  record memory_own_mib "$peer" "$(memory_mib "$peer" RssAnon)"
  stop "${PEER_PID[$peer]}"
  rm -rf --one-file-system "${WORK:?}/$peer"
done

echo
for peer in "${PEERS[@]}"; do echo "$peer: ${VERSION[$peer]}"; done
echo
"$benches/table.py" --hosted "$FIGURES" "${PEERS[@]}"
echo
echo "again: $COMMAND_LINE"
