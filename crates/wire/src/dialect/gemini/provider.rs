//! The provider side: the Gemini API and Vertex AI.

use faregate_terms::Fault;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::chat::{ChatRequest, ChatResponse, Family};
use crate::dialect::{
    Edit, Flavor, Framing, Head, Losses, Malformed, ProviderDialect, Route, StreamDecoder, Target,
    Unsupported,
};
use crate::json;

use super::{answer, body, fault, stream};

/// Providers that speak Gemini's `generateContent`.
#[derive(Debug, Clone, Copy)]
pub struct Provider;

/// What a path segment may hold as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// The path of a method of the target's model, e.g. `generateContent`.
pub(crate) fn path(target: &Target<'_>, method: &str) -> String {
    let model = target.model.strip_prefix("gemini/").unwrap_or(target.model);
    let encoded = |text: &str| utf8_percent_encode(text, SEGMENT).to_string();
    match target.flavor {
        Flavor::Vertex { project, location, version } => {
            let place = format!("/{version}/projects/{}/locations/{}", encoded(project), encoded(location));
            let is_endpoint = !model.is_empty() && model.bytes().all(|b| b.is_ascii_digit());
            if is_endpoint {
                format!("{place}/endpoints/{model}:{method}")
            } else {
                format!("{place}/publishers/google/models/{}:{method}", encoded(model))
            }
        }
        _ => {
            // Tuned models say so in their names.
            let (kind, name) = match model.split_once('/') {
                Some((kind @ ("models" | "tunedModels"), name)) => (kind, name),
                _ => ("models", model),
            };
            format!("/v1beta/{kind}/{}:{method}", encoded(name))
        }
    }
}

impl ProviderDialect for Provider {
    fn family(&self) -> Family {
        Family::Gemini
    }

    fn route(&self, target: &Target<'_>, stream: bool) -> Route {
        let path = if stream {
            format!("{}?alt=sse", path(target, "streamGenerateContent"))
        } else {
            path(target, "generateContent")
        };
        Route { path, headers: Vec::new(), framing: Framing::Sse }
    }

    fn body(
        &self,
        request: &ChatRequest,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Vec<u8>, Unsupported> {
        Ok(json::write(&body::body(request, target, losses)?))
    }

    fn edits(&self, _target: &Target<'_>, _stream: bool, _include_usage: bool) -> Vec<Edit> {
        // The path names the model; one in the body would contradict it.
        vec![Edit::Remove("model")]
    }

    fn decode(&self, _target: &Target<'_>, body: &[u8]) -> Result<ChatResponse, Malformed> {
        answer::decode(body)
    }

    fn decoder(&self, _target: &Target<'_>) -> Box<dyn StreamDecoder> {
        Box::new(stream::Decoder::default())
    }

    fn fault(&self, head: &Head<'_>, body: &[u8]) -> Fault {
        fault::fault(head.status, head.headers, body)
    }

    fn usage_mark(&self) -> &'static [u8] {
        b"\"usageMetadata\""
    }
}
