//! Reads a whole answer.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::chat::{ChatResponse, Choice, Extra, Family, FinishReason, Media, Part, Signature};
use crate::dialect::Malformed;
use crate::dialect::told::Told;
use crate::json as wire_json;

use super::types::{WireUsage, finish_of};
use super::{JSON_TOOL, citations};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAnswer {
    output: WireOutput,
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    usage: Told<WireUsage>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct WireOutput {
    message: WireMessage,
}

#[derive(Deserialize)]
struct WireMessage {
    #[serde(default)]
    content: Vec<Map<String, Value>>,
}

/// Reads a Converse answer; `signer` is the family that signs this model's reasoning.
pub(super) fn decode(body: &[u8], signer: Family) -> Result<ChatResponse, Malformed> {
    let answer: WireAnswer = wire_json::read(body).map_err(Malformed)?;
    let mut finish = answer.stop_reason.as_deref().map_or(FinishReason::Stop, finish_of);
    let mut parts: Vec<Part> =
        answer.output.message.content.into_iter().filter_map(|block| part(block, signer)).collect();
    if take_json_answer(&mut parts) && finish == FinishReason::ToolCalls {
        finish = FinishReason::Stop;
    }
    let mut usage = answer.usage.usage();
    usage.service_tier =
        answer.rest.get("serviceTier").and_then(|tier| tier.get("type")?.as_str()).map(str::to_owned);
    Ok(ChatResponse {
        choices: vec![Choice { index: 0, parts, finish, stop_sequence: None, logprobs: None }],
        usage,
        extra: Extra::from_map(Family::Bedrock, answer.rest),
        ..ChatResponse::default()
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

fn part(mut block: Map<String, Value>, signer: Family) -> Option<Part> {
    let kind = block.keys().next()?.clone();
    let inner = block.get(&kind)?;
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let part = match kind.as_str() {
        "text" => Part::text(inner.as_str().unwrap_or_default()),
        "toolUse" => {
            let input = inner.get("input").map_or_else(String::new, wire_json::text);
            let mut call = Part::tool_call(text(inner, "toolUseId"), text(inner, "name"), input);
            if let (Part::ToolCall { extra, .. }, Some(kind)) = (&mut call, inner.get("type")) {
                extra.put(Family::Bedrock, "type", kind.clone());
            }
            call
        }
        "reasoningContent" => reasoning(inner, signer),
        "citationsContent" => {
            let texts = inner.get("content").and_then(Value::as_array).into_iter().flatten();
            let said: String = texts.filter_map(|it| it.get("text")?.as_str()).collect();
            let end = said.chars().count();
            let found = inner.get("citations").and_then(Value::as_array).into_iter().flatten();
            let annotations = found.map(|citation| citations::annotation(citation, 0, end)).collect();
            Part::Text { text: said, annotations, signature: None, cache: None, extra: Extra::default() }
        }
        "image" => {
            let data = inner.pointer("/source/bytes").and_then(Value::as_str)?.to_owned();
            let mime = format!("image/{}", inner.get("format").and_then(Value::as_str).unwrap_or("png"));
            Part::image(Media::Base64 { mime, data })
        }
        _ => {
            block.retain(|key, _| *key == kind);
            Part::Foreign { family: Family::Bedrock, value: Value::Object(block) }
        }
    };
    Some(part)
}

fn reasoning(inner: &Value, signer: Family) -> Part {
    if let Some(data) = inner.get("redactedContent").and_then(Value::as_str) {
        let signature = Some(Signature { family: Family::Bedrock, data: data.to_owned() });
        return Part::Reasoning { text: String::new(), signature, redacted: true, id: None };
    }
    let said = inner.get("reasoningText");
    let text = |key: &str| said.and_then(|said| said.get(key)?.as_str()).unwrap_or_default().to_owned();
    let data = text("signature");
    let signature = (!data.is_empty()).then_some(Signature { family: signer, data });
    Part::Reasoning { text: text("text"), signature, redacted: false, id: None }
}
