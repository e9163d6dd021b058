# Makes what the suites pull: real Debian root file systems as OCI images, an artifact with a referrer, a Helm chart;
# pushes them to both upstreams and writes down, from the upstreams alone, what every client must get. Sourced by run.sh.
# shellcheck shell=bash disable=SC2154

# Debian root file systems are kept with the tools: making one takes half a minute.
debian_root() {
  local name=$1 out="$tools/debian-$1.tar" mirror
  shift
  if [[ ! -s $out ]]; then
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' | awk '$2 == "Debian" { print $1; exit }')
    mmdebstrap --quiet --mode=root "$@" bookworm "$out.part.tar" "$mirror"
    mv "$out.part.tar" "$out"
  fi
  ln -sf "$out" "$WORK/$name.tar"
}

# push_layout TAG NAME...: from the layout to a name in both upstreams, every byte as it is.
push_layout() {
  local upstream
  for upstream in "$FIRST" "$SECOND"; do
    skopeo copy --quiet --all --preserve-digests --dest-tls-verify=false \
      "oci:$WORK/layout:$1" "docker://$upstream/$2"
  done
}

make_images() {
  local arch layout="$WORK/layout"
  debian_root minbase --variant=minbase
  for arch in amd64 arm64; do
    # Unpacked, not configured: no foreign program has to run.
    debian_root "busybox-$arch" --variant=extract --architectures="$arch" --include=busybox-static,base-files,ca-certificates
  done
  "$here/mkimage.py" extras "$WORK/minbase.tar" "$WORK/extras.tar"
  "$here/mkimage.py" extras "$WORK/busybox-amd64.tar" "$WORK/extras-small.tar"
  "$here/mkimage.py" random 20000000 7 "$WORK/random.tar"
  DEBIAN=$("$here/mkimage.py" image "$layout" debian amd64 "$WORK/minbase.tar" "$WORK/extras.tar" "$WORK/random.tar")
  for arch in amd64 arm64; do
    "$here/mkimage.py" image "$layout" "small-$arch" "$arch" "$WORK/busybox-$arch.tar" "$WORK/extras-small.tar" >/dev/null
  done
  MULTI=$("$here/mkimage.py" index "$layout" multi small-amd64 small-arm64)
  push_layout debian lib/debian:bookworm
  push_layout multi lib/busybox:1
  push_layout multi library/busybox:1
  MULTI_AMD64=$(child_digest amd64)
  MULTI_ARM64=$(child_digest arm64)
}

child_digest() {
  jq -r --arg arch "$1" '.manifests[] | select(.platform.architecture == $arch) | .digest' \
    "$WORK/layout/blobs/sha256/${MULTI#sha256:}"
}

make_artifacts() {
  local upstream
  mkdir -p "$WORK/artifact" "$WORK/chart"
  head -c 3000000 /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null >"$WORK/artifact/model.bin"
  printf '{"name":"thing"}\n' >"$WORK/artifact/thing.json"
  write_chart "$WORK/chart/shop"
  (cd "$WORK/chart" && "$tools/bin/helm3" package shop >/dev/null)
  for upstream in "$FIRST" "$SECOND"; do
    (
      cd "$WORK/artifact"
      "$tools/bin/oras" push --plain-http --artifact-type application/vnd.example.model \
        "$upstream/ml/model:v1" model.bin:application/octet-stream thing.json:application/json >/dev/null
      # Neither upstream has the referrers API: the client keeps the list under a tag, as the specification says.
      "$tools/bin/oras" attach --plain-http --distribution-spec v1.1-referrers-tag \
        --artifact-type application/vnd.example.note "$upstream/ml/model:v1" thing.json:application/json >/dev/null
    )
    "$tools/bin/helm3" push --plain-http "$WORK/chart/shop-1.2.3.tgz" "oci://$upstream/charts" >/dev/null 2>&1
  done
}

write_chart() {
  mkdir -p "$1/templates"
  cat >"$1/Chart.yaml" <<'YAML'
apiVersion: v2
name: shop
description: A chart to be pulled
version: 1.2.3
YAML
  printf 'replicas: 3\n' >"$1/values.yaml"
  cat >"$1/templates/deployment.yaml" <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: { name: "{{ .Release.Name }}-shop" }
spec:
  replicas: {{ .Values.replicas }}
  selector: { matchLabels: { app: shop } }
  template:
    metadata: { labels: { app: shop } }
    spec: { containers: [{ name: shop, image: "registry.example.test/lib/debian:bookworm" }] }
YAML
}

# expect_from_upstream: pulls all of it from the upstream itself and keeps what came, for comparison.
expect_from_upstream() {
  local expect="$WORK/expect" name arch
  mkdir -p "$expect"
  curl -fsS -H "Accept: application/vnd.oci.image.index.v1+json" "http://$FIRST/v2/lib/busybox/manifests/1" >"$expect/multi.json"
  curl -fsS -H "Accept: application/vnd.oci.image.manifest.v1+json" "http://$FIRST/v2/lib/debian/manifests/bookworm" >"$expect/debian.json"
  direct_image debian lib/debian:bookworm
  for arch in amd64 arm64; do
    direct_image "multi-$arch" lib/busybox:1 --override-arch "$arch"
  done
  skopeo --command-timeout 60s copy --quiet --all --src-tls-verify=false "docker://$FIRST/lib/busybox:1" "oci:$expect/multi.oci:x"
  blob_names "$expect/multi.oci" >"$expect/multi.blobs"
  "$tools/bin/oras" manifest fetch --plain-http "$FIRST/ml/model:v1" >"$expect/model.json"
  "$tools/bin/helm3" template shop --plain-http "oci://$FIRST/charts/shop" --version 1.2.3 >"$expect/chart.yaml" 2>/dev/null
}

# direct_image NAME REFERENCE [OPTION...]: NAME.blobs (digests) and NAME.tree (files) of an image, from the upstream.
direct_image() {
  local name=$1 reference=$2 expect="$WORK/expect"
  shift 2
  skopeo --command-timeout 60s "$@" copy --quiet --src-tls-verify=false "docker://$FIRST/$reference" "oci:$expect/$name.oci:x"
  blob_names "$expect/$name.oci" >"$expect/$name.blobs"
  umoci unpack --image "$expect/$name.oci:x" "$expect/$name.bundle" >/dev/null 2>&1
  "$here/tree.py" "$expect/$name.bundle/rootfs" >"$expect/$name.tree"
}

blob_names() { (cd "$1/blobs/sha256" && find . -type f -printf '%f\n' | LC_ALL=C sort); }
