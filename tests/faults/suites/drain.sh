# SIGTERM: what is being transferred is finished, within a bound; what takes longer is cut; the plane ends by itself.
# shellcheck shell=bash disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
require curl jq sha256sum python3

start_upstream up --blob 8M --blob 100M --blob 1M
usual_resources
# drain_within DURATION: from the next start on.
drain_within() { printf 'server: { drainTimeout: %s }\n' "$1" >"$DIR/lockgate.yaml"; }
drain_within 30s
start_plane

under_way() { [[ -s $DIR/got ]]; }
# pull_slowly N: in the background, CLIENT; its exit status is that of curl.
pull_slowly() {
  rm -f "$DIR/got"
  curl -sS -f -N -m 60 -o "$DIR/got" "$(plane_layer "$1")" 2>"$DIR/got.err" &
  CLIENT=$!
  wait_for 'a transfer under way' 10 under_way
}
# stopping: SIGTERM was heard. Nobody new is let in, or at least told that it is not ready.
stopping() { ! curl -fsS -m 2 -o /dev/null "$PLANE_URL/readyz"; }
ended() { [[ -s $DIR/plane.exit ]]; }

gives 'a layer, to be hot' "$DIR/hot" "$(layer 3 digest)" "$(plane_layer 3)"
# Three seconds' worth.
control '{"bandwidth": 2800000}'
pull_slowly 1
kill -TERM "$PLANE_PID"
soon 'told to stop: it says that it is not ready' 10 stopping
code=0
wait "$CLIENT" || code=$?
same 'told to stop: the transfer under way was finished' "0 $(layer 1 digest)" "$code sha256:$(sha256_of "$DIR/got")"
soon 'told to stop: it ends' 45 ended
same 'told to stop: exit status' 0 "$(cat "$DIR/plane.exit" 2>&1)"

drain_within 3s
start_plane
pull_slowly 2
kill -TERM "$PLANE_PID"
code=0
wait "$CLIENT" || code=$?
# 18: the transfer ended before its length; 56: the connection was reset. Both are seen as failures by every client.
one_of 'longer than the drain time: the client saw its transfer break off, curl' '18 56' "$code"
soon 'longer than the drain time: the plane ends' 20 ended
same 'longer than the drain time: exit status' 0 "$(cat "$DIR/plane.exit" 2>&1)"
control '{"bandwidth": 0}'
soon 'longer than the drain time: the upstream is left in peace' 10 settled
drain_within 60s
start_plane
forget
gives 'after the restart: the rest of it' "$DIR/got" "$(layer 2 digest)" "$(plane_layer 2)"
soon 'after the restart: the upstream is done' 10 settled
at_most 'after the restart: bytes fetched again, in percent of the layer' 97 "$(($(layer_bytes 2) * 100 / $(layer 2 size)))"

# A connection that does nothing keeps nobody waiting.
python3 - "$PLANE" <<'PY' &
import socket, sys, time
host, port = sys.argv[1].split(":")
idle = socket.create_connection((host, int(port)))
idle.sendall(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n")
idle.recv(65536)
time.sleep(60)
PY
IDLE=$!
sleep 0.5
kill -TERM "$PLANE_PID"
# A third of the drain time: it must not be waited out for this.
soon 'an idle connection: the plane does not wait for it' 20 ended
same 'an idle connection: exit status' 0 "$(cat "$DIR/plane.exit" 2>&1)"
kill "$IDLE" 2>/dev/null || true

start_plane
kill -TERM "$PLANE_PID"
soon 'told to stop with nothing to do: it ends' 20 ended
start_plane
kill -INT "$PLANE_PID"
soon 'SIGINT does the same' 20 ended
same 'SIGINT: exit status' 0 "$(cat "$DIR/plane.exit" 2>&1)"
