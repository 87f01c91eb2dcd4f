#!/usr/bin/env bash
# Prints the path of the llvm-profdata that reads what this rustc writes: rustup's own, else Debian's of that LLVM.
. "$(dirname "$0")/env.sh"

major="$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')"
own="$(rustc --print sysroot)/lib/rustlib/$TRIPLE/bin/llvm-profdata"
if [ -x "$own" ]; then
  echo "$own"
else
  command -v "llvm-profdata-$major" || exit 1
fi
