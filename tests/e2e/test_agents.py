"""Agent loops of three turns, history kept by each SDK's own stream accumulator, against every provider dialect.

Turn 1 thinks, speaks and calls two tools at once; turn 2 calls one more; turn 3 sums up. The fake provider plays
the steps written into the task and, as the real ones do, refuses thoughts whose signature is not its own.
"""

import json
import urllib.request
from dataclasses import dataclass

import anthropic
import boto3
import botocore.config
import openai
import pytest
from google import genai
from google.genai import types

from deployments import CLIENTS

LOOK_UP, COUNT = "look_up_weather", "count_people"
SCHEMAS = {
    LOOK_UP: {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "array", "items": {"type": "integer"}}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
    COUNT: {
        "type": "object",
        "properties": {"place": {"type": "object", "properties": {"name": {"type": "string"}}}, "all": {"type": "boolean"}},
        "required": ["place", "all"],
        "additionalProperties": False,
    },
}
DOC = "Knows about places"
SAID = "I look both up."
BOTH = [[LOOK_UP, {"city": "Zürich \"old\" town", "days": [1, 2]}], [LOOK_UP, {"city": "Rome", "days": []}]]
ONE = [[COUNT, {"place": {"name": "Rome"}, "all": True}]]
LAST = "Rome is warmer, and 2873000 people know it."
STEPS = [{"reasoning": True, "text": SAID, "calls": BOTH}, {"calls": ONE}, {"text": LAST}]
TASK = f"Compare them. [[steps: {json.dumps(STEPS)}]]"
RESULTS = ["21 degrees 4417", "27 degrees 5528", "2873000 people"]

# Where a provider gets its signature back, in the requests it sees; the others sign nothing.
SIGNED = {
    "responses": "encrypted_content",
    "anthropic": "signature",
    "vertex-anthropic": "signature",
    "bedrock": "signature",
    "gemini": "thoughtSignature",
    "vertex-gemini": "thoughtSignature",
}


@dataclass
class Call:
    id: str | None
    name: str
    arguments: dict


@dataclass
class Turn:
    """What an accumulator made of one stream."""

    text: str
    calls: list[Call]
    input: int
    output: int
    total: int


class Chat:
    """`chat.completions.stream` of the OpenAI SDK."""

    def __init__(self, gateway, group):
        self.client = openai.OpenAI(api_key=gateway.key, base_url=f"{gateway.url}/v1", max_retries=0, timeout=30)
        self.group, self.messages = group, [{"role": "user", "content": TASK}]
        self.tools = [
            {"type": "function", "function": {"name": name, "description": DOC, "parameters": schema, "strict": True}}
            for name, schema in SCHEMAS.items()
        ]

    def ask(self) -> Turn:
        with self.client.chat.completions.stream(
            model=self.group,
            messages=self.messages,
            tools=self.tools,
            reasoning_effort="low",
            stream_options={"include_usage": True},
        ) as stream:
            final = stream.get_final_completion()
        message = final.choices[0].message
        self.messages.append(message)
        calls = [Call(c.id, c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or []]
        assert final.choices[0].finish_reason == ("tool_calls" if calls else "stop")
        usage = final.usage
        return Turn(message.content or "", calls, usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)

    def answer(self, results):
        self.messages += [{"role": "tool", "tool_call_id": call.id, "content": text} for call, text in results]


class Responses:
    """`responses.stream` of the OpenAI SDK, the state kept by the client."""

    def __init__(self, gateway, group):
        self.client = openai.OpenAI(api_key=gateway.key, base_url=f"{gateway.url}/v1", max_retries=0, timeout=30)
        self.group, self.items = group, [{"role": "user", "content": TASK}]
        self.tools = [
            {"type": "function", "name": name, "description": DOC, "parameters": schema, "strict": True}
            for name, schema in SCHEMAS.items()
        ]

    def ask(self) -> Turn:
        with self.client.responses.stream(
            model=self.group,
            input=self.items,
            tools=self.tools,
            reasoning={"effort": "low", "summary": "auto"},
            include=["reasoning.encrypted_content"],
            store=False,
        ) as stream:
            final = stream.get_final_response()
        self.items += final.output
        calls = [Call(i.call_id, i.name, json.loads(i.arguments)) for i in final.output if i.type == "function_call"]
        assert final.status == "completed"
        return Turn(
            final.output_text, calls, final.usage.input_tokens, final.usage.output_tokens, final.usage.total_tokens
        )

    def answer(self, results):
        self.items += [{"type": "function_call_output", "call_id": call.id, "output": text} for call, text in results]


class Messages:
    """`messages.stream` of the Anthropic SDK."""

    def __init__(self, gateway, group):
        self.client = anthropic.Anthropic(api_key=gateway.key, base_url=gateway.url, max_retries=0, timeout=30)
        self.group, self.messages = group, [{"role": "user", "content": TASK}]
        self.tools = [
            {"name": name, "description": DOC, "input_schema": schema} for name, schema in SCHEMAS.items()
        ]

    def ask(self) -> Turn:
        with self.client.messages.stream(
            model=self.group,
            max_tokens=4000,
            messages=self.messages,
            tools=self.tools,
            thinking={"type": "enabled", "budget_tokens": 1024},
        ) as stream:
            final = stream.get_final_message()
        self.messages.append({"role": "assistant", "content": final.content})
        text = "".join(block.text for block in final.content if block.type == "text")
        calls = [Call(block.id, block.name, block.input) for block in final.content if block.type == "tool_use"]
        assert final.stop_reason == ("tool_use" if calls else "end_turn")
        usage = final.usage
        return Turn(text, calls, usage.input_tokens, usage.output_tokens, usage.input_tokens + usage.output_tokens)

    def answer(self, results):
        content = [{"type": "tool_result", "tool_use_id": call.id, "content": text} for call, text in results]
        self.messages.append({"role": "user", "content": content})


class Contents:
    """`generate_content_stream` of google-genai; one content per turn, as Google asks for."""

    def __init__(self, gateway, group):
        self.client = genai.Client(
            api_key=gateway.key, http_options=types.HttpOptions(base_url=gateway.url, timeout=30_000)
        )
        declared = [
            types.FunctionDeclaration(name=name, description=DOC, parameters_json_schema=schema)
            for name, schema in SCHEMAS.items()
        ]
        self.config = types.GenerateContentConfig(
            tools=[types.Tool(function_declarations=declared)],
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=1024),
        )
        self.group, self.next, self.contents = group, [types.Part(text=TASK)], []

    def stream(self) -> tuple[list, list]:
        """The chunks of one turn, and the contents that go into the history."""
        self.contents.append(types.Content(role="user", parts=self.next))
        chunks = list(
            self.client.models.generate_content_stream(model=self.group, contents=self.contents, config=self.config)
        )
        parts = [part for chunk in chunks for part in chunk.parts or []]
        self.contents.append(types.Content(role="model", parts=parts))
        return chunks, self.contents[-1:]

    def ask(self) -> Turn:
        chunks, said = self.stream()
        parts = [part for content in said for part in content.parts or []]
        text = "".join(part.text for part in parts if part.text and not part.thought)
        calls = [part.function_call for part in parts if part.function_call]
        usage = chunks[-1].usage_metadata
        output = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
        calls = [Call(call.id, call.name, call.args) for call in calls]
        return Turn(text, calls, usage.prompt_token_count, output, usage.total_token_count)

    def answer(self, results):
        self.next = [
            types.Part(
                function_response=types.FunctionResponse(id=call.id, name=call.name, response={"result": text})
            )
            for call, text in results
        ]


class Chats(Contents):
    """`chats` of google-genai, which keeps each streamed chunk as a content of its own."""

    def __init__(self, gateway, group):
        super().__init__(gateway, group)
        self.chat = self.client.chats.create(model=group, config=self.config)

    def stream(self) -> tuple[list, list]:
        before = len(self.chat.get_history())
        chunks = list(self.chat.send_message_stream(self.next))
        return chunks, self.chat.get_history()[before + 1 :]


class Converse:
    """`converse_stream` of boto3, which leaves the adding up to its user."""

    def __init__(self, gateway, group):
        self.client = boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=gateway.url,
            aws_access_key_id=gateway.key,
            aws_secret_access_key="unused",
            config=botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=30),
        )
        self.group, self.messages = group, [{"role": "user", "content": [{"text": TASK}]}]
        specs = [
            {"toolSpec": {"name": name, "description": DOC, "inputSchema": {"json": schema}}}
            for name, schema in SCHEMAS.items()
        ]
        self.tools = {"tools": specs}

    def ask(self) -> Turn:
        answer = self.client.converse_stream(
            modelId=self.group,
            messages=self.messages,
            toolConfig=self.tools,
            additionalModelRequestFields={"thinking": {"type": "enabled", "budget_tokens": 1024}},
        )
        blocks, usage, reason = {}, {}, None
        for event in answer["stream"]:
            if start := event.get("contentBlockStart"):
                blocks[start["contentBlockIndex"]] = {"toolUse": start["start"]["toolUse"] | {"input": ""}}
            elif delta := event.get("contentBlockDelta"):
                grow(blocks, delta["contentBlockIndex"], delta["delta"])
            elif stop := event.get("messageStop"):
                reason = stop["stopReason"]
            elif metadata := event.get("metadata"):
                usage = metadata["usage"]
        content = [blocks[index] for index in sorted(blocks)]
        for block in content:
            if use := block.get("toolUse"):
                use["input"] = json.loads(use["input"])
        self.messages.append({"role": "assistant", "content": content})
        uses = [block["toolUse"] for block in content if "toolUse" in block]
        assert reason == ("tool_use" if uses else "end_turn")
        text = "".join(block.get("text", "") for block in content)
        calls = [Call(use["toolUseId"], use["name"], use["input"]) for use in uses]
        return Turn(text, calls, usage["inputTokens"], usage["outputTokens"], usage["totalTokens"])

    def answer(self, results):
        content = [{"toolResult": {"toolUseId": call.id, "content": [{"text": text}]}} for call, text in results]
        self.messages.append({"role": "user", "content": content})


def grow(blocks: dict, index: int, delta: dict):
    """Adds one delta of a Converse stream to its block."""
    if use := delta.get("toolUse"):
        blocks[index]["toolUse"]["input"] += use["input"]
    elif thought := delta.get("reasoningContent"):
        inner = blocks.setdefault(index, {"reasoningContent": {"reasoningText": {"text": ""}}})["reasoningContent"]
        if "redactedContent" in thought:
            blocks[index] = {"reasoningContent": {"redactedContent": thought["redactedContent"]}}
        elif "signature" in thought:
            inner["reasoningText"]["signature"] = thought["signature"]
        else:
            inner["reasoningText"]["text"] += thought["text"]
    else:
        blocks.setdefault(index, {"text": ""})["text"] += delta["text"]


# By client dialect.
SDKS = {
    "chat": [Chat],
    "responses": [Responses],
    "anthropic": [Messages],
    "gemini": [Contents, Chats],
    "bedrock": [Converse],
}

# What cannot work, with or without a gateway between.
SPLIT = "chats cuts parallel calls into contents of their own, which Gemini refuses (googleapis/go-genai#692)"
IMPOSSIBLE = {("Chats", "gemini"): SPLIT, ("Chats", "vertex-gemini"): SPLIT}


def asked(upstream: str) -> list[dict]:
    """The turns the provider saw; token requests left out."""
    with urllib.request.urlopen(f"{upstream}/__fake__/log", timeout=30) as answer:
        return [entry for entry in json.load(answer)["requests"] if "[[steps:" in json.dumps(entry["body"])]


def values(body, name: str) -> list:
    """All values of a member of this name, at any depth."""
    if isinstance(body, list):
        return [value for inner in body for value in values(inner, name)]
    if not isinstance(body, dict):
        return []
    own = [body[name]] if body.get(name) else []
    return own + [value for inner in body.values() for value in values(inner, name)]


def made(calls: list[Call]) -> list[list]:
    return [[call.name, call.arguments] for call in calls]


@pytest.mark.parametrize("sdk", [sdk for word in SDKS if word in CLIENTS for sdk in SDKS[word]])
def test_an_agent_loop_keeps_its_state_over_three_turns(sdk, group, gateway, upstream):
    if reason := IMPOSSIBLE.get((sdk.__name__, group)):
        pytest.skip(reason)
    urllib.request.urlopen(urllib.request.Request(f"{upstream}/__fake__/reset", method="POST"), timeout=30).close()
    loop = sdk(gateway, group)

    first = loop.ask()
    assert made(first.calls) == BOTH
    assert first.text == SAID
    loop.answer(zip(first.calls, RESULTS[:2], strict=True))
    second = loop.ask()
    assert made(second.calls) == ONE
    loop.answer(zip(second.calls, RESULTS[2:], strict=True))
    third = loop.ask()
    assert (third.calls, third.text) == ([], LAST)

    ids = [call.id for call in first.calls + second.calls if call.id]
    assert len(ids) == len(set(ids))
    turns = [first, second, third]
    assert all(turn.output > 0 and turn.total == turn.input + turn.output for turn in turns), turns
    assert first.input < second.input < third.input

    bodies = [entry["body"] for entry in asked(upstream)]
    assert len(bodies) == 3
    assert all(result in json.dumps(bodies[2]) for result in RESULTS)
    if member := SIGNED.get(group):
        for body in bodies[1:]:
            assert values(body, member), f"no {member} came back to the provider"
