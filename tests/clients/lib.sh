# Shared by run.sh and the suites: results, daemons, and reading the upstreams' access logs. Sourced, not run.
# shellcheck shell=bash disable=SC2034

# Daemons lie where only an administrator's PATH looks.
export PATH="$PATH:/usr/sbin:/sbin"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools="${LOCKGATE_TOOLS:-$HOME/.cache/lockgate/tools}"

# Engines pull several hundred megabytes within this on the slowest machine tried; a hang ends here.
readonly PULL_SECONDS=180

# ---- results -----------------------------------------------------------------------------------------------------

# ok TEXT / fail TEXT [DETAIL]: one result. Every result is one line in $RESULTS; run.sh counts them.
ok() { printf 'ok    %s: %s\n' "$SUITE" "$1" | tee -a "$RESULTS"; }
fail() {
  printf 'FAIL  %s: %s\n' "$SUITE" "$1" | tee -a "$RESULTS"
  [[ -z ${2:-} ]] || sed 's/^/        /' <<<"$2"
}

# check TEXT COMMAND...: the command succeeds in time. What it printed is in $OUT and is shown when it fails.
check() {
  local text=$1 code=0
  shift
  OUT=$(timeout -k 5 "$PULL_SECONDS" "$@" 2>&1 </dev/null) || code=$?
  if [[ $code -eq 0 ]]; then
    ok "$text"
  else
    fail "$text" "exit $code: $* :: $(tail -n 12 <<<"$OUT")"
  fi
  return 0
}

# refused TEXT COMMAND...: the command fails, and by itself, not by running out of time.
refused() {
  local text=$1 code=0
  shift
  OUT=$(timeout -k 5 "$PULL_SECONDS" "$@" 2>&1 </dev/null) || code=$?
  case $code in
    0) fail "$text" "succeeded: $*" ;;
    124 | 137) fail "$text" "ran into the time limit: $*" ;;
    *) ok "$text" ;;
  esac
}

# same TEXT EXPECTED ACTUAL: two strings are equal. An empty expectation never passes.
same() {
  if [[ -n $2 && $2 == "$3" ]]; then ok "$1"; else fail "$1" "expected: $2"$'\n'"actual:   $3"; fi
}

# contains TEXT NEEDLE HAYSTACK
contains() {
  if [[ -n $2 && $3 == *"$2"* ]]; then ok "$1"; else fail "$1" "expected to find: $2"$'\n'"in: $(tail -n 12 <<<"$3")"; fi
}

# same_file TEXT EXPECTED_FILE ACTUAL_FILE: byte for byte.
same_file() {
  if [[ -s $2 ]] && cmp -s "$2" "$3"; then
    ok "$1"
  else
    fail "$1" "$(ls -l "$2" "$3" 2>&1; diff "$2" "$3" 2>&1 | head -n 8)"
  fi
}

# same_tree TEXT EXPECTED_FILE DIRECTORY: an unpacked or mounted image holds what the upstream's holds.
same_tree() {
  local actual
  actual=$(mktemp "$WORK/tree.XXXXXX")
  "$here/tree.py" "$3" >"$actual" 2>&1 || true
  same_file "$1" "$2" "$actual"
  rm -f "$actual"
}

# same_tree_of_tar TEXT EXPECTED_FILE COMMAND...: the same for a command that writes the root file system as a tar.
same_tree_of_tar() {
  local text=$1 expected=$2 actual
  shift 2
  actual=$(mktemp "$WORK/tree.XXXXXX")
  timeout -k 5 "$PULL_SECONDS" "$@" 2>"$actual.err" | "$here/tree.py" - >"$actual" 2>&1 || cat "$actual.err" >>"$actual"
  same_file "$text" "$expected" "$actual"
  rm -f "$actual" "$actual.err"
}

# verified_blobs TEXT BLOBS_DIR EXPECTED_DIGESTS_FILE: a directory of blobs named by their digest holds exactly these,
# and each hashes to its name.
verified_blobs() {
  local actual bad
  actual=$(cd "$2" 2>/dev/null && find . -type f -printf '%f\n' | LC_ALL=C sort)
  bad=$(cd "$2" 2>/dev/null && find . -type f -exec sha256sum {} + | awk '{ n = $2; sub(".*/", "", n); if (n != $1) print n }')
  same "$1" "$(cat "$3")" "$actual${bad:+ corrupt: $bad}"
}

sha256_of() { sha256sum "$1" | cut -d ' ' -f 1; }

# ---- daemons -----------------------------------------------------------------------------------------------------

# daemon NAME COMMAND...: starts it in a process group of its own, its output in $WORK/log/NAME.log; sets DAEMON_PID.
# It goes on a list with its start time, so that whoever exits first leaves nothing running and a pid that was given to
# another process since is left alone.
daemon() {
  local name=$1
  shift
  setsid "$@" >>"$WORK/log/$name.log" 2>&1 </dev/null &
  DAEMON_PID=$!
  printf '%s %s\n' "$DAEMON_PID" "$(started_at "$DAEMON_PID")" >>"$WORK/pids"
}

# started_at PID: clock ticks since boot; the name in the line before it may hold spaces and parentheses.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

# stop PID: asks, waits up to 15 s, then kills the process group. Does nothing for a process that `daemon` did not start.
stop() {
  local pid=$1 tries
  grep -qx "$pid $(started_at "$pid")" "$WORK/pids" || return 0
  kill -TERM "$pid" 2>/dev/null || return 0
  for ((tries = 0; tries < 150; tries++)); do
    # A zombie is gone as well: only its parent can tell, and that may be another shell.
    [[ $(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -c 1) =~ ^[^Z]$ ]] || break
    sleep 0.1
  done
  kill -KILL -- "-$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}

# wait_for WHAT SECONDS COMMAND...: until the command succeeds; else the run ends, for nothing after it can be trusted.
wait_for() {
  local what=$1 seconds=$2 tries
  shift 2
  for ((tries = 0; tries < seconds * 5; tries++)); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.2
  done
  printf 'no %s after %s s\n' "$what" "$seconds" >&2
  return 1
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

answers() { curl -fsS -m 2 -o /dev/null "$1"; }

# start_registry NAME PROGRAM ADDRESS ROOT [CERTIFICATE KEY]: docker-registry or distribution 3, both log every request.
start_registry() {
  local name=$1 program=$2 address=$3 root=$4 config="$WORK/$1.yml"
  {
    printf 'version: 0.1\nlog: { level: warn }\nstorage:\n  filesystem: { rootdirectory: %s }\n' "$root"
    printf 'http:\n  addr: %s\n  secret: of-this-run-only\n' "$address"
    [[ $# -lt 6 ]] || printf '  tls: { certificate: %s, key: %s }\n' "$5" "$6"
  } >"$config"
  daemon "$name" env OTEL_TRACES_EXPORTER=none "$program" serve "$config"
}

# start_plane: runs the plane on $PLANE with the resources of this run. Its pid is in $WORK/plane.pid and, once it has
# ended, its exit status in $WORK/plane.exit: a shell around it waits, because suites are not its parent.
start_plane() {
  daemon plane bash -c '"${@:2}" & echo "$!" >"$1/plane.pid"; wait "$!"; echo "$?" >"$1/plane.exit"' plane "$WORK" \
    "$LOCKGATE_BIN" serve --listen "$PLANE" --data-dir "$WORK/data" --resources "$WORK/resources"
  wait_for "plane on $PLANE" 30 answers "http://$PLANE/readyz" || { tail -n 20 "$WORK/log/plane.log" >&2; return 1; }
  PLANE_PID=$(cat "$WORK/plane.pid")
  printf '%s %s\n' "$PLANE_PID" "$(started_at "$PLANE_PID")" >>"$WORK/pids"
}

# unmount_all: whatever an engine left mounted below the work directory.
unmount_all() {
  awk -v below="$WORK/" 'index($2, below) == 1 { print $2 }' /proc/mounts | sort -r | while read -r target; do
    umount -l "$target" 2>/dev/null || true
  done
}

# ---- the upstreams' access logs ----------------------------------------------------------------------------------

# requests LOG...: method and path of every request a registry logged.
requests() {
  grep -hoE '"(GET|HEAD|PUT|POST|PATCH|DELETE) [^ "]+ HTTP/[0-9.]+" [0-9]+' "$@" | tr -d '"' | awk '{ print $1, $2, $4 }'
}

# upstream_requests: of the two upstreams, since the plane was started.
upstream_requests() {
  { tail -n "+$((MARK_FIRST + 1))" "$WORK/log/first.log"; tail -n "+$((MARK_SECOND + 1))" "$WORK/log/second.log"; } | requests -
}
