# cosign, two versions with their two ways of keeping signatures (a tag `sha256-….sig`, a referrer): signing through the
# plane and verifying through hosted, remote and virtual names, all with a key pair and without a network.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

out="$WORK/cosign"
crane="$tools/bin/crane"
export COSIGN_PASSWORD='' SIGSTORE_NO_CACHE=true TUF_ROOT="$out/tuf" XDG_CACHE_HOME="$out/cache"
team="${HOSTED:-$PLANE/team}"
all="${ALL:-$PLANE/all}"

# What each version needs to stay away from the public services; the new one signs by a description of services, here none.
"$tools/bin/cosign3" signing-config create --out "$out/none.json" >/dev/null 2>&1 || true
cosign2_sign=("$tools/bin/cosign2" sign --yes --tlog-upload=false --allow-insecure-registry)
cosign2_attest=("$tools/bin/cosign2" attest --yes --tlog-upload=false --allow-insecure-registry --type custom)
cosign3_sign=("$tools/bin/cosign3" sign --yes --signing-config "$out/none.json" --allow-insecure-registry)
cosign3_attest=("$tools/bin/cosign3" attest --yes --signing-config "$out/none.json" --allow-insecure-registry --type custom)
# The new version asked for the old format, which many pipelines still do.
old3_sign=("$tools/bin/cosign3" sign --yes --use-signing-config=false --new-bundle-format=false --tlog-upload=false --allow-insecure-registry)

for version in cosign2 cosign3; do
  (cd "$out" && "$tools/bin/$version" generate-key-pair --output-key-prefix "$version" >/dev/null 2>&1) || true
done
"$tools/bin/cosign2" generate-key-pair --output-key-prefix "$out/stranger" >/dev/null 2>&1 || true
printf '{"by":"nobody in particular"}\n' >"$out/predicate.json"

# verify TEXT VERSION KEY REFERENCE [OPTION...]
verify() {
  local text=$1 version=$2 key=$3 reference=$4
  shift 4
  check "$text" "$tools/bin/$version" verify --insecure-ignore-tlog=true --allow-insecure-registry --key "$out/$key.pub" "$@" "$reference"
}
not_verified() {
  refused "$1" "$tools/bin/$2" verify --insecure-ignore-tlog=true --allow-insecure-registry --key "$out/$3.pub" "$4"
}

# copy VERSION FROM TO: with its signatures. The new version's own copy knows only the old way of keeping them.
copy() {
  case $1 in
    cosign2) check "$1: a copy with its signatures" "$tools/bin/cosign2" copy --allow-insecure-registry --force "$2" "$3" ;;
    cosign3) check "$1: a copy with its signatures, by oras" "$tools/bin/oras" copy --recursive --from-plain-http --to-plain-http "$2" "$3" ;;
  esac
}

# Signed where it is hosted.
hosted() {
  local version signed digest
  for version in cosign2 cosign3; do
    local -n sign="${version}_sign" attest="${version}_attest"
    signed="$team/$version/app"
    check "$version: an image of its own" "$crane" copy --insecure "$PLANE/registry.example.test/lib/busybox:1" "$signed:1"
    digest=$("$crane" digest --insecure "$signed:1" 2>&1)
    not_verified "$version: unsigned it is not verified" "$version" "$version" "$signed@$digest"
    check "$version: sign" "${sign[@]}" --key "$out/$version.key" "$signed@$digest"
    verify "$version: verify through the hosted name" "$version" "$version" "$signed@$digest"
    verify "$version: by tag" "$version" "$version" "$signed:1"
    verify "$version: verify through the virtual name" "$version" "$version" "$all/$version/app@$digest"
    not_verified "$version: another key does not verify" "$version" stranger "$signed@$digest"
    check "$version: attest" "${attest[@]}" --key "$out/$version.key" --predicate "$out/predicate.json" "$signed@$digest"
    for reference in "$signed@$digest" "$all/$version/app@$digest"; do
      check "$version: verify the attestation at ${reference%%@*}" "$tools/bin/$version" verify-attestation --insecure-ignore-tlog=true \
        --allow-insecure-registry --type custom --key "$out/$version.pub" "$reference"
    done
    copy "$version" "$signed@$digest" "$team/$version/copied:1"
    verify "$version: verify the copy" "$version" "$version" "$team/$version/copied:1"
    check "$version: sign through the virtual name" "${sign[@]}" --key "$out/stranger.key" "$all/$version/app@$digest"
    verify "$version: found through the hosted name" "$version" stranger "$signed@$digest"
    verify "$version: the first signature still is" "$version" "$version" "$signed@$digest"
  done
  check 'cosign3, old format: sign' "${old3_sign[@]}" --key "$out/cosign3.key" "$team/cosign2/app:1"
  verify 'cosign3, old format: verify by the old version' cosign2 cosign3 "$team/cosign2/app:1"
  verify 'cosign3, old format: verify' cosign3 cosign3 "$team/cosign2/app:1" --new-bundle-format=false
}

# Signed at the upstream, without the plane; verified through it. Neither upstream has the referrers API.
remote() {
  local version upstream repository
  for version in cosign2 cosign3; do
    local -n sign="${version}_sign"
    while read -r upstream repository; do
      skopeo copy --quiet --all --preserve-digests --dest-tls-verify=false "oci:$WORK/layout:multi" "docker://$upstream/signed/$version:1" || true
      check "$version: sign at the upstream of $repository" "${sign[@]}" --key "$out/$version.key" "$upstream/signed/$version@$MULTI"
      verify "$version: verify through $repository" "$version" "$version" "$PLANE/$repository/signed/$version@$MULTI"
      verify "$version: by tag" "$version" "$version" "$PLANE/$repository/signed/$version:1"
      not_verified "$version: another key does not verify" "$version" stranger "$PLANE/$repository/signed/$version@$MULTI"
    done <<LIST
$FIRST registry.example.test
$SECOND second.example.test
LIST
    verify "$version: verify through the virtual name" "$version" "$version" "$all/signed/$version@$MULTI"
    check "$version: sign through the virtual name what a remote member holds" "${sign[@]}" --key "$out/stranger.key" "$all/signed/$version@$MULTI"
    verify "$version: our signature is found" "$version" stranger "$all/signed/$version@$MULTI"
    verify "$version: and the upstream's" "$version" "$version" "$all/signed/$version@$MULTI"
  done
}

hosted
remote
