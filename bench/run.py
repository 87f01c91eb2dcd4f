#!/usr/bin/env python3
"""Runs the benchmark: starts the servers, lets loadgen loose on each in turn, prints and records the figures."""

import argparse
import json
import os
import re
import resource
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import parts
from processes import Server, booking_seconds, cpu_seconds, family, memory, reset_peak

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAGE = ROOT / "docs" / "benchmarks.md"
KEY = f"sk-bench-{secrets.token_urlsafe(24)}"
PROSE = "The quick brown fox said \\\"good morning\\\" to the lazy dog, and went on.\\n"
SHORT = "Say something short, please."
PACED = "[[fake: delay_ms=5]] Say something long, please."
CHAT = "/v1/chat/completions"
STREAM_END = "tok58 tok59"
SLOW_END = "tok8 tok9"
# With a virtual key, budgets, limits and the ledger, as in production.
FULL = "faregate"
# With the master key and nothing booked: what translating, routing, pricing and metrics cost by themselves.
BARE = "faregate, no ledger"


@dataclass
class Scenario:
    """One kind of load; `target_ratio` is the goal for CPU per request against nginx."""

    name: str
    model: str
    expect: str
    requests: int
    connections: int = 32
    events: int | None = None
    rate: float | None = None
    prompt: str = SHORT
    prompt_bytes: int = 0
    stream: bool = False
    rounds: int = 3
    target_ratio: float | None = None
    # What nginx is asked for where the gateway translates: the same answer without translation.
    nginx_model: str | None = None
    # The gateway answers from its cache, nginx with a file of the same bytes.
    cached: bool = False
    # Measured without keys and ledger too.
    bare: bool = False

    def body(self, model: str) -> bytes:
        system = ""
        if self.prompt_bytes:
            text = PROSE * (self.prompt_bytes // len(PROSE) + 1)
            system = '{"role":"system","content":"%s"},' % text
        stream = ',"stream":true' if self.stream else ""
        stream += ',"cache":{"use-cache":true}' if self.cached else ""
        return (
            '{"model":"%s","messages":[%s{"role":"user","content":"%s"}]%s}' % (model, system, self.prompt, stream)
        ).encode()


def scenarios(streams: int) -> list[Scenario]:
    text = {"model": "bench-fake-text", "expect": SHORT}
    sixty = {"model": "bench-fake-stream-60", "expect": STREAM_END, "events": 60, "stream": True}
    return [
        Scenario("small chat", **text, requests=20_000, target_ratio=2.0, bare=True),
        Scenario("small chat from the cache", **text, requests=40_000, target_ratio=2.0, cached=True),
        Scenario("small chat, 1000 per second", **text, requests=4_000, rate=1000, connections=256, rounds=1),
        Scenario("stream of 60 events", **sixty, requests=4_000, target_ratio=2.0, bare=True),
        # Each event is a write of its own here, as from a model; above they come in bursts.
        Scenario(
            "stream of 60 events, 5 ms apart",
            **sixty,
            prompt=PACED,
            requests=1_000,
            connections=64,
            rounds=1,
            target_ratio=2.0,
        ),
        Scenario(
            "300 KB prompt",
            **text,
            requests=3_000,
            connections=16,
            prompt_bytes=300_000,
            target_ratio=1.2,
            bare=True,
        ),
        Scenario(
            "OpenAI to Anthropic, plain",
            "translated-fake-text",
            SHORT,
            requests=10_000,
            nginx_model="bench-fake-text",
        ),
        Scenario(
            "OpenAI to Anthropic, 60 events",
            "translated-fake-stream-60",
            STREAM_END,
            requests=3_000,
            events=60,
            stream=True,
            nginx_model="bench-fake-stream-60",
        ),
        Scenario(
            f"{streams:,} slow streams at once",
            "bench-fake-slow-stream-10",
            SLOW_END,
            requests=streams,
            connections=streams,
            events=10,
            rate=2500,
            stream=True,
            rounds=1,
        ),
        Scenario("20 MB prompt", **text, requests=6, connections=1, prompt_bytes=20_000_000, rounds=1),
    ]


class Bench:
    def __init__(self, folder: Path, quick: bool):
        self.folder = folder
        self.quick = quick
        self.servers: list[Server] = []
        self.targets: dict[str, Server] = {}

    def start(self):
        fake = self.spawn("fake-provider", [binary("FAKE_PROVIDER_BIN", "fake-provider"), "--port", "0", "--log", "0"])
        host = fake.url.removeprefix("http://")
        self.targets["nginx"] = self.spawn_nginx(host)
        env = {"BENCH_UPSTREAM": fake.url, "BENCH_UPSTREAM_V1": f"{fake.url}/v1", "LITELLM_MASTER_KEY": KEY}
        config = (HERE / "config.yaml").read_text()
        bare = "\ngeneral_settings:\n  disable_spend_updates: true\n"
        for number, (target, more) in enumerate([(FULL, ""), (BARE, bare)]):
            # A folder of its own: the gateway watches it, and logs are written beside.
            path = self.folder / f"config-{number}" / "config.yaml"
            path.parent.mkdir()
            path.write_text(config + more)
            command = [binary("FAREGATE_BIN", "faregate"), "--config", str(path)]
            command += ["--host", "127.0.0.1", "--port", "0", "--data-dir", str(self.folder / f"data-{number}")]
            self.targets[target] = self.spawn(f"faregate-{number}", command, env)
        self.keys = {FULL: virtual_key(self.targets[FULL].url), BARE: KEY, "nginx": KEY}

    def spawn(self, name: str, command: list[str], env: dict[str, str] | None = None, url: str | None = None):
        server = Server(name, command, self.folder, env or {}, url)
        self.servers.append(server)
        server.wait()
        return server

    def spawn_nginx(self, upstream: str) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            listen = "127.0.0.1:%d" % probe.getsockname()[1]
        folder = self.folder / "nginx"
        folder.mkdir(mode=0o755)
        files = str(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        conf = (HERE / "nginx.conf").read_text()
        for mark, value in {"LISTEN": listen, "UPSTREAM": upstream, "DIR": str(folder), "FILES": files}.items():
            conf = conf.replace(f"@{mark}@", value)
        (folder / "nginx.conf").write_text(conf)
        command = [nginx(), "-p", str(folder), "-c", str(folder / "nginx.conf")]
        return self.spawn("nginx", command, url=f"http://{listen}")

    def stop(self):
        for server in reversed(self.servers):
            server.stop()

    def footprint(self) -> list[str]:
        """Size of the binary, time from exec to the first answer of a fresh start, memory when idle."""
        path = binary("FAREGATE_BIN", "faregate")
        times, idle = [], 0
        for number in range(5):
            data = self.folder / f"fresh-{number}"
            started = time.monotonic()
            command = [path, "--host", "127.0.0.1", "--port", "0", "--data-dir", str(data)]
            server = Server(f"fresh-{number}", command, self.folder, {"LITELLM_MASTER_KEY": KEY}, None)
            try:
                server.wait()
                body = b'{"model":"demo","messages":[{"role":"user","content":"hi"}]}'
                headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
                request = urllib.request.Request(f"{server.url}/v1/chat/completions", data=body, headers=headers)
                urllib.request.urlopen(request, timeout=10).read()
                times.append(1000 * (time.monotonic() - started))
                idle = max(idle, memory([server.pid])["now"])
            finally:
                server.stop()
        return [
            f"- binary {Path(path).stat().st_size / 1e6:.1f} MB (goal 40); fresh start to first answer "
            f"{statistics.median(times):.0f} ms (goal 100); idle {idle / 1e6:.0f} MB (goal 40)"
        ]

    def measure(self, scenario: Scenario, target: str) -> dict:
        server = self.targets[target]
        model = scenario.nginx_model if target == "nginx" and scenario.nginx_model else scenario.model
        body = self.folder / "body.json"
        body.write_bytes(scenario.body(model))
        count = max(1, scenario.requests // 10) if self.quick else scenario.requests
        if scenario.cached and target == "nginx":
            self.keep_answer(body)
        if scenario.rounds > 1:
            self.load(scenario, target, body, min(500, count), scenario.connections, None)
        pids = family(server.pid)
        self.let_it_book()
        reset_peak(pids)
        resident, cpu, booked = memory(pids)["now"], cpu_seconds(pids), booking_seconds(pids)
        result = self.load(scenario, target, body, count, min(scenario.connections, count), scenario.rate)
        # The last bytes are out before the last accounting is done.
        time.sleep(0.1)
        serving = cpu_seconds(pids) - cpu - (booking_seconds(pids) - booked)
        if target == FULL:
            # What these requests leave to be booked later is their work as well.
            self.let_it_book()
        result["cpu_us"] = serving * 1e6 / max(1, result["ok"])
        result["booking_us"] = (booking_seconds(pids) - booked) * 1e6 / max(1, result["ok"])
        result["rss_mb"] = memory(pids)["peak"] / 1e6
        result["growth_mb"] = (memory(pids)["peak"] - resident) / 1e6
        return result

    def let_it_book(self):
        """Until the last round's requests are in the database, so that this does not run beside the next one."""
        pids = family(self.targets[FULL].pid)
        before = -1.0
        while (now := booking_seconds(pids)) - before > 0.002:
            before = now
            time.sleep(1.2)

    def keep_answer(self, body: Path):
        """The gateway's answer becomes the file that nginx serves."""
        request = urllib.request.Request(f"{self.targets[FULL].url}{CHAT}", body.read_bytes())
        request.add_header("Authorization", f"Bearer {self.keys[FULL]}")
        request.add_header("Content-Type", "application/json")
        # Workers of an nginx that root started are somebody else.
        self.folder.chmod(0o711)
        with urllib.request.urlopen(request, timeout=10) as answer:
            (self.folder / "nginx" / "answer.json").write_bytes(answer.read())

    def load(self, scenario, target, body, requests, connections, rate) -> dict:
        path = "/answer.json" if scenario.cached and target == "nginx" else CHAT
        command = [binary("LOADGEN_BIN", "loadgen"), "--url", f"{self.targets[target].url}{path}"]
        command += ["--key", self.keys[target], "--body", str(body), "--expect", scenario.expect]
        command += ["--requests", str(requests), "--connections", str(connections)]
        if scenario.events:
            command += ["--events", str(scenario.events)]
        if target != "nginx" and not scenario.stream and not scenario.cached:
            # As in config.yaml; the head of a stream leaves before its cost is known.
            command += ["--price", "3", "15"]
        if rate:
            command += ["--rate", str(rate)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, preexec_fn=Server.raise_limit)
        if done.returncode != 0:
            raise RuntimeError(f"loadgen: {done.stderr}")
        return json.loads(done.stdout)

    def run(self, scenario: Scenario) -> dict[str, dict]:
        rounds: dict[str, list[dict]] = {"nginx": [], FULL: []} | ({BARE: []} if scenario.bare else {})
        for number in range(1 if self.quick else scenario.rounds):
            # Every other round the other way round, so that neither always runs on a warm machine.
            for target in sorted(rounds, reverse=number % 2 == 0):
                rounds[target].append(self.measure(scenario, target))
        return {target: middle(results) for target, results in rounds.items()}


def virtual_key(url: str) -> str:
    """A key of a team, both with budgets and limits that the load never reaches: all of them are counted."""

    def manage(path: str, body: dict) -> dict:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        request = urllib.request.Request(url + path, data=json.dumps(body).encode(), headers=headers)
        return json.load(urllib.request.urlopen(request, timeout=60))

    limits = {"max_budget": 1e9, "budget_duration": "30d", "rpm_limit": 10**9, "tpm_limit": 10**12}
    manage("/team/new", {"team_id": "bench", **limits})
    return manage("/key/generate", {"team_id": "bench", "max_parallel_requests": 10**6, **limits})["key"]


def middle(results: list[dict]) -> dict:
    """The median of each figure; failures are added up."""
    merged = {}
    for name, value in results[0].items():
        values = [result[name] for result in results]
        if name in ("failed", "ok"):
            merged[name] = sum(values)
        elif isinstance(value, dict):
            merged[name] = {k: v for result in values for k, v in result.items()}
        elif name == "rss_mb" or name == "growth_mb":
            merged[name] = max(values)
        else:
            merged[name] = statistics.median(values)
    return merged


def binary(variable: str, name: str) -> str:
    if path := os.environ.get(variable):
        return path
    found = sorted((ROOT / "target").glob(f"*-unknown-linux-gnu/release/{name}"))
    if not found:
        sys.exit(f"{name} is not built: run scripts/bench.sh")
    return str(found[0])


def nginx() -> str:
    path = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(path).exists():
        sys.exit("nginx is not installed: run scripts/setup.sh nginx")
    return path


def row(scenario: Scenario, target: str, result: dict, ratio: str) -> list[str]:
    return [
        scenario.name,
        target,
        f"{result['per_second']:,.0f}",
        f"{result['p50'] / 1000:.2f}",
        f"{result['p99'] / 1000:.2f}",
        f"{result['cpu_us']:,.0f}",
        f"{result['booking_us']:,.0f}" if target == FULL else "",
        ratio,
        f"{result['rss_mb']:.0f}",
        f"{result['growth_mb']:.0f}",
        str(result["failed"]),
    ]


HEADER = ["scenario", "server", "req/s", "p50 ms", "p99 ms", "CPU µs/req", "booking µs/req", "CPU ÷ nginx", "peak MB", "growth MB", "wrong"]


def table(results: list[tuple[Scenario, dict[str, dict]]]) -> str:
    lines = ["| " + " | ".join(HEADER) + " |", "|---|---|" + "--:|" * (len(HEADER) - 2)]
    for scenario, result in results:
        for target, measured in result.items():
            ratio = ""
            if target != "nginx":
                ratio = f"{measured['cpu_us'] / max(result['nginx']['cpu_us'], 0.001):.2f}"
                if scenario.target_ratio:
                    ratio += f" (goal {scenario.target_ratio:g})"
            lines.append("| " + " | ".join(row(scenario, target, measured, ratio)) + " |")
    return "\n".join(lines)


def machine() -> list[str]:
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    total = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    version = subprocess.run([nginx(), "-v"], capture_output=True, text=True).stderr.strip()
    own = subprocess.run([binary("FAREGATE_BIN", "faregate"), "--version"], capture_output=True, text=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return [
        f"- {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, {own.stdout.strip()} ({commit.stdout.strip()}), {version}",
        f"- {os.cpu_count()} × {model.group(1) if model else os.uname().machine}, "
        f"{int(total.group(1)) // 1024**2} GiB, Linux {os.uname().release}; load before the run "
        f"{os.getloadavg()[0]:.1f}",
        "- client, upstream and proxy share these cores, so requests per second are a floor; CPU per request is "
        "the figure to compare",
    ]


def shortfalls(results) -> list[str]:
    """Goals that this run missed, in words."""
    missed = []
    for scenario, result in results:
        own, other = result[FULL], result["nginx"]
        for target in (name for name in result if name != "nginx"):
            ratio = result[target]["cpu_us"] / max(other["cpu_us"], 0.001)
            named = scenario.name if target == FULL else f"{scenario.name} ({target})"
            if scenario.target_ratio and ratio > scenario.target_ratio:
                missed.append(f"{named}: CPU {ratio:.2f}× nginx, goal {scenario.target_ratio:g}×")
        if "slow streams" in scenario.name and own["rss_mb"] > 400:
            missed.append(f"{scenario.name}: {own['rss_mb']:.0f} MB, goal 400 MB")
        if scenario.name == "20 MB prompt" and own["growth_mb"] > 25:
            missed.append(f"{scenario.name}: {own['growth_mb']:.0f} MB of growth, goal 25 MB")
        if own["failed"]:
            missed.append(f"{scenario.name}: {own['failed']} wrong answers: {own['failures']}")
    return missed


def record(text: str):
    begin, end = "<!-- bench:begin -->", "<!-- bench:end -->"
    page = PAGE.read_text()
    before, rest = page.split(begin, 1)
    after = rest.split(end, 1)[1]
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the load, one round; records nothing")
    parser.add_argument("--only", help="scenarios whose name holds this text; records nothing")
    options = parser.parse_args()

    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    streams = min(10_000, (files - 500) // 2)
    facts = machine()
    if streams < 10_000:
        facts.append(f"- a process may open {files:,} files here, which is {streams:,} streams of two sockets each")
    folder = Path(tempfile.mkdtemp(prefix="faregate-bench-"))
    folder.chmod(0o755)
    bench = Bench(folder, options.quick)
    results = []
    started = time.monotonic()
    wants_parts = not options.quick and (not options.only or options.only in "parts")
    if wants_parts:
        print("parts ...", file=sys.stderr, flush=True)
    pieces = parts.measure() if wants_parts else []
    try:
        facts += bench.footprint()
        bench.start()
        for scenario in scenarios(streams):
            if options.only and options.only not in scenario.name:
                continue
            print(f"{scenario.name} ...", file=sys.stderr, flush=True)
            results.append((scenario, bench.run(scenario)))
    finally:
        bench.stop()
        shutil.rmtree(folder, ignore_errors=True)

    missed = shortfalls(results) + parts.shortfalls(pieces)
    text = "\n".join([*facts, "", table(results), ""])
    if pieces:
        text += f"\n{parts.table(pieces)}\n"
    text += "\nShort of its goal: " + "; ".join(missed) + "." if missed else "\nEvery goal was met."
    print(text)
    print(f"\n{time.monotonic() - started:.0f} s", file=sys.stderr)
    if not (options.quick or options.only):
        record(text)
    wrong = sum(one["failed"] for _, result in results for target, one in result.items() if target != "nginx")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
