"""The commands and queries of LiteLLM's guides, as they are printed there."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from openai import OpenAI

from conftest import Gateway, clean_env, serving
from databases import Postgres, SqliteFile, postgres

KEY_WITH_TEAM = """
curl -X POST http://localhost:4000/key/generate \\
  -H "Authorization: Bearer $LITELLM_MASTER_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "key_alias": "frontend-app",
    "models": ["gpt-4o", "claude-sonnet-4"],
    "max_budget": 100.0,
    "budget_duration": "30d",
    "rpm_limit": 100,
    "tpm_limit": 100000,
    "team_id": "team-engineering",
    "metadata": {
      "environment": "production",
      "app": "chat-widget"
    }
  }'
"""

KEY_FOR_30_DAYS = """
curl -X POST http://localhost:4000/key/generate \\
  -H "Authorization: Bearer $LITELLM_MASTER_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "team_id": "engineering-team",
    "max_budget": 500,
    "models": ["gpt-4-production"],
    "duration": "30d"
  }'
"""

TEAM = """
curl -X POST http://localhost:4000/team/new \\
  -H "Authorization: Bearer $LITELLM_MASTER_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "team_alias": "engineering",
    "models": ["gpt-4o", "claude-sonnet-4"],
    "max_budget": 1000.0,
    "budget_duration": "30d",
    "rpm_limit": 500,
    "tpm_limit": 500000
  }'
"""

MEMBER = """
curl -X POST http://localhost:4000/team/member/add \\
  -H "Authorization: Bearer $LITELLM_MASTER_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "team_id": "team-123",
    "user_id": "user@example.com",
    "role": "member"
  }'
"""

KEY_LIMITS = """
curl -X POST http://localhost:4000/key/generate \\
  -H "Authorization: Bearer $LITELLM_MASTER_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "rpm_limit": 100,
    "tpm_limit": 100000,
    "max_parallel_requests": 10
  }'
"""

BLOCK_KEY = """
curl -X POST http://localhost:4000/key/block \\
  -H "Authorization: Bearer $LITELLM_MASTER_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"key": "sk-litellm-compromised"}'
"""

BLOCK_TEAM = """
curl -X POST http://localhost:4000/team/block \\
  -H "Authorization: Bearer $LITELLM_MASTER_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"team_id": "team-123"}'
"""

EXPORT = """
curl http://localhost:4000/user/user@example.com \\
  -H "Authorization: Bearer $LITELLM_MASTER_KEY"
"""

FORGET = """
curl -X DELETE http://localhost:4000/user/delete \\
  -H "Authorization: Bearer $LITELLM_MASTER_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"user_id": "user@example.com"}'
"""

AUDIT_TRAIL = """
SELECT
  updated_at,
  changed_by,
  action,
  table_name,
  object_id,
  before_value,
  updated_values
FROM "LiteLLM_AuditLog"
ORDER BY updated_at DESC;
"""

TRACE = """
SELECT
  request_id,
  model,
  "user",
  spend,
  "startTime",
  messages
FROM "LiteLLM_SpendLogs"
WHERE api_key = ?
ORDER BY "startTime" DESC;
"""


class Plane:
    """A gateway with a database of its own."""

    def __init__(self, gateway: Gateway, database: SqliteFile | Postgres):
        self.gateway = gateway
        self.rows = database.query

    def shell(self, command: str) -> dict:
        """Runs a command of a guide; only the address is another."""
        command = command.replace("http://localhost:4000", self.gateway.url).replace("curl ", "curl -sS ", 1)
        env = clean_env(LITELLM_MASTER_KEY=self.gateway.key)
        done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, timeout=30, check=True)
        return json.loads(done.stdout)

    def post(self, path: str, body: dict) -> dict:
        return self.shell(
            f"""curl -X POST http://localhost:4000{path} -H "Authorization: Bearer $LITELLM_MASTER_KEY" """
            f"""-H "Content-Type: application/json" -d '{json.dumps(body)}'"""
        )

    def logged(self, token: str, count: int) -> list[dict]:
        """The request log of a key, once it has this many rows."""
        deadline = time.monotonic() + 15
        while len(rows := self.rows(TRACE, token)) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return rows


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def plane(request, upstream: str, tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("seeds")
    settings = {"store_audit_logs": True}
    if request.param == "sqlite":
        for gateway in serving(upstream, folder, litellm_settings=settings):
            yield Plane(gateway, SqliteFile(folder / "data" / "faregate.db"))
        return
    with postgres() as database:
        general = {"database_url": database.url}
        for gateway in serving(upstream, folder, litellm_settings=settings, general_settings=general):
            yield Plane(gateway, database)


def test_teams_and_keys_are_made_as_the_guides_say(plane: Plane):
    assert "team-engineering" in plane.shell(KEY_WITH_TEAM)["error"]["message"], "a team has to be there first"
    for team in ("team-engineering", "engineering-team", "team-123"):
        plane.post("/team/new", {"team_id": team})
    key = plane.shell(KEY_WITH_TEAM)
    assert key["key"].startswith("sk-")
    assert (key["max_budget"], key["budget_duration"], key["expires"]) == (100.0, "30d", None)
    assert key["models"] == ["gpt-4o", "claude-sonnet-4"]
    assert key["metadata"] == {"environment": "production", "app": "chat-widget"}
    assert plane.shell(KEY_FOR_30_DAYS)["expires"] is not None
    team = plane.shell(TEAM)
    assert (team["team_alias"], team["max_budget"], team["rpm_limit"]) == ("engineering", 1000.0, 500)
    limits = plane.shell(KEY_LIMITS)
    assert (limits["rpm_limit"], limits["tpm_limit"], limits["max_parallel_requests"]) == (100, 100000, 10)
    stored = plane.rows('SELECT token FROM "LiteLLM_VerificationToken" WHERE key_alias = ?', "frontend-app")
    assert stored == [{"token": key["token"]}]
    assert key["key"] not in str(stored), "only the hash is stored"


def test_members_come_in_both_forms_and_data_is_exported_and_forgotten(plane: Plane):
    member = plane.shell(MEMBER)
    assert [one["user_id"] for one in member["members_with_roles"]] == ["user@example.com"]
    other = plane.post("/team/member_add", {"team_id": "team-123", "member": {"user_id": "second", "role": "admin"}})
    assert len(other["members_with_roles"]) == 2
    key = plane.post("/key/generate", {"user_id": "user@example.com"})
    client = OpenAI(base_url=f"{plane.gateway.url}/v1", api_key=key["key"])
    model = client.models.list().data[0].id
    client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
    assert [row["user"] for row in plane.logged(key["token"], 1)] == ["user@example.com"]

    export = plane.shell(EXPORT)
    assert export["user"]["user_id"] == "user@example.com"
    assert len(export["keys"]) == 1 and len(export["requests"]) == 1
    forgotten = plane.shell(FORGET)
    assert forgotten["deleted_users"] == ["user@example.com"]
    names = plane.rows('SELECT "user" FROM "LiteLLM_SpendLogs" WHERE api_key = ?', key["token"])
    assert all(row["user"] != "user@example.com" for row in names), "the log keeps its sums, not the name"
    assert plane.rows('SELECT token FROM "LiteLLM_VerificationToken" WHERE user_id = ?', "user@example.com") == []


def test_a_compromised_key_is_blocked_traced_and_audited(plane: Plane):
    key = plane.post("/key/generate", {"key": "sk-litellm-compromised"})
    client = OpenAI(base_url=f"{plane.gateway.url}/v1", api_key=key["key"], max_retries=0)
    model = client.models.list().data[0].id
    for _ in range(3):
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
    assert plane.shell(BLOCK_KEY)["blocked"] is True
    with pytest.raises(Exception, match="Key is blocked"):
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
    rows = plane.logged(key["token"], 3)
    assert len({row["request_id"] for row in rows}) == 3
    assert all(row["spend"] > 0 for row in rows)
    total = plane.rows('SELECT spend FROM "LiteLLM_VerificationToken" WHERE token = ?', key["token"])[0]["spend"]
    assert total == pytest.approx(sum(row["spend"] for row in rows), abs=1e-12)

    assert plane.shell(BLOCK_TEAM)["blocked"] is True
    of_team = plane.post("/key/generate", {"team_id": "team-123"})
    blocked = OpenAI(base_url=f"{plane.gateway.url}/v1", api_key=of_team["key"], max_retries=0)
    with pytest.raises(Exception, match="is blocked"):
        blocked.models.list()

    trail = plane.rows(AUDIT_TRAIL)
    actions = [(row["action"], row["table_name"]) for row in trail]
    assert ("blocked", "LiteLLM_VerificationToken") in actions
    assert ("updated", "LiteLLM_TeamTable") in actions
    assert not any("sk-litellm-compromised" in str(row) for row in trail), "no key is written down"


def test_a_spent_budget_is_refused_once_and_not_tried_again(plane: Plane):
    key = plane.post("/key/generate", {"max_budget": 0.0000001})
    client = OpenAI(base_url=f"{plane.gateway.url}/v1", api_key=key["key"], max_retries=5)
    model = client.models.list().data[0].id
    client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(Exception) as refused:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
    error = refused.value
    assert error.status_code == 422 and error.body["type"] == "budget_exceeded", error
    assert "Budget has been exceeded! Key=" in error.body["message"]
    assert len(plane.logged(key["token"], 2)) == 2, "one answer, and one refusal: the SDK did not try again"


def test_rates_are_refused_with_when_to_come_back(plane: Plane):
    key = plane.post("/key/generate", {"rpm_limit": 2})
    client = OpenAI(base_url=f"{plane.gateway.url}/v1", api_key=key["key"], max_retries=0)
    model = client.models.list().data[0].id
    for left in ("1", "0"):
        raw = client.chat.completions.with_raw_response.create(model=model, messages=[{"role": "user", "content": "hi"}])
        assert raw.headers["x-ratelimit-api_key-remaining-requests"] == left
        assert raw.headers["x-litellm-key-rpm-limit"] == "2"
    with pytest.raises(Exception) as refused:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
    response = refused.value.response
    assert response.status_code == 429
    assert 0 < int(response.headers["retry-after"]) <= 60
    assert response.headers["rate_limit_type"] == "requests"
    assert "reset_at" in response.headers
