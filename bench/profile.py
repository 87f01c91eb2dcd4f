#!/usr/bin/env python3
"""Where the gateway's own instructions go, by crate: valgrind's callgrind over a few hundred requests.

Instructions are counted, not time: the figures repeat whatever else the machine does. The kernel's part (reading
and writing sockets) is not in them.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

from processes import Server
from run import HERE, KEY, binary, scenarios, virtual_key

STANDARD = {"core", "alloc", "std", "hashbrown"}


def part_of(function: str) -> str:
    """The crate whose function it is; what was inlined into it counts as its own."""
    source, name = function.split(" [")[0].split(":", 1)
    for mark, part in {"sqlite3.c": "SQLite", "jemalloc": "malloc and free"}.items():
        if mark in source:
            return part
    found = re.search(r"(?<![A-Za-z_0-9])([a-z_][a-z_0-9]*)::", name)
    if not found:
        return "malloc and free" if re.match(r"_?rjem_", name) else "libc: copying and comparing"
    crate = found.group(1).replace("_", "-")
    return "standard library" if found.group(1) in STANDARD else crate


def all_booked(url: str):
    """Waits until every receipt is in the database, so that the whole of it is counted."""
    request = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {KEY}"})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        text = urllib.request.urlopen(request, timeout=60).read().decode()
        if re.search(r"^faregate_journal_receipts 0$", text, re.MULTILINE):
            return
        time.sleep(0.5)
    raise TimeoutError("receipts are still waiting to be booked")


def counted(command: list[str], env: dict, folder: Path, scenario, requests: int) -> Counter:
    """Instructions per part over `requests` requests of `scenario`."""
    out = folder / "callgrind.out"
    valgrind = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
    server = Server("faregate", valgrind + command, folder, env, None)
    try:
        server.wait()
        key = virtual_key(server.url)
        body = folder / "body.json"
        body.write_bytes(scenario.body(scenario.model))
        load = [binary("LOADGEN_BIN", "loadgen"), "--url", f"{server.url}/v1/chat/completions", "--key", key]
        load += ["--body", str(body), "--expect", scenario.expect, "--connections", "8", "--timeout", "120"]
        if scenario.events:
            load += ["--events", str(scenario.events)]
        subprocess.run([*load, "--requests", "50"], check=True, capture_output=True)
        subprocess.run(["callgrind_control", "-i", "on", str(server.pid)], check=True, capture_output=True)
        subprocess.run([*load, "--requests", str(requests)], check=True, capture_output=True)
        all_booked(server.url)
        subprocess.run(["callgrind_control", "-i", "off", str(server.pid)], check=True, capture_output=True)
    finally:
        server.stop()
    # The file is written at the end of the process.
    deadline = time.monotonic() + 20
    while not out.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    listing = subprocess.run(
        ["callgrind_annotate", "--threshold=100", str(out)], check=True, capture_output=True, text=True
    ).stdout
    parts: Counter = Counter()
    for line in listing.splitlines():
        if found := re.match(r"\s*([\d,]+) \([ \d.]+%\)\s+(\S+:.*)", line):
            parts[part_of(found.group(2))] += int(found.group(1).replace(",", ""))
    return parts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="small chat", help="the scenario whose name begins so")
    parser.add_argument("--requests", type=int, default=300)
    options = parser.parse_args()
    scenario = next(it for it in scenarios(100) if it.name.startswith(options.only))
    with tempfile.TemporaryDirectory(prefix="faregate-profile-") as name:
        folder = Path(name)
        fake = Server("fake-provider", [binary("FAKE_PROVIDER_BIN", "fake-provider"), "--port", "0", "--log", "0"], folder, {}, None)
        fake.wait()
        env = {"BENCH_UPSTREAM": fake.url, "BENCH_UPSTREAM_V1": f"{fake.url}/v1", "LITELLM_MASTER_KEY": KEY}
        command = [os.environ["FAREGATE_BIN"], "--config", str(HERE / "config.yaml"), "--host", "127.0.0.1", "--port", "0"]
        command += ["--data-dir", str(folder / "data")]
        try:
            parts = counted(command, env, folder, scenario, options.requests)
        finally:
            fake.stop()
    total = sum(parts.values())
    print(f"{scenario.name}: {total // options.requests:,} instructions per request\n")
    print("| part | instructions per request | share |\n|---|--:|--:|")
    for part, count in parts.most_common(14):
        print(f"| {part} | {count // options.requests:,} | {100 * count / total:.0f} % |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
