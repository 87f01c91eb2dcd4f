// Runs against a gateway: FAREGATE_URL and FAREGATE_KEY say which. That it compiles is half of the test.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Refused, type Row, faregate } from "../src/index.js";

const client = faregate(process.env.FAREGATE_URL ?? "http://127.0.0.1:4000", process.env.FAREGATE_KEY ?? "");

test("a key is made, found and deleted, with types from end to end", async () => {
  const { data: team } = await client.POST("/team/new", { body: { team_alias: "typed", max_budget: 5 } });
  assert.ok(team);
  const made = await client.POST("/key/generate", { body: { team_id: team.team_id, key_alias: "typed" } });
  const secret: string | undefined = made.data?.key;
  assert.match(secret ?? "", /^sk-/);

  const found = await client.GET("/team/info", { params: { query: { team_id: team.team_id } } });
  const keys: Row<"Key">[] = found.data?.keys ?? [];
  assert.deepEqual(keys.map((key) => key.key_alias), ["typed"]);
  const budget: number | null | undefined = found.data?.team_info.max_budget;
  assert.equal(budget, 5);

  const gone = await client.POST("/key/delete", { body: { key_aliases: ["typed"] } });
  assert.equal(gone.data?.deleted_keys.length, 1);
});

test("a refusal is thrown with its status and words", async () => {
  const call = client.GET("/budget/settings", { params: { query: { budget_id: "nobody" } } });
  await assert.rejects(call, (error) => error instanceof Refused && error.status === 404 && /nobody/.test(error.message));
});
