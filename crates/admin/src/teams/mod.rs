//! Teams and their members. Source: compat, endpoints §2.2 and §3.2.
//!
//! Start at [`rules`]: who may set which field of a team.

mod bulk;
pub(crate) mod callbacks;
mod list;
mod members;
mod own;
pub(crate) mod rules;

use faregate_state::invalidate::Subject;
use faregate_store::ledger::Windowed;
use faregate_store::{Budget, ModelAliases, Patch, Team};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::access::Standing;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::keys::deleter;
use crate::keys::rules::MEMBER_PERMISSIONS;
use crate::login::SESSIONS_TEAM;
use crate::routes::{Answer, Call, Route, route};
use members::Named;

const TABLE: &str = "LiteLLM_TeamTable";

const COLUMNS: &[&str] = &[
    "team_alias",
    "organization_id",
    "admins",
    "members",
    "team_member_permissions",
    "metadata",
    "tpm_limit",
    "rpm_limit",
    "tpd_limit",
    "max_parallel_requests",
    "max_budget",
    "soft_budget",
    "budget_duration",
    "budget_limits",
    "models",
    "blocked",
    "router_settings",
    "access_group_ids",
    "default_team_member_models",
    "model_max_budget",
    "policies",
];

const IN_METADATA: &[&str] = &[
    "tags",
    "guardrails",
    "prompts",
    "allowed_passthrough_routes",
    "denied_passthrough_routes",
    "disable_global_guardrails",
    "secret_manager_settings",
    "model_rpm_limit",
    "model_tpm_limit",
    "rpm_limit_type",
    "tpm_limit_type",
    "mcp_rpm_limit",
    "default_estimated_output_tokens",
    "default_estimated_output_tokens_per_model",
    "team_member_key_duration",
    "allowed_vector_store_indexes",
    "enforced_batch_output_expires_after",
    "enforced_file_expires_after",
];

const TEAM: &[Field] = &[
    field("team_alias", Holds::Text, "display name"),
    field("organization_id", Holds::Text, "organization"),
    field("admins", Holds::Texts, "ids of administrators"),
    field("members", Holds::Texts, "ids of members"),
    field("members_with_roles", Holds::List, "[{user_id or user_email, role: admin or user}]"),
    field("team_member_permissions", Holds::Texts, "what plain members may do with keys"),
    field("metadata", Holds::Object, "free object"),
    field("models", Holds::Texts, "names that may be used; empty allows all"),
    field("blocked", Holds::Flag, "refuse every request"),
    field("budget_limits", Holds::List, "several budgets: {budget_duration, max_budget}"),
    field("router_settings", Holds::Object, "router settings of this team"),
    field("access_group_ids", Holds::Texts, "access groups"),
    field("default_team_member_models", Holds::Texts, "models of new members"),
    field("model_aliases", Holds::Object, "name → model"),
    field("tags", Holds::List, "tags of every request"),
    field("guardrails", Holds::Texts, "guardrails that always run"),
    field("policies", Holds::Texts, "policies attached"),
    field("prompts", Holds::Texts, "prompt ids allowed"),
    field("object_permission", Holds::Object, "MCP servers, vector stores and agents that may be used"),
    field("allowed_passthrough_routes", Holds::List, "pass-through paths allowed"),
    field("denied_passthrough_routes", Holds::Texts, "pass-through paths denied"),
    field("disable_global_guardrails", Holds::Flag, "skip global guardrails"),
    field("secret_manager_settings", Holds::Object, "where keys of this team are kept"),
    field("model_rpm_limit", Holds::Object, "model → requests per minute"),
    field("model_tpm_limit", Holds::Object, "model → tokens per minute"),
    field("rpm_limit_type", Holds::Text, "guaranteed_throughput or best_effort_throughput"),
    field("tpm_limit_type", Holds::Text, "the same for tokens"),
    field("mcp_rpm_limit", Holds::Object, "MCP server → requests per minute"),
    field("default_estimated_output_tokens", Holds::Int, "output expected of a request"),
    field("default_estimated_output_tokens_per_model", Holds::Object, "the same by model"),
    field("team_member_budget", Holds::Number, "US dollars of each member"),
    field("team_member_budget_duration", Holds::Text, "per so long"),
    field("team_member_rpm_limit", Holds::Int, "requests per minute of each member"),
    field("team_member_tpm_limit", Holds::Int, "tokens per minute of each member"),
    field("team_member_key_duration", Holds::Text, "how long keys of members live"),
    field("allowed_vector_store_indexes", Holds::List, "indexes allowed"),
    field("enforced_batch_output_expires_after", Holds::Object, "of batch output files"),
    field("enforced_file_expires_after", Holds::Object, "of files"),
];

const NEW_ID: &[Field] = &[field("team_id", Holds::Text, "made up when absent")];
const ID: &[Field] = &[required("team_id", Holds::Text, "the team")];
const ASKED_ID: &[Field] = &[required("team_id", Holds::Text, "the team")];

const MEMBER_ADD: &[Field] = &[
    required("team_id", Holds::Text, "the team"),
    field("member", Holds::Any, "{user_id or user_email, role}, or a list of such"),
    field("user_id", Holds::Text, "instead of member: one user"),
    field("user_email", Holds::Text, "instead of member: one user by address"),
    field("role", Holds::Text, "with user_id: admin, user or member"),
    field("max_budget_in_team", Holds::Number, "US dollars of these members"),
    field("budget_duration", Holds::Text, "per so long"),
    field("allowed_models", Holds::Texts, "models of these members"),
];

const BULK: &[Field] = &[
    required("team_id", Holds::Text, "the team"),
    field("members", Holds::List, "[{user_id or user_email, role}]"),
    field("all_users", Holds::Flag, "proxy admins: everybody there is"),
    field("max_budget_in_team", Holds::Number, "US dollars of each of them"),
    field("budget_duration", Holds::Text, "per so long"),
    field("allowed_models", Holds::Texts, "models of these members"),
];

const MEMBER: &[Field] = &[
    required("team_id", Holds::Text, "the team"),
    field("user_id", Holds::Text, "the member"),
    field("user_email", Holds::Text, "the member by address"),
];

const MEMBER_UPDATE: &[Field] = &[
    field("role", Holds::Text, "admin or user"),
    field("max_budget_in_team", Holds::Number, "US dollars"),
    field("budget_duration", Holds::Text, "per so long"),
    field("tpm_limit", Holds::Int, "tokens per minute"),
    field("rpm_limit", Holds::Int, "requests per minute"),
    field("allowed_models", Holds::Texts, "models"),
    field("temp_budget_increase", Holds::Number, "US dollars more for a time"),
    field("temp_budget_expiry", Holds::Text, "until when"),
];

const MODELS: &[Field] =
    &[required("team_id", Holds::Text, "the team"), required("models", Holds::Texts, "names")];

pub(crate) const ROUTES: &[Route] = &[
    route!("POST", &["/team/new"], Org, &[NEW_ID, TEAM, columns::BUDGET], &[], "Create a team", new),
    route!("POST", &["/team/update"], Key, &[ID, TEAM, columns::BUDGET], &[], "Update a team", update),
    route!(
        "PATCH",
        &["/team/{team_id}"],
        Key,
        &[TEAM, columns::BUDGET],
        &[],
        "Update parts of a team; members of metadata are merged, and null removes one",
        patch
    ),
    route!(
        "POST",
        &["/team/member_add", "/team/member/add"],
        Key,
        &[MEMBER_ADD],
        &[],
        "Add members; users that are not known are made",
        members::member_add
    ),
    route!(
        "GET",
        &["/team/{team_id}/members/me"],
        Key,
        &[],
        &[],
        "The caller's own membership of a team",
        own::me
    ),
    route!(
        "POST",
        &["/team/bulk_member_add"],
        Key,
        &[BULK],
        &[],
        "Add many members; each stands for itself",
        bulk::add
    ),
    route!(
        "POST",
        &["/team/member_delete", "/team/member/delete"],
        Key,
        &[MEMBER],
        &[],
        "Remove a member",
        members::member_delete
    ),
    route!(
        "POST",
        &["/team/member_update", "/team/member/update"],
        Key,
        &[MEMBER, MEMBER_UPDATE],
        &[],
        "Change role or budget of a member",
        members::member_update
    ),
    route!(
        "POST",
        &["/team/delete"],
        Org,
        &[&[required("team_ids", Holds::Texts, "the teams")]],
        &[],
        "Delete teams and their keys",
        delete
    ),
    route!("GET", &["/team/info"], Key, &[], ASKED_ID, "Details of a team, its keys and members", list::info),
    route!(
        "GET",
        &["/team/list"],
        Key,
        &[],
        &[field("user_id", Holds::Text, ""), field("organization_id", Holds::Text, "")],
        "All teams the caller may see",
        list::list
    ),
    route!("GET", &["/v2/team/list"], Key, &[], LIST, "Teams, page by page", list::page),
    route!("POST", &["/team/block"], Org, &[ID], &[], "Block a team", block),
    route!("POST", &["/team/unblock"], Org, &[ID], &[], "Unblock a team", unblock),
    route!("POST", &["/team/model/add"], Admin, &[MODELS], &[], "Add models to a team", model_add),
    route!("POST", &["/team/model/delete"], Admin, &[MODELS], &[], "Remove models from a team", model_delete),
    route!(
        "GET",
        &["/team/permissions_list"],
        Key,
        &[],
        ASKED_ID,
        "What plain members may do with keys",
        permissions
    ),
    route!(
        "POST",
        &["/team/permissions_update"],
        Key,
        &[&[
            required("team_id", Holds::Text, "the team"),
            required("team_member_permissions", Holds::Texts, "routes")
        ]],
        &[],
        "Set what plain members may do with keys",
        permissions_update
    ),
];

const LIST: &[Field] = &[
    field("user_id", Holds::Text, "teams of this user"),
    field("organization_id", Holds::Text, ""),
    field("team_id", Holds::Text, ""),
    field("team_alias", Holds::Text, "a part of it"),
    field("search", Holds::Text, "part of alias or id"),
    field("page", Holds::Int, "from 1"),
    field("page_size", Holds::Int, "10 when absent, 100 at most"),
    field("sort_by", Holds::Text, "a column"),
    field("sort_order", Holds::Text, "asc or desc"),
];

async fn found(call: &Call, id: &str) -> Result<Team, AdminError> {
    call.admin.row::<Team>(&[id], || format!("Team not found, passed team id: {id}.")).await
}

/// The columns that a body sets; `before` is `None` for a new team.
fn columns_of(call: &Call, before: Option<&Team>) -> Result<Map<String, Value>, AdminError> {
    columns::not_negative(call, &["max_budget", "soft_budget", "team_member_budget"])?;
    let mut columns = Map::new();
    columns::take(&mut columns, &call.body, COLUMNS);
    columns::no_empty_ids(&mut columns);
    columns::period(call, &mut columns)?;
    let windows = before.map(|team| &team.budget_limits).unwrap_or(&Value::Null);
    columns::windows(call, windows, &mut columns)?;
    let stored = before.map(|team| team.metadata.clone()).unwrap_or_default();
    let mut metadata = match call.body.get("metadata") {
        Some(Value::Object(given)) => Value::Object(given.clone()),
        _ => stored.clone(),
    };
    columns::take_into(&mut metadata, &call.body, IN_METADATA);
    columns::keep_internal(&mut metadata, &stored);
    callbacks::seal(call, &mut metadata)?;
    columns.insert("metadata".to_owned(), metadata);
    for list in ["models", "admins", "members", "policies", "access_group_ids"] {
        if columns.get(list).is_some_and(Value::is_null) {
            columns.insert(list.to_owned(), json!([]));
        }
    }
    known_permissions(call)?;
    Ok(columns)
}

/// 422 for a permission of members that nobody knows.
pub(crate) fn known_permissions(call: &Call) -> Result<(), AdminError> {
    for given in call.texts("team_member_permissions") {
        if !MEMBER_PERMISSIONS.contains(&given.as_str()) {
            return Err(AdminError::fields(vec![(
                vec!["body", "team_member_permissions"],
                "enum",
                format!("team_member_permissions: `{given}` is none of {}", MEMBER_PERMISSIONS.join(", ")),
            )]));
        }
    }
    Ok(())
}

/// What a new team gets that is not asked for. Its models are for teams that single sign-on makes.
const DEFAULTED: [&str; 6] =
    ["max_budget", "budget_duration", "tpm_limit", "rpm_limit", "team_member_permissions", "organization_id"];

fn fill_defaults(call: &mut Call) {
    let defaults = call.admin.snapshot.load().litellm.people.team.0.clone();
    for name in DEFAULTED {
        if let Some(default) = defaults.get(name).filter(|value| !value.is_null())
            && !call.body.contains_key(name)
        {
            call.body.insert(name.to_owned(), default.clone());
        }
    }
}

async fn new(mut call: Call) -> Outcome {
    fill_defaults(&mut call);
    let now = call.admin.now();
    let id = call.text("team_id").map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    if id == SESSIONS_TEAM {
        // Its admins would have the session of everybody who signs in.
        return Err(AdminError::invalid(
            "team_id",
            format!("team_id: {id} is the name of no team; use another"),
        ));
    }
    if call.admin.store.get::<Team>(&[&id]).await?.is_some() {
        return Err(AdminError::invalid(
            "team_id",
            format!("Team id = {id} already exists. Please use a different team id."),
        ));
    }
    let mut team: Team = columns::row(columns_of(&call, None)?)?;
    rules::check_organization(&call, None, &team).await?;
    // Who may make a team in this organization is its admin, as the check just said.
    let standing = if call.caller.is_admin() { Standing::ProxyAdmin } else { Standing::OrganizationAdmin };
    rules::check_fields(&call, standing, None, &team)?;
    let mut members: Vec<Named> = call.form("members_with_roles")?.unwrap_or_default();
    members::check(&call, &members).await?;
    team.team_id.clone_from(&id);
    team.model_id = aliases(&call).await?;
    if let Some(budget) = member_budget(&call)? {
        call.admin.store.insert(&budget, now).await?;
        team.metadata["team_member_budget_id"] = json!(budget.budget_id);
    }
    team.members_with_roles = json!([]);
    call.admin.store.insert(&team, now).await?;
    if !call.caller.is_master && !call.caller.user_id().is_empty() {
        let own = call.caller.user_id().to_owned();
        if !members.iter().any(|member| member.user_id.as_deref() == Some(&own)) {
            members.push(Named { user_id: Some(own), user_email: None, role: "admin".to_owned() });
        }
    }
    for member in &members {
        team = members::add(&call, &team, member, None).await?.0;
    }
    call.admin.changed(Subject::Team, &id);
    call.admin.audit(&call, "created", TABLE, &id, Value::Null, json_of(&team)).await;
    Ok(Answer::json(&found(&call, &id).await?))
}

/// Stores `model_aliases`, which live in a table of their own.
async fn aliases(call: &Call) -> Result<Option<i64>, AdminError> {
    let Some(aliases) = call.given("model_aliases") else { return Ok(None) };
    // The id has to be ours, as the row is referred to before it could be read back.
    let id = i64::from(uuid::Uuid::new_v4().as_fields().0 >> 1);
    let author = call.changed_by();
    let row = ModelAliases {
        id,
        aliases: aliases.clone(),
        created_by: author.clone(),
        updated_by: author,
        ..ModelAliases::default()
    };
    call.admin.store.insert(&row, call.admin.now()).await?;
    Ok(Some(id))
}

/// The budget that members share the form of, if the body has one.
fn member_budget(call: &Call) -> Result<Option<Budget>, AdminError> {
    let given = |name: &str| call.given(name).cloned();
    let fields = [
        ("max_budget", given("team_member_budget")),
        ("budget_duration", given("team_member_budget_duration")),
        ("rpm_limit", given("team_member_rpm_limit")),
        ("tpm_limit", given("team_member_tpm_limit")),
    ];
    if fields.iter().all(|(_, value)| value.is_none()) {
        return Ok(None);
    }
    let columns = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    made_budget(call, columns).map(Some)
}

fn made_budget(call: &Call, mut columns: Map<String, Value>) -> Result<Budget, AdminError> {
    if let Some(Value::String(duration)) = columns.get("budget_duration") {
        let ends = call.admin.period_end("budget_duration", duration)?;
        columns.insert("budget_reset_at".to_owned(), json!(ends));
    }
    let mut budget: Budget = columns::row(columns)?;
    budget.budget_id = uuid::Uuid::new_v4().to_string();
    budget.created_by = call.changed_by();
    budget.updated_by = call.changed_by();
    Ok(budget)
}

async fn update(call: Call) -> Outcome {
    let team = found(&call, call.text("team_id").unwrap_or_default()).await?;
    let row = change(&call, &team).await?;
    Ok(Answer::json(&json!({ "team_id": team.team_id, "data": row })))
}

/// As [`update`], but what is in `metadata` already stays. Source: compat, endpoints §3.2; RFC 7386.
async fn patch(mut call: Call) -> Outcome {
    let id = call.path.get("team_id").cloned().unwrap_or_default();
    let team = found(&call, &id).await?;
    if let Some(given) = call.body.get_mut("metadata").filter(|given| given.is_object()) {
        let mut metadata = team.metadata.clone();
        merge(&mut metadata, given.take());
        *given = metadata;
    }
    Ok(Answer::json(&change(&call, &team).await?))
}

/// RFC 7386, JSON Merge Patch. As deep as what was parsed, which is bounded.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(members) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(&name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// Changes a team as a body says, if the caller may.
async fn change(call: &Call, team: &Team) -> Result<Option<Team>, AdminError> {
    let standing = call.admin.must_lead_team(&call.caller, team).await?;
    let mut columns = columns_of(call, Some(team))?;
    // Members and what they may do have calls of their own. Source: compat, endpoints §3.2, "Not accepted".
    for name in ["admins", "members", "team_member_permissions"] {
        columns.remove(name);
    }
    if call.text("budget_duration") == team.budget_duration.as_deref() && standing == Standing::TeamAdmin {
        // Sent again it would begin a new period.
        columns.remove("budget_duration");
        columns.remove("budget_reset_at");
    }
    let mut merged = match json_of(team) {
        Value::Object(all) => all,
        _ => Map::new(),
    };
    merged.extend(columns.clone());
    let after: Team = columns::row(merged)?;
    rules::check_fields(call, standing, Some(team), &after)?;
    rules::check_organization(call, Some(team), &after).await?;
    if let Some(aliases) = aliases(call).await? {
        columns.insert("model_id".to_owned(), json!(aliases));
    }
    if let Some(budget) = member_budget(call)? {
        call.admin.store.insert(&budget, call.admin.now()).await?;
        columns["metadata"]["team_member_budget_id"] = json!(budget.budget_id);
    }
    let now = call.admin.now();
    let row = call.admin.store.update::<Team>(&[&team.team_id], &columns::patch(columns), now).await?;
    if let Some(row) = row.as_ref().filter(|_| call.body.contains_key("budget_limits")) {
        let durations = columns::durations(&row.budget_limits);
        call.admin.store.keep_windows(Windowed::Team, &row.team_id, &durations).await?;
    }
    call.admin.changed(Subject::Team, &team.team_id);
    call.admin.audit(call, "updated", TABLE, &team.team_id, json_of(team), json_of(&row)).await;
    Ok(row)
}

async fn delete(call: Call) -> Outcome {
    let ids = call.texts("team_ids");
    let mut teams = Vec::new();
    for id in &ids {
        let team = found(&call, id).await?;
        call.admin.may_change_team(&call.caller, &team).await?;
        teams.push(team);
    }
    for team in &teams {
        let keys = call.admin.store.delete_team(&team.team_id, &deleter(&call), call.admin.now()).await?;
        for key in keys.unwrap_or_default() {
            call.admin.changed(Subject::Key, &key);
        }
        call.admin.changed(Subject::Team, &team.team_id);
        call.admin.audit(&call, "deleted", TABLE, &team.team_id, json_of(team), Value::Null).await;
    }
    Ok(Answer::json(&json!({ "deleted_teams": ids })))
}

async fn block(call: Call) -> Outcome {
    set_blocked(call, true).await
}

async fn unblock(call: Call) -> Outcome {
    set_blocked(call, false).await
}

/// Blocks or unblocks a team. Its own admins cannot: the block may be an answer to what they do.
async fn set_blocked(call: Call, blocked: bool) -> Outcome {
    let team = found(&call, call.text("team_id").unwrap_or_default()).await?;
    if call.admin.standing(&call.caller, &team).await? < Standing::OrganizationAdmin {
        return Err(AdminError::forbidden(format!(
            "Only proxy admins and admins of the organization can block or unblock team_id={}",
            team.team_id
        )));
    }
    set(&call, team, Patch::new().set("blocked", blocked)).await
}

async fn set(call: &Call, team: Team, patch: Patch) -> Outcome {
    let row = call.admin.store.update::<Team>(&[&team.team_id], &patch, call.admin.now()).await?;
    call.admin.changed(Subject::Team, &team.team_id);
    call.admin.audit(call, "updated", TABLE, &team.team_id, json_of(&team), json_of(&row)).await;
    Ok(Answer::json(&row))
}

async fn model_add(call: Call) -> Outcome {
    let team = found(&call, call.text("team_id").unwrap_or_default()).await?;
    let mut models = team.models.clone();
    models.extend(call.texts("models").into_iter().filter(|model| !team.models.contains(model)));
    set(&call, team, Patch::new().set("models", models)).await
}

async fn model_delete(call: Call) -> Outcome {
    let team = found(&call, call.text("team_id").unwrap_or_default()).await?;
    let gone = call.texts("models");
    let models: Vec<String> = team.models.iter().filter(|model| !gone.contains(model)).cloned().collect();
    set(&call, team, Patch::new().set("models", models)).await
}

async fn permissions(call: Call) -> Outcome {
    let team = found(&call, call.asked("team_id").unwrap_or_default()).await?;
    call.admin.may_see_team(&call.caller, &team).await?;
    Ok(Answer::json(&json!({
        "team_id": team.team_id,
        "team_member_permissions": team.team_member_permissions,
        "all_available_permissions": MEMBER_PERMISSIONS,
    })))
}

async fn permissions_update(call: Call) -> Outcome {
    let team = found(&call, call.text("team_id").unwrap_or_default()).await?;
    call.admin.may_change_team(&call.caller, &team).await?;
    known_permissions(&call)?;
    let given = call.texts("team_member_permissions");
    set(&call, team, Patch::new().set("team_member_permissions", given)).await
}
