# One name over a hosted repository and two remote ones: pulls, pushes, lists and referrers through it; and members that
# change places while clients pull.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

name="$PLANE/all"
team="$PLANE/team"
out="$WORK/virtual"
expect="$WORK/expect"
crane="$tools/bin/crane" oras="$tools/bin/oras"
digest_of() { "$crane" digest --insecure "$1" 2>&1; }
tags_of() { "$crane" ls --insecure "$1" 2>&1 | LC_ALL=C sort | xargs; }
referrers_of() { "$oras" discover --plain-http --format json "$1" 2>&1 | jq -r '(.referrers // .manifests)[].artifactType' 2>&1 | sort | xargs; }
upstreams_asked() { upstream_requests | grep -c "/$1/" || true; }

reads() {
  check 'skopeo: pull of what a remote member has' skopeo copy --quiet --all --src-tls-verify=false "docker://$name/lib/busybox:1" "oci:$out/multi:x"
  verified_blobs 'has its blobs' "$out/multi/blobs/sha256" "$expect/multi.blobs"
  check 'podman: the same' podman --root "$out/root" --runroot "$out/runroot" --tmpdir "$out/tmp" --storage-driver overlay --cgroup-manager cgroupfs --events-backend file \
    pull --quiet --tls-verify=false --signature-policy "$out/policy.json" "$name/lib/debian:bookworm"
  same 'crane: the digest is that of the upstream' "$DEBIAN" "$(digest_of "$name/lib/debian:bookworm")"
  check 'helm: pull of a chart' "$tools/bin/helm3" pull --plain-http "oci://$name/charts/shop" --version 1.2.3 --destination "$out"
  same_file 'is the archive of the upstream' "$WORK/chart/shop-1.2.3.tgz" "$out/shop-1.2.3.tgz"
  refused 'a tag that no member has' "$crane" manifest --insecure "$name/lib/debian:nowhere"
  contains 'is absent' 'MANIFEST_UNKNOWN' "$OUT"
}

writes() {
  check 'a push goes to the write target' "$crane" copy --insecure "$name/lib/busybox:1" "$name/lib/debian:pushed"
  same 'where it is found' "$MULTI" "$(digest_of "$team/lib/debian:pushed")"
  same 'and through the virtual name' "$MULTI" "$(digest_of "$name/lib/debian:pushed")"
  same 'tags are those of all members' 'bookworm pushed' "$(tags_of "$name/lib/debian")"
  check 'a tag that a later member has too' "$crane" copy --insecure "$name/lib/busybox:1" "$team/lib/debian:bookworm"
  same 'is that of the first' "$MULTI" "$(digest_of "$name/lib/debian:bookworm")"
  check 'and deleted through the virtual name' "$crane" delete --insecure "$name/lib/debian:bookworm"
  same 'is that of the next again' "$DEBIAN" "$(digest_of "$name/lib/debian:bookworm")"
  same 'whose own was never touched' "$DEBIAN" "$(digest_of "$PLANE/registry.example.test/lib/debian:bookworm")"
}

referrers() {
  local before
  before=$(referrers_of "$PLANE/registry.example.test/ml/model:v1")
  same 'the remote member has a referrer' application/vnd.example.note "$before"
  cd "$WORK/artifact"
  check 'attach through the virtual name, to what a remote member holds' "$oras" attach --plain-http --distribution-spec v1.1-referrers-api \
    --artifact-type application/vnd.example.ours "$name/ml/model:v1" thing.json:application/json
  cd "$WORK"
  same 'referrers are those of all members' 'application/vnd.example.note application/vnd.example.ours' "$(referrers_of "$name/ml/model:v1")"
  check 'and can be pulled' "$oras" copy --recursive --from-plain-http --to-oci-layout "$name/ml/model:v1" "$out/model:v1"
  same 'all of them' 'application/vnd.example.note application/vnd.example.ours' \
    "$("$oras" discover --oci-layout --format json "$out/model:v1" 2>&1 | jq -r '(.referrers // .manifests)[].artifactType' 2>&1 | sort | xargs)"
}

claims() {
  refused 'a claimed name that is not there' "$crane" manifest --insecure "$name/mycorp/app:1"
  refused 'nor its tags' "$crane" ls --insecure "$name/mycorp/app"
  same 'was asked of no upstream' 0 "$(upstreams_asked mycorp)"
  check 'it is pushed' "$crane" copy --insecure "$name/lib/busybox:1" "$name/mycorp/app:1"
  same 'and found' "$MULTI" "$(digest_of "$name/mycorp/app:1")"
  same 'still without any upstream' 0 "$(upstreams_asked mycorp)"
}

# put DOCUMENTS: in one move, as a careful editor would.
put() { sed "$1" "$out/hosted.yaml" >"$WORK/.hosted.yaml" && mv "$WORK/.hosted.yaml" "$WORK/resources/hosted.yaml"; }

# Members change places, and an upstream its address, while a client pulls without a pause.
swapping() {
  local puller before round odd
  cp "$WORK/resources/hosted.yaml" "$out/hosted.yaml"
  cp "$WORK/resources/upstreams.yaml" "$out/upstreams.yaml"
  (
    trap 'exit 0' TERM
    while :; do
      curl -sS -m 20 -o /dev/null -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
        -w '%{http_code} %header{docker-content-digest}\n' "http://$PLANE/v2/all/lib/debian/manifests/bookworm" >>"$out/pulls" 2>&1 || echo "curl $?" >>"$out/pulls"
    done
  ) &
  puller=$!
  for round in 1 2 3 4; do
    put '/repository: registry.example.test/{h;d};/repository: second.example.test/{G}'
    sleep 1
    put ''
    # The upstream moves: the same images at another address.
    sed "s/$FIRST/$SECOND/" "$out/upstreams.yaml" >"$WORK/.upstreams.yaml" && mv "$WORK/.upstreams.yaml" "$WORK/resources/upstreams.yaml"
    sleep 1
    cp "$out/upstreams.yaml" "$WORK/.upstreams.yaml" && mv "$WORK/.upstreams.yaml" "$WORK/resources/upstreams.yaml"
  done
  sleep 1
  kill -TERM "$puller" 2>/dev/null || true
  wait "$puller" 2>/dev/null || true
  before=$(wc -l <"$out/pulls")
  odd=$(grep -vxc "200 $DEBIAN" "$out/pulls" || true)
  if [[ $before -gt 50 && $odd -eq 0 ]]; then ok "no pull failed or changed while members and addresses moved"; else
    fail 'no pull failed or changed while members and addresses moved' "$odd of $before: $(grep -vx "200 $DEBIAN" "$out/pulls" | sort | uniq -c | head -n 5)"
  fi
}

printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$out/policy.json"
reads
writes
referrers
claims
swapping
