//! Custom pass-through routes that a LiteLLM before us stored. Source: compat, endpoints §2.14, and LiteLLM's
//! `pass_through_endpoints.py`.
//!
//! They are shown and can be taken away. New ones are refused: nothing would serve them yet.

use faregate_store::Team;
use serde_json::{Value, json};

use crate::Outcome;
use crate::columns::masked;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};
use crate::settings;
use crate::stored::masked_members;

const ENDPOINT: &[Field] = &[
    field("id", Holds::Text, "made up when absent"),
    field("path", Holds::Text, "the route, /mine"),
    field("target", Holds::Text, "the URL that requests are sent to"),
    field("headers", Holds::Object, "headers that are added"),
    field("default_query_params", Holds::Object, "parameters that are added"),
    field("include_subpath", Holds::Flag, "paths below it as well"),
    field("cost_per_request", Holds::Number, "US dollars"),
    field("timeout", Holds::Number, "seconds"),
    field("auth", Holds::Flag, "ask for a key"),
    field("guardrails", Holds::Object, "guardrails that run"),
    field("methods", Holds::Texts, "HTTP methods; all when absent"),
];
const ONE: &[Field] = &[field("endpoint_id", Holds::Text, "one of them")];
const NAMED: &[Field] = &[required("endpoint_id", Holds::Text, "which")];

pub(crate) const ROUTES: &[Route] = &[
    route!(
        "GET",
        &["/config/pass_through_endpoint"],
        Admin,
        &[],
        ONE,
        "Custom pass-through routes that are stored",
        list
    ),
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
        &[ENDPOINT],
        &[],
        "Not served yet: answers 501",
        refused
    ),
    route!(
        "POST",
        &["/config/pass_through_endpoint/{endpoint_id}"],
        Admin,
        &[ENDPOINT],
        &[],
        "Not served yet: answers 501",
        refused
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

async fn stored(call: &Call) -> Result<Vec<Value>, AdminError> {
    let section = settings::section(call, SECTION).await?;
    Ok(section.get(SETTING).and_then(Value::as_array).cloned().unwrap_or_default())
}

/// One as it is shown: with LiteLLM's defaults, and without what its headers say.
fn shown(endpoint: &Value) -> Value {
    let mut shown = json!({
        "id": null, "headers": {}, "default_query_params": {}, "include_subpath": false, "cost_per_request": 0.0,
        "timeout": null, "auth": true, "guardrails": null, "methods": null,
    });
    if let (Some(shown), Some(endpoint)) = (shown.as_object_mut(), endpoint.as_object()) {
        shown.extend(endpoint.clone());
        shown.insert("is_from_config".to_owned(), json!(false));
    }
    shown["headers"] = masked_members(&shown["headers"]);
    masked(shown)
}

fn answer(endpoints: &[Value]) -> Outcome {
    Ok(Answer::json(&json!({ "endpoints": endpoints.iter().map(shown).collect::<Vec<_>>() })))
}

async fn asked(call: &Call) -> Result<Vec<Value>, AdminError> {
    let mut endpoints = stored(call).await?;
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

async fn refused(_: Call) -> Outcome {
    Err(AdminError::new(
        501,
        "not_implemented_error",
        "Faregate does not serve custom pass-through routes yet, so it keeps no new ones; use `model_list` for what \
         speaks a known format",
    ))
}

async fn delete(call: Call) -> Outcome {
    let id = call.asked("endpoint_id").unwrap_or_default();
    let mut endpoints = stored(&call).await?;
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
