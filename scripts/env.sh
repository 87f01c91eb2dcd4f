# Sourced by the other scripts: where things are. Sets variables, does nothing else.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"

TARGET_DIR="${CARGO_TARGET_DIR:-$ROOT/target}"
TRIPLE="$(rustc -vV 2>/dev/null | sed -n 's/^host: //p' || true)"
RELEASE_DIR="$TARGET_DIR/$TRIPLE/release"
# What release-build.sh makes.
GUIDED_BIN="$TARGET_DIR/guided/faregate"
VENV="$ROOT/.venv"

say() { printf '\n== %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
