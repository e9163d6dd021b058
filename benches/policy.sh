#!/bin/bash
# What deciding costs: warm manifests through one lockgate without artifact policies and one with twenty rules, in pairs, in
# one run, by tag and by digest. Prints requests per second of each pair and the median of their ratios. It measures; it
# judges nothing. See README.md.
#
#   policy.sh [--pairs N] [--seconds S] [--connections C]
#   LOCKGATE_BIN=FILE   the lockgate to measure; without it the release build of this workspace is made and used
set -euo pipefail
benches=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../tests/clients/lib.sh
source "$benches/../tests/clients/lib.sh"

PAIRS=7 SECONDS_EACH=3 CONNECTIONS=16
while [[ $# -gt 0 ]]; do
  case $1 in
    --pairs) PAIRS=$2 ;;
    --seconds) SECONDS_EACH=$2 ;;
    --connections) CONNECTIONS=$2 ;;
    *) echo "policy.sh: unknown $1" >&2; exit 64 ;;
  esac
  shift 2
done
for tool in curl jq python3 wrk; do
  command -v "$tool" >/dev/null || { echo "policy.sh: needs $tool (apt-get install wrk curl jq)" >&2; exit 1; }
done
if [[ -z ${LOCKGATE_BIN:-} ]]; then
  target="${CARGO_TARGET_DIR:-$benches/../target}"
  (cd "$benches/.." && CARGO_TARGET_DIR="$target" cargo build --release --quiet --bin lockgate)
  LOCKGATE_BIN="$target/release/lockgate"
fi
TESTKIT=${TESTKIT:-$(dirname "$LOCKGATE_BIN")}

clean_up() {
  local pid
  trap - EXIT
  while read -r pid _; do stop "$pid"; done < <(tac "$WORK/pids" 2>/dev/null)
  rm -rf --one-file-system "$WORK"
}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/lockgate-policy.XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -p "$WORK/log"
: >"$WORK/pids"
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY

UPSTREAM="127.0.0.1:$(free_port)"
daemon upstream bash -c 'exec "${@:2}" >"$1"' upstream "$WORK/upstream.json" \
  "$TESTKIT/testkit-registry" --listen "$UPSTREAM" --blob 1M
wait_for upstream 60 test -s "$WORK/upstream.json"
NAME=$(jq -r '.images[0].name' "$WORK/upstream.json")
TAG=$(jq -r '.images[0].tag // "latest"' "$WORK/upstream.json")
DIGEST=$(jq -r '.images[0].manifest // .images[0].digest' "$WORK/upstream.json")

common() {
  cat <<EOF
apiVersion: lockgate.dev/v1alpha1
kind: Upstream
metadata: { name: up }
spec: { endpoints: [{ url: "http://$UPSTREAM" }], boundary: { privateAddresses: true } }
---
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: reg }
spec: { remote: { upstream: up, freshness: { tagTtl: 1h } } }
EOF
}

# Twenty rules, typed and CEL, none of which refuses.
policies() {
  cat <<EOF
---
apiVersion: lockgate.dev/v1alpha1
kind: ArtifactPolicy
metadata: { name: typed }
spec:
  match: { repositories: ["reg/**"], purposes: [Deploy] }
  rules:
EOF
  local n
  for n in 1 2 3; do
    cat <<EOF
    - { name: repositories-$n, repositories: { allow: ["reg/**"], deny: ["reg/evil-$n/**"] } }
    - { name: upstreams-$n, upstreams: { allow: [up] } }
    - { name: tags-$n, tags: { deny: ["nightly-$n*"] } }
    - { name: size-$n, size: { max: 100GiB } }
    - { name: media-types-$n, mediaTypes: { deny: ["application/x-evil-$n"] } }
EOF
  done
  cat <<'EOF'
---
apiVersion: lockgate.dev/v1alpha1
kind: ArtifactPolicy
metadata: { name: cel }
spec:
  rules:
    - { name: labels, deny: '"org.evil" in artifact.labels' }
    - { name: name, deny: 'artifact.name.startsWith("reg/evil")' }
    - { name: layers, deny: 'artifact.layerCount > 500' }
    - { name: size, deny: 'artifact.sizeBytes > 1099511627776' }
    - { name: tag, deny: 'request.tag.matches("^(nightly|snapshot)-")' }
EOF
}

plane() {
  local name=$1 resources=$2 port
  port=$(free_port)
  declare -g "AT_$name=127.0.0.1:$port"
  daemon "$name" "$LOCKGATE_BIN" serve --listen "127.0.0.1:$port" --data-dir "$WORK/$name" --resources "$resources"
  wait_for "$name" 30 curl -fsS -o /dev/null "http://127.0.0.1:$port/readyz"
}
mkdir -p "$WORK/off.d" "$WORK/on.d"
common >"$WORK/off.d/all.yaml"
{ common; policies; } >"$WORK/on.d/all.yaml"
"$LOCKGATE_BIN" config check --resources "$WORK/on.d" >&2
plane off "$WORK/off.d"
plane on "$WORK/on.d"

# rate PLANE REFERENCE
rate() {
  local at="AT_$1"
  wrk -t2 -c"$CONNECTIONS" -d"${SECONDS_EACH}s" -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
    "http://${!at}/v2/reg/$NAME/manifests/$2" | awk '/Requests\/sec/ { print $2 } /Non-2xx/ { print "refused" >"/dev/stderr" }'
}
for plane in off on; do
  at="AT_$plane"
  curl -fsS -o /dev/null -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://${!at}/v2/reg/$NAME/manifests/$TAG"
done

for reference in "$TAG" "$DIGEST"; do
  echo "manifest by ${reference:0:24}, $CONNECTIONS connections, requests/s"
  printf '%8s %12s %12s %8s\n' pair off on on/off
  : >"$WORK/ratios"
  for ((pair = 1; pair <= PAIRS; pair++)); do
    # Which one goes first changes, so that a trend of the machine favours neither.
    if ((pair % 2)); then off=$(rate off "$reference"); on=$(rate on "$reference"); else on=$(rate on "$reference"); off=$(rate off "$reference"); fi
    python3 -c 'import sys; off, on = map(float, sys.argv[2:4]); print(f"{sys.argv[1]:>8} {off:12.0f} {on:12.0f} {on / off:8.3f}")' "$pair" "$off" "$on"
    python3 -c 'import sys; print(float(sys.argv[2]) / float(sys.argv[1]))' "$off" "$on" >>"$WORK/ratios"
  done
  python3 -c 'import statistics, sys; print(f"  median of on/off: {statistics.median(map(float, open(sys.argv[1]))):.3f}")' "$WORK/ratios"
done
