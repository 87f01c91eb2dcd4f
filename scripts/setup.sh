#!/usr/bin/env bash
# Checks the tools and installs the test packages. Safe to run any number of times; does nothing twice.
#
#   scripts/setup.sh rust      the toolchain only (enough for `make run` and `make build`)
#   scripts/setup.sh python    also .venv with tests/e2e/requirements.txt
#   scripts/setup.sh node      also the Node packages of tests/e2e/node
#   scripts/setup.sh agents    also the coding agents of tests/e2e/agents
#   scripts/setup.sh client    also the packages that generate the TypeScript client
#   scripts/setup.sh databases also PostgreSQL and Redis, which tests start
#   scripts/setup.sh vectors   also the servers that search vectors, which tests start (x86_64 only)
#   scripts/setup.sh curl      also curl, which the image test asks with
#   scripts/setup.sh nginx     also nginx, which the benchmark compares with
#   scripts/setup.sh profdata  also what the release build is trained with
#   scripts/setup.sh           python, node, agents, client and databases
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
  # ring and jemalloc hold some C; the latter is configured and made.
  debian cc gcc
  debian make make
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

# The tool that merges a training's counts, of the compiler's own LLVM.
profdata() {
  debian python3 python3
  debian openssl openssl
  scripts/profdata.sh >/dev/null && return
  ! command -v rustup >/dev/null || rustup component add llvm-tools >/dev/null 2>&1 || true
  scripts/profdata.sh >/dev/null && return
  local major
  major="$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')"
  debian "llvm-profdata-$major" "llvm-$major"
}

# The servers that tests start when none runs: Debian keeps PostgreSQL's binaries off the path.
databases() {
  debian redis-server redis-server
  [ -n "${TEST_DATABASE_URL:-}" ] || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
    [ -x /usr/local/bin/initdb ] || debian initdb postgresql
}

# Installs the locked packages of one folder when they are not there yet; further arguments go to npm.
packages() {
  local folder="$1" lock="$ROOT/$1/package-lock.json" stamp="$ROOT/$1/node_modules/.installed"
  shift
  need node "install Node 20 or newer"
  need npm "install npm"
  if [ ! -f "$stamp" ] || ! cmp -s "$lock" "$stamp"; then
    say "Node packages into $folder"
    (cd "$ROOT/$folder" && npm ci --no-audit --no-fund --loglevel=error "$@")
    cp "$lock" "$stamp"
  fi
}

rust
[ $# -gt 0 ] || set -- python node agents client databases
for part in "$@"; do
  case "$part" in
    rust) ;;
    python) python ;;
    node) packages tests/e2e/node ;;
    # Their binaries come in the packages; the install scripts only link and compile extras.
    agents) packages tests/e2e/agents --ignore-scripts ;;
    client) packages clients/typescript ;;
    databases) databases ;;
    vectors) scripts/vectors.sh ;;
    curl) debian curl curl ;;
    nginx) debian nginx nginx-light ;;
    profdata) profdata ;;
    *) die "unknown part $part" ;;
  esac
done
