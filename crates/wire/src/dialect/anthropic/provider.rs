//! The provider side: Anthropic's own API, Vertex AI and Bedrock InvokeModel.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use faregate_terms::Fault;

use crate::chat::{ChatRequest, ChatResponse, Family};
use crate::dialect::{
    Edit, Features, Flavor, Framing, Head, Losses, Malformed, ProviderDialect, Route, StreamDecoder, Target,
    Unsupported,
};
use crate::json as wire_json;

use super::betas::{self, Cloud};
use super::stream::Decoder;
use super::{body, fault, response};

/// Providers that speak Anthropic Messages.
#[derive(Debug, Clone, Copy)]
pub struct Provider;

/// The API version every call names. Source: Anthropic API, "Versions".
const VERSION: &str = "2023-06-01";

/// Of a path segment everything but unreserved characters is escaped. Source: RFC 3986 §2.3.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl ProviderDialect for Provider {
    fn family(&self) -> Family {
        Family::Anthropic
    }

    fn betas(
        &self,
        features: Features<'_>,
        asked: &[&str],
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Vec<String> {
        betas::settle(features, asked, Cloud::of(target.flavor), target, losses)
    }

    fn route(&self, target: &Target<'_>, stream: bool) -> Route {
        let model = utf8_percent_encode(target.model, SEGMENT);
        match target.flavor {
            Flavor::Vertex { project, location, version } => {
                // Vertex marks versions with `@`, which its paths carry as it is.
                let model = target.model;
                let verb = if stream { "streamRawPredict" } else { "rawPredict" };
                let path = format!(
                    "/{version}/projects/{project}/locations/{location}/publishers/anthropic/models/{model}:{verb}"
                );
                Route { path, headers: beta_header(target).collect(), framing: Framing::Sse }
            }
            Flavor::BedrockInvoke => {
                let verb = if stream { "invoke-with-response-stream" } else { "invoke" };
                Route {
                    path: format!("/model/{model}/{verb}"),
                    headers: Vec::new(),
                    framing: Framing::AwsEventStream,
                }
            }
            _ => Route {
                path: "/v1/messages".to_owned(),
                headers: std::iter::once(("anthropic-version", VERSION.to_owned()))
                    .chain(beta_header(target))
                    .collect(),
                framing: Framing::Sse,
            },
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

    fn edits(&self, target: &Target<'_>, _stream: bool, _include_usage: bool) -> Vec<Edit> {
        match platform_version(target.flavor) {
            None => {
                let mut edits = vec![Edit::Set("model", wire_json::write(target.model))];
                if !target.betas.is_empty() {
                    // The header says it.
                    edits.push(Edit::Remove(betas::MEMBER));
                }
                edits
            }
            Some(version) => {
                let mut edits =
                    vec![Edit::Remove("model"), Edit::Set("anthropic_version", wire_json::write(version))];
                edits.push(if target.betas.is_empty() {
                    Edit::Remove(betas::MEMBER)
                } else {
                    Edit::Set(betas::MEMBER, wire_json::write(&target.betas))
                });
                if target.flavor == Flavor::BedrockInvoke {
                    edits.push(Edit::Remove("stream"));
                }
                edits
            }
        }
    }

    fn decode(&self, _target: &Target<'_>, body: &[u8]) -> Result<ChatResponse, Malformed> {
        response::decode(body)
    }

    fn decoder(&self, _target: &Target<'_>) -> Box<dyn StreamDecoder> {
        Box::new(Decoder::default())
    }

    fn fault(&self, head: &Head<'_>, body: &[u8]) -> Fault {
        fault::fault(head, body)
    }
}

/// The header that names the betas; Bedrock has none.
fn beta_header(target: &Target<'_>) -> impl Iterator<Item = (&'static str, String)> {
    (!target.betas.is_empty()).then(|| ("anthropic-beta", target.betas.join(","))).into_iter()
}

/// `anthropic_version` of the clouds that serve the dialect without a header for it.
pub(super) fn platform_version(flavor: Flavor<'_>) -> Option<&'static str> {
    match flavor {
        Flavor::Vertex { .. } => Some("vertex-2023-10-16"),
        Flavor::BedrockInvoke => Some("bedrock-2023-05-31"),
        _ => None,
    }
}

/// The members by which a body says where it goes.
pub(super) fn address(target: &Target<'_>, stream: bool) -> Vec<(&'static str, serde_json::Value)> {
    let mut members = match platform_version(target.flavor) {
        None => vec![("model", json!(target.model))],
        Some(version) => vec![("anthropic_version", json!(version))],
    };
    if platform_version(target.flavor).is_some() && !target.betas.is_empty() {
        members.push((betas::MEMBER, json!(target.betas)));
    }
    if stream && target.flavor != Flavor::BedrockInvoke {
        members.push(("stream", json!(true)));
    }
    members
}
