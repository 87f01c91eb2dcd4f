"""The official OpenAI Python SDK: text completions, against every provider dialect."""

import json
import time
import urllib.request

import openai
import pytest

import prompts as p
from conftest import serving
from deployments import GROUPS


# Groups that are asked for texts, not for chats.
NATIVE = ["text", "azure-text", "local"]


@pytest.fixture(params=[*GROUPS, *NATIVE])
def group(request) -> str:
    return request.param


@pytest.fixture
def client(gateway) -> openai.OpenAI:
    return openai.OpenAI(api_key=gateway.key, base_url=f"{gateway.url}/v1", max_retries=0, timeout=30)


def test_a_text_answer_has_text_usage_and_the_name_asked_for(client, group):
    answer = client.completions.create(model=group, prompt=p.ECHO)
    assert answer.object == "text_completion"
    assert p.ECHO in answer.choices[0].text
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == group
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_text_stream_adds_up_to_the_answer(client, group):
    stream = client.completions.create(
        model=group, prompt=p.ECHO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert {c.object for c in chunks} == {"text_completion"}
    assert p.ECHO in "".join(c.choices[0].text for c in chunks if c.choices)
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].usage.completion_tokens > 0
    assert {c.model for c in chunks} == {group}


def test_a_stream_has_no_usage_that_was_not_asked_for(client, group):
    chunks = list(client.completions.create(model=group, prompt=p.ECHO, stream=True))
    assert all(c.usage is None for c in chunks)
    assert all(c.choices for c in chunks)


def test_a_list_of_prompts_is_one_request(client, group):
    answer = client.completions.create(model=group, prompt=["First, the rules.", p.ECHO])
    assert p.ECHO in "".join(choice.text for choice in answer.choices)


@pytest.mark.parametrize("group", NATIVE)
def test_a_provider_of_texts_gets_what_only_texts_have(client, group):
    answer = client.completions.create(model=group, prompt=p.ECHO, suffix="the end", best_of=2, n=2, echo=True)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.id.startswith("cmpl-fake")


@pytest.mark.parametrize("prompt", [[1, 2, 3], [[1, 2], [3]]])
@pytest.mark.parametrize("group", NATIVE)
def test_tokens_go_to_a_provider_of_texts_as_they_are(client, group, prompt):
    answer = client.completions.create(model=group, prompt=prompt)
    assert "token" in answer.choices[0].text


def test_a_chat_reaches_a_provider_that_only_completes_texts(client):
    answer = client.chat.completions.create(model="text", messages=[{"role": "user", "content": p.ECHO}])
    assert p.ECHO in answer.choices[0].message.content
    chunks = client.chat.completions.create(
        model="text", messages=[{"role": "user", "content": p.ECHO}], stream=True
    )
    assert p.ECHO in "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


@pytest.mark.parametrize("path", ["/engines/{}", "/openai/deployments/{}"])
def test_the_model_may_stand_in_the_path(gateway, path):
    base = gateway.url + path.format("anthropic")
    client = openai.OpenAI(api_key=gateway.key, base_url=base, max_retries=0, timeout=30)
    assert p.ECHO in client.completions.create(model="ignored", prompt=p.ECHO).choices[0].text


def test_mistakes_are_openais_errors(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="anthropic", prompt=[[1, 2, 3]])
    assert refused.value.param == "prompt"
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="anthropic", prompt=None)
    assert refused.value.param == "prompt"
    with pytest.raises(openai.APIStatusError) as refused:
        client.completions.create(model="no-such-model", prompt=p.ECHO)
    assert "no-such-model" in refused.value.message


@pytest.mark.parametrize("model", ["anthropic", "text"])
def test_a_kept_answer_comes_again_whole_and_streamed_and_is_booked_as_a_completion(upstream, tmp_path, model):
    cache = {"cache": True, "cache_params": {"type": "local", "supported_call_types": ["atext_completion"]}}
    for gateway in serving(upstream, tmp_path, litellm_settings=cache):
        client = openai.OpenAI(api_key=gateway.key, base_url=f"{gateway.url}/v1", max_retries=0, timeout=30)
        ask = {"model": model, "prompt": p.ECHO}
        first = client.completions.create(**ask)
        again = client.completions.with_raw_response.create(**ask)
        assert again.parse().choices[0].text == first.choices[0].text
        assert again.headers.get("x-litellm-cache-key")
        streamed = client.completions.create(**ask, stream=True)
        assert "".join(c.choices[0].text for c in streamed) == first.choices[0].text

        def logs() -> list[dict]:
            request = urllib.request.Request(f"{gateway.url}/spend/logs?summarize=false")
            request.add_header("Authorization", f"Bearer {gateway.key}")
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)

        deadline = time.monotonic() + 30
        while len(logs()) < 3:
            assert time.monotonic() < deadline, logs()
            time.sleep(0.1)
        rows = logs()
        assert {row["call_type"] for row in rows} == {"atext_completion"}
        assert sorted(row["cache_hit"] for row in rows) == ["False", "True", "True"]
