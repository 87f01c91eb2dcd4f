//! Streamed answers of `/responses`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::chat::{Event, Extra, Family, Media, Part, PartKind};
use crate::dialect::{Malformed, StreamDecoder, StreamEnd, openai_chat};
use crate::frame::Frame;
use crate::{json as wire_json, opaque};

use super::answer::{created, item_parts, usage};
use super::tools::SHELL;
use super::types::{finish_of, nested};

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    output_index: u32,
    #[serde(default)]
    content_index: u32,
    #[serde(default)]
    summary_index: u32,
    #[serde(default)]
    delta: Option<String>,
    #[serde(default)]
    logprobs: Option<Vec<Value>>,
    #[serde(default)]
    item: Option<Value>,
    #[serde(default)]
    part: Option<Value>,
    #[serde(default)]
    annotation: Option<Value>,
    #[serde(default)]
    response: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    code: Option<Value>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    param: Option<Value>,
}

/// One stream under reading.
#[derive(Default)]
pub(super) struct Decoder {
    started: bool,
    done: bool,
    called: bool,
    next: u32,
    open: Vec<Open>,
}

/// A part that grows: a message's by both numbers, another item's by the first.
struct Open {
    output: u32,
    content: u32,
    part: u32,
    kind: Kind,
    /// Whether anything came in pieces.
    grown: bool,
    /// The summary part that grew last.
    summary: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Speech,
    Call,
    Thought,
}

impl Decoder {
    fn start(&mut self, response: Option<&Value>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let word = |name: &str| response.and_then(|it| it.get(name)?.as_str()).unwrap_or_default().to_owned();
        out.push(Event::Start {
            id: word("id"),
            model: word("model"),
            created: response.and_then(|it| created(it.get("created_at")?)),
            extra: Extra::default(),
        });
    }

    fn find(&self, output: u32, content: u32, kind: Kind) -> Option<usize> {
        self.open
            .iter()
            .position(|open| open.output == output && open.content == content && open.kind == kind)
    }

    fn open(&mut self, output: u32, content: u32, kind: Kind, what: PartKind, out: &mut Vec<Event>) -> usize {
        let part = self.next;
        self.next += 1;
        out.push(Event::Open { choice: 0, part, kind: what });
        self.open.push(Open { output, content, part, kind, grown: false, summary: 0 });
        self.open.len() - 1
    }

    fn speak(&mut self, wire: &Wire, refusal: bool, out: &mut Vec<Event>) -> usize {
        let found = self.find(wire.output_index, wire.content_index, Kind::Speech);
        let what = if refusal { PartKind::Refusal } else { PartKind::Text };
        found.unwrap_or_else(|| self.open(wire.output_index, wire.content_index, Kind::Speech, what, out))
    }

    fn text(&mut self, mut wire: Wire, refusal: bool, out: &mut Vec<Event>) {
        let at = self.speak(&wire, refusal, out);
        self.open[at].grown = true;
        let part = self.open[at].part;
        if let Some(delta) = wire.delta.take().filter(|delta| !delta.is_empty()) {
            out.push(Event::Text { part, delta });
        }
        if let Some(content) = wire.logprobs.filter(|items| !items.is_empty()) {
            out.push(Event::Logprobs { choice: 0, value: json!({ "content": content }) });
        }
    }

    fn thought(&mut self, wire: Wire, out: &mut Vec<Event>) {
        let Some(mut delta) = wire.delta.filter(|delta| !delta.is_empty()) else { return };
        let at = match self.find(wire.output_index, 0, Kind::Thought) {
            Some(at) => at,
            None => self.open(wire.output_index, 0, Kind::Thought, PartKind::Reasoning { id: None }, out),
        };
        let open = &mut self.open[at];
        // Parts of a summary are paragraphs.
        if open.grown && open.summary != wire.summary_index {
            delta.insert_str(0, "\n\n");
        }
        (open.grown, open.summary) = (true, wire.summary_index);
        out.push(Event::Reasoning { part: open.part, delta });
    }

    fn added(&mut self, output: u32, item: &Value, out: &mut Vec<Event>) {
        let word = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, nature) = match item.get("type").and_then(Value::as_str) {
            Some("function_call") => (word("name"), None),
            Some("custom_tool_call") => (word("name"), Some("custom")),
            Some("local_shell_call") => (SHELL.to_owned(), Some(SHELL)),
            _ => return,
        };
        let mut extra = Extra::default();
        if let Some(nature) = nature {
            extra.put(Family::Responses, "type", json!(nature));
        }
        let (id, signature) = opaque::open_id(&word("call_id"));
        self.called = true;
        let at = self.open(output, 0, Kind::Call, PartKind::ToolCall { id, name, extra }, out);
        if let Some(signature) = signature {
            out.push(Event::Signature { part: self.open[at].part, signature });
        }
    }

    fn arguments(&mut self, wire: Wire, out: &mut Vec<Event>) {
        if let (Some(at), Some(delta)) = (self.find(wire.output_index, 0, Kind::Call), wire.delta) {
            self.open[at].grown = true;
            out.push(Event::Arguments { part: self.open[at].part, delta });
        }
    }

    /// An item is whole: what did not come in pieces comes now.
    fn item_done(&mut self, output: u32, item: &Value, out: &mut Vec<Event>) {
        if item.get("type").is_some_and(|kind| kind == "message") {
            self.message_done(output, item, out);
            return;
        }
        for part in item_parts(item) {
            match part {
                Part::ToolCall { arguments, .. } => {
                    if self.find(output, 0, Kind::Call).is_none() {
                        self.added(output, item, out);
                    }
                    if let Some(at) = self.find(output, 0, Kind::Call) {
                        let open = self.open.remove(at);
                        if !open.grown {
                            out.push(Event::Arguments { part: open.part, delta: arguments });
                        }
                        out.push(Event::Close { part: open.part });
                    }
                }
                Part::Reasoning { text, signature, id, .. } => {
                    self.reasoning_done(output, text, signature, id, out);
                }
                Part::Image { media: Media::Base64 { mime, data }, .. } => {
                    let at = self.open(output, 0, Kind::Speech, PartKind::Image { mime }, out);
                    let part = self.open.remove(at).part;
                    out.push(Event::Media { part, data, transcript: String::new() });
                    out.push(Event::Close { part });
                }
                Part::Foreign { family, value } => {
                    let at = self.open(output, 0, Kind::Speech, PartKind::Foreign { family, value }, out);
                    out.push(Event::Close { part: self.open.remove(at).part });
                }
                _ => {}
            }
        }
    }

    fn message_done(&mut self, output: u32, item: &Value, out: &mut Vec<Event>) {
        let mut heard = false;
        self.open.retain(|open| {
            let ends = open.output == output;
            if ends {
                heard |= open.grown;
                out.push(Event::Close { part: open.part });
            }
            !ends
        });
        if heard {
            return;
        }
        // A server that sends items whole.
        for part in item_parts(item) {
            let (what, text) = match part {
                Part::Text { text, .. } => (PartKind::Text, text),
                Part::Refusal { text } => (PartKind::Refusal, text),
                _ => continue,
            };
            if text.is_empty() {
                continue;
            }
            let at = self.open(output, 0, Kind::Speech, what, out);
            let part = self.open.remove(at).part;
            out.push(Event::Text { part, delta: text });
            out.push(Event::Close { part });
        }
    }

    fn reasoning_done(
        &mut self,
        output: u32,
        text: String,
        signature: Option<crate::chat::Signature>,
        id: Option<String>,
        out: &mut Vec<Event>,
    ) {
        if let Some(at) = self.find(output, 0, Kind::Thought) {
            let part = self.open.remove(at).part;
            out.extend(signature.map(|signature| Event::Signature { part, signature }));
            out.push(Event::Close { part });
            return;
        }
        let what = match signature.clone() {
            Some(signature) if text.is_empty() => PartKind::Redacted { signature, id },
            None if text.is_empty() => return,
            _ => PartKind::Reasoning { id },
        };
        let redacted = matches!(what, PartKind::Redacted { .. });
        let at = self.open(output, 0, Kind::Thought, what, out);
        let part = self.open.remove(at).part;
        if !redacted {
            out.push(Event::Reasoning { part, delta: text });
            out.extend(signature.map(|signature| Event::Signature { part, signature }));
        }
        out.push(Event::Close { part });
    }

    fn finish(&mut self, response: &Value, out: &mut Vec<Event>) {
        out.extend(self.open.drain(..).map(|open| Event::Close { part: open.part }));
        out.push(Event::Usage(usage(response)));
        let reason = finish_of(response, self.called);
        out.push(Event::Finish { choice: 0, reason, stop_sequence: None });
        self.done = true;
    }
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let data = frame.data.trim_ascii();
        if self.done || data.is_empty() || data == b"[DONE]" {
            return Ok(());
        }
        let mut wire: Wire = wire_json::read(data).map_err(Malformed)?;
        match wire.kind.as_str() {
            "response.created" | "response.in_progress" | "response.queued" => {
                self.start(wire.response.as_ref(), out);
            }
            "response.output_text.delta" => self.text(wire, false, out),
            "response.refusal.delta" => self.text(wire, true, out),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.thought(wire, out);
            }
            "response.function_call_arguments.delta" => self.arguments(wire, out),
            "response.output_item.added" => {
                if let Some(item) = wire.item.take() {
                    self.added(wire.output_index, &item, out);
                }
            }
            "response.content_part.added" => {
                let kind = wire.part.as_ref().and_then(|part| part.get("type")?.as_str());
                if let Some(kind @ ("output_text" | "refusal")) = kind {
                    let refusal = kind == "refusal";
                    self.speak(&wire, refusal, out);
                }
            }
            "response.output_text.annotation.added" => {
                if let Some(annotation) = wire.annotation.take() {
                    let at = self.speak(&wire, false, out);
                    let part = self.open[at].part;
                    out.push(Event::Annotation { part, annotation: nested(&annotation) });
                }
            }
            "response.output_item.done" => {
                if let Some(item) = wire.item.take() {
                    self.item_done(wire.output_index, &item, out);
                }
            }
            "response.completed" | "response.incomplete" => {
                self.start(wire.response.as_ref(), out);
                self.finish(&wire.response.unwrap_or_default(), out);
            }
            "response.failed" => {
                let error = wire.response.as_ref().and_then(|response| response.get("error").cloned());
                out.push(Event::Error(openai_chat::fault_of(&error.unwrap_or_default(), 200)));
                self.done = true;
            }
            "error" => {
                let error = wire.error.take().unwrap_or_else(
                    || json!({"code": wire.code, "message": wire.message, "param": wire.param}),
                );
                out.push(Event::Error(openai_chat::fault_of(&error, 200)));
                self.done = true;
            }
            // Beginnings and ends of what is known from other events, and progress of hosted tools.
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<Event>) -> StreamEnd {
        if self.done {
            return StreamEnd::Complete;
        }
        out.extend(self.open.drain(..).map(|open| Event::Close { part: open.part }));
        StreamEnd::Truncated
    }
}
