//! Answers of `:generateContent`; a chunk of a stream has the same shape.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::chat::{ChatResponse, Event, Extra, Family, Folder};
use crate::dialect::told::Told;
use crate::dialect::{Malformed, StreamDecoder, StreamEnd};
use crate::frame::Frame;

use super::fault::WireError;
use super::stream::Decoder;
use super::types::WireUsage;

/// An answer or a chunk of one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wire {
    #[serde(default)]
    pub(super) candidates: Option<Vec<Candidate>>,
    pub(super) usage_metadata: Option<Told<WireUsage>>,
    pub(super) model_version: Option<String>,
    pub(super) response_id: Option<String>,
    pub(super) create_time: Option<String>,
    pub(super) prompt_feedback: Option<Value>,
    pub(super) model_status: Option<Value>,
    pub(super) error: Option<WireError>,
}

/// One alternative.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate {
    #[serde(default)]
    pub(super) index: u32,
    pub(super) content: Option<Content>,
    pub(super) finish_reason: Option<String>,
    pub(super) logprobs_result: Option<Value>,
    citation_metadata: Option<Value>,
    pub(super) grounding_metadata: Option<Value>,
    url_context_metadata: Option<Value>,
    safety_ratings: Option<Value>,
    finish_message: Option<Value>,
}

/// What it says.
#[derive(Debug, Deserialize)]
pub(super) struct Content {
    #[serde(default)]
    pub(super) parts: Vec<Map<String, Value>>,
}

impl Candidate {
    /// Members that are carried as they are.
    pub(super) fn carried(&mut self, extra: &mut Extra) {
        let members = [
            ("citationMetadata", self.citation_metadata.take()),
            ("groundingMetadata", self.grounding_metadata.take()),
            ("urlContextMetadata", self.url_context_metadata.take()),
            ("safetyRatings", self.safety_ratings.take()),
            ("finishMessage", self.finish_message.take()),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                extra.put(Family::Gemini, name, value);
            }
        }
    }
}

/// Reads a whole answer: a stream of one chunk.
pub(super) fn decode(body: &[u8]) -> Result<ChatResponse, Malformed> {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    decoder.frame(Frame::data(body), &mut events)?;
    let end = decoder.end(&mut events);
    let mut folder = Folder::new();
    for event in &events {
        if let Event::Error(fault) = event {
            return Err(Malformed(fault.message.clone()));
        }
        folder.add(event);
    }
    match end {
        StreamEnd::Complete => Ok(folder.finish()),
        StreamEnd::Truncated => Err(Malformed("the answer has no finished candidate".to_owned())),
    }
}
