//! Clients of Bedrock's InvokeModel that send an Anthropic body (boto3 `invoke_model`).

use serde_json::json;

use crate::chat::{ChatRequest, ChatResponse, Family};
use crate::dialect::bedrock::exception;
use crate::dialect::{BadRequest, ClientCall, ClientDialect, ErrorNote, Losses, Reply, StreamEncoder};
use crate::json as wire_json;

use super::stream_out::{Encoder, Wrap};
use super::{client, request};

/// Clients of `POST /model/{id}/invoke` and `/invoke-with-response-stream`. The path names the model.
#[derive(Debug, Clone, Copy)]
pub struct InvokeClient;

impl ClientDialect for InvokeClient {
    fn family(&self) -> Family {
        Family::Anthropic
    }

    fn decode(&self, body: &[u8], call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
        let mut request = request::decode(body, call)?;
        // Says which API the body is for; the provider codec writes its own.
        request.extra.of_mut(Family::Anthropic).shift_remove("anthropic_version");
        Ok(request)
    }

    fn encode(&self, answer: &ChatResponse, reply: &Reply, losses: &mut Losses) -> Vec<u8> {
        client::encode(answer, reply, losses)
    }

    fn encoder(&self, reply: Reply) -> Box<dyn StreamEncoder> {
        Box::new(Encoder::new(reply, Wrap::AwsChunk))
    }

    fn error(&self, note: &ErrorNote) -> Vec<u8> {
        wire_json::write(&json!({ "message": note.message }))
    }

    fn error_headers(&self, note: &ErrorNote) -> Vec<(&'static str, String)> {
        vec![("x-amzn-errortype", exception(note.status).to_owned())]
    }

    fn stream_content_type(&self) -> &'static str {
        "application/vnd.amazon.eventstream"
    }
}
