//! Reads a whole answer.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::chat::{ChatResponse, Choice, Extra, Family, FinishReason, Part, Signature};
use crate::dialect::Malformed;
use crate::dialect::told::Told;
use crate::json as wire_json;

use super::types::{WireUsage, finish_of};
use super::{JSON_TOOL, citations};

#[derive(Deserialize)]
struct WireMessage {
    #[serde(default)]
    id: String,
    #[serde(default)]
    model: String,
    content: Vec<Map<String, Value>>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    #[serde(default)]
    usage: Told<WireUsage>,
    container: Option<Value>,
    context_management: Option<Value>,
}

/// Reads a `Message`.
pub(super) fn decode(body: &[u8]) -> Result<ChatResponse, Malformed> {
    let message: WireMessage = wire_json::read(body).map_err(Malformed)?;
    let mut finish = message.stop_reason.as_deref().map_or(FinishReason::Stop, finish_of);
    let mut parts: Vec<Part> = message.content.into_iter().map(part).collect();
    if take_json_answer(&mut parts) && finish == FinishReason::ToolCalls {
        finish = FinishReason::Stop;
    }
    let mut extra = Extra::default();
    for (key, value) in [("container", message.container), ("context_management", message.context_management)]
    {
        if let Some(value) = value {
            extra.put(Family::Anthropic, key, value);
        }
    }
    Ok(ChatResponse {
        id: message.id,
        model: message.model,
        created: None,
        choices: vec![Choice {
            index: 0,
            parts,
            finish,
            stop_sequence: message.stop_sequence,
            logprobs: None,
        }],
        usage: message.usage.usage(),
        extra,
    })
}

/// Turns the call that stands in for structured output back into text; true if there was one.
fn take_json_answer(parts: &mut [Part]) -> bool {
    let mut found = false;
    for part in parts {
        if let Part::ToolCall { name, arguments, .. } = part
            && name == JSON_TOOL
        {
            *part = Part::text(std::mem::take(arguments));
            found = true;
        }
    }
    found
}

fn part(mut block: Map<String, Value>) -> Part {
    let kind = block.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut take = |key: &str| match block.shift_remove(key) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let signed = |data: String| (!data.is_empty()).then_some(Signature { family: Family::Anthropic, data });
    match kind.as_str() {
        "text" => {
            let text = take("text");
            let end = text.chars().count();
            let annotations = match block.shift_remove("citations") {
                Some(Value::Array(found)) => {
                    found.into_iter().map(|item| citations::annotation(item, 0, end)).collect()
                }
                _ => Vec::new(),
            };
            Part::Text { text, annotations, signature: None, cache: None, extra: Extra::default() }
        }
        "thinking" => Part::Reasoning {
            text: take("thinking"),
            signature: signed(take("signature")),
            redacted: false,
            id: None,
        },
        "redacted_thinking" => {
            Part::Reasoning { text: String::new(), signature: signed(take("data")), redacted: true, id: None }
        }
        "tool_use" => {
            let (id, name) = (take("id"), take("name"));
            let arguments =
                block.shift_remove("input").map_or_else(String::new, |input| wire_json::text(&input));
            block.shift_remove("type");
            let extra = Extra::from_map(Family::Anthropic, block);
            Part::ToolCall { id, name, arguments, signature: None, cache: None, extra }
        }
        _ => Part::Foreign { family: Family::Anthropic, value: Value::Object(block) },
    }
}
