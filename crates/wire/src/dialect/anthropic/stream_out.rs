//! Events of one stream as an Anthropic client reads them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use faregate_terms::Usage;

use crate::chat::{Event, Family, FinishReason, PartKind, Signature};
use crate::dialect::bedrock::exception;
use crate::dialect::blocks::{BlockWriter, Blocks, Growth};
use crate::dialect::{ErrorNote, Losses, Reply, StreamEncoder};
use crate::frame::aws_frame;
use crate::{json as wire_json, opaque};

use super::citations;
use super::client::{error_value, message_id};
use super::types::{UsageOut, stop_reason};

/// How the events of the dialect are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrap {
    /// Server-sent events with names.
    Sse,
    /// Bedrock's InvokeModelWithResponseStream: base64 in `chunk` frames.
    AwsChunk,
}

/// Renders one stream.
#[derive(Debug)]
pub(super) struct Encoder {
    reply: Reply,
    pack: Pack,
    blocks: Blocks,
    usage: Usage,
    /// The provider's id, held until it is known whether usage follows at once.
    start: Option<String>,
    started: bool,
    finish: Option<(FinishReason, Option<String>)>,
}

impl Encoder {
    /// An encoder that has seen nothing.
    pub(super) fn new(reply: Reply, wrap: Wrap) -> Self {
        Self {
            reply,
            pack: Pack { wrap, scratch: Vec::new(), signable: false, losses: Losses::default() },
            blocks: Blocks::default(),
            usage: Usage::default(),
            start: None,
            started: false,
            finish: None,
        }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if self.started {
            return;
        }
        self.started = true;
        let id = message_id(&self.start.take().unwrap_or_default(), &self.reply.id);
        let start = json!({"type": "message_start", "message": {
            "id": id, "type": "message", "role": "assistant", "model": self.reply.model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": UsageOut::of(&self.usage),
        }});
        self.pack.write("message_start", out, |json| wire_json::write_into(&start, json));
        self.heartbeat_now(out);
    }

    fn heartbeat_now(&mut self, out: &mut Vec<u8>) {
        self.pack.write("ping", out, |json| json.extend_from_slice(br#"{"type": "ping"}"#));
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, .. } => self.start = Some(id.clone()),
            // Usage that comes with the start belongs into it; later figures go out at the end.
            Event::Usage(usage) => self.usage.absorb(usage),
            Event::Finish { choice: 0, reason, stop_sequence } => {
                self.begin(out);
                self.finish = Some((reason.clone(), stop_sequence.clone()));
            }
            Event::Ping => {
                self.begin(out);
                self.heartbeat_now(out);
            }
            Event::Error(_) | Event::Extra(_) | Event::Logprobs { .. } | Event::Finish { .. } => {}
            _ => {
                self.begin(out);
                self.blocks.event(event, &mut self.pack, out);
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        self.blocks.finish(&mut self.pack, out);
        if let Some((reason, stop_sequence)) = self.finish.take() {
            let delta = json!({
                "type": "message_delta",
                "delta": {
                    "stop_reason": stop_reason(&reason, stop_sequence.as_deref()),
                    "stop_sequence": stop_sequence,
                },
                "usage": UsageOut::of(&self.usage),
            });
            self.pack.write("message_delta", out, |json| wire_json::write_into(&delta, json));
        }
        self.pack.write("message_stop", out, |json| json.extend_from_slice(br#"{"type":"message_stop"}"#));
    }

    fn error(&mut self, note: &ErrorNote, out: &mut Vec<u8>) {
        match self.pack.wrap {
            Wrap::Sse => {
                self.pack.write("error", out, |json| wire_json::write_into(&error_value(note), json));
            }
            Wrap::AwsChunk => {
                let payload = wire_json::write(&json!({"message": note.message}));
                aws_frame(exception(note.status), true, &payload, out);
            }
        }
    }

    fn heartbeat(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        self.heartbeat_now(out);
    }

    fn losses(&mut self) -> Losses {
        let mut losses = std::mem::take(&mut self.pack.losses);
        losses.absorb(self.blocks.losses());
        losses
    }
}

#[derive(Debug)]
struct Pack {
    wrap: Wrap,
    scratch: Vec<u8>,
    /// Whether the open block has a place for opaque state that comes while it grows.
    signable: bool,
    losses: Losses,
}

impl Pack {
    fn write(&mut self, event: &str, out: &mut Vec<u8>, json: impl FnOnce(&mut Vec<u8>)) {
        match self.wrap {
            Wrap::Sse => {
                out.extend_from_slice(b"event: ");
                out.extend_from_slice(event.as_bytes());
                out.extend_from_slice(b"\ndata: ");
                json(out);
                out.extend_from_slice(b"\n\n");
            }
            Wrap::AwsChunk => {
                self.scratch.clear();
                json(&mut self.scratch);
                let payload = format!("{{\"bytes\":\"{}\"}}", STANDARD.encode(&self.scratch));
                aws_frame("chunk", false, payload.as_bytes(), out);
            }
        }
    }

    /// `content_block_delta` with one text member: the per-token path, written without a tree.
    fn delta(&mut self, index: u32, kind: &str, member: &str, text: &str, out: &mut Vec<u8>) {
        self.write("content_block_delta", out, |json| {
            json.extend_from_slice(br#"{"type":"content_block_delta","index":"#);
            json.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
            json.extend_from_slice(br#","delta":{"type":""#);
            json.extend_from_slice(kind.as_bytes());
            json.extend_from_slice(br#"",""#);
            json.extend_from_slice(member.as_bytes());
            json.extend_from_slice(br#"":"#);
            wire_json::write_into(text, json);
            json.extend_from_slice(b"}}");
        });
    }
}

impl BlockWriter for Pack {
    fn shows(&self, kind: &PartKind) -> bool {
        !matches!(kind, PartKind::Image { .. })
            && !matches!(kind, PartKind::Foreign { family, .. } if *family != Family::Anthropic)
    }

    fn start(&mut self, index: u32, kind: &PartKind, signature: Option<&Signature>, out: &mut Vec<u8>) {
        self.signable = matches!(kind, PartKind::Reasoning { .. });
        let block = match kind {
            PartKind::Reasoning { .. } => json!({"type": "thinking", "thinking": "", "signature": ""}),
            PartKind::Redacted { signature, .. } => {
                json!({"type": "redacted_thinking", "data": opaque::seal(signature, Family::Anthropic)})
            }
            PartKind::ToolCall { id, name, .. } => {
                json!({"type": "tool_use", "id": opaque::seal_id(id, signature), "name": name, "input": {}})
            }
            PartKind::Foreign { value, .. } => value.clone(),
            PartKind::Text | PartKind::Refusal | PartKind::Audio { .. } | PartKind::Image { .. } => {
                json!({"type": "text", "text": ""})
            }
        };
        let start = json!({"type": "content_block_start", "index": index, "content_block": block});
        self.write("content_block_start", out, |json| wire_json::write_into(&start, json));
    }

    fn grow(&mut self, index: u32, growth: Growth<'_>, out: &mut Vec<u8>) {
        match growth {
            Growth::Text(text) => self.delta(index, "text_delta", "text", text, out),
            Growth::Reasoning(text) => self.delta(index, "thinking_delta", "thinking", text, out),
            Growth::Arguments(text) => self.delta(index, "input_json_delta", "partial_json", text, out),
            Growth::Signature(_) if !self.signable => self.losses.note("content.signature"),
            Growth::Signature(signature) => {
                let sealed = opaque::seal(signature, Family::Anthropic);
                self.delta(index, "signature_delta", "signature", &sealed, out);
            }
            Growth::Annotation(annotation) => {
                if let Some(citation) = citations::citation(annotation) {
                    let delta = json!({"type": "content_block_delta", "index": index,
                        "delta": {"type": "citations_delta", "citation": citation}});
                    self.write("content_block_delta", out, |json| wire_json::write_into(&delta, json));
                } else {
                    self.losses.note("content.annotations");
                }
            }
        }
    }

    fn stop(&mut self, index: u32, out: &mut Vec<u8>) {
        self.write("content_block_stop", out, |json| {
            json.extend_from_slice(br#"{"type":"content_block_stop","index":"#);
            json.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
            json.push(b'}');
        });
    }
}
