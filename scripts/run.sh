#!/usr/bin/env bash
# Builds the gateway and starts it with its built-in demo model. FAST=1 takes a debug build, PORT another port.
. "$(dirname "$0")/env.sh"

port="${PORT:-4000}"
if [ -n "${FAST:-}" ]; then
  scripts/setup.sh rust
  cargo build --locked -p faregate
  binary="$TARGET_DIR/debug/faregate"
else
  scripts/static-build.sh
  binary="$RELEASE_DIR/faregate"
fi

data="${FAREGATE_DATA_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/faregate}"
if [ -n "${LITELLM_MASTER_KEY:-}" ]; then
  key='$LITELLM_MASTER_KEY'
else
  key="\$(cat $data/master_key)"
fi
cat >&2 <<EOF

Faregate starts on http://127.0.0.1:$port (Ctrl-C stops it). In another terminal:

  curl http://127.0.0.1:$port/v1/chat/completions \\
    -H "Authorization: Bearer $key" \\
    -H 'Content-Type: application/json' \\
    -d '{"model": "demo", "messages": [{"role": "user", "content": "Hello!"}]}'

EOF
exec "$binary" --host 127.0.0.1 --port "$port" --data-dir "$data" "$@"
