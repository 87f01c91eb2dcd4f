//! What a model said, as output items and as the response object around them.

use serde_json::{Map, Value, json};

use faregate_terms::Usage;

use crate::chat::{ChatRequest, ChatResponse, Family, Media, OutputFormat, Part, Signature};
use crate::dialect::{Losses, Reply};
use crate::{json as wire_json, opaque};

use super::request::INSTRUCTIONS;
use super::tools::{self, Nature, SHELL};
use super::types::{UsageOut, flat};

/// An item's id: stable between a stream's events and its final object.
pub(super) fn item_id(prefix: &str, call: &str, index: usize) -> String {
    format!("{prefix}_{call}{index:04x}")
}

/// The response's id: the provider's if it is one of this dialect, else one made of the call's.
pub(super) fn response_id(provider: &str, call: &str) -> String {
    if provider.starts_with("resp_") { provider.to_owned() } else { format!("resp_{call}") }
}

/// The output items of an answer, as a client gets them and may send them back.
pub fn output_items(answer: &ChatResponse, reply: &Reply, losses: &mut Losses) -> Vec<Value> {
    if answer.choices.len() > 1 {
        losses.note("choices");
    }
    let Some(choice) = answer.choices.first() else {
        return Vec::new();
    };
    let logprobs = choice.logprobs.as_ref().and_then(|value| value.get("content"));
    let mut items: Vec<Value> = Vec::new();
    // Texts and refusals in a row are parts of one message.
    let mut said: Vec<Value> = Vec::new();
    for part in &choice.parts {
        if let Some(content) = spoken(part, logprobs, losses) {
            said.push(content);
            continue;
        }
        flush(&mut said, &mut items, reply);
        let index = items.len();
        items.extend(item(part, index, reply, losses));
    }
    flush(&mut said, &mut items, reply);
    items
}

fn flush(said: &mut Vec<Value>, items: &mut Vec<Value>, reply: &Reply) {
    if !said.is_empty() {
        let id = item_id("msg", &reply.id, items.len());
        items.push(message(&id, "completed", std::mem::take(said)));
    }
}

/// A part that belongs into a message.
fn spoken(part: &Part, logprobs: Option<&Value>, losses: &mut Losses) -> Option<Value> {
    match part {
        Part::Text { text, annotations, signature, .. } => {
            if signature.is_some() {
                losses.note("content.signature");
            }
            let annotations = annotations.iter().map(flat).collect();
            Some(text_part(text, annotations, logprobs.cloned().unwrap_or_else(|| json!([]))))
        }
        Part::Refusal { text } => Some(json!({"type": "refusal", "refusal": text})),
        Part::Audio { transcript: Some(text), .. } => {
            losses.note("content.audio");
            Some(text_part(text, Vec::new(), json!([])))
        }
        _ => None,
    }
}

/// A text part of a message.
pub(super) fn text_part(text: &str, annotations: Vec<Value>, logprobs: Value) -> Value {
    json!({"type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs})
}

/// A message of the model's.
pub(super) fn message(id: &str, status: &str, content: Vec<Value>) -> Value {
    json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content})
}

fn item(part: &Part, index: usize, reply: &Reply, losses: &mut Losses) -> Option<Value> {
    let id = |prefix: &str| item_id(prefix, &reply.id, index);
    match part {
        Part::Reasoning { text, signature, id: own, .. } => {
            let id = own.clone().filter(|own| own.starts_with("rs_")).unwrap_or_else(|| id("rs"));
            Some(reasoning(&id, text, signature.as_ref()))
        }
        Part::ToolCall { id: call_id, name, arguments, signature, .. } => {
            let nature = tools::nature(&reply.request, name);
            let call_id = opaque::seal_id(call_id, signature.as_ref());
            let arguments = if arguments.is_empty() { "{}" } else { arguments };
            Some(call(nature, &id(prefix(nature)), &call_id, name, arguments, "completed"))
        }
        Part::Image { media: Media::Base64 { data, .. }, .. } => Some(picture(&id("ig"), data)),
        Part::Foreign { family: Family::Responses, value } => Some(value.clone()),
        other => {
            losses.note(other.loss());
            None
        }
    }
}

/// The prefix of a call's item id.
pub(super) fn prefix(nature: Nature) -> &'static str {
    match nature {
        Nature::Function => "fc",
        Nature::Custom => "ctc",
        Nature::Shell => "lsh",
    }
}

/// A generated picture.
pub(super) fn picture(id: &str, data: &str) -> Value {
    json!({"id": id, "type": "image_generation_call", "status": "completed", "result": data})
}

/// A reasoning item.
pub(super) fn reasoning(id: &str, text: &str, signature: Option<&Signature>) -> Value {
    let summary = if text.is_empty() { json!([]) } else { json!([{"type": "summary_text", "text": text}]) };
    let mut item = Map::new();
    item.insert("id".to_owned(), json!(id));
    item.insert("type".to_owned(), json!("reasoning"));
    item.insert("summary".to_owned(), summary);
    if let Some(signature) = signature {
        let sealed = opaque::seal(signature, Family::Responses);
        item.insert("encrypted_content".to_owned(), json!(sealed));
    }
    Value::Object(item)
}

/// A call in the form in which the client offered the tool.
pub(super) fn call(
    nature: Nature,
    id: &str,
    call_id: &str,
    name: &str,
    arguments: &str,
    status: &str,
) -> Value {
    match nature {
        Nature::Function => json!({"id": id, "type": "function_call", "status": status,
            "arguments": arguments, "call_id": call_id, "name": name}),
        Nature::Custom => json!({"id": id, "type": "custom_tool_call", "status": status,
            "call_id": call_id, "input": custom_input(arguments), "name": name}),
        Nature::Shell => {
            let mut action = Map::new();
            action.insert("type".to_owned(), json!("exec"));
            action.insert("env".to_owned(), json!({}));
            action.insert("command".to_owned(), json!([]));
            if let Value::Object(asked) = wire_json::arguments(arguments) {
                action.extend(asked);
            }
            json!({"id": id, "type": format!("{SHELL}_call"), "status": status,
                "call_id": call_id, "action": action})
        }
    }
}

/// The free text in a custom tool's stand-in arguments.
pub(super) fn custom_input(arguments: &str) -> String {
    let value = wire_json::arguments(arguments);
    match value.get("input") {
        Some(Value::String(text)) => text.clone(),
        _ if arguments == "{}" => String::new(),
        _ => arguments.to_owned(),
    }
}

/// The state of a response at one moment.
pub(super) struct State<'a> {
    /// Its id.
    pub id: &'a str,
    /// Unix seconds.
    pub created: i64,
    /// `in_progress`, `completed`, `incomplete`, `failed`.
    pub status: &'a str,
    /// Why it is incomplete.
    pub incomplete: Option<&'a str>,
    /// The error object.
    pub error: Value,
    /// What was said so far.
    pub output: Vec<Value>,
    /// Figures, once known.
    pub usage: Option<&'a Usage>,
}

/// The response object, with the parts of the request it repeats.
pub(super) fn response(state: State<'_>, reply: &Reply) -> Map<String, Value> {
    let request = &*reply.request;
    let sampling = &request.sampling;
    let own = |name: &str| request.extra.get(Family::Responses, name).cloned();
    let tier = state.usage.and_then(|usage| usage.service_tier.clone()).or(request.service_tier.clone());
    let mut out = Map::new();
    let members = [
        ("id", json!(state.id)),
        ("object", json!("response")),
        ("created_at", json!(state.created)),
        ("status", json!(state.status)),
        ("background", own("background").unwrap_or(json!(false))),
        ("error", state.error),
        ("incomplete_details", state.incomplete.map_or(Value::Null, |reason| json!({ "reason": reason }))),
        ("instructions", instructions(request)),
        ("max_output_tokens", json!(sampling.max_output_tokens)),
        ("max_tool_calls", own("max_tool_calls").unwrap_or_default()),
        ("model", json!(reply.model)),
        ("output", Value::Array(state.output)),
        ("parallel_tool_calls", json!(request.parallel_tools.unwrap_or(true))),
        ("previous_response_id", own("previous_response_id").unwrap_or_default()),
        ("prompt_cache_key", own("prompt_cache_key").unwrap_or_default()),
        ("reasoning", reasoning_echo(request)),
        ("safety_identifier", own("safety_identifier").unwrap_or_default()),
        ("service_tier", json!(tier.as_deref().unwrap_or("default"))),
        ("store", own("store").unwrap_or(json!(true))),
        ("temperature", sampling.temperature.clone().map_or(json!(1.0), Value::Number)),
        ("text", text_echo(request)),
        ("tool_choice", tool_choice_echo(request)),
        ("tools", Value::Array(request.tools.iter().filter_map(tools::render).collect())),
        ("top_logprobs", json!(sampling.top_logprobs.unwrap_or(0))),
        ("top_p", sampling.top_p.clone().map_or(json!(1.0), Value::Number)),
        ("truncation", own("truncation").unwrap_or(json!("disabled"))),
        ("usage", state.usage.map_or(Value::Null, |usage| json!(UsageOut::of(usage)))),
        ("user", json!(request.user)),
        ("metadata", Value::Object(request.metadata.clone())),
    ];
    for (name, value) in members {
        out.insert(name.to_owned(), value);
    }
    out
}

fn instructions(request: &ChatRequest) -> Value {
    let marked =
        request.messages.first().filter(|first| first.extra.get(Family::Responses, INSTRUCTIONS).is_some());
    marked.and_then(|message| message.parts.first()?.as_text()).map_or(Value::Null, Value::from)
}

fn reasoning_echo(request: &ChatRequest) -> Value {
    let wish = request.reasoning.as_ref();
    json!({
        "effort": wish.and_then(|wish| wish.effort.as_ref()).map(|effort| effort.word().to_owned()),
        "summary": wish.and_then(|wish| wish.summary.clone()),
    })
}

fn text_echo(request: &ChatRequest) -> Value {
    let mut text = match request.extra.get(Family::Responses, "text") {
        Some(Value::Object(rest)) => rest.clone(),
        _ => Map::new(),
    };
    text.insert("format".to_owned(), format(&request.output));
    Value::Object(text)
}

/// `text.format`.
pub(super) fn format(output: &OutputFormat) -> Value {
    match output {
        OutputFormat::Text => json!({"type": "text"}),
        OutputFormat::JsonObject => json!({"type": "json_object"}),
        OutputFormat::JsonSchema { name, description, schema, strict } => {
            let mut format = Map::new();
            format.insert("type".to_owned(), json!("json_schema"));
            format.insert("name".to_owned(), json!(name.as_deref().unwrap_or("response")));
            if let Some(description) = description {
                format.insert("description".to_owned(), json!(description));
            }
            format.insert("schema".to_owned(), schema.clone());
            if let Some(strict) = strict {
                format.insert("strict".to_owned(), json!(strict));
            }
            Value::Object(format)
        }
    }
}

fn tool_choice_echo(request: &ChatRequest) -> Value {
    match &request.tool_choice {
        Some(choice) => tools::render_choice(choice, request),
        None => request.extra.get(Family::Responses, "tool_choice").cloned().unwrap_or(json!("auto")),
    }
}
