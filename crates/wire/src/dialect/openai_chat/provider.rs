//! The provider side: OpenAI, Azure, Vertex, and everything compatible.

use faregate_terms::Fault;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::chat::{ChatRequest, ChatResponse, Family};
use crate::dialect::{
    Edit, Flavor, Framing, Glance, Head, Losses, Malformed, ProviderDialect, Route, StreamDecoder, Target,
    Unsupported,
};
use crate::json;

use super::types::{settle_tier, stated_cost};
use super::{answer, body, fault, stream};

/// What must be escaped in a path segment.
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'@').remove(b':');

/// Providers that speak chat completions.
#[derive(Debug, Clone, Copy)]
pub struct Provider;

impl ProviderDialect for Provider {
    fn family(&self) -> Family {
        Family::OpenAi
    }

    fn route(&self, target: &Target<'_>, stream: bool) -> Route {
        Route { path: path(target, stream), headers: Vec::new(), framing: Framing::Sse }
    }

    fn body(
        &self,
        request: &ChatRequest,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Vec<u8>, Unsupported> {
        let mut body = body::body(request, target, losses)?;
        body.insert("model".to_owned(), model(target).into());
        Ok(json::write(&body))
    }

    fn edits(&self, target: &Target<'_>, stream: bool, include_usage: bool) -> Vec<Edit> {
        let quirks = target.quirks;
        let mut edits = vec![Edit::Set("model", json::write(model(target)))];
        if quirks.no_stream_options {
            edits.push(Edit::Remove("stream_options"));
        } else if stream && include_usage {
            edits.push(Edit::Set("stream_options", br#"{"include_usage":true}"#.to_vec()));
        }
        if quirks.force_store_false {
            edits.push(Edit::Set("store", b"false".to_vec()));
        }
        for (name, text) in &quirks.always_send {
            if name == "usage" {
                edits.push(Edit::Set("usage", text.clone().into_bytes()));
            }
        }
        edits
    }

    fn decode(&self, target: &Target<'_>, body: &[u8]) -> Result<ChatResponse, Malformed> {
        let mut answer = answer::decode(body, target.quirks.schema_by_tool)?;
        if target.quirks.unknown_tier_as_auto {
            settle_tier(&mut answer.usage.service_tier);
        }
        if target.quirks.cost_in_body {
            let cost = answer.extra.get(Family::OpenAi, "cost").and_then(serde_json::Value::as_number);
            answer.usage.stated_cost = stated_cost(cost);
        }
        Ok(answer)
    }

    fn glance(&self, _target: &Target<'_>, body: &[u8]) -> Result<Glance, Malformed> {
        answer::glance(body)
    }

    fn decoder(&self, target: &Target<'_>) -> Box<dyn StreamDecoder> {
        Box::new(stream::Decoder::new(target.quirks))
    }

    fn fault(&self, head: &Head<'_>, body: &[u8]) -> Fault {
        fault::fault(head.status, head.headers, body)
    }
}

/// Mistral's models on Vertex are called by their publisher's path.
fn is_mistral(model: &str) -> bool {
    let name = model.strip_prefix("mistralai/").unwrap_or(model);
    ["mistral", "codestral", "ministral"].iter().any(|family| name.starts_with(family))
}

/// The name in the body.
fn model<'a>(target: &Target<'a>) -> &'a str {
    match target.flavor {
        Flavor::Vertex { .. } if is_mistral(target.model) => {
            let name = target.model.strip_prefix("mistralai/").unwrap_or(target.model);
            // The version belongs in the path only.
            name.split_once('@').map_or(name, |(name, _)| name)
        }
        _ => target.model,
    }
}

fn path(target: &Target<'_>, stream: bool) -> String {
    let Flavor::Vertex { project, location, version } = target.flavor else {
        return place(target, "chat/completions");
    };
    let place = format!("/{version}/projects/{}/locations/{}", encoded(project), encoded(location));
    if is_mistral(target.model) {
        let name = target.model.strip_prefix("mistralai/").unwrap_or(target.model);
        let method = if stream { "streamRawPredict" } else { "rawPredict" };
        format!("{place}/publishers/mistralai/models/{}:{method}", encoded(name))
    } else if !target.model.is_empty() && target.model.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("{place}/endpoints/{}/chat/completions", target.model)
    } else {
        format!("{place}/endpoints/openapi/chat/completions")
    }
}

/// Where a service of OpenAI's kind does `what`, e.g. `embeddings`.
pub(crate) fn place(target: &Target<'_>, what: &str) -> String {
    match target.flavor {
        Flavor::Azure { api_version } => format!(
            "/openai/deployments/{}/{what}?api-version={}",
            encoded(target.model),
            encoded(api_version)
        ),
        Flavor::AzureV1 { api_version: Some(version) } => {
            format!("/openai/v1/{what}?api-version={}", encoded(version))
        }
        Flavor::AzureV1 { api_version: None } => format!("/openai/v1/{what}"),
        Flavor::AzureFoundry { api_version } => {
            format!("/models/{what}?api-version={}", encoded(api_version))
        }
        Flavor::Plain | Flavor::BedrockInvoke | Flavor::Vertex { .. } => format!("/{what}"),
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}
