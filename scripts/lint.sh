#!/usr/bin/env bash
# Format, lints, dependency rules.
. "$(dirname "$0")/env.sh"
scripts/setup.sh rust

cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
if command -v cargo-deny >/dev/null; then
  cargo deny --locked check
else
  say "cargo-deny is not installed: licenses, advisories and bans were not checked"
fi
