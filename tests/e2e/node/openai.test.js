import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { askLimit, askTools, echo, groups, key, needs, result, url, weather } from "./setup.js";

const client = new OpenAI({ apiKey: key, baseURL: `${url}/v1`, maxRetries: 0 });
const tools = [
  {
    type: "function",
    function: { name: weather.name, description: weather.description, parameters: weather.schema },
  },
];

for (const model of groups) {
  test(`openai chat answers (${model})`, async () => {
    const answer = await client.chat.completions.create({ model, messages: [{ role: "user", content: echo }] });
    assert.ok(answer.choices[0].message.content.includes(echo));
    assert.equal(answer.model, model);
  });

  test(`openai chat streams (${model})`, async () => {
    const stream = client.chat.completions.stream({ model, messages: [{ role: "user", content: echo }] });
    const final = await stream.finalChatCompletion();
    assert.ok(final.choices[0].message.content.includes(echo));
    assert.equal(final.choices[0].finish_reason, "stop");
  });

  test(`openai chat tool loop over a stream (${model})`, async () => {
    const messages = [{ role: "user", content: askTools }];
    const first = await client.chat.completions.stream({ model, messages, tools }).finalChatCompletion();
    const [call] = first.choices[0].message.tool_calls;
    assert.equal(call.function.name, weather.name);
    assert.equal(typeof JSON.parse(call.function.arguments).city, "string");
    const { role, content, tool_calls } = first.choices[0].message;
    messages.push({ role, content, tool_calls }, { role: "tool", tool_call_id: call.id, content: result });
    const second = await client.chat.completions.create({ model, messages, tools });
    assert.ok(second.choices[0].message.content.includes(result));
  });

  test(`openai responses stream (${model})`, needs("responses"), async () => {
    const final = await client.responses.stream({ model, input: echo }).finalResponse();
    assert.ok(final.output_text.includes(echo));
  });

  test(`openai sees a rate limit (${model})`, async () => {
    await assert.rejects(
      client.chat.completions.create({ model, messages: [{ role: "user", content: askLimit }] }),
      (error) => error instanceof OpenAI.RateLimitError && error.status === 429,
    );
  });
}
