"""Many streams of every client dialect at once, cut at random: each is whole or ends in a typed error."""

import asyncio
import json
import os
import random

import httpx
from botocore.eventstream import EventStreamBuffer

import prompts as p
from deployments import CLIENTS as SERVED
from deployments import GROUPS

STREAMS = 200
CLIENTS = [name for name in ["chat", "responses", "anthropic", "gemini", "bedrock"] if name in SERVED]


def call(client: str, group: str, text: str) -> tuple[str, dict]:
    """Path and body of a streaming request in the client's dialect."""
    message = {"role": "user", "content": text}
    return {
        "chat": ("/v1/chat/completions", {"model": group, "messages": [message], "stream": True}),
        "responses": ("/v1/responses", {"model": group, "input": text, "stream": True}),
        "anthropic": ("/v1/messages", {"model": group, "max_tokens": 500, "messages": [message], "stream": True}),
        "gemini": (
            f"/v1beta/models/{group}:streamGenerateContent?alt=sse",
            {"contents": [{"role": "user", "parts": [{"text": text}]}]},
        ),
        "bedrock": (
            f"/model/{group}/converse-stream",
            {"messages": [{"role": "user", "content": [{"text": text}]}]},
        ),
    }[client]


def sse(body: bytes) -> list[tuple[str, str]]:
    """Event names and data of a complete SSE body; it must not end inside an event."""
    assert body.replace(b"\r", b"").endswith(b"\n\n"), f"ends inside an event: {body[-80:]!r}"
    events = []
    for block in body.decode().replace("\r", "").split("\n\n"):
        fields = [line.split(":", 1) for line in block.split("\n") if line and not line.startswith(":")]
        name = next((value.strip() for key, value in fields if key == "event"), "")
        data = "\n".join(value.strip() for key, value in fields if key == "data")
        if data:
            events.append((name, data))
    return events


def ending(client: str, status: int, body: bytes) -> str:
    """`whole` or `error`; anything else fails."""
    if status != 200:
        # Refused before the first byte: a JSON error with a message, in any dialect.
        assert "message" in body.decode().lower(), body
        return "error"
    if client == "bedrock":
        buffer = EventStreamBuffer()
        buffer.add_data(body)
        messages = list(buffer)
        if any(m.headers[":message-type"] == "exception" for m in messages):
            return "error"
        kinds = [m.headers[":event-type"] for m in messages]
        assert "messageStop" in kinds, kinds
        return "whole"
    events = sse(body)
    names = [name for name, _ in events]
    if client == "chat":
        if any('"error"' in data for _, data in events):
            return "error"
        assert events[-1][1] == "[DONE]"
    elif client == "responses":
        if {"response.failed", "error"} & set(names):
            return "error"
        assert {"response.completed", "response.incomplete"} & set(names), names
    elif client == "anthropic":
        if "error" in names:
            return "error"
        assert names[-1] == "message_stop"
    else:
        objects = [json.loads(data) for _, data in events]
        if any("error" in one for one in objects):
            return "error"
        assert any(one["candidates"][0].get("finishReason") for one in objects if one.get("candidates"))
    return "whole"


async def storm(gateway, seed: int) -> list[str]:
    dice = random.Random(seed)
    limits = httpx.Limits(max_connections=STREAMS, max_keepalive_connections=0)
    headers = {"Authorization": f"Bearer {gateway.key}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, limits=limits, timeout=60) as http:

        async def one(number: int) -> str:
            client, group = CLIENTS[number % len(CLIENTS)], dice.choice(GROUPS)
            fault = dice.choice(["", f"cut_after={dice.randrange(12)}", f"error_after={dice.randrange(12)}"])
            path, body = call(client, group, f"[[fake: n=12 delay_ms=5 {fault}]] {p.ECHO}")
            async with http.stream("POST", path, json=body) as answer:
                received = await answer.aread()
            try:
                return ending(client, answer.status_code, received)
            except AssertionError as error:
                raise AssertionError(f"{client} to {group}, {fault or 'no fault'}: {error}") from error

        return await asyncio.gather(*(one(number) for number in range(STREAMS)))


def test_every_stream_of_a_storm_is_whole_or_ends_in_a_typed_error(gateway):
    endings = asyncio.run(storm(gateway, seed=20261120))
    assert set(endings) == {"whole", "error"}


def left_behind(gateway) -> dict[str, float]:
    """Open files, memory in MB, tasks and requests in flight of the gateway's process."""
    pid = gateway.process.process.pid
    with open(f"/proc/{pid}/status") as status:
        resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    metrics = httpx.get(f"{gateway.url}/metrics", headers={"Authorization": f"Bearer {gateway.key}"}).text
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    return {
        "files": len(os.listdir(f"/proc/{pid}/fd")),
        "memory": resident / 1024,
        "tasks": float(values["faregate_tasks"]),
        "in flight": float(values["litellm_in_flight_requests"]),
    }


def test_a_storm_leaves_nothing_behind(gateway):
    storms = []
    for seed in range(1, 7):
        asyncio.run(storm(gateway, seed))
        storms.append(left_behind(gateway))
    # Idle upstream connections, each a file, may be kept: as many as a storm had streams to one host at a time, which
    # differs. What is left behind comes with every storm, so that even the least of the last is above the most of the first.
    before = {name: max(one[name] for one in storms[:2]) for name in storms[0]}
    after = {name: min(one[name] for one in storms[-2:]) for name in storms[0]}
    assert after["files"] <= before["files"] + 20, (before, after)
    assert after["tasks"] <= before["tasks"] + 20, (before, after)
    assert after["memory"] <= before["memory"] + 16, (before, after)
    assert storms[-1]["in flight"] == 0, storms
