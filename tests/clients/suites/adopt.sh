# Moving in: repositories of an older registry are copied with all tags and referrers, and what was cached of an upstream
# that is to vanish becomes hosted and goes on being served without it.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

out="$WORK/adopt"
crane="$tools/bin/crane" oras="$tools/bin/oras"
lockgate=("$LOCKGATE_BIN")
digest_of() { "$crane" digest --insecure "$1" 2>&1; }

copies() {
  local copy=("${lockgate[@]}" copy --data-dir "$WORK/data" --from "http://$FIRST" --to team)
  check 'copy, dry run' "${copy[@]}" 'ml/**' lib/busybox --dry-run
  refused 'copies nothing' "$crane" digest --insecure "$PLANE/team/lib/busybox:1"
  check 'copy' "${copy[@]}" 'ml/**' lib/busybox
  same 'has the digest of the index' "$MULTI" "$(digest_of "$PLANE/team/lib/busybox:1")"
  check 'skopeo: pull of all platforms' skopeo copy --quiet --all --src-tls-verify=false "docker://$PLANE/team/lib/busybox:1" "oci:$out/copied:x"
  verified_blobs 'has every blob' "$out/copied/blobs/sha256" "$WORK/expect/multi.blobs"
  check 'oras: discover' "$oras" discover --plain-http --format json "$PLANE/team/ml/model:v1"
  # Beside what other suites attached here.
  contains 'the referrer came along' application/vnd.example.note "$(jq -r '(.referrers // .manifests)[].artifactType' <<<"$OUT" 2>&1 | xargs)"
  check 'copy again: all the same' "${copy[@]}" 'ml/**' lib/busybox
  # A tag that differs is told, and left alone.
  check 'a tag moves here' "$crane" copy --insecure "$PLANE/registry.example.test/lib/debian:bookworm" "$PLANE/team/lib/busybox:1"
  refused 'copy tells what differs' "${copy[@]}" lib/busybox
  contains 'by both digests' "${MULTI:7:12}" "$OUT"
  same 'and leaves it' "$DEBIAN" "$(digest_of "$PLANE/team/lib/busybox:1")"
  check 'with --update it is taken over' "${copy[@]}" lib/busybox --update
  same 'then it is that of the source' "$MULTI" "$(digest_of "$PLANE/team/lib/busybox:1")"
}

# An upstream of its own, and a repository in front of it, in the same plane.
adopts() {
  local old="127.0.0.1:$(free_port)" pid
  start_registry vanishing docker-registry "$old" "$WORK/first"
  pid=$DAEMON_PID
  wait_for 'an upstream that is to vanish' 20 answers "http://$old/v2/"
  documents "remote: { upstream: vanishing }" "$old"
  wait_for 'a repository in front of it' 20 "$crane" digest --insecure "$PLANE/vanishing/lib/busybox:1"
  check 'pull by one platform' skopeo copy --quiet --src-tls-verify=false "docker://$PLANE/vanishing/lib/busybox:1" "oci:$out/one:x"
  # It asks no upstream: what was not pulled yet is told as lacking.
  refused 'adopt, dry run, of an image pulled for one platform' "${lockgate[@]}" adopt 'vanishing/lib/**' --dry-run --data-dir "$WORK/data"
  check 'adopt' "${lockgate[@]}" adopt 'vanishing/lib/**' --data-dir "$WORK/data"
  contains 'it prints the document to put in force' 'hosted' "$OUT"
  stop "$pid"
  documents 'hosted: {}' "$old"
  wait_for 'the repository as a hosted one' 20 push_works
  same 'without the upstream: the digest of the index' "$MULTI" "$(digest_of "$PLANE/vanishing/lib/busybox:1")"
  check 'skopeo: pull of all platforms' skopeo copy --quiet --all --src-tls-verify=false "docker://$PLANE/vanishing/lib/busybox:1" "oci:$out/all:x"
  verified_blobs 'has every blob' "$out/all/blobs/sha256" "$WORK/expect/multi.blobs"
  contains 'tags are listed' 1 "$("$crane" ls --insecure "$PLANE/vanishing/lib/busybox" 2>&1 | xargs)"
  check 'collection takes none of it' "${lockgate[@]}" gc --repository vanishing --untagged-for 0s --blobs-unused-for 0s --data-dir "$WORK/data"
  check 'skopeo: pull after it' skopeo copy --quiet --all --src-tls-verify=false "docker://$PLANE/vanishing/lib/busybox:1" "oci:$out/after:x"
}
push_works() { "$crane" copy --insecure "$PLANE/registry.example.test/lib/busybox:1" "$PLANE/vanishing/lib/pushed:1"; }
# documents KIND ADDRESS
documents() {
  cat >"$out/vanishing.yaml" <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: Upstream
metadata: { name: vanishing }
spec:
  endpoints: [{ url: "http://$2" }]
  boundary: { privateAddresses: true }
---
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: vanishing }
spec:
  $1
YAML
  mv "$out/vanishing.yaml" "$WORK/resources/vanishing.yaml"
}

copies
adopts
