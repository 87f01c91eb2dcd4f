"""The two databases a gateway may keep its tables in, asked with plain SQL beside it."""

import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

# The server most machines have.
LOCAL = "postgres://postgres@127.0.0.1:5432/postgres"

# `$1` is the folder of the binaries, `$2` the data, `$3` the port. PostgreSQL refuses to run as root.
SERVER = """
as_user() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
[ "$(id -u)" = 0 ] && chown postgres "$2"
as_user "$1/initdb" --auth=trust --username=postgres --no-sync -D "$2" || exit 1
as_user "$1/pg_ctl" -w -D "$2" -o "-h 127.0.0.1 -p $3 -k $2 -F" -l "$2/log" start || exit 1
cat
as_user "$1/pg_ctl" -D "$2" -m immediate stop
"""


@dataclass
class SqliteFile:
    """The file in a gateway's data directory."""

    path: Path

    def query(self, sql: str, *values: str) -> list[dict]:
        """Rows by column; `?` stands for a value."""
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=10) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(sql, values)]


@dataclass
class Postgres:
    """A database of a PostgreSQL server."""

    url: str

    def query(self, sql: str, *values: str) -> list[dict]:
        """Rows by column; `?` stands for a value."""
        with psycopg.connect(self.url, row_factory=dict_row) as database:
            return database.execute(sql.replace("?", "%s"), values).fetchall()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """An empty database of `TEST_DATABASE_URL`'s server, the one on port 5432, or one started for it."""
    with _server() as server:
        name = f"faregate_e2e_{secrets.token_hex(8)}"
        with psycopg.connect(server, autocommit=True) as database:
            database.execute(f'CREATE DATABASE "{name}"')
        try:
            yield Postgres(server.rsplit("/", 1)[0] + f"/{name}")
        finally:
            with psycopg.connect(server, autocommit=True) as database:
                database.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def _server() -> Iterator[str]:
    if named := os.environ.get("TEST_DATABASE_URL"):
        yield named
        return
    if _answers(LOCAL):
        yield LOCAL
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = tempfile.mkdtemp()
    url = f"postgres://postgres@127.0.0.1:{port}/postgres"
    command = ["sh", "-c", SERVER, "sh", str(_binaries()), data, str(port)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not _answers(url):
            assert server.poll() is None and time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.05)
        yield url
    finally:
        server.communicate(timeout=30)
        shutil.rmtree(data, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _binaries() -> Path:
    """The folder of `initdb`: Debian keeps it off the path, newest version last."""
    found = [Path("/usr/local/bin"), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    found = [folder for folder in found if (folder / "initdb").is_file()]
    assert found, "install PostgreSQL (scripts/setup.sh databases), or set TEST_DATABASE_URL"
    return found[-1]
