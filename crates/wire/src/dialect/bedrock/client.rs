//! The client side: boto3's `converse` and `converse_stream`.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, ChatResponse, Family, FinishReason};
use crate::dialect::{BadRequest, ClientCall, ClientDialect, ErrorNote, Losses, Reply, StreamEncoder};
use crate::json as wire_json;

use super::stream_out::Encoder;
use super::types::{UsageOut, stop_reason};
use super::{content, exception, request};

/// Clients that speak Bedrock Converse.
#[derive(Debug, Clone, Copy)]
pub struct Client;

impl ClientDialect for Client {
    fn family(&self) -> Family {
        Family::Bedrock
    }

    fn decode(&self, body: &[u8], call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
        request::decode(body, call)
    }

    fn encode(&self, answer: &ChatResponse, _reply: &Reply, losses: &mut Losses) -> Vec<u8> {
        if answer.choices.len() > 1 {
            losses.note("choices");
        }
        let choice = answer.choices.first();
        let parts = choice.into_iter().flat_map(|choice| &choice.parts);
        let blocks: Vec<Value> = parts.filter_map(|part| content::block(part, losses)).collect();
        let stop_sequence = choice.and_then(|choice| choice.stop_sequence.as_deref());
        let finish = choice.map_or(&FinishReason::Stop, |choice| &choice.finish);
        let mut out = Map::new();
        out.insert("output".to_owned(), json!({"message": {"role": "assistant", "content": blocks}}));
        out.insert("stopReason".to_owned(), json!(stop_reason(finish, stop_sequence)));
        out.insert("usage".to_owned(), json!(UsageOut::of(&answer.usage)));
        for (key, value) in answer.extra.of(Family::Bedrock).into_iter().flatten() {
            out.entry(key.clone()).or_insert_with(|| value.clone());
        }
        // Required by the API; another provider does not say how long it took.
        out.entry("metrics".to_owned()).or_insert_with(|| json!({"latencyMs": 0}));
        wire_json::write(&out)
    }

    fn encoder(&self, _reply: Reply) -> Box<dyn StreamEncoder> {
        Box::<Encoder>::default()
    }

    fn error(&self, note: &ErrorNote) -> Vec<u8> {
        wire_json::write(&json!({"message": note.message}))
    }

    fn error_headers(&self, note: &ErrorNote) -> Vec<(&'static str, String)> {
        vec![("x-amzn-errortype", exception(note.status).to_owned())]
    }

    fn stream_content_type(&self) -> &'static str {
        "application/vnd.amazon.eventstream"
    }
}
