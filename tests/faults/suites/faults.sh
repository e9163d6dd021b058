# Single faults of a registry or of the way to it, each met by a real client (curl) with a cold blob or manifest. The
# client gets the right bytes, or a refusal with its reason, or a transfer that visibly breaks off: never a clean end of
# wrong bytes, never 404. Once the fault is over, the same thing is served right.
# shellcheck shell=bash disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
require curl jq sha256sum unshare
[[ $(id -u) -eq 0 ]] || { fail 'needs root: one plane gets a hosts file of its own'; exit 1; }

readonly SIZE=3M
flags=()
for ((n = 0; n < 48; n++)); do flags+=(--blob "$SIZE"); done
start_upstream elsewhere --blob 1K
ELSEWHERE=$UPSTREAM
start_upstream up "${flags[@]}"
mkdir -p "$DIR/resources"
{ upstream_resource up "$UPSTREAM" ", redirects: [\"http://$UPSTREAM\"]"; repository_resource; } >"$DIR/resources/all.yaml"
start_plane
next=0

# judge FILE DIGEST: what the client of the last `ask` has: right, wrong, broken, refused, absent, hung.
judge() {
  if [[ $CODE -eq 28 ]]; then
    echo hung
  elif [[ $STATUS == 404 ]]; then
    echo absent
  elif [[ $STATUS == [45]* ]]; then
    echo refused
  elif [[ $CODE -ne 0 ]]; then
    echo broken
  elif [[ $STATUS == 200 && sha256:$(sha256_of "$1") == "$2" ]]; then
    echo right
  else
    echo wrong
  fi
}

# met TEXT EXPECTED: judges the last `ask`; what a person would see is told.
met() {
  local got told
  got=$(judge "$DIR/got" "$WANTED")
  told="$got: $(head -n 1 <<<"$HEADERS" | cut -c 1-200)${SAID:+; $SAID}"
  case " $2 " in *" $got "*) ok "$1: $told" ;; *) fail "$1" "expected: $2"$'\n'"got:      $told" ;; esac
}

# Whatever a fault left of the upstream's standing (circuit breaker, throttling) must not colour the next one.
afresh() {
  next=$((next + 1))
  restart_plane
}
mended() {
  control '{"mode": "ok"}'
  restart_plane
  gives "$1: right once it is over" "$DIR/got" "$WANTED" "$URL"
}
applied() {
  local hits
  hits=$(stats '.fault_hits | map(tostring) | join(" ")')
  [[ " $hits " != *' 0 '* ]] || fail "$1: every fault of it was met" "times met: $hits"
}

# blob TEXT EXPECTED FAULTS: one cold layer under these faults (JSON, without the brackets).
blob() {
  afresh
  WANTED=$(layer "$next" digest)
  URL=$(plane_layer "$next")
  control "{\"faults\": [$3]}"
  ask "$DIR/got" "$URL"
  met "$1" "$2"
  applied "$1"
}
# and_once: the upstream sent each byte once, but for what a break swallowed on the wire.
and_once() {
  settled || sleep 1
  at_most "$1: bytes the upstream sent, in percent of the blob" "${2:-100}" "$(($(layer_bytes "$next") * 100 / $(layer "$next" size)))"
}
# manifest TEXT EXPECTED FAULTS: a tag nobody asked for.
manifest() {
  afresh
  WANTED=$(image "$next" digest)
  URL=$(plane_manifest "$next" latest)
  control "{\"faults\": [$3]}"
  ask "$DIR/got" "$URL"
  met "$1" "$2"
  applied "$1"
}

cut='{"fault": "truncate", "value": 1000000, "on": "blobs", "method": "GET", "first": 1}'

blob 'truncated' right "$cut"
and_once 'truncated'
blob 'reset in the middle' right '{"fault": "reset", "value": 1000000, "on": "blobs", "method": "GET", "first": 1}'
and_once 'reset in the middle' 140
blob 'stalled' right '{"fault": "stall", "value": 1000000, "on": "blobs", "method": "GET", "first": 1}'
and_once 'stalled'
blob 'truncated again and again' right '{"fault": "truncate", "value": 1500000, "on": "blobs", "method": "GET", "first": 2}'
and_once 'truncated again and again'
blob 'stalled for ever' 'broken refused' '{"fault": "stall", "value": 0, "on": "blobs", "method": "GET"}'
mended 'stalled for ever'
blob 'slow' right '{"fault": "slow", "value": 1500000, "on": "blobs"}'
and_once 'slow'
blob 'connection closed without an answer, once' right '{"fault": "drop", "on": "blobs", "method": "GET", "first": 1}'
blob 'connection reset without an answer, once' right '{"fault": "reset-at-once", "on": "blobs", "method": "GET", "first": 1}'

blob 'one wrong byte' 'broken refused' '{"fault": "flip", "value": 1000, "on": "blobs", "method": "GET"}'
ask "$DIR/got" "$URL"
met 'one wrong byte, asked again' 'broken refused'
mended 'one wrong byte'
blob 'wrong last byte' 'broken refused' '{"fault": "flip", "value": 3145727, "on": "blobs", "method": "GET"}'
mended 'wrong last byte'
blob 'other bytes of the same length' 'broken refused' '{"fault": "other-content", "on": "blobs", "method": "GET"}'
mended 'other bytes of the same length'
blob 'a length that is too large' 'broken refused right' '{"fault": "length-off", "value": 7, "on": "blobs"}'
mended 'a length that is too large'
blob 'a length that is too small' 'broken refused right' '{"fault": "length-off", "value": -7, "on": "blobs"}'
mended 'a length that is too small'
blob 'a page of HTML' 'broken refused' '{"fault": "html", "on": "blobs"}'
mended 'a page of HTML'
blob 'no length, chunked' right '{"fault": "chunked", "on": "blobs"}'
blob 'no length, the end of the connection' right '{"fault": "close-delimited", "on": "blobs"}'

blob 'resumed: lies in Content-Range' 'broken refused' "$cut, "'{"fault": "content-range-off", "value": 1000, "on": "blobs", "range": true}'
mended 'resumed: lies in Content-Range'
blob 'resumed: serves another window' 'broken refused' "$cut, "'{"fault": "other-range", "value": 1000, "on": "blobs", "range": true}'
mended 'resumed: serves another window'
blob 'resumed: another total' 'broken refused right' "$cut, "'{"fault": "total-off", "value": 1000, "on": "blobs", "range": true}'
mended 'resumed: another total'
blob 'resumed: the whole instead of the range' right "$cut, "'{"fault": "ignore-range", "on": "blobs", "range": true}'
blob 'resumed: another ETag' 'broken refused right' "$cut, "'{"fault": "etag", "value": "\"other\"", "on": "blobs", "range": true}'
mended 'resumed: another ETag'

blob 'redirected in a circle' refused '{"fault": "redirect-loop", "on": "blobs"}'
mended 'redirected in a circle'
blob 'redirected to the metadata service of a cloud' refused '{"fault": "redirect", "value": "http://169.254.169.254/latest/meta-data/", "on": "blobs"}'
mended 'redirected to the metadata service of a cloud'
blob 'redirected to a private address' refused '{"fault": "redirect", "value": "http://10.0.0.1/blob", "on": "blobs"}'
blob 'redirected to another server' refused "{\"fault\": \"redirect-base\", \"value\": \"http://$ELSEWHERE\", \"on\": \"blobs\"}"
same 'redirected to another server: requests it saw' 0 "$(stats .requests "$ELSEWHERE")"
blob 'redirected to where it is allowed' right "{\"fault\": \"redirect\", \"value\": \"http://$UPSTREAM/storage/$(layer "$((next + 1))" digest)\", \"on\": \"/blobs/\"}"

blob 'no answer at all' refused '{"fault": "blackhole", "on": "blobs"}'
mended 'no answer at all'
blob 'not HTTP' refused '{"fault": "garbage", "on": "blobs"}'
blob 'a header without end' refused '{"fault": "endless-header", "on": "blobs"}'
blob 'a header of 8 MB' refused '{"fault": "huge-header", "value": 8000000, "on": "blobs"}'

manifest 'a manifest of 1 GB' refused '{"fault": "huge-body", "value": 1000000000, "on": "manifests", "method": "GET"}'
mended 'a manifest of 1 GB'
manifest 'a manifest that is a page of HTML' refused '{"fault": "html", "on": "manifests"}'
manifest 'a digest that is not that of the manifest' refused '{"fault": "lying-digest", "on": "manifests", "method": "GET"}'
manifest 'a manifest cut short' 'refused right' '{"fault": "truncate", "value": 100, "on": "manifests", "method": "GET", "first": 1}'
manifest 'no digest in the header' right '{"fault": "without-digest", "on": "manifests"}'
manifest 'redirected in a circle, manifest' refused '{"fault": "redirect-loop", "on": "manifests"}'

stop "$UPSTREAM_PID"
start_upstream up --auth bearer "${flags[@]}"
manifest 'a token of 64 MB' refused '{"fault": "huge-token", "value": 64000000, "on": "token"}'
mended 'a token of 64 MB'
manifest 'a token service that does not answer' refused '{"fault": "blackhole", "on": "token"}'
manifest 'a token service that fails' refused '{"fault": "status", "value": 500, "on": "token"}'
mended 'a token service that fails'

# The other half of the guard: an upstream that did not ask for private addresses is not reached on one, whatever its name
# leads to. The name is known to this plane alone, by a hosts file in a mount namespace of its own.
control '{"mode": "ok"}'
forget
end_plane
guarded() { upstream_resource up "$1" | sed 's/privateAddresses: true/privateAddresses: false/'; repository_resource; }
guarded "$UPSTREAM" >"$DIR/resources/all.yaml"
code=0
said=$(env -u LOCKGATE_BIN -u LOCKGATE_TOOLS "$LOCKGATE_BIN" config check --resources "$DIR/resources" 2>&1) || code=$?
contains 'a private address where none may be: config check says how to allow it' "1 $DIR/resources/all.yaml:5:22: spec.endpoints[0].url" "$code $said"
guarded "rebound.example.test:${UPSTREAM##*:}" >"$DIR/resources/all.yaml"
printf '127.0.0.1 localhost rebound.example.test\n' >"$DIR/hosts"
PLANE_PREFIX=(unshare --mount --propagation private sh -c 'mount --bind "$0" /etc/hosts && exec "$@"' "$DIR/hosts")
start_plane
next=$((next + 1))
WANTED=$(layer "$next" digest)
ask "$DIR/got" "$(plane_layer "$next")"
met 'a name that leads to a private address where none may be' refused
same 'a name that leads to a private address where none may be: requests it saw' 0 "$(stats .requests)"

at_most 'most memory ever resident in the last life, MiB' 200 "$(($(high_water_kib) / 1024))"
plane_alive
