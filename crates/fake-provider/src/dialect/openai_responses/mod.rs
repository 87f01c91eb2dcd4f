//! OpenAI Responses, also as Azure speaks it.
//!
//! Source: OpenAI API reference, "Responses" and "Streaming events"; the `openai` SDK's types.

mod read;
mod stream;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::openai_chat::{OpenAiChat, authorize, refuse};
use super::{Dialect, Frames, Head, Refused};
use crate::failure::{Class, Failure};
use crate::read::Object;
use crate::reply::{Ask, Finish, Part, Reply, Style};
use crate::scenario::Usage;
use crate::store::{Store, StoredResponse};

/// Whose reasoning seals these are.
const FAMILY: &str = "openai";

pub(crate) struct OpenAiResponses;

impl Dialect for OpenAiResponses {
    fn authorize(&self, head: &Head<'_>) -> Result<(), Failure> {
        authorize(head)
    }

    fn read(&self, head: &Head<'_>, body: &Object) -> Result<Ask, Failure> {
        read::read(head, body)
    }

    fn style(&self) -> Style {
        Style { call_prefix: "call_", family: FAMILY }
    }

    fn whole(&self, ask: &Ask, reply: &Reply) -> Value {
        if ask.echo.get("background") == Some(&Value::Bool(true)) {
            return object(ask, reply, "queued");
        }
        object(ask, reply, final_status(&reply.finish))
    }

    fn frames(&self, ask: &Ask, reply: &Reply) -> Vec<Bytes> {
        stream::frames(ask, reply)
    }

    fn keep(&self, store: &Store, ask: &Ask, reply: &Reply) {
        if ask.echo.get("store") == Some(&Value::Bool(false)) {
            return;
        }
        let input = ask.echo.get("input").and_then(Value::as_array).cloned().unwrap_or_default();
        let answer = object(ask, reply, final_status(&reply.finish));
        store.keep_response(ask.id.clone(), StoredResponse { answer, input });
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        OpenAiChat.headers()
    }

    fn refuse(&self, head: &Head<'_>, failure: &Failure) -> Refused {
        if failure.class == Class::UnknownParam {
            let name = failure.param.as_deref().unwrap_or_default();
            let mut refused =
                refuse(head, &Failure::invalid_param(name, format!("Unknown parameter: '{name}'.")));
            refused.body["error"]["code"] = "unknown_parameter".into();
            return refused;
        }
        refuse(head, failure)
    }

    fn broken(&self, ask: &Ask) -> Bytes {
        let error =
            json!({"code": "server_error", "message": "An error occurred while processing your request."});
        let mut response = object(ask, &Reply::empty(), "failed");
        response["error"] = error;
        response["usage"] = Value::Null;
        let mut frames = Frames::default();
        let event = json!({"type": "response.failed", "sequence_number": 900, "response": response});
        frames.event("response.failed", &event);
        frames.finish().into_iter().next().unwrap_or_default()
    }
}

fn final_status(finish: &Finish) -> &'static str {
    match finish {
        Finish::Length | Finish::Filter => "incomplete",
        _ => "completed",
    }
}

fn usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    })
}

/// The response object in one of its states; only the final ones hold output and usage.
fn object(ask: &Ask, reply: &Reply, status: &str) -> Value {
    let echo = |name: &str, absent: Value| ask.echo.get(name).cloned().unwrap_or(absent);
    let ended = matches!(status, "completed" | "incomplete");
    let output: Vec<Value> = if ended { items(ask, reply) } else { Vec::new() };
    let reason = match reply.finish {
        Finish::Length => json!({"reason": "max_output_tokens"}),
        Finish::Filter => json!({"reason": "content_filter"}),
        _ => Value::Null,
    };
    json!({
        "id": ask.id, "object": "response", "created_at": ask.created, "status": status,
        "background": echo("background", false.into()),
        "completed_at": if status == "completed" { ask.created.into() } else { Value::Null },
        "error": null,
        "incomplete_details": if status == "incomplete" { reason } else { Value::Null },
        "instructions": echo("instructions", Value::Null),
        "max_output_tokens": echo("max_output_tokens", Value::Null),
        "max_tool_calls": echo("max_tool_calls", Value::Null),
        "model": ask.model,
        "output": output,
        "parallel_tool_calls": echo("parallel_tool_calls", true.into()),
        "previous_response_id": echo("previous_response_id", Value::Null),
        "prompt_cache_key": echo("prompt_cache_key", Value::Null),
        "reasoning": echo("reasoning", json!({"effort": null, "summary": null})),
        "safety_identifier": echo("safety_identifier", Value::Null),
        "service_tier": "default",
        "store": echo("store", true.into()),
        "temperature": echo("temperature", 1.0.into()),
        "text": echo("text", json!({"format": {"type": "text"}, "verbosity": "medium"})),
        "tool_choice": echo("tool_choice", "auto".into()),
        "tools": echo("tools", json!([])),
        "top_logprobs": echo("top_logprobs", 0.into()),
        "top_p": echo("top_p", 1.0.into()),
        "truncation": echo("truncation", "disabled".into()),
        "usage": if ended { usage(&reply.usage) } else { Value::Null },
        "user": echo("user", Value::Null),
        "metadata": echo("metadata", json!({})),
    })
}

/// All output items, complete.
fn items(ask: &Ask, reply: &Reply) -> Vec<Value> {
    reply.parts.iter().enumerate().map(|(index, part)| item(ask, reply, index, part)).collect()
}

/// The id of the item at `index`, with its kind's prefix.
fn item_id(ask: &Ask, prefix: &str, index: usize) -> String {
    format!("{prefix}_{}{index:02x}", ask.id.trim_start_matches("resp_"))
}

fn item(ask: &Ask, reply: &Reply, index: usize, part: &Part) -> Value {
    match part {
        Part::Reasoning { deltas, seal } => {
            let summary = json!([{"type": "summary_text", "text": deltas.concat()}]);
            let mut item = json!({"id": item_id(ask, "rs", index), "type": "reasoning", "summary": summary});
            if wants_encrypted(ask) {
                item["encrypted_content"] = seal.as_str().into();
            }
            item
        }
        Part::Call { id, name, arguments } => json!({
            "id": item_id(ask, "fc", index), "type": "function_call", "status": "completed",
            "arguments": arguments.to_string(), "call_id": id, "name": name,
        }),
        _ => {
            let status = final_status(&reply.finish);
            json!({"id": item_id(ask, "msg", index), "type": "message", "status": status,
                "content": [content(part)], "role": "assistant"})
        }
    }
}

/// The content part of a message item.
fn content(part: &Part) -> Value {
    match part {
        Part::Refusal(text) => json!({"type": "refusal", "refusal": text}),
        Part::Text { deltas } | Part::Cited { deltas, .. } => {
            let annotations: Vec<Value> = annotation(part).into_iter().collect();
            json!({"type": "output_text", "annotations": annotations, "logprobs": [], "text": deltas.concat()})
        }
        // Reasoning and calls are items of their own.
        Part::Reasoning { .. } | Part::Call { .. } => Value::Null,
    }
}

fn annotation(part: &Part) -> Option<Value> {
    let Part::Cited { deltas, source } = part else { return None };
    let end = deltas.concat().len();
    Some(json!({"type": "url_citation", "start_index": 0, "end_index": end, "title": "Fares", "url": source}))
}

fn wants_encrypted(ask: &Ask) -> bool {
    let include = ask.echo.get("include").and_then(Value::as_array);
    include.is_some_and(|include| include.iter().any(|word| word == "reasoning.encrypted_content"))
}

/// `GET`, `DELETE`, `POST .../cancel` and `GET .../input_items` of a stored response.
pub(crate) fn stored(store: &Store, head: &Head<'_>, method: &Method, rest: &str) -> Result<Value, Failure> {
    authorize(head)?;
    let (id, action) = rest.split_once('/').unwrap_or((rest, ""));
    let missing = || Failure {
        message: Some(format!("Response with id '{id}' not found.")),
        ..Failure::new(Class::NotFound)
    };
    let response = store.response(id).ok_or_else(missing)?;
    match (method.as_str(), action) {
        ("GET", "") => Ok(response.answer),
        ("DELETE", "") => {
            store.delete_response(id);
            Ok(json!({"id": id, "object": "response", "deleted": true}))
        }
        ("GET", "input_items") => {
            let id_of = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
            let (first, last) = (id_of(response.input.first()), id_of(response.input.last()));
            Ok(
                json!({"object": "list", "data": response.input, "first_id": first, "last_id": last, "has_more": false}),
            )
        }
        ("POST", "cancel") if response.answer["background"] == true => {
            let mut answer = response.answer;
            answer["status"] = "cancelled".into();
            store.keep_response(
                id.to_owned(),
                StoredResponse { answer: answer.clone(), input: response.input },
            );
            Ok(answer)
        }
        ("POST", "cancel") => Err(Failure::invalid("Cannot cancel a synchronous response.")),
        _ => Err(missing()),
    }
}
