//! Virtual keys. Source: compat, endpoints §2.1 and §3.1.

use faregate_state::invalidate::Subject;
use faregate_store::{
    Budget, DeletedKey, Deleter, Filter, ListQuery, Order, Organization, Patch, Project, Rotation, Team, Usd,
    User, VirtualKey,
};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};

const TABLE: &str = "LiteLLM_VerificationToken";

/// Fields that are columns of the table.
pub(crate) const COLUMNS: &[&str] = &[
    "key_alias",
    "models",
    "max_budget",
    "user_id",
    "team_id",
    "agent_id",
    "project_id",
    "organization_id",
    "max_parallel_requests",
    "metadata",
    "tpm_limit",
    "rpm_limit",
    "tpd_limit",
    "budget_duration",
    "budget_limits",
    "allowed_cache_controls",
    "config",
    "permissions",
    "model_max_budget",
    "budget_fallbacks",
    "policies",
    "blocked",
    "aliases",
    "allowed_routes",
    "router_settings",
    "access_group_ids",
    "budget_id",
    "auto_rotate",
    "rotation_interval",
    "key_type",
    "spend",
];

/// Fields that LiteLLM keeps in `metadata`.
pub(crate) const IN_METADATA: &[&str] = &[
    "model_rpm_limit",
    "model_tpm_limit",
    "mcp_rpm_limit",
    "tag_rpm_limit",
    "guardrails",
    "prompts",
    "tags",
    "enforced_params",
    "end_user_budget_id",
    "disable_global_guardrails",
    "enable_prompt_caching",
    "throttle_on_budget_exceeded",
    "allowed_passthrough_routes",
    "denied_passthrough_routes",
    "allowed_vector_store_indexes",
    "rpm_limit_type",
    "tpm_limit_type",
    "default_estimated_output_tokens",
    "default_estimated_output_tokens_per_model",
    "temp_budget_increase",
    "temp_budget_expiry",
];

/// What keys and users share.
pub(crate) const SHARED: &[Field] = &[
    field("key_alias", Holds::Text, "display name; must be unique"),
    field("duration", Holds::Text, "how long the key lives, e.g. 30d; for ever when absent"),
    field("models", Holds::Texts, "names that may be used; empty allows all that team and user allow"),
    field("spend", Holds::Number, "US dollars spent already"),
    field("user_id", Holds::Text, "owner"),
    field("team_id", Holds::Text, "team the key belongs to"),
    field("agent_id", Holds::Text, "agent the key belongs to"),
    field("metadata", Holds::Object, "free object"),
    field("budget_limits", Holds::List, "several budgets: {budget_duration, max_budget}"),
    field("allowed_cache_controls", Holds::List, "cache controls the key may set"),
    field("config", Holds::Object, "settings of the key"),
    field("permissions", Holds::Object, "e.g. {\"get_spend_routes\": true}"),
    field("budget_fallbacks", Holds::Object, "model → models to use once its budget is spent"),
    field("model_rpm_limit", Holds::Object, "model → requests per minute"),
    field("model_tpm_limit", Holds::Object, "model → tokens per minute"),
    field("mcp_rpm_limit", Holds::Object, "MCP server → requests per minute"),
    field("tag_rpm_limit", Holds::Object, "tag → requests per minute"),
    field("guardrails", Holds::Texts, "guardrails that always run"),
    field("policies", Holds::Texts, "policies attached"),
    field("prompts", Holds::Texts, "prompt ids allowed"),
    field("blocked", Holds::Flag, "refuse every request"),
    field("aliases", Holds::Object, "name → model"),
    field("object_permission", Holds::Object, "MCP servers, vector stores and agents that may be used"),
    field("send_invite_email", Holds::Flag, "mail the key to its owner"),
];

const KEY: &[Field] = &[
    field("key", Holds::Text, "the key itself, starting with sk-; made up when absent"),
    field("budget_id", Holds::Text, "budget object the key shares"),
    field("end_user_budget_id", Holds::Text, "budget object of this key's end users"),
    field("tags", Holds::Texts, "tags of every request"),
    field("disable_global_guardrails", Holds::Flag, "skip global guardrails"),
    field("enable_prompt_caching", Holds::Flag, "put prompt-cache marks in"),
    field("throttle_on_budget_exceeded", Holds::Flag, "slow down instead of refusing"),
    field("enforced_params", Holds::Texts, "members every request must have"),
    field("allowed_routes", Holds::Texts, "paths, prefixes with *, or names of groups of routes"),
    field("allowed_passthrough_routes", Holds::List, "pass-through paths allowed"),
    field("denied_passthrough_routes", Holds::Texts, "pass-through paths denied"),
    field("allowed_vector_store_indexes", Holds::List, "indexes allowed"),
    field("rpm_limit_type", Holds::Text, "guaranteed_throughput, best_effort_throughput or dynamic"),
    field("tpm_limit_type", Holds::Text, "the same for tokens"),
    field("default_estimated_output_tokens", Holds::Int, "output expected of a request"),
    field("default_estimated_output_tokens_per_model", Holds::Object, "the same by model"),
    field("router_settings", Holds::Object, "router settings of this key"),
    field("access_group_ids", Holds::Texts, "access groups"),
    field("key_type", Holds::Text, "default, llm_api, management or read_only"),
    field("auto_rotate", Holds::Flag, "rotate by itself"),
    field("rotation_interval", Holds::Text, "how often; needed with auto_rotate"),
    field("organization_id", Holds::Text, "organization"),
    field("project_id", Holds::Text, "project"),
];

const UPDATE: &[Field] = &[
    required("key", Holds::Text, "the key or its hash"),
    field("temp_budget_increase", Holds::Number, "US dollars the budget is raised by for a time"),
    field("temp_budget_expiry", Holds::Text, "until when"),
];

const REGENERATE: &[Field] = &[
    field("key", Holds::Text, "the key or its hash"),
    field("new_key", Holds::Text, "the new secret; made up when absent"),
    field("new_master_key", Holds::Text, "not supported: set the master key in the configuration"),
    field("grace_period", Holds::Text, "how long the old secret still works, e.g. 24h"),
    field("temp_budget_increase", Holds::Number, "US dollars the budget is raised by for a time"),
    field("temp_budget_expiry", Holds::Text, "until when"),
];

const ONE_KEY: &[Field] = &[required("key", Holds::Text, "the key or its hash")];

pub(crate) const ROUTES: &[Route] = &[
    route!(
        "POST",
        &["/key/generate"],
        User,
        &[KEY, SHARED, columns::BUDGET],
        &[],
        "Create a virtual key",
        generate
    ),
    route!(
        "POST",
        &["/key/service-account/generate"],
        User,
        &[KEY, SHARED, columns::BUDGET],
        &[],
        "Create a key of a team, with no user",
        generate_for_service
    ),
    route!(
        "POST",
        &["/key/update"],
        User,
        &[UPDATE, KEY, SHARED, columns::BUDGET],
        &[],
        "Update a key",
        update
    ),
    route!(
        "POST",
        &["/key/bulk_update"],
        Admin,
        &[&[required("keys", Holds::List, "updates, each as of /key/update")]],
        &[],
        "Update many keys",
        bulk_update
    ),
    route!(
        "POST",
        &["/key/delete"],
        User,
        &[&[
            field("keys", Holds::Texts, "keys or hashes"),
            field("key_aliases", Holds::Texts, "display names")
        ]],
        &[],
        "Delete keys",
        delete
    ),
    route!(
        "GET",
        &["/key/info"],
        Key,
        &[],
        &[field("key", Holds::Text, "the key or its hash; the caller's own when absent")],
        "Details of a key",
        info
    ),
    route!(
        "POST",
        &["/v2/key/info"],
        Key,
        &[&[required("keys", Holds::Texts, "keys or hashes")]],
        &[],
        "Details of several keys",
        infos
    ),
    route!("GET", &["/key/list"], Key, &[], LIST, "Keys, page by page", list),
    route!(
        "GET",
        &["/key/aliases"],
        User,
        &[],
        &[
            field("page", Holds::Int, ""),
            field("size", Holds::Int, ""),
            field("search", Holds::Text, ""),
            field("team_id", Holds::Text, "")
        ],
        "Display names of keys",
        aliases
    ),
    route!(
        "POST",
        &["/key/regenerate"],
        User,
        &[REGENERATE, KEY_BUT_SECRET, SHARED, columns::BUDGET],
        &[],
        "Give a key a new secret",
        regenerate
    ),
    route!(
        "POST",
        &["/key/{key}/regenerate"],
        User,
        &[REGENERATE, KEY_BUT_SECRET, SHARED, columns::BUDGET],
        &[],
        "Give a key a new secret",
        regenerate
    ),
    route!("POST", &["/key/block"], User, &[ONE_KEY], &[], "Block a key", block),
    route!("POST", &["/key/unblock"], User, &[ONE_KEY], &[], "Unblock a key", unblock),
    route!(
        "POST",
        &["/key/{key}/reset_spend"],
        User,
        &[&[required("reset_to", Holds::Number, "US dollars")]],
        &[],
        "Set the spend of a key",
        reset_spend
    ),
    route!(
        "POST",
        &["/key/health"],
        Key,
        &[],
        &[],
        "Check the logging callbacks of the caller's key",
        health
    ),
];

/// `key` is in [`REGENERATE`] already.
const KEY_BUT_SECRET: &[Field] = match KEY {
    [_, rest @ ..] => rest,
    [] => &[],
};

const LIST: &[Field] = &[
    field("page", Holds::Int, "from 1"),
    field("size", Holds::Int, "10 when absent, 100 at most"),
    field("user_id", Holds::Text, ""),
    field("team_id", Holds::Text, ""),
    field("organization_id", Holds::Text, ""),
    field("project_id", Holds::Text, ""),
    field("agent_id", Holds::Text, ""),
    field("access_group_id", Holds::Text, ""),
    field("key_hash", Holds::Text, ""),
    field("key_alias", Holds::Text, ""),
    field("search", Holds::Text, "part of alias or hash"),
    field("status", Holds::Text, "active, expired, revoked or deleted"),
    field("return_full_object", Holds::Flag, "rows instead of hashes"),
    field("include_team_keys", Holds::Flag, "keys of the caller's teams too"),
    field("include_created_by_keys", Holds::Flag, "keys the caller made too"),
    field("substring_matching", Holds::Flag, "key_alias may be a part"),
    field("sort_by", Holds::Text, "a column; created_at when absent"),
    field("sort_order", Holds::Text, "asc or desc"),
    field("expand", Holds::Texts, "user: rows with their user"),
];

async fn generate(call: Call) -> Outcome {
    make(call, false).await
}

async fn generate_for_service(mut call: Call) -> Outcome {
    if call.text("team_id").is_none() {
        return Err(AdminError::invalid("team_id", "team_id is required for service account keys"));
    }
    call.body.remove("user_id");
    make(call, true).await
}

async fn make(call: Call, service: bool) -> Outcome {
    columns::not_negative(&call, &["max_budget", "soft_budget", "spend"])?;
    let (mut key, secret) = new_key(&call).await?;
    if service {
        let name = key.key_alias.clone().unwrap_or_else(|| key.token.clone());
        key.metadata["service_account_id"] = json!(name);
    } else if key.user_id.is_none() && !call.caller.is_master && call.text("team_id").is_none() {
        key.user_id = Some(call.caller.user_id().to_owned()).filter(|user| !user.is_empty());
    }
    save(&call, &key).await?;
    let stored = call.admin.store.get::<VirtualKey>(&[&key.token]).await?.unwrap_or_else(|| key.clone());
    let answer = shown_once(&stored, &secret);
    call.admin.audit(&call, "created", TABLE, &key.token, Value::Null, json_of(&key)).await;
    Ok(Answer::json(&answer))
}

/// The row of a new key and its secret, everything about it checked.
pub(crate) async fn new_key(call: &Call) -> Result<(VirtualKey, String), AdminError> {
    let secret = match call.text("key") {
        Some(given) if !given.starts_with("sk-") => {
            return Err(AdminError::invalid(
                "key",
                "Invalid key format. LiteLLM Virtual Key must start with 'sk-'",
            ));
        }
        Some(given) => given.to_owned(),
        None => columns::new_secret(),
    };
    let mut columns = Map::new();
    columns::take(&mut columns, &call.body, COLUMNS);
    columns::period(call, &mut columns)?;
    windows(call, &mut columns)?;
    let mut key: VirtualKey = columns::row(columns)?;
    columns::take_into(&mut key.metadata, &call.body, IN_METADATA);
    key.token = columns::hash_of(&secret);
    key.key_name = Some(columns::shown(&secret));
    key.created_by = Some(call.changed_by());
    key.updated_by = key.created_by.clone();
    key.key_alias = key.key_alias.filter(|alias| !alias.is_empty());
    if let Some(duration) = call.text("duration").filter(|duration| !duration.is_empty()) {
        key.expires = Some(columns::after("duration", duration, call.admin.now())?);
    }
    of_type(call, &mut key)?;
    rotation(call, &mut key)?;
    belongs(call, &key).await?;
    Ok((key, secret))
}

pub(crate) async fn save(call: &Call, key: &VirtualKey) -> Result<(), AdminError> {
    unique_alias(call, key).await?;
    let mut key = key.clone();
    if let Some(soft) = call.given("soft_budget").and_then(Value::as_f64).and_then(Usd::from_f64) {
        let budget = Budget {
            budget_id: uuid::Uuid::new_v4().to_string(),
            soft_budget: Some(soft),
            created_by: call.changed_by(),
            updated_by: call.changed_by(),
            ..Budget::default()
        };
        call.admin.store.insert(&budget, call.admin.now()).await?;
        key.budget_id = Some(budget.budget_id);
    }
    call.admin.store.insert(&key, call.admin.now()).await?;
    call.admin.changed(Subject::Key, &key.token);
    Ok(())
}

/// Everything about a key and, this once, the key.
pub(crate) fn shown_once(key: &VirtualKey, secret: &str) -> Value {
    let mut answer = json_of(key);
    if let Value::Object(map) = &mut answer {
        for name in IN_METADATA {
            if let Some(value) = key.metadata.get(name) {
                map.insert((*name).to_owned(), value.clone());
            }
        }
        map.insert("key".to_owned(), json!(secret));
        map.insert("token_id".to_owned(), json!(key.token));
        map.insert("litellm_budget_table".to_owned(), Value::Null);
    }
    answer
}

fn windows(call: &Call, columns: &mut Map<String, Value>) -> Result<(), AdminError> {
    let Some(Value::Array(given)) = call.given("budget_limits") else { return Ok(()) };
    let mut windows = given.clone();
    for window in &mut windows {
        let duration = window["budget_duration"].as_str().map(str::to_owned);
        let Some(duration) = duration.filter(|_| window["max_budget"].is_number()) else {
            return Err(AdminError::invalid(
                "budget_limits",
                "budget_limits: each entry needs budget_duration and max_budget",
            ));
        };
        window["reset_at"] = json!(call.admin.period_end("budget_limits", &duration)?);
    }
    columns.insert("budget_limits".to_owned(), Value::Array(windows));
    Ok(())
}

fn of_type(call: &Call, key: &mut VirtualKey) -> Result<(), AdminError> {
    let routes = match call.text("key_type") {
        None | Some("default") => return Ok(()),
        Some("llm_api") => "llm_api_routes",
        Some("management") => "management_routes",
        Some("read_only") => "info_routes",
        Some(other) => {
            return Err(AdminError::invalid(
                "key_type",
                format!("key_type: `{other}` is none of default, llm_api, management, read_only"),
            ));
        }
    };
    key.allowed_routes = vec![routes.to_owned()];
    Ok(())
}

fn rotation(call: &Call, key: &mut VirtualKey) -> Result<(), AdminError> {
    if key.auto_rotate != Some(true) {
        return Ok(());
    }
    let Some(interval) = call.text("rotation_interval") else {
        return Err(AdminError::invalid(
            "rotation_interval",
            "rotation_interval is required with auto_rotate",
        ));
    };
    key.key_rotation_at = Some(columns::after("rotation_interval", interval, call.admin.now())?);
    Ok(())
}

/// Team, user, organization and project must exist, and the caller must be allowed to give them keys.
async fn belongs(call: &Call, key: &VirtualKey) -> Result<(), AdminError> {
    let (store, caller) = (&call.admin.store, &call.caller);
    if let Some(id) = &key.team_id {
        let team = store.get::<Team>(&[id]).await?.ok_or_else(|| {
            AdminError::invalid(
                "team_id",
                format!("Unable to find team '{id}' in db. Create it via `/team/new`."),
            )
        })?;
        call.admin.may_see_team(caller, &team).await?;
        let beyond = |name: &'static str, own: Option<Usd>, most: Option<Usd>| match (own, most) {
            (Some(own), Some(most)) if own > most => Err(AdminError::invalid(
                name,
                format!("{name} of the key ({}) is more than the team's ({})", own.0, most.0),
            )),
            _ => Ok(()),
        };
        beyond("max_budget", key.max_budget, team.max_budget)?;
    }
    let other = key.user_id.as_deref().filter(|user| !user.is_empty() && *user != caller.user_id());
    if let (Some(other), false) = (other, caller.is_admin()) {
        let leads = match &key.team_id {
            Some(id) => {
                store.get::<Team>(&[id]).await?.is_some_and(|team| crate::access::leads_team(caller, &team))
            }
            None => false,
        };
        if !leads {
            return Err(AdminError::forbidden(format!(
                "User can only create keys for themselves. Got user_id={other}, your ID={}",
                caller.user_id()
            )));
        }
    }
    if let Some(id) = &key.organization_id
        && store.get::<Organization>(&[id]).await?.is_none()
    {
        return Err(AdminError::invalid("organization_id", format!("Organization '{id}' does not exist")));
    }
    if let Some(id) = &key.project_id
        && store.get::<Project>(&[id]).await?.is_none()
    {
        return Err(AdminError::invalid("project_id", format!("Project '{id}' does not exist")));
    }
    if let Some(id) = &key.budget_id
        && store.get::<Budget>(&[id]).await?.is_none()
    {
        return Err(AdminError::invalid(
            "budget_id",
            format!("Budget '{id}' does not exist. Create it via `/budget/new`."),
        ));
    }
    Ok(())
}

async fn unique_alias(call: &Call, key: &VirtualKey) -> Result<(), AdminError> {
    let Some(alias) = &key.key_alias else { return Ok(()) };
    let query = ListQuery::new()
        .filter(Filter::Is("key_alias", json!(alias)))
        .filter(Filter::Not("token", json!(key.token)))
        .page(1, 1);
    if call.admin.store.list::<VirtualKey>(&query).await?.total > 0 {
        return Err(AdminError::invalid(
            "key_alias",
            format!(
                "Key with alias '{alias}' already exists. Unique key aliases across all keys are required."
            ),
        ));
    }
    Ok(())
}

async fn find(call: &Call, key: &str) -> Result<VirtualKey, AdminError> {
    let hash = columns::hash_of(key);
    if let Some(found) = call.admin.store.get::<VirtualKey>(&[&hash]).await? {
        return Ok(found);
    }
    Err(AdminError::not_found(format!("Key not found in database: {}", columns::shown(key))).about("key"))
}

async fn update(call: Call) -> Outcome {
    let row = change(&call).await?;
    let mut answer = json_of(&row);
    answer["key"] = json!(row.token);
    Ok(Answer::json(&answer))
}

async fn change(call: &Call) -> Result<VirtualKey, AdminError> {
    columns::not_negative(call, &["max_budget", "soft_budget", "spend"])?;
    let key = find(call, call.text("key").unwrap_or_default()).await?;
    call.admin.may_change_key(&call.caller, &key).await?;
    let patch = changes(call, &key).await?;
    let now = call.admin.now();
    let row = call.admin.store.update::<VirtualKey>(&[&key.token], &columns::patch(patch), now).await?;
    let row = row.ok_or_else(|| AdminError::not_found("Key not found in database"))?;
    call.admin.changed(Subject::Key, &row.token);
    call.admin.audit(call, "updated", TABLE, &row.token, json_of(&key), json_of(&row)).await;
    Ok(row)
}

/// The columns that a body changes.
async fn changes(call: &Call, key: &VirtualKey) -> Result<Map<String, Value>, AdminError> {
    let mut patch = Map::new();
    columns::take(&mut patch, &call.body, COLUMNS);
    for list in ["models", "policies", "allowed_routes", "allowed_cache_controls", "access_group_ids"] {
        if patch.get(list).is_some_and(Value::is_null) {
            patch.insert(list.to_owned(), json!([]));
        }
    }
    columns::period(call, &mut patch)?;
    windows(call, &mut patch)?;
    let mut metadata = match call.body.get("metadata") {
        Some(Value::Object(given)) => Value::Object(given.clone()),
        Some(_) => json!({}),
        None => key.metadata.clone(),
    };
    columns::take_into(&mut metadata, &call.body, IN_METADATA);
    patch.insert("metadata".to_owned(), metadata);
    match call.body.get("duration") {
        None => {}
        Some(Value::String(duration)) if duration != "-1" && !duration.is_empty() => {
            patch
                .insert("expires".to_owned(), json!(columns::after("duration", duration, call.admin.now())?));
        }
        Some(_) => drop(patch.insert("expires".to_owned(), Value::Null)),
    }
    patch.insert("updated_by".to_owned(), json!(call.changed_by()));
    let mut merged = match json_of(key) {
        Value::Object(all) => all,
        _ => Map::new(),
    };
    merged.extend(patch.clone());
    let after: VirtualKey = columns::row(merged)?;
    let moved = |name: &str| call.given(name).is_some();
    if moved("team_id")
        || moved("user_id")
        || moved("organization_id")
        || moved("budget_id")
        || moved("max_budget")
    {
        belongs(call, &after).await?;
    }
    unique_alias(call, &after).await?;
    Ok(patch)
}

async fn bulk_update(call: Call) -> Outcome {
    let updates: Vec<Map<String, Value>> = call.form("keys")?.unwrap_or_default();
    let known: Vec<Field> = [UPDATE, KEY, SHARED, columns::BUDGET].into_iter().flatten().copied().collect();
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for given in updates {
        let name = given.get("key").cloned().unwrap_or_default();
        let outcome = match crate::fields::check("body", &known, given) {
            Ok(body) => change(&call.with_body(body)).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(row) => done.push(json!({ "key": row.token, "key_info": row })),
            Err(error) => failed.push(json!({ "key": name, "failed_reason": error.message })),
        }
    }
    Ok(Answer::json(&json!({
        "total_requested": done.len() + failed.len(),
        "successful_updates": done,
        "failed_updates": failed,
    })))
}

async fn delete(call: Call) -> Outcome {
    let mut rows = Vec::new();
    for key in call.texts("keys") {
        rows.push(find(&call, &key).await?);
    }
    let aliases = call.texts("key_aliases");
    if !aliases.is_empty() {
        let query =
            ListQuery::new().filter(Filter::In("key_alias", aliases.iter().map(|it| json!(it)).collect()));
        rows.extend(call.admin.store.list::<VirtualKey>(&query).await?.rows);
    }
    if rows.is_empty() {
        return Err(AdminError::invalid(
            "keys",
            "Name at least one key that exists, in `keys` or `key_aliases`",
        ));
    }
    for row in &rows {
        call.admin.may_change_key(&call.caller, row).await?;
    }
    let tokens: Vec<&str> = rows.iter().map(|row| row.token.as_str()).collect();
    let gone = call.admin.store.delete_keys(&tokens, &deleter(&call), call.admin.now()).await?;
    for row in &gone {
        call.admin.changed(Subject::Key, &row.token);
        call.admin.audit(&call, "deleted", TABLE, &row.token, json_of(row), Value::Null).await;
    }
    let given = call.texts("keys");
    let names = if given.is_empty() { gone.iter().map(|row| row.token.clone()).collect() } else { given };
    Ok(Answer::json(&json!({ "deleted_keys": names })))
}

/// Who deletes, for the copies that are kept.
pub(crate) fn deleter(call: &Call) -> Deleter {
    Deleter {
        user: Some(call.caller.user_id().to_owned()).filter(|user| !user.is_empty()),
        api_key: Some(call.caller.key_hash().to_owned()),
        changed_by: call.named_author(),
    }
}

async fn details(call: &Call, key: VirtualKey) -> Result<Value, AdminError> {
    let budget = match &key.budget_id {
        Some(id) => call.admin.store.get::<Budget>(&[id]).await?,
        None => None,
    };
    let mut info = json_of(&key);
    if let Value::Object(map) = &mut info {
        map.remove("token");
        map.insert("litellm_budget_table".to_owned(), json!(budget));
        map.insert("object_permission".to_owned(), Value::Null);
    }
    Ok(info)
}

async fn info(call: Call) -> Outcome {
    let asked = call.asked("key").unwrap_or_else(|| call.caller.key_hash()).to_owned();
    let key = find(&call, &asked).await?;
    call.admin.may_see_key(&call.caller, &key).await?;
    let info = details(&call, key).await?;
    Ok(Answer::json(&json!({ "key": asked, "info": info })))
}

async fn infos(call: Call) -> Outcome {
    let (mut found, mut infos) = (Vec::new(), Vec::new());
    for asked in call.texts("keys") {
        let Ok(key) = find(&call, &asked).await else { continue };
        if call.admin.may_see_key(&call.caller, &key).await.is_ok() {
            infos.push(details(&call, key).await?);
            found.push(asked);
        }
    }
    Ok(Answer::json(&json!({ "key": found, "info": infos })))
}

async fn list(call: Call) -> Outcome {
    let (page, size) = call.page("size", 10, 100);
    let mut query = ListQuery::new().page(page, size);
    for (name, column) in [
        ("user_id", "user_id"),
        ("team_id", "team_id"),
        ("organization_id", "organization_id"),
        ("project_id", "project_id"),
        ("agent_id", "agent_id"),
        ("key_hash", "token"),
    ] {
        if let Some(value) = call.asked(name) {
            query = query.filter(Filter::Is(column, json!(value)));
        }
    }
    if let Some(alias) = call.asked("key_alias") {
        query = query.filter(if call.flag("substring_matching") {
            Filter::Contains("key_alias", alias.to_owned())
        } else {
            Filter::Is("key_alias", json!(alias))
        });
    }
    if let Some(text) = call.asked("search") {
        query = query.filter(Filter::Any(vec![
            Filter::Contains("key_alias", text.to_owned()),
            Filter::Contains("token", text.to_owned()),
        ]));
    }
    if let Some(group) = call.asked("access_group_id") {
        query = query.filter(Filter::Holds("access_group_ids", group.to_owned()));
    }
    let now = json!(call.admin.now());
    query = match call.asked("status") {
        Some("active") => query
            .filter(Filter::Any(vec![Filter::Empty("expires"), Filter::AtLeast("expires", now)]))
            .filter(Filter::Not("blocked", json!(true))),
        Some("expired") => query.filter(Filter::Below("expires", now)),
        Some("revoked") => query.filter(Filter::Is("blocked", json!(true))),
        Some("deleted") => return deleted(&call, page, size).await,
        _ => query,
    };
    if !call.caller.sees_all() {
        query = query.filter(visible(&call).await?);
    }
    let sort = call.asked("sort_by").unwrap_or("created_at").to_owned();
    let order = if call.asked("sort_order") == Some("asc") { Order::Up } else { Order::Down };
    let found = call.admin.store.list::<VirtualKey>(&query.sort(&sort, order)).await?;
    let expand = call.query.get("expand").is_some_and(|value| value.to_string().contains("user"));
    let mut keys = Vec::new();
    for row in found.rows {
        if !expand && !call.flag("return_full_object") {
            keys.push(json!(row.token));
            continue;
        }
        let user = match &row.user_id {
            Some(id) if expand => call.admin.store.get::<User>(&[id]).await?,
            _ => None,
        };
        let mut row = json_of(&row);
        if let Some(user) = user {
            row["user"] = json!({ "user_id": user.user_id, "user_email": user.user_email, "user_alias": user.user_alias });
        }
        keys.push(row);
    }
    Ok(Answer::json(&json!({
        "keys": keys,
        "total_count": found.total,
        "current_page": page,
        "total_pages": found.total.div_ceil(size),
    })))
}

/// Keys that a caller without rights on all of them may see.
async fn visible(call: &Call) -> Result<Filter, AdminError> {
    let user = call.caller.user_id();
    let mut any = vec![Filter::Is("token", json!(call.caller.key_hash()))];
    if !user.is_empty() {
        any.push(Filter::Is("user_id", json!(user)));
        if call.flag("include_created_by_keys") {
            any.push(Filter::Is("created_by", json!(user)));
        }
    }
    let asked = call.asked("team_id");
    if asked.is_some() || call.flag("include_team_keys") {
        let teams = match call.admin.store.get::<User>(&[user]).await? {
            Some(user) => user.teams,
            None => Vec::new(),
        };
        for id in teams.iter().filter(|id| asked.is_none_or(|asked| asked == id.as_str())) {
            if let Some(team) = call.admin.store.get::<Team>(&[id]).await?
                && crate::access::leads_team(&call.caller, &team)
            {
                any.push(Filter::Is("team_id", json!(id)));
            }
        }
    }
    let organizations = call.admin.leads_organizations(&call.caller).await?;
    if !organizations.is_empty() {
        any.push(Filter::In("organization_id", organizations.iter().map(|id| json!(id)).collect()));
    }
    Ok(Filter::Any(any))
}

async fn deleted(call: &Call, page: u64, size: u64) -> Outcome {
    if !call.caller.sees_all() {
        return Err(AdminError::forbidden("Only proxy admins may see deleted keys"));
    }
    let query = ListQuery::new().page(page, size).sort("deleted_at", Order::Down);
    let found = call.admin.store.list::<DeletedKey>(&query).await?;
    Ok(Answer::json(&json!({
        "keys": found.rows,
        "total_count": found.total,
        "current_page": page,
        "total_pages": found.total.div_ceil(size),
    })))
}

async fn aliases(call: Call) -> Outcome {
    let (page, size) = call.page("size", 50, 500);
    let mut query =
        ListQuery::new().filter(Filter::Present("key_alias")).sort("key_alias", Order::Up).page(page, size);
    if let Some(text) = call.asked("search") {
        query = query.filter(Filter::Contains("key_alias", text.to_owned()));
    }
    if let Some(team) = call.asked("team_id") {
        query = query.filter(Filter::Is("team_id", json!(team)));
    }
    if !call.caller.sees_all() {
        query = query.filter(visible(&call).await?);
    }
    let found = call.admin.store.list::<VirtualKey>(&query).await?;
    let aliases: Vec<_> = found.rows.into_iter().filter_map(|row| row.key_alias).collect();
    Ok(Answer::json(&json!({
        "aliases": aliases,
        "total_count": found.total,
        "current_page": page,
        "total_pages": found.total.div_ceil(size),
        "size": size,
    })))
}

async fn regenerate(call: Call) -> Outcome {
    if call.given("new_master_key").is_some() {
        return Err(AdminError::new(
            501,
            "not_implemented_error",
            "The master key is set in the configuration (general_settings.master_key or LITELLM_MASTER_KEY); \
             re-encrypt stored secrets with `faregate rotate-salt`",
        ));
    }
    let named = call.path.get("key").map(String::as_str).or_else(|| call.text("key"));
    let named = named.ok_or_else(|| AdminError::invalid("key", "key: Field required"))?;
    let key = find(&call, named).await?;
    call.admin.may_change_key(&call.caller, &key).await?;
    let secret = match call.text("new_key") {
        Some(given) if !given.starts_with("sk-") => {
            return Err(AdminError::invalid("new_key", "new_key must start with 'sk-'"));
        }
        Some(given) => given.to_owned(),
        None => columns::new_secret(),
    };
    let now = call.admin.now();
    let grace = call.text("grace_period").filter(|text| !text.is_empty());
    let grace_until = grace.map(|text| columns::after("grace_period", text, now)).transpose()?;
    let mut patch = changes(&call, &key).await?;
    patch.insert("key_name".to_owned(), json!(columns::shown(&secret)));
    patch.insert("rotation_count".to_owned(), json!(key.rotation_count.unwrap_or_default() + 1));
    patch.insert("last_rotation_at".to_owned(), json!(now));
    let to = columns::hash_of(&secret);
    let rotation = Rotation { from: &key.token, to: &to, grace_until, patch: Patch::from(patch) };
    let row = call.admin.store.rotate_key(rotation, now).await?;
    let row = row.ok_or_else(|| AdminError::not_found("Key not found in database"))?;
    call.admin.changed(Subject::Key, &key.token);
    call.admin.changed(Subject::Key, &row.token);
    call.admin.audit(&call, "rotated", TABLE, &row.token, json_of(&key), json_of(&row)).await;
    Ok(Answer::json(&shown_once(&row, &secret)))
}

async fn block(call: Call) -> Outcome {
    set_blocked(call, true).await
}

async fn unblock(call: Call) -> Outcome {
    set_blocked(call, false).await
}

async fn set_blocked(call: Call, blocked: bool) -> Outcome {
    let key = find(&call, call.text("key").unwrap_or_default()).await?;
    if !call.caller.is_admin() {
        let team = match &key.team_id {
            Some(id) => call.admin.store.get::<Team>(&[id]).await?,
            None => None,
        };
        let leads = team.is_some_and(|team| crate::access::leads_team(&call.caller, &team));
        if !leads {
            return Err(AdminError::forbidden("Only proxy admins and admins of the key's team may block it"));
        }
    }
    let patch = Patch::new().set("blocked", blocked).set("updated_by", call.changed_by());
    let row = call.admin.store.update::<VirtualKey>(&[&key.token], &patch, call.admin.now()).await?;
    call.admin.changed(Subject::Key, &key.token);
    let action = if blocked { "blocked" } else { "updated" };
    call.admin.audit(&call, action, TABLE, &key.token, json_of(&key), json_of(&row)).await;
    Ok(Answer::json(&row))
}

async fn reset_spend(call: Call) -> Outcome {
    let key = find(&call, call.path.get("key").map(String::as_str).unwrap_or_default()).await?;
    call.admin.may_change_key(&call.caller, &key).await?;
    let to = call.given("reset_to").and_then(Value::as_f64).and_then(Usd::from_f64).unwrap_or_default();
    if to < Usd::default() || to > key.spend {
        return Err(AdminError::invalid("reset_to", "reset_to must lie between 0 and the spend of now"));
    }
    let mut metadata = key.metadata.clone();
    if !metadata.is_object() {
        metadata = json!({});
    }
    // Counters in memory start again from the new spend when they see this.
    metadata["faregate_spend_reset_at"] = json!(call.admin.now());
    let patch = Patch::new().set("spend", to).set("metadata", metadata);
    let row = call.admin.store.update::<VirtualKey>(&[&key.token], &patch, call.admin.now()).await?;
    let row = row.ok_or_else(|| AdminError::not_found("Key not found in database"))?;
    call.admin.changed(Subject::Key, &key.token);
    call.admin.audit(&call, "updated", TABLE, &key.token, json_of(&key), json_of(&row)).await;
    Ok(Answer::json(&json!({
        "key_hash": row.token,
        "spend": row.spend,
        "previous_spend": key.spend,
        "max_budget": row.max_budget,
        "budget_reset_at": row.budget_reset_at,
    })))
}

async fn health(call: Call) -> Outcome {
    let logging = call.caller.record.as_ref().map(|record| record.key.metadata["logging"].clone());
    let callbacks: Vec<Value> = logging
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|entry| entry["callback_name"].clone())
        .collect();
    let details = if callbacks.is_empty() {
        "No logging callbacks are configured on this key"
    } else {
        "Callbacks of single keys are not called yet"
    };
    Ok(Answer::json(&json!({
        "key": "healthy",
        "logging_callbacks": { "callbacks": callbacks, "status": "healthy", "details": details },
    })))
}
