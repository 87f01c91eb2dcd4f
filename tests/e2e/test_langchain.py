"""LangChain's OpenAI and Anthropic chat models, as applications use them."""

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

import prompts as p
from deployments import CLIENTS


@tool
def get_weather(city: str) -> str:
    """The weather of a city"""
    return f"{city}: {p.RESULT}"


@pytest.fixture(params=["openai", "anthropic"])
def model(request, gateway, group):
    """The two integrations, each on every group."""
    if request.param == "anthropic" and "anthropic" not in CLIENTS:
        pytest.skip("the gateway does not serve the Anthropic dialect yet")
    if request.param == "openai":
        return ChatOpenAI(model=group, api_key=gateway.key, base_url=f"{gateway.url}/v1", max_retries=0, timeout=30)
    return ChatAnthropic(
        model=group, api_key=gateway.key, base_url=gateway.url, max_retries=0, timeout=30, max_tokens=200
    )


def test_invoke_answers(model):
    answer = model.invoke(p.ECHO)
    assert p.ECHO in answer.text
    assert answer.usage_metadata["output_tokens"] > 0


def test_stream_adds_up(model):
    whole = None
    for chunk in model.stream(p.ECHO):
        whole = chunk if whole is None else whole + chunk
    assert p.ECHO in whole.text


def test_a_tool_loop_ends_with_the_result(model):
    bound = model.bind_tools([get_weather])
    messages = [HumanMessage(p.TOOLS)]
    first = bound.invoke(messages)
    call = first.tool_calls[0]
    assert call["name"] == p.WEATHER
    messages += [first, ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])]
    assert p.RESULT in bound.invoke(messages).text
