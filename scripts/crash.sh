#!/usr/bin/env bash
# Kills the gateway a hundred times (or $1 times) at random moments under load, plain and streaming, and checks that
# every answer that was received whole has exactly one record and that totals are the sum of the records.
. "$(dirname "$0")/env.sh"
scripts/setup.sh rust
FAREGATE_CRASH_ROUNDS="${1:-100}" cargo test --locked -p faregate --test it crash:: -- --nocapture
