# A containerd of any of the versions, started by hand with everything it owns below the work directory. Sourced by suites.
# shellcheck shell=bash disable=SC2034,SC2154

readonly CONTAINERD_VERSIONS=(1.6 1.7 2)

# containerd_version VERSION: sets CONTAINERD_BIN and CTR_BIN, the programs, and where their helpers are.
containerd_version() {
  CONTAINERD_NAME="containerd $1"
  CONTAINERD_HELPERS=/usr/bin
  case $1 in
    1.6) CONTAINERD_BIN=/usr/bin/containerd CTR_BIN=/usr/bin/ctr ;;
    1.7)
      CONTAINERD_HELPERS="$tools/containerd17/usr/bin"
      CONTAINERD_BIN="$CONTAINERD_HELPERS/containerd" CTR_BIN="$CONTAINERD_HELPERS/ctr"
      ;;
    2) CONTAINERD_BIN="$tools/bin/containerd2" CTR_BIN="$tools/bin/ctr2" ;;
  esac
}

# cri_settings VERSION CERTS_DIR: what the kubelet's call needs; containerd 2 has other names for it.
cri_settings() {
  if [[ $1 == 2 ]]; then
    printf 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "%s"\n' "$2"
    printf '[plugins."io.containerd.grpc.v1.cri"]\n'
  else
    printf 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "%s"\n' "$2"
    printf '[plugins."io.containerd.grpc.v1.cri"]\n'
  fi
  printf '  stream_server_address = "127.0.0.1"\n  stream_server_port = "0"\n'
}

# start_containerd DIRECTORY CERTS_DIR [PREFIX COMMAND...]: with an empty store; CTR is its client.
start_containerd() {
  local dir=$1 certs=$2
  shift 2
  rm -rf --one-file-system "$dir"
  mkdir -p "$dir"
  {
    printf 'root = "%s/root"\nstate = "%s/state"\n' "$dir" "$dir"
    cri_settings "${CONTAINERD_NAME#containerd }" "$certs"
    printf '[grpc]\n  address = "%s/sock"\n[plugins."io.containerd.internal.v1.opt"]\n  path = "%s/opt"\n' "$dir" "$dir"
  } >"$dir/config.toml"
  daemon "containerd-$(basename "$dir")" "$@" env "PATH=$CONTAINERD_HELPERS:$PATH" "$CONTAINERD_BIN" --config "$dir/config.toml"
  CONTAINERD_PID=$DAEMON_PID
  CTR=("$CTR_BIN" --address "$dir/sock")
  CRI=("$tools/venv/bin/python" "$here/cri_pull.py" "$dir/sock")
  wait_for "$CONTAINERD_NAME" 30 "${CTR[@]}" version || { tail -n 20 "$WORK/log/containerd-$(basename "$dir").log"; return 1; }
}

# certs_for DIRECTORY REGISTRY...: what an operator does with the generated files.
certs_for() {
  local dir=$1 registry
  shift
  for registry in "$@"; do
    mkdir -p "$dir/$registry"
    "$LOCKGATE_BIN" client-config containerd --registry "$registry" --plane "http://$PLANE" >"$dir/$registry/hosts.toml"
  done
}
