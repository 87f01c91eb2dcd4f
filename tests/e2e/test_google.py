"""The official google-genai SDK: generateContent and its stream, against every provider dialect."""

import pytest
from google import genai
from google.genai import errors, types

import prompts as p

TOOL = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name=p.WEATHER, description=p.WEATHER_DOC, parameters_json_schema=p.WEATHER_SCHEMA
        )
    ]
)
WITH_TOOL = types.GenerateContentConfig(
    tools=[TOOL], automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
)


@pytest.fixture
def client(gateway) -> genai.Client:
    return genai.Client(api_key=gateway.key, http_options=types.HttpOptions(base_url=gateway.url, timeout=30_000))


def test_content_has_text_usage_and_a_finish_reason(client, group):
    answer = client.models.generate_content(model=group, contents=p.ECHO)
    assert p.ECHO in answer.text
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.usage_metadata.prompt_token_count > 0


def test_a_content_stream_adds_up_to_the_answer(client, group):
    chunks = list(client.models.generate_content_stream(model=group, contents=p.ECHO))
    assert p.ECHO in "".join(chunk.text or "" for chunk in chunks)
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP


def test_a_function_call_and_its_response_make_a_round_trip(client, group):
    question = types.Content(role="user", parts=[types.Part(text=p.TOOLS)])
    first = client.models.generate_content(model=group, contents=[question], config=WITH_TOOL)
    call = first.function_calls[0]
    assert call.name == p.WEATHER and isinstance(call.args["city"], str)

    result = types.Part(
        function_response=types.FunctionResponse(id=call.id, name=call.name, response={"result": p.RESULT})
    )
    contents = [question, first.candidates[0].content, types.Content(role="user", parts=[result])]
    second = client.models.generate_content(model=group, contents=contents, config=WITH_TOOL)
    assert p.RESULT in second.text


def test_a_function_call_streams(client, group):
    chunks = client.models.generate_content_stream(model=group, contents=p.TOOLS, config=WITH_TOOL)
    calls = [call for chunk in chunks for call in chunk.function_calls or []]
    assert [call.name for call in calls] == [p.WEATHER]


def test_a_cut_by_the_token_limit_says_max_tokens(client, group):
    config = types.GenerateContentConfig(max_output_tokens=16)
    answer = client.models.generate_content(model=group, contents=p.LENGTH, config=config)
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS


def test_a_rate_limit_upstream_has_the_google_shape_here(client, group):
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model=group, contents=p.RATE_LIMIT)
    assert caught.value.code == 429
    assert caught.value.status == "RESOURCE_EXHAUSTED"


def test_tokens_are_counted_for_every_provider(client, group):
    assert client.models.count_tokens(model=group, contents=p.ECHO).total_tokens > 0
