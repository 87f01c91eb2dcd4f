//! Complete answers of `/responses`.

use faregate_terms::AsTold;
use serde_json::{Value, json};

use crate::chat::{ChatResponse, Choice, Extra, Family, Media, Part};
use crate::dialect::{Malformed, openai_chat};
use crate::{json as wire_json, opaque};

use super::tools::SHELL;
use super::types::{WireUsage, finish_of, nested};

/// Reads a response object.
pub(super) fn decode(body: &[u8]) -> Result<ChatResponse, Malformed> {
    let response: Value = wire_json::read(body).map_err(Malformed)?;
    if let Some(error) = response.get("error").filter(|error| !error.is_null()) {
        return Err(Malformed(openai_chat::fault_of(error, 200).message));
    }
    let output = response
        .get("output")
        .and_then(Value::as_array)
        .ok_or_else(|| Malformed("no `output`".to_owned()))?;
    let mut parts = Vec::new();
    let mut logprobs = Vec::new();
    for item in output {
        parts.extend(item_parts(item));
        logprobs.extend(item_logprobs(item));
    }
    let called = parts.iter().any(|part| matches!(part, Part::ToolCall { .. }));
    let word = |name: &str| response.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let logprobs = (!logprobs.is_empty()).then(|| json!({ "content": logprobs }));
    Ok(ChatResponse {
        id: word("id"),
        model: word("model"),
        created: response.get("created_at").and_then(created),
        choices: vec![Choice {
            index: 0,
            parts,
            finish: finish_of(&response, called),
            stop_sequence: None,
            logprobs,
        }],
        usage: usage(&response),
        extra: Extra::default(),
    })
}

/// Seconds, with a fraction in some answers.
pub(super) fn created(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| format!("{:.0}", value.as_f64()?.trunc()).parse().ok())
}

/// The figures in a response object.
pub(super) fn usage(response: &Value) -> faregate_terms::Usage {
    let wire = response.get("usage").filter(|usage| !usage.is_null()).cloned();
    let wire = wire.and_then(|usage| serde_json::from_value::<WireUsage>(usage).ok()).unwrap_or_default();
    let mut usage = wire.usage();
    usage.raw =
        AsTold(response.get("usage").filter(|usage| !usage.is_null()).map(|it| it.to_string().into()));
    usage.service_tier = response.get("service_tier").and_then(Value::as_str).map(str::to_owned);
    let searches = response.get("output").and_then(Value::as_array).into_iter().flatten();
    let searches = searches.filter(|item| item.get("type").is_some_and(|kind| kind == "web_search_call"));
    usage.web_searches = u64::try_from(searches.count()).unwrap_or(u64::MAX);
    usage
}

fn item_logprobs(item: &Value) -> Vec<Value> {
    let parts = item.get("content").and_then(Value::as_array).into_iter().flatten();
    parts.filter_map(|part| part.get("logprobs")?.as_array()).flatten().cloned().collect()
}

/// What one output item says.
pub(super) fn item_parts(item: &Value) -> Vec<Part> {
    let word = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    match item.get("type").and_then(Value::as_str).unwrap_or_default() {
        "message" => {
            item.get("content").and_then(Value::as_array).into_iter().flatten().map(content).collect()
        }
        "function_call" => {
            let (id, signature) = opaque::open_id(&word("call_id"));
            let mut part = Part::tool_call(id, word("name"), word("arguments"));
            if let Part::ToolCall { signature: place, .. } = &mut part {
                *place = signature;
            }
            vec![part]
        }
        "custom_tool_call" => {
            let input = wire_json::text(&json!({"input": word("input")}));
            vec![foreign_call(word("call_id"), word("name"), input, "custom")]
        }
        "local_shell_call" => {
            let action = shell_arguments(item);
            vec![foreign_call(word("call_id"), SHELL.to_owned(), action, SHELL)]
        }
        "reasoning" => vec![reasoning(item)],
        "image_generation_call" if item.get("result").is_some_and(Value::is_string) => {
            let format = item.get("output_format").and_then(Value::as_str).unwrap_or("png");
            vec![Part::image(Media::Base64 { mime: format!("image/{format}"), data: word("result") })]
        }
        _ => vec![Part::Foreign { family: Family::Responses, value: item.clone() }],
    }
}

/// The arguments of a shell call as a function's.
pub(super) fn shell_arguments(item: &Value) -> String {
    let mut action = item.get("action").cloned().unwrap_or_default();
    if let Value::Object(members) = &mut action {
        members.shift_remove("type");
        members.retain(|_, value| !value.is_null());
    }
    wire_json::text(&action)
}

fn foreign_call(id: String, name: String, arguments: String, kind: &str) -> Part {
    let mut extra = Extra::default();
    extra.put(Family::Responses, "type", json!(kind));
    Part::ToolCall { id, name, arguments, signature: None, cache: None, extra }
}

fn content(part: &Value) -> Part {
    let word = |name: &str| part.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    match part.get("type").and_then(Value::as_str) {
        Some("refusal") => Part::Refusal { text: word("refusal") },
        Some("output_text") | None => Part::Text {
            text: word("text"),
            annotations: part
                .get("annotations")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(nested)
                .collect(),
            signature: None,
            cache: None,
            extra: Extra::default(),
        },
        Some(_) => Part::Foreign { family: Family::Responses, value: part.clone() },
    }
}

/// Reads a reasoning item: its summary, else the text of models that show it.
pub(super) fn reasoning(item: &Value) -> Part {
    let texts = |name: &str| -> Vec<&str> {
        let list = item.get(name).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|it| it.get("text")?.as_str()).collect()
    };
    let said = match texts("summary") {
        empty if empty.is_empty() => texts("content"),
        summary => summary,
    };
    let text = said.join("\n\n");
    let sealed = item.get("encrypted_content").and_then(Value::as_str);
    let signature = sealed.map(|sealed| opaque::open(sealed, Family::Responses));
    Part::Reasoning {
        redacted: text.is_empty() && signature.is_some(),
        text,
        signature,
        id: item.get("id").and_then(Value::as_str).map(str::to_owned),
    }
}
