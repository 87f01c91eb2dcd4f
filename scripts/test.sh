#!/usr/bin/env bash
# Everything that must pass, in the order that fails fastest. Closing lines are kept in target/test-summary.
. "$(dirname "$0")/env.sh"

summary="$TARGET_DIR/test-summary"
mkdir -p "$TARGET_DIR"
: >"$summary"

# Runs one suite, shows its output, keeps the line its runner closes with.
suite() {
  local name="$1" pattern="$2" log
  shift 2
  say "$name"
  log="$(mktemp)"
  local status=0
  "$@" 2>&1 | tee "$log" || status=$?
  {
    printf '%s (exit %s)\n' "$name" "$status"
    grep -E "$pattern" "$log" | sed 's/\x1b\[[0-9;]*m//g; s/^/  /' || true
  } >>"$summary"
  rm -f "$log"
  return "$status"
}

scripts/setup.sh rust databases
# Not to be had everywhere; the tests that need them say so.
scripts/setup.sh rust vectors || say "no servers that search vectors: their tests are skipped"

failed=0
suite "cargo test" '^test result:|Running (unittests|tests)|^error' \
  cargo test --workspace --locked --no-fail-fast || failed=1
suite "end to end" '^(=+ .* =+|# (tests|pass|fail|skipped) .*|ℹ (tests|pass|fail|skipped) .*)$' \
  scripts/e2e.sh || failed=1
suite "image root" '^image' scripts/image-test.sh || failed=1

say "summary"
cat "$summary" >&2
exit "$failed"
