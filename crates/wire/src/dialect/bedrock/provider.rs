//! The provider side.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use faregate_terms::Fault;

use crate::chat::{ChatRequest, ChatResponse, Family};
use crate::dialect::anthropic::betas::{self, Cloud};
use crate::dialect::{
    Edit, Features, Framing, Head, Losses, Malformed, ProviderDialect, Route, StreamDecoder, Target,
    Unsupported,
};

use super::stream::Decoder;
use super::types::is_claude;
use super::{body, fault, response};

/// Bedrock's Converse API.
#[derive(Debug, Clone, Copy)]
pub struct Provider;

/// Of a path segment everything but unreserved characters is escaped. Source: RFC 3986 §2.3.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Whose signatures a model's reasoning carries: Claude's are the same on every platform.
pub(super) fn signer(model: &str) -> Family {
    if is_claude(model) { Family::Anthropic } else { Family::Bedrock }
}

impl ProviderDialect for Provider {
    fn family(&self) -> Family {
        Family::Bedrock
    }

    fn betas(
        &self,
        features: Features<'_>,
        asked: &[&str],
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Vec<String> {
        match features {
            Features::Request(_) if is_claude(target.model) => {
                betas::settle(features, asked, Some(Cloud::Converse), target, losses)
            }
            // A body of this dialect names its own, as it does everything else of the model's vendor.
            _ => Vec::new(),
        }
    }

    fn route(&self, target: &Target<'_>, stream: bool) -> Route {
        let model = utf8_percent_encode(target.model, SEGMENT);
        let verb = if stream { "converse-stream" } else { "converse" };
        Route {
            path: format!("/model/{model}/{verb}"),
            headers: Vec::new(),
            framing: Framing::AwsEventStream,
        }
    }

    fn body(
        &self,
        request: &ChatRequest,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Vec<u8>, Unsupported> {
        body::render(request, target, losses)
    }

    fn edits(&self, _target: &Target<'_>, _stream: bool, _include_usage: bool) -> Vec<Edit> {
        // The path names the model and says whether to stream; usage always comes.
        Vec::new()
    }

    fn decode(&self, target: &Target<'_>, body: &[u8]) -> Result<ChatResponse, Malformed> {
        response::decode(body, signer(target.model))
    }

    fn decoder(&self, target: &Target<'_>) -> Box<dyn StreamDecoder> {
        Box::new(Decoder::new(signer(target.model)))
    }

    fn fault(&self, head: &Head<'_>, body: &[u8]) -> Fault {
        fault::fault(head, body)
    }
}
