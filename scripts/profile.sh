#!/usr/bin/env bash
# Where the gateway's instructions go, by crate. Needs valgrind. Arguments go to bench/profile.py (--only <scenario>).
. "$(dirname "$0")/env.sh"

command -v valgrind >/dev/null || die "valgrind is missing: install it"
scripts/setup.sh rust
say "build with names"
# As the release, but with symbols, and without the inlining across crates that would hide whose code runs.
CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=line-tables-only \
  CARGO_PROFILE_RELEASE_STRIP=none \
  cargo build --release --target-dir "$TARGET_DIR/profile" -p faregate -p faregate-fake-provider -p faregate-loadgen
built="$TARGET_DIR/profile/release"
FAREGATE_BIN="$built/faregate" FAKE_PROVIDER_BIN="$built/fake-provider" LOADGEN_BIN="$built/loadgen" \
  exec python3 bench/profile.py "$@"
