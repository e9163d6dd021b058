# A plane of a suite's own, with resources of its own, beside the one all suites share. Sourced by suites.
# shellcheck shell=bash disable=SC2034,SC2154

# own_plane DIRECTORY [OPTION...]: serves DIRECTORY/resources with an empty store; OWN is its address, OWN_PID the process.
own_plane() {
  local dir=$1
  shift
  OWN="127.0.0.1:$(free_port)"
  OWN_DATA="$dir/data"
  rm -rf --one-file-system "$OWN_DATA"
  daemon "plane-$SUITE" "$LOCKGATE_BIN" serve --listen "$OWN" --data-dir "$OWN_DATA" --resources "$dir/resources" "$@"
  OWN_PID=$DAEMON_PID
  wait_for "plane on $OWN" 30 answers "http://$OWN/readyz" || { tail -n 20 "$WORK/log/plane-$SUITE.log" >&2; return 1; }
}

# remote NAME HOST ADDRESS: an upstream on this machine and the repository in front of it.
remote() {
  cat <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: Upstream
metadata: { name: $1 }
spec:
  endpoints: [{ url: "http://$3" }]
  boundary: { privateAddresses: true }
---
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: $2 }
spec:
  hosts: [$2]
  remote: { upstream: $1 }
---
YAML
}
