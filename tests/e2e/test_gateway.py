"""What any HTTP client sees: health, errors, headers, metrics, bad input."""

import json
import urllib.error
import urllib.request

import pytest

import prompts as p


def call(gateway, path: str, body: bytes | None = None, headers: dict | None = None):
    """Status, headers and body of one request; errors are answers too."""
    sent = {"Content-Type": "application/json", "Authorization": f"Bearer {gateway.key}"}
    request = urllib.request.Request(gateway.url + path, data=body, headers=sent | (headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def chat(model="openai", text=p.ECHO, **more) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}).encode()


def test_liveliness_needs_no_key(gateway):
    status, _, body = call(gateway, "/health/liveliness", headers={"Authorization": ""})
    assert (status, json.loads(body)) == (200, "I'm alive!")


def test_readiness_needs_no_key(gateway):
    status, _, body = call(gateway, "/health/readiness", headers={"Authorization": ""})
    assert status == 200 and json.loads(body)["status"] == "healthy"


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/chat/completions", "/openai/deployments/openai/chat/completions"],
)
def test_chat_has_all_its_aliases(gateway, path):
    status, _, body = call(gateway, path, chat())
    assert status == 200 and p.ECHO in json.loads(body)["choices"][0]["message"]["content"]


@pytest.mark.parametrize("header", ["x-litellm-api-key", "api-key", "x-api-key", "x-goog-api-key"])
def test_every_key_header_is_read(gateway, header):
    request = urllib.request.Request(
        f"{gateway.url}/v1/chat/completions",
        data=chat(),
        headers={"Content-Type": "application/json", header: gateway.key},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def test_the_answer_says_what_it_cost_and_who_served_it(gateway):
    _, headers, _ = call(gateway, "/v1/chat/completions", chat())
    assert float(headers["x-litellm-response-cost"]) > 0
    assert headers["x-litellm-model-group"] == "openai"
    assert headers["x-litellm-model-id"] and headers["x-litellm-call-id"]


def test_no_key_is_a_401(gateway):
    status, _, body = call(gateway, "/v1/chat/completions", chat(), {"Authorization": ""})
    assert status == 401 and json.loads(body)["error"]["code"] == "401"


def test_an_unknown_model_is_named(gateway):
    status, _, body = call(gateway, "/v1/chat/completions", chat(model="nobody"))
    assert status == 400 and "nobody" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b"[1, 2]", b'{"model": "openai", "messages": [', b'{"model": "\xff\xfe"}', b"[" * 10_000],
    ids=["empty", "text", "array", "cut", "not-utf8", "deep"],
)
def test_a_body_that_is_no_request_is_a_400(gateway, body):
    status, _, answer = call(gateway, "/v1/chat/completions", body)
    assert status == 400 and json.loads(answer)["error"]["message"]


def test_a_member_named_twice_is_a_400(gateway):
    body = b'{"model": "openai", "model": "anthropic", "messages": [{"role": "user", "content": "hi"}]}'
    status, _, answer = call(gateway, "/v1/chat/completions", body)
    assert status == 400 and "model" in json.loads(answer)["error"]["message"]


def test_metrics_count_what_was_served(gateway):
    call(gateway, "/v1/chat/completions", chat())
    status, _, body = call(gateway, "/metrics")
    assert status == 200
    assert b"litellm_proxy_total_requests_metric" in body


def test_upstream_credentials_never_come_back(gateway):
    for path in ["/v1/model/info", "/model_group/info", "/v1/models"]:
        _, _, body = call(gateway, path)
        for secret in [b"sk-up", b"az-up", b"sk-ant-up", b"AIza-up", b"fake-secret", b"PRIVATE KEY"]:
            assert secret not in body, path


def test_a_path_of_additional_drop_params_is_taken_out_on_the_way(gateway):
    """Both where the body goes through as bytes and where it is translated."""
    tool = {
        "type": "function",
        "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string", "x": 1}}}},
    }
    body = {
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [tool],
        "additional_drop_params": ["tools[*].function.parameters.properties.at.x"],
    }
    for group, schema in [("openai", "function.parameters"), ("anthropic", "input_schema")]:
        asked = {"call_type": "completion", "request_body": body | {"model": group}}
        answer = json.loads(call(gateway, "/utils/transform_request", json.dumps(asked).encode())[2])
        sent = answer["raw_request_body"]["tools"][0]
        for member in schema.split("."):
            sent = sent[member]
        assert sent["properties"]["at"] == {"type": "string"}, answer
