# The contract that every place for blobs keeps, by the tests of the crate itself, against the real server.
# shellcheck shell=bash disable=SC2154
source "$(dirname "${BASH_SOURCE[0]}")/../../faults/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

env=(env LOCKGATE_TEST_S3_ENDPOINT="http://$S3" LOCKGATE_TEST_S3_BUCKET="$BUCKET" LOCKGATE_TEST_S3_ACCESS_KEY="$ACCESS_KEY"
  LOCKGATE_TEST_S3_SECRET_KEY="$SECRET_KEY")
cd "$ROOT"
OUT=$("${env[@]}" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$ROOT/target}" cargo test --quiet --locked -p lockgate-blobs --test real_s3 -- --ignored 2>&1) || true
if grep -qE '^test result: ok\. [1-9]' <<<"$OUT"; then ok "$(grep -oE '[0-9]+ passed' <<<"$OUT" | head -n 1) of the crate"; else fail 'the tests of the crate' "$(tail -n 40 <<<"$OUT")"; fi
