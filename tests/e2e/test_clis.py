"""Coding agents as users install them: each does a task with tools, by itself, on every model group.

The task carries its steps (`crates/fake-provider/src/steps.rs`): read a file and run a command at once, write
another file, say a closing word. What is proven: the agent got there through the gateway alone, with every turn
in the upstream's own dialect and nothing refused on the way.
"""

import json
import os
import re
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parent / "agents" / "node_modules"
READ, WRITTEN, LAST = "a fare of 42 dollars 4417", "copied: 42 dollars", "Task complete 7391."

# Where each group's turns arrive, which tells the dialect.
TURNS = {
    "openai": "/v1/(chat/completions|responses)$",
    "responses": "/v1/responses$",
    "azure": "/openai/deployments/gpt-4o/chat/completions$",
    "anthropic": "/v1/messages$",
    "gemini": "/v1beta/models/gemini-2.5-pro:streamGenerateContent$",
    "vertex-gemini": "/publishers/google/models/gemini-2.5-pro:streamGenerateContent$",
    "vertex-anthropic": "/publishers/anthropic/models/claude-sonnet-4-5@20250929:streamRawPredict$",
    "bedrock": "/model/anthropic.claude-sonnet-4-5-20250929-v1(:|%3A)0/converse-stream$",
    "cohere": "/v2/chat$",
    "ollama": "/api/chat$",
    "groq": "/openai/v1/chat/completions$",
}

# Claude Code asks a model it does not know whether it takes system messages between the others, reads Anthropic's
# refusal in its own words, and goes on without them. Only the provider's refusal may be there, and once.
ASKS_FIRST = {("claude", "anthropic"), ("claude", "vertex-anthropic")}


def task(*turns: list) -> str:
    steps = [{"calls": calls} for calls in turns] + [{"text": LAST}]
    steps[0] |= {"reasoning": True, "text": "I read it first."}
    return f"Copy the fare. [[steps: {json.dumps(steps)}]]"


@dataclass
class Place:
    """What an agent may use: a home and a folder of its own, and the gateway."""

    home: Path
    work: Path
    url: str
    key: str

    def env(self, **more: str) -> dict[str, str]:
        # A proxy that refuses: whatever an agent wants beside the gateway fails at once.
        closed = {name: "http://127.0.0.1:9" for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")}
        direct = {name: "127.0.0.1,localhost" for name in ("NO_PROXY", "no_proxy")}
        return {"PATH": os.environ["PATH"], "HOME": str(self.home)} | closed | direct | more


def claude(place: Place, group: str) -> tuple[list[str], dict[str, str]]:
    file, copy = str(place.work / "in.txt"), str(place.work / "out.txt")
    prompt = task(
        [["Read", {"file_path": file}], ["Bash", {"command": "echo seven", "description": "Says seven"}]],
        [["Write", {"file_path": copy, "content": WRITTEN}]],
    )
    command = ["@anthropic-ai/claude-code/cli-wrapper.cjs", "-p", prompt, "--output-format", "json"]
    switches = ("IS_SANDBOX", "DISABLE_TELEMETRY", "DISABLE_AUTOUPDATER", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC")
    env = {"ANTHROPIC_BASE_URL": place.url, "ANTHROPIC_AUTH_TOKEN": place.key} | dict.fromkeys(switches, "1")
    return [*command, "--model", group, "--dangerously-skip-permissions"], place.env(**env)


def codex(place: Place, group: str) -> tuple[list[str], dict[str, str]]:
    (place.home / "config.toml").write_text(
        f"""
        model_provider = "faregate"
        [model_providers.faregate]
        name = "Faregate"
        base_url = "{place.url}/v1"
        wire_api = "responses"
        env_key = "GATEWAY_KEY"
        """
    )
    prompt = task(
        [["exec_command", {"cmd": "cat in.txt"}], ["exec_command", {"cmd": "echo seven"}]],
        [["exec_command", {"cmd": f"printf %s '{WRITTEN}' > out.txt"}]],
    )
    command = ["@openai/codex/bin/codex.js", "exec", "--skip-git-repo-check"]
    command += ["--dangerously-bypass-approvals-and-sandbox", "-m", group, prompt]
    return command, place.env(CODEX_HOME=str(place.home), GATEWAY_KEY=place.key)


def gemini(place: Place, group: str) -> tuple[list[str], dict[str, str]]:
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False},
    }
    (place.home / ".gemini").mkdir()
    (place.home / ".gemini" / "settings.json").write_text(json.dumps(settings))
    file, copy = str(place.work / "in.txt"), str(place.work / "out.txt")
    prompt = task(
        [["read_file", {"file_path": file}], ["run_shell_command", {"command": "echo seven"}]],
        [["write_file", {"file_path": copy, "content": WRITTEN}]],
    )
    command = ["@google/gemini-cli/bundle/gemini.js", "-m", group, "-p", prompt, "--yolo", "--output-format", "json"]
    env = {"GOOGLE_GEMINI_BASE_URL": place.url, "GEMINI_API_KEY": place.key, "GEMINI_CLI_TRUST_WORKSPACE": "true"}
    return command, place.env(**env)


def received(upstream: str) -> list[dict]:
    with urllib.request.urlopen(f"{upstream}/__fake__/log", timeout=30) as answer:
        return json.load(answer)["requests"]


def settled(gateway, since: str, count: int) -> list[str]:
    """The gateway's lines after `since` about its requests; a line follows its answer, so there may be a moment."""
    until = time.monotonic() + 10
    while True:
        lines = list(gateway.process.lines)
        new = lines[lines.index(since) + 1 :] if since in lines else lines
        found = [line for line in new if "faregate::request" in line]
        if len(found) >= count or time.monotonic() > until:
            return found
        time.sleep(0.05)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("agent", [claude, codex, gemini], ids=lambda agent: agent.__name__)
def test_an_agent_does_its_task(agent, group, gateway, upstream, tmp_path):
    place = Place(tmp_path / "home", tmp_path / "work", gateway.url, gateway.key)
    place.home.mkdir()
    place.work.mkdir()
    (place.work / "in.txt").write_text(READ)
    command, env = agent(place, group)
    urllib.request.urlopen(urllib.request.Request(f"{upstream}/__fake__/reset", method="POST"), timeout=30).close()
    since = gateway.process.lines[-1]

    command = ["node", str(PACKAGES / command[0]), *command[1:]]
    done = subprocess.run(
        command, env=env, cwd=place.work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100
    )

    said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, said
    assert LAST in done.stdout, said
    assert (place.work / "out.txt").read_text() == WRITTEN
    turns = [request for request in received(upstream) if re.search(TURNS[group], request["path"])]
    assert len(turns) >= 3, [request["path"] for request in received(upstream)]
    assert READ in json.dumps(turns[-1]["body"]), "what the agent read is not in its last turn"
    lines = settled(gateway, since, len(turns))
    assert len(lines) >= len(turns)
    refused = [line for line in lines if " status=200 " not in line]
    if (agent.__name__, group) in ASKS_FIRST:
        assert len(refused) <= 1 and all(" attempts=1 " in line for line in refused), refused
    else:
        assert refused == []
