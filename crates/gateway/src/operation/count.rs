//! Token counting without a call to a model.
//!
//! Anthropic's own counter is asked where a model has it; elsewhere the text is counted here, on a thread
//! that may block, see [`faregate_catalog::tokens`].

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Response};
use serde_json::{Value, json};

use faregate_catalog::tokens::Counter;
use faregate_terms::Fault;
use faregate_upstream::{Outgoing, Timeouts};
use faregate_wire::chat::{ChatRequest, Message, Part, Role, Tool};
use faregate_wire::dialect::{BadRequest, ClientCall, Dialect, Features, Head, Losses};
use faregate_wire::envelope::Envelope;

use crate::body::Body;
use crate::call::{Arrival, Call};
use crate::destination::{Destination, Via};
use crate::gate::Table;
use crate::operation::utils::destination;
use crate::refusal::Refusal;
use crate::stage::decode::decode;
use crate::stage::deliver::{answer_json, respond};

/// Tokens that frame each message, and those that begin the answer.
/// Source: OpenAI cookbook, "How to count tokens with tiktoken".
const PER_MESSAGE: u64 = 3;
/// Tokens of the role's word.
const PER_ROLE: u64 = 1;
/// Tokens of an image at the size most APIs scale to, when nothing better is known.
const PER_IMAGE: u64 = 1500;
/// Tokens of an image of low detail. Source: OpenAI, "Images and vision".
const PER_SMALL_IMAGE: u64 = 85;
/// LiteLLM's word for counts that no provider made.
const LOCAL: &str = "local_estimate";
/// The largest counter answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// `POST /v1/messages/count_tokens`.
///
/// # Errors
/// 400 for a bad body or unknown model; the provider's own refusal.
pub async fn messages(table: &Table, arrival: Arrival, body: Bytes) -> Result<Response<Body>, Refusal> {
    let route = arrival.found.route;
    let call = decode(arrival, body, false)?;
    let destination = destination(table, route, &call.model, Via::Messages)?;
    let native = destination.speaks_anthropic()
        && destination.target().flavor == faregate_wire::dialect::Flavor::Plain;
    if native {
        let count = ask_anthropic(table, &call, &destination).await;
        match count {
            Ok(count) => return Ok(answer_json(&input_tokens(count, "provider"))),
            Err(fault) => tracing::debug!(reason = %fault.message, "native token counter failed"),
        }
    }
    let count = counted(&destination.model, call.request()?).await?;
    Ok(answer_json(&input_tokens(count, LOCAL)))
}

/// Anthropic's answer, and who counted.
fn input_tokens(count: u64, source: &str) -> Value {
    json!({ "input_tokens": count, "litellm_count_source": source })
}

async fn ask_anthropic(table: &Table, call: &Call, destination: &Arc<Destination>) -> Result<u64, Fault> {
    let (codec, mut target) = (destination.codec(), destination.target());
    let asked = destination.betas_asked(call);
    target.betas = codec.betas(Features::Bytes(&call.envelope), &asked, &target, &mut Losses::default());
    let edits = codec.edits(&target, false, false);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in codec.route(&target, false).headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    let request = Outgoing {
        method: Method::POST,
        url: destination.url("/v1/messages/count_tokens")?,
        headers,
        body: call.envelope.spliced(&edits).into(),
        auth: &destination.auth,
        timeouts: Timeouts { total: Some(destination.timeout), ..Timeouts::default() },
    };
    let answer = table.upstream.send(request).await?;
    let (status, headers) = (answer.status, answer.headers);
    let body = answer.body.collect(MAX_ANSWER).await?;
    if !status.is_success() {
        return Err(destination.codec().fault(&Head { status: status.as_u16(), headers: &headers }, &body));
    }
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    value["input_tokens"].as_u64().ok_or_else(|| {
        Fault::new(faregate_terms::FaultClass::BadGateway, "the counter's answer has no input_tokens")
    })
}

/// `POST /v1beta/models/{model}:countTokens`: `contents`, or a whole `generateContentRequest`.
///
/// # Errors
/// 400 for a bad body or unknown model.
pub async fn gemini(table: &Table, arrival: Arrival, body: Bytes) -> Result<Response<Body>, Refusal> {
    let call = decode(arrival, body, false)?;
    let destination = destination(table, call.arrival.found.route, &call.model, Via::Chat)?;
    let client_call = ClientCall { path_model: Some(&call.model), ..ClientCall::default() };
    let request = faregate_wire::dialect::gemini::decode_count_tokens(call.envelope.body(), &client_call)?;
    let count = counted(&destination.model, Arc::new(request)).await?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = faregate_wire::dialect::gemini::encode_count_tokens(count);
    Ok(respond(http::StatusCode::OK, headers, Body::full(body)))
}

/// `POST /utils/token_counter`: `model` and one of `messages`, `prompt`, `contents`.
///
/// # Errors
/// 400 naming what is missing.
pub async fn token_counter(table: &Table, arrival: &Arrival, body: Bytes) -> Result<Response<Body>, Refusal> {
    let envelope = Envelope::index(body)?;
    let model: String = envelope
        .get("model")
        .ok_or_else(|| BadRequest::new("model", "`model` must be a non-empty string"))?;
    let (dialect, member) = if envelope.has("contents") {
        (Dialect::Gemini, "contents")
    } else if envelope.has("messages") {
        (Dialect::OpenAiChat, "messages")
    } else {
        (Dialect::OpenAiChat, "prompt")
    };
    let request = match (envelope.get::<Value>("prompt"), dialect.client()) {
        (Some(prompt), _) if member == "prompt" => prompt_request(&prompt)?,
        (_, Some(client)) if member != "prompt" => {
            let call = ClientCall { path_model: Some(&model), ..ClientCall::default() };
            client.decode(envelope.body(), &call)?
        }
        _ => {
            return Err(BadRequest::new("messages", "send one of `messages`, `prompt` or `contents`").into());
        }
    };
    let used = destination(table, arrival.found.route, &model, Via::Chat)
        .map_or_else(|_| model.clone(), |destination| destination.model.clone());
    // A prompt is text alone; nothing frames it.
    let framing = if member == "prompt" { 2 * PER_MESSAGE + PER_ROLE } else { 0 };
    let total = counted(&used, Arc::new(request)).await?.saturating_sub(framing);
    Ok(answer_json(&json!({
        "total_tokens": total,
        "request_model": model,
        "model_used": used,
        "tokenizer_type": "openai_tokenizer",
        "count_source": LOCAL,
        "original_response": null,
        "error": false,
        "error_message": null,
        "status_code": null,
    })))
}

fn prompt_request(prompt: &Value) -> Result<ChatRequest, BadRequest> {
    let text = match prompt {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"),
        _ => return Err(BadRequest::new("prompt", "`prompt` must be a string or a list of strings")),
    };
    let message = Message::text(Role::User, text);
    Ok(ChatRequest { messages: vec![message], ..ChatRequest::default() })
}

/// Counts a request without holding up anybody else: a vocabulary may have to be unpacked, a prompt be long.
pub(crate) async fn counted(model: &str, request: Arc<ChatRequest>) -> Result<u64, Refusal> {
    let counter = Counter::of(model);
    let count = tokio::task::spawn_blocking(move || estimate(counter, &request));
    count.await.map_err(|_| Refusal::Internal)
}

/// The tokens of a request: what the model reads of it, and what frames that.
fn estimate(counter: Counter, request: &ChatRequest) -> u64 {
    let text = |text: &str| counter.count(text);
    let mut count = PER_MESSAGE;
    for message in &request.messages {
        let name = message.name.as_deref().map_or(0, |name| 1 + text(name));
        count +=
            PER_MESSAGE + PER_ROLE + name + message.parts.iter().map(|it| part(counter, it)).sum::<u64>();
    }
    for tool in &request.tools {
        count += match tool {
            Tool::Function { name, description, parameters, .. } => {
                let schema = parameters.as_ref().map(ToString::to_string).unwrap_or_default();
                8 + text(name) + text(description.as_deref().unwrap_or_default()) + text(&schema)
            }
            Tool::WebSearch { .. } => 0,
            Tool::Foreign { value, .. } => text(&value.to_string()),
        };
    }
    count
}

fn part(counter: Counter, part: &Part) -> u64 {
    let text = |text: &str| counter.count(text);
    match part {
        Part::Text { text: words, .. }
        | Part::Refusal { text: words }
        | Part::Reasoning { text: words, .. } => text(words),
        Part::ToolCall { name, arguments, .. } => 4 + text(name) + text(arguments),
        Part::ToolResult { content, .. } => 4 + content.iter().map(|it| self::part(counter, it)).sum::<u64>(),
        Part::Image { detail, .. } if detail.as_deref() == Some("low") => PER_SMALL_IMAGE,
        Part::Image { .. } | Part::Audio { .. } | Part::File { .. } => PER_IMAGE,
        Part::Foreign { value, .. } => text(&value.to_string()),
    }
}
