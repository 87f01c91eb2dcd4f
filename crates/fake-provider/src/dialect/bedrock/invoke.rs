//! Anthropic bodies in the cloud's envelopes: Bedrock's InvokeModel and Vertex AI's rawPredict.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::super::anthropic::{Anthropic, Envelope, events, read};
use super::super::{Dialect, Head, Refused, bearer, is_wrong};
use crate::aws;
use crate::failure::{Class, Failure};
use crate::read::Object;
use crate::reply::{Ask, Reply, Style};

/// Whose envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invoke {
    Bedrock,
    Vertex,
}

impl Dialect for Invoke {
    fn authorize(&self, head: &Head<'_>) -> Result<(), Failure> {
        match self {
            Self::Bedrock => aws::authorize(head),
            Self::Vertex if bearer(head.headers).is_none_or(is_wrong) => {
                Err(Failure::new(Class::Authentication))
            }
            Self::Vertex => Ok(()),
        }
    }

    fn read(&self, head: &Head<'_>, body: &Object) -> Result<Ask, Failure> {
        let version = match self {
            Self::Bedrock => "bedrock-2023-05-31",
            Self::Vertex => "vertex-2023-10-16",
        };
        if *self == Self::Bedrock && body.contains_key("stream") {
            // On Bedrock the address says whether to stream.
            return Err(Failure::unknown_param("stream"));
        }
        let mut ask = read(body, Envelope::Cloud(version))?;
        ask.model = head.model.unwrap_or_default().to_owned();
        // Vertex AI's streamRawPredict streams only if the body says so too.
        ask.stream = head.stream == Some(true) && (*self == Self::Bedrock || ask.stream);
        Ok(ask)
    }

    fn style(&self) -> Style {
        let (Self::Bedrock | Self::Vertex) = self;
        Anthropic.style()
    }

    fn whole(&self, ask: &Ask, reply: &Reply) -> Value {
        Anthropic.whole(ask, reply)
    }

    fn frames(&self, ask: &Ask, reply: &Reply) -> Vec<Bytes> {
        if *self == Self::Vertex {
            return Anthropic.frames(ask, reply);
        }
        let mut events = events(ask, reply);
        if let Some(last) = events.last_mut() {
            last["amazon-bedrock-invocationMetrics"] = json!({
                "inputTokenCount": reply.usage.input - reply.usage.cached - reply.usage.cache_write,
                "outputTokenCount": reply.usage.output,
                "invocationLatency": 7, "firstByteLatency": 3,
                "cacheReadInputTokenCount": reply.usage.cached,
                "cacheWriteInputTokenCount": reply.usage.cache_write,
            });
        }
        events.iter().map(chunk).collect()
    }

    fn stream_type(&self, _ask: &Ask) -> &'static str {
        match self {
            Self::Bedrock => "application/vnd.amazon.eventstream",
            Self::Vertex => "text/event-stream; charset=utf-8",
        }
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Bedrock => &[("x-amzn-requestid", "00000000-0000-4000-8000-000000000001")],
            Self::Vertex => &[("request-id", "req_vrtx_fake0001")],
        }
    }

    fn refuse(&self, head: &Head<'_>, failure: &Failure) -> Refused {
        match self {
            Self::Bedrock => super::refuse(failure),
            // Google's front end checks the credential, Anthropic's model the rest.
            Self::Vertex => match failure.class {
                Class::Authentication | Class::Permission | Class::NotFound | Class::RateLimit => {
                    super::super::gemini::Gemini.refuse(head, failure)
                }
                _ => Anthropic.refuse(head, failure),
            },
        }
    }

    fn broken(&self, ask: &Ask) -> Bytes {
        match self {
            Self::Bedrock => {
                super::exception("internalServerException", "The system encountered an unexpected error.")
            }
            Self::Vertex => Anthropic.broken(ask),
        }
    }

    fn garbage(&self) -> Bytes {
        match self {
            Self::Bedrock => super::garbage(),
            Self::Vertex => Anthropic.garbage(),
        }
    }
}

/// One Anthropic event in a `chunk` message.
fn chunk(event: &Value) -> Bytes {
    super::event("chunk", json!({"bytes": STANDARD.encode(event.to_string())}))
}
