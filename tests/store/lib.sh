# A real S3 server on the loopback interface, and a plane that keeps its blobs there. Sourced by run.sh.
# shellcheck shell=bash disable=SC2034,SC2154

readonly BUCKET=lockgate-test ACCESS_KEY=lockgate-test-key SECRET_KEY=of-this-run-only READER_KEY=reader-key READER_SECRET=reader-only

# start_s3: SeaweedFS with one identity that may do all and one that may only read. Sets S3 (host:port).
start_s3() {
  local port ports=()
  mkdir -p "$WORK/s3"
  cat >"$WORK/s3.json" <<JSON
{ "identities": [
  { "name": "lockgate", "credentials": [{ "accessKey": "$ACCESS_KEY", "secretKey": "$SECRET_KEY" }], "actions": ["Admin", "Read", "Write", "List", "Tagging"] },
  { "name": "reader", "credentials": [{ "accessKey": "$READER_KEY", "secretKey": "$READER_SECRET" }], "actions": ["Read", "List"] } ] }
JSON
  # Every port it opens, so that two runs do not meet; those for gRPC would be another 10,000 higher.
  for port in master.port master.port.grpc volume.port volume.port.grpc filer.port filer.port.grpc s3.port.grpc; do
    ports+=("-$port=$(free_port)")
  done
  S3="127.0.0.1:$(free_port)"
  (cd "$WORK/s3" && daemon s3 "$tools/seaweedfs/bin/weed" server -ip=127.0.0.1 -ip.bind=127.0.0.1 -dir="$WORK/s3" \
    -master.telemetry=false -master.volumeSizeLimitMB=512 -volume.max=200 -s3 -s3.port="${S3##*:}" -s3.port.iceberg=0 -s3.port.lance=0 \
    -s3.config="$WORK/s3.json" "${ports[@]}")
  wait_for 'S3 server' 60 make_bucket
}

# s3 METHOD PATH [OPTION...]: a signed request.
s3() {
  local method=$1 path=$2
  shift 2
  curl -fsS -m 20 -X "$method" --aws-sigv4 aws:amz:us-east-1:s3 --user "$ACCESS_KEY:$SECRET_KEY" "$@" "http://$S3/$path"
}
make_bucket() { s3 PUT "$BUCKET" >/dev/null 2>&1 || s3 GET "$BUCKET?list-type=2&max-keys=1" >/dev/null 2>&1; }
# objects [PREFIX]: keys in the bucket.
objects() { local prefix=${1:-}; s3 GET "$BUCKET?list-type=2&max-keys=1000&prefix=${prefix//\//%2F}" | grep -oE '<Key>[^<]+' | sed 's/<Key>//' | LC_ALL=C sort; }
# open_uploads: multipart uploads that nobody completed or aborted.
open_uploads() { s3 GET "$BUCKET?uploads=" | grep -c '<UploadId>' || true; }

# resources [ACCESS_KEY_ID SECRET PREFIX REDIRECT]: one hosted repository; without a key, blobs are kept in the data directory.
resources() {
  mkdir -p "$DIR/resources"
  # Kept when no place is given: a former place is read with them.
  [[ -z ${1:-} ]] || { printf '%s' "$1" >"$DIR/key-id" && printf '%s' "$2" >"$DIR/key-secret"; }
  {
    cat <<YAML
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: team }
spec:
  hosted: { ${4:-} }
---
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: { name: anybody }
spec:
  allow: [{ subjects: [{ kind: Anonymous }], actions: ["*"], repositories: ["**"] }]
YAML
    [[ -z ${1:-} ]] || plane_document "$3"
  } >"$DIR/.all.yaml"
  mv "$DIR/.all.yaml" "$DIR/resources/all.yaml"
}
plane_document() {
  cat <<YAML
---
apiVersion: lockgate.dev/v1alpha1
kind: Plane
metadata: { name: default }
spec:
  store:
    s3: { bucket: $BUCKET, prefix: $1, region: us-east-1, endpoint: "http://$S3", accessKeyIdFile: $DIR/key-id, secretAccessKeyFile: $DIR/key-secret, pathStyle: true }
YAML
}

# push_by_curl FILE NAME: one POST; sets STATUS.
push_by_curl() {
  STATUS=$(curl -sS -m 60 -o "$DIR/push.body" -w '%{http_code}' -X POST -H 'Content-Type: application/octet-stream' --data-binary "@$1" \
    "$PLANE_URL/v2/$2/blobs/uploads/?digest=sha256:$(sha256_of "$1")" 2>"$DIR/push.err" || true)
}
local_blobs() { find "$DIR/data/blobs" -type f 2>/dev/null | wc -l; }
