//! The response cache's own calls, for administrators. Source: compat, endpoints §3.9.

use bytes::Bytes;
use http::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use faregate_config::{CacheKind, CacheSettings, IndexKind};
use faregate_state::cache::CacheError;
use faregate_wire::dialect::BadRequest;

use crate::answers::Answers;
use crate::body::Body;
use crate::gate::{Gate, Table};
use crate::refusal::Refusal;
use crate::stage::deliver::answer_json;
use crate::stage::identify::Principal;

/// The cache, for those who may look after it.
///
/// # Errors
/// 401 for everybody else, 503 if the cache is off.
fn of<'a>(table: &'a Table, principal: &Principal) -> Result<&'a Answers, Refusal> {
    if !principal.is_admin() {
        return Err(Refusal::AdminOnly);
    }
    table.answers.as_deref().ok_or_else(|| {
        Refusal::CacheAway("Cache not initialized: set `litellm_settings.cache: true`".to_owned())
    })
}

fn away(gate: &Gate, answers: &Answers, error: &CacheError) -> Refusal {
    answers.failed(error, &gate.metrics);
    Refusal::CacheAway(format!("Service Unhealthy ({error})"))
}

/// `GET /cache/ping`: does it answer, and can it be written?
///
/// # Errors
/// 503 if not.
pub async fn ping(gate: &Gate, table: &Table, principal: &Principal) -> Result<Response<Body>, Refusal> {
    let answers = of(table, principal)?;
    answers.store().ping().await.map_err(|error| away(gate, answers, &error))?;
    if let Some(nearest) = &answers.nearest {
        nearest.ping().await.map_err(|error| away(gate, answers, &error))?;
    }
    let settings = shown(&answers.settings);
    Ok(answer_json(&json!({
        "status": "healthy",
        "cache_type": word(&answers.settings),
        "ping_response": true,
        "set_cache_response": "success",
        // LiteLLM sends these as a text of JSON.
        "litellm_cache_params": settings.to_string(),
        "health_check_cache_params": {},
    })))
}

/// `POST /cache/delete`: drops answers by the keys that `x-litellm-cache-key` named.
///
/// # Errors
/// 400 without keys, 503 if the cache does not answer.
pub async fn delete(
    gate: &Gate,
    table: &Table,
    principal: &Principal,
    body: &Bytes,
) -> Result<Response<Body>, Refusal> {
    #[derive(Deserialize)]
    struct Asked {
        keys: Vec<String>,
    }
    let answers = of(table, principal)?;
    let asked: Asked = serde_json::from_slice(body)
        .map_err(|_| BadRequest::new("keys", "`keys` must be a list of cache keys"))?;
    answers.store().delete(&asked.keys).await.map_err(|error| away(gate, answers, &error))?;
    Ok(answer_json(&json!({ "status": "success" })))
}

/// `POST /cache/flushall`: drops every answer, and nothing else that a Redis may hold.
///
/// # Errors
/// 503 if the cache does not answer.
pub async fn flush(gate: &Gate, table: &Table, principal: &Principal) -> Result<Response<Body>, Refusal> {
    let answers = of(table, principal)?;
    answers.store().flush().await.map_err(|error| away(gate, answers, &error))?;
    if let Some(nearest) = &answers.nearest {
        nearest.flush().await.map_err(|error| away(gate, answers, &error))?;
    }
    Ok(answer_json(&json!({ "status": "success" })))
}

/// `GET /cache/redis/info`: what the Redis behind the cache says of itself.
///
/// # Errors
/// 503 if there is none, or it does not answer.
pub async fn server(gate: &Gate, table: &Table, principal: &Principal) -> Result<Response<Body>, Refusal> {
    let answers = of(table, principal)?;
    let facts = answers.store().server().await.map_err(|error| away(gate, answers, &error))?;
    let Some(facts) = facts else {
        let kind = word(&answers.settings);
        return Err(Refusal::CacheAway(format!("Cache type {kind} does not support redis info")));
    };
    let unavailable = || vec!["CLIENT LIST command not available on this Redis instance".to_owned()];
    let count = facts.clients.as_ref().map_or(-1, |clients| i64::try_from(clients.len()).unwrap_or(i64::MAX));
    let clients: Vec<Value> = match facts.clients {
        Some(lines) => lines.iter().map(|line| Value::Object(members(line, ' ', '='))).collect(),
        None => unavailable().into_iter().map(Value::from).collect(),
    };
    let info = members(&facts.info, '\n', ':');
    Ok(answer_json(&json!({ "num_clients": count, "clients": clients, "info": info })))
}

/// `name=value` pairs as an object; what is no pair, such as a heading, is left out.
fn members(text: &str, between: char, within: char) -> Map<String, Value> {
    let pairs = text.split(between).map(str::trim).filter(|pair| !pair.starts_with('#'));
    let pairs = pairs.filter_map(|pair| pair.split_once(within));
    pairs.map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
}

/// The configuration's word.
pub(super) fn word(settings: &CacheSettings) -> &'static str {
    match (settings.semantic.as_ref().map(|semantic| semantic.index), settings.kind) {
        (Some(IndexKind::Memory), _) => "local-semantic",
        (Some(IndexKind::Redis), _) => "redis-semantic",
        (Some(IndexKind::Qdrant), _) => "qdrant-semantic",
        (Some(IndexKind::Postgres), _) => "pgvector-semantic",
        (None, Some(CacheKind::Memory)) => "local",
        (None, Some(CacheKind::Disk)) => "disk",
        (None, Some(CacheKind::Redis)) => "redis",
        (None, Some(CacheKind::S3)) => "s3",
        (None, Some(CacheKind::Gcs)) => "gcs",
        (None, Some(CacheKind::AzureBlob)) => "azure-blob",
        (None, None) => "none",
    }
}

/// Settings without anything secret.
fn shown(settings: &CacheSettings) -> Value {
    // As it was written: 0.9, not the nearest binary number.
    let threshold =
        settings.semantic.as_ref().and_then(|it| it.similarity_threshold.to_string().parse::<f64>().ok());
    json!({
        "type": word(settings),
        "mode": if settings.opt_in { "default_off" } else { "default_on" },
        "ttl": settings.ttl.map(|ttl| ttl.as_secs_f64()),
        "namespace": settings.namespace,
        "supported_call_types": settings.call_types,
        "max_bytes": settings.max_bytes,
        "similarity_threshold": threshold,
        "embedding_model": settings.semantic.as_ref().map(|semantic| &semantic.embedding_model),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_says_becomes_members() {
        let info = members("# Server\r\nredis_version:7.2.4\r\n\r\nuptime:1:2\r\n", '\n', ':');
        assert_eq!(Value::from(info), json!({"redis_version": "7.2.4", "uptime": "1:2"}));
        let client = members("id=3 addr=127.0.0.1:5 name=", ' ', '=');
        assert_eq!(Value::from(client), json!({"id": "3", "addr": "127.0.0.1:5", "name": ""}));
    }
}
