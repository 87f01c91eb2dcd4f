#!/usr/bin/env python3
"""What the release build is trained with (`scripts/release-build.sh`): the gateway at its daily work.

FAREGATE_BIN is a binary that counts which of its code runs. The load is weighted as we take production to be: mostly chats and
streams within one dialect, with keys, budgets and ledger, then every client dialect to every provider's, then TLS and
HTTP/2, failures, and management. What is not in here is treated by the compiler as code that hardly ever runs.
"""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from processes import Server
from run import CHAT, HERE, KEY, Scenario, binary, scenarios, virtual_key

# Requests of the benchmark's scenarios, by the beginning of their names.
WEIGHTS = {
    "small chat from the cache": 3_000,
    "small chat, 1000": 0,
    "small chat": 6_000,
    "stream of 60 events, 5 ms": 200,
    "stream of 60": 1_500,
    "300 KB": 500,
    "OpenAI to Anthropic, plain": 1_500,
    "OpenAI to Anthropic, 60": 500,
}
# How often each client asks each provider for each kind of answer: enough not to be taken for code that never runs, and
# too little to be taken for what all the room should go to.
EACH = 2
TEXTS = {
    "text": "[[fake: n=30]] Say something.",
    "tools": "[[fake: scenario=tools]] What is the weather in Paris?",
    "reasoning": "[[fake: scenario=reasoning]] Think first.",
    "refused": "[[fake: status=429 retry_after=1]] Now.",
}
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def providers(upstream: str) -> dict[str, dict]:
    """One deployment per provider dialect: those of tests/e2e/deployments.py but for what needs a Python package, as the
    image is built without any."""
    aws = {
        "aws_access_key_id": "AKIDFAKEPROVIDER",
        "aws_secret_access_key": "fake-secret-key",
        "aws_region_name": "us-east-1",
        "aws_bedrock_runtime_endpoint": upstream,
    }
    return {
        "openai": {"model": "openai/gpt-4o", "api_key": "k", "api_base": f"{upstream}/v1"},
        "responses": {"model": "openai/responses/gpt-4o", "api_key": "k", "api_base": f"{upstream}/v1"},
        "azure": {"model": "azure/gpt-4o", "api_key": "k", "api_base": upstream, "api_version": "2024-10-21"},
        "anthropic": {"model": "anthropic/claude-sonnet-4-5", "api_key": "k", "api_base": upstream},
        "gemini": {"model": "gemini/gemini-2.5-pro", "api_key": "k", "api_base": upstream},
        "bedrock": {"model": "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0", **aws},
        "cohere": {"model": "cohere_chat/command-a-03-2025", "api_key": "k", "api_base": upstream},
        "ollama": {"model": "ollama_chat/llama3.1", "api_base": upstream},
        "embedder": {"model": "openai/text-embedding-3-small", "api_key": "k", "api_base": f"{upstream}/v1"},
    }


def calls(group: str, text: str, tools: bool) -> list[tuple[str, dict]]:
    """The same question from each client, whole and as a stream: path and body."""
    message = {"role": "user", "content": text}
    about = {"name": "get_weather", "description": "The weather of a city"}
    chat = {"model": group, "messages": [{"role": "system", "content": "Be brief."}, message]}
    responses = {"model": group, "input": text}
    anthropic = {"model": group, "max_tokens": 500, "system": "Be brief.", "messages": [message]}
    gemini = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    if tools:
        chat["tools"] = [{"type": "function", "function": {**about, "parameters": WEATHER}}]
        responses["tools"] = [{"type": "function", **about, "parameters": WEATHER}]
        anthropic["tools"] = [{**about, "input_schema": WEATHER}]
        gemini["tools"] = [{"functionDeclarations": [{**about, "parameters": WEATHER}]}]
    made = []
    for path, body in ((CHAT, chat), ("/v1/responses", responses), ("/v1/messages", anthropic)):
        made += [(path, body), (path, {**body, "stream": True})]
    made += [(f"/v1beta/models/{group}:{method}", gemini) for method in ("generateContent", "streamGenerateContent?alt=sse")]
    converse = {"messages": [{"role": "user", "content": [{"text": text}]}]}
    made += [(f"/model/{group}/{method}", converse) for method in ("converse", "converse-stream")]
    return made


class Training:
    def __init__(self, folder: Path):
        self.folder = folder
        self.servers: list[Server] = []

    def start(self):
        fake = self.spawn("fake-provider", [binary("FAKE_PROVIDER_BIN", "fake-provider"), "--port", "0", "--log", "0"], {})
        config = (HERE / "config.yaml").read_text()
        env = {"BENCH_UPSTREAM": fake.url, "BENCH_UPSTREAM_V1": f"{fake.url}/v1", "LITELLM_MASTER_KEY": KEY}
        self.full = self.gateway("full", config, env)
        self.bare = self.gateway("bare", config + "\ngeneral_settings:\n  disable_spend_updates: true\n", env)
        models = [{"model_name": name, "litellm_params": params} for name, params in providers(fake.url).items()]
        settings = {"drop_params": True, "num_retries": 1, "callbacks": ["prometheus"]}
        square = {"model_list": models, "litellm_settings": settings, "router_settings": {"disable_cooldowns": True}}
        self.square = self.gateway("square", json.dumps(square), env)
        # One gateway behind another: TLS and HTTP/2 between them, on both sides.
        certificate, key = self.certificate()
        behind = self.gateway("behind", config, env, ["--ssl_certfile_path", certificate, "--ssl_keyfile_path", key])
        trusting = env | {"SSL_CERT_FILE": certificate, "BENCH_UPSTREAM_V1": f"{behind.url}/v1"}
        self.secure = self.gateway("secure", config.replace("sk-upstream", KEY), trusting)

    def spawn(self, name: str, command: list[str], env: dict[str, str]) -> Server:
        counts = {"LLVM_PROFILE_FILE": os.environ["LLVM_PROFILE_FILE"]} if "LLVM_PROFILE_FILE" in os.environ else {}
        server = Server(name, command, self.folder, env | counts, None)
        self.servers.append(server)
        server.wait()
        return server

    def gateway(self, name: str, config: str, env: dict[str, str], more: list[str] | None = None) -> Server:
        path = self.folder / name / "config.yaml"
        path.parent.mkdir()
        path.write_text(config)
        command = [binary("FAREGATE_BIN", "faregate"), "--config", str(path), "--host", "127.0.0.1", "--port", "0"]
        return self.spawn(name, [*command, "--data-dir", str(path.parent / "data"), *(more or [])], env)

    def certificate(self) -> tuple[str, str]:
        paths = str(self.folder / "certificate.pem"), str(self.folder / "key.pem")
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-subj", "/CN=faregate", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", "-days", "1"]
        command += ["-out", paths[0], "-keyout", paths[1]]
        subprocess.run(command, check=True, capture_output=True)
        return paths

    def stop(self):
        for server in reversed(self.servers):
            server.stop()

    def load(self, server: Server, key: str, scenario: Scenario, requests: int):
        """Requests over many connections, each answer checked."""
        body = self.folder / "body.json"
        body.write_bytes(scenario.body(scenario.model))
        command = [binary("LOADGEN_BIN", "loadgen"), "--url", f"{server.url}{CHAT}", "--key", key]
        command += ["--body", str(body), "--expect", scenario.expect, "--requests", str(requests)]
        command += ["--connections", str(min(scenario.connections, requests))]
        command += ["--events", str(scenario.events)] if scenario.events else []
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        report = json.loads(done.stdout) if done.returncode == 0 else {"failed": done.stderr}
        if report["failed"]:
            raise RuntimeError(f"{scenario.name}: {report}")

    def daily(self):
        key, through = virtual_key(self.full.url), virtual_key(self.secure.url)
        for scenario in scenarios(100):
            name = next((name for name in WEIGHTS if scenario.name.startswith(name)), None)
            if not name or not WEIGHTS[name]:
                continue
            self.load(self.full, key, scenario, WEIGHTS[name])
            if scenario.bare:
                self.load(self.bare, KEY, scenario, WEIGHTS[name] // 4)
            if scenario.model.startswith("bench-") and not scenario.cached:
                self.load(self.secure, through, scenario, WEIGHTS[name] // 16)

    def dialects(self):
        """Every client to every provider, over one connection each; wrong answers of one cell would show here first."""
        key = virtual_key(self.square.url)
        groups = [name for name in providers("") if name != "embedder"]
        with ThreadPoolExecutor(4) as pool:
            statuses = list(pool.map(lambda group: self.cell(key, group), groups))
        wrong = {group: found for group, found in zip(groups, statuses) if found}
        if wrong:
            raise RuntimeError(f"answers with another status than expected: {wrong}")

    def cell(self, key: str, group: str) -> list[str]:
        wrong = []
        connection = http.client.HTTPConnection(urlsplit(self.square.url).netloc, timeout=60)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        asked = [(kind, call) for kind, text in TEXTS.items() for call in calls(group, text, kind == "tools")]
        embeddings = {"model": "embedder", "input": ["one", "two"]}
        asked += [("embedding", ("/v1/embeddings", embeddings))]
        for kind, (path, body) in asked:
            for _ in range(1 if kind == "refused" else EACH):
                connection.request("POST", path, json.dumps(body), headers)
                answer = connection.getresponse()
                answer.read()
                if (answer.status == 429) != (kind == "refused") or answer.status not in (200, 429):
                    wrong.append(f"{kind} {path}: {answer.status}")
        connection.close()
        return wrong

    def management(self):
        for _ in range(10):
            for path in ("/metrics", "/key/list", "/spend/logs?summarize=false", "/model/info", "/health/readiness"):
                request = urllib.request.Request(self.square.url + path, headers={"Authorization": f"Bearer {KEY}"})
                urllib.request.urlopen(request, timeout=60).read()


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="faregate-train-"))
    training = Training(folder)
    try:
        training.start()
        for part in (training.daily, training.dialects, training.management):
            print(f"training: {part.__name__} ...", file=sys.stderr, flush=True)
            part()
    finally:
        # A counting binary writes its counts when it ends.
        training.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
