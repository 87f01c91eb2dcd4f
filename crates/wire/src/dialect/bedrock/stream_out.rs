//! Events of one stream as a Bedrock client reads them.

use serde_json::{Value, json};

use faregate_terms::Usage;

use crate::chat::{Event, Family, FinishReason, PartKind, Signature};
use crate::dialect::blocks::{BlockWriter, Blocks, Growth};
use crate::dialect::{ErrorNote, Losses, StreamEncoder};
use crate::frame::aws_frame;
use crate::{json as wire_json, opaque};

use super::types::{UsageOut, stop_reason};
use super::{citations, content, fault};

/// Renders one stream.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    writer: Writer,
    blocks: Blocks,
    usage: Usage,
    started: bool,
    finish: Option<(FinishReason, Option<String>)>,
}

impl Encoder {
    fn begin(&mut self, out: &mut Vec<u8>) {
        if !self.started {
            self.started = true;
            frame("messageStart", &json!({"role": "assistant"}), out);
        }
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Usage(usage) => self.usage.absorb(usage),
            Event::Finish { choice: 0, reason, stop_sequence } => {
                self.begin(out);
                self.finish = Some((reason.clone(), stop_sequence.clone()));
            }
            Event::Start { .. } => self.begin(out),
            Event::Ping
            | Event::Error(_)
            | Event::Extra(_)
            | Event::Logprobs { .. }
            | Event::Finish { .. } => {}
            _ => {
                self.begin(out);
                self.blocks.event(event, &mut self.writer, out);
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        self.blocks.finish(&mut self.writer, out);
        if let Some((reason, stop_sequence)) = self.finish.take() {
            frame("messageStop", &json!({"stopReason": stop_reason(&reason, stop_sequence.as_deref())}), out);
        }
        let metadata = json!({"usage": UsageOut::of(&self.usage), "metrics": {"latencyMs": 0}});
        frame("metadata", &metadata, out);
    }

    fn error(&mut self, note: &ErrorNote, out: &mut Vec<u8>) {
        let payload = wire_json::write(&json!({"message": note.message}));
        aws_frame(fault::stream_exception(note.status), true, &payload, out);
    }

    fn losses(&mut self) -> Losses {
        let mut losses = std::mem::take(&mut self.writer.losses);
        losses.absorb(self.blocks.losses());
        losses
    }

    fn heartbeat(&mut self, _out: &mut Vec<u8>) {
        // The dialect has no event that clients ignore.
    }
}

fn frame(event: &str, payload: &Value, out: &mut Vec<u8>) {
    aws_frame(event, false, &wire_json::write(payload), out);
}

/// Writes content blocks.
#[derive(Debug, Default)]
struct Writer {
    scratch: Vec<u8>,
    /// The block that is open holds reasoning.
    reasons: bool,
    losses: Losses,
}

impl Writer {
    /// `contentBlockDelta` with one text: the per-token path, written without a tree.
    fn delta(&mut self, index: u32, path: &[&str], text: &str, out: &mut Vec<u8>) {
        let json = &mut self.scratch;
        json.clear();
        json.extend_from_slice(br#"{"contentBlockIndex":"#);
        json.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
        json.extend_from_slice(br#","delta":"#);
        for member in path {
            json.extend_from_slice(b"{\"");
            json.extend_from_slice(member.as_bytes());
            json.extend_from_slice(b"\":");
        }
        wire_json::write_into(text, json);
        json.resize(json.len() + path.len() + 1, b'}');
        aws_frame("contentBlockDelta", false, json, out);
    }
}

impl BlockWriter for Writer {
    fn shows(&self, kind: &PartKind) -> bool {
        !matches!(kind, PartKind::Image { .. } | PartKind::Foreign { .. })
    }

    fn start(&mut self, index: u32, kind: &PartKind, signature: Option<&Signature>, out: &mut Vec<u8>) {
        self.reasons = matches!(kind, PartKind::Reasoning { .. });
        match kind {
            PartKind::ToolCall { id, name, extra } => {
                let mut call = json!({"toolUseId": opaque::seal_id(id, signature), "name": name});
                if let Some(kind) = extra.get(Family::Bedrock, "type") {
                    call["type"] = kind.clone();
                }
                frame(
                    "contentBlockStart",
                    &json!({"contentBlockIndex": index, "start": {"toolUse": call}}),
                    out,
                );
            }
            PartKind::Redacted { signature, .. } => {
                self.delta(
                    index,
                    &["reasoningContent", "redactedContent"],
                    &content::redacted(signature),
                    out,
                );
            }
            // Text and reasoning begin with their first delta.
            _ => {}
        }
    }

    fn grow(&mut self, index: u32, growth: Growth<'_>, out: &mut Vec<u8>) {
        match growth {
            Growth::Text(text) => self.delta(index, &["text"], text, out),
            Growth::Reasoning(text) => self.delta(index, &["reasoningContent", "text"], text, out),
            Growth::Arguments(text) => self.delta(index, &["toolUse", "input"], text, out),
            // A signed text (Gemini's) has no place for its signature here.
            Growth::Signature(_) if !self.reasons => self.losses.note("content.signature"),
            Growth::Signature(signature) => {
                self.delta(index, &["reasoningContent", "signature"], &content::seal(signature), out);
            }
            Growth::Annotation(annotation) => {
                let Some(citation) = citations::citation(annotation) else {
                    self.losses.note("content.annotations");
                    return;
                };
                let delta = json!({"contentBlockIndex": index, "delta": {"citation": citation}});
                frame("contentBlockDelta", &delta, out);
            }
        }
    }

    fn stop(&mut self, index: u32, out: &mut Vec<u8>) {
        frame("contentBlockStop", &json!({"contentBlockIndex": index}), out);
    }
}
