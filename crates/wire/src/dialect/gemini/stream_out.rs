//! Renders a stream as a Gemini client reads it: frames of SSE, or the items of one JSON array.

use serde::Serialize;
use serde_json::{Map, Value, json};

use faregate_terms::Usage;

use crate::chat::{Event, Extra, Family, FinishReason, Media, Part, PartKind, Signature};
use crate::dialect::{ErrorNote, Losses, Reply, StreamEncoder};
use crate::frame::sse_data;
use crate::json as wire_json;

use super::client::{
    FINISH_WORD, error_value, grounding, is_web, of_answer, of_candidate, part_value, response_id,
};
use super::state;
use super::types::{UsageOut, finish_word, logprobs_result};

/// One stream on its way to a client.
pub(super) struct Encoder {
    reply: Reply,
    id: String,
    begun: bool,
    open: Vec<Open>,
    finished: Vec<(u32, FinishReason)>,
    logprobs: Vec<(u32, Value)>,
    annotations: Vec<Value>,
    usage: Usage,
    extra: Extra,
    losses: Losses,
}

struct Open {
    part: u32,
    choice: u32,
    kind: PartKind,
    /// Arguments or media so far: Gemini sends these whole.
    held: String,
    signature: Option<Signature>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a, P> {
    candidates: [Candidate<P>; 1],
    model_version: &'a str,
    response_id: &'a str,
}

#[derive(Serialize)]
struct Candidate<P> {
    content: Content<P>,
    index: u32,
}

#[derive(Serialize)]
struct Content<P> {
    parts: [P; 1],
    role: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TextPart<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<String>,
}

impl Encoder {
    pub(super) fn new(reply: Reply) -> Self {
        Self {
            id: reply.id.clone(),
            reply,
            begun: false,
            open: Vec::new(),
            finished: Vec::new(),
            logprobs: Vec::new(),
            annotations: Vec::new(),
            usage: Usage::default(),
            extra: Extra::default(),
            losses: Losses::default(),
        }
    }

    fn item(&mut self, item: &impl Serialize, out: &mut Vec<u8>) {
        if self.reply.alt_sse {
            sse_data(&wire_json::write(item), out);
        } else {
            out.extend_from_slice(if self.begun { b",\n" } else { b"[" });
            wire_json::write_into(item, out);
        }
        self.begun = true;
    }

    fn part(&mut self, choice: u32, part: impl Serialize, out: &mut Vec<u8>) {
        let id = std::mem::take(&mut self.id);
        let model = std::mem::take(&mut self.reply.model);
        let chunk = Chunk {
            candidates: [Candidate { content: Content { parts: [part], role: "model" }, index: choice }],
            model_version: &model,
            response_id: &id,
        };
        self.item(&chunk, out);
        (self.id, self.reply.model) = (id, model);
    }

    fn text(&mut self, part: u32, text: &str, thought: bool, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let choice = self.of(part).map_or(0, |open| open.choice);
        self.part(choice, TextPart { text, thought, thought_signature: None }, out);
    }

    fn of(&mut self, part: u32) -> Option<&mut Open> {
        self.open.iter_mut().rev().find(|open| open.part == part)
    }

    fn sign(&mut self, part: u32, signature: &Signature, out: &mut Vec<u8>) {
        let Some(open) = self.of(part) else {
            return;
        };
        let (choice, thought) = match &open.kind {
            PartKind::Text | PartKind::Refusal => (open.choice, false),
            PartKind::Reasoning { .. } => (open.choice, true),
            _ => {
                open.signature = Some(signature.clone());
                return;
            }
        };
        let sealed = Some(state::seal(signature, false));
        self.part(choice, TextPart { text: "", thought, thought_signature: sealed }, out);
    }

    fn opened(&mut self, choice: u32, part: u32, kind: &PartKind, out: &mut Vec<u8>) {
        match kind {
            PartKind::Redacted { signature, .. } => {
                let sealed = Some(state::seal(signature, true));
                self.part(choice, TextPart { text: "", thought: true, thought_signature: sealed }, out);
            }
            PartKind::Foreign { family: Family::Gemini, value } => self.part(choice, value, out),
            PartKind::Foreign { .. } => self.losses.note("content.foreign"),
            kind => {
                let (kind, held) = (kind.clone(), String::new());
                self.open.push(Open { part, choice, kind, held, signature: None });
            }
        }
    }

    fn close(&mut self, part: u32, out: &mut Vec<u8>) {
        let Some(at) = self.open.iter().position(|open| open.part == part) else {
            return;
        };
        let Open { choice, kind, held, signature, .. } = self.open.remove(at);
        let whole = match kind {
            PartKind::ToolCall { id, name, extra } => {
                Part::ToolCall { id, name, arguments: held, signature, cache: None, extra }
            }
            PartKind::Image { mime } if !held.is_empty() => Part::image(Media::Base64 { mime, data: held }),
            PartKind::Audio { mime, .. } if !held.is_empty() => {
                let mime = if mime.is_empty() { "audio/pcm".to_owned() } else { mime };
                Part::Audio { media: Media::Base64 { mime, data: held }, transcript: None, id: None }
            }
            _ => return,
        };
        if let Some(value) = part_value(&whole, &mut self.losses) {
            self.part(choice, value, out);
        }
    }

    fn keep(&mut self, extra: &Extra) {
        for (family, members) in extra.families() {
            for (key, value) in members {
                self.extra.put(family, key.clone(), value.clone());
            }
        }
    }

    fn last(&mut self) -> Value {
        let own = self.extra.get(Family::Gemini, FINISH_WORD).and_then(Value::as_str);
        let blocked = self.extra.get(Family::Gemini, "promptFeedback").is_some() && !self.begun;
        let mut candidates: Vec<Value> = Vec::new();
        for (choice, reason) in self.finished.iter().filter(|_| !blocked) {
            let mut candidate = Map::new();
            candidate.insert("content".to_owned(), json!({"parts": [{"text": ""}], "role": "model"}));
            candidate.insert("finishReason".to_owned(), json!(finish_word(reason, own)));
            candidate.insert("index".to_owned(), json!(choice));
            let logprobs = self.logprobs.iter().find(|(of, _)| of == choice);
            if let Some((result, average)) = logprobs.and_then(|(_, value)| logprobs_result(value)) {
                candidate.insert("avgLogprobs".to_owned(), json!(average));
                candidate.insert("logprobsResult".to_owned(), result);
            }
            if *choice == 0 {
                for (key, value) in of_candidate(&self.extra) {
                    candidate.insert(key.clone(), value.clone());
                }
                if let Some(metadata) = grounding(&self.annotations) {
                    candidate.entry("groundingMetadata").or_insert(metadata);
                }
            }
            candidates.push(Value::Object(candidate));
        }
        let mut chunk = Map::new();
        chunk.insert("candidates".to_owned(), Value::Array(candidates));
        chunk.insert("usageMetadata".to_owned(), json!(UsageOut::of(&self.usage)));
        chunk.insert("modelVersion".to_owned(), json!(self.reply.model));
        chunk.insert("responseId".to_owned(), json!(self.id));
        for (key, value) in of_answer(&self.extra) {
            chunk.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Value::Object(chunk)
    }

    fn add_logprobs(&mut self, choice: u32, value: &Value) {
        let Some((_, have)) = self.logprobs.iter_mut().find(|(of, _)| *of == choice) else {
            self.logprobs.push((choice, value.clone()));
            return;
        };
        let mine = have.get_mut("content").and_then(Value::as_array_mut);
        if let (Some(mine), Some(more)) = (mine, value.get("content").and_then(Value::as_array)) {
            mine.extend(more.iter().cloned());
        }
    }

    fn close_all(&mut self, out: &mut Vec<u8>) {
        let open: Vec<u32> = self.open.iter().map(|open| open.part).collect();
        for part in open {
            self.close(part, out);
        }
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, extra, .. } => {
                self.id = response_id(id, &self.reply.id).to_owned();
                self.keep(extra);
            }
            Event::Open { choice, part, kind } => self.opened(*choice, *part, kind, out),
            Event::Text { part, delta } => self.text(*part, delta, false, out),
            Event::Reasoning { part, delta } => self.text(*part, delta, true, out),
            Event::Signature { part, signature } => self.sign(*part, signature, out),
            Event::Arguments { part, delta } => {
                if let Some(open) = self.of(*part) {
                    open.held.push_str(delta);
                }
            }
            Event::Media { part, data, transcript } => {
                self.text(*part, transcript, false, out);
                if let Some(open) = self.of(*part) {
                    open.held.push_str(data);
                }
            }
            Event::Annotation { annotation, .. } if is_web(annotation) => {
                self.annotations.push(annotation.clone());
            }
            Event::Annotation { .. } => self.losses.note("content.annotations"),
            Event::Logprobs { choice, value } => self.add_logprobs(*choice, value),
            Event::Close { part } => self.close(*part, out),
            Event::Usage(usage) => self.usage.absorb(usage),
            Event::Finish { choice, reason, .. } => self.finished.push((*choice, reason.clone())),
            Event::Extra(extra) => self.keep(extra),
            // An error is rendered by `error`, with what the gateway makes of it.
            Event::Ping | Event::Error(_) => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.close_all(out);
        let last = self.last();
        self.item(&last, out);
        if !self.reply.alt_sse {
            out.push(b']');
        }
    }

    fn error(&mut self, note: &ErrorNote, out: &mut Vec<u8>) {
        self.item(&error_value(note), out);
        if !self.reply.alt_sse {
            out.push(b']');
        }
    }

    fn losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    /// Not a comment, which the SDKs' line readers take for the beginning of an error, nor a chunk without
    /// content, which makes their chats forget the turn: an empty text, as the real service sends it. Between
    /// items of an array white space will do.
    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        if self.reply.alt_sse {
            self.part(0, TextPart { text: "", thought: false, thought_signature: None }, out);
        } else {
            out.push(b'\n');
        }
    }
}
