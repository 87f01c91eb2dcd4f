//! Virtual keys. Source: compat, endpoints §2.1 and §3.1.
//!
//! Start at [`rules`]: who may do what to a key, and set which of its fields.

mod delete;
mod generate;
mod lifecycle;
mod list;
mod member;
pub(crate) mod policy;
pub(crate) mod rules;
mod update;

use faregate_store::{Filter, ListQuery, VirtualKey};
use serde_json::json;

use crate::columns;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Call, Route, route};

pub(crate) use delete::deleter;
pub(crate) use generate::{Owner, new_key, save, shown_once};

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
        generate::generate
    ),
    route!(
        "POST",
        &["/key/service-account/generate"],
        User,
        &[KEY, SHARED, columns::BUDGET],
        &[],
        "Create a key of a team, with no user",
        generate::generate_for_service
    ),
    route!(
        "POST",
        &["/key/update"],
        User,
        &[UPDATE, KEY_BUT_SECRET, SHARED, columns::BUDGET],
        &[],
        "Update a key",
        update::update
    ),
    route!(
        "POST",
        &["/key/bulk_update"],
        Admin,
        &[&[required("keys", Holds::List, "updates, each as of /key/update")]],
        &[],
        "Update many keys",
        update::bulk_update
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
        delete::delete
    ),
    route!(
        "GET",
        &["/key/info"],
        Key,
        &[],
        &[field("key", Holds::Text, "the key or its hash; the caller's own when absent")],
        "Details of a key",
        list::info
    ),
    route!(
        "POST",
        &["/v2/key/info"],
        Key,
        &[&[required("keys", Holds::Texts, "keys or hashes")]],
        &[],
        "Details of several keys",
        list::infos
    ),
    route!("GET", &["/key/list"], Key, &[], LIST, "Keys, page by page", list::list),
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
        list::aliases
    ),
    route!(
        "POST",
        &["/key/regenerate"],
        User,
        &[REGENERATE, KEY_BUT_SECRET, SHARED, columns::BUDGET],
        &[],
        "Give a key a new secret",
        lifecycle::regenerate
    ),
    route!(
        "POST",
        &["/key/{key}/regenerate"],
        User,
        &[REGENERATE, KEY_BUT_SECRET, SHARED, columns::BUDGET],
        &[],
        "Give a key a new secret",
        lifecycle::regenerate
    ),
    route!("POST", &["/key/block"], User, &[ONE_KEY], &[], "Block a key", lifecycle::block),
    route!("POST", &["/key/unblock"], User, &[ONE_KEY], &[], "Unblock a key", lifecycle::unblock),
    route!(
        "POST",
        &["/key/{key}/reset_spend"],
        User,
        &[&[required("reset_to", Holds::Number, "US dollars")]],
        &[],
        "Set the spend of a key",
        lifecycle::reset_spend
    ),
];

/// `key` names the key in [`REGENERATE`] and [`UPDATE`] already.
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
    field("expires", Holds::Text, "active or expired"),
    field("return_full_object", Holds::Flag, "rows instead of hashes"),
    field("include_team_keys", Holds::Flag, "keys of the caller's teams too"),
    field("include_created_by_keys", Holds::Flag, "keys the caller made too"),
    field("substring_matching", Holds::Flag, "key_alias may be a part"),
    field("sort_by", Holds::Text, "a column; created_at when absent"),
    field("sort_order", Holds::Text, "asc or desc"),
    field("expand", Holds::Texts, "user: rows with their user"),
];

/// The key with this secret or hash; 404 if there is none.
async fn find(call: &Call, key: &str) -> Result<VirtualKey, AdminError> {
    let hash = columns::hash_of(key);
    if let Some(found) = call.admin.store.get::<VirtualKey>(&[&hash]).await? {
        return Ok(found);
    }
    Err(AdminError::not_found(format!("Key not found in database: {}", columns::shown(key))).about("key"))
}

/// 400 if another key has this one's display name already.
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
