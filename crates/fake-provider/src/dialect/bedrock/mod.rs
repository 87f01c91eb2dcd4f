//! Bedrock's Converse, and Anthropic bodies through Bedrock's InvokeModel.
//!
//! Source: Amazon Bedrock Runtime API reference; botocore's service model of `bedrock-runtime`; the event stream
//! encoding of "Amazon Transcribe streaming, event stream encoding".

mod invoke;
mod read;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use serde_json::{Value, json};

pub(crate) use invoke::Invoke;

use super::{Dialect, Head, Refused, pieces};
use crate::aws;
use crate::failure::{Class, Failure};
use crate::read::Object;
use crate::reply::{Ask, Finish, Part, Reply, Style};
use crate::scenario::Usage;

/// Whose reasoning seals these are: Anthropic's models sign their thinking the same everywhere.
const FAMILY: &str = super::anthropic::FAMILY;

pub(crate) struct Converse;

impl Dialect for Converse {
    fn authorize(&self, head: &Head<'_>) -> Result<(), Failure> {
        aws::authorize(head)
    }

    fn read(&self, head: &Head<'_>, body: &Object) -> Result<Ask, Failure> {
        read::read(head, body)
    }

    fn style(&self) -> Style {
        Style { call_prefix: "tooluse_", family: FAMILY }
    }

    fn whole(&self, _ask: &Ask, reply: &Reply) -> Value {
        let content: Vec<Value> = reply.parts.iter().map(block).collect();
        json!({
            "metrics": {"latencyMs": 7},
            "output": {"message": {"content": content, "role": "assistant"}},
            "stopReason": stop_reason(&reply.finish),
            "usage": usage(&reply.usage),
        })
    }

    fn frames(&self, _ask: &Ask, reply: &Reply) -> Vec<Bytes> {
        let mut frames = vec![event("messageStart", json!({"role": "assistant"}))];
        for (index, part) in reply.parts.iter().enumerate() {
            frames.extend(streamed(index, part));
            frames.push(event("contentBlockStop", json!({"contentBlockIndex": index})));
        }
        frames.push(event("messageStop", json!({"stopReason": stop_reason(&reply.finish)})));
        let metadata = json!({"metrics": {"latencyMs": 7}, "usage": usage(&reply.usage)});
        frames.push(event("metadata", metadata));
        frames
    }

    fn stream_type(&self, _ask: &Ask) -> &'static str {
        "application/vnd.amazon.eventstream"
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("x-amzn-requestid", "00000000-0000-4000-8000-000000000001")]
    }

    fn refuse(&self, _head: &Head<'_>, failure: &Failure) -> Refused {
        refuse(failure)
    }

    fn broken(&self, _ask: &Ask) -> Bytes {
        exception(
            "modelStreamErrorException",
            "The system encountered an unexpected error during processing.",
        )
    }

    fn garbage(&self) -> Bytes {
        garbage()
    }
}

/// A frame whose prelude checksum is wrong.
fn garbage() -> Bytes {
    Bytes::from_static(b"\x00\x00\x00\x20\x00\x00\x00\x00\xde\xad\xbe\xefnot an event stream message")
}

/// An error in AWS's REST-JSON shape: its type in a header, its text in the body.
fn refuse(failure: &Failure) -> Refused {
    let (status, kind, own) = match failure.class {
        Class::Invalid => (400, "ValidationException", "Invalid request.".to_owned()),
        Class::UnknownParam => {
            let name = failure.param.as_deref().unwrap_or_default();
            let text =
                format!("The model returned the following errors: {name}: Extra inputs are not permitted");
            (400, "ValidationException", text)
        }
        Class::Authentication => (
            403,
            failure.param.as_deref().unwrap_or("UnrecognizedClientException"),
            "The security token included in the request is invalid.".to_owned(),
        ),
        Class::Payment => {
            (403, "AccessDeniedException", "Your account has no valid payment instrument.".to_owned())
        }
        Class::Permission => (
            403,
            "AccessDeniedException",
            "You don't have access to the model with the specified model ID.".to_owned(),
        ),
        Class::NotFound => {
            (404, "ResourceNotFoundException", "Could not resolve the foundation model.".to_owned())
        }
        Class::Timeout => {
            (408, "ModelTimeoutException", "Model has timed out in processing the request.".to_owned())
        }
        Class::TooLarge => (413, "RequestEntityTooLargeException", "Request is too large.".to_owned()),
        Class::Unprocessable => {
            (424, "ModelErrorException", "The model could not process the request.".to_owned())
        }
        Class::RateLimit => {
            (429, "ThrottlingException", "Too many requests, please wait before trying again.".to_owned())
        }
        Class::Context => (400, "ValidationException", "Input is too long for requested model.".to_owned()),
        Class::Policy => (
            400,
            "ValidationException",
            "The model returned the following errors: Output blocked by content filtering policy".to_owned(),
        ),
        Class::Internal | Class::BadGateway => (
            failure.class.status(),
            "InternalServerException",
            "The system encountered an unexpected error during processing. Try your request again."
                .to_owned(),
        ),
        Class::Unavailable => {
            (503, "ServiceUnavailableException", "Bedrock is unable to process your request.".to_owned())
        }
    };
    let mut headers = vec![
        ("x-amzn-errortype", format!("{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/")),
        ("x-amzn-requestid", "00000000-0000-4000-8000-000000000001".to_owned()),
    ];
    if let Some(seconds) = failure.retry_after {
        headers.push(("retry-after", seconds.to_string()));
    }
    Refused {
        status: failure.status.unwrap_or(status),
        headers,
        body: json!({"message": failure.text(|| own)}),
    }
}

/// One event as an event-stream message, padded as the real service does.
fn event(kind: &'static str, mut payload: Value) -> Bytes {
    payload["p"] = "abcdefghijklmnop".into();
    message(":event-type", kind, "event", &payload)
}

fn exception(kind: &'static str, text: &str) -> Bytes {
    message(":exception-type", kind, "exception", &json!({"message": text}))
}

fn message(
    type_header: &'static str,
    kind: &'static str,
    message_type: &'static str,
    payload: &Value,
) -> Bytes {
    let text = |value: &'static str| HeaderValue::String(value.into());
    let message = Message::new(payload.to_string())
        .add_header(Header::new(type_header, text(kind)))
        .add_header(Header::new(":content-type", text("application/json")))
        .add_header(Header::new(":message-type", text(message_type)));
    let mut bytes = Vec::new();
    // Fails on headers longer than the format allows; ours are a few words.
    let _ = write_message_to(&message, &mut bytes);
    Bytes::from(bytes)
}

fn stop_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Calls => "tool_use",
        Finish::Filter | Finish::Refused => "content_filtered",
        Finish::Sequence(_) => "stop_sequence",
        Finish::Blocked => "guardrail_intervened",
    }
}

/// Token counts; `inputTokens` leaves cached tokens out, `totalTokens` holds them.
fn usage(usage: &Usage) -> Value {
    json!({
        "inputTokens": usage.input - usage.cached - usage.cache_write,
        "outputTokens": usage.output,
        "totalTokens": usage.input + usage.output,
        "cacheReadInputTokens": usage.cached,
        "cacheWriteInputTokens": usage.cache_write,
    })
}

fn citation(text: &str) -> Value {
    json!({"title": "Fares", "sourceContent": [{"text": text}],
        "location": {"documentChar": {"documentIndex": 0, "start": 0, "end": text.len()}}})
}

fn block(part: &Part) -> Value {
    match part {
        Part::Reasoning { deltas, seal } => {
            json!({"reasoningContent": {"reasoningText": {"text": deltas.concat(), "signature": seal}}})
        }
        Part::Text { deltas } => json!({"text": deltas.concat()}),
        Part::Cited { deltas, .. } => {
            let text = deltas.concat();
            json!({"citationsContent": {"content": [{"text": text}], "citations": [citation(&text)]}})
        }
        Part::Refusal(text) => json!({"text": text}),
        Part::Call { id, name, arguments } => {
            json!({"toolUse": {"toolUseId": id, "name": name, "input": arguments}})
        }
    }
}

/// Start (tool calls only) and deltas of one block.
fn streamed(index: usize, part: &Part) -> Vec<Bytes> {
    let delta =
        |delta: Value| event("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}));
    match part {
        Part::Reasoning { deltas, seal } => {
            let texts = deltas.iter().map(|text| delta(json!({"reasoningContent": {"text": text}})));
            texts.chain(std::iter::once(delta(json!({"reasoningContent": {"signature": seal}})))).collect()
        }
        Part::Text { deltas } => deltas.iter().map(|text| delta(json!({"text": text}))).collect(),
        Part::Cited { deltas, .. } => {
            let texts = deltas.iter().map(|text| delta(json!({"text": text})));
            texts.chain(std::iter::once(delta(json!({"citation": citation(&deltas.concat())})))).collect()
        }
        Part::Refusal(text) => vec![delta(json!({"text": text}))],
        Part::Call { id, name, arguments } => {
            let start =
                json!({"contentBlockIndex": index, "start": {"toolUse": {"toolUseId": id, "name": name}}});
            let text = arguments.to_string();
            let inputs =
                pieces(&text, 8).into_iter().map(|piece| delta(json!({"toolUse": {"input": piece}})));
            std::iter::once(event("contentBlockStart", start)).chain(inputs).collect()
        }
    }
}
