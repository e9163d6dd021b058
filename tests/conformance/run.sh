#!/bin/bash
# Runs the official conformance program of the OCI distribution specification against a fresh plane: reading and writing
# on a hosted repository, reading only on a remote one and on a virtual one in front of docker-registry; each for version
# 1.1 of the specification and for its development version. A failure, an error, and a test that was skipped or disabled
# because of an answer of ours fail the run. Asks for nothing outside this machine. See README.md.
#
#   run.sh [MODE...]            hosted, remote, virtual; default: all
#   LOCKGATE_BIN=FILE           the binary to test; without it the release build of this workspace is made and used
#   REGISTRY=HOST:PORT          tests this registry as `hosted` instead of a plane: how others fare, and that this can fail
#   KEEP=DIRECTORY              copies reports (report.html, junit.xml, results.yaml) and logs there
set -euo pipefail
suite=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../clients/lib.sh
source "$suite/../clients/lib.sh"

readonly ALL_MODES=(hosted remote virtual)
readonly VERSIONS=(1.1 dev)
# A run takes seconds; one that hangs ends here.
readonly PROGRAM_SECONDS=300
readonly OTHER_PARTS=(ping empty missing-manifest invalid-digest-format)

modes=("$@")
[[ ${#modes[@]} -gt 0 ]] || modes=("${ALL_MODES[@]}")
for mode in "${modes[@]}"; do
  [[ " ${ALL_MODES[*]} " == *" $mode "* ]] || { echo "run.sh: no mode $mode; there are: ${ALL_MODES[*]}" >&2; exit 64; }
done
[[ -x $tools/bin/conformance ]] || { echo "run.sh: tests/clients/install.sh builds the program, it is not there" >&2; exit 1; }

clean_up() {
  local pid
  trap - EXIT
  while read -r pid _; do stop "$pid"; done < <(tac "$WORK/pids" 2>/dev/null)
  [[ -z ${KEEP:-} ]] || { mkdir -p "$KEEP" && cp -r "$WORK/log" "$WORK"/report-* "$KEEP"/ 2>/dev/null || true; }
  rm -rf --one-file-system "$WORK"
}

if [[ -z ${REGISTRY:-} && -z ${LOCKGATE_BIN:-} ]]; then
  root=$(cd "$suite/../.." && pwd)
  target="${CARGO_TARGET_DIR:-$root/target}"
  (cd "$root" && CARGO_TARGET_DIR="$target" cargo build --release --quiet --bin lockgate)
  LOCKGATE_BIN="$target/release/lockgate"
fi
WORK=$(mktemp -d "${TMPDIR:-/tmp}/lockgate-conformance.XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir -p "$WORK/log" "$WORK/resources"
: >"$WORK/pids"
RESULTS="$WORK/results"
: >"$RESULTS"
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY

# The one name below which all of it happens; a hosted repository, and what the upstream calls its images too.
readonly NAME=conformance

write_resources() {
  cat >"$WORK/resources/all.yaml" <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: Upstream
metadata: { name: upstream }
spec:
  endpoints: [{ url: "http://$UPSTREAM" }]
  boundary: { privateAddresses: true }
---
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: cached }
spec:
  remote: { upstream: upstream }
---
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: $NAME }
spec:
  hosted: {}
---
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: all }
spec:
  virtual:
    members: [{ repository: $NAME }, { repository: cached }]
    pushTo: $NAME
---
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: { name: anybody }
spec:
  allow: [{ subjects: [{ kind: Anonymous }], actions: ["*"], repositories: ["**"] }]
YAML
}

# program REPORT VERSION VARIABLE=VALUE...: one run of it.
program() {
  local report=$1 version=$2
  shift 2
  timeout -k 5 "$PROGRAM_SECONDS" env OCI_REGISTRY="$TARGET" OCI_TLS=disabled OCI_VERSION="$version" OCI_RESULTS_DIR="$report" \
    OCI_REPO1="$PREFIX$NAME/repo1" OCI_REPO2="$PREFIX$NAME/repo2" "$@" "$tools/bin/conformance" >>"$WORK/log/$SUITE.out" 2>&1
}

# judge MODE VERSION REPORT...: what the reports say of us.
judge() {
  local said
  if said=$("$suite/judge.py" "$@" 2>&1); then ok "$said"; else fail "$(head -n 1 <<<"$said")" "$(tail -n +2 <<<"$said")"; fi
}

read_write() {
  local version
  for version in "${VERSIONS[@]}"; do
    SUITE="hosted-$version"
    program "$WORK/report-$SUITE" "$version" || fail 'the program is content' "exit $?"
    judge hosted "$version" "$WORK/report-$SUITE"
  done
}

# read_only MODE: on what the upstream was given. Three faults of the program are gone around. Without pushes it panics when
# it writes the report of the upload tests that it left out, so its parts run one by one without those. It writes no
# report when it did not get to the data it was given, so that goes to one part alone. And with `dev` it fails every
# manifest that it did not make itself, for want of a header in an answer that it threw away; that check is off, and
# digest_headers makes it.
read_only() {
  local mode=$1 version part data
  data=(OCI_RO_DATA_TAGS="$SEED_TAGS" OCI_RO_DATA_MANIFESTS="$SEED_MANIFESTS" OCI_RO_DATA_BLOBS="$SEED_BLOBS"
    OCI_RO_DATA_REFERRERS="$SEED_SUBJECTS")
  for version in "${VERSIONS[@]}"; do
    SUITE="$mode-$version"
    for part in "${OTHER_PARTS[@]}"; do reading_part "$version" "$part"; done
    reading_part "$version" read-only "${data[@]}"
    judge "$mode" "$version" "$WORK/report-$SUITE"/*/
  done
  SUITE=$mode
  digest_headers
}

# reading_part VERSION PART VARIABLE=VALUE...
reading_part() {
  local version=$1 part=$2
  shift 2
  program "$WORK/report-$SUITE/$part" "$version" OCI_FILTER_TEST="OCI Conformance Test/$part" \
    OCI_API_PUSH=false OCI_API_BLOBS_DELETE=false OCI_API_BLOBS_ATOMIC=false OCI_API_BLOBS_UPLOAD_CANCEL=false \
    OCI_API_MANIFESTS_DELETE=false OCI_API_MANIFESTS_ATOMIC=false OCI_API_MANIFESTS_DIGEST_HEADER=false \
    OCI_API_TAGS_DELETE=false OCI_API_TAGS_ATOMIC=false "$@" || fail "the program is content: $part" "exit $?"
}

digest_headers() {
  local reference digest method
  local options=(-fsS -m 20 -H 'Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json')
  for reference in $SEED_TAGS $SEED_MANIFESTS; do
    for method in --head --get; do
      digest=$(curl "${options[@]}" "$method" -o /dev/null -w '%header{docker-content-digest}' "http://$TARGET/v2/$PREFIX$NAME/repo1/manifests/$reference") || true
      if [[ $reference == sha256:* ]]; then same "$method of $reference names it" "$reference" "$digest"; else
        same "$method of $reference names its digest" "$(tag_digest "$reference")" "$digest"
      fi
    done
  done
}
tag_digest() { tr ' ' '\n' <<<"$SEED_TAG_DIGESTS" | sed -n "s/^$1=//p"; }

if [[ -n ${REGISTRY:-} ]]; then
  TARGET=$REGISTRY PREFIX=''
  read_write
else
  UPSTREAM="127.0.0.1:$(free_port)"
  PLANE="127.0.0.1:$(free_port)"
  start_registry upstream docker-registry "$UPSTREAM" "$WORK/upstream"
  wait_for 'the upstream' 20 answers "http://$UPSTREAM/v2/"
  # SEED_TAGS, SEED_MANIFESTS, SEED_BLOBS, SEED_SUBJECTS, SEED_TAG_DIGESTS
  seeded=$("$suite/seed.py" "http://$UPSTREAM" "$NAME/repo1")
  eval "$seeded"
  write_resources
  start_plane
  TARGET=$PLANE
  for mode in "${modes[@]}"; do
    case $mode in
      hosted) PREFIX='' && read_write ;;
      remote) PREFIX=cached/ && read_only remote ;;
      virtual) PREFIX=all/ && read_only virtual ;;
    esac
  done
  SUITE=plane
  if kill -0 "$PLANE_PID" 2>/dev/null && ! grep -q 'panicked at' "$WORK/log/plane.log"; then ok 'runs on'; else
    fail 'runs on' "$(tail -n 20 "$WORK/log/plane.log")"
  fi
fi

passed=$(grep -c '^ok ' "$RESULTS" || true)
failed=$(grep -c '^FAIL ' "$RESULTS" || true)
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]
