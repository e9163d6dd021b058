# The upstream is stopped, silent, failing, throttling, refusing or talking nonsense: what the plane holds it serves,
# also after a restart; of the rest it says that it cannot tell. Nothing turns into 404, nothing hangs.
# shellcheck shell=bash disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
require curl jq sha256sum

readonly MODES=(stopped blackhole 500 429 401 garbage)
readonly FLAGS=(--image 300K,2M --image 1M)
# Two repositories: one serves a stale tag at once and asks behind it, one asks first. Both expire at once.
readonly EAGER=eager.example.test LAZY=lazy.example.test

set_up() {
  DIR="$WORK/$SUITE/$1"
  mkdir -p "$DIR/resources"
  start_upstream up "${FLAGS[@]}"
  {
    upstream_resource
    repository_resource "$LAZY" up ', freshness: { tagTtl: 100ms }'
    repository_resource "$EAGER" up ', freshness: { tagTtl: 100ms, staleWhileRevalidate: 0s }'
  } >"$DIR/resources/all.yaml"
  unset PLANE PLANE_URL
  start_plane
}

break_upstream() {
  case $1 in
    stopped) stop "$UPSTREAM_PID" ;;
    *) control "{\"mode\": \"$1\"}" ;;
  esac
}
mend_upstream() {
  case $1 in
    stopped) start_upstream up "${FLAGS[@]}" ;;
    *) control '{"mode": "ok"}' ;;
  esac
}

url() { printf '%s/v2/%s/%s' "$PLANE_URL" "$1" "$2"; }

# pull MODE REPOSITORY WHEN: the whole of image 1, by tag and by digest, as a client would.
pull() {
  local text="$1: $2 $3" name digest n
  name=$(image 1 name)
  digest=$(image 1 digest)
  gives "$text: manifest by tag" "$DIR/tag" "$digest" "$(url "$2" "$name/manifests/latest")"
  CACHED=$(header Cache-Status)
  gives "$text: manifest by digest" "$DIR/manifest" "$digest" "$(url "$2" "$name/manifests/$digest")"
  gives "$text: config" "$DIR/config" "$(image 1 config.digest)" "$(url "$2" "$name/blobs/$(image 1 config.digest)")"
  for n in 1 2; do
    gives "$text: layer $n" "$DIR/layer" "$(layer 1 digest "$n")" "$(url "$2" "$name/blobs/$(layer 1 digest "$n")")"
  done
  ask "$DIR/head" "$(url "$2" "$name/manifests/latest")" --head
  same "$text: HEAD by tag" "200 $digest" "$STATUS $(header Docker-Content-Digest)"
}

# unknown MODE: what nobody asked for before the outage.
unknown() {
  local name tag digest blob
  name=$(image 2 name)
  tag=$(url "$LAZY" "$name/manifests/latest")
  digest=$(url "$LAZY" "$name/manifests/$(image 2 digest)")
  blob=$(url "$LAZY" "$name/blobs/$(layer 2 digest)")
  if [[ $1 == 401 ]]; then
    # An answer, and no outage: the upstream refuses us. It must not look like absence, nor make a client log in.
    local what
    for what in "$tag" "$digest" "$blob"; do
      ask "$DIR/refused" "$what"
      one_of "$1: not held, status" '403 502 503' "$STATUS"
      says_why "$1: not held, reason" "$DIR/refused"
    done
    return
  fi
  dont_know "$1: a tag not held" "$DIR/unknown" "$tag"
  says_why "$1: a tag not held, reason" "$DIR/unknown"
  dont_know "$1: a manifest not held" "$DIR/unknown" "$digest"
  dont_know "$1: a blob not held" "$DIR/unknown" "$blob"
  dont_know "$1: HEAD of a tag not held" "$DIR/unknown" "$tag" --head
  dont_know "$1: another tag of a known name" "$DIR/unknown" "$(url "$LAZY" "$(image 1 name)/manifests/other")"
}

recovered() { [[ $(curl -sS -m "$HANG_SECONDS" -o /dev/null -w '%{http_code}' -H "$ACCEPT" "$1") == 200 ]]; }

outage() {
  local mode=$1 repository
  set_up "$mode"
  for repository in "$LAZY" "$EAGER"; do pull "$mode" "$repository" before; done
  ask "$DIR/tags" "$(url "$LAZY" "$(image 1 name)/tags/list")"
  same "$mode: before: tags" latest "$(jq -r '.tags | join(",")' "$DIR/tags" 2>&1)"
  sleep 0.3
  break_upstream "$mode"
  for repository in "$LAZY" "$EAGER"; do
    pull "$mode" "$repository" during
    contains "$mode: $repository during: the tag is said to be stale" stale "${CACHED/ttl=-/stale}"
  done
  note "Cache-Status of a stale tag: $CACHED"
  ask "$DIR/tags" "$(url "$LAZY" "$(image 1 name)/tags/list")"
  same "$mode: during: tags" latest "$(jq -r '.tags | join(",")' "$DIR/tags" 2>&1)"
  unknown "$mode"
  plane_alive "$mode: the plane is ready during the outage"
  restart_plane
  pull "$mode" "$LAZY" 'after a restart in the outage'
  unknown "$mode"
  mend_upstream "$mode"
  # Longest of all: half a minute of Retry-After, which the plane obeys.
  soon "$mode: what was not held is served once the upstream is back" 75 recovered "$(url "$LAZY" "$(image 2 name)/manifests/latest")"
  same "$mode: answers the log tells as 404" 0 "$(grep -cE '(status=|"status":)404' "$PLANE_LOG" || true)"
  end_plane
  stop "$UPSTREAM_PID"
}

for mode in "${MODES[@]}"; do outage "$mode"; done
