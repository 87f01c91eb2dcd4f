// The management API with the types of its OpenAPI document: paths, bodies, queries and answers.
import createClient, { type Client } from "openapi-fetch";

import type { components, paths } from "./schema.js";

/** A row as the API answers it, e.g. `Row<"Key">`. */
export type Row<Name extends keyof components["schemas"]> = components["schemas"][Name];

export type Faregate = Client<paths>;

/** What a call that was refused answered. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly answer: unknown,
  ) {
    super(message(answer) ?? `the gateway answered ${status}`);
    this.name = "Refused";
  }
}

/** A client of the gateway at `baseUrl` that calls with `key`; a call that is refused throws {@link Refused}. */
export function faregate(baseUrl: string, key: string): Faregate {
  const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });
  client.use({
    async onResponse({ response }) {
      if (response.ok) return undefined;
      const text = await response.text();
      throw new Refused(response.status, parsed(text));
    },
  });
  return client;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The words of a refusal, in either of the forms the API has. */
function message(answer: unknown): string | undefined {
  if (typeof answer !== "object" || answer === null) return undefined;
  const { error, detail } = answer as { error?: { message?: unknown }; detail?: unknown };
  if (typeof error?.message === "string") return error.message;
  return detail === undefined ? undefined : typeof detail === "string" ? detail : JSON.stringify(detail);
}
