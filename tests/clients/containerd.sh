# A containerd of either version, started by hand with everything it owns below the work directory. Sourced by suites.
# shellcheck shell=bash disable=SC2034,SC2154

# containerd_version old|new: sets CONTAINERD_BIN, the directory of the programs.
containerd_version() {
  case $1 in
    old) CONTAINERD_BIN=/usr/bin ;;
    new) CONTAINERD_BIN="$tools/containerd17/usr/bin" ;;
  esac
  CONTAINERD_NAME="containerd $("$CONTAINERD_BIN/containerd" --version | grep -oE '[0-9]+\.[0-9]+' | head -n 1)"
}

# start_containerd DIRECTORY CERTS_DIR [PREFIX COMMAND...]: with an empty store; CTR is its client.
start_containerd() {
  local dir=$1 certs=$2
  shift 2
  rm -rf --one-file-system "$dir"
  mkdir -p "$dir"
  cat >"$dir/config.toml" <<TOML
version = 2
root = "$dir/root"
state = "$dir/state"
[grpc]
  address = "$dir/sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$dir/opt"
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$certs"
TOML
  daemon "containerd-$(basename "$dir")" "$@" env "PATH=$CONTAINERD_BIN:$PATH" "$CONTAINERD_BIN/containerd" --config "$dir/config.toml"
  CONTAINERD_PID=$DAEMON_PID
  CTR=("$CONTAINERD_BIN/ctr" --address "$dir/sock")
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
