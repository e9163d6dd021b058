#!/bin/bash
# Builds what these suites need of Kubernetes, from its own Go modules at pinned versions: kube-apiserver, etcd, and a
# program that drives the kubelet's credential-provider code. Idempotent: what is there, built from these sources, is kept.
# Needs go (1.26 or later) and about five minutes of two cores, once. The real clients come from tests/clients/install.sh.
#
# The modules are in go/: nothing but versions and a `main`. Their checksums are those of Go's checksum database, asked
# when they are built.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools="${LOCKGATE_TOOLS:-$HOME/.cache/lockgate/tools}"

readonly PROGRAMS=(etcd kube-apiserver credential-plugin-driver)

die() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

# fingerprint NAME: of all that a program is built from here; its versions are in go.mod.
fingerprint() { cat "$here/go/$1/go.mod" "$here"/go/"$1"/*.go | sha256sum | cut -d ' ' -f 1; }

# release NAME: the version of the module that is the program. Kubernetes' programs know theirs only when told.
release() { awk '$1 == "require" { print $3; exit }' "$here/go/$1/go.mod"; }

# build NAME: in a copy, because go writes the checksums and the indirect requirements beside go.mod.
build() {
  local name=$1 stamp="$tools/bin/.$1.version" log="$tools/log/go-$1.log" work version
  [[ -x $tools/bin/$name && $(cat "$stamp" 2>/dev/null) == "$(fingerprint "$name")" ]] && return
  command -v go >/dev/null || die "needs go in PATH to build $name"
  version=$(release "$name")
  printf 'go build %s (%s)\n' "$name" "$version"
  work=$(mktemp -d "$tools/gobuild.XXXXXX")
  cp "$here/go/$name"/* "$work/"
  (
    cd "$work"
    export CGO_ENABLED=0 GOFLAGS=-mod=mod
    nice go mod tidy
    nice go build -p "${LOCKGATE_GO_JOBS:-$(nproc)}" -trimpath \
      -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version" -o "$tools/bin/$name.new" .
  ) >"$log" 2>&1 || { tail -n 30 "$log" >&2; rm -rf "$work"; die "building $name failed; the whole output is in $log"; }
  rm -rf "$work"
  mv -f "$tools/bin/$name.new" "$tools/bin/$name"
  fingerprint "$name" >"$stamp"
}

# print_version NAME: from the build information in the file itself.
print_version() {
  local version
  version=$(go version -m "$tools/bin/$1" | awk -v module="$2" '$1 == "dep" && $2 == module { print $3 }')
  [[ -n $version ]] || die "$tools/bin/$1 was not built from $2"
  printf '  %-26s %s\n' "$1" "$version"
}

mkdir -p "$tools/bin" "$tools/log"
for program in "${PROGRAMS[@]}"; do build "$program"; done
printf 'programs in %s:\n' "$tools/bin"
print_version etcd go.etcd.io/etcd/server/v3
print_version kube-apiserver k8s.io/kubernetes
print_version credential-plugin-driver k8s.io/kubernetes
