#!/bin/bash
# Pull-through proxies side by side, on one machine, in one run: what a cold and a warm pull cost through each of them.
# Prints a table of medians, the aims of the project as ratios of this run, and how to repeat it. It measures; it judges
# nothing, and exits 0 unless something could not be run. See README.md.
#
#   side-by-side.sh [--rounds N] [--peers 'A B …'] [--peer NAME=COMMAND]… [--profile DIR]
#   LOCKGATE_BIN=FILE   the lockgate to measure; without it the release build of this workspace is made and used
#   KEEP=1              leave the work directory with logs and every single figure (figures.tsv) behind
set -euo pipefail
benches=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../tests/clients/lib.sh
source "$benches/../tests/clients/lib.sh"
# shellcheck source=peers.sh
source "$benches/peers.sh"
COMMAND_LINE="benches/side-by-side.sh${*:+ ${*@Q}}"

ROUNDS=3
PEERS=(lockgate nginx distribution docker-registry)
PROFILE=
declare -A GIVEN=()
# A round begins only before this; what was measured by then is told.
readonly BUDGET_SECONDS=540
readonly WRK_SECONDS=2 HERD_CLIENTS=16 HERD_BYTES_PER_SECOND=100000000 TAG_PULLS=1000
readonly ACCEPT='Accept: application/vnd.oci.image.manifest.v1+json'

while [[ $# -gt 0 ]]; do
  case $1 in
    --rounds) ROUNDS=$2 ;;
    --peers) read -ra PEERS <<<"$2" ;;
    --peer) GIVEN[${2%%=*}]=${2#*=} ;;
    --profile) PROFILE=$2 ;;
    *) echo "side-by-side.sh: unknown $1" >&2; exit 64 ;;
  esac
  shift 2
done
PEERS+=("${!GIVEN[@]}")

for tool in curl jq python3 wrk nginx; do
  command -v "$tool" >/dev/null || { echo "side-by-side.sh: needs $tool (apt-get install nginx-light wrk curl jq)" >&2; exit 1; }
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
if [[ ! -x $TESTKIT/testkit-registry || ! -x $TESTKIT/testkit-herd ]]; then
  build --package lockgate-testkit
  TESTKIT=$BUILT
fi

clean_up() {
  local pid
  trap - EXIT
  while read -r pid _; do stop "$pid"; done < <(tac "$WORK/pids" 2>/dev/null)
  if [[ -n ${KEEP:-} ]]; then echo "kept: $WORK"; else rm -rf --one-file-system "$WORK"; fi
}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/lockgate-bench.XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -p "$WORK/log"
: >"$WORK/pids"
FIGURES="$WORK/figures.tsv"
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY

# record METRIC PEER VALUE
record() { [[ -z $3 || $3 == null ]] || printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$FIGURES"; }
calc() { python3 -c 'import sys; print(eval(sys.argv[1]))' "$1"; }

# ---- the upstream ------------------------------------------------------------------------------------------------

# Warm: a large layer, a small one. For each round, cold: a big layer, three small ones, one for the herd, one for a slow line.
start_upstream() {
  local flags=(--blob 512M --blob 64M) round
  for ((round = 1; round <= ROUNDS; round++)); do flags+=(--blob 256M --blob 8M --blob 8M --blob 8M --blob 64M --blob 64M); done
  UPSTREAM="127.0.0.1:$(free_port)"
  daemon upstream bash -c 'exec "${@:2}" >"$1"' upstream "$WORK/upstream.json" \
    "$TESTKIT/testkit-registry" --listen "$UPSTREAM" "${flags[@]}"
  wait_for upstream 60 test -s "$WORK/upstream.json"
}
image() { jq -r ".images[$1].$2" "$WORK/upstream.json"; }
# cold_layer ROUND K: index of its K-th (0: big, 1-3: small, 4: herd, 5: slow line) image.
cold_layer() { echo "$((2 + ($1 - 1) * 6 + $2))"; }
control() { curl -fsS -m 10 -o /dev/null -X POST --data "$1" "http://$UPSTREAM/_control"; }
stats() { curl -fsS -m 10 "http://$UPSTREAM/_stats" | jq -r "$1"; }
forget() { curl -fsS -m 10 -o /dev/null -X DELETE "http://$UPSTREAM/_stats"; }
settled() { [[ $(stats .unfinished) == 0 ]]; }
# quiet: some proxies go on fetching and storing after their client has all; that is not to be in the next figure.
quiet() { wait_for 'end of downloads' 60 settled && sleep 0.3; }

blob_url() { printf 'http://%s/v2/%s%s/blobs/%s' "${ADDRESS[$1]}" "${PREFIX[$1]}" "$(image "$2" name)" "$(image "$2" 'layers[0].digest')"; }
manifest_url() { printf 'http://%s/v2/%s%s/manifests/%s' "${ADDRESS[$1]}" "${PREFIX[$1]}" "$(image "$2" name)" "$3"; }

# ---- what is measured --------------------------------------------------------------------------------------------

# timed URL: time to the first byte and in all, in ms; fails unless it is a 200.
timed() { curl -fsS -m 60 -o /dev/null -w '%{time_starttransfer} %{time_total}\n' "$1" | awk '{ printf "%.2f %.2f\n", $1 * 1000, $2 * 1000 }'; }

cold() {
  local peer=$1 round=$2 k first total
  quiet
  for k in 1 2 3; do
    read -r first _ < <(timed "$(blob_url "$peer" "$(cold_layer "$round" "$k")")")
    record cold_first_byte_ms "$peer" "$first"
  done
  cpu_begin "$peer"
  read -r _ total < <(timed "$(blob_url "$peer" "$(cold_layer "$round" 0)")")
  record cold_256m_ms "$peer" "$total"
  quiet
  record cold_256m_cpu_s "$peer" "$(cpu_used "$peer")"
}

# On a line of 100 MB/s, where it is not the processor that counts.
cold_slow() {
  local peer=$1 total
  quiet
  control "{\"bandwidth\": $HERD_BYTES_PER_SECOND}"
  read -r _ total < <(timed "$(blob_url "$peer" "$(cold_layer "$2" 5)")")
  record cold_slow_ms "$peer" "$total"
  quiet
  control '{"bandwidth": 0}'
}

herd() {
  local peer=$1 n report size
  quiet
  n=$(cold_layer "$2" 4)
  size=$(image "$n" 'layers[0].size')
  control "{\"bandwidth\": $HERD_BYTES_PER_SECOND}"
  forget
  report=$("$TESTKIT/testkit-herd" --url "$(blob_url "$peer" "$n")" --clients "$HERD_CLIENTS" --length-only --timeout-s 60) || true
  quiet
  control '{"bandwidth": 0}'
  if [[ $(jq -r .error_count <<<"$report") != 0 ]]; then echo "  $peer: herd: $(jq -c .errors <<<"$report")" >&2; return 0; fi
  record herd_last_ms "$peer" "$(jq -r .done_ms.max <<<"$report")"
  record herd_first_byte_ms "$peer" "$(jq -r .first_byte_ms.p50 <<<"$report")"
  record herd_downloads "$peer" "$(calc "round($(stats '.paths["'"/v2/$(image "$n" name)/blobs/$(image "$n" 'layers[0].digest')"'"].bytes') / $size, 2)")"
}

# manifests PEER KIND REFERENCE CONNECTIONS
manifests() {
  local peer=$1 kind=$2 url connections=$4 out
  url=$(manifest_url "$peer" 0 "$3")
  curl -fsS -m 20 -o /dev/null -H "$ACCEPT" "$url"
  out=$(wrk -t1 -c"$connections" -d"${WRK_SECONDS}s" --timeout 5s --latency -H "$ACCEPT" "$url")
  if grep -q 'Non-2xx' <<<"$out"; then echo "  $peer: $kind: $(grep 'Non-2xx' <<<"$out")" >&2; return 0; fi
  record "manifest_${kind}_c${connections}_rps" "$peer" "$(awk '/^Requests\/sec/ { print $2 }' <<<"$out")"
  record "manifest_${kind}_c${connections}_p50_ms" "$peer" "$(awk '$1 == "50%" { print $2 }' <<<"$out" | to_ms)"
  record "manifest_${kind}_c${connections}_p99_ms" "$peer" "$(awk '$1 == "99%" { print $2 }' <<<"$out" | to_ms)"
}
to_ms() { sed -E 's/^([0-9.]+)us$/\1 0.001/; s/^([0-9.]+)ms$/\1 1/; s/^([0-9.]+)s$/\1 1000/' | awk '{ printf "%.3f", $1 * $2 }'; }

# warm PEER CLIENTS IMAGE TIMES: a layer that is held, again and again.
warm() {
  local peer=$1 clients=$2 n=$3 times=$4 report bytes=0 ms=0
  curl -fsS -m 60 -o /dev/null "$(blob_url "$peer" "$n")"
  quiet
  cpu_begin "$peer"
  for ((; times > 0; times--)); do
    report=$("$TESTKIT/testkit-herd" --url "$(blob_url "$peer" "$n")" --clients "$clients" --length-only --timeout-s 60) || true
    if [[ $(jq -r .error_count <<<"$report") != 0 ]]; then echo "  $peer: warm: $(jq -c .errors <<<"$report")" >&2; return 0; fi
    bytes=$((bytes + $(jq -r .bytes_total <<<"$report")))
    ms=$(calc "$ms + $(jq -r .took_ms <<<"$report")")
  done
  record "warm_c${clients}_gb_s" "$peer" "$(calc "round($bytes / 1e6 / $ms, 3)")"
  record "warm_c${clients}_cpu_s_per_gb" "$peer" "$(calc "round($(cpu_used "$peer") * 1e9 / $bytes, 4)")"
}

tag_pulls() {
  local peer=$1
  curl -fsS -m 20 -o /dev/null -H "$ACCEPT" "$(manifest_url "$peer" 1 latest)"
  forget
  curl -fsS -m 120 -H "$ACCEPT" -o /dev/null "$(manifest_url "$peer" 1 latest)?[1-$TAG_PULLS]" || true
  record upstream_requests_per_1000_tag_pulls "$peer" "$(calc "$(stats .requests) * 1000 // $TAG_PULLS")"
}

one_round() {
  local round=$1 peer connections
  for peer in direct "${PEERS[@]}"; do cold "$peer" "$round"; done
  for peer in direct "${PEERS[@]}"; do cold_slow "$peer" "$round"; done
  for peer in "${PEERS[@]}"; do herd "$peer" "$round"; done
  for connections in 16 256; do
    for peer in "${PEERS[@]}"; do manifests "$peer" tag latest "$connections"; done
    for peer in "${PEERS[@]}"; do manifests "$peer" digest "$(image 0 digest)" "$connections"; done
  done
  for peer in "${PEERS[@]}"; do warm "$peer" 1 0 4; done
  for peer in "${PEERS[@]}"; do warm "$peer" 4 0 1; done
  for peer in "${PEERS[@]}"; do warm "$peer" 64 1 1; done
  if [[ $round -eq 1 ]]; then
    for peer in "${PEERS[@]}"; do tag_pulls "$peer"; done
  fi
}

# profile: where lockgate spends its time, by perf, in two of the measurements.
profile() {
  command -v perf >/dev/null || { echo 'side-by-side.sh: --profile needs perf' >&2; return 1; }
  mkdir -p "$PROFILE"
  local what
  for what in manifests blobs; do
    perf record -q -F 499 -g -p "${PEER_PID[lockgate]}" -o "$PROFILE/$what.perf" -- sleep 6 >/dev/null 2>&1 &
    local recorder=$!
    sleep 0.5
    case $what in
      manifests) wrk -t1 -c16 -d5s -H "$ACCEPT" "$(manifest_url lockgate 0 latest)" >/dev/null ;;
      blobs) for _ in 1 2 3; do "$TESTKIT/testkit-herd" --url "$(blob_url lockgate 0)" --clients 4 --length-only >/dev/null; done ;;
    esac
    wait "$recorder" || true
    perf report -i "$PROFILE/$what.perf" --no-children --percent-limit 1 --stdio -g none 2>/dev/null | grep -v '^#' | grep -v '^$' >"$PROFILE/$what.txt" || true
    echo "profile of $what, $PROFILE/$what.txt:"
    head -n 15 "$PROFILE/$what.txt"
  done
}

# ---- the run -----------------------------------------------------------------------------------------------------

start_upstream
declare -A ADDRESS=([direct]=$UPSTREAM) PREFIX=([direct]='') PEER_PID=([direct]='') VERSION=()
for peer in "${PEERS[@]}"; do start_peer "$peer"; done
sleep 1
for peer in "${PEERS[@]}"; do record memory_idle_mib "$peer" "$(memory_mib "$peer" VmRSS)"; done
rounds=0
for ((round = 1; round <= ROUNDS; round++)); do
  [[ $SECONDS -lt $BUDGET_SECONDS ]] || { echo "side-by-side.sh: out of time after $rounds rounds" >&2; break; }
  echo "round $round of $ROUNDS ($SECONDS s)" >&2
  one_round "$round"
  rounds=$round
done
for peer in "${PEERS[@]}"; do
  record memory_high_water_mib "$peer" "$(memory_mib "$peer" VmHWM)"
  record memory_own_mib "$peer" "$(memory_mib "$peer" RssAnon)"
done

printf 'Side by side, %s, %s, %s processors, Linux %s; %s rounds, medians; %s s\n' \
  "$(date -u +%F)" "$(awk -F ': ' '/^model name/ { print $2; exit }' /proc/cpuinfo)" "$(nproc)" "$(uname -r)" "$rounds" "$SECONDS"
for peer in "${PEERS[@]}"; do printf '  %-16s %s\n' "$peer" "${VERSION[$peer]}"; done
"$benches/table.py" "$FIGURES" direct "${PEERS[@]}"
printf 'To repeat: %s\n' "$COMMAND_LINE"
[[ -z $PROFILE ]] || profile
