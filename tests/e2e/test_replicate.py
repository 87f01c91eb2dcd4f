"""Replicate, whose predictions are asked for again until they are done."""

import openai
import pytest

import prompts as p


@pytest.fixture
def client(gateway):
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0)


def ask(client, text=p.ECHO, **more):
    return client.chat.completions.create(model="replicate", messages=[{"role": "user", "content": text}], **more)


def test_a_prediction_becomes_an_answer(client):
    answer = ask(client)
    assert p.ECHO in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens > 0


def test_a_prediction_is_told_as_a_stream(client):
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert p.ECHO in text
    assert chunks[-1].usage.completion_tokens > 0


def test_an_error_keeps_its_class(client):
    with pytest.raises(openai.RateLimitError):
        ask(client, p.RATE_LIMIT)
