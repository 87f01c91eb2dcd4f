"""The official OpenAI Python SDK: chat completions and responses, against every provider dialect."""

import json

import openai
import pytest

import prompts as p
from deployments import CLIENTS, GROUPS

responses = pytest.mark.skipif("responses" not in CLIENTS, reason="the gateway does not serve responses yet")

TOOL = {
    "type": "function",
    "function": {"name": p.WEATHER, "description": p.WEATHER_DOC, "parameters": p.WEATHER_SCHEMA},
}
RESPONSES_TOOL = {
    "type": "function",
    "name": p.WEATHER,
    "description": p.WEATHER_DOC,
    "parameters": p.WEATHER_SCHEMA,
    "strict": False,
}


@pytest.fixture
def client(gateway) -> openai.OpenAI:
    return openai.OpenAI(api_key=gateway.key, base_url=f"{gateway.url}/v1", max_retries=0, timeout=30)


def user(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def test_a_chat_answer_has_text_usage_and_the_name_asked_for(client, group):
    answer = client.chat.completions.create(model=group, messages=user(p.ECHO))
    assert p.ECHO in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == group
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_chat_stream_adds_up_to_the_answer(client, group):
    stream = client.chat.completions.create(
        model=group, messages=user(p.ECHO), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert p.ECHO in text
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].usage.completion_tokens > 0
    assert {c.model for c in chunks} == {group}


def test_a_chat_tool_call_and_its_result_make_a_round_trip(client, group):
    messages = user(p.TOOLS)
    first = client.chat.completions.create(model=group, messages=messages, tools=[TOOL])
    call = first.choices[0].message.tool_calls[0]
    assert first.choices[0].finish_reason == "tool_calls"
    assert call.function.name == p.WEATHER
    assert isinstance(json.loads(call.function.arguments)["city"], str)

    messages.append(first.choices[0].message.model_dump(exclude_none=True))
    messages.append({"role": "tool", "tool_call_id": call.id, "content": p.RESULT})
    second = client.chat.completions.create(model=group, messages=messages, tools=[TOOL])
    assert second.choices[0].finish_reason == "stop"
    assert p.RESULT in second.choices[0].message.content


def test_parallel_tool_calls_stream_side_by_side(client, group):
    with client.chat.completions.stream(model=group, messages=user(p.PARALLEL), tools=[TOOL]) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert [c.function.name for c in calls] == [p.WEATHER, p.WEATHER]
    assert len({c.id for c in calls}) == 2
    for call in calls:
        assert "city" in json.loads(call.function.arguments)


def test_structured_output_fits_its_schema(client, group):
    answer = client.chat.completions.create(
        model=group,
        messages=user(p.JSON),
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "place", "schema": p.PLACE_SCHEMA, "strict": True},
        },
    )
    place = json.loads(answer.choices[0].message.content)
    assert isinstance(place["city"], str) and isinstance(place["population"], int)
    assert answer.choices[0].finish_reason == "stop"


def test_a_cut_by_the_token_limit_says_length(client, group):
    answer = client.chat.completions.create(model=group, messages=user(p.LENGTH), max_tokens=16)
    assert answer.choices[0].finish_reason == "length"


def test_a_rate_limit_upstream_is_a_rate_limit_here(client, group):
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=group, messages=user(p.RATE_LIMIT))
    assert caught.value.status_code == 429


def test_an_error_in_mid_stream_is_raised_not_swallowed(client, group):
    # Before the first visible output it is the call that fails, with the error's own status.
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model=group, messages=user(p.MIDSTREAM), stream=True))


def test_a_long_stream_arrives_whole(client, group):
    stream = client.chat.completions.create(model=group, messages=user(p.LONG), stream=True)
    deltas = [c.choices[0].delta.content for c in stream if c.choices and c.choices[0].delta.content]
    assert len(deltas) >= 2
    assert "".join(deltas)


@responses
def test_a_response_has_output_text_and_usage(client, group):
    answer = client.responses.create(model=group, input=p.ECHO)
    assert p.ECHO in answer.output_text
    assert answer.status == "completed"
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


@responses
def test_a_response_stream_accumulates_to_the_final_response(client, group):
    with client.responses.stream(model=group, input=p.ECHO) as stream:
        deltas = [e.delta for e in stream if e.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert p.ECHO in "".join(deltas)
    assert final.output_text == "".join(deltas)


@responses
def test_a_response_calls_a_tool_and_goes_on_from_its_id(client, group):
    first = client.responses.create(model=group, input=p.TOOLS, tools=[RESPONSES_TOOL])
    call = next(item for item in first.output if item.type == "function_call")
    assert call.name == p.WEATHER
    second = client.responses.create(
        model=group,
        previous_response_id=first.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": p.RESULT}],
        tools=[RESPONSES_TOOL],
    )
    assert p.RESULT in second.output_text


def test_a_wrong_key_is_an_authentication_error(gateway):
    stranger = openai.OpenAI(api_key="sk-wrong", base_url=f"{gateway.url}/v1", max_retries=0)
    with pytest.raises((openai.AuthenticationError, openai.BadRequestError)):
        stranger.chat.completions.create(model="openai", messages=user(p.ECHO))


def test_models_are_listed(client):
    assert set(GROUPS) <= {model.id for model in client.models.list()}
