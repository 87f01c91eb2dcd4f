//! Streamed answers of `/v2/chat`.

use faregate_terms::{Fault, FaultClass};
use serde::Deserialize;
use serde_json::Value;

use crate::chat::{Event, Extra, Family, PartKind};
use crate::dialect::told::Told;
use crate::dialect::{Malformed, StreamDecoder, StreamEnd};
use crate::frame::Frame;
use crate::json;

use super::types::{WireUsage, annotations, finish, logprobs};

#[derive(Debug, Deserialize)]
struct Step {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    index: u32,
    #[serde(default)]
    delta: Option<Delta>,
    logprobs: Option<Value>,
    /// An error object in place of an event.
    message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delta {
    message: Option<Message>,
    error: Option<String>,
    finish_reason: Option<String>,
    usage: Option<Told<WireUsage>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    /// An object in content events, an empty list in `message-start`.
    content: Option<Value>,
    tool_plan: Option<String>,
    /// As above.
    tool_calls: Option<Value>,
    citations: Option<Value>,
}

/// Reads an answer event by event.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    ended: bool,
    next: u32,
    /// The content part that is open: text, plan or thinking. It outlives `content-end`, because the
    /// citations of a text may follow it.
    open: Option<(u32, Kind)>,
    /// Open calls by Cohere's index.
    calls: Vec<(u32, u32)>,
    last_text: Option<u32>,
    citations: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Plan,
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if frame.data == b"[DONE]" || frame.data.is_empty() {
            return Ok(());
        }
        let step: Step = json::read(frame.data).map_err(Malformed)?;
        let kind = if step.kind.is_empty() { frame.event.unwrap_or_default() } else { &step.kind };
        let delta = step.delta.unwrap_or_default();
        let message = delta.message.unwrap_or_default();
        match kind {
            "message-start" => {
                let extra = Extra::default();
                out.push(Event::Start { id: step.id, model: String::new(), created: None, extra });
            }
            "content-start" => {
                self.close(out);
                self.content(message.content.as_ref(), out);
            }
            "content-delta" => {
                self.content(message.content.as_ref(), out);
                if let Some(items) = logprob_items(step.logprobs) {
                    out.push(Event::Logprobs { choice: 0, value: logprobs(&items) });
                }
            }
            "tool-plan-delta" => {
                if let Some(delta) = message.tool_plan {
                    let part = self.part(Kind::Plan, out);
                    out.push(Event::Text { part, delta });
                }
            }
            "tool-call-start" => self.call(step.index, message.tool_calls.as_ref(), out),
            "tool-call-delta" => self.arguments(step.index, message.tool_calls.as_ref(), out),
            "tool-call-end" => self.end_call(step.index, out),
            "citation-start" => self.cite(message.citations, out),
            "message-end" => self.finish(delta.error, delta.finish_reason, delta.usage, out),
            "" => {
                if let Some(text) = step.message {
                    self.ended = true;
                    out.push(Event::Error(Fault::new(FaultClass::Internal, text)));
                }
            }
            // content-end, citation-end, debug, and what is yet to be invented.
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _out: &mut Vec<Event>) -> StreamEnd {
        if self.ended { StreamEnd::Complete } else { StreamEnd::Truncated }
    }
}

impl Decoder {
    fn content(&mut self, content: Option<&Value>, out: &mut Vec<Event>) {
        let member = |key: &str| content.and_then(|content| content.get(key)).and_then(Value::as_str);
        if let Some(text) = member("thinking") {
            let part = self.part(Kind::Thinking, out);
            if !text.is_empty() {
                out.push(Event::Reasoning { part, delta: text.to_owned() });
            }
        }
        if let Some(text) = member("text") {
            let part = self.part(Kind::Text, out);
            if !text.is_empty() {
                out.push(Event::Text { part, delta: text.to_owned() });
            }
        }
    }

    /// The open part of this kind, opened if need be.
    fn part(&mut self, kind: Kind, out: &mut Vec<Event>) -> u32 {
        if let Some((part, open)) = self.open
            && open == kind
        {
            return part;
        }
        self.close(out);
        let part = self.take_number();
        self.open = Some((part, kind));
        if kind == Kind::Text {
            self.last_text = Some(part);
        }
        let kind = match kind {
            Kind::Text | Kind::Plan => PartKind::Text,
            Kind::Thinking => PartKind::Reasoning { id: None },
        };
        out.push(Event::Open { choice: 0, part, kind });
        part
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        if let Some((part, _)) = self.open.take() {
            out.push(Event::Close { part });
        }
    }

    fn take_number(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    fn call(&mut self, index: u32, call: Option<&Value>, out: &mut Vec<Event>) {
        self.close(out);
        let member =
            |at: &str| call.and_then(|call| call.pointer(at)).and_then(Value::as_str).unwrap_or_default();
        let part = self.take_number();
        self.calls.push((index, part));
        let kind = PartKind::ToolCall {
            id: member("/id").to_owned(),
            name: member("/function/name").to_owned(),
            extra: Extra::default(),
        };
        out.push(Event::Open { choice: 0, part, kind });
        self.arguments(index, call, out);
    }

    fn arguments(&mut self, index: u32, call: Option<&Value>, out: &mut Vec<Event>) {
        let piece = call.and_then(|call| call.pointer("/function/arguments")).and_then(Value::as_str);
        let part = self.calls.iter().find(|(at, _)| *at == index).map(|(_, part)| *part);
        if let (Some(part), Some(piece)) = (part, piece.filter(|piece| !piece.is_empty())) {
            out.push(Event::Arguments { part, delta: piece.to_owned() });
        }
    }

    fn end_call(&mut self, index: u32, out: &mut Vec<Event>) {
        if let Some(at) = self.calls.iter().position(|(open, _)| *open == index) {
            let (_, part) = self.calls.swap_remove(at);
            out.push(Event::Close { part });
        }
    }

    fn cite(&mut self, citation: Option<Value>, out: &mut Vec<Event>) {
        let Some(citation) = citation.filter(Value::is_object) else {
            return;
        };
        if let Some(part) = self.last_text {
            let found = annotations(&citation);
            out.extend(found.into_iter().map(|annotation| Event::Annotation { part, annotation }));
        }
        self.citations.push(citation);
    }

    fn finish(
        &mut self,
        error: Option<String>,
        reason: Option<String>,
        usage: Option<Told<WireUsage>>,
        out: &mut Vec<Event>,
    ) {
        self.ended = true;
        self.close(out);
        for (_, part) in std::mem::take(&mut self.calls) {
            out.push(Event::Close { part });
        }
        if let Some(usage) = usage {
            out.push(Event::Usage(usage.usage()));
        }
        let reason = reason.unwrap_or_default();
        if error.is_some() || matches!(reason.as_str(), "ERROR" | "TIMEOUT") {
            let class = if reason == "TIMEOUT" { FaultClass::Timeout } else { FaultClass::Internal };
            let text = error.unwrap_or_else(|| format!("the answer ended with {reason}"));
            out.push(Event::Error(Fault { code: Some(reason), ..Fault::new(class, text) }));
            return;
        }
        if !self.citations.is_empty() {
            let mut extra = Extra::default();
            extra.put(Family::Cohere, "citations", Value::Array(std::mem::take(&mut self.citations)));
            out.push(Event::Extra(extra));
        }
        out.push(Event::Finish { choice: 0, reason: finish(&reason), stop_sequence: None });
    }
}

/// One item, or a list of them.
fn logprob_items(value: Option<Value>) -> Option<Vec<Value>> {
    match value? {
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => Some(items),
        item @ Value::Object(_) => Some(vec![item]),
        _ => None,
    }
}
