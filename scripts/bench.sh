#!/usr/bin/env bash
# Faregate beside nginx on this machine. Arguments go to bench/run.py (--quick, --only <scenario>).
. "$(dirname "$0")/env.sh"

scripts/setup.sh nginx
if [ -n "${FAREGATE_BIN:-}" ]; then
  scripts/static-build.sh -p faregate-loadgen
else
  scripts/release-build.sh
fi
# Benchmarks of single parts are built as the binary is, so that both share what is built.
export RUSTFLAGS="-C target-feature=+crt-static ${RUSTFLAGS:-}" BENCH_TRIPLE="$TRIPLE"
export FAREGATE_BIN="${FAREGATE_BIN:-$GUIDED_BIN}"
export FAKE_PROVIDER_BIN="${FAKE_PROVIDER_BIN:-$RELEASE_DIR/fake-provider}"
export LOADGEN_BIN="${LOADGEN_BIN:-$RELEASE_DIR/loadgen}"
exec python3 bench/run.py "$@"
