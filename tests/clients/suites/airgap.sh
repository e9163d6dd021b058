# Over an air gap: images with their referrers and signatures from one plane into a file, from the file into another plane
# that reaches nothing; digests, files, referrers and signatures are the same there, and other tools can read the file.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

out="$WORK/airgap"
crane="$tools/bin/crane" oras="$tools/bin/oras" cosign="$tools/bin/cosign2"
here_name="$PLANE/registry.example.test"
export COSIGN_PASSWORD='' TUF_ROOT="$out/tuf"
lockgate=("$LOCKGATE_BIN")

# Another plane: one hosted repository, no upstream it could ask.
THERE="127.0.0.1:$(free_port)"
mkdir -p "$out/resources"
cat >"$out/resources/all.yaml" <<'YAML'
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: mirror }
spec:
  hosted: { sparseIndexes: true }
---
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: { name: anybody }
spec:
  allow: [{ subjects: [{ kind: Anonymous }], actions: ["*"], repositories: ["**"] }]
YAML
start_there() {
  daemon airgap-plane "$LOCKGATE_BIN" serve --listen "$THERE" --data-dir "$out/data" --resources "$out/resources"
  wait_for 'plane on the other side' 30 answers "http://$THERE/readyz"
}
start_there

# Something signed, and something with a referrer.
(cd "$out" && "$cosign" generate-key-pair >/dev/null 2>&1) || true
check 'an image of our own, signed' "$crane" copy --insecure "$here_name/lib/busybox:1" "$PLANE/team/airgap/app:1"
check 'sign' "$cosign" sign --yes --tlog-upload=false --allow-insecure-registry --key "$out/cosign.key" "$PLANE/team/airgap/app@$MULTI"

check 'export' "${lockgate[@]}" export registry.example.test/lib/debian:bookworm registry.example.test/ml/model:v1 team/airgap/app \
  --output "$out/images.tar" --data-dir "$WORK/data"
check 'again' "${lockgate[@]}" export registry.example.test/lib/debian:bookworm registry.example.test/ml/model:v1 team/airgap/app \
  --output "$out/again.tar" --data-dir "$WORK/data"
same_file 'gives the same bytes' "$out/images.tar" "$out/again.tar"
check 'skopeo reads the file' skopeo inspect --raw "oci-archive:$out/images.tar:bookworm"
check 'one platform' "${lockgate[@]}" export --platform linux/arm64 registry.example.test/lib/busybox:1 --output "$out/arm64.tar" --data-dir "$WORK/data"
refused 'of what is not there no file is made' "${lockgate[@]}" export registry.example.test/lib/debian:nowhere --output "$out/none.tar" --data-dir "$WORK/data"
refused 'none' test -e "$out/none.tar"

there=(--to mirror --data-dir "$out/data")
check 'import, dry run' "${lockgate[@]}" import "$out/images.tar" --dry-run "${there[@]}"
refused 'pushes nothing' "$crane" digest --insecure "$THERE/mirror/team/airgap/app:1"
# Interrupted in the middle, and taken up again.
timeout -s KILL 0.3 "${lockgate[@]}" import "$out/images.tar" "${there[@]}" >/dev/null 2>&1 || true
check 'import' "${lockgate[@]}" import "$out/images.tar" "${there[@]}"
check 'import again has nothing to do' "${lockgate[@]}" import "$out/images.tar" "${there[@]}"

same 'the digest of the image' "$DEBIAN" "$("$crane" digest --insecure "$THERE/mirror/registry.example.test/lib/debian:bookworm" 2>&1)"
same 'the digest of the index' "$MULTI" "$("$crane" digest --insecure "$THERE/mirror/team/airgap/app:1" 2>&1)"
check 'skopeo: pull on the other side' skopeo copy --quiet --src-tls-verify=false "docker://$THERE/mirror/registry.example.test/lib/debian:bookworm" "oci:$out/debian:x"
verified_blobs 'has the blobs of the upstream' "$out/debian/blobs/sha256" "$WORK/expect/debian.blobs"
check 'oras: discover on the other side' "$oras" discover --plain-http --format json "$THERE/mirror/registry.example.test/ml/model:v1"
same 'finds the referrer of the upstream' application/vnd.example.note "$(jq -r '(.referrers // .manifests)[].artifactType' <<<"$OUT" 2>&1 | xargs)"
check 'cosign: the signature is found there' "$cosign" verify --insecure-ignore-tlog=true --allow-insecure-registry --key "$out/cosign.pub" "$THERE/mirror/team/airgap/app@$MULTI"
check 'a sparse index comes along' "${lockgate[@]}" import "$out/arm64.tar" "${there[@]}"
check 'and its platform can be pulled' "$crane" pull --insecure --platform linux/arm64 "$THERE/mirror/registry.example.test/lib/busybox:1" "$out/arm64.image.tar"

# A byte of a layer is changed: the file is refused, the blob named.
cp "$out/images.tar" "$out/spoiled.tar"
python3 - "$out/spoiled.tar" <<'PY'
import sys, tarfile
path = sys.argv[1]
with tarfile.open(path) as archive:
    member = max((m for m in archive if m.name.startswith("blobs/")), key=lambda m: m.size)
    at = member.offset_data + member.size // 2
with open(path, "r+b") as file:
    file.seek(at)
    byte = file.read(1)
    file.seek(at)
    file.write(bytes([byte[0] ^ 1]))
PY
refused 'a file that was tampered with' "${lockgate[@]}" import "$out/spoiled.tar" --to mirror/spoiled --data-dir "$out/data"
contains 'is refused by the name of the blob' 'sha256:' "$OUT"
refused 'and nothing of it has a tag' "$crane" digest --insecure "$THERE/mirror/spoiled/registry.example.test/lib/debian:bookworm"
stop "$DAEMON_PID"
