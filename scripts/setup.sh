#!/usr/bin/env bash
# Checks the tools and installs the test packages. Safe to run any number of times; does nothing twice.
#
#   scripts/setup.sh rust     the toolchain only (enough for `make run` and `make build`)
#   scripts/setup.sh python   also .venv with tests/e2e/requirements.txt
#   scripts/setup.sh node     also the Node packages of tests/e2e/node
#   scripts/setup.sh curl     also curl, which the image test asks with
#   scripts/setup.sh nginx    also nginx, which the benchmark compares with
#   scripts/setup.sh          python and node
. "$(dirname "$0")/env.sh"

need() {
  command -v "$1" >/dev/null || die "$1 is missing: $2"
}

# Installs a Debian package when its command is missing and we are root.
debian() {
  local command="$1" package="$2"
  command -v "$command" >/dev/null && return
  [ -x "/usr/sbin/$command" ] && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    die "$command is missing: install the package $package"
  fi
  say "installing $package"
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1 || {
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$package" >/dev/null
  }
}

rust() {
  need cargo "install Rust 1.95 or newer (rustup)"
  local have want
  have="$(rustc --version | awk '{print $2}')"
  want="$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)"
  [ "$(printf '%s\n%s\n' "$want" "$have" | sort -V | head -1)" = "$want" ] ||
    die "Rust $have is too old: the workspace needs $want"
  # ring and mimalloc hold a little C.
  debian cc gcc
}

python() {
  need python3 "install Python 3.10 or newer with venv"
  local wanted="$ROOT/tests/e2e/requirements.txt" stamp="$VENV/.installed"
  if [ ! -f "$stamp" ] || ! cmp -s "$wanted" "$stamp"; then
    say "Python packages into .venv"
    python3 -m venv "$VENV" 2>/dev/null || { debian python3-venv python3-venv; python3 -m venv "$VENV"; }
    "$VENV/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
    cp "$wanted" "$stamp"
  fi
}

node() {
  need node "install Node 20 or newer"
  need npm "install npm"
  local lock="$ROOT/tests/e2e/node/package-lock.json"
  local stamp="$ROOT/tests/e2e/node/node_modules/.installed"
  if [ ! -f "$stamp" ] || ! cmp -s "$lock" "$stamp"; then
    say "Node packages into tests/e2e/node"
    (cd "$ROOT/tests/e2e/node" && npm ci --no-audit --no-fund --loglevel=error)
    cp "$lock" "$stamp"
  fi
}

rust
[ $# -gt 0 ] || set -- python node
for part in "$@"; do
  case "$part" in
    rust) ;;
    python) python ;;
    node) node ;;
    curl) debian curl curl ;;
    nginx) debian nginx nginx-light ;;
    *) die "unknown part $part" ;;
  esac
done
