# What every client relies on, asked by curl: routing by path and by `?ns=`, digests, ranges, errors.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

any='Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json'
base="http://$PLANE/v2"
name=registry.example.test/lib/debian
got="$WORK/wire"

# fetch FILE URL [OPTION...]: body in FILE, status and headers in $HEADERS.
fetch() {
  local file=$1 url=$2
  shift 2
  HEADERS=$(curl -sS -m 60 -D - -o "$file" -H "$any" "$@" "$url" | tr -d '\r')
}
status() { head -n 1 <<<"$HEADERS" | cut -d ' ' -f 2; }
header() { awk -v name="$1" -F ': ' 'tolower($1) == tolower(name) { print $2; exit }' <<<"$HEADERS"; }

fetch "$got/v2" "$base/"
same '/v2/ answers 200' 200 "$(status)"

fetch "$got/by-path" "$base/$name/manifests/bookworm"
same_file 'a manifest by path is the upstream'\''s, byte for byte' "$WORK/expect/debian.json" "$got/by-path"
same 'it carries its digest' "$DEBIAN" "$(header Docker-Content-Digest)"
same 'and its media type' application/vnd.oci.image.manifest.v1+json "$(header Content-Type)"
same 'and says whether the cache had it (Cache-Status)' yes "$([[ -n $(header Cache-Status) ]] && echo yes)"

fetch "$got/by-ns" "$base/lib/debian/manifests/bookworm?ns=registry.example.test"
same_file 'a manifest by ?ns= is the same' "$WORK/expect/debian.json" "$got/by-ns"
fetch "$got/by-host" "$base/lib/debian/manifests/bookworm" -H 'Host: registry.example.test'
same_file 'a manifest by host name is the same' "$WORK/expect/debian.json" "$got/by-host"
fetch "$got/by-digest" "$base/$name/manifests/$DEBIAN"
same_file 'a manifest by digest is the same' "$WORK/expect/debian.json" "$got/by-digest"
fetch "$got/multi" "$base/registry.example.test/lib/busybox/manifests/1"
same_file 'an index is not re-encoded' "$WORK/expect/multi.json" "$got/multi"

fetch "$got/head" "$base/$name/manifests/bookworm" --head
same 'HEAD of a manifest carries the digest' "$DEBIAN" "$(header Docker-Content-Digest)"
same 'and the length' "$(stat -c %s "$WORK/expect/debian.json")" "$(header Content-Length)"

refused_ns() {
  fetch "$got/foreign" "$base/lib/debian/manifests/bookworm?ns=elsewhere.example.test"
  [[ $(status) == 4* ]]
}
if refused_ns; then ok 'a foreign ?ns= is refused'; else fail 'a foreign ?ns= is refused' "$HEADERS"; fi

# Chosen cold: a range must not depend on the blob being there already.
layer=$(jq -r '.layers[2].digest' "$WORK/expect/debian.json")
file="$WORK/layout/blobs/sha256/${layer#sha256:}"
fetch "$got/range" "$base/$name/blobs/$layer" -r 1000-70000
same 'a range of a cold blob answers 206' 206 "$(status)"
head -c 70001 "$file" | tail -c +1001 >"$got/range.expected"
same_file 'and is that range' "$got/range.expected" "$got/range"
fetch "$got/tail" "$base/$name/blobs/$layer" -r -10
tail -c 10 "$file" >"$got/tail.expected"
same_file 'a suffix range is the end' "$got/tail.expected" "$got/tail"
fetch "$got/blob" "$base/$name/blobs/$layer"
same 'the whole blob hashes to its digest' "${layer#sha256:}" "$(sha256_of "$got/blob")"
fetch "$got/again" "$base/$name/blobs/$layer" -H "If-None-Match: \"$layer\""
same 'If-None-Match with its digest answers 304' 304 "$(status)"

fetch "$got/absent" "$base/$name/manifests/no-such-tag"
same 'an absent tag answers 404' 404 "$(status)"
same 'with the code of the specification' MANIFEST_UNKNOWN "$(jq -r '.errors[0].code' "$got/absent" 2>&1)"
fetch "$got/absent-name" "$base/registry.example.test/no/such/name/manifests/x"
same 'an absent name answers 404' 404 "$(status)"
fetch "$got/absent-blob" "$base/$name/blobs/sha256:$(printf '0%.0s' {1..64})"
same 'an absent blob answers 404' 404 "$(status)"
fetch "$got/absent-head" "$base/$name/manifests/no-such-tag" --head
same 'HEAD of an absent tag answers 404' 404 "$(status)"
contains 'with a reason of our own in the status line' 404 "$(head -n 1 <<<"$HEADERS" | grep -v '404 Not Found$' || true)"

fetch "$got/tags" "$base/$name/tags/list"
same 'the list of tags is the upstream'\''s' bookworm "$(jq -r '.tags | join(",")' "$got/tags" 2>&1)"
fetch "$got/push" "$base/$name/blobs/uploads/" -X POST
if [[ $(status) == 4* ]]; then ok 'a push is refused'; else fail 'a push is refused' "$HEADERS"; fi
