import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { askLimit, askTools, echo, groups, key, needs, result, url, weather } from "./setup.js";

const client = new Anthropic({ apiKey: key, baseURL: url, maxRetries: 0 });
const tools = [{ name: weather.name, description: weather.description, input_schema: weather.schema }];
const textOf = (message) => message.content.filter((b) => b.type === "text").map((b) => b.text).join("");

for (const model of groups) {
  test(`anthropic answers (${model})`, needs("anthropic"), async () => {
    const message = await client.messages.create({
      model,
      max_tokens: 200,
      messages: [{ role: "user", content: echo }],
    });
    assert.ok(textOf(message).includes(echo));
    assert.equal(message.stop_reason, "end_turn");
  });

  test(`anthropic tool loop over a stream (${model})`, needs("anthropic"), async () => {
    const messages = [{ role: "user", content: askTools }];
    const first = await client.messages.stream({ model, max_tokens: 200, messages, tools }).finalMessage();
    const use = first.content.find((block) => block.type === "tool_use");
    assert.equal(use.name, weather.name);
    assert.equal(typeof use.input.city, "string");
    messages.push(
      { role: "assistant", content: first.content },
      { role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: result }] },
    );
    const second = await client.messages.stream({ model, max_tokens: 200, messages, tools }).finalMessage();
    assert.ok(textOf(second).includes(result));
  });

  test(`anthropic sees a rate limit (${model})`, needs("anthropic"), async () => {
    await assert.rejects(
      client.messages.create({ model, max_tokens: 16, messages: [{ role: "user", content: askLimit }] }),
      (error) => error instanceof Anthropic.RateLimitError && error.status === 429,
    );
  });
}
