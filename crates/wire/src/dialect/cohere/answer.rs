//! Whole answers of `/v2/chat`.

use serde::Deserialize;
use serde_json::Value;

use crate::chat::{ChatResponse, Choice, Extra, Family, Part};
use crate::dialect::Malformed;
use crate::dialect::told::Told;
use crate::json;

use super::types::{WireUsage, annotations, finish, logprobs};

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    id: String,
    message: Message,
    finish_reason: String,
    #[serde(default)]
    usage: Option<Told<WireUsage>>,
    logprobs: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
struct Message {
    content: Option<Vec<Content>>,
    tool_plan: Option<String>,
    tool_calls: Option<Vec<Call>>,
    citations: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
struct Content {
    text: Option<String>,
    thinking: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Call {
    #[serde(default)]
    id: String,
    function: Function,
}

#[derive(Debug, Deserialize)]
struct Function {
    #[serde(default)]
    name: String,
    #[serde(default)]
    arguments: String,
}

/// Reads a whole answer.
pub(super) fn decode(body: &[u8]) -> Result<ChatResponse, Malformed> {
    let answer: Answer = json::read(body).map_err(Malformed)?;
    let mut extra = Extra::default();
    let mut parts = parts(answer.message.content, answer.message.tool_plan);
    if let Some(citations) = answer.message.citations.filter(|list| !list.is_empty()) {
        cite(&mut parts, &citations);
        extra.put(Family::Cohere, "citations", Value::Array(citations));
    }
    parts.extend(
        answer
            .message
            .tool_calls
            .into_iter()
            .flatten()
            .map(|call| Part::tool_call(call.id, call.function.name, call.function.arguments)),
    );
    let choice = Choice {
        index: 0,
        parts,
        finish: finish(&answer.finish_reason),
        stop_sequence: None,
        logprobs: answer.logprobs.filter(|items| !items.is_empty()).map(|items| logprobs(&items)),
    };
    Ok(ChatResponse {
        id: answer.id,
        choices: vec![choice],
        usage: answer.usage.unwrap_or_default().usage(),
        extra,
        ..ChatResponse::default()
    })
}

fn parts(content: Option<Vec<Content>>, plan: Option<String>) -> Vec<Part> {
    let mut parts = Vec::new();
    for item in content.into_iter().flatten() {
        if let Some(text) = item.thinking {
            parts.push(Part::Reasoning { text, signature: None, redacted: false, id: None });
        }
        if let Some(text) = item.text {
            parts.push(Part::text(text));
        }
    }
    // What the model says ahead of its calls.
    parts.extend(plan.filter(|text| !text.is_empty()).map(Part::text));
    parts
}

/// A citation says which content item it is about; without that it is about the last text.
fn cite(parts: &mut [Part], citations: &[Value]) {
    let last = parts.iter().rposition(|part| matches!(part, Part::Text { .. }));
    for citation in citations {
        let said =
            citation.get("content_index").and_then(Value::as_u64).and_then(|at| usize::try_from(at).ok());
        let at = said.filter(|at| matches!(parts.get(*at), Some(Part::Text { .. }))).or(last);
        if let Some(Part::Text { annotations: list, .. }) = at.and_then(|at| parts.get_mut(at)) {
            list.extend(annotations(citation));
        }
    }
}
