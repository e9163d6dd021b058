#!/bin/bash
# Runs real clients against the plane, in front of two real registries with real Debian images. Needs root (container
# engines), ports of the loopback interface and what install.sh installs; asks for nothing outside this machine but
# Debian's archive, once, for the root file systems. See README.md.
#
#   run.sh [SUITE...]      default: all; a suite is a file in suites/
#   LOCKGATE_BIN=FILE      the binary to test; without it the release build of this workspace is made and used
#   KEEP=1                 leave the work directory with all logs behind
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=images.sh
source "$here/images.sh"

# In this order: `once` counts what all the others asked for, `stopped` stops the plane.
readonly ALL_SUITES=(wire skopeo podman docker containerd crane oras regctl helm push virtual cosign adopt airgap once identity login refusal stopped)
# A suite that hangs in spite of the limits of each step ends here.
readonly SUITE_SECONDS=600

[[ $(id -u) -eq 0 ]] || { echo 'run.sh: needs root: container engines mount file systems' >&2; exit 64; }
suites=("$@")
[[ ${#suites[@]} -gt 0 ]] || suites=("${ALL_SUITES[@]}")
for suite in "${suites[@]}"; do
  [[ -f $here/suites/$suite.sh ]] || { echo "run.sh: no suite $suite; there are: ${ALL_SUITES[*]}" >&2; exit 64; }
done

build_plane() {
  local root target
  root=$(cd "$here/../.." && pwd)
  target="${CARGO_TARGET_DIR:-$root/target}"
  (cd "$root" && CARGO_TARGET_DIR="$target" cargo build --release --quiet --bin lockgate)
  LOCKGATE_BIN="$target/release/lockgate"
}

clean_up() {
  local pid
  trap - EXIT
  while read -r pid _; do stop "$pid"; done < <(tac "$WORK/pids" 2>/dev/null)
  unmount_all
  if [[ -n ${KEEP:-} ]]; then echo "kept: $WORK"; else rm -rf --one-file-system "$WORK"; fi
}

write_resources() {
  mkdir -p "$WORK/resources"
  local name host address
  {
    while read -r name address; do
      cat <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: Upstream
metadata: { name: $name }
spec:
  endpoints: [{ url: "http://$address" }]
  boundary: { privateAddresses: true }
---
YAML
    done <<LIST
first-upstream $FIRST
second-upstream $SECOND
LIST
    while read -r name host; do
      cat <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: $host }
spec:
  hosts: [$host]
  remote: { upstream: $name }
---
YAML
    done <<LIST
first-upstream registry.example.test
second-upstream second.example.test
second-upstream docker.io
LIST
  } >"$WORK/resources/upstreams.yaml"
  hosted_and_virtual >"$WORK/resources/hosted.yaml"
}

# What is pushed lies in `team`; `all` stands over it and both upstreams.
hosted_and_virtual() {
  cat <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: team }
spec:
  hosted: { immutableTags: ["v*"] }
---
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: all }
spec:
  virtual:
    members:
      - { repository: team, claims: ["mycorp/**"] }
      - { repository: registry.example.test }
      - { repository: second.example.test }
    pushTo: team
---
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: { name: anybody }
spec:
  allow: [{ subjects: [{ kind: Anonymous }], actions: ["*"], repositories: ["**"] }]
YAML
}

[[ -n ${LOCKGATE_BIN:-} ]] || build_plane
[[ -x $LOCKGATE_BIN ]] || { echo "run.sh: $LOCKGATE_BIN is not a program" >&2; exit 64; }
WORK=$(mktemp -d "${TMPDIR:-/tmp}/lockgate-clients.XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -p "$WORK/log" "$WORK/home"
RESULTS="$WORK/results"
: >"$RESULTS"
# Clients read and write settings below HOME: they must find none of the user's and leave none.
export HOME="$WORK/home" XDG_RUNTIME_DIR="$WORK/home"
unset DOCKER_CONFIG DOCKER_HOST REGISTRY_AUTH_FILE CONTAINERS_REGISTRIES_CONF CONTAINERS_STORAGE_CONF
LOCKGATE_TOOLS=$tools
PLANE="127.0.0.1:$(free_port)"
FIRST="127.0.0.1:$(free_port)"
SECOND="127.0.0.1:$(free_port)"

echo '== images and upstreams'
start_registry first docker-registry "$FIRST" "$WORK/first"
start_registry second "$tools/bin/distribution" "$SECOND" "$WORK/second"
wait_for 'first upstream' 20 answers "http://$FIRST/v2/"
wait_for 'second upstream' 20 answers "http://$SECOND/v2/"
make_images
make_artifacts
# From here on all there is to reach is on the loopback interface.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
expect_from_upstream
write_resources
MARK_FIRST=$(wc -l <"$WORK/log/first.log")
MARK_SECOND=$(wc -l <"$WORK/log/second.log")
start_plane

export WORK RESULTS PLANE FIRST SECOND LOCKGATE_BIN LOCKGATE_TOOLS PLANE_PID MARK_FIRST MARK_SECOND
export DEBIAN MULTI MULTI_AMD64 MULTI_ARM64
for SUITE in "${suites[@]}"; do
  export SUITE
  echo "== $SUITE"
  before=$(wc -l <"$RESULTS")
  mkdir -p "$WORK/$SUITE"
  # A process of its own: `set -e` holds inside, and a suite that breaks off is a failure of that suite only.
  # In the background, because only a `wait` is interrupted by a signal to this script.
  timeout -k 20 "$SUITE_SECONDS" bash -euo pipefail "$here/suites/$SUITE.sh" &
  printf '%s %s\n' "$!" "$(started_at "$!")" >>"$WORK/pids"
  wait "$!" || fail 'the suite ran to its end' "exit $?"
  [[ $(wc -l <"$RESULTS") -gt $before ]] || fail 'the suite checked something'
  kill -0 "$PLANE_PID" 2>/dev/null || [[ $SUITE == stopped ]] || fail 'the plane still runs' "$(tail -n 20 "$WORK/log/plane.log")"
done

passed=$(grep -c '^ok ' "$RESULTS" || true)
failed=$(grep -c '^FAIL ' "$RESULTS" || true)
if [[ $failed -gt 0 ]]; then
  echo '== failed'
  grep '^FAIL ' "$RESULTS"
  echo '== end of the log of the plane'
  tail -n 40 "$WORK/log/plane.log"
fi
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
