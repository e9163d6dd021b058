# crane: reads only what it needs, and `validate` checks every byte of every layer itself.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

name="$PLANE/registry.example.test/lib"
out="$WORK/crane"
expect="$WORK/expect"
crane="$tools/bin/crane"

check 'digest of a tag' "$crane" digest "$name/debian:bookworm"
same 'is the digest of the upstream' "$DEBIAN" "$OUT"
"$crane" manifest "$name/busybox:1" >"$out/manifest" 2>&1 || true
same_file 'manifest gives the bytes of the upstream' "$expect/multi.json" "$out/manifest"
"$crane" manifest "$name/busybox@$MULTI" >"$out/manifest-by-digest" 2>&1 || true
same_file 'also by digest' "$expect/multi.json" "$out/manifest-by-digest"
check 'digest of one architecture' "$crane" digest --platform linux/arm64 "$name/busybox:1"
same 'is that of the upstream' "$MULTI_ARM64" "$OUT"
check 'validate of an image' "$crane" validate --remote "$name/debian:bookworm"
check 'validate of an index' "$crane" validate --remote "$name/busybox@$MULTI"
check 'pull by digest' "$crane" pull --format oci "$name/debian@$DEBIAN" "$out/debian"
verified_blobs 'has the blobs of the upstream' "$out/debian/blobs/sha256" "$expect/debian.blobs"
check 'pull of every architecture' "$crane" pull --format oci "$name/busybox:1" "$out/busybox"
verified_blobs 'has the blobs of every architecture' "$out/busybox/blobs/sha256" "$expect/multi.blobs"
same_tree_of_tar 'export holds the files of the upstream'\''s' "$expect/debian.tree" "$crane" export "$name/debian:bookworm" -
check 'ls' "$crane" ls "$name/debian"
same 'lists the tags' bookworm "$OUT"
refused 'digest of an absent tag' "$crane" digest "$name/debian:absent"
