# Pushes by every client into a hosted repository, and pulls of what was pushed: the digests and bytes stay what they were.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

name="${HOSTED:-$PLANE/team}"
out="$WORK/push"
expect="$WORK/expect"
layout="$WORK/layout"
crane="$tools/bin/crane" oras="$tools/bin/oras" regctl="$tools/bin/regctl"
engine=(--storage-driver overlay)
podman=(podman --root "$out/root" --runroot "$out/runroot" --tmpdir "$out/tmp" "${engine[@]}" --cgroup-manager cgroupfs --events-backend file)
buildah=(buildah --root "$out/root" --runroot "$out/runroot" "${engine[@]}")
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$out/policy.json"
digest_of() { "$crane" digest --insecure "$1" 2>&1; }
# arrives TEXT REFERENCE BLOBS_FILE: a pull by another client has exactly these blobs, each right.
arrives() {
  rm -rf "$out/arrived"
  check "$1: pull by skopeo" skopeo copy --quiet --all --src-tls-verify=false "docker://$2" "oci:$out/arrived:x"
  verified_blobs "$1: has the blobs that were pushed" "$out/arrived/blobs/sha256" "$3"
}
# unpacks TEXT REFERENCE TREE: the image holds these files.
unpacks() {
  rm -rf "$out/arrived" "$out/bundle"
  check "$1: pull by skopeo" skopeo copy --quiet --src-tls-verify=false "docker://$2" "oci:$out/arrived:x"
  umoci unpack --image "$out/arrived:x" "$out/bundle" >/dev/null 2>&1 || true
  same_tree "$1: holds the files that were pushed" "$3" "$out/bundle/rootfs"
}

skopeo_pushes() {
  check 'skopeo: push of an image' skopeo copy --quiet --preserve-digests --dest-tls-verify=false "oci:$layout:debian" "docker://$name/skopeo/debian:1"
  same 'skopeo: has its digest' "$DEBIAN" "$(digest_of "$name/skopeo/debian:1")"
  arrives 'skopeo' "$name/skopeo/debian:1" "$expect/debian.blobs"
  check 'skopeo: push of a multi-architecture image' skopeo copy --quiet --all --preserve-digests --dest-tls-verify=false "oci:$layout:multi" "docker://$name/skopeo/busybox:1"
  same 'skopeo: has the digest of the index' "$MULTI" "$(digest_of "$name/skopeo/busybox:1")"
  arrives 'skopeo, index' "$name/skopeo/busybox:1" "$expect/multi.blobs"
  check 'skopeo: tags' skopeo list-tags --tls-verify=false "docker://$name/skopeo/debian"
  same 'skopeo: lists what was pushed' 1 "$(jq -r '.Tags | join(" ")' <<<"$OUT" 2>&1)"
}

podman_pushes() {
  local image="$PLANE/registry.example.test/lib/debian:bookworm"
  check 'podman: pull from the remote repository' "${podman[@]}" pull --quiet --tls-verify=false --signature-policy "$out/policy.json" "$image"
  check 'podman: push' "${podman[@]}" push --quiet --tls-verify=false --signature-policy "$out/policy.json" "$image" "docker://$name/podman/debian:1"
  "${podman[@]}" image rm --all --force >/dev/null 2>&1 || true
  unpacks 'podman' "$name/podman/debian:1" "$expect/debian.tree"
  check 'podman: pull of its own push' "${podman[@]}" pull --quiet --tls-verify=false --signature-policy "$out/policy.json" "$name/podman/debian:1"
  "${podman[@]}" image rm --all --force >/dev/null 2>&1 || true
}

buildah_pushes() {
  local container at
  container=$("${buildah[@]}" from scratch 2>&1) || true
  at=$("${buildah[@]}" mount "$container" 2>&1) || true
  mkdir -p "$at/etc" && printf 'by buildah\n' >"$at/etc/motd" || true
  "${buildah[@]}" umount "$container" >/dev/null 2>&1 || true
  check 'buildah: commit' "${buildah[@]}" commit --quiet --signature-policy "$out/policy.json" "$container" built
  check 'buildah: push' "${buildah[@]}" push --quiet --tls-verify=false --signature-policy "$out/policy.json" built "docker://$name/buildah/motd:1"
  rm -rf "$out/arrived" "$out/bundle"
  check 'buildah: pull by skopeo' skopeo copy --quiet --src-tls-verify=false "docker://$name/buildah/motd:1" "oci:$out/arrived:x"
  umoci unpack --image "$out/arrived:x" "$out/bundle" >/dev/null 2>&1 || true
  same 'buildah: holds the file that was pushed' 'by buildah' "$(cat "$out/bundle/rootfs/etc/motd" 2>&1)"
  check 'buildah: a manifest list' "${buildah[@]}" manifest create list
  check 'buildah: with the image' "${buildah[@]}" manifest add list built
  check 'buildah: push of the list and all it names' "${buildah[@]}" manifest push --all --quiet --tls-verify=false --signature-policy "$out/policy.json" list "docker://$name/buildah/list:1"
  check 'buildah: pull of its list' skopeo copy --quiet --all --src-tls-verify=false "docker://$name/buildah/list:1" "oci:$out/list:x"
  "${buildah[@]}" rm --all >/dev/null 2>&1 || true
  "${podman[@]}" image rm --all --force >/dev/null 2>&1 || true
}

# The engine is one of its own; its push makes a manifest of Docker's own kind.
docker_pushes() {
  local d=(/usr/bin/docker --host "unix://$out/docker.sock") id pushed
  printf '{ "insecure-registries": ["127.0.0.0/8"] }\n' >"$out/daemon.json"
  daemon docker-push dockerd --config-file "$out/daemon.json" --host "unix://$out/docker.sock" --data-root "$out/docker-data" --exec-root "$out/docker-exec" \
    --pidfile "$out/docker.pid" --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false
  local pid=$DAEMON_PID
  wait_for 'docker engine' 60 "${d[@]}" version || { tail -n 20 "$WORK/log/docker-push.log"; return 1; }
  check 'docker: pull from the remote repository' "${d[@]}" pull --quiet "$PLANE/registry.example.test/lib/debian:bookworm"
  "${d[@]}" tag "$PLANE/registry.example.test/lib/debian:bookworm" "$name/docker/debian:1"
  check 'docker: push' "${d[@]}" push "$name/docker/debian:1"
  pushed=$(grep -oE 'sha256:[0-9a-f]{64}' <<<"$OUT" | tail -n 1)
  same 'docker: the tag names what it says it pushed' "$pushed" "$(digest_of "$name/docker/debian:1")"
  "${d[@]}" tag "$name/docker/debian:1" "$name/docker/other:1"
  check 'docker: push under another name, layers mounted' "${d[@]}" push "$name/docker/other:1"
  "${d[@]}" image prune --all --force >/dev/null 2>&1 || true
  "${d[@]}" rmi --force "$name/docker/debian:1" "$name/docker/other:1" "$PLANE/registry.example.test/lib/debian:bookworm" >/dev/null 2>&1 || true
  check 'docker: pull of its own push' "${d[@]}" pull --quiet "$name/docker/debian:1"
  id=$("${d[@]}" create --network none "$name/docker/debian:1" /bin/true 2>/dev/null) || true
  same_tree_of_tar 'docker: holds the files that were pushed' "$expect/debian.tree" "${d[@]}" export "$id"
  stop "$pid"
}

crane_pushes() {
  "$crane" pull --insecure --format oci "$PLANE/registry.example.test/lib/debian:bookworm" "$out/crane.oci" >/dev/null 2>&1 || true
  check 'crane: push of a layout' "$crane" push --insecure "$out/crane.oci" "$name/crane/debian:1"
  arrives 'crane' "$name/crane/debian:1" "$expect/debian.blobs"
  check 'crane: copy of a multi-architecture image' "$crane" copy --insecure "$PLANE/registry.example.test/lib/busybox:1" "$name/crane/busybox:1"
  same 'crane: has the digest of the index' "$MULTI" "$(digest_of "$name/crane/busybox:1")"
  check 'crane: copy within the registry, blobs mounted' "$crane" copy --insecure "$name/crane/busybox:1" "$name/crane/mounted:1"
  arrives 'crane, mounted' "$name/crane/mounted:1" "$expect/multi.blobs"
  check 'crane: another tag' "$crane" tag --insecure "$name/crane/busybox:1" 2
  same 'crane: tags' '1 2' "$("$crane" ls --insecure "$name/crane/busybox" 2>&1 | LC_ALL=C sort | xargs)"
}

oras_pushes() {
  cd "$WORK/artifact"
  check 'oras: push of an artifact' "$oras" push --plain-http --artifact-type application/vnd.example.model "$name/oras/model:1" model.bin:application/octet-stream thing.json:application/json
  check 'oras: attach of a note' "$oras" attach --plain-http --artifact-type application/vnd.example.note "$name/oras/model:1" thing.json:application/json
  check 'oras: attach of another' "$oras" attach --plain-http --artifact-type application/vnd.example.other "$name/oras/model:1" thing.json:application/json
  check 'oras: discover' "$oras" discover --plain-http --format json "$name/oras/model:1"
  same 'oras: finds both' 'application/vnd.example.note application/vnd.example.other' "$(jq -r '(.referrers // .manifests)[].artifactType' <<<"$OUT" 2>&1 | sort | xargs)"
  check 'oras: discover of one kind' "$oras" discover --plain-http --format json --artifact-type application/vnd.example.note "$name/oras/model:1"
  same 'oras: finds that one' application/vnd.example.note "$(jq -r '(.referrers // .manifests)[].artifactType' <<<"$OUT" 2>&1 | xargs)"
  check 'oras: attach by the tag that older registries need' "$oras" attach --plain-http --distribution-spec v1.1-referrers-tag --artifact-type application/vnd.example.old "$name/oras/model:1" thing.json:application/json
  check 'oras: discover by the API' "$oras" discover --plain-http --distribution-spec v1.1-referrers-api --format json "$name/oras/model:1"
  contains 'oras: the API lists that one too' application/vnd.example.old "$OUT"
  check 'oras: pull' "$oras" pull --plain-http --output "$out/oras" "$name/oras/model:1"
  same_file 'oras: has the file that was pushed' model.bin "$out/oras/model.bin"
  check 'oras: copy with all referrers' "$oras" copy --recursive --from-plain-http --to-plain-http "$name/oras/model:1" "$name/oras/copied:1"
  check 'oras: discover of the copy' "$oras" discover --plain-http --format json "$name/oras/copied:1"
  contains 'oras: the copy has its referrers' application/vnd.example.other "$OUT"
  cd "$WORK"
}

# helm 3 asks a cluster for its version even when it shall only show what it would do.
helm_pushes() {
  local helm bin port cluster
  port=$(free_port)
  daemon apiserver "$here/apiserver.py" "$port"
  wait_for 'API server' 10 answers "http://127.0.0.1:$port/version"
  for helm in helm3 helm4; do
    bin="$tools/bin/$helm"
    cluster=()
    [[ $helm != helm3 ]] || cluster=(--disable-openapi-validation --kube-apiserver "http://127.0.0.1:$port")
    check "$helm: push of a chart" "$bin" push --plain-http "$WORK/chart/shop-1.2.3.tgz" "oci://$name/$helm"
    check "$helm: pull" "$bin" pull --plain-http "oci://$name/$helm/shop" --version 1.2.3 --destination "$out"
    same_file "$helm: is the archive that was pushed" "$WORK/chart/shop-1.2.3.tgz" "$out/shop-1.2.3.tgz"
    rm -f "$out/shop-1.2.3.tgz"
    check "$helm: install --dry-run" "$bin" install shop --dry-run=client "${cluster[@]}" --plain-http "oci://$name/$helm/shop" --version 1.2.3
    contains "$helm: shows the chart" 'image: registry.example.test/lib/debian:bookworm' "$(tr -d '"' <<<"$OUT")"
    check "$helm: install --dry-run of the newest" "$bin" install shop --dry-run=client "${cluster[@]}" --plain-http "oci://$name/$helm/shop" --version '^1.0.0'
  done
}

regctl_pushes() {
  export REGCTL_CONFIG="$out/regctl.json"
  "$regctl" registry set --tls disabled "${name%%/*}" >/dev/null 2>&1 || true
  "$regctl" registry set --tls disabled "$PLANE" >/dev/null 2>&1 || true
  check 'regctl: copy with referrers' "$regctl" image copy --referrers "$PLANE/registry.example.test/ml/model:v1" "$name/regctl/model:1"
  check 'regctl: referrers of the copy' "$regctl" artifact list --format '{{ jsonPretty . }}' "$name/regctl/model:1"
  contains 'regctl: has the one of the original' application/vnd.example.note "$OUT"
  check 'regctl: import of a layout' "$regctl" image copy "ocidir://$layout:multi" "$name/regctl/busybox:1"
  same 'regctl: has the digest of the index' "$MULTI" "$(digest_of "$name/regctl/busybox:1")"
  check 'regctl: tag delete' "$regctl" tag delete "$name/regctl/busybox:1"
  refused 'regctl: the tag is gone' "$crane" digest --insecure "$name/regctl/busybox:1"
}

refusals_and_deletes() {
  check 'a tag that may not move is pushed' "$crane" copy --insecure "$name/skopeo/debian:1" "$name/rules/app:v1.0"
  check 'pushing the same again is no move' "$crane" copy --insecure "$name/skopeo/debian:1" "$name/rules/app:v1.0"
  refused 'it does not move' "$crane" copy --insecure "$name/skopeo/busybox:1" "$name/rules/app:v1.0"
  contains 'the refusal names the tag' v1.0 "$OUT"
  contains 'and the digest it has' "${DEBIAN:0:19}" "$OUT"
  contains 'and the rule' 'v*' "$OUT"
  same 'it still names what it did' "$DEBIAN" "$(digest_of "$name/rules/app:v1.0")"
  refused 'nor is it deleted' skopeo delete --tls-verify=false "docker://$name/rules/app:v1.0"
  check 'another tag moves' "$crane" copy --insecure "$name/skopeo/debian:1" "$name/rules/free:latest"
  check 'as often as one likes' "$crane" copy --insecure "$name/skopeo/busybox:1" "$name/rules/free:latest"
  same 'and names the new one' "$MULTI" "$(digest_of "$name/rules/free:latest")"
  check 'skopeo: delete' skopeo delete --tls-verify=false "docker://$name/rules/free:latest"
  refused 'the tag is gone' "$crane" digest --insecure "$name/rules/free:latest"
  refused 'and the manifest' "$crane" digest --insecure "$name/rules/free@$MULTI"
  check 'what else holds the same blobs is whole' skopeo copy --quiet --all --src-tls-verify=false "docker://$name/skopeo/busybox:1" "oci:$out/whole:x"
  check 'oras: delete of a manifest' "$oras" manifest delete --plain-http --force "$name/oras/copied:1"
  refused 'it is gone' "$oras" resolve --plain-http "$name/oras/copied:1"
  refused 'pushing into a remote repository is refused' "$crane" copy --insecure "$name/skopeo/debian:1" "$PLANE/registry.example.test/lib/pushed:1"
}

skopeo_pushes
podman_pushes
buildah_pushes
docker_pushes
crane_pushes
oras_pushes
helm_pushes
regctl_pushes
refusals_and_deletes
