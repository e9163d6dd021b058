# Redirects to presigned URLs: off unless a repository asks for them; followed by every client.
# shellcheck shell=bash disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/../../faults/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

crane="$tools/bin/crane"
head -c 3000000 /dev/urandom >"$DIR/file.bin"
tar -C "$DIR" -cf "$DIR/layer.tar" file.bin
resources "$ACCESS_KEY" "$SECRET_KEY" redirect
start_plane
check 'push' "$crane" append --insecure --oci-empty-base --new_layer "$DIR/layer.tar" --new_tag "$PLANE/team/app:1"
layer=$("$crane" manifest --insecure "$PLANE/team/app:1" | jq -r '.layers[0].digest')
url="$PLANE_URL/v2/team/app/blobs/$layer"
ask "$DIR/got" "$url"
same 'without `redirect` the plane serves the bytes itself' 200 "$STATUS"

resources "$ACCESS_KEY" "$SECRET_KEY" redirect 'redirect: { presign: 1m }'
redirects() { [[ $(curl -sS -m 5 -o /dev/null -w '%{http_code}' "$url") == 307 ]]; }
soon 'with it, an edit later, it redirects' 20 redirects
ask "$DIR/got" "$url"
same 'status' 307 "$STATUS"
location=$(header Location)
contains 'to the bucket' "http://$S3/$BUCKET/redirect/" "$location"
contains 'by a signature that ends' 'X-Amz-Expires=60' "$location"
gives 'which gives the bytes' "$DIR/got" "$layer" "$location"
refused 'but not for another object' curl -fsS -m 10 -o /dev/null "${location/\/redirect\//\/elsewhere\/}"
ask "$DIR/got" "$url" -I
one_of 'HEAD' '200 307' "$STATUS"
ask "$DIR/part" "$location" -H 'Range: bytes=10-19'
same 'ranges work there' 206 "$STATUS"
check 'skopeo follows' skopeo copy --quiet --src-tls-verify=false "docker://$PLANE/team/app:1" "oci:$DIR/skopeo:x"
check 'crane follows' "$crane" pull --insecure "$PLANE/team/app:1" "$DIR/crane.tar"
check 'oras follows' "$tools/bin/oras" copy --from-plain-http --to-oci-layout "$PLANE/team/app:1" "$DIR/oras:x"
check 'regctl follows' env REGCTL_CONFIG="$DIR/regctl.json" bash -c "'$tools/bin/regctl' registry set --tls disabled '$PLANE' >/dev/null && '$tools/bin/regctl' image copy '$PLANE/team/app:1' 'ocidir://$DIR/regctl:x'"
printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$DIR/policy.json"
check 'podman follows' podman --root "$DIR/root" --runroot "$DIR/runroot" --tmpdir "$DIR/tmp" --storage-driver vfs --cgroup-manager cgroupfs --events-backend file \
  pull --quiet --tls-verify=false --signature-policy "$DIR/policy.json" "$PLANE/team/app:1"
ask "$DIR/got" "$PLANE_URL/v2/team/app/manifests/1"
same 'manifests are served by the plane itself' 200 "$STATUS"
refused 'no signature stands in the log' grep -q 'X-Amz-Signature' "$PLANE_LOG"
end_plane
