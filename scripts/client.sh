#!/usr/bin/env bash
# Generates the TypeScript client from the OpenAPI document and compiles it, into clients/typescript/dist.
# FAREGATE_BIN names a built binary to ask; otherwise a debug build is made.
. "$(dirname "$0")/env.sh"
scripts/setup.sh client

cd clients/typescript
if [ -n "${FAREGATE_BIN:-}" ]; then
  "$FAREGATE_BIN" openapi >openapi.json
else
  cargo run --quiet --locked -p faregate -- openapi >openapi.json
fi
npm run --silent generate >/dev/null
npm run --silent build
