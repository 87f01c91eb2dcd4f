#!/usr/bin/env bash
# Drives the built binary with the official SDKs, Python then Node, and with coding agents. Arguments go to pytest.
. "$(dirname "$0")/env.sh"

scripts/setup.sh python node agents client databases
scripts/static-build.sh
# Another binary may be driven, the shipped one say: FAREGATE_BIN=target/guided/faregate make e2e
FAREGATE_BIN="$(realpath "${FAREGATE_BIN:-$RELEASE_DIR/faregate}")"
export FAREGATE_BIN
export FAKE_PROVIDER_BIN="$RELEASE_DIR/fake-provider"

# The Node suite is started by pytest (tests/e2e/test_node.py), on the same gateway and upstream.
exec "$VENV/bin/python" -m pytest tests/e2e -q "$@"
