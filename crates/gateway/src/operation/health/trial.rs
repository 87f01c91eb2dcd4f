//! `POST /health/test_connection`: tries a model before it is saved. What was sent is never echoed.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use faregate_config::deployment_of;
use faregate_wire::dialect::BadRequest;

use crate::body::Body;
use crate::checkup::{Verdict, probe};
use crate::gate::{Deployment, Gate, Table};
use crate::refusal::Refusal;
use crate::stage::access;
use crate::stage::deliver::answer_json;
use crate::stage::identify::Principal;

/// The name of a deployment that only a test knows.
const NAME: &str = "test_connection";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    mode: Option<String>,
    litellm_params: Map<String, Value>,
    model_info: Option<Map<String, Value>>,
}

/// Tries what the body describes: a deployment of the configuration, by `model_info.id` or by its model's name, or
/// one of its own, for which the configuration's credentials are not used.
///
/// # Errors
/// 400 for a body that describes nothing, 401 for a description of one's own by others than administrators.
pub async fn test_connection(
    gate: &Arc<Gate>,
    table: &Table,
    principal: &Principal,
    body: &Bytes,
) -> Result<Response<Body>, Refusal> {
    let asked: Asked = serde_json::from_slice(body).map_err(|error| {
        BadRequest::new(
            "litellm_params",
            format!("expected `litellm_params`, an object, and `mode`: {error}"),
        )
    })?;
    if asked.litellm_params.values().chain(asked.model_info.iter().flat_map(Map::values)).any(is_reference) {
        let text = "Environment variable references are not permitted in request parameters.";
        return Err(BadRequest::new("litellm_params", text).into());
    }
    let own;
    let mut deployment = match configured(table, principal, &asked)? {
        Some(deployment) => table.aside(&deployment.config),
        None => {
            own = described(table, principal, &asked)?;
            own
        }
    };
    if let Some(mode) = asked.mode {
        deployment.config.info.mode = Some(mode);
    }
    // Boxed, so that no other operation carries the room of a call.
    let finding = Box::pin(probe(gate, table, &deployment, Some(principal.label()))).await;
    let limits: Map<String, Value> =
        finding.notes.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let is_well = finding.verdict == Verdict::Healthy;
    let result = match &finding.error {
        None => Value::Object(limits),
        Some(error) => json!({ "error": error, "exception_status": finding.status }),
    };
    Ok(answer_json(&json!({ "status": if is_well { "success" } else { "error" }, "result": result })))
}

/// The deployment of the configuration that is meant: only if nothing but its name is given.
fn configured<'a>(
    table: &'a Table,
    principal: &Principal,
    asked: &Asked,
) -> Result<Option<&'a Deployment>, Refusal> {
    if asked.litellm_params.keys().any(|key| key != "model") {
        return Ok(None);
    }
    let model = asked.litellm_params.get("model").and_then(Value::as_str);
    let id = asked.model_info.as_ref().and_then(|info| info.get("id")?.as_str());
    let mut all = table.deployments.iter();
    let found = match (id, model) {
        (Some(id), _) => all.find(|it| it.config.id.as_str() == id),
        (None, Some(model)) => {
            let first = table.router.members(model).first().map(|&index| &table.deployments[index]);
            first.or_else(|| all.find(|it| it.upstream_model == model))
        }
        (None, None) => {
            let text = "give `litellm_params.model`, or the id of a deployment as `model_info.id`";
            return Err(BadRequest::new("litellm_params.model", text).into());
        }
    };
    Ok(found.filter(|it| access::sees(table, principal, it.config.group.as_str())))
}

fn described(table: &Table, principal: &Principal, asked: &Asked) -> Result<Deployment, Refusal> {
    // Whoever names an address could have our credentials sent there.
    if !principal.is_admin() {
        return Err(Refusal::AdminOnly);
    }
    let entry = json!({
        "model_name": NAME,
        "litellm_params": asked.litellm_params,
        "model_info": asked.model_info.clone().unwrap_or_default(),
    });
    let config = deployment_of(&entry, &table.named_credentials)
        .map_err(|errors| BadRequest::new("litellm_params", errors.join("; ")))?;
    Ok(table.aside(&config))
}

fn is_reference(value: &Value) -> bool {
    match value {
        Value::String(text) => text.starts_with("os.environ/"),
        Value::Array(items) => items.iter().any(is_reference),
        Value::Object(members) => members.values().any(is_reference),
        _ => false,
    }
}
