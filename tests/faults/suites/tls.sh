# The certificate is renewed under load: no connection breaks, new ones see the new certificate; a key that does not fit
# changes nothing. HTTP/2 where it is switched on, and only there.
# shellcheck shell=bash disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
require curl jq openssl sha256sum python3

start_upstream up --blob 3M --blob 40M --blob 3M
usual_resources
PLANE="127.0.0.1:$(free_port)"
PLANE_URL="https://$PLANE"
BOTH="127.0.0.1:$(free_port)"
cat >"$DIR/lockgate.yaml" <<YAML
listeners:
  - address: $PLANE
    tls: { certFile: $DIR/cert.pem, keyFile: $DIR/key.pem }
  - address: $BOTH
    http2: true
    tls: { certFile: $DIR/cert.pem, keyFile: $DIR/key.pem }
YAML

# renew NAME: a certificate of that name, key first, each moved into place: for a moment they do not fit.
renew() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$1" \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$DIR/key.new" -out "$DIR/cert.new" 2>/dev/null
  mv "$DIR/key.new" "$DIR/key.pem"
  [[ -z ${2:-} ]] || sleep "$2"
  mv "$DIR/cert.new" "$DIR/cert.pem"
}
shown() { openssl s_client -connect "$PLANE" </dev/null 2>/dev/null | openssl x509 -noout -subject 2>/dev/null; }
# path_of URL
path_of() { printf '%s' "${1#"$PLANE_URL"}"; }
shows() { [[ $(shown) == *"$1"* ]]; }

renew first
start_plane
gives 'a layer over TLS' "$DIR/got" "$(layer 1 digest)" "$(plane_layer 1)"
soon 'the first certificate is shown' 5 shows first
one_of 'its expiry is a metric' yes "$([[ $(count lockgate_certificate_not_after_timestamp_seconds) -gt 1700000000 ]] && echo yes)"

# Under load: one client on one connection for long, one with a new connection each time, one slow transfer.
control '{"bandwidth": 6000000}'
curl -sSk -m 60 -o "$DIR/slow" "$(plane_layer 2)" 2>"$DIR/slow.err" &
SLOW=$!
python3 - "$PLANE" "$(path_of "$(plane_manifest 1 latest)")" "$DIR/stop" >"$DIR/kept" 2>&1 <<'PY' &
import http.client, pathlib, ssl, sys, time
address, path, stop = sys.argv[1:]
unchecked = ssl.create_default_context()
unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
kept = http.client.HTTPSConnection(address, timeout=20, context=unchecked)
kept.connect()
socket, requests = kept.sock, 0
while not pathlib.Path(stop).exists():
    kept.request("GET", path)
    answer = kept.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
    assert kept.sock is socket, "the connection was closed"
    requests += 1
    time.sleep(0.02)
print("ok", requests)
PY
KEPT=$!
(while [[ ! -e $DIR/stop ]]; do curl -sSk -m 20 -H "$ACCEPT" -o /dev/null -w '%{http_code}\n' "$(plane_manifest 1 latest)" 2>&1 || true; done) >"$DIR/each" &
EACH=$!
for name in second third fourth; do
  renew "$name" "$([[ $name == third ]] && echo 1)"
  soon "the $name certificate is shown to new connections" 40 shows "$name"
done
touch "$DIR/stop"
wait "$EACH" || true
nothing 'new connections while it changed: all were served' "$(grep -vx 200 "$DIR/each" | sort | uniq -c)"
code=0
wait "$SLOW" || code=$?
same 'the transfer under way was not disturbed' "0 $(layer 2 digest)" "$code sha256:$(sha256_of "$DIR/slow")"
wait "$KEPT" || true
contains 'a connection that was kept: every request was served on it' ok "$(tail -n 1 "$DIR/kept")"
control '{"bandwidth": 0}'

openssl ecparam -name prime256v1 -genkey -noout -out "$DIR/key.new" 2>/dev/null
before=$(count lockgate_reload_failures)
mv "$DIR/key.new" "$DIR/key.pem"
soon 'a key that does not fit: the log says so' 40 log_says 'certificate|key\.pem'
soon 'a key that does not fit: it is counted' 20 metric_over lockgate_reload_failures "$before"
same 'a key that does not fit: the certificate stays' yes "$(shows fourth && echo yes)"
gives 'a key that does not fit: a layer' "$DIR/got" "$(layer 1 digest)" "$(plane_layer 1)"
renew fifth
soon 'a fitting pair again is shown' 40 shows fifth

# version URL [OPTION...]: the version of HTTP and the status.
version() { curl -sSk -m 20 -o "$DIR/version" -w '%{http_version} %{http_code}' -H "$ACCEPT" "$@" 2>&1; }
path=$(path_of "$(plane_layer 1)")
same 'HTTP/2 where it is switched on' '2 200' "$(version --http2 "https://$BOTH$path")"
same 'its body is right' "$(layer 1 digest)" "sha256:$(sha256_of "$DIR/version")"
same 'HTTP/1.1 there for those who want it' '1.1 200' "$(version --http1.1 "https://$BOTH$path")"
same 'no HTTP/2 elsewhere' '1.1 200' "$(version --http2 "$PLANE_URL$path")"
ask "$DIR/got" "$(plane_manifest 1 absent)"
same 'over TLS: an absent tag' 404 "$STATUS"
says_why 'over TLS: the reason' "$DIR/got"

# A download whose bytes turn out wrong must not end cleanly on HTTP/2 either: curl 92, the stream was reset.
control '{"faults": [{"fault": "flip", "value": 1000, "on": "blobs", "method": "GET"}]}'
ask "$DIR/got" "https://$BOTH$(path_of "$(plane_layer 3)")" --http2
if [[ $CODE -ne 0 && $CODE -ne 28 || $STATUS == 5* ]]; then
  ok "wrong bytes over HTTP/2: $(outcome)"
else
  fail 'wrong bytes over HTTP/2' "$(outcome), curl $CODE"
fi
control '{"mode": "ok"}'
plane_alive
