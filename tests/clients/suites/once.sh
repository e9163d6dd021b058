# What all of it cost the upstreams: each blob was downloaded once, however many clients and names asked, at the same
# time too.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

blobs="$WORK/expect"
name="$PLANE/registry.example.test/lib/debian"

# A cold layer and eight clients at once. It is new: no suite has pulled it.
"$here/mkimage.py" random 30000000 "$RANDOM" "$WORK/once/layer.tar"
"$here/mkimage.py" image "$WORK/once/layout" x amd64 "$WORK/once/layer.tar" >"$WORK/once/digest"
skopeo copy --quiet --preserve-digests --dest-tls-verify=false "oci:$WORK/once/layout:x" "docker://$FIRST/lib/herd:1"
pids=()
for number in 1 2 3 4 5 6 7 8; do
  skopeo --command-timeout 120s copy --quiet --src-tls-verify=false "docker://$PLANE/registry.example.test/lib/herd:1" \
    "dir:$WORK/once/$number" >"$WORK/once/$number.log" 2>&1 &
  pids+=($!)
done
failures=0
for pid in "${pids[@]}"; do wait "$pid" || failures=$((failures + 1)); done
same 'eight clients at once got a cold image' 0 "$failures"
for number in 1 2 3 4 5 6 7 8; do
  same "client $number has the digest of the upstream" "$(cat "$WORK/once/digest")" "sha256:$(sha256_of "$WORK/once/$number/manifest.json" 2>&1)"
done

# Clients of other suites may not have run (run.sh SUITE...): one pull makes sure that there is something to count.
check 'a pull of what the suites pull' "$tools/bin/crane" validate --remote "$name:bookworm"
check 'and of all architectures' "$tools/bin/crane" validate --remote "$PLANE/second.example.test/lib/busybox:1"

upstream_requests | awk '$1 == "GET" && $2 ~ /\/blobs\/sha256:/ { sub(/.*sha256:/, "", $2); sub(/\?.*/, "", $2); print $2 }' |
  sort | uniq -c | awk '{ print $2, $1 }' >"$WORK/once/downloads"
for manifest in "$blobs/debian.json" "$WORK/layout/blobs/sha256/${MULTI_AMD64#sha256:}" \
  "$WORK/layout/blobs/sha256/${MULTI_ARM64#sha256:}" "$WORK/once/layout/blobs/sha256/$(sed 's/sha256://' "$WORK/once/digest")"; do
  for digest in $(jq -r '.layers[].digest' "$manifest" | sed 's/sha256://'); do
    same "layer ${digest:0:12} was downloaded once" 1 "$(awk -v d="$digest" '$1 == d { print $2 }' "$WORK/once/downloads")"
  done
done
same 'blobs downloaded more than once' 0 "$(awk '$2 > 1' "$WORK/once/downloads" | wc -l)"
