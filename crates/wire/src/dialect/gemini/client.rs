//! The client side: `:generateContent`, `:streamGenerateContent`.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, ChatResponse, Choice, Extra, Family, Media, Part};
use crate::dialect::{BadRequest, ClientCall, ClientDialect, ErrorNote, Losses, Reply, StreamEncoder};
use crate::json as wire_json;

use super::stream_out::Encoder;
use super::types::{UsageOut, finish_word, logprobs_result, status_word};
use super::{request, state, time};

/// Clients that speak Gemini's `generateContent`.
#[derive(Debug, Clone, Copy)]
pub struct Client;

impl ClientDialect for Client {
    fn family(&self) -> Family {
        Family::Gemini
    }

    fn decode(&self, body: &[u8], call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
        request::decode(body, call)
    }

    fn encode(&self, answer: &ChatResponse, reply: &Reply, losses: &mut Losses) -> Vec<u8> {
        encode(answer, reply, losses)
    }

    fn encoder(&self, reply: Reply) -> Box<dyn StreamEncoder> {
        Box::new(Encoder::new(reply))
    }

    fn error(&self, note: &ErrorNote) -> Vec<u8> {
        wire_json::write(&error_value(note))
    }

    fn stream_type(&self, alt_sse: bool) -> &'static str {
        if alt_sse { self.stream_content_type() } else { "application/json; charset=utf-8" }
    }
}

/// Members of a candidate that are carried as they came; all others of the family belong to the answer.
const OF_CANDIDATE: &[&str] = &[
    "citationMetadata",
    "groundingMetadata",
    "groundingAttributions",
    "urlContextMetadata",
    "safetyRatings",
    "finishMessage",
    "tokenCount",
];

/// Where the provider's own word for the finish is kept.
pub(super) const FINISH_WORD: &str = "finishReason";

fn encode(answer: &ChatResponse, reply: &Reply, losses: &mut Losses) -> Vec<u8> {
    let blocked = answer.extra.get(Family::Gemini, "promptFeedback").is_some();
    let candidates: Vec<Value> = answer
        .choices
        .iter()
        .filter(|choice| !(blocked && choice.parts.is_empty()))
        .map(|choice| candidate(choice, &answer.extra, losses))
        .collect();
    let mut body = Map::new();
    body.insert("candidates".to_owned(), Value::Array(candidates));
    body.insert("usageMetadata".to_owned(), json!(UsageOut::of(&answer.usage)));
    body.insert("modelVersion".to_owned(), json!(reply.model));
    let created = answer.created.unwrap_or(reply.created);
    body.insert("createTime".to_owned(), json!(time::rfc3339(created)));
    body.insert("responseId".to_owned(), json!(response_id(&answer.id, &reply.id)));
    for (key, value) in of_answer(&answer.extra) {
        body.entry(key.clone()).or_insert_with(|| value.clone());
    }
    wire_json::write(&body)
}

/// The provider's id, else the call's.
pub(super) fn response_id<'a>(provider: &'a str, call: &'a str) -> &'a str {
    if provider.is_empty() { call } else { provider }
}

/// Carried members that stand beside `candidates`.
pub(super) fn of_answer(extra: &Extra) -> impl Iterator<Item = (&String, &Value)> {
    let members = extra.of(Family::Gemini).into_iter().flatten();
    members.filter(|(key, _)| !OF_CANDIDATE.contains(&key.as_str()) && *key != FINISH_WORD)
}

/// Carried members that stand in the first candidate.
pub(super) fn of_candidate(extra: &Extra) -> impl Iterator<Item = (&String, &Value)> {
    let members = extra.of(Family::Gemini).into_iter().flatten();
    members.filter(|(key, _)| OF_CANDIDATE.contains(&key.as_str()))
}

fn candidate(choice: &Choice, extra: &Extra, losses: &mut Losses) -> Value {
    let parts: Vec<Value> = choice.parts.iter().filter_map(|part| part_value(part, losses)).collect();
    let own = extra.get(Family::Gemini, FINISH_WORD).and_then(Value::as_str);
    let mut out = Map::new();
    out.insert("content".to_owned(), json!({"parts": parts, "role": "model"}));
    out.insert("finishReason".to_owned(), json!(finish_word(&choice.finish, own)));
    out.insert("index".to_owned(), json!(choice.index));
    if let Some((result, average)) = choice.logprobs.as_ref().and_then(logprobs_result) {
        out.insert("avgLogprobs".to_owned(), json!(average));
        out.insert("logprobsResult".to_owned(), result);
    }
    if choice.index == 0 {
        for (key, value) in of_candidate(extra) {
            out.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let cited = annotations(&choice.parts);
        if !cited.iter().all(is_web) {
            losses.note("content.annotations");
        }
        if let Some(metadata) = grounding(&cited) {
            out.entry("groundingMetadata").or_insert(metadata);
        }
    }
    Value::Object(out)
}

fn annotations(parts: &[Part]) -> Vec<Value> {
    let lists = parts.iter().filter_map(|part| match part {
        Part::Text { annotations, .. } => Some(annotations),
        _ => None,
    });
    lists.flatten().cloned().collect()
}

/// True for a citation of a web page, the only kind the dialect has a place for.
pub(super) fn is_web(annotation: &Value) -> bool {
    annotation.get("url_citation").unwrap_or(annotation).get("url").is_some_and(Value::is_string)
}

/// Web citations as `groundingMetadata`.
pub(super) fn grounding(annotations: &[Value]) -> Option<Value> {
    let (mut chunks, mut supports) = (Vec::new(), Vec::new());
    for annotation in annotations {
        // OpenAI responses has the members beside the type, chat completions in an object.
        let inner = annotation.get("url_citation").unwrap_or(annotation);
        let Some(url) = inner.get("url").and_then(Value::as_str) else {
            continue;
        };
        let mut segment = Map::new();
        for (theirs, ours) in
            [("start_index", "startIndex"), ("end_index", "endIndex"), ("cited_text", "text")]
        {
            if let Some(value) = inner.get(theirs).filter(|value| !value.is_null()) {
                segment.insert(ours.to_owned(), value.clone());
            }
        }
        let title = inner.get("title").and_then(Value::as_str).unwrap_or_default();
        supports.push(json!({"segment": segment, "groundingChunkIndices": [chunks.len()]}));
        chunks.push(json!({"web": {"uri": url, "title": title}}));
    }
    (!chunks.is_empty()).then(|| json!({"groundingChunks": chunks, "groundingSupports": supports}))
}

/// One part of an answer.
pub(super) fn part_value(part: &Part, losses: &mut Losses) -> Option<Value> {
    let (mut out, signature, redacted) = match part {
        Part::Text { text, signature, extra, .. } => {
            let mut out = Map::from_iter([("text".to_owned(), json!(text))]);
            for (key, value) in extra.of(Family::Gemini).into_iter().flatten() {
                out.entry(key.clone()).or_insert_with(|| value.clone());
            }
            (out, signature.as_ref(), false)
        }
        Part::Refusal { text } => (Map::from_iter([("text".to_owned(), json!(text))]), None, false),
        Part::Reasoning { text, signature, redacted, .. } => {
            let members = [("text".to_owned(), json!(text)), ("thought".to_owned(), json!(true))];
            (Map::from_iter(members), signature.as_ref(), *redacted)
        }
        Part::ToolCall { id, name, arguments, signature, .. } => {
            let call = json!({"id": id, "name": name, "args": wire_json::arguments(arguments)});
            (Map::from_iter([("functionCall".to_owned(), call)]), signature.as_ref(), false)
        }
        Part::Image { media: Media::Base64 { mime, data }, .. }
        | Part::Audio { media: Media::Base64 { mime, data }, .. }
        | Part::File { media: Media::Base64 { mime, data }, .. } => {
            let blob = json!({"mimeType": mime, "data": data});
            (Map::from_iter([("inlineData".to_owned(), blob)]), None, false)
        }
        Part::Foreign { family: Family::Gemini, value } => return Some(value.clone()),
        _ => {
            losses.note("content.foreign");
            return None;
        }
    };
    if let Some(signature) = signature {
        out.insert("thoughtSignature".to_owned(), json!(state::seal(signature, redacted)));
    }
    Some(Value::Object(out))
}

/// Google's error object.
pub(super) fn error_value(note: &ErrorNote) -> Value {
    let mut error = json!({"code": note.status, "message": note.message, "status": status_word(note.status)});
    let word = note.code.parse::<u16>().is_err() && !note.code.is_empty();
    if word || note.param.is_some() {
        let mut metadata = Map::new();
        if let Some(param) = &note.param {
            metadata.insert("param".to_owned(), json!(param));
        }
        error["details"] = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": if word { note.code.as_str() } else { note.kind.as_str() },
            "metadata": metadata}]);
    }
    json!({ "error": error })
}
