//! Answers of `/api/chat`, whole or line by line; both have the same shape.

use faregate_terms::Usage;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::chat::{ChatResponse, Event, Extra, FinishReason, Folder, PartKind};
use crate::dialect::gemini::seconds;
use crate::dialect::{Malformed, StreamDecoder, StreamEnd};
use crate::frame::Frame;
use crate::json as wire_json;

use super::provider::fault_of;

#[derive(Debug, Deserialize)]
struct Line {
    #[serde(default)]
    model: String,
    #[serde(default)]
    created_at: String,
    message: Option<Said>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
    logprobs: Option<Vec<Value>>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Said {
    content: Option<String>,
    thinking: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Call>>,
}

#[derive(Debug, Deserialize)]
struct Call {
    id: Option<String>,
    function: Function,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: Value,
}

/// Reads a whole answer.
pub(super) fn decode(body: &[u8]) -> Result<ChatResponse, Malformed> {
    let mut events = Vec::new();
    let mut decoder = Decoder::default();
    decoder.frame(Frame::data(body), &mut events)?;
    if let StreamEnd::Truncated = decoder.end(&mut events) {
        return Err(Malformed("the answer is not marked as done".to_owned()));
    }
    let mut folder = Folder::new();
    for event in &events {
        if let Event::Error(fault) = event {
            return Err(Malformed(fault.message.clone()));
        }
        folder.add(event);
    }
    Ok(folder.finish())
}

/// Reads an answer line by line.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    started: bool,
    ended: bool,
    called: bool,
    next: u32,
    open: Option<(u32, Kind)>,
    /// Digits of the first line's time: what makes the ids of calls unique when Ollama gives none.
    moment: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let line: Line = wire_json::read(frame.data).map_err(Malformed)?;
        if let Some(error) = line.error {
            let message = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
            self.ended = true;
            let mut fault = fault_of(500, message);
            // The status was 200: the stream had begun.
            fault.upstream_status = None;
            out.push(Event::Error(fault));
            return Ok(());
        }
        if !self.started {
            self.started = true;
            self.moment = line.created_at.chars().filter(char::is_ascii_digit).collect();
            out.push(Event::Start {
                id: String::new(),
                model: line.model,
                created: seconds(&line.created_at),
                extra: Extra::default(),
            });
        }
        if let Some(said) = line.message {
            self.said(said, out);
        }
        if let Some(items) = line.logprobs.filter(|items| !items.is_empty()) {
            out.push(Event::Logprobs { choice: 0, value: json!({"content": items}) });
        }
        if line.done && !self.ended {
            self.ended = true;
            self.close(out);
            out.push(Event::Usage(Usage {
                input: line.prompt_eval_count.unwrap_or(0),
                output: line.eval_count.unwrap_or(0),
                raw: json!({"prompt_eval_count": line.prompt_eval_count, "eval_count": line.eval_count})
                    .to_string()
                    .into(),
                ..Usage::default()
            }));
            let reason = self.reason(line.done_reason.as_deref());
            out.push(Event::Finish { choice: 0, reason, stop_sequence: None });
        }
        Ok(())
    }

    fn end(&mut self, _out: &mut Vec<Event>) -> StreamEnd {
        if self.ended { StreamEnd::Complete } else { StreamEnd::Truncated }
    }
}

impl Decoder {
    fn said(&mut self, said: Said, out: &mut Vec<Event>) {
        if let Some(delta) = said.thinking.filter(|text| !text.is_empty()) {
            let part = self.part(Kind::Thinking, out);
            out.push(Event::Reasoning { part, delta });
        }
        if let Some(delta) = said.content.filter(|text| !text.is_empty()) {
            let part = self.part(Kind::Text, out);
            out.push(Event::Text { part, delta });
        }
        for call in said.tool_calls.into_iter().flatten() {
            self.close(out);
            self.called = true;
            let part = self.next;
            self.next += 1;
            let made_up = || format!("call_{}_{part}", self.moment);
            let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(made_up);
            let kind = PartKind::ToolCall { id, name: call.function.name, extra: Extra::default() };
            out.push(Event::Open { choice: 0, part, kind });
            let delta = match call.function.arguments {
                Value::Null => "{}".to_owned(),
                Value::String(text) => text,
                other => other.to_string(),
            };
            out.push(Event::Arguments { part, delta });
            out.push(Event::Close { part });
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
        let part = self.next;
        self.next += 1;
        self.open = Some((part, kind));
        let kind = match kind {
            Kind::Text => PartKind::Text,
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

    fn reason(&self, word: Option<&str>) -> FinishReason {
        match word {
            Some("length") => FinishReason::Length,
            _ if self.called => FinishReason::ToolCalls,
            None | Some("stop" | "load" | "unload" | "") => FinishReason::Stop,
            Some(other) => FinishReason::Other(other.to_owned()),
        }
    }
}
