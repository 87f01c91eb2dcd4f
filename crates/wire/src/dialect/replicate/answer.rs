//! Predictions, whole and as event streams.

use faregate_terms::{Fault, FaultClass, Usage};
use serde_json::Value;

use crate::chat::{ChatResponse, Choice, Event, Extra, FinishReason, Part, PartKind};
use crate::dialect::{Malformed, StreamDecoder, StreamEnd};
use crate::frame::Frame;
use crate::json;

/// Reads a prediction that is done.
pub(super) fn decode(body: &[u8]) -> Result<ChatResponse, Malformed> {
    let prediction: Value = json::read(body).map_err(Malformed)?;
    let word = |name: &str| prediction.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    match word("status").as_str() {
        "succeeded" => {}
        status => {
            let why = match prediction.get("error") {
                Some(Value::String(why)) => why.clone(),
                _ => "the provider gives no reason".to_owned(),
            };
            return Err(Malformed(format!("the prediction is `{status}`: {why}")));
        }
    }
    let text = match prediction.get("output") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(pieces)) => pieces.iter().filter_map(Value::as_str).collect(),
        Some(Value::Null) | None => String::new(),
        Some(other) => json::text(other),
    };
    let count =
        |name: &str| prediction.get("metrics").and_then(|metrics| metrics.get(name)?.as_u64()).unwrap_or(0);
    Ok(ChatResponse {
        id: word("id"),
        model: word("model"),
        created: None,
        choices: vec![Choice {
            index: 0,
            parts: vec![Part::text(text)],
            finish: FinishReason::Stop,
            stop_sequence: None,
            logprobs: None,
        }],
        usage: Usage {
            input: count("input_token_count"),
            output: count("output_token_count"),
            raw: prediction.get("metrics").map(|it| it.to_string().into()).unwrap_or_default(),
            ..Usage::default()
        },
        extra: Extra::default(),
    })
}

/// The event stream of one prediction.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    started: bool,
    done: bool,
}

/// The number of the only part.
const PART: u32 = 0;

impl Decoder {
    fn start(&mut self, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.started, true) {
            out.push(Event::Start {
                id: String::new(),
                model: String::new(),
                created: None,
                extra: Extra::default(),
            });
            out.push(Event::Open { choice: 0, part: PART, kind: PartKind::Text });
        }
    }

    fn error(&mut self, message: String, out: &mut Vec<Event>) {
        self.done = true;
        out.push(Event::Error(Fault::new(FaultClass::Internal, message)));
    }
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        match frame.event {
            Some("output") => {
                let text = std::str::from_utf8(frame.data).map_err(|why| Malformed(why.to_string()))?;
                self.start(out);
                if !text.is_empty() {
                    out.push(Event::Text { part: PART, delta: text.to_owned() });
                }
            }
            Some("error") => {
                let value = json::read::<Value>(frame.data).unwrap_or_default();
                let told = value.get("detail").and_then(Value::as_str).map(str::to_owned);
                let message = told.unwrap_or_else(|| String::from_utf8_lossy(frame.data).into_owned());
                self.error(message, out);
            }
            Some("done") => {
                let value = json::read::<Value>(frame.data).unwrap_or_default();
                if let Some(reason) = value.get("reason").and_then(Value::as_str) {
                    self.error(format!("the prediction ended early: {reason}"), out);
                    return Ok(());
                }
                self.start(out);
                self.done = true;
                out.push(Event::Close { part: PART });
                out.push(Event::Finish { choice: 0, reason: FinishReason::Stop, stop_sequence: None });
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<Event>) -> StreamEnd {
        if self.done {
            return StreamEnd::Complete;
        }
        if self.started {
            out.push(Event::Close { part: PART });
        }
        StreamEnd::Truncated
    }
}
