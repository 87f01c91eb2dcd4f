//! Which models a caller may use. Source: compat, endpoints §3.7.

use http::Response;
use serde_json::{Value, json};

use faregate_router::Team;

use crate::body::Body;
use crate::call::Arrival;
use crate::gate::{Gate, Table};
use crate::operation::info;
use crate::refusal::Refusal;
use crate::stage::access;
use crate::stage::deliver::answer_json;
use crate::stage::identify::Principal;
use crate::stage::plan::team;

/// LiteLLM's constant for `created`. Source: compat, `DEFAULT_MODEL_CREATED_AT_TIME`.
const CREATED: u64 = 1_677_610_602;

/// The list, in OpenAI's shape, or Anthropic's for callers that say they speak it.
pub fn list(gate: &Gate, table: &Table, principal: &Principal, arrival: &Arrival) -> Response<Body> {
    let with_wildcards = arrival
        .query
        .as_deref()
        .is_some_and(|query| query.split('&').any(|pair| pair == "return_wildcard_routes=true"));
    let mut names = names(table, with_wildcards);
    let team = team(principal);
    names.extend(table.router.names_of(team).map(str::to_owned));
    names.retain(|name| access::sees(table, principal, name) && serves(table, name, team));
    if info::healthy_only(table, arrival) {
        names.retain(|name| !gate.services.checkups.is_down(table, name));
    }
    if arrival.headers.contains_key("anthropic-version") {
        let data: Vec<Value> = names
            .iter()
            .map(|name| {
                let facts = Facts::of(table, name);
                json!({
                    "type": "model", "id": name, "display_name": name, "created_at": "2023-02-28T18:56:42Z",
                    "max_input_tokens": facts.max_input, "max_tokens": facts.max_output,
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
    let data: Vec<Value> = names.iter().map(|name| openai_row(table, name)).collect();
    answer_json(&json!({ "object": "list", "data": data }))
}

/// One model.
///
/// # Errors
/// 404 if no deployment serves it.
pub fn one(table: &Table, principal: &Principal, arrival: &Arrival) -> Result<Response<Body>, Refusal> {
    let name = arrival.found.subject.clone().unwrap_or_default();
    let known = serves(table, &name, team(principal));
    if !known || !access::sees(table, principal, &name) {
        return Err(Refusal::NotFound(format!("The model `{name}` does not exist; see /v1/models")));
    }
    Ok(answer_json(&openai_row(table, &name)))
}

/// True if a name leads to a deployment that `team` may use. Names of the catalogue that a wildcard was
/// expanded to lead to the wildcard's.
fn serves(table: &Table, name: &str, team: Team<'_>) -> bool {
    if table.auto_router(name).is_some() {
        return true;
    }
    let found = table.router.resolve(name, table.prefixed(name).as_deref(), team);
    found.is_ok_and(|found| table.router.is_for(&found, team))
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
    names.extend(table.auto_routers.keys().cloned());
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

/// What the catalogue or the configuration says of a name, as far as the list shows it.
#[derive(Default)]
struct Facts {
    mode: Option<Value>,
    max_input: Option<Value>,
    max_output: Option<Value>,
}

impl Facts {
    /// Those of the name's first deployment, or of the catalogue's entry a wildcard was expanded from.
    fn of(table: &Table, name: &str) -> Self {
        let members = match table.router.resolve(name, table.prefixed(name).as_deref(), Team::Any) {
            Ok(found) => found.members,
            Err(_) => return Self::default(),
        };
        let own = members.first().map(|&index| &table.deployments[index]);
        let facts = match own {
            Some(deployment) if !deployment.upstream_model.contains('*') => info::facts(table, deployment),
            _ => table.catalog.entry(name).map(|info| info::listed(&info)).unwrap_or_default(),
        };
        let known = |key: &str| facts.get(key).filter(|value| !value.is_null()).cloned();
        Self {
            mode: known("mode"),
            max_input: known("max_input_tokens"),
            max_output: known("max_output_tokens"),
        }
    }
}

fn openai_row(table: &Table, name: &str) -> Value {
    let facts = Facts::of(table, name);
    let mut row = json!({ "id": name, "object": "model", "created": CREATED, "owned_by": "openai" });
    for (key, value) in
        [("mode", facts.mode), ("max_input_tokens", facts.max_input), ("max_output_tokens", facts.max_output)]
    {
        if let Some(value) = value {
            row[key] = value;
        }
    }
    row
}
