#!/bin/bash
# Builds the fuzz targets with coverage, on a stable toolchain, and runs each for a while.
#   fuzz/run.sh [--seconds N] [TARGET...]
# Exits 1 if a target found something, and says where the input lies. Needs cargo, a C++ compiler and Python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

seconds=60
targets=()
while (($#)); do
  case $1 in
    --seconds) seconds=${2:?--seconds needs a number}; shift 2 ;;
    -h | --help) sed -n '2,4s/^# //p' "$0"; exit 0 ;;
    -*) echo "no such flag: $1" >&2; exit 2 ;;
    *) targets+=("$1"); shift ;;
  esac
done
if ((${#targets[@]} == 0)); then
  for path in fuzz_targets/*.rs; do targets+=("$(basename "$path" .rs)"); done
fi
for target in "${targets[@]}"; do
  [[ -f fuzz_targets/$target.rs ]] || { echo "no such target: $target" >&2; exit 2; }
done

if ! command -v c++ > /dev/null; then
  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y g++
fi

cache="$HOME/.cache/lockgate"
export CARGO_TARGET_DIR="$cache/fuzz" CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never
triple=$(rustc -vV | sed -n 's/^host: //p')
# What cargo-fuzz passes, but for the sanitizers, which need an unstable compiler: no crate but the one that maps
# blobs has unsafe code. With a target named, build scripts and macros are not instrumented.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
cp ../Cargo.lock Cargo.lock
cargo build --release --quiet --target "$triple" "${targets[@]/#/--bin=}"

corpus="$cache/fuzz-corpus"
python3 seeds.py "$corpus/seeds"
found=0
for target in "${targets[@]}"; do
  kept="$corpus/$target" artifacts="$PWD/artifacts/$target" log="$corpus/$target.log"
  mkdir -p "$kept" "$artifacts" "$corpus/seeds/$target" "seeds/$target"
  flags=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192
    -artifact_prefix="$artifacts/" -print_final_stats=1)
  if "$CARGO_TARGET_DIR/$triple/release/$target" "${flags[@]}" \
    "$kept" "seeds/$target" "$corpus/seeds/$target" > "$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    printf '%-14s %s runs, %s inputs kept\n' "$target" "$runs" "$(ls "$kept" | wc -l)"
  else
    found=1
    printf '%-14s FOUND something:\n' "$target"
    grep -a -m 3 -A 2 -E 'panicked at|ERROR: |Test unit written' "$log" | sed 's/^/    /' || tail -5 "$log"
    grep -a 'Test unit written' "$log" | sed 's/^/    /' || true
  fi
done
exit "$found"
