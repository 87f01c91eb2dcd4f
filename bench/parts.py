"""What single parts of a request cost, by their own benchmarks (divan): the median of each, beside its goal."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNITS = {"ps": 1e-6, "ns": 1e-3, "µs": 1.0, "ms": 1e3, "s": 1e6}
# A name in divan's tree, and behind it fastest, slowest, median and mean.
LINE = re.compile(r"^(?P<tree>[│ ]*)[├╰]─ (?P<name>\S+)(?P<rest>.*)$")
TIME = re.compile(r"([\d.]+) (ps|ns|µs|ms|s)\b")


@dataclass
class Part:
    """One figure: which benchmark of which crate it is, and what it must not pass."""

    what: str
    package: str
    bench: str
    case: str
    goal_us: float


THOUSAND = "routing, a group of 1,000 deployments"
PARTS = [
    Part(f"{THOUSAND}, simple-shuffle", "faregate-router", "plan", "simple_shuffle/1000", 5.0),
    Part(f"{THOUSAND}, least-busy", "faregate-router", "plan", "least_busy/1000", 5.0),
    Part(f"{THOUSAND}, latency-based-routing", "faregate-router", "plan", "latency_based/1000", 5.0),
    Part("admission and settlement, 8 limits, 100,000 keys", "faregate-state", "limits", "reserve_and_settle/t=1", 10.0),
]


def medians(package: str, bench: str) -> dict[str, float]:
    """Microseconds by the path of each case, from one run of a crate's benchmark."""
    command = ["cargo", "bench", "--locked", "-p", package, "--bench", bench]
    if triple := os.environ.get("BENCH_TRIPLE"):
        command += ["--target", triple]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        raise RuntimeError(f"cargo bench -p {package}: {done.stderr[-2000:]}")
    return read(done.stdout)


def read(listing: str) -> dict[str, float]:
    """Divan's tree as paths and medians in microseconds."""
    found, path = {}, []
    for line in listing.splitlines():
        if not (match := LINE.match(line)):
            continue
        depth = len(match["tree"]) // 3
        path = [*path[:depth], match["name"]]
        times = TIME.findall(match["rest"])
        if len(times) >= 3:
            number, unit = times[2]
            found["/".join(path)] = float(number) * UNITS[unit]
    return found


def measure() -> list[tuple[Part, float]]:
    """Every part's median; a part whose benchmark has no such case is a mistake here."""
    known: dict[str, dict[str, float]] = {}
    for part in PARTS:
        if part.package not in known:
            known[part.package] = medians(part.package, part.bench)
    return [(part, known[part.package][part.case]) for part in PARTS]


def table(results: list[tuple[Part, float]]) -> str:
    lines = ["| part of a request | median µs | goal |", "|---|--:|--:|"]
    lines += [f"| {part.what} | {median:.2f} | {part.goal_us:g} |" for part, median in results]
    return "\n".join(lines)


def shortfalls(results: list[tuple[Part, float]]) -> list[str]:
    """Goals that were missed, in words."""
    return [
        f"{part.what}: {median:.2f} µs, goal {part.goal_us:g} µs" for part, median in results if median > part.goal_us
    ]
