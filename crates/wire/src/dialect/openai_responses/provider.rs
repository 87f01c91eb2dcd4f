//! The provider side: OpenAI and Azure.

use faregate_terms::Fault;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::chat::{ChatRequest, ChatResponse, Family};
use crate::dialect::{
    Edit, Flavor, Framing, Head, Losses, Malformed, ProviderDialect, Route, StreamDecoder, Target,
    Unsupported, openai_chat,
};
use crate::json;

use super::{answer, body, stream};

/// What must be escaped in a query value.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Providers that speak responses.
#[derive(Debug, Clone, Copy)]
pub struct Provider;

impl ProviderDialect for Provider {
    fn family(&self) -> Family {
        Family::Responses
    }

    fn route(&self, target: &Target<'_>, _stream: bool) -> Route {
        let version = |version: &str| utf8_percent_encode(version, QUERY).to_string();
        let path = match target.flavor {
            Flavor::Azure { api_version } | Flavor::AzureFoundry { api_version } => {
                format!("/openai/responses?api-version={}", version(api_version))
            }
            Flavor::AzureV1 { api_version: Some(api_version) } => {
                format!("/openai/v1/responses?api-version={}", version(api_version))
            }
            Flavor::AzureV1 { api_version: None } => "/openai/v1/responses".to_owned(),
            Flavor::Plain | Flavor::Vertex { .. } | Flavor::BedrockInvoke => "/responses".to_owned(),
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

    fn edits(&self, target: &Target<'_>, _stream: bool, _include_usage: bool) -> Vec<Edit> {
        let mut edits = vec![Edit::Set("model", json::write(target.model))];
        if target.quirks.force_store_false {
            edits.push(Edit::Set("store", b"false".to_vec()));
        }
        edits
    }

    fn decode(&self, _target: &Target<'_>, body: &[u8]) -> Result<ChatResponse, Malformed> {
        answer::decode(body)
    }

    fn decoder(&self, _target: &Target<'_>) -> Box<dyn StreamDecoder> {
        Box::new(stream::Decoder::default())
    }

    fn fault(&self, head: &Head<'_>, body: &[u8]) -> Fault {
        openai_chat::fault(head.status, head.headers, body)
    }
}
