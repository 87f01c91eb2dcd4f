//! Custom pass-through routes. Source: compat, endpoints §2.14, and LiteLLM's `pass_through_endpoints.py`.
//!
//! They are kept as LiteLLM keeps them, in the open among the stored general settings, so that either can take over
//! from the other; what is shown and written to the audit log holds no header. Those of the configuration are shown
//! beside them and cannot be changed here.

use faregate_config::{PassThroughEndpoint, Stored};
use faregate_store::Team;
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns::masked;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};
use crate::settings;
use crate::stored::masked_members;

const PLACE: &[Field] = &[
    required("path", Holds::Text, "the route, /mine"),
    required("target", Holds::Text, "the URL that requests are sent to"),
];
const PLACE_CHANGED: &[Field] = &[
    field("path", Holds::Text, "the route, /mine"),
    field("target", Holds::Text, "the URL that requests are sent to"),
];
const ENDPOINT: &[Field] = &[
    field("id", Holds::Text, "made up when absent"),
    field("headers", Holds::Object, "headers that are added; what was shown masked stays as it is"),
    field("default_query_params", Holds::Object, "parameters that are added"),
    field("include_subpath", Holds::Flag, "paths below it as well"),
    field("cost_per_request", Holds::Number, "US dollars"),
    field("timeout", Holds::Number, "seconds"),
    field("auth", Holds::Flag, "ask for a key"),
    field("guardrails", Holds::Object, "guardrails that run; none do yet"),
    field("methods", Holds::Texts, "HTTP methods; all when absent"),
    field("forward_headers", Holds::Flag, "the client's headers go on, but for credentials"),
    field("merge_query_params", Holds::Flag, "the client's parameters join the target's"),
    field("custom_auth_parser", Holds::Text, "langfuse: the key is the user of Basic authentication"),
];
const ONE: &[Field] = &[field("endpoint_id", Holds::Text, "one of them")];
const NAMED: &[Field] = &[required("endpoint_id", Holds::Text, "which")];

pub(crate) const ROUTES: &[Route] = &[
    route!("GET", &["/config/pass_through_endpoint"], Admin, &[], ONE, "Custom pass-through routes", list),
    route!(
        "GET",
        &["/config/pass_through_endpoint/team/{team_id}"],
        Admin,
        &[],
        ONE,
        "Those of them that a team may use",
        of_team
    ),
    route!(
        "POST",
        &["/config/pass_through_endpoint"],
        Admin,
        &[PLACE, ENDPOINT],
        &[],
        "Store a custom pass-through route",
        create
    ),
    route!(
        "POST",
        &["/config/pass_through_endpoint/{endpoint_id}"],
        Admin,
        &[PLACE_CHANGED, ENDPOINT],
        &[],
        "Change a stored custom pass-through route",
        update
    ),
    route!(
        "DELETE",
        &["/config/pass_through_endpoint"],
        Admin,
        &[],
        NAMED,
        "Forget a custom pass-through route",
        delete
    ),
];

const SECTION: &str = "general_settings";
const SETTING: &str = "pass_through_endpoints";
/// What routes take that name none. Source: LiteLLM's `add_exact_path_route`.
const USUAL_METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "PATCH"];

async fn stored(call: &Call) -> Result<Vec<Value>, AdminError> {
    let section = settings::section(call, SECTION).await?;
    Ok(section.get(SETTING).and_then(Value::as_array).cloned().unwrap_or_default())
}

/// What a route has that says nothing. Source: LiteLLM's `PassThroughGenericEndpoint`.
fn defaults() -> Map<String, Value> {
    let defaults = json!({
        "id": null, "headers": {}, "default_query_params": {}, "include_subpath": false, "cost_per_request": 0.0,
        "timeout": null, "auth": true, "guardrails": null, "methods": null,
    });
    defaults.as_object().cloned().unwrap_or_default()
}

/// One as it is shown: with LiteLLM's defaults, and without what its headers say.
fn shown(endpoint: &Value) -> Value {
    let mut all = defaults();
    all.insert("is_from_config".to_owned(), json!(false));
    all.extend(endpoint.as_object().cloned().unwrap_or_default());
    let mut shown = Value::Object(all);
    shown["headers"] = masked_members(&shown["headers"]);
    masked(shown)
}

/// One of the configuration, in the form of a stored one.
fn of_file(endpoint: &PassThroughEndpoint) -> Value {
    let pairs = |pairs: &[(String, faregate_terms::Secret)]| -> Map<String, Value> {
        pairs.iter().map(|(name, value)| (name.clone(), json!(value.expose()))).collect()
    };
    let mut headers = pairs(&endpoint.headers);
    if let Some(name) = &endpoint.key_header {
        headers.insert("litellm_user_api_key".to_owned(), json!(name));
    }
    // What comes from the environment is nobody's to read here.
    let target = match endpoint.target.expose().split_once('?') {
        Some((place, _)) => format!("{place}?****"),
        None => endpoint.target.expose().to_owned(),
    };
    json!({
        "id": endpoint.id,
        "path": endpoint.path,
        "target": target,
        "headers": headers,
        // As secret as headers, since nobody knows which of them is a key.
        "default_query_params": masked_members(&Value::Object(pairs(&endpoint.default_query))),
        "include_subpath": endpoint.include_subpath,
        "cost_per_request": endpoint.cost_per_request.to_f64(),
        "timeout": endpoint.timeout.as_secs_f64(),
        "auth": !endpoint.is_public,
        "methods": endpoint.methods.iter().map(|method| method.name()).collect::<Vec<_>>(),
        "is_from_config": true,
    })
}

/// Those of the configuration that no stored one stands in for.
fn of_config(call: &Call) -> Vec<Value> {
    let snapshot = call.admin.snapshot.load();
    let endpoints = &snapshot.general.pass_through.endpoints;
    endpoints.iter().filter(|endpoint| !endpoint.is_stored()).map(of_file).collect()
}

fn answer(endpoints: &[Value]) -> Outcome {
    Ok(Answer::json(&json!({ "endpoints": endpoints.iter().map(shown).collect::<Vec<_>>() })))
}

async fn asked(call: &Call) -> Result<Vec<Value>, AdminError> {
    let stored = stored(call).await?;
    let mut endpoints = of_config(call);
    endpoints.retain(|one| !stored.iter().any(|other| other["path"] == one["path"]));
    endpoints.extend(stored);
    if let Some(id) = call.asked("endpoint_id") {
        endpoints.retain(|endpoint| endpoint["id"] == id);
    }
    Ok(endpoints)
}

async fn list(call: Call) -> Outcome {
    answer(&asked(&call).await?)
}

async fn of_team(call: Call) -> Outcome {
    let id = call.path.get("team_id").map(String::as_str).unwrap_or_default();
    let team: Team = call.admin.row(&[id], || "Team not found".to_owned()).await?;
    let routes = |name: &str| team.metadata[name].as_array().cloned();
    let (allowed, denied) = (routes("allowed_passthrough_routes"), routes("denied_passthrough_routes"));
    let mut endpoints = asked(&call).await?;
    endpoints.retain(|endpoint| {
        let path = &endpoint["path"];
        let is_open = endpoint["auth"] == false;
        allowed.as_ref().is_none_or(|allowed| allowed.contains(path))
            && (is_open || denied.as_ref().is_none_or(|denied| !denied.contains(path)))
    });
    answer(&endpoints)
}

/// The members that a call gives a value to.
fn given(call: &Call) -> impl Iterator<Item = (String, Value)> {
    let given = call.body.iter().filter(|(_, value)| !value.is_null());
    given.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>().into_iter()
}

async fn create(call: Call) -> Outcome {
    call.admin.stores_models()?;
    let mut endpoints = stored(&call).await?;
    let mut endpoint = defaults();
    endpoint.extend(given(&call));
    if endpoint["id"].is_null() {
        endpoint.insert("id".to_owned(), json!(uuid::Uuid::new_v4().to_string()));
    }
    let endpoint = Value::Object(endpoint);
    if endpoints.iter().chain(&of_config(&call)).any(|other| other["id"] == endpoint["id"]) {
        let text = format!("A pass-through endpoint with ID {} exists already.", endpoint["id"]);
        return Err(AdminError::invalid("id", text));
    }
    check(&call, &endpoint, endpoints.iter())?;
    endpoints.push(endpoint.clone());
    settings::store(&call, SECTION, SETTING, Value::Array(endpoints)).await?;
    answer(&[endpoint])
}

async fn update(call: Call) -> Outcome {
    call.admin.stores_models()?;
    let id = call.path.get("endpoint_id").cloned().unwrap_or_default();
    let mut endpoints = stored(&call).await?;
    let Some(at) = endpoints.iter().position(|endpoint| endpoint["id"] == id.as_str()) else {
        refuse_of_file(&call, &id)?;
        return Err(AdminError::not_found(format!("Endpoint with ID '{id}' not found")));
    };
    let mut endpoint = defaults();
    endpoint.extend(endpoints[at].as_object().cloned().unwrap_or_default());
    let before = endpoint["headers"].clone();
    endpoint.extend(given(&call).filter(|(name, _)| name != "id"));
    if let Some(Value::Object(headers)) = endpoint.get_mut("headers") {
        restore(headers, &before);
    }
    let endpoint = Value::Object(endpoint);
    let others = endpoints.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, other)| other);
    check(&call, &endpoint, others)?;
    endpoints[at] = endpoint.clone();
    settings::store(&call, SECTION, SETTING, Value::Array(endpoints)).await?;
    answer(&[endpoint])
}

/// A header that comes back as it was shown is the stored one.
fn restore(headers: &mut Map<String, Value>, before: &Value) {
    let shown = masked_members(before);
    for (name, value) in headers {
        if shown.get(name.as_str()) == Some(&*value) {
            *value = before[name.as_str()].clone();
        }
    }
}

/// Refuses a route that could not be served, or would be in the way of another.
fn check<'a>(
    call: &Call,
    endpoint: &Value,
    mut others: impl Iterator<Item = &'a Value>,
) -> Result<(), AdminError> {
    check_all(call, std::slice::from_ref(endpoint))?;
    let path = endpoint["path"].as_str().unwrap_or_default();
    if call.admin.has_route(path) {
        let text =
            format!("path: `{path}` is a route of the gateway's own, which goes first; choose another");
        return Err(AdminError::invalid("path", text));
    }
    let methods = methods(endpoint);
    let is_in_the_way = |other: &Value| {
        other["path"] == endpoint["path"]
            && self::methods(other).iter().any(|method| methods.contains(method))
    };
    if let Some(other) = others.find(|other| is_in_the_way(other)) {
        let text = format!(
            "path: the pass-through endpoint with ID {} serves `{path}` with the same methods already; change that \
             one, or give this one other `methods`",
            other["id"]
        );
        return Err(AdminError::invalid("path", text));
    }
    Ok(())
}

fn methods(endpoint: &Value) -> Vec<String> {
    let named = endpoint["methods"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let named: Vec<String> = named.map(str::to_ascii_uppercase).collect();
    if named.is_empty() { USUAL_METHODS.map(str::to_owned).to_vec() } else { named }
}

/// Refuses routes that could not be served, naming the field and the remedy.
pub(crate) fn check_all(call: &Call, endpoints: &[Value]) -> Result<(), AdminError> {
    let mut candidate = Stored::default();
    candidate.sections.insert(SECTION.to_owned(), json!({ SETTING: endpoints }));
    let env = call.admin.snapshot.load().env.clone();
    let Some(found) = candidate.problems_of_routes(&env).into_iter().next() else { return Ok(()) };
    let field = found.path.rsplit_once("].").map_or(found.path.as_str(), |(_, field)| field);
    let remedy = found.remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
    Err(AdminError::invalid(field, format!("{field}: {}{remedy}", found.message)))
}

/// Refuses to change what the configuration says.
fn refuse_of_file(call: &Call, id: &str) -> Result<(), AdminError> {
    if of_config(call).iter().any(|endpoint| endpoint["id"] == id) {
        let text = format!("Endpoint with ID '{id}' is defined in the configuration file; change it there");
        return Err(AdminError::invalid("endpoint_id", text));
    }
    Ok(())
}

async fn delete(call: Call) -> Outcome {
    let id = call.asked("endpoint_id").unwrap_or_default();
    let mut endpoints = stored(&call).await?;
    refuse_of_file(&call, id)?;
    if endpoints.is_empty() {
        return Err(AdminError::invalid("endpoint_id", "There are no pass-through endpoints setup."));
    }
    let Some(at) = endpoints.iter().position(|endpoint| endpoint["id"] == id) else {
        let text = format!("Endpoint with ID '{id}' was not found in pass-through endpoint list.");
        return Err(AdminError::invalid("endpoint_id", text));
    };
    let gone = endpoints.remove(at);
    settings::store(&call, SECTION, SETTING, Value::Array(endpoints)).await?;
    answer(&[gone])
}
