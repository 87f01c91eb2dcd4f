//! The provider side of `/api/chat`.

use faregate_terms::{Fault, FaultClass};
use serde_json::Value;

use crate::chat::{ChatRequest, ChatResponse, Family};
use crate::dialect::gemini::retry_after;
use crate::dialect::{
    Edit, Framing, Head, Losses, Malformed, ProviderDialect, Route, StreamDecoder, Target, Unsupported,
};
use crate::json;

use super::{answer, request};

/// Providers that speak Ollama's native chat.
#[derive(Debug, Clone, Copy)]
pub struct Provider;

impl ProviderDialect for Provider {
    fn family(&self) -> Family {
        Family::Ollama
    }

    fn route(&self, _target: &Target<'_>, _stream: bool) -> Route {
        Route { path: "/api/chat".to_owned(), headers: Vec::new(), framing: Framing::NdJson }
    }

    fn body(
        &self,
        request: &ChatRequest,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Vec<u8>, Unsupported> {
        Ok(json::write(&request::body(request, target, losses)?))
    }

    fn edits(&self, target: &Target<'_>, stream: bool, _include_usage: bool) -> Vec<Edit> {
        // Without the member Ollama streams.
        vec![Edit::Set("model", json::write(target.model)), Edit::Set("stream", json::write(&stream))]
    }

    fn decode(&self, _target: &Target<'_>, body: &[u8]) -> Result<ChatResponse, Malformed> {
        answer::decode(body)
    }

    fn decoder(&self, _target: &Target<'_>) -> Box<dyn StreamDecoder> {
        Box::new(answer::Decoder::default())
    }

    fn fault(&self, head: &Head<'_>, body: &[u8]) -> Fault {
        let message = json::read::<Value>(body).ok().and_then(|value| {
            let error = value.get("error")?;
            error.as_str().or_else(|| error.get("message")?.as_str()).map(str::to_owned)
        });
        let message = message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
        let mut fault = fault_of(head.status, message);
        fault.retry_after = retry_after(head.headers);
        fault
    }

    fn usage_mark(&self) -> &'static [u8] {
        b"eval_count"
    }
}

/// The class of an error text; Ollama has no codes.
pub(super) fn fault_of(status: u16, message: String) -> Fault {
    let text = message.to_ascii_lowercase();
    let class = if text.contains("context length") || text.contains("context window") {
        FaultClass::ContextWindow
    } else if text.contains("server busy") {
        FaultClass::Unavailable
    } else {
        FaultClass::of_status(status)
    };
    Fault { upstream_status: Some(status), ..Fault::new(class, message) }
}
