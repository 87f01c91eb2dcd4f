//! The provider side of `/v2/chat`.

use faregate_terms::{Fault, FaultClass};
use serde_json::Value;

use crate::chat::{ChatRequest, ChatResponse, Family};
use crate::dialect::gemini::retry_after;
use crate::dialect::{
    Edit, Framing, Head, Losses, Malformed, ProviderDialect, Route, StreamDecoder, Target, Unsupported,
};
use crate::json;

use super::{answer, request, stream};

/// Providers that speak Cohere's v2 chat.
#[derive(Debug, Clone, Copy)]
pub struct Provider;

impl ProviderDialect for Provider {
    fn family(&self) -> Family {
        Family::Cohere
    }

    fn route(&self, _target: &Target<'_>, _stream: bool) -> Route {
        Route { path: "/v2/chat".to_owned(), headers: Vec::new(), framing: Framing::Sse }
    }

    fn body(
        &self,
        request: &ChatRequest,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Vec<u8>, Unsupported> {
        Ok(json::write(&request::body(request, target, losses)?))
    }

    fn edits(&self, target: &Target<'_>, _stream: bool, _include_usage: bool) -> Vec<Edit> {
        vec![Edit::Set("model", json::write(target.model))]
    }

    fn decode(&self, _target: &Target<'_>, body: &[u8]) -> Result<ChatResponse, Malformed> {
        answer::decode(body)
    }

    fn decoder(&self, _target: &Target<'_>) -> Box<dyn StreamDecoder> {
        Box::new(stream::Decoder::default())
    }

    fn fault(&self, head: &Head<'_>, body: &[u8]) -> Fault {
        let parsed = json::read::<Value>(body).ok();
        let message = parsed.as_ref().and_then(|value| {
            let error = value.get("message").or_else(|| value.get("error"))?;
            error.as_str().map(str::to_owned)
        });
        let message = message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
        Fault {
            upstream_status: Some(head.status),
            retry_after: retry_after(head.headers),
            ..Fault::new(class(head.status, &message), message)
        }
    }
}

/// Cohere has no codes: the text tells.
///
/// Source: Cohere, "Errors": 498 is an invalid token, 499 a request that was closed.
fn class(status: u16, message: &str) -> FaultClass {
    let text = message.to_ascii_lowercase();
    match status {
        400 | 413 | 422
            if text.contains("too many tokens")
                || text.contains("context length")
                || text.contains("max tokens in the prompt") =>
        {
            FaultClass::ContextWindow
        }
        400 | 422 if text.contains("blocked") => FaultClass::ContentPolicy,
        498 => FaultClass::Authentication,
        499 => FaultClass::Timeout,
        _ => FaultClass::of_status(status),
    }
}
