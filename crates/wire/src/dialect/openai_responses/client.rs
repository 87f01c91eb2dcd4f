//! The client side: `POST /v1/responses`.

use serde_json::{Value, json};

use crate::chat::{ChatRequest, ChatResponse, Family, FinishReason};
use crate::dialect::{BadRequest, ClientCall, ClientDialect, ErrorNote, Losses, Reply, StreamEncoder};
use crate::json as wire_json;

use super::output::{State, output_items, response, response_id};
use super::request;
use super::stream_out::Encoder;
use super::types::status;

/// Clients that speak responses.
#[derive(Debug, Clone, Copy)]
pub struct Client;

impl ClientDialect for Client {
    fn family(&self) -> Family {
        Family::Responses
    }

    fn decode(&self, body: &[u8], call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
        request::decode(body, call)
    }

    fn encode(&self, answer: &ChatResponse, reply: &Reply, losses: &mut Losses) -> Vec<u8> {
        let finish = answer.choices.first().map_or(&FinishReason::Stop, |choice| &choice.finish);
        let (status, incomplete) = status(finish);
        let state = State {
            id: &response_id(&answer.id, &reply.id),
            created: answer.created.unwrap_or(reply.created),
            status,
            incomplete,
            error: Value::Null,
            output: output_items(answer, reply, losses),
            usage: Some(&answer.usage),
        };
        let mut body = response(state, reply);
        for (key, value) in answer.extra.of(Family::Responses).into_iter().flatten() {
            body.entry(key.clone()).or_insert_with(|| value.clone());
        }
        wire_json::write(&body)
    }

    fn encoder(&self, reply: Reply) -> Box<dyn StreamEncoder> {
        Box::new(Encoder::new(reply))
    }

    fn error(&self, note: &ErrorNote) -> Vec<u8> {
        wire_json::write(&json!({"error": {
            "message": note.message,
            "type": note.kind,
            "param": note.param,
            "code": note.code,
        }}))
    }
}
