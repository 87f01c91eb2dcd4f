//! Tools for operators: what a model takes, and what would be sent.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value, json};

use faregate_router::Team;
use faregate_terms::Secret;
use faregate_wire::dialect::BadRequest;
use faregate_wire::envelope::Envelope;

use crate::body::Body;
use crate::call::Arrival;
use crate::destination::{Destination, Via};
use crate::gate::Table;
use crate::operation::info;
use crate::refusal::Refusal;
use crate::routes::{Found, Operation};
use crate::stage::decode::decode;
use crate::stage::deliver::answer_json;
use crate::stage::plan::resolve;
use crate::stage::send::preview;

/// `/utils/supported_openai_params?model=`.
///
/// # Errors
/// 400 if the model is not named or leads to no provider.
pub fn supported_params(table: &Table, arrival: &Arrival) -> Result<Response<Body>, Refusal> {
    let model = info::query(arrival, "model").ok_or_else(|| {
        BadRequest::new("model", "name the model: /utils/supported_openai_params?model=...")
    })?;
    let destination = destination(table, arrival.found.route, &model, Via::Chat)?;
    Ok(answer_json(&json!({ "supported_openai_params": info::supported(&destination) })))
}

/// The destination a model name leads to: a configured group, else any provider's model.
///
/// # Errors
/// 400 if it leads nowhere.
pub fn destination(
    table: &Table,
    route: &'static str,
    model: &str,
    via: Via,
) -> Result<Arc<Destination>, Refusal> {
    match resolve(table, route, model, Team::Any) {
        Ok(resolved) => {
            let index = resolved.members.first().copied().ok_or(Refusal::Internal)?;
            let deployment = &table.deployments[index];
            let upstream = resolved.upstream_model(&deployment.upstream_model);
            deployment.destination(&upstream, via, table)
        }
        Err(unknown) => {
            let mut config = faregate_config::DeploymentConfig::new(model, model);
            // What a model takes can be said without a key; nothing is sent.
            config.params.api_key = Some(Secret::from("unused"));
            let made = table.builder().destination(&config, model, via).map_err(|_| unknown)?;
            Ok(Arc::new(made))
        }
    }
}

/// `/utils/transform_request`: `{call_type, request_body}` → the provider request, credentials left out.
///
/// # Errors
/// As the call itself would fail.
pub fn transform_request(table: &Table, arrival: &Arrival, body: Bytes) -> Result<Response<Body>, Refusal> {
    let envelope = Envelope::index(body)?;
    let inner: Map<String, Value> = envelope.get("request_body").ok_or_else(|| {
        BadRequest::new("request_body", "`request_body` must hold the request to be transformed")
    })?;
    let kind: String = envelope.get("call_type").unwrap_or_else(|| "completion".to_owned());
    let operation = match kind.as_str() {
        "completion" | "acompletion" => Operation::ChatCompletions,
        "text_completion" | "atext_completion" => Operation::TextCompletions,
        "responses" | "aresponses" => Operation::Responses,
        "anthropic_messages" => Operation::Messages,
        other => {
            return Err(Refusal::NotImplemented(format!(
                "call_type `{other}` is not supported yet; completion, text_completion, responses and anthropic_messages \
                     are"
            )));
        }
    };
    let mut arrival = arrival.clone();
    arrival.found = Found { operation, route: arrival.found.route, subject: None, verb: None };
    let route = arrival.found.route;
    let call = decode(arrival, Bytes::from(faregate_wire::json::write(&inner)), false)?;
    let destination = destination(table, route, &call.model, call.via())?;
    let (url, headers, body) = preview(table, &call, &destination)?;
    let headers: Map<String, Value> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or_default())))
        .collect();
    Ok(answer_json(&json!({
        "raw_request_api_base": url,
        "raw_request_body": serde_json::from_slice::<Value>(&body).unwrap_or(Value::Null),
        "raw_request_headers": headers,
        "error": null,
    })))
}
