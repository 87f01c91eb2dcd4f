// What the suites share: where the gateway is, what they ask, every model group.
export const url = process.env.GATEWAY_URL;
export const key = process.env.GATEWAY_KEY;

export const groups = process.env.GROUPS.split(",");
// Client dialects the gateway serves; a suite of another is skipped, visibly.
const clients = process.env.CLIENTS.split(",");
export const needs = (client) => ({ skip: clients.includes(client) ? false : `no ${client} yet` });

export const echo = "the quick brown fox 7391";
export const askTools = "[[fake: scenario=tools]] What is the weather in Paris?";
export const askJson = "[[fake: scenario=json]] Where?";
export const askLimit = "[[fake: status=429 retry_after=7]] Now.";
export const result = "21 degrees and 4417 clouds";

export const weather = {
  name: "get_weather",
  description: "The weather of a city",
  schema: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
    additionalProperties: false,
  },
};
