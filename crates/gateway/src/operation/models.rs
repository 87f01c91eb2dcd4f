//! Which models a caller may use. Source: compat, endpoints §3.7.

use http::Response;
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::Arrival;
use crate::gate::Table;
use crate::refusal::Refusal;
use crate::stage::deliver::answer_json;

/// LiteLLM's constant for `created`. Source: compat, `DEFAULT_MODEL_CREATED_AT_TIME`.
const CREATED: u64 = 1_677_610_602;

/// The list, in OpenAI's shape, or Anthropic's for callers that say they speak it.
pub fn list(table: &Table, arrival: &Arrival) -> Response<Body> {
    let with_wildcards = arrival
        .query
        .as_deref()
        .is_some_and(|query| query.split('&').any(|pair| pair == "return_wildcard_routes=true"));
    let names = names(table, with_wildcards);
    if arrival.headers.contains_key("anthropic-version") {
        let data: Vec<Value> = names
            .iter()
            .map(|name| {
                json!({
                    "type": "model", "id": name, "display_name": name, "created_at": "2023-02-28T18:56:42Z"
                })
            })
            .collect();
        return answer_json(&json!({
            "data": data,
            "has_more": false,
            "first_id": names.first(),
            "last_id": names.last(),
        }));
    }
    let data: Vec<Value> = names.iter().map(|name| openai_row(name)).collect();
    answer_json(&json!({ "object": "list", "data": data }))
}

/// One model.
///
/// # Errors
/// 404 if no deployment serves it.
pub fn one(table: &Table, arrival: &Arrival) -> Result<Response<Body>, Refusal> {
    let name = arrival.found.subject.clone().unwrap_or_default();
    if table.router.resolve(&name, table.prefixed(&name).as_deref()).is_err() {
        return Err(Refusal::NotFound(format!("The model `{name}` does not exist; see /v1/models")));
    }
    Ok(answer_json(&openai_row(&name)))
}

/// Public names and visible aliases. Wildcards stand for no callable model and are left out, or expanded
/// from the catalogue on request.
pub fn names(table: &Table, expand_wildcards: bool) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in table.router.names() {
        match name.as_str().strip_suffix('*') {
            None => names.push(name.to_string()),
            Some(prefix) if expand_wildcards && !prefix.is_empty() => {
                names.extend(table.catalog.keys().filter(|key| key.starts_with(prefix)).map(str::to_owned));
            }
            Some(_) if expand_wildcards => {}
            Some(_) => names.push(name.to_string()),
        }
    }
    let mut aliases: Vec<String> = table
        .router
        .aliases()
        .iter()
        .filter(|(_, alias)| !alias.hidden)
        .map(|(name, _)| name.clone())
        .collect();
    aliases.sort_unstable();
    for alias in aliases {
        if !names.contains(&alias) {
            names.push(alias);
        }
    }
    names
}

fn openai_row(name: &str) -> Value {
    json!({ "id": name, "object": "model", "created": CREATED, "owned_by": "openai" })
}
