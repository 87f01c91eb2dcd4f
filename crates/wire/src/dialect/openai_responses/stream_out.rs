//! Events of one stream as a responses client reads them.
//!
//! Items and their parts are announced in the order of their numbers, because the official accumulators
//! append on `added` and index afterwards. Items may overlap.

use serde_json::{Map, Value, json};

use faregate_terms::Usage;

use crate::chat::{Event, Family, FinishReason, PartKind, Signature};
use crate::dialect::{ErrorNote, Losses, Reply, StreamEncoder};
use crate::frame::sse_event;
use crate::{json as wire_json, opaque};

use super::output::{
    self, State, call, custom_input, item_id, message, prefix, reasoning, response, response_id, text_part,
};
use super::tools::{self, Nature};
use super::types::{error_code, flat, status};

/// One stream on its way to a client.
pub(super) struct Encoder {
    reply: Reply,
    id: String,
    created: i64,
    begun: bool,
    sequence: u64,
    items: Vec<Item>,
    open: Vec<Open>,
    /// Text parts that have ended, and where they stand: citations may come after the text.
    ended: Vec<(u32, (usize, usize))>,
    logprobs: Vec<Value>,
    finish: Option<FinishReason>,
    usage: Usage,
    losses: Losses,
}

/// An output item that has been announced.
struct Item {
    id: String,
    /// Its final form, once it is done.
    done: Option<Value>,
    /// Parts of a message: final forms, in order; empty for other items.
    parts: Vec<Option<Value>>,
    is_message: bool,
}

/// A canonical part that grows.
struct Open {
    part: u32,
    kind: PartKind,
    /// Its item and, in a message, its place there; unknown until announced.
    place: Option<(usize, usize)>,
    held: String,
    annotations: Vec<Value>,
    signature: Option<Signature>,
}

impl Encoder {
    pub(super) fn new(reply: Reply) -> Self {
        Self {
            id: response_id("", &reply.id),
            created: reply.created,
            begun: false,
            sequence: 0,
            items: Vec::new(),
            open: Vec::new(),
            ended: Vec::new(),
            logprobs: Vec::new(),
            finish: None,
            usage: Usage::default(),
            losses: Losses::default(),
            reply,
        }
    }

    /// Writes an event; `type` and `sequence_number` go in front of `members`.
    fn emit(&mut self, kind: &str, members: Value, out: &mut Vec<u8>) {
        let mut event = Map::new();
        event.insert("type".to_owned(), json!(kind));
        event.insert("sequence_number".to_owned(), json!(self.sequence));
        self.sequence += 1;
        if let Value::Object(members) = members {
            event.extend(members);
        }
        sse_event(kind, &wire_json::write(&event), out);
    }

    /// Writes a growth event without building a value: this is the path of every token.
    fn grow(&mut self, kind: &str, place: (usize, usize), counter: &str, delta: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\ndata: {\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"sequence_number\":");
        wire_json::write_into(&self.sequence, out);
        self.sequence += 1;
        out.extend_from_slice(b",\"item_id\":");
        wire_json::write_into(&self.items[place.0].id, out);
        out.extend_from_slice(b",\"output_index\":");
        wire_json::write_into(&place.0, out);
        if !counter.is_empty() {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(counter.as_bytes());
            out.extend_from_slice(b"\":");
            wire_json::write_into(&place.1, out);
        }
        out.extend_from_slice(b",\"delta\":");
        wire_json::write_into(delta, out);
        if kind == "response.output_text.delta" {
            out.extend_from_slice(b",\"logprobs\":[]");
        }
        out.extend_from_slice(b"}\n\n");
    }

    fn object(&self, status: &str, incomplete: Option<&str>, error: Value, whole: bool) -> Value {
        let output = self.items.iter().filter_map(|item| item.done.clone()).collect();
        let state = State {
            id: &self.id,
            created: self.created,
            status,
            incomplete,
            error,
            output,
            usage: whole.then_some(&self.usage),
        };
        json!({ "response": response(state, &self.reply) })
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        for kind in ["response.created", "response.in_progress"] {
            let object = self.object("in_progress", None, Value::Null, false);
            self.emit(kind, object, out);
        }
    }

    fn find(&self, part: u32) -> Option<usize> {
        self.open.iter().position(|open| open.part == part)
    }

    fn add_item(&mut self, id: String, item: &Value, is_message: bool, out: &mut Vec<u8>) -> usize {
        self.end_messages(out);
        let index = self.items.len();
        self.items.push(Item { id, done: None, parts: Vec::new(), is_message });
        self.emit("response.output_item.added", json!({"output_index": index, "item": item}), out);
        index
    }

    fn end_item(&mut self, index: usize, item: Value, out: &mut Vec<u8>) {
        self.emit("response.output_item.done", json!({"output_index": index, "item": item}), out);
        self.items[index].done = Some(item);
    }

    /// Ends messages all of whose parts have ended: nothing more joins them once another item begins.
    fn end_messages(&mut self, out: &mut Vec<u8>) {
        for index in 0..self.items.len() {
            let item = &self.items[index];
            if item.is_message && item.done.is_none() && item.parts.iter().all(Option::is_some) {
                let parts = item.parts.iter().flatten().cloned().collect();
                let whole = message(&item.id, "completed", parts);
                self.end_item(index, whole, out);
            }
        }
    }

    fn opened(&mut self, part: u32, kind: PartKind, out: &mut Vec<u8>) {
        self.begin(out);
        let mut open =
            Open { part, kind, place: None, held: String::new(), annotations: Vec::new(), signature: None };
        match &open.kind {
            PartKind::Text | PartKind::Refusal | PartKind::Audio { .. } => {
                open.place = Some(self.join_message(&open.kind, out));
            }
            PartKind::Foreign { family: Family::Responses, value } => {
                let value = value.clone();
                let id = value.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
                let index = self.add_item(id, &value, false, out);
                self.end_item(index, value, out);
                return;
            }
            PartKind::Foreign { .. } => return,
            PartKind::Reasoning { id } => {
                let id = self.reasoning_id(id.as_ref());
                let index = self.add_item(id.clone(), &reasoning(&id, "", None), false, out);
                open.place = Some((index, 0));
            }
            PartKind::Redacted { signature, id } => {
                let id = self.reasoning_id(id.as_ref());
                let item = reasoning(&id, "", Some(signature));
                let index = self.add_item(id, &item, false, out);
                self.end_item(index, item, out);
                return;
            }
            // A call waits for its first arguments: a signature may come before; a picture until it is whole.
            PartKind::ToolCall { .. } | PartKind::Image { .. } => {}
        }
        self.open.push(open);
    }

    fn reasoning_id(&self, own: Option<&String>) -> String {
        let made = || item_id("rs", &self.reply.id, self.items.len());
        own.filter(|own| own.starts_with("rs_")).cloned().unwrap_or_else(made)
    }

    /// Opens a part of the message that was announced last, or of a new one.
    fn join_message(&mut self, kind: &PartKind, out: &mut Vec<u8>) -> (usize, usize) {
        let last = self.items.len().checked_sub(1);
        let joins = last.filter(|at| self.items[*at].is_message && self.items[*at].done.is_none());
        let index = joins.unwrap_or_else(|| {
            let id = item_id("msg", &self.reply.id, self.items.len());
            let item = message(&id, "in_progress", Vec::new());
            self.add_item(id, &item, true, out)
        });
        let place = self.items[index].parts.len();
        self.items[index].parts.push(None);
        let part = match kind {
            PartKind::Refusal => json!({"type": "refusal", "refusal": ""}),
            _ => text_part("", Vec::new(), json!([])),
        };
        let members = json!({"item_id": self.items[index].id, "output_index": index,
            "content_index": place, "part": part});
        self.emit("response.content_part.added", members, out);
        (index, place)
    }

    fn text(&mut self, part: u32, delta: &str, out: &mut Vec<u8>) {
        let Some(at) = self.find(part) else { return };
        let open = &mut self.open[at];
        open.held.push_str(delta);
        let Some(place) = open.place else { return };
        let kind = match open.kind {
            PartKind::Refusal => "response.refusal.delta",
            _ => "response.output_text.delta",
        };
        self.grow(kind, place, "content_index", delta, out);
    }

    fn thought(&mut self, part: u32, delta: &str, out: &mut Vec<u8>) {
        let Some(at) = self.find(part) else { return };
        let Some(place) = self.open[at].place else { return };
        if self.open[at].held.is_empty() {
            let members = json!({"item_id": self.items[place.0].id, "output_index": place.0,
                "summary_index": 0, "part": {"type": "summary_text", "text": ""}});
            self.emit("response.reasoning_summary_part.added", members, out);
        }
        self.open[at].held.push_str(delta);
        self.grow("response.reasoning_summary_text.delta", place, "summary_index", delta, out);
    }

    fn nature(&self, name: &str) -> Nature {
        tools::nature(&self.reply.request, name)
    }

    fn arguments(&mut self, part: u32, delta: &str, out: &mut Vec<u8>) {
        let Some(at) = self.find(part) else { return };
        self.open[at].held.push_str(delta);
        let PartKind::ToolCall { name, .. } = &self.open[at].kind else { return };
        // The others' arguments only make sense whole.
        if self.nature(name) != Nature::Function {
            return;
        }
        let place = self.announce_call(at, out);
        if !delta.is_empty() {
            self.grow("response.function_call_arguments.delta", place, "", delta, out);
        }
    }

    fn announce_call(&mut self, at: usize, out: &mut Vec<u8>) -> (usize, usize) {
        if let Some(place) = self.open[at].place {
            return place;
        }
        let item = self.call_item(at, self.items.len(), "in_progress", true);
        let id = item.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let place = (self.add_item(id, &item, false, out), 0);
        self.open[at].place = Some(place);
        place
    }

    fn call_item(&self, at: usize, index: usize, status: &str, blank: bool) -> Value {
        let open = &self.open[at];
        let PartKind::ToolCall { id, name, .. } = &open.kind else {
            return Value::Null;
        };
        let nature = self.nature(name);
        let call_id = opaque::seal_id(id, open.signature.as_ref());
        let arguments = match (nature, blank) {
            (Nature::Function, true) => "",
            (Nature::Custom, true) => "{}",
            _ if open.held.is_empty() => "{}",
            _ => open.held.as_str(),
        };
        call(nature, &item_id(prefix(nature), &self.reply.id, index), &call_id, name, arguments, status)
    }

    fn annotation(&mut self, part: u32, annotation: &Value, out: &mut Vec<u8>) {
        let annotation = flat(annotation);
        let (place, index) = if let Some(at) = self.find(part) {
            let open = &mut self.open[at];
            open.annotations.push(annotation.clone());
            let Some(place) = open.place else { return };
            (place, open.annotations.len() - 1)
        } else {
            let Some((_, place)) = self.ended.iter().find(|(ended, _)| *ended == part).copied() else {
                return;
            };
            let item = &mut self.items[place.0];
            let list = item.parts[place.1].as_mut().and_then(|part| part.get_mut("annotations"));
            // The final form of a message that is done has been sent.
            let (None, Some(Value::Array(list))) = (&item.done, list) else { return };
            list.push(annotation.clone());
            (place, list.len() - 1)
        };
        let members = json!({"item_id": self.items[place.0].id, "output_index": place.0,
            "content_index": place.1, "annotation_index": index, "annotation": annotation});
        self.emit("response.output_text.annotation.added", members, out);
    }

    fn closed(&mut self, part: u32, out: &mut Vec<u8>) {
        let Some(at) = self.find(part) else { return };
        match self.open[at].kind {
            PartKind::Text | PartKind::Refusal | PartKind::Audio { .. } => self.end_speech(at, out),
            PartKind::Reasoning { .. } => self.end_reasoning(at, out),
            PartKind::ToolCall { .. } => self.end_call(at, out),
            PartKind::Image { .. } => {
                let id = item_id("ig", &self.reply.id, self.items.len());
                let item = output::picture(&id, &self.open[at].held);
                let index = self.add_item(id, &item, false, out);
                self.end_item(index, item, out);
            }
            _ => {}
        }
        self.open.remove(at);
    }

    fn end_speech(&mut self, at: usize, out: &mut Vec<u8>) {
        let Some((index, place)) = self.open[at].place else { return };
        let text = std::mem::take(&mut self.open[at].held);
        let annotations = std::mem::take(&mut self.open[at].annotations);
        let refusal = matches!(self.open[at].kind, PartKind::Refusal);
        let head = json!({"item_id": self.items[index].id, "output_index": index, "content_index": place});
        let with = |name: &str, value: Value| {
            let mut members = head.clone();
            members[name] = value;
            members
        };
        let part = if refusal {
            self.emit("response.refusal.done", with("refusal", json!(text)), out);
            json!({"type": "refusal", "refusal": text})
        } else {
            let logprobs = Value::Array(std::mem::take(&mut self.logprobs));
            let mut members = with("text", json!(text));
            members["logprobs"] = logprobs.clone();
            self.emit("response.output_text.done", members, out);
            text_part(&text, annotations, logprobs)
        };
        self.emit("response.content_part.done", with("part", part.clone()), out);
        self.items[index].parts[place] = Some(part);
        self.ended.push((self.open[at].part, (index, place)));
        if index + 1 < self.items.len() {
            self.end_messages(out);
        }
    }

    fn end_reasoning(&mut self, at: usize, out: &mut Vec<u8>) {
        let Some((index, _)) = self.open[at].place else { return };
        let text = std::mem::take(&mut self.open[at].held);
        let id = self.items[index].id.clone();
        if !text.is_empty() {
            let members = json!({"item_id": id, "output_index": index, "summary_index": 0, "text": text});
            self.emit("response.reasoning_summary_text.done", members, out);
            let members = json!({"item_id": id, "output_index": index, "summary_index": 0,
                "part": {"type": "summary_text", "text": text}});
            self.emit("response.reasoning_summary_part.done", members, out);
        }
        let item = reasoning(&id, &text, self.open[at].signature.as_ref());
        self.end_item(index, item, out);
    }

    fn end_call(&mut self, at: usize, out: &mut Vec<u8>) {
        let (index, _) = self.announce_call(at, out);
        let PartKind::ToolCall { name, .. } = &self.open[at].kind else { return };
        let (nature, name) = (self.nature(name), name.clone());
        let item = self.call_item(at, index, "completed", false);
        let id = self.items[index].id.clone();
        match nature {
            Nature::Function => {
                let members = json!({"item_id": id, "output_index": index, "name": name,
                    "arguments": item.get("arguments")});
                self.emit("response.function_call_arguments.done", members, out);
            }
            Nature::Custom => {
                let input = custom_input(&self.open[at].held);
                self.grow("response.custom_tool_call_input.delta", (index, 0), "", &input, out);
                let members = json!({"item_id": id, "output_index": index, "input": input});
                self.emit("response.custom_tool_call_input.done", members, out);
            }
            Nature::Shell => {}
        }
        self.end_item(index, item, out);
    }

    fn close_all(&mut self, out: &mut Vec<u8>) {
        while let Some(open) = self.open.first() {
            let part = open.part;
            self.closed(part, out);
        }
        self.end_messages(out);
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, created, .. } => {
                if !self.begun {
                    self.id = response_id(id, &self.reply.id);
                    self.created = created.unwrap_or(self.reply.created);
                }
                self.begin(out);
            }
            Event::Open { choice: 0, part, kind } => self.opened(*part, kind.clone(), out),
            Event::Text { part, delta } => self.text(*part, delta, out),
            Event::Reasoning { part, delta } if !delta.is_empty() => self.thought(*part, delta, out),
            Event::Signature { part, signature } => {
                if let Some(at) = self.find(*part) {
                    if matches!(self.open[at].kind, PartKind::Text) {
                        self.losses.note("content.signature");
                    }
                    self.open[at].signature = Some(signature.clone());
                }
            }
            Event::Arguments { part, delta } => self.arguments(*part, delta, out),
            Event::Media { part, data, transcript } => match self.find(*part) {
                Some(at) if matches!(self.open[at].kind, PartKind::Image { .. }) => {
                    self.open[at].held.push_str(data);
                }
                Some(_) if !transcript.is_empty() => self.text(*part, transcript, out),
                _ => {}
            },
            Event::Annotation { part, annotation } => self.annotation(*part, annotation, out),
            Event::Logprobs { choice: 0, value } => {
                let items = value.get("content").and_then(Value::as_array);
                self.logprobs.extend(items.into_iter().flatten().cloned());
            }
            Event::Close { part } => self.closed(*part, out),
            Event::Usage(usage) => self.usage.absorb(usage),
            Event::Finish { choice: 0, reason, .. } => self.finish = Some(reason.clone()),
            _ => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        self.close_all(out);
        let (status, incomplete) = status(self.finish.as_ref().unwrap_or(&FinishReason::Stop));
        let object = self.object(status, incomplete, Value::Null, true);
        self.emit(&format!("response.{status}"), object, out);
    }

    fn error(&mut self, note: &ErrorNote, out: &mut Vec<u8>) {
        self.begin(out);
        let code = error_code(note.status, &note.code);
        let members = json!({"code": code, "message": note.message, "param": note.param});
        self.emit("error", members, out);
        let error = json!({"code": code, "message": note.message});
        let known = !self.usage.is_empty();
        let object = self.object("failed", None, error, known);
        self.emit("response.failed", object, out);
    }

    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": ping\n\n");
    }

    fn losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }
}
