"""Writes litellm.json: what a running LiteLLM proxy answers, as far as clients rely on it.

    record.py <LiteLLM's URL> <master key>

The proxy has the groups `openai`, `anthropic`, `gemini`, `cohere` and `groq`, each with `model_info.id`
`id-<group>`, all served by fake-provider; no retries, no cooldowns, `drop_params`, callback `prometheus`.
Tests read the file; nothing runs LiteLLM again.
"""

import json
import re
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

URL, KEY = sys.argv[1:3]
HELLO = [{"role": "user", "content": "hello"}]
STATUSES = [400, 401, 403, 404, 413, 422, 429, 500, 503]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def call(method, path, body=None, key=KEY):
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(URL + path, method=method, data=data, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, {name.lower() for name in answer.headers}, answer.read().decode()


def ours(names):
    return sorted(name for name in names if name.startswith(("x-litellm-", "x-ratelimit-")))


def error(text):
    body = json.loads(text)
    inner = body.get("error") if isinstance(body, dict) else None
    return inner if isinstance(inner, dict) else {}


def request(client, group, text):
    turn = [{"role": "user", "content": text}]
    if client == "chat":
        return "/v1/chat/completions", {"model": group, "messages": turn}
    if client == "messages":
        return "/v1/messages", {"model": group, "max_tokens": 50, "messages": turn}
    return "/v1/responses", {"model": group, "input": text}


def errors():
    for client, groups in {
        "chat": ["openai", "anthropic", "gemini", "cohere", "groq"],
        "messages": ["anthropic", "openai"],
        "responses": ["openai"],
    }.items():
        for group in groups:
            for upstream in STATUSES:
                path, body = request(client, group, f"[[fake: status={upstream}]]")
                status, _, text = call("POST", path, body)
                yield {
                    "client": client, "group": group, "upstream": upstream, "status": status,
                    "type": error(text).get("type"),
                    "prefix": (error(text).get("message") or "").split(" - ")[0].split(": ")[-1],
                }


def refusals():
    for path, body, key in [
        ("/v1/chat/completions", {"model": "openai", "messages": HELLO}, None),
        ("/v1/chat/completions", {"model": "nope", "messages": HELLO}, KEY),
        ("/v1/chat/completions", {"model": "openai"}, KEY),
        ("/v1/chat/completions", "{not json", KEY),
        ("/v1/messages", {"model": "nope", "max_tokens": 5, "messages": HELLO}, KEY),
        ("/v1/responses", {"model": "nope", "input": "x"}, KEY),
        ("/utils/token_counter", {"model": "openai"}, KEY),
    ]:
        status, _, text = call("POST", path, body, key)
        found = error(text)
        yield {"path": path, "body": body, "key": key is not None, "status": status, "type": found.get("type"),
               "param": found.get("param"), "code": found.get("code")}


def answers():
    for client, group in [("chat", "openai"), ("chat", "anthropic"), ("messages", "anthropic")]:
        path, body = request(client, group, "hello")
        for stream in (False, True):
            status, headers, _ = call("POST", path, body | {"stream": stream})
            yield {"client": client, "group": group, "stream": stream, "status": status, "headers": ours(headers)}


def tables():
    for path in ["/v1/models", "/v1/model/info", "/model_group/info", "/model_group/info?model_group=nope"]:
        _, _, text = call("GET", path)
        rows = json.loads(text)["data"]
        keys = sorted(set().union(*rows)) if rows else []
        inner = sorted({key for row in rows for key in row.get("model_info", {})})
        yield {"path": path, "rows": len(rows), "keys": keys, "model_info": inner}
    for path in ["/health/liveliness", "/health/readiness"]:
        yield {"path": path, "body": json.loads(call("GET", path, key=None)[2])}


def counts():
    for body in [
        {"model": "openai", "messages": HELLO},
        {"model": "openai", "prompt": "The quick brown fox jumps over the lazy dog."},
        {"model": "openai", "messages": [{"role": "system", "content": "Be brief."}, *HELLO]},
        {"model": "openai", "messages": HELLO, "tools": [TOOL]},
    ]:
        yield {"body": body, "total_tokens": json.loads(call("POST", "/utils/token_counter", body)[2])["total_tokens"]}


def metrics():
    time.sleep(3)
    found = {}
    for line in call("GET", "/metrics/")[2].splitlines():
        name = re.match(r"[a-zA-Z_:0-9]+", line)
        if not line.startswith("#") and name and not name[0].endswith("_created"):
            labels = re.search(r"\{(.*)\} ", line)
            found.setdefault(name[0], sorted(re.findall(r'(\w+)="', labels[1])) if labels else [])
    return {name: labels for name, labels in sorted(found.items()) if name.startswith("litellm_")}


golden = {
    "litellm": "1.106.2",
    "answers": list(answers()),
    "errors": list(errors()),
    "refusals": list(refusals()),
    "tables": list(tables()),
    "counts": list(counts()),
    "metrics": metrics(),
}
Path(__file__).with_name("litellm.json").write_text(json.dumps(golden, indent=1) + "\n")
