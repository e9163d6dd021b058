# Shared by run.sh and the suites: an upstream that misbehaves, a plane in front of it, and clients that hide nothing.
# Sourced, not run. Results, daemons and their end are those of the real-client suites.
# shellcheck shell=bash disable=SC2034,SC2154
# shellcheck source=../clients/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../clients/lib.sh"

# No answer of the plane may take longer, whatever goes wrong: its budgets are shorter in all of these suites. It is
# far above them, so that a busy machine does not fail a run.
readonly HANG_SECONDS=20
readonly REPOSITORY=up.example.test
readonly ACCEPT='Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json'

# note TEXT: a figure or a message worth reading; no result.
note() { printf '      %s: %s\n' "$SUITE" "$1"; }

# require TOOL...: what is missing is a failure, never a skipped suite.
require() {
  local tool missing=()
  for tool in "$@"; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  [[ ${#missing[@]} -eq 0 ]] || { fail "needs ${missing[*]}"; exit 1; }
}

# at_most TEXT LIMIT ACTUAL: integers.
at_most() {
  if [[ $3 =~ ^[0-9]+$ && $3 -le $2 ]]; then ok "$1 ($3, at most $2)"; else fail "$1" "at most: $2"$'\n'"actual:  $3"; fi
}

# nothing TEXT ACTUAL: an empty string.
nothing() { if [[ -z $2 ]]; then ok "$1"; else fail "$1" "$(head -n 12 <<<"$2")"; fi; }

# one_of TEXT 'A B C' ACTUAL
one_of() {
  if [[ -n $3 && " $2 " == *" $3 "* ]]; then ok "$1: $3"; else fail "$1" "expected one of: $2"$'\n'"actual: $3"; fi
}

# soon TEXT SECONDS COMMAND...: the command succeeds before long.
soon() {
  local text=$1 seconds=$2 tries
  shift 2
  for ((tries = 0; tries < seconds * 5; tries++)); do
    if "$@" >/dev/null 2>&1; then ok "$text"; return 0; fi
    sleep 0.2
  done
  fail "$text" "not within $seconds s: $*"
}

# ---- the upstream ------------------------------------------------------------------------------------------------

# start_upstream NAME FLAG...: a testkit-registry. Its description is in $DIR/NAME.json, its access log in
# $DIR/NAME.access; sets UPSTREAM (host:port) and UPSTREAM_PID. It listens where it did before, if it did.
start_upstream() {
  local name=$1
  shift
  UPSTREAM=$(jq -r .host "$DIR/$name.json" 2>/dev/null || true)
  [[ -n $UPSTREAM ]] || UPSTREAM="127.0.0.1:$(free_port)"
  : >"$DIR/$name.json"
  # The description goes to standard output, and only it.
  daemon "$SUITE-$name" bash -c 'exec "${@:2}" >"$1"' upstream "$DIR/$name.json" \
    "$TESTKIT/testkit-registry" --listen "$UPSTREAM" --access-log "$DIR/$name.access" "$@"
  UPSTREAM_PID=$DAEMON_PID
  wait_for "upstream $name" 60 test -s "$DIR/$name.json"
}

# image N FIELD: of the N-th image (from 1) of the upstream `up`: name, tag, digest, ….
image() { jq -r ".images[$(($1 - 1))].$2" "$DIR/up.json"; }
# layer N FIELD [M]: of its M-th layer (from 1): digest, size, seed.
layer() { jq -r ".images[$(($1 - 1))].layers[$((${3:-1} - 1))].$2" "$DIR/up.json"; }
# upstream_layer N [M] / plane_layer N [M]: where to get it.
upstream_layer() { printf 'http://%s%s' "$UPSTREAM" "$(layer "$1" path "${2:-1}")"; }
plane_layer() { printf '%s/v2/%s/%s/blobs/%s' "$PLANE_URL" "$REPOSITORY" "$(image "$1" name)" "$(layer "$1" digest "${2:-1}")"; }
plane_manifest() { printf '%s/v2/%s/%s/manifests/%s' "$PLANE_URL" "$REPOSITORY" "$(image "$1" name)" "$2"; }

# control JSON [ADDRESS]: tells the upstream what to do from now on.
control() { curl -fsS -m 10 -o /dev/null -X POST --data "$1" "http://${2:-$UPSTREAM}/_control"; }
# stats FILTER [ADDRESS]: what the upstream counted.
stats() { curl -fsS -m 10 "http://${2:-$UPSTREAM}/_stats" | jq -r "$1"; }
forget() { curl -fsS -m 10 -o /dev/null -X DELETE "http://${1:-$UPSTREAM}/_stats"; }
# settled: nothing is being sent (bytes are counted when an answer ends).
settled() { [[ $(stats .unfinished) == 0 ]]; }
# layer_bytes N [M]: bytes the upstream sent of a layer.
layer_bytes() { stats ".paths[\"$(layer "$1" path "${2:-1}")\"].bytes // 0"; }

# ---- the plane ---------------------------------------------------------------------------------------------------

# upstream_resource [NAME [ADDRESS [SPEC]]]: an Upstream with budgets short enough to wait for; SPEC is YAML in flow form.
upstream_resource() {
  cat <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: Upstream
metadata: { name: ${1:-up} }
spec:
  endpoints: [{ url: "http://${2:-$UPSTREAM}" }]
  boundary: { privateAddresses: true${3:-} }
  timeouts: { connect: 1s, firstByte: 2s, stall: 1s }
---
YAML
}

# repository_resource [NAME [UPSTREAM [REMOTE]]]
repository_resource() {
  cat <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: ${1:-$REPOSITORY} }
spec:
  remote: { upstream: ${2:-up}${3:-} }
---
YAML
}

# usual_resources: one upstream, one repository.
usual_resources() {
  mkdir -p "$DIR/resources"
  { upstream_resource; repository_resource; } >"$DIR/resources/all.yaml"
}

# start_plane: on the data and resources of this suite, settings from $DIR/lockgate.yaml if it is there. Sets PLANE
# (host:port), PLANE_URL and PLANE_PID. Once it has ended, its exit status is in $DIR/plane.exit: a shell around it waits,
# because whoever asks may not be its parent. The log of all its lives is $WORK/log/SUITE-plane.log. It is started by the
# command in PLANE_PREFIX, if there is one.
PLANE_PREFIX=()
start_plane() {
  local flags=(--data-dir "$DIR/data" --resources "$DIR/resources")
  PLANE="${PLANE:-127.0.0.1:$(free_port)}"
  PLANE_URL="${PLANE_URL:-http://$PLANE}"
  [[ $PLANE_URL == https:* ]] || flags+=(--listen "$PLANE")
  [[ ! -f $DIR/lockgate.yaml ]] || flags+=(--config "$DIR/lockgate.yaml")
  rm -f "$DIR/plane.pid" "$DIR/plane.exit"
  PLANE_LOG="$WORK/log/$SUITE-plane.log"
  daemon "$SUITE-plane" bash -c '"${@:2}" & echo "$!" >"$1/plane.pid"; wait "$!"; echo "$?" >"$1/plane.exit"' plane "$DIR" \
    env -u LOCKGATE_BIN "${PLANE_PREFIX[@]}" "$LOCKGATE_BIN" serve "${flags[@]}"
  wait_for "plane on $PLANE" 30 plane_answers || { tail -n 20 "$PLANE_LOG" >&2; return 1; }
  PLANE_PID=$(cat "$DIR/plane.pid")
  printf '%s %s\n' "$PLANE_PID" "$(started_at "$PLANE_PID")" >>"$WORK/pids"
}

plane_answers() { curl -fsSk -m 2 -o /dev/null "$PLANE_URL/readyz"; }
# end_plane: SIGTERM, and waits for the end. kill_plane: the power cut.
end_plane() { stop "$PLANE_PID"; }
kill_plane() {
  kill -KILL "$PLANE_PID" 2>/dev/null || true
  wait_for 'end of the plane' 10 test -s "$DIR/plane.exit"
}
restart_plane() { end_plane; start_plane; }

# metric NAME [LABEL]: the sum of its samples (with that label); `none` if there are none. Counters end in _total.
metric() {
  curl -fsSk -m 5 "$PLANE_URL/metrics" | awk -v name="$1" -v label="${2:-}" '
    (index($0, name "{") == 1 || index($0, name " ") == 1 || index($0, name "_total") == 1) && index($0, label) { sum += $NF; seen = 1 }
    END { if (seen) printf "%.0f\n", sum; else print "none" }'
}
metric_is() { [[ $(metric "$1" "${3:-}") == "$2" ]]; }
metric_over() { [[ $(count "$1" "${3:-}") -gt $2 ]]; }
# count NAME [LABEL]: of what may not have happened yet.
count() { local value; value=$(metric "$@"); [[ $value != none ]] || value=0; echo "$value"; }
# readyz: its body; the status must be 200 all the time.
readyz() { curl -sSk -m 5 "$PLANE_URL/readyz"; }
readyz_status() { curl -sSk -m 5 -o /dev/null -w '%{http_code}' "$PLANE_URL/readyz"; }
readyz_says() { grep -qiE "$1" <<<"$(readyz)"; }
log_says() { grep -qiE "$1" "$PLANE_LOG"; }
# high_water_kib: the most memory that was ever resident.
high_water_kib() { awk '/^VmHWM:/ { print $2 }' "/proc/$PLANE_PID/status"; }

# ---- clients -----------------------------------------------------------------------------------------------------

# ask FILE URL [OPTION...]: one request by curl, body in FILE. Sets HEADERS, STATUS (000 without an answer), CODE (curl's
# exit status) and SAID (what curl printed). An answer that takes too long has CODE 28.
ask() {
  local file=$1 url=$2
  shift 2
  CODE=0
  rm -f "$file"
  curl -sSk -m "$HANG_SECONDS" -D "$file.head" -o "$file" -H "$ACCEPT" "$@" "$url" 2>"$file.err" || CODE=$?
  HEADERS=$(tr -d '\r' <"$file.head" 2>/dev/null || true)
  STATUS=$(head -n 1 <<<"$HEADERS" | cut -d ' ' -f 2)
  STATUS=${STATUS:-000}
  SAID=$(head -n 1 "$file.err")
}
header() { awk -v name="$1" -F ': ' 'tolower($1) == tolower(name) { sub(/^[^:]*: /, ""); print; exit }' <<<"$HEADERS"; }
# outcome: of the last `ask`, in one line for people.
outcome() { printf '%s' "$(head -n 1 <<<"$HEADERS")${SAID:+, $SAID}"; }

# gives TEXT FILE DIGEST URL [OPTION...]: a whole body that hashes to DIGEST.
gives() {
  local text=$1 file=$2 digest=$3
  shift 3
  ask "$file" "$@"
  if [[ $CODE -eq 0 && $STATUS == 200 && sha256:$(sha256_of "$file" 2>/dev/null) == "$digest" ]]; then
    ok "$text"
  else
    fail "$text" "$(outcome) :: $(stat -c %s "$file" 2>/dev/null || echo no) bytes that hash to $(sha256_of "$file" 2>/dev/null), not to $digest${SAID:+ :: $SAID}$([[ $STATUS == 200 ]] || head -c 300 "$file" 2>/dev/null)"
  fi
}

# says_why TEXT FILE: the last `ask` was answered by a refusal that tells its reason in the JSON body and the status line.
says_why() {
  local message reason
  message=$(jq -r '.errors[0].message // empty' "$2" 2>/dev/null || true)
  reason=$(head -n 1 <<<"$HEADERS" | cut -d ' ' -f 3-)
  if [[ -n $message && ${#reason} -gt 25 ]]; then
    ok "$1: $STATUS $message"
  else
    fail "$1" "status line: $(head -n 1 <<<"$HEADERS")"$'\n'"body: $(head -c 300 "$2" 2>/dev/null)"
  fi
}

# dont_know TEXT FILE URL [OPTION...]: the plane says in time that it cannot tell: never 404, never a denial of its own,
# with the time to ask again.
dont_know() {
  local text=$1 file=$2
  shift 2
  ask "$file" "$@"
  case "$STATUS $CODE" in
    "503 0" | "429 0")
      if [[ $(header Retry-After) =~ ^[0-9]+$ ]]; then
        ok "$text: $(head -n 1 <<<"$HEADERS" | cut -c 1-160)"
      else
        fail "$text" "no Retry-After :: $HEADERS"
      fi
      ;;
    "502 0" | "504 0") ok "$text: $(head -n 1 <<<"$HEADERS" | cut -c 1-160)" ;;
    *) fail "$text" "$(outcome) :: $(head -c 300 "$file" 2>/dev/null)" ;;
  esac
}

# plane_alive: the plane outlived what was done to it.
plane_alive() {
  if kill -0 "$PLANE_PID" 2>/dev/null && [[ $(readyz_status) == 200 ]]; then
    ok "${1:-the plane still runs and is ready}"
  else
    fail "${1:-the plane still runs and is ready}" "$(tail -n 20 "$PLANE_LOG")"
  fi
}
