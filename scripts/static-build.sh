#!/usr/bin/env bash
# Builds the release binary, fully static with glibc, and proves that it is.
#
# Names are resolved in-process (hickory-resolver), so the one thing that glibc cannot do in a static
# binary, getaddrinfo through NSS modules, is never called. The same binary is what `make run`, the
# end-to-end tests, the benchmark and the image use. Extra arguments go to cargo (e.g. -p loadgen).
. "$(dirname "$0")/env.sh"
scripts/setup.sh rust

case "$TRIPLE" in
  x86_64-unknown-linux-* | aarch64-unknown-linux-*) ;;
  *) die "a static build needs Linux on x86_64 or aarch64, this is ${TRIPLE:-unknown}" ;;
esac

say "release build ($TRIPLE, static)"
# Given with --target, the flags reach the binary but not build scripts and proc macros.
RUSTFLAGS="-C target-feature=+crt-static ${RUSTFLAGS:-}" \
  cargo build --release --locked --target "$TRIPLE" -p faregate -p faregate-fake-provider "$@"

binary="$RELEASE_DIR/faregate"
if command -v readelf >/dev/null; then
  if readelf --program-headers "$binary" | grep -q INTERP; then
    die "$binary asks for a dynamic loader"
  fi
  if readelf --dynamic "$binary" | grep -q NEEDED; then
    die "$binary needs shared libraries"
  fi
elif ldd "$binary" 2>&1 | grep -q '=>'; then
  die "$binary needs shared libraries"
fi

size=$(stat -c %s "$binary")
printf '%s: static, %d.%d MB\n' "${binary#"$ROOT"/}" $((size / 1000000)) $((size % 1000000 / 100000)) >&2
[ "$size" -le 40000000 ] || die "the binary passed 40 MB"
