//! The client side: `POST /v1/messages`.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, ChatResponse, Family, FinishReason, Media, Part};
use crate::dialect::{BadRequest, ClientCall, ClientDialect, ErrorNote, Losses, Reply, StreamEncoder};
use crate::{json as wire_json, opaque};

use super::stream_out::{Encoder, Wrap};
use super::types::{UsageOut, error_type, stop_reason};
use super::{citations, request};

/// Clients that speak Anthropic Messages.
#[derive(Debug, Clone, Copy)]
pub struct Client;

impl ClientDialect for Client {
    fn family(&self) -> Family {
        Family::Anthropic
    }

    fn decode(&self, body: &[u8], call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
        request::decode(body, call)
    }

    fn encode(&self, answer: &ChatResponse, reply: &Reply, losses: &mut Losses) -> Vec<u8> {
        encode(answer, reply, losses)
    }

    fn encoder(&self, reply: Reply) -> Box<dyn StreamEncoder> {
        Box::new(Encoder::new(reply, Wrap::Sse))
    }

    fn error(&self, note: &ErrorNote) -> Vec<u8> {
        error_body(note)
    }
}

/// Renders a whole answer as a `Message`.
pub(super) fn encode(answer: &ChatResponse, reply: &Reply, losses: &mut Losses) -> Vec<u8> {
    if answer.choices.len() > 1 {
        losses.note("choices");
    }
    let choice = answer.choices.first();
    let content: Vec<Value> =
        choice.into_iter().flat_map(|choice| &choice.parts).filter_map(|part| block(part, losses)).collect();
    let stop_sequence = choice.and_then(|choice| choice.stop_sequence.as_deref());
    let finish = choice.map_or(&FinishReason::Stop, |choice| &choice.finish);
    let mut message = Map::new();
    message.insert("id".to_owned(), json!(message_id(&answer.id, &reply.id)));
    message.insert("type".to_owned(), json!("message"));
    message.insert("role".to_owned(), json!("assistant"));
    message.insert("model".to_owned(), json!(reply.model));
    message.insert("content".to_owned(), Value::Array(content));
    message.insert("stop_reason".to_owned(), json!(stop_reason(finish, stop_sequence)));
    message.insert("stop_sequence".to_owned(), json!(stop_sequence));
    message.insert("usage".to_owned(), json!(UsageOut::of(&answer.usage)));
    for (key, value) in answer.extra.of(Family::Anthropic).into_iter().flatten() {
        message.entry(key.clone()).or_insert_with(|| value.clone());
    }
    wire_json::write(&message)
}

/// Renders an error answer.
pub(super) fn error_body(note: &ErrorNote) -> Vec<u8> {
    wire_json::write(&error_value(note))
}

/// The error object, in an answer or in a stream.
pub(super) fn error_value(note: &ErrorNote) -> Value {
    json!({
        "type": "error",
        "error": {"type": error_type(note.status), "message": note.message},
        "request_id": note.call_id,
    })
}

/// The provider's id if it is one of this dialect, else one made of the call's.
pub(super) fn message_id(provider: &str, call: &str) -> String {
    if provider.starts_with("msg_") { provider.to_owned() } else { format!("msg_{call}") }
}

fn block(part: &Part, losses: &mut Losses) -> Option<Value> {
    match part {
        Part::Text { text, annotations, signature, .. } => {
            if signature.is_some() {
                losses.note("content.signature");
            }
            let cited: Vec<Value> = annotations.iter().filter_map(citations::citation).collect();
            if cited.len() < annotations.len() {
                losses.note("content.annotations");
            }
            Some(if cited.is_empty() {
                json!({"type": "text", "text": text})
            } else {
                json!({"type": "text", "text": text, "citations": cited})
            })
        }
        Part::Refusal { text } => Some(json!({"type": "text", "text": text})),
        Part::Reasoning { signature: Some(signature), redacted: true, .. } => {
            Some(json!({"type": "redacted_thinking", "data": opaque::seal(signature, Family::Anthropic)}))
        }
        Part::Reasoning { text, signature, .. } => {
            let sealed = signature.as_ref().map(|it| opaque::seal(it, Family::Anthropic));
            Some(json!({"type": "thinking", "thinking": text, "signature": sealed.unwrap_or_default()}))
        }
        Part::ToolCall { id, name, arguments, signature, extra, .. } => {
            let mut block = Map::new();
            block.insert("type".to_owned(), json!("tool_use"));
            block.insert("id".to_owned(), json!(opaque::seal_id(id, signature.as_ref())));
            block.insert("name".to_owned(), json!(name));
            block.insert("input".to_owned(), wire_json::arguments(arguments));
            for (key, value) in extra.of(Family::Anthropic).into_iter().flatten() {
                block.entry(key.clone()).or_insert_with(|| value.clone());
            }
            Some(Value::Object(block))
        }
        Part::Audio { transcript: Some(text), media: Media::Base64 { .. }, .. } => {
            losses.note("content.audio");
            Some(json!({"type": "text", "text": text}))
        }
        Part::Foreign { family: Family::Anthropic, value } => Some(value.clone()),
        other => {
            losses.note(other.loss());
            None
        }
    }
}
