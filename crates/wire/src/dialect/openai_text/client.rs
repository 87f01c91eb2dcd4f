//! The client side: `POST /v1/completions`.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, ChatResponse, Choice, Family, Part};
use crate::dialect::openai_chat::{UsageOut, error_value, finish_word};
use crate::dialect::{BadRequest, ClientCall, ClientDialect, ErrorNote, Losses, Reply, StreamEncoder};
use crate::json as wire_json;

use super::stream_out::Encoder;
use super::{logprobs, request};

/// Clients that speak text completions.
#[derive(Debug, Clone, Copy)]
pub struct Client;

impl ClientDialect for Client {
    fn family(&self) -> Family {
        Family::OpenAi
    }

    fn decode(&self, body: &[u8], call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
        request::decode(body, call)
    }

    fn encode(&self, answer: &ChatResponse, reply: &Reply, losses: &mut Losses) -> Vec<u8> {
        let choices: Vec<Value> = answer.choices.iter().map(|it| choice(it, losses)).collect();
        let mut body = Map::new();
        body.insert("id".to_owned(), json!(completion_id(&answer.id, &reply.id)));
        body.insert("object".to_owned(), json!("text_completion"));
        body.insert("created".to_owned(), json!(answer.created.unwrap_or(reply.created)));
        body.insert("model".to_owned(), json!(reply.model));
        body.insert("choices".to_owned(), Value::Array(choices));
        body.insert("usage".to_owned(), json!(UsageOut::of(&answer.usage)));
        for (key, value) in answer.extra.of(Family::OpenAi).into_iter().flatten() {
            body.entry(key.clone()).or_insert_with(|| value.clone());
        }
        wire_json::write(&body)
    }

    fn encoder(&self, reply: Reply) -> Box<dyn StreamEncoder> {
        Box::new(Encoder::new(reply))
    }

    fn error(&self, note: &ErrorNote) -> Vec<u8> {
        wire_json::write(&error_value(note))
    }
}

/// The provider's id if it is one of OpenAI's, else one made of the call's.
pub(super) fn completion_id(provider: &str, call: &str) -> String {
    let is_ours = provider.starts_with("cmpl") || provider.starts_with("chatcmpl");
    if is_ours { provider.to_owned() } else { format!("cmpl-{call}") }
}

fn choice(choice: &Choice, losses: &mut Losses) -> Value {
    let (mut text, mut reasoning) = (String::new(), String::new());
    for part in &choice.parts {
        match part {
            // A refusal is what the model said; there is no other place for it.
            Part::Text { text: more, .. } | Part::Refusal { text: more } => text.push_str(more),
            Part::Reasoning { text: more, .. } => reasoning.push_str(more),
            other => losses.note(lost(other)),
        }
    }
    let mut told = json!({
        "text": text,
        "index": choice.index,
        "logprobs": logprobs::columns(choice.logprobs.as_ref(), &mut 0),
        "finish_reason": finish_word(&choice.finish),
    });
    if !reasoning.is_empty() {
        told["reasoning_content"] = json!(reasoning);
    }
    told
}

/// The name of what a text cannot carry.
fn lost(part: &Part) -> &'static str {
    match part {
        Part::ToolCall { .. } => "tool_calls",
        Part::Image { .. } => "content.image",
        Part::Audio { .. } => "content.audio",
        _ => "content.foreign",
    }
}
