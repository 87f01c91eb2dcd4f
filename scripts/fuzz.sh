#!/usr/bin/env bash
# Runs each fuzz target for SECONDS (default 60), or those named as arguments. Needs no nightly toolchain:
# coverage comes from LLVM's own pass, which a stable compiler can switch on.
. "$(dirname "$0")/env.sh"
scripts/setup.sh rust
command -v c++ >/dev/null || die "a C++ compiler is missing (libFuzzer): install g++"

seconds="${SECONDS_PER_TARGET:-60}"
[ $# -gt 0 ] || set -- body stream sse event_stream yaml

coverage="-C passes=sancov-module -C codegen-units=1 -C debug-assertions --cfg fuzzing"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
  coverage="$coverage -C llvm-args=-sanitizer-coverage-$option"
done

say "building the fuzz targets"
RUSTFLAGS="$coverage" cargo build --manifest-path fuzz/Cargo.toml --release \
  --target "$TRIPLE" --target-dir "$TARGET_DIR/fuzz"

for target in "$@"; do
  say "$target, $seconds s"
  corpus="fuzz/corpus/$target" found="fuzz/artifacts/$target"
  mkdir -p "$corpus" "$found"
  "$TARGET_DIR/fuzz/$TRIPLE/release/$target" "$corpus" $([ -d "fuzz/seeds/$target" ] && echo "fuzz/seeds/$target") \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$found/"
done
