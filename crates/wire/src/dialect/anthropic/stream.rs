//! Reads a stream.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::chat::{Event, Extra, Family, FinishReason, PartKind, Signature};
use crate::dialect::told::{self, Told};
use crate::dialect::{Malformed, StreamDecoder, StreamEnd};
use crate::frame::Frame;
use crate::json as wire_json;

use super::types::{WireUsage, finish_of};
use super::{JSON_TOOL, citations, fault};

/// Reads the events of one stream, framed as server-sent events or as Bedrock's chunks.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    usage: Told<WireUsage>,
    blocks: Vec<Block>,
    /// A call that stands in for structured output was seen.
    json_answer: bool,
    done: bool,
}

#[derive(Debug)]
struct Block {
    index: u32,
    kind: Kind,
    /// Opaque state so far.
    signature: String,
    /// Characters of text so far, for citations.
    length: usize,
    /// Members of a block that is passed on whole.
    foreign: Map<String, Value>,
    input: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Thinking,
    Tool,
    Json,
    Foreign,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Wire {
    MessageStart {
        message: Start,
    },
    ContentBlockStart {
        index: u32,
        content_block: Map<String, Value>,
    },
    ContentBlockDelta {
        index: u32,
        delta: Delta,
    },
    ContentBlockStop {
        index: u32,
    },
    MessageDelta {
        delta: End,
        #[serde(default, deserialize_with = "told::reassembled")]
        usage: Told<WireUsage>,
    },
    MessageStop,
    Ping,
    Error {
        error: Value,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    id: String,
    #[serde(default)]
    model: String,
    #[serde(default, deserialize_with = "told::reassembled")]
    usage: Told<WireUsage>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(rename = "citations_delta")]
    Citations { citation: Value },
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct End {
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
}

/// Bedrock's wrapping of one event.
#[derive(Deserialize)]
struct Chunk {
    bytes: String,
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if frame.exception {
            let error: Value = serde_json::from_slice(frame.data).unwrap_or_default();
            out.push(Event::Error(fault::in_stream(&error)));
            return Ok(());
        }
        if frame.event == Some("chunk") {
            use base64::Engine;
            let chunk: Chunk = wire_json::read(frame.data).map_err(Malformed)?;
            let inner = base64::engine::general_purpose::STANDARD
                .decode(chunk.bytes)
                .map_err(|error| Malformed(error.to_string()))?;
            return self.read(&inner, out);
        }
        self.read(frame.data, out)
    }

    fn end(&mut self, _out: &mut Vec<Event>) -> StreamEnd {
        if self.done { StreamEnd::Complete } else { StreamEnd::Truncated }
    }
}

impl Decoder {
    fn read(&mut self, data: &[u8], out: &mut Vec<Event>) -> Result<(), Malformed> {
        match wire_json::read::<Wire>(data).map_err(Malformed)? {
            Wire::MessageStart { message } => {
                self.usage = message.usage;
                out.push(Event::Start {
                    id: message.id,
                    model: message.model,
                    created: None,
                    extra: Extra::default(),
                });
                out.push(Event::Usage(self.usage.usage()));
            }
            Wire::ContentBlockStart { index, content_block } => self.open(index, content_block, out),
            Wire::ContentBlockDelta { index, delta } => self.grow(index, delta, out),
            Wire::ContentBlockStop { index } => self.close(index, out),
            Wire::MessageDelta { delta, usage } => {
                self.usage.add(usage, WireUsage::merge);
                out.push(Event::Usage(self.usage.usage()));
                if let Some(reason) = delta.stop_reason {
                    let mut reason = finish_of(&reason);
                    if self.json_answer && reason == FinishReason::ToolCalls {
                        reason = FinishReason::Stop;
                    }
                    out.push(Event::Finish { choice: 0, reason, stop_sequence: delta.stop_sequence });
                }
            }
            Wire::MessageStop => self.done = true,
            Wire::Ping => out.push(Event::Ping),
            Wire::Error { error } => out.push(Event::Error(fault::in_stream(&error))),
            Wire::Unknown => {}
        }
        Ok(())
    }

    fn open(&mut self, index: u32, mut block: Map<String, Value>, out: &mut Vec<Event>) {
        let text = |block: &Map<String, Value>, key: &str| {
            block.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let kind = match text(&block, "type").as_str() {
            "text" => Kind::Text,
            "thinking" => Kind::Thinking,
            "tool_use" if text(&block, "name") == JSON_TOOL => Kind::Json,
            "tool_use" => Kind::Tool,
            _ => Kind::Foreign,
        };
        let opened = match kind {
            Kind::Text | Kind::Json => Some(PartKind::Text),
            Kind::Thinking => Some(PartKind::Reasoning { id: None }),
            Kind::Tool => {
                let (id, name) = (text(&block, "id"), text(&block, "name"));
                for known in ["type", "id", "name", "input"] {
                    block.shift_remove(known);
                }
                Some(PartKind::ToolCall {
                    id,
                    name,
                    extra: Extra::from_map(Family::Anthropic, block.clone()),
                })
            }
            Kind::Foreign if text(&block, "type") == "redacted_thinking" => {
                let signature = Signature { family: Family::Anthropic, data: text(&block, "data") };
                Some(PartKind::Redacted { signature, id: None })
            }
            // Passed on when it is complete.
            Kind::Foreign => None,
        };
        self.json_answer |= kind == Kind::Json;
        if let Some(kind) = opened {
            out.push(Event::Open { choice: 0, part: index, kind });
        }
        let first = text(&block, if kind == Kind::Thinking { "thinking" } else { "text" });
        let mut entry =
            Block { index, kind, signature: String::new(), length: 0, foreign: block, input: String::new() };
        if !first.is_empty() && matches!(kind, Kind::Text | Kind::Thinking) {
            entry.length = first.chars().count();
            out.push(if kind == Kind::Text {
                Event::Text { part: index, delta: first }
            } else {
                Event::Reasoning { part: index, delta: first }
            });
        }
        self.blocks.push(entry);
    }

    fn grow(&mut self, index: u32, delta: Delta, out: &mut Vec<Event>) {
        let Some(block) = self.blocks.iter_mut().rev().find(|block| block.index == index) else { return };
        match delta {
            Delta::Text { text } => {
                block.length += text.chars().count();
                out.push(Event::Text { part: index, delta: text });
            }
            Delta::Thinking { thinking } => out.push(Event::Reasoning { part: index, delta: thinking }),
            Delta::Signature { signature } => block.signature.push_str(&signature),
            Delta::InputJson { partial_json } => match block.kind {
                Kind::Tool => out.push(Event::Arguments { part: index, delta: partial_json }),
                Kind::Json => out.push(Event::Text { part: index, delta: partial_json }),
                _ => block.input.push_str(&partial_json),
            },
            Delta::Citations { citation } => {
                let annotation = citations::annotation(citation, 0, block.length);
                out.push(Event::Annotation { part: index, annotation });
            }
            Delta::Unknown => {}
        }
    }

    fn close(&mut self, index: u32, out: &mut Vec<Event>) {
        let Some(at) = self.blocks.iter().position(|block| block.index == index) else { return };
        let mut block = self.blocks.swap_remove(at);
        if !block.signature.is_empty() {
            let signature = Signature { family: Family::Anthropic, data: block.signature };
            out.push(Event::Signature { part: index, signature });
        }
        let is_redacted = block.foreign.get("type").and_then(Value::as_str) == Some("redacted_thinking");
        if block.kind == Kind::Foreign && !is_redacted {
            if !block.input.is_empty() {
                block.foreign.insert("input".to_owned(), wire_json::arguments(&block.input));
            }
            let kind = PartKind::Foreign { family: Family::Anthropic, value: Value::Object(block.foreign) };
            out.push(Event::Open { choice: 0, part: index, kind });
        }
        out.push(Event::Close { part: index });
    }
}
