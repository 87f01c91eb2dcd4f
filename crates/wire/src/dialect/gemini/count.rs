//! `:countTokens`, both sides.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::chat::ChatRequest;
use crate::dialect::members;
use crate::dialect::{
    BadRequest, ClientCall, Flavor, Framing, Losses, Malformed, Route, Target, Unsupported,
};
use crate::json as wire_json;

use super::members::object;
use super::{body, provider, request};

/// Reads a client's `CountTokensRequest`: `contents`, or a whole `generateContentRequest`.
///
/// # Errors
/// [`BadRequest`] naming the member that is missing or wrong.
pub fn decode_count_tokens(body: &[u8], call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
    let value = members::document(body)?;
    let mut members = object(value, "")?;
    match members.take("generateContentRequest") {
        Some(whole) => request::read(object(whole, "generateContentRequest")?, call),
        None => request::read(members, call),
    }
}

/// Renders a `CountTokensResponse`.
pub fn encode_count_tokens(tokens: u64) -> Vec<u8> {
    let details = json!([{"modality": "TEXT", "tokenCount": tokens}]);
    wire_json::write(&json!({"totalTokens": tokens, "promptTokensDetails": details}))
}

/// Where the target counts tokens.
pub fn count_tokens_route(target: &Target<'_>) -> Route {
    Route { path: provider::path(target, "countTokens"), headers: Vec::new(), framing: Framing::Whole }
}

/// Renders a `CountTokensRequest` for the target.
///
/// # Errors
/// [`Unsupported`] naming what cannot be expressed.
pub fn count_tokens_request(
    request: &ChatRequest,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Vec<u8>, Unsupported> {
    let conversation = body::conversation(request, target, losses)?;
    if let Flavor::Vertex { .. } = target.flavor {
        return Ok(wire_json::write(&conversation));
    }
    let mut whole = Map::new();
    let model = target.model.strip_prefix("gemini/").unwrap_or(target.model);
    let model = if model.contains('/') { model.to_owned() } else { format!("models/{model}") };
    whole.insert("model".to_owned(), Value::String(model));
    whole.extend(conversation);
    Ok(wire_json::write(&json!({ "generateContentRequest": whole })))
}

/// Reads a `CountTokensResponse`: all tokens of the prompt.
///
/// # Errors
/// [`Malformed`] if it is none.
pub fn count_tokens_answer(body: &[u8]) -> Result<u64, Malformed> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Counted {
        #[serde(default)]
        total_tokens: u64,
    }
    wire_json::read::<Counted>(body).map(|counted| counted.total_tokens).map_err(Malformed)
}
