//! Anthropic Messages, also inside Bedrock's and Vertex AI's envelopes.
//!
//! Source: Anthropic API reference, "Create a message", "Streaming messages", "Errors"; the `anthropic` SDK's types.

mod betas;
mod read;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Dialect, Frames, Head, Refused, pieces, serial};
use crate::failure::{Class, Failure};
use crate::read::Object;
use crate::reply::{Ask, Finish, Part, Reply, Style};
use crate::scenario::Usage;

pub(crate) use read::{Envelope, read};

/// Whose reasoning seals these are.
pub(crate) const FAMILY: &str = "anthropic";

pub(crate) struct Anthropic;

impl Dialect for Anthropic {
    fn authorize(&self, head: &Head<'_>) -> Result<(), Failure> {
        let key = super::header(head.headers, "x-api-key").or_else(|| super::bearer(head.headers));
        if key.is_none_or(super::is_wrong) {
            return Err(Failure::new(Class::Authentication));
        }
        match super::header(head.headers, "anthropic-version") {
            Some("2023-06-01" | "2023-01-01" | "2026-10-21") => Ok(()),
            Some(other) => {
                Err(Failure::invalid(format!("anthropic-version: \"{other}\" is not a valid version")))
            }
            None => Err(Failure::invalid("anthropic-version: header is required")),
        }
    }

    fn read(&self, head: &Head<'_>, body: &Object) -> Result<Ask, Failure> {
        read(body, Envelope::Direct(super::header(head.headers, "anthropic-beta").unwrap_or_default()))
    }

    fn style(&self) -> Style {
        Style { call_prefix: "toolu_01", family: FAMILY }
    }

    fn whole(&self, ask: &Ask, reply: &Reply) -> Value {
        let mut message = opening(ask, &reply.usage);
        message["content"] = reply.parts.iter().map(block).collect();
        message["stop_reason"] = stop_reason(&reply.finish).into();
        message["stop_sequence"] = stop_sequence(&reply.finish);
        message["usage"] = usage(&reply.usage);
        message
    }

    fn frames(&self, ask: &Ask, reply: &Reply) -> Vec<Bytes> {
        let mut frames = Frames::default();
        for event in events(ask, reply) {
            frames.event(event["type"].as_str().unwrap_or_default(), &event);
        }
        frames.finish()
    }

    fn count(&self, head: &Head<'_>, body: &[u8]) -> Result<Value, Failure> {
        let body: Value = serde_json::from_slice(body).map_err(|_| Failure::invalid("Invalid JSON"))?;
        let mut body =
            body.as_object().cloned().ok_or_else(|| Failure::invalid("Input should be an object"))?;
        if let Some(name) =
            ["max_tokens", "stream", "temperature"].into_iter().find(|name| body.contains_key(*name))
        {
            return Err(Failure::unknown_param(name));
        }
        // The rest is checked like a generation, which needs a limit.
        body.insert("max_tokens".into(), u32::MAX.into());
        let ask = self.read(head, &body)?;
        Ok(json!({"input_tokens": ask.prompt_chars / 4 + 1}))
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("request-id", "req_fake0001"),
            ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-requests-reset", "2030-01-01T00:00:00Z"),
            ("anthropic-ratelimit-tokens-limit", "480000"),
            ("anthropic-ratelimit-tokens-remaining", "479000"),
            ("anthropic-ratelimit-tokens-reset", "2030-01-01T00:00:00Z"),
        ]
    }

    fn refuse(&self, head: &Head<'_>, failure: &Failure) -> Refused {
        let body = error_body(head, failure);
        let mut headers =
            vec![("request-id", "req_fake0001".to_owned()), ("x-should-retry", retry(failure).into())];
        if let Some(seconds) = failure.retry_after {
            headers.push(("retry-after", seconds.to_string()));
        }
        Refused { status: status(failure), headers, body }
    }

    fn broken(&self, _ask: &Ask) -> Bytes {
        let mut frames = Frames::default();
        frames.event("error", &broken_event());
        frames.finish().into_iter().next().unwrap_or_default()
    }
}

/// The `error` event of a stream that fails.
pub(crate) fn broken_event() -> Value {
    json!({"type": "error", "error": {"details": null, "type": "overloaded_error", "message": "Overloaded"},
        "request_id": "req_fake0001"})
}

fn status(failure: &Failure) -> u16 {
    failure.status.unwrap_or(match failure.class {
        Class::Unavailable => 529,
        Class::Timeout => 504,
        class => class.status(),
    })
}

fn retry(failure: &Failure) -> &'static str {
    if matches!(status(failure), 408 | 409 | 429 | 500..) { "true" } else { "false" }
}

/// The error object, as Anthropic words it.
pub(crate) fn error_body(head: &Head<'_>, failure: &Failure) -> Value {
    let model = head.model.unwrap_or("unknown");
    let (kind, own) = match failure.class {
        Class::Invalid | Class::Unprocessable => ("invalid_request_error", "Invalid request".to_owned()),
        Class::UnknownParam => {
            let name = failure.param.as_deref().unwrap_or_default();
            ("invalid_request_error", format!("{name}: Extra inputs are not permitted"))
        }
        Class::Authentication => ("authentication_error", "invalid x-api-key".to_owned()),
        Class::Payment => (
            "billing_error",
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade \
             or purchase credits."
                .to_owned(),
        ),
        Class::Permission => {
            ("permission_error", "Your API key does not have permission to use the specified resource.".to_owned())
        }
        Class::NotFound => ("not_found_error", format!("model: {model}")),
        Class::Timeout => ("timeout_error", "Request timed out".to_owned()),
        Class::TooLarge => ("request_too_large", "Request exceeds the maximum size".to_owned()),
        Class::RateLimit => (
            "rate_limit_error",
            "This request would exceed your organization's rate limit of 50 requests per minute.".to_owned(),
        ),
        Class::Context => {
            ("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum".to_owned())
        }
        Class::Policy => ("invalid_request_error", "Output blocked by content filtering policy".to_owned()),
        Class::Internal | Class::BadGateway => ("api_error", "Internal server error".to_owned()),
        Class::Unavailable => ("overloaded_error", "Overloaded".to_owned()),
    };
    json!({"type": "error", "error": {"type": kind, "message": failure.text(|| own)}, "request_id": "req_fake0001"})
}

pub(crate) fn stop_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Calls => "tool_use",
        Finish::Filter | Finish::Refused | Finish::Blocked => "refusal",
        Finish::Sequence(_) => "stop_sequence",
    }
}

fn stop_sequence(finish: &Finish) -> Value {
    match finish {
        Finish::Sequence(text) => text.as_str().into(),
        _ => Value::Null,
    }
}

/// Token counts; `input_tokens` leaves cached tokens out, as Anthropic does.
fn usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input - usage.cached - usage.cache_write,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": usage.cache_write, "ephemeral_1h_input_tokens": 0},
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
        "service_tier": "standard",
    })
}

fn opening(ask: &Ask, counts: &Usage) -> Value {
    let mut first = usage(counts);
    first["output_tokens"] = 1.into();
    json!({
        "id": format!("msg_fake{:x}", serial()),
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": first,
    })
}

fn citation(text: &str) -> Value {
    json!({"type": "char_location", "cited_text": text, "document_index": 0, "document_title": "Fares",
        "start_char_index": 0, "end_char_index": text.len(), "file_id": null})
}

fn block(part: &Part) -> Value {
    match part {
        Part::Reasoning { deltas, seal } => {
            json!({"type": "thinking", "thinking": deltas.concat(), "signature": seal})
        }
        Part::Text { deltas } => json!({"type": "text", "text": deltas.concat()}),
        Part::Cited { deltas, .. } => {
            let text = deltas.concat();
            json!({"type": "text", "text": text, "citations": [citation(&text)]})
        }
        Part::Refusal(text) => json!({"type": "text", "text": text}),
        Part::Call { id, name, arguments } => {
            json!({"type": "tool_use", "id": id, "name": name, "input": arguments})
        }
    }
}

/// The events of a streamed answer, in order.
pub(crate) fn events(ask: &Ask, reply: &Reply) -> Vec<Value> {
    let mut events = vec![json!({"type": "message_start", "message": opening(ask, &reply.usage)})];
    for (index, part) in reply.parts.iter().enumerate() {
        let (start, deltas) = streamed(part);
        events.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
        if index == 0 {
            events.push(json!({"type": "ping"}));
        }
        events.extend(
            deltas
                .into_iter()
                .map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})),
        );
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    let mut totals = usage(&reply.usage);
    if let Some(totals) = totals.as_object_mut() {
        totals.retain(|name, _| name != "cache_creation" && name != "service_tier");
    }
    let delta =
        json!({"stop_reason": stop_reason(&reply.finish), "stop_sequence": stop_sequence(&reply.finish)});
    events.push(json!({"type": "message_delta", "delta": delta, "usage": totals}));
    events.push(json!({"type": "message_stop"}));
    events
}

/// The empty block a stream opens with, and the deltas that fill it.
fn streamed(part: &Part) -> (Value, Vec<Value>) {
    let text_deltas = |deltas: &[String]| {
        deltas.iter().map(|text| json!({"type": "text_delta", "text": text})).collect::<Vec<_>>()
    };
    match part {
        Part::Reasoning { deltas, seal } => {
            let thinking = deltas.iter().map(|text| json!({"type": "thinking_delta", "thinking": text}));
            let sealed = std::iter::once(json!({"type": "signature_delta", "signature": seal}));
            (json!({"type": "thinking", "thinking": "", "signature": ""}), thinking.chain(sealed).collect())
        }
        Part::Text { deltas } => (json!({"type": "text", "text": ""}), text_deltas(deltas)),
        Part::Cited { deltas, .. } => {
            let mut all = text_deltas(deltas);
            all.push(json!({"type": "citations_delta", "citation": citation(&deltas.concat())}));
            (json!({"type": "text", "text": "", "citations": []}), all)
        }
        Part::Refusal(text) => (json!({"type": "text", "text": ""}), text_deltas(std::slice::from_ref(text))),
        Part::Call { id, name, arguments } => {
            let text = arguments.to_string();
            // The real API opens each input with an empty piece.
            let parts = std::iter::once("").chain(pieces(&text, 8));
            let deltas =
                parts.map(|piece| json!({"type": "input_json_delta", "partial_json": piece})).collect();
            (json!({"type": "tool_use", "id": id, "name": name, "input": {}}), deltas)
        }
    }
}
