//! Reads a stream.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::chat::{Event, Extra, Family, FinishReason, PartKind, Signature};
use crate::dialect::told::Told;
use crate::dialect::{Malformed, StreamDecoder, StreamEnd};
use crate::frame::Frame;
use crate::json as wire_json;

use super::types::{WireUsage, finish_of};
use super::{JSON_TOOL, citations, fault};

/// Reads the events of one stream.
#[derive(Debug)]
pub(super) struct Decoder {
    signer: Family,
    open: Vec<Block>,
    /// A call that stands in for structured output was seen.
    json_answer: bool,
    done: bool,
}

#[derive(Debug)]
struct Block {
    index: u32,
    is_json_answer: bool,
    /// Opaque state so far; it may come in pieces.
    signature: String,
    /// Characters of text so far, for citations.
    length: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockStart {
    content_block_index: u32,
    #[serde(default)]
    start: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockDelta {
    content_block_index: u32,
    delta: Delta,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Delta {
    text: Option<String>,
    tool_use: Option<ToolDelta>,
    reasoning_content: Option<ReasoningDelta>,
    citation: Option<Value>,
    image: Option<Value>,
}

#[derive(Deserialize)]
struct ToolDelta {
    #[serde(default)]
    input: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReasoningDelta {
    text: Option<String>,
    signature: Option<String>,
    redacted_content: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockStop {
    content_block_index: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageStop {
    stop_reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    usage: Told<WireUsage>,
    #[serde(default)]
    trace: Option<Value>,
    #[serde(default)]
    service_tier: Option<Value>,
}

impl Decoder {
    /// A decoder for a model whose reasoning `signer` signs.
    pub(super) fn new(signer: Family) -> Self {
        Self { signer, open: Vec::new(), json_answer: false, done: false }
    }
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        if frame.exception {
            out.push(Event::Error(fault::in_stream(frame.event, frame.data)));
            return Ok(());
        }
        match frame.event.unwrap_or_default() {
            "messageStart" => out.push(Event::Start {
                id: String::new(),
                model: String::new(),
                created: None,
                extra: Extra::default(),
            }),
            "contentBlockStart" => self.start(read(&frame)?, out),
            "contentBlockDelta" => self.grow(read(&frame)?, out),
            "contentBlockStop" => self.stop(read(&frame)?, out),
            "messageStop" => {
                let MessageStop { stop_reason } = read(&frame)?;
                let mut reason = finish_of(&stop_reason);
                if self.json_answer && reason == FinishReason::ToolCalls {
                    reason = FinishReason::Stop;
                }
                out.push(Event::Finish { choice: 0, reason, stop_sequence: None });
                self.done = true;
            }
            "metadata" => {
                let metadata: Metadata = read(&frame)?;
                let mut usage = metadata.usage.usage();
                usage.service_tier = metadata
                    .service_tier
                    .as_ref()
                    .and_then(|tier| tier.get("type")?.as_str())
                    .map(str::to_owned);
                out.push(Event::Usage(usage));
                if let Some(trace) = metadata.trace {
                    let mut extra = Extra::default();
                    extra.put(Family::Bedrock, "trace", trace);
                    out.push(Event::Extra(extra));
                }
            }
            // A kind this version does not know: other events still make sense without it.
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, _out: &mut Vec<Event>) -> StreamEnd {
        if self.done { StreamEnd::Complete } else { StreamEnd::Truncated }
    }
}

fn read<T: serde::de::DeserializeOwned>(frame: &Frame<'_>) -> Result<T, Malformed> {
    wire_json::read(frame.data).map_err(Malformed)
}

impl Decoder {
    fn start(&mut self, event: BlockStart, out: &mut Vec<Event>) {
        let index = event.content_block_index;
        if let Some(call) = event.start.get("toolUse") {
            let text = |key: &str| call.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let name = text("name");
            let is_json_answer = name == JSON_TOOL;
            self.json_answer |= is_json_answer;
            let mut extra = Extra::default();
            if let Some(kind) = call.get("type") {
                extra.put(Family::Bedrock, "type", kind.clone());
            }
            let kind = if is_json_answer {
                PartKind::Text
            } else {
                PartKind::ToolCall { id: text("toolUseId"), name, extra }
            };
            self.open(index, is_json_answer, kind, out);
        } else if let Some(image) = event.start.get("image") {
            let format = image.get("format").and_then(Value::as_str).unwrap_or("png");
            self.open(index, false, PartKind::Image { mime: format!("image/{format}") }, out);
        }
    }

    fn open(&mut self, index: u32, is_json_answer: bool, kind: PartKind, out: &mut Vec<Event>) {
        self.open.push(Block { index, is_json_answer, signature: String::new(), length: 0 });
        out.push(Event::Open { choice: 0, part: index, kind });
    }

    /// The open block of this number; text and reasoning begin without being announced.
    fn block(&mut self, index: u32, kind: impl FnOnce() -> PartKind, out: &mut Vec<Event>) -> &mut Block {
        let at = self.open.iter().position(|block| block.index == index).unwrap_or_else(|| {
            self.open(index, false, kind(), out);
            self.open.len() - 1
        });
        &mut self.open[at]
    }

    fn grow(&mut self, event: BlockDelta, out: &mut Vec<Event>) {
        let (part, delta) = (event.content_block_index, event.delta);
        if let Some(text) = delta.text {
            self.block(part, || PartKind::Text, out).length += text.chars().count();
            out.push(Event::Text { part, delta: text });
        }
        if let Some(ToolDelta { input }) = delta.tool_use {
            let is_json_answer = self.open.iter().any(|block| block.index == part && block.is_json_answer);
            out.push(if is_json_answer {
                Event::Text { part, delta: input }
            } else {
                Event::Arguments { part, delta: input }
            });
        }
        if let Some(reasoning) = delta.reasoning_content {
            self.reason(part, reasoning, out);
        }
        if let Some(citation) = delta.citation {
            let end = self.block(part, || PartKind::Text, out).length;
            out.push(Event::Annotation { part, annotation: citations::annotation(&citation, 0, end) });
        }
        if let Some(data) = delta.image.as_ref().and_then(|image| image.pointer("/source/bytes")?.as_str()) {
            out.push(Event::Media { part, data: data.to_owned(), transcript: String::new() });
        }
    }

    fn reason(&mut self, part: u32, delta: ReasoningDelta, out: &mut Vec<Event>) {
        if let Some(data) = delta.redacted_content {
            let signature = Signature { family: Family::Bedrock, data };
            self.open(part, false, PartKind::Redacted { signature, id: None }, out);
            return;
        }
        let block = self.block(part, || PartKind::Reasoning { id: None }, out);
        block.signature.push_str(&delta.signature.unwrap_or_default());
        if let Some(text) = delta.text {
            out.push(Event::Reasoning { part, delta: text });
        }
    }

    fn stop(&mut self, event: BlockStop, out: &mut Vec<Event>) {
        let part = event.content_block_index;
        let Some(at) = self.open.iter().position(|block| block.index == part) else { return };
        let block = self.open.swap_remove(at);
        if !block.signature.is_empty() {
            let signature = Signature { family: self.signer, data: block.signature };
            out.push(Event::Signature { part, signature });
        }
        out.push(Event::Close { part });
    }
}
