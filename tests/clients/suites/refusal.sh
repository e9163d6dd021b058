# Refusals, as each client prints them: the policy and rule, the reason, the remedy and the id, by which `why` tells the same.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$here/containerd.sh"
source "$here/planes.sh"

out="$WORK/refusal"
crane="$tools/bin/crane" oras="$tools/bin/oras"
layout="$WORK/layout"
mkdir -p "$out/resources"
{
  remote first registry.example.test "$FIRST"
  remote gone gone.example.test "127.0.0.1:$(free_port)"
  cat <<'YAML'
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: team }
spec: { hosted: {} }
---
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: { name: anybody }
spec:
  allow: [{ subjects: [{ kind: Anonymous }], actions: ["*"], repositories: ["**"] }]
---
apiVersion: lockgate.dev/v1alpha1
kind: ArtifactPolicy
metadata: { name: tagged }
spec:
  match: { actions: [Pull], repositories: ["registry.example.test/lib/busybox", "registry.example.test/charts/**"] }
  rules:
    - { name: no-such-tag, tags: { deny: ["1", "1.2.3"] }, remedy: "name a newer version" }
---
apiVersion: lockgate.dev/v1alpha1
kind: ArtifactPolicy
metadata: { name: owned }
spec:
  match: { actions: [Pull], repositories: ["registry.example.test/lib/debian"] }
  rules:
    - name: has-owner
      deny: '!("org.example.owner" in artifact.labels)'
      message: "'the image names no owner'"
      remedy: "set the label org.example.owner"
---
apiVersion: lockgate.dev/v1alpha1
kind: ArtifactPolicy
metadata: { name: advised }
spec:
  match: { actions: [Pull], repositories: ["registry.example.test/ml/**"] }
  enforcement: [{ mode: Warn }]
  rules:
    - { name: old-tag, tags: { deny: [v1] }, remedy: "name v2" }
---
apiVersion: lockgate.dev/v1alpha1
kind: ArtifactPolicy
metadata: { name: pushed }
spec:
  match: { actions: [Push], repositories: ["team/**"] }
  rules:
    - { name: no-latest, tags: { deny: ["latest", "1.2.3"] }, remedy: "push a version" }
YAML
} >"$out/resources/all.yaml"
own_plane "$out"

# tells TEXT RULE REMEDY [OF]: what the last command printed names the rule, the remedy and a decision that `why` knows.
tells() {
  local id
  contains "$1: names the policy and the rule" "denied by $2" "$OUT"
  contains "$1: says what to do" "$3" "$OUT"
  id=$(grep -oE 'lockgate why [0-9a-z]{26}' <<<"$OUT" | head -n 1 | cut -d ' ' -f 3) || true
  check "$1: lockgate why knows the decision" "$LOCKGATE_BIN" why --plane "http://$OWN" "${id:-none}"
  contains "$1: lockgate why names the same policy" "${2%%/*}" "$OUT"
  contains "$1: lockgate why names the same rule" "${2##*/}" "$OUT"
}
# by_tag TEXT COMMAND... and by_label TEXT COMMAND...: a pull that one of the two policies refuses.
by_tag() { refused "$1: pull of a refused tag" "${@:2}"; tells "$1, tag" tagged/no-such-tag 'name a newer version'; }
by_label() { refused "$1: pull without the label" "${@:2}"; tells "$1, label" owned/has-owner 'set the label org.example.owner'; }
by_push() { refused "$1: push of a refused tag" "${@:2}"; tells "$1, push" pushed/no-latest 'push a version'; }

name="$OWN/registry.example.test/lib"
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$out/policy.json"
podman=(podman --root "$out/root" --runroot "$out/runroot" --tmpdir "$out/tmp" --storage-driver overlay --cgroup-manager cgroupfs --events-backend file)

tools_without_an_engine() {
  by_tag skopeo skopeo copy --src-tls-verify=false "docker://$name/busybox:1" "oci:$out/skopeo:x"
  by_label skopeo skopeo copy --src-tls-verify=false "docker://$name/debian:bookworm" "oci:$out/skopeo:x"
  by_tag crane "$crane" pull "$name/busybox:1" "$out/crane.tar"
  by_label crane "$crane" pull "$name/debian@$DEBIAN" "$out/crane.tar"
  by_tag oras "$oras" copy --from-plain-http --to-oci-layout "$name/busybox:1" "$out/oras:x"
  by_label oras "$oras" copy --from-plain-http --to-oci-layout "$name/debian:bookworm" "$out/oras:x"
  local helm
  for helm in helm3 helm4; do
    by_tag "$helm" "$tools/bin/$helm" pull --plain-http "oci://$OWN/registry.example.test/charts/shop" --version 1.2.3 --destination "$out"
    by_push "$helm" "$tools/bin/$helm" push --plain-http "$WORK/chart/shop-1.2.3.tgz" "oci://$OWN/team/charts"
  done
  by_push skopeo skopeo copy --dest-tls-verify=false "oci:$layout:debian" "docker://$OWN/team/skopeo:latest"
  check 'crane: an image to push' "$crane" pull --insecure --format oci "$FIRST/lib/debian:bookworm" "$out/one"
  by_push crane "$crane" push --insecure "$out/one" "$OWN/team/crane:latest"
  by_push oras bash -c "cd '$WORK/artifact' && '$oras' push --plain-http '$OWN/team/oras:latest' model.bin"
  refused 'skopeo: pull from an upstream that is down' skopeo copy --src-tls-verify=false "docker://$OWN/gone.example.test/lib/x:1" "oci:$out/gone:x"
  contains 'skopeo: prints that it may be tried again' 503 "$OUT"
  refused 'oras: pull from an upstream that is down' "$oras" copy --from-plain-http --to-oci-layout "$OWN/gone.example.test/lib/x:1" "$out/gone:x"
  contains 'oras: does not take it for a refusal' unavailable "${OUT,,}"
  check 'oras: a warning lets the artifact pass' "$oras" pull --plain-http --output "$out/warned" "$OWN/registry.example.test/ml/model:v1"
  contains 'oras: prints the warning' advised/old-tag "$OUT"
}

by_podman() {
  by_tag podman "${podman[@]}" pull --quiet --tls-verify=false --signature-policy "$out/policy.json" "$name/busybox:1"
  by_label podman "${podman[@]}" pull --quiet --tls-verify=false --signature-policy "$out/policy.json" "$name/debian:bookworm"
  check 'podman: an image of its own' bash -c "tar -C '$WORK/artifact' -c . | ${podman[*]} import - localhost/own:1"
  by_push podman "${podman[@]}" push --quiet --tls-verify=false --signature-policy "$out/policy.json" localhost/own:1 "docker://$OWN/team/podman:latest"
  "${podman[@]}" image rm --all --force >/dev/null 2>&1 || true
}

by_docker() {
  local d=(/usr/bin/docker --host "unix://$out/docker.sock")
  printf '{ "insecure-registries": ["127.0.0.0/8"], "max-download-attempts": 1, "max-concurrent-uploads": 1 }\n' >"$out/daemon.json"
  daemon docker-refusal dockerd --config-file "$out/daemon.json" --host "unix://$out/docker.sock" --data-root "$out/docker" --exec-root "$out/exec" \
    --pidfile "$out/docker.pid" --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false
  local engine=$DAEMON_PID
  wait_for 'docker engine' 60 "${d[@]}" version
  by_tag docker "${d[@]}" pull "$name/busybox:1"
  by_label docker "${d[@]}" pull "$name/debian:bookworm"
  tar -C "$WORK/artifact" -c . | "${d[@]}" import - "$OWN/team/docker:latest" >/dev/null 2>&1 || true
  by_push docker "${d[@]}" push "$OWN/team/docker:latest"
  stop "$engine"
}

# containerd reads nothing but the status line of the HEAD; with the generated hosts.toml it has nowhere else to go.
by_containerd() {
  local version certs="$out/certs.d" n
  PLANE=$OWN certs_for "$certs" registry.example.test gone.example.test
  for version in "${CONTAINERD_VERSIONS[@]}"; do
    containerd_version "$version"
    n=$CONTAINERD_NAME
    start_containerd "$out/$version" "$certs"
    by_tag "$n, ctr" "${CTR[@]}" images pull --hosts-dir "$certs" registry.example.test/lib/busybox:1
    by_label "$n, ctr" "${CTR[@]}" images pull --hosts-dir "$certs" registry.example.test/lib/debian:bookworm
    by_tag "$n, CRI" "${CRI[@]}" registry.example.test/lib/busybox:1
    by_label "$n, CRI" "${CRI[@]}" registry.example.test/lib/debian:bookworm
    refused "$n, ctr: pull from an upstream that is down" "${CTR[@]}" images pull --hosts-dir "$certs" gone.example.test/lib/x:1
    contains "$n, ctr: prints that it may be tried again" 503 "$OUT"
    same "$n: nothing of a refused image is stored" none "$("${CTR[@]}" --namespace default images ls --quiet 2>/dev/null | grep . || echo none)"
    stop "$CONTAINERD_PID"
  done
}

tools_without_an_engine
by_podman
by_docker
by_containerd
stop "$OWN_PID"
