//! Cache settings that are stored: one row, every text in it sealed. Source: compat, endpoints §2.13.
//!
//! Secrets never leave: a page sends back a mark where it was shown one, which stands for what is stored. A stored
//! secret belongs to the server it was stored with, and is used for no other, or whoever may try settings could have
//! it sent anywhere.

use std::sync::Arc;
use std::time::Duration;

use faregate_config::{Env, Key, KeyStatus, Stored, known_keys};
use faregate_state::clock::SystemClock;
use faregate_state::invalidate::Subject;
use faregate_state::nearest::{RedisIndex, VectorIndex};
use faregate_state::redis::{Redis, RedisSettings};
use faregate_store::CacheConfig;
use faregate_terms::Secret;
use serde_json::{Map, Value, json};

use crate::error::AdminError;
use crate::fields::{Field, Holds, required};
use crate::routes::{Answer, Call, Route, route};
use crate::{Admin, Outcome, routing, settings};

const TABLE: &str = "LiteLLM_CacheConfig";
const ROW: &str = "cache_config";
/// In place of a secret. Source: LiteLLM.
const MARK: &str = "***REDACTED***";
/// What a try may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Which server a secret belongs to.
const TARGETS: &[&str] = &[
    "type",
    "host",
    "port",
    "redis_startup_nodes",
    "sentinel_nodes",
    "service_name",
    "s3_endpoint_url",
    "s3_bucket_name",
    "qdrant_api_base",
];
/// What a `url` says already.
const OF_URL: &[&str] = &["host", "port", "db", "password", "username"];
/// Settings of a Redis and their variables.
const VARIABLES: &[(&str, &str)] = &[
    ("url", "REDIS_URL"),
    ("host", "REDIS_HOST"),
    ("port", "REDIS_PORT"),
    ("username", "REDIS_USERNAME"),
    ("password", "REDIS_PASSWORD"),
    ("db", "REDIS_DB"),
    ("ssl", "REDIS_SSL"),
];
const KINDS: &[(&str, &str)] = &[
    ("node", "one server, with replicas or without"),
    ("cluster", "a cluster, found by its startup nodes"),
    ("semantic", "answers found by what a question means"),
];

const BODY: &[Field] = &[required("cache_settings", Holds::Object, "members of `cache_params`")];

pub(crate) const ROUTES: &[Route] = &[
    route!("GET", &["/cache/settings"], Admin, &[], &[], "Cache settings, as a form", get),
    route!("POST", &["/cache/settings"], Admin, &[BODY], &[], "Store cache settings, and serve them", save),
    route!("POST", &["/cache/settings/test"], Admin, &[BODY], &[], "Try cache settings", attempt),
];

/// Opened settings as `cache_params` of a file; what only the UI knows is left out.
pub(crate) fn as_params(settings: &Value) -> Map<String, Value> {
    let members = settings.as_object().into_iter().flatten();
    let ours = members.filter(|(name, value)| *name != "redis_type" && !value.is_null());
    ours.map(|(name, value)| (name.clone(), value.clone())).collect()
}

async fn get(call: Call) -> Outcome {
    let stored = stored(&call.admin).await?;
    let env = call.admin.snapshot.load().env.clone();
    let mut values = without_doubles(with_environment(stored, &env));
    if values.get("type").is_some_and(|kind| kind == "redis") {
        let kind = if is_set(values.get("redis_startup_nodes")) { "cluster" } else { "node" };
        values.insert("redis_type".to_owned(), json!(kind));
    }
    let values = masked(&values);
    let fields: Vec<Value> = keys().map(|key| described(key, values.get(key.name))).collect();
    let kinds: Map<String, Value> =
        KINDS.iter().map(|(name, doc)| ((*name).to_owned(), json!(doc))).collect();
    Ok(Answer::json(&json!({
        "fields": fields, "current_values": values, "redis_type_descriptions": kinds,
    })))
}

async fn save(call: Call) -> Outcome {
    call.admin.stores_models()?;
    let before = stored(&call.admin).await?;
    let after = without_doubles(merged(given(&call), &before));
    let mut candidate = Stored::default();
    let litellm = json!({"cache": true, "cache_params": as_params(&json!(after))});
    candidate.sections.insert("litellm_settings".to_owned(), litellm);
    settings::checked(&call, &candidate)?;
    let row = CacheConfig {
        id: Some(ROW.to_owned()),
        cache_settings: call.admin.sealed(json!(after))?,
        ..CacheConfig::default()
    };
    call.admin.store.put(&row, call.admin.now()).await?;
    call.admin.changed(Subject::Settings, ROW);
    let action = if before.is_empty() { "created" } else { "updated" };
    call.admin.audit(&call, action, TABLE, ROW, names(&before), names(&after)).await;
    call.admin.apply().await;
    Ok(Answer::json(&json!({
        "message": "Cache settings updated successfully", "status": "success", "settings": masked(&after),
    })))
}

/// Tries the server that the settings name; stores nothing.
async fn attempt(call: Call) -> Outcome {
    let stored = stored(&call.admin).await.unwrap_or_default();
    let env = call.admin.snapshot.load().env.clone();
    let settings = without_doubles(with_environment(merged(given(&call), &stored), &env));
    let failed = |message: String, error: Option<String>| {
        Ok(Answer::json(&json!({ "status": "failed", "message": message, "error": error })))
    };
    let kind = settings.get("type").and_then(Value::as_str).unwrap_or("redis");
    let searches = match kind {
        "redis" => false,
        "redis-semantic" | "valkey-semantic" => true,
        _ => {
            let message = "Only Redis cache type is currently supported for testing";
            return failed(message.to_owned(), None);
        }
    };
    match reach(&settings, searches).await {
        Ok(()) => Ok(Answer::json(
            &json!({ "status": "success", "message": "Redis connection test successful", "error": null }),
        )),
        Err(error) => failed(format!("Redis connection failed: {error}"), Some(error)),
    }
}

async fn reach(settings: &Map<String, Value>, searches: bool) -> Result<(), String> {
    let redis = Redis::new(&redis_settings(settings), "faregate").map_err(|error| error.to_string())?;
    redis.ping(PATIENCE).await.map_err(|error| error.to_string())?;
    if searches {
        let index = RedisIndex::new(&redis, "test", PATIENCE, Arc::new(SystemClock::new()));
        index.ping().await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn redis_settings(settings: &Map<String, Value>) -> RedisSettings {
    let text = |name: &str| settings.get(name).and_then(text_of);
    let number = |value: Option<&Value>| value.and_then(text_of).and_then(|text| text.parse::<u16>().ok());
    let port = number(settings.get("port")).unwrap_or(6379);
    let nodes: Vec<(String, u16)> = settings
        .get("redis_startup_nodes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|node| Some((text_of(&node["host"])?, number(node.get("port")).unwrap_or(6379))))
        .collect();
    RedisSettings {
        url: text("url").map(Secret::from),
        cluster: !nodes.is_empty(),
        hosts: if nodes.is_empty() {
            text("host").map(|host| (host, port)).into_iter().collect()
        } else {
            nodes
        },
        username: text("username"),
        password: text("password").map(Secret::from),
        db: text("db").and_then(|db| db.parse().ok()).unwrap_or_default(),
        ssl: text("ssl").is_some_and(|ssl| ssl == "true" || ssl == "True" || ssl == "1"),
        ..RedisSettings::default()
    }
}

/// A text that is there, also of a number or a flag.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// The stored settings, opened.
async fn stored(admin: &Admin) -> Result<Map<String, Value>, AdminError> {
    let Some(row) = admin.store.get::<CacheConfig>(&[ROW]).await? else { return Ok(Map::new()) };
    let opened = admin.opened(row.cache_settings)?;
    Ok(opened.as_object().cloned().unwrap_or_default())
}

fn given(call: &Call) -> Map<String, Value> {
    call.given("cache_settings").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Secrets that were left out, or sent back as they were shown, are those that are stored, for the same server.
fn merged(mut given: Map<String, Value>, stored: &Map<String, Value>) -> Map<String, Value> {
    let is_same = TARGETS.iter().filter(|name| is_set(stored.get(**name))).all(|name| {
        let (old, new) = (stored.get(*name), given.get(*name));
        old == new || (old.and_then(text_of).is_some() && old.and_then(text_of) == new.and_then(text_of))
    });
    let marked = given.iter().filter(|(_, value)| *value == MARK).map(|(name, _)| name.clone());
    let left_out = stored.keys().filter(|name| is_secret(name) && !given.contains_key(*name)).cloned();
    let secrets: Vec<String> = marked.chain(left_out).collect();
    let elsewhere =
        ["host", "redis_startup_nodes", "sentinel_nodes"].iter().any(|name| is_set(given.get(*name)));
    for name in secrets {
        match stored.get(&name) {
            // A URL is a server, too; naming one in other words leaves it.
            Some(value) if is_same && !(name == "url" && elsewhere) => given.insert(name, value.clone()),
            _ => given.remove(&name),
        };
    }
    given
}

/// A `url` wins over what it says already, but for a cluster.
fn without_doubles(mut settings: Map<String, Value>) -> Map<String, Value> {
    let url = settings.get("url").and_then(Value::as_str).is_some_and(|url| !url.trim().is_empty());
    if url && !is_set(settings.get("redis_startup_nodes")) {
        settings.retain(|name, _| !OF_URL.contains(&name.as_str()));
    }
    settings
}

/// What is left to the environment, as the cache takes it.
fn with_environment(mut settings: Map<String, Value>, env: &Env) -> Map<String, Value> {
    let kind = settings.get("type").and_then(Value::as_str);
    if !matches!(kind, None | Some("redis" | "redis-semantic" | "valkey-semantic")) {
        return settings;
    }
    let names_server = ["url", "host", "redis_startup_nodes"].iter().any(|name| is_set(settings.get(*name)));
    let mut found = false;
    for (name, variable) in VARIABLES {
        // A server that is named has nothing to do with the environment's.
        if names_server && *name != "password" && *name != "ssl" {
            continue;
        }
        if let (Some(value), false) = (env.filled(variable), settings.contains_key(*name)) {
            settings.insert((*name).to_owned(), json!(value));
            found = true;
        }
    }
    if found {
        settings.entry("type").or_insert_with(|| json!("redis"));
    }
    settings
}

fn is_set(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.trim().is_empty() && text != MARK,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    }
}

fn is_secret(name: &str) -> bool {
    name == "url" || name.split('_').any(|word| matches!(word, "password" | "secret" | "token" | "key"))
}

fn masked(settings: &Map<String, Value>) -> Map<String, Value> {
    let shown = |(name, value): (&String, &Value)| {
        let hide = is_secret(name) && !value.is_null();
        (name.clone(), if hide { json!(MARK) } else { value.clone() })
    };
    settings.iter().map(shown).collect()
}

/// For the audit log: which settings, not what they are.
fn names(settings: &Map<String, Value>) -> Value {
    json!({ "settings": settings.keys().map(|name| (name.clone(), json!(MARK))).collect::<Map<_, _>>() })
}

/// Settings that do something here.
fn keys() -> impl Iterator<Item = &'static Key> {
    known_keys("cache_params").filter(|key| key.status == KeyStatus::Honoured && !key.name.contains('*'))
}

fn described(key: &Key, value: Option<&Value>) -> Value {
    let mut shown = routing::described(key, value);
    shown["redis_type"] = match key.name {
        "redis_startup_nodes" => json!("cluster"),
        name if name.contains("semantic") || name == "similarity_threshold" => json!("semantic"),
        _ => Value::Null,
    };
    shown["options"] = match key.name {
        "mode" => json!(["default_on", "default_off"]),
        "semantic_cache_scope" => json!(["key", "end_user"]),
        _ => Value::Null,
    };
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_stored_secret_is_used_for_its_own_server_only() {
        let stored = map(json!({"type": "redis", "host": "one", "port": 6379, "password": "p"}));
        for (given, expected) in [
            (json!({"type": "redis", "host": "one", "port": "6379"}), Some("p")),
            (json!({"type": "redis", "host": "one", "port": 6379, "password": MARK}), Some("p")),
            (json!({"type": "redis", "host": "one", "port": 6379, "password": "new"}), Some("new")),
            (json!({"type": "redis", "host": "one", "port": 6379, "password": ""}), Some("")),
            (json!({"type": "redis", "host": "two", "port": 6379, "password": MARK}), None),
            (json!({"type": "redis", "port": 6379}), None),
            (json!({"type": "redis", "host": "one", "port": 6380}), None),
            (json!({"type": "s3", "s3_bucket_name": "b"}), None),
        ] {
            let merged = merged(map(given.clone()), &stored);
            assert_eq!(merged.get("password").and_then(Value::as_str), expected, "{given}");
        }
        let stored = map(json!({"type": "redis", "url": "redis://:p@one"}));
        let kept = merged(map(json!({"type": "redis", "ttl": 5})), &stored);
        assert_eq!(kept["url"], "redis://:p@one");
        let moved = merged(map(json!({"type": "redis", "host": "two", "url": MARK})), &stored);
        assert_eq!(moved.get("url"), None, "a server named in other words leaves the URL");
    }

    #[test]
    fn whatever_is_secret_is_masked() {
        let shown = masked(&map(json!({
            "url": "redis://:p@h", "password": "p", "qdrant_api_key": "k", "s3_aws_session_token": "t",
            "s3_aws_secret_access_key": "s", "host": "h", "semantic_cache_embedding_max_input_tokens": 5,
        })));
        let open: Vec<&String> =
            shown.iter().filter(|(_, value)| *value != MARK).map(|(name, _)| name).collect();
        assert_eq!(open, ["host", "semantic_cache_embedding_max_input_tokens"]);
    }
}
