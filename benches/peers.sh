# The proxies that are measured: how each is started in front of the upstream, and what it uses. All of them on free
# ports of the loopback interface, with everything they own below the work directory, and with their access logs on,
# since each has them on by default. Sourced by side-by-side.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# start_peer NAME: sets ADDRESS, PREFIX (what stands before a repository's name), PEER_PID and VERSION of it.
start_peer() {
  local name=$1 dir="$WORK/$1"
  mkdir -p "$dir"
  ADDRESS[$name]="127.0.0.1:$(free_port)"
  PREFIX[$name]=
  if [[ -n ${GIVEN[$name]:-} ]]; then
    VERSION[$name]=${GIVEN[$name]}
    daemon "$name" env "PEER_LISTEN=${ADDRESS[$name]}" "PEER_UPSTREAM=http://$UPSTREAM" "PEER_DIR=$dir" bash -c "exec ${GIVEN[$name]}"
  else
    case $name in
      lockgate) start_lockgate "$dir" ;;
      nginx) start_nginx "$dir" ;;
      distribution) start_distribution "$name" "$tools/bin/distribution" "$dir" ;;
      docker-registry) start_distribution "$name" docker-registry "$dir" ;;
      *) echo "side-by-side.sh: no peer $name" >&2; return 64 ;;
    esac
  fi
  PEER_PID[$name]=$DAEMON_PID
  wait_for "$name" 30 answers "http://${ADDRESS[$name]}/v2/" || { tail -n 20 "$WORK/log/$name.log" >&2; return 1; }
}

start_lockgate() {
  mkdir -p "$1/resources"
  cat >"$1/resources/upstream.yaml" <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: Upstream
metadata: { name: up }
spec:
  endpoints: [{ url: "http://$UPSTREAM" }]
  boundary: { privateAddresses: true }
---
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: up.example.test }
spec:
  remote: { upstream: up }
YAML
  PREFIX[lockgate]=up.example.test/
  VERSION[lockgate]=$("$LOCKGATE_BIN" --version 2>/dev/null || echo "$LOCKGATE_BIN")
  daemon lockgate "$LOCKGATE_BIN" serve --listen "${ADDRESS[lockgate]}" --data-dir "$1/data" --resources "$1/resources"
}

# nginx as people set it up in front of a registry: one download per key (proxy_cache_lock), tags for five minutes as
# lockgate keeps them, blobs for a day.
start_nginx() {
  local dir=$1
  mkdir -p "$dir/cache"
  cat >"$dir/nginx.conf" <<CONF
$([[ $(id -u) -ne 0 ]] || echo 'user root;')
daemon off;
worker_processes auto;
pid $dir/nginx.pid;
error_log $dir/error.log;
events { worker_connections 4096; }
http {
  access_log $dir/access.log;
  client_body_temp_path $dir/body;
  proxy_temp_path $dir/proxy;
  fastcgi_temp_path $dir/fastcgi;
  uwsgi_temp_path $dir/uwsgi;
  scgi_temp_path $dir/scgi;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  proxy_cache_path $dir/cache levels=1:2 keys_zone=registry:10m max_size=50g inactive=1d use_temp_path=off;
  upstream registry { server $UPSTREAM; keepalive 64; }
  server {
    listen ${ADDRESS[nginx]} backlog=1024;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_cache registry;
    proxy_cache_key \$uri;
    proxy_cache_lock on;
    proxy_cache_lock_timeout 1h;
    proxy_cache_lock_age 1h;
    proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504 http_429;
    location / { proxy_pass http://registry; proxy_cache_valid 200 5m; }
    location ~ /blobs/ { proxy_pass http://registry; proxy_cache_valid 200 1d; }
  }
}
CONF
  VERSION[nginx]=$(nginx -v 2>&1)
  daemon nginx nginx -p "$dir" -c "$dir/nginx.conf"
}

# start_distribution NAME PROGRAM DIRECTORY: the settings of its own container image, as a proxy.
start_distribution() {
  local name=$1 program=$2 dir=$3
  cat >"$dir/config.yml" <<YAML
version: 0.1
log: { level: info }
storage:
  cache: { blobdescriptor: inmemory }
  filesystem: { rootdirectory: $dir/data }
http:
  addr: ${ADDRESS[$name]}
  secret: of-this-run-only
proxy:
  remoteurl: http://$UPSTREAM
YAML
  VERSION[$name]=$("$program" --version 2>&1 | head -n 1 | awk '{ print $NF }')
  daemon "$name" env OTEL_TRACES_EXPORTER=none "$program" serve "$dir/config.yml"
}

# processes PEER: it and all below it.
processes() {
  local pids=("${PEER_PID[$1]}") index=0 child
  while [[ $index -lt ${#pids[@]} ]]; do
    while read -r child; do pids+=("$child"); done < <(pgrep -P "${pids[$index]}" || true)
    index=$((index + 1))
  done
  printf '%s\n' "${pids[@]}"
}

# cpu_ticks PEER: user and system time so far, of all its processes.
cpu_ticks() {
  local pid sum=0 ticks
  for pid in $(processes "$1"); do
    ticks=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | awk '{ print $12 + $13 }')
    sum=$((sum + ${ticks:-0}))
  done
  echo "$sum"
}
# cpu_begin PEER, then cpu_used PEER: CPU seconds between the two; nothing for the upstream itself.
cpu_begin() { [[ -z ${PEER_PID[$1]} ]] || CPU_BEGAN=$(cpu_ticks "$1"); }
cpu_used() { [[ -z ${PEER_PID[$1]} ]] || calc "($(cpu_ticks "$1") - $CPU_BEGAN) / $(getconf CLK_TCK)"; }

# memory_mib PEER VmRSS|VmHWM|RssAnon: the sum over its processes, in which pages they share count more than once.
memory_mib() {
  local pid sum=0 kib
  for pid in $(processes "$1"); do
    kib=$(awk -v field="$2:" '$1 == field { print $2 }' "/proc/$pid/status" 2>/dev/null)
    sum=$((sum + ${kib:-0}))
  done
  echo "$((sum / 1024))"
}
