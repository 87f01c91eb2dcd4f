//! Events of one stream as a text-completions client reads them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use faregate_terms::Usage;

use crate::chat::{Event, PartKind};
use crate::dialect::openai_chat::{UsageOut, error_value, finish_word};
use crate::dialect::{ErrorNote, Losses, Reply, StreamEncoder};
use crate::frame::sse_data;
use crate::json as wire_json;

use super::client::completion_id;
use super::logprobs;

const DONE: &[u8] = b"data: [DONE]\n\n";

/// One stream on its way to a client.
pub(super) struct Encoder {
    reply: Reply,
    id: String,
    created: i64,
    /// Parts that are open, with their alternatives.
    open: BTreeMap<u32, u32>,
    /// How many characters each alternative's log probabilities have covered.
    offsets: BTreeMap<u32, usize>,
    usage: Usage,
    losses: Losses,
}

impl Encoder {
    pub(super) fn new(reply: Reply) -> Self {
        Self {
            id: completion_id("", &reply.id),
            created: reply.created,
            reply,
            open: BTreeMap::new(),
            offsets: BTreeMap::new(),
            usage: Usage::default(),
            losses: Losses::default(),
        }
    }

    fn head(&self) -> Map<String, Value> {
        let mut head = Map::new();
        head.insert("id".to_owned(), json!(self.id));
        head.insert("object".to_owned(), json!("text_completion"));
        head.insert("created".to_owned(), json!(self.created));
        head.insert("model".to_owned(), json!(self.reply.model));
        head
    }

    fn chunk(&self, choice: Value, out: &mut Vec<u8>) {
        let mut chunk = self.head();
        chunk.insert("choices".to_owned(), Value::Array(vec![choice]));
        sse_data(&wire_json::write(&chunk), out);
    }

    fn text(&self, part: u32, text: &str, out: &mut Vec<u8>) {
        let Some(&index) = self.open.get(&part) else { return };
        let choice = json!({ "text": text, "index": index, "logprobs": null, "finish_reason": null });
        self.chunk(choice, out);
    }

    fn reasoning(&self, part: u32, text: &str, out: &mut Vec<u8>) {
        let Some(&index) = self.open.get(&part) else { return };
        let choice = json!({
            "text": "", "index": index, "logprobs": null, "finish_reason": null, "reasoning_content": text,
        });
        self.chunk(choice, out);
    }

    fn logprobs(&mut self, index: u32, value: &Value, out: &mut Vec<u8>) {
        let columns = logprobs::columns(Some(value), self.offsets.entry(index).or_default());
        if !columns.is_null() {
            self.chunk(
                json!({ "text": "", "index": index, "logprobs": columns, "finish_reason": null }),
                out,
            );
        }
    }

    fn opened(&mut self, choice: u32, part: u32, kind: &PartKind) {
        self.open.insert(part, choice);
        match kind {
            PartKind::ToolCall { .. } => self.losses.note("tool_calls"),
            PartKind::Audio { .. } => self.losses.note("content.audio"),
            PartKind::Image { .. } => self.losses.note("content.image"),
            PartKind::Foreign { .. } => self.losses.note("content.foreign"),
            PartKind::Text | PartKind::Refusal | PartKind::Reasoning { .. } | PartKind::Redacted { .. } => {}
        }
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, created, .. } => {
                self.id = completion_id(id, &self.reply.id);
                self.created = created.unwrap_or(self.reply.created);
            }
            Event::Open { choice, part, kind } => self.opened(*choice, *part, kind),
            Event::Text { part, delta } => self.text(*part, delta, out),
            Event::Reasoning { part, delta } => self.reasoning(*part, delta, out),
            Event::Logprobs { choice, value } => self.logprobs(*choice, value, out),
            Event::Close { part } => drop(self.open.remove(part)),
            Event::Usage(usage) => self.usage.absorb(usage),
            Event::Finish { choice, reason, .. } => {
                let word = finish_word(reason);
                let choice = json!({ "text": "", "index": choice, "logprobs": null, "finish_reason": word });
                self.chunk(choice, out);
            }
            // What has no place in a text was named when it opened.
            Event::Signature { .. }
            | Event::Arguments { .. }
            | Event::Media { .. }
            | Event::Annotation { .. }
            | Event::Extra(_)
            | Event::Ping
            | Event::Error(_) => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.reply.request.include_usage {
            let mut chunk = self.head();
            chunk.insert("choices".to_owned(), json!([]));
            chunk.insert("usage".to_owned(), json!(UsageOut::of(&self.usage)));
            sse_data(&wire_json::write(&chunk), out);
        }
        out.extend_from_slice(DONE);
    }

    fn error(&mut self, note: &ErrorNote, out: &mut Vec<u8>) {
        sse_data(&wire_json::write(&error_value(note)), out);
        out.extend_from_slice(DONE);
    }

    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": ping\n\n");
    }

    fn losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }
}
