//! Reads an answer chunk by chunk.

use serde_json::{Map, Value, json};

use crate::chat::{Event, Extra, Family, FinishReason, PartKind, Signature};
use crate::dialect::{Malformed, StreamDecoder, StreamEnd};
use crate::frame::Frame;
use crate::json as wire_json;

use super::answer::{Candidate, Wire};
use super::client::FINISH_WORD;
use super::fault::fault_of;
use super::{state, time, types};

/// One stream from a provider.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    started: bool,
    failed: bool,
    next: u32,
    id: String,
    choices: Vec<Choice>,
}

#[derive(Debug, Default)]
struct Choice {
    index: u32,
    open: Option<(u32, Kind)>,
    last_text: Option<u32>,
    /// The open part has its signature: more text needs a part of its own.
    sealed: bool,
    called: bool,
    finished: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thought,
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if frame.data.is_empty() || frame.data == b"[DONE]" {
            return Ok(());
        }
        let mut wire: Wire = wire_json::read(frame.data).map_err(Malformed)?;
        if let Some(error) = wire.error {
            self.failed = true;
            out.push(Event::Error(fault_of(error, 200)));
            return Ok(());
        }
        self.start(&mut wire, out);
        let mut extra = Extra::default();
        if let Some(status) = wire.model_status {
            extra.put(Family::Gemini, "modelStatus", status);
        }
        let mut searches = 0;
        for mut candidate in wire.candidates.into_iter().flatten() {
            searches = searches.max(searches_of(candidate.grounding_metadata.as_ref()));
            self.candidate(&mut candidate, &mut extra, out);
        }
        let blocked = wire.prompt_feedback.as_ref().is_some_and(|it| it.get("blockReason").is_some());
        if let Some(feedback) = wire.prompt_feedback {
            extra.put(Family::Gemini, "promptFeedback", feedback);
        }
        if !extra.is_empty() {
            // Ahead of the finish, where encoders that keep order expect it.
            let at = out.iter().position(|event| matches!(event, Event::Finish { .. })).unwrap_or(out.len());
            out.insert(at, Event::Extra(extra));
        }
        if let Some(usage) = wire.usage_metadata {
            let mut usage = usage.usage();
            usage.web_searches = searches;
            out.push(Event::Usage(usage));
        }
        if blocked && self.choices.is_empty() {
            self.choices.push(Choice { finished: true, ..Choice::default() });
            let reason = FinishReason::ContentFilter;
            out.push(Event::Finish { choice: 0, reason, stop_sequence: None });
        }
        Ok(())
    }

    fn end(&mut self, _out: &mut Vec<Event>) -> StreamEnd {
        let finished = !self.choices.is_empty() && self.choices.iter().all(|choice| choice.finished);
        if finished || self.failed { StreamEnd::Complete } else { StreamEnd::Truncated }
    }
}

impl Decoder {
    fn start(&mut self, wire: &mut Wire, out: &mut Vec<Event>) {
        if self.started {
            return;
        }
        self.started = true;
        self.id = wire.response_id.take().unwrap_or_default();
        out.push(Event::Start {
            id: self.id.clone(),
            model: wire.model_version.take().unwrap_or_default(),
            created: wire.create_time.as_deref().and_then(time::seconds),
            extra: Extra::default(),
        });
    }

    fn candidate(&mut self, candidate: &mut Candidate, extra: &mut Extra, out: &mut Vec<Event>) {
        let at = match self.choices.iter().position(|choice| choice.index == candidate.index) {
            Some(at) => at,
            None => {
                self.choices.push(Choice { index: candidate.index, ..Choice::default() });
                self.choices.len() - 1
            }
        };
        let Self { next, id, choices, .. } = self;
        let choice = &mut choices[at];
        for part in candidate.content.take().into_iter().flat_map(|content| content.parts) {
            choice.part(part, next, id, out);
        }
        if let Some(result) = candidate.logprobs_result.take() {
            out.push(Event::Logprobs { choice: choice.index, value: types::logprobs(&result) });
        }
        if let (Some(metadata), Some(part)) = (&candidate.grounding_metadata, choice.last_text) {
            let found = annotations(metadata);
            out.extend(found.into_iter().map(|annotation| Event::Annotation { part, annotation }));
        }
        candidate.carried(extra);
        if let Some(word) = candidate.finish_reason.take().filter(|_| !choice.finished) {
            choice.finished = true;
            choice.close(out);
            let reason = types::finish(&word, choice.called);
            if reason == FinishReason::ContentFilter {
                extra.put(Family::Gemini, FINISH_WORD, Value::String(word));
            }
            out.push(Event::Finish { choice: choice.index, reason, stop_sequence: None });
        }
    }
}

impl Choice {
    fn part(&mut self, mut part: Map<String, Value>, next: &mut u32, id: &str, out: &mut Vec<Event>) {
        let signature = match part.shift_remove("thoughtSignature") {
            Some(Value::String(data)) => Some(Signature { family: Family::Gemini, data }),
            _ => None,
        };
        if let Some(Value::String(text)) = part.get("text") {
            let thought = part.get("thought") == Some(&Value::Bool(true));
            self.text(text, thought, signature, next, out);
        } else if let Some(call) = part.shift_remove("functionCall") {
            self.call(call, part, signature, next, id, out);
        } else if let Some(blob) = part.get("inlineData").filter(|blob| kind_of(blob).is_some()) {
            self.close(out);
            let (part, mut kind) = (take(next), kind_of(blob));
            let data = blob.get("data").and_then(Value::as_str).map(state::standard).unwrap_or_default();
            let kind = kind.take().unwrap_or(PartKind::Text);
            out.push(Event::Open { choice: self.index, part, kind });
            out.push(Event::Media { part, data, transcript: String::new() });
            out.push(Event::Close { part });
        } else if !part.is_empty() {
            self.close(out);
            if let Some(signature) = signature {
                part.insert("thoughtSignature".to_owned(), Value::String(signature.data));
            }
            let kind = PartKind::Foreign { family: Family::Gemini, value: Value::Object(part) };
            let part = take(next);
            out.push(Event::Open { choice: self.index, part, kind });
            out.push(Event::Close { part });
        }
    }

    /// Text of one kind goes on in the open part. A signature on an empty text is that of the part before.
    fn text(
        &mut self,
        text: &str,
        thought: bool,
        signature: Option<Signature>,
        next: &mut u32,
        out: &mut Vec<Event>,
    ) {
        let kind = if thought { Kind::Thought } else { Kind::Text };
        let part = match self.open {
            _ if text.is_empty() && signature.is_none() => return,
            Some((part, open)) if !self.sealed && (open == kind || text.is_empty()) => part,
            _ => {
                self.close(out);
                let part = take(next);
                self.open = Some((part, kind));
                if !thought {
                    self.last_text = Some(part);
                }
                let kind = if thought { PartKind::Reasoning { id: None } } else { PartKind::Text };
                out.push(Event::Open { choice: self.index, part, kind });
                part
            }
        };
        if !text.is_empty() {
            let delta = text.to_owned();
            out.push(if thought { Event::Reasoning { part, delta } } else { Event::Text { part, delta } });
        }
        if let Some(signature) = signature {
            out.push(Event::Signature { part, signature });
            // What follows is not covered by it, but citations of what it covers may still come.
            self.sealed = true;
        }
    }

    fn call(
        &mut self,
        mut call: Value,
        rest: Map<String, Value>,
        signature: Option<Signature>,
        next: &mut u32,
        id: &str,
        out: &mut Vec<Event>,
    ) {
        self.close(out);
        self.called = true;
        let part = take(next);
        let member = |key: &str| call.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let id =
            member("id").map_or_else(|| format!("{}{id}_{part}", super::contents::MADE_UP), str::to_owned);
        let name = member("name").unwrap_or_default().to_owned();
        let extra = Extra::from_map(Family::Gemini, rest);
        out.push(Event::Open { choice: self.index, part, kind: PartKind::ToolCall { id, name, extra } });
        if let Some(signature) = signature {
            out.push(Event::Signature { part, signature });
        }
        let delta = match call.get_mut("args").map(Value::take) {
            Some(args @ Value::Object(_)) => args.to_string(),
            _ => "{}".to_owned(),
        };
        out.push(Event::Arguments { part, delta });
        out.push(Event::Close { part });
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        self.sealed = false;
        if let Some((part, _)) = self.open.take() {
            out.push(Event::Close { part });
        }
    }
}

fn take(next: &mut u32) -> u32 {
    *next += 1;
    *next - 1
}

fn kind_of(blob: &Value) -> Option<PartKind> {
    let mime = blob.get("mimeType").and_then(Value::as_str)?;
    if mime.starts_with("image/") {
        Some(PartKind::Image { mime: mime.to_owned() })
    } else if mime.starts_with("audio/") {
        Some(PartKind::Audio { id: None, mime: mime.to_owned() })
    } else {
        None
    }
}

/// Google counts one search per query asked.
fn searches_of(metadata: Option<&Value>) -> u64 {
    let queries = metadata.and_then(|metadata| metadata.get("webSearchQueries")).and_then(Value::as_array);
    queries.map_or(0, |queries| u64::try_from(queries.len()).unwrap_or(u64::MAX))
}

/// Grounding as OpenAI annotations, one per supporting page.
fn annotations(metadata: &Value) -> Vec<Value> {
    let list = |key: &str| metadata.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let chunks = list("groundingChunks");
    let mut out = Vec::new();
    for support in list("groundingSupports") {
        let segment = support.get("segment");
        let place = |key: &str| segment.and_then(|it| it.get(key)).and_then(Value::as_u64).unwrap_or(0);
        let indices = support.get("groundingChunkIndices").and_then(Value::as_array).into_iter().flatten();
        for index in indices.filter_map(Value::as_u64).filter_map(|index| usize::try_from(index).ok()) {
            let Some(web) = chunks.get(index).and_then(|chunk| chunk.get("web")) else {
                continue;
            };
            let text = |key: &str| web.get(key).and_then(Value::as_str).unwrap_or_default();
            out.push(json!({"type": "url_citation", "url_citation": {
                "start_index": place("startIndex"), "end_index": place("endIndex"),
                "url": text("uri"), "title": text("title"),
                "cited_text": segment.and_then(|it| it.get("text")).cloned().unwrap_or_default()}}));
        }
    }
    out
}
