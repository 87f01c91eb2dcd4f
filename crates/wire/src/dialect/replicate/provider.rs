//! The provider side of predictions.

use std::time::Duration;

use faregate_terms::{Fault, FaultClass};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::chat::{ChatRequest, ChatResponse, Family};
use crate::dialect::{
    Edit, FollowUp, Framing, Head, Losses, Malformed, ProviderDialect, Route, StreamDecoder, Target,
    Unsupported,
};
use crate::json as wire_json;

use super::{answer, request};

/// What must be escaped in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Providers that speak predictions.
#[derive(Debug, Clone, Copy)]
pub struct Provider;

impl ProviderDialect for Provider {
    /// Clients' own members become inputs of the model, as LiteLLM does it.
    fn family(&self) -> Family {
        Family::OpenAi
    }

    fn route(&self, target: &Target<'_>, _stream: bool) -> Route {
        let encoded = |text: &str| utf8_percent_encode(text, SEGMENT).to_string();
        let segments = |name: &str| name.split('/').map(encoded).collect::<Vec<_>>().join("/");
        let path = match target.model.strip_prefix("deployments/") {
            Some(deployment) => format!("/deployments/{}/predictions", segments(deployment)),
            None if version(target.model).is_some() => "/predictions".to_owned(),
            None => format!("/models/{}/predictions", segments(target.model)),
        };
        // Saves most polls: the answer comes at once if it is ready within a minute.
        let headers = vec![("prefer", "wait".to_owned())];
        Route { path, headers, framing: Framing::Sse }
    }

    fn body(
        &self,
        request: &ChatRequest,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Vec<u8>, Unsupported> {
        let input = request::input(request, losses)?;
        Ok(wire_json::write(&match version(target.model) {
            Some(version) => json!({"version": version, "input": input}),
            None => json!({ "input": input }),
        }))
    }

    fn edits(&self, _target: &Target<'_>, _stream: bool, _include_usage: bool) -> Vec<Edit> {
        Vec::new()
    }

    fn decode(&self, _target: &Target<'_>, body: &[u8]) -> Result<ChatResponse, Malformed> {
        answer::decode(body)
    }

    fn decoder(&self, _target: &Target<'_>) -> Box<dyn StreamDecoder> {
        Box::new(answer::Decoder::default())
    }

    fn fault(&self, head: &Head<'_>, body: &[u8]) -> Fault {
        let parsed = wire_json::read::<Value>(body).unwrap_or_default();
        let word = |name: &str| parsed.get(name).and_then(Value::as_str).map(str::to_owned);
        let message = word("detail").or_else(|| word("title")).or_else(|| word("error"));
        let message = message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
        let seconds = |name: &str| head.headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
        let wait = seconds("retry-after").or_else(|| {
            seconds("ratelimit-remaining").filter(|left| *left == 0.0)?;
            seconds("ratelimit-reset")
        });
        Fault {
            upstream_status: Some(head.status),
            kind: word("title"),
            retry_after: wait.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            ..Fault::new(FaultClass::of_status(head.status), message)
        }
    }

    /// A prediction that runs is asked after until it is done. Its event stream is not followed, for that
    /// never tells what was used.
    fn follow_up(&self, body: &[u8]) -> FollowUp {
        let prediction = wire_json::read::<Value>(body).unwrap_or_default();
        let running = matches!(
            prediction.get("status").and_then(Value::as_str),
            Some("starting" | "processing" | "queued")
        );
        match prediction.pointer("/urls/get").and_then(Value::as_str) {
            Some(url) if running => FollowUp::Poll { url: url.to_owned() },
            _ => FollowUp::Done,
        }
    }
}

/// The version a model name ends in or consists of: 64 hexadecimal digits.
fn version(model: &str) -> Option<&str> {
    let last = model.rsplit(':').next().unwrap_or(model);
    (last.len() == 64 && last.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(last)
}
