import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "ai";
import { askJson, askTools, echo, groups, key, needs, result, url, weather } from "./setup.js";

const provider = createOpenAI({ apiKey: key, baseURL: `${url}/v1` });
// The SDK's two OpenAI transports: chat completions and responses.
const transports = { chat: (group) => provider.chat(group), responses: (group) => provider.responses(group) };
const tools = {
  [weather.name]: tool({
    description: weather.description,
    inputSchema: jsonSchema(weather.schema),
    execute: async () => result,
  }),
};

for (const [transport, make] of Object.entries(transports)) {
  for (const group of groups) {
    test(`ai sdk generates text (${transport}, ${group})`, needs(transport), async () => {
      const { text, usage } = await generateText({ model: make(group), prompt: echo, maxRetries: 0 });
      assert.ok(text.includes(echo));
      assert.ok(usage.outputTokens > 0);
    });

    test(`ai sdk streams text (${transport}, ${group})`, needs(transport), async () => {
      const stream = streamText({ model: make(group), prompt: echo, maxRetries: 0 });
      let text = "";
      for await (const delta of stream.textStream) text += delta;
      assert.ok(text.includes(echo));
      assert.equal(await stream.finishReason, "stop");
    });

    test(`ai sdk runs a tool to the end (${transport}, ${group})`, needs(transport), async () => {
      const { text, steps } = await generateText({
        model: make(group),
        prompt: askTools,
        tools,
        stopWhen: stepCountIs(4),
        maxRetries: 0,
      });
      assert.equal(steps[0].toolCalls[0].toolName, weather.name);
      assert.ok(text.includes(result));
    });
  }

  test(`ai sdk makes an object (${transport})`, needs(transport), async () => {
    const schema = jsonSchema({
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
      additionalProperties: false,
    });
    const { output } = await generateText({
      model: make("openai"),
      prompt: askJson,
      output: Output.object({ schema }),
      maxRetries: 0,
    });
    assert.equal(typeof output.city, "string");
  });
}
