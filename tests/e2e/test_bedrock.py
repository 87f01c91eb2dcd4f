"""boto3 as a client of the gateway's Bedrock routes, with SigV4 and with a bearer key."""

import json

import boto3
import botocore.config
import botocore.exceptions
import pytest

import prompts as p
from deployments import CLIENTS

if "bedrock" not in CLIENTS:
    pytest.skip("the gateway does not serve the Bedrock dialect yet", allow_module_level=True)

TOOLS = {
    "tools": [
        {"toolSpec": {"name": p.WEATHER, "description": p.WEATHER_DOC, "inputSchema": {"json": p.WEATHER_SCHEMA}}}
    ]
}
CONFIG = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=30)


@pytest.fixture(params=["", "/bedrock"], ids=["root", "prefixed"])
def client(request, gateway, monkeypatch):
    """A client that signs, with the gateway's key as access key id."""
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=gateway.url + request.param,
        aws_access_key_id=gateway.key,
        aws_secret_access_key="unused",
        config=CONFIG,
    )


@pytest.fixture
def bearer(tls_gateway, monkeypatch):
    """A client with the gateway's key as bearer token, which boto3 sends over TLS only."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", tls_gateway.key)
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=tls_gateway.url,
        verify=str(tls_gateway.certificate),
        config=CONFIG,
    )


def user(content) -> list[dict]:
    return [{"role": "user", "content": content if isinstance(content, list) else [{"text": content}]}]


def text_of(message: dict) -> str:
    return "".join(block.get("text", "") for block in message["content"])


def test_converse_has_text_usage_and_a_stop_reason(client, group):
    answer = client.converse(modelId=group, messages=user(p.ECHO))
    assert p.ECHO in text_of(answer["output"]["message"])
    assert answer["stopReason"] == "end_turn"
    assert answer["usage"]["inputTokens"] > 0


def test_a_converse_stream_adds_up_to_the_answer(client, group):
    events = list(client.converse_stream(modelId=group, messages=user(p.ECHO))["stream"])
    text = "".join(e["contentBlockDelta"]["delta"].get("text", "") for e in events if "contentBlockDelta" in e)
    assert p.ECHO in text
    assert [e["messageStop"]["stopReason"] for e in events if "messageStop" in e] == ["end_turn"]
    assert [e["metadata"]["usage"]["outputTokens"] > 0 for e in events if "metadata" in e] == [True]


def test_a_tool_use_and_its_result_make_a_round_trip(client, group):
    messages = user(p.TOOLS)
    first = client.converse(modelId=group, messages=messages, toolConfig=TOOLS)
    message = first["output"]["message"]
    use = next(block["toolUse"] for block in message["content"] if "toolUse" in block)
    assert first["stopReason"] == "tool_use"
    assert use["name"] == p.WEATHER and isinstance(use["input"]["city"], str)

    result = {"toolResult": {"toolUseId": use["toolUseId"], "content": [{"text": p.RESULT}]}}
    messages += [message, *user([result])]
    second = client.converse(modelId=group, messages=messages, toolConfig=TOOLS)
    assert p.RESULT in text_of(second["output"]["message"])


def test_a_bearer_token_is_known_over_tls(bearer, group):
    answer = bearer.converse(modelId=group, messages=user(p.ECHO))
    assert p.ECHO in text_of(answer["output"]["message"])


def test_a_rate_limit_upstream_is_a_throttling_exception_here(client, group):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.converse(modelId=group, messages=user(p.RATE_LIMIT))
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429


def test_an_error_in_mid_stream_is_raised_not_swallowed(client, group):
    # Before the first output it is an error answer, after it an exception in the stream: typed either way.
    with pytest.raises(botocore.exceptions.ClientError):
        list(client.converse_stream(modelId=group, messages=user(p.MIDSTREAM))["stream"])


def anthropic_body(content, **members) -> bytes:
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 400, "messages": [{"role": "user", "content": content}]}
    return json.dumps(body | members).encode()


def test_invoke_model_takes_an_anthropic_body(client, group):
    answer = json.loads(client.invoke_model(modelId=group, body=anthropic_body(p.ECHO))["body"].read())
    assert p.ECHO in "".join(block.get("text", "") for block in answer["content"])
    assert answer["stop_reason"] == "end_turn" and answer["usage"]["input_tokens"] > 0


def test_an_invoke_stream_holds_anthropics_events(client, group):
    answer = client.invoke_model_with_response_stream(modelId=group, body=anthropic_body(p.ECHO))
    events = [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]
    assert events[0]["type"] == "message_start" and events[-1]["type"] == "message_stop"
    text = "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta")
    assert p.ECHO in text


def test_thinking_goes_back_signed_with_the_tools_result(client, group):
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    messages = user(p.TOOLS)
    first = client.converse(
        modelId=group,
        messages=messages,
        toolConfig=TOOLS,
        inferenceConfig={"maxTokens": 4000},
        additionalModelRequestFields=thinking,
    )["output"]["message"]
    uses = [block["toolUse"] for block in first["content"] if "toolUse" in block]
    results = [{"toolResult": {"toolUseId": use["toolUseId"], "content": [{"json": {"sky": p.RESULT}}]}} for use in uses]
    second = client.converse(
        modelId=group,
        messages=[*messages, first, *user(results)],
        toolConfig=TOOLS,
        inferenceConfig={"maxTokens": 4000},
        additionalModelRequestFields=thinking,
    )
    assert p.RESULT in text_of(second["output"]["message"])
