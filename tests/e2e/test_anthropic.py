"""The official Anthropic Python SDK: messages and count_tokens, against every provider dialect."""

import anthropic
import pytest

import prompts as p
from deployments import CLIENTS, GROUPS

if "anthropic" not in CLIENTS:
    pytest.skip("the gateway does not serve the Anthropic dialect yet", allow_module_level=True)

TOOL = {"name": p.WEATHER, "description": p.WEATHER_DOC, "input_schema": p.WEATHER_SCHEMA}
# Providers that sign their thoughts. Gemini signs what follows a thought, not the thought itself.
THINKING = [group for group in ("anthropic", "vertex-anthropic", "bedrock") if group in GROUPS]


@pytest.fixture
def client(gateway) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=gateway.key, base_url=gateway.url, max_retries=0, timeout=30)


def user(content) -> list[dict]:
    return [{"role": "user", "content": content}]


def text_of(message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_message_has_text_usage_and_a_stop_reason(client, group):
    message = client.messages.create(model=group, max_tokens=200, messages=user(p.ECHO))
    assert p.ECHO in text_of(message)
    assert message.stop_reason == "end_turn"
    assert message.model == group
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0


def test_a_message_stream_accumulates_to_the_final_message(client, group):
    with client.messages.stream(model=group, max_tokens=200, messages=user(p.ECHO)) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert p.ECHO in text
    assert text_of(final) == text
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 0


@pytest.mark.parametrize("streaming", [False, True], ids=["plain", "stream"])
def test_a_tool_use_and_its_result_make_a_round_trip(client, group, streaming):
    def ask(messages):
        arguments = {"model": group, "max_tokens": 200, "tools": [TOOL], "messages": messages}
        if not streaming:
            return client.messages.create(**arguments)
        with client.messages.stream(**arguments) as stream:
            return stream.get_final_message()

    messages = user(p.TOOLS)
    first = ask(messages)
    use = next(block for block in first.content if block.type == "tool_use")
    assert first.stop_reason == "tool_use"
    assert use.name == p.WEATHER and isinstance(use.input["city"], str)

    messages.append({"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in first.content]})
    messages += user([{"type": "tool_result", "tool_use_id": use.id, "content": p.RESULT}])
    second = ask(messages)
    assert p.RESULT in text_of(second)
    assert second.stop_reason == "end_turn"


@pytest.mark.parametrize("model", THINKING)
def test_thinking_comes_before_the_text(client, model):
    message = client.messages.create(
        model=model,
        max_tokens=4000,
        thinking={"type": "enabled", "budget_tokens": 2000},
        messages=user(p.REASONING),
    )
    assert [block.type for block in message.content][:2] == ["thinking", "text"]
    assert message.content[0].thinking
    assert message.content[0].signature


@pytest.mark.parametrize("model", THINKING)
def test_thinking_streams_with_its_signature(client, model):
    with client.messages.stream(
        model=model,
        max_tokens=4000,
        thinking={"type": "enabled", "budget_tokens": 2000},
        messages=user(p.REASONING),
    ) as stream:
        final = stream.get_final_message()
    assert final.content[0].type == "thinking" and final.content[0].signature


def test_a_cut_by_the_token_limit_says_max_tokens(client, group):
    assert client.messages.create(model=group, max_tokens=16, messages=user(p.LENGTH)).stop_reason == "max_tokens"


def test_a_rate_limit_upstream_has_the_anthropic_shape_here(client, group):
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(model=group, max_tokens=16, messages=user(p.RATE_LIMIT))
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == "rate_limit_error"


def test_an_error_in_mid_stream_is_raised_not_swallowed(client, group):
    with pytest.raises(anthropic.APIError):
        with client.messages.stream(model=group, max_tokens=200, messages=user(p.MIDSTREAM)) as stream:
            stream.get_final_message()


def test_tokens_are_counted_for_every_provider(client, group):
    count = client.messages.count_tokens(model=group, messages=user(p.ECHO))
    assert count.input_tokens > 0


def test_the_bearer_form_of_the_key_works_too(gateway):
    client = anthropic.Anthropic(auth_token=gateway.key, base_url=gateway.url, max_retries=0)
    message = client.messages.create(model="anthropic", max_tokens=50, messages=user(p.ECHO))
    assert p.ECHO in text_of(message)
