//! From events to a whole answer and back.

use faregate_terms::Usage;

use super::{ChatResponse, Choice, Event, Extra, FinishReason, Media, Part, PartKind, Signature};

/// Collects the events of one stream into the answer they spell.
#[derive(Debug, Default)]
pub struct Folder {
    answer: ChatResponse,
    open: Vec<OpenPart>,
}

#[derive(Debug)]
struct OpenPart {
    choice: u32,
    number: u32,
    kind: PartKind,
    text: String,
    transcript: String,
    annotations: Vec<serde_json::Value>,
    signature: Option<Signature>,
}

impl Folder {
    /// A folder that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one event in. `Ping` and `Error` change nothing.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::Start { id, model, created, extra } => {
                self.answer.id.clone_from(id);
                self.answer.model.clone_from(model);
                self.answer.created = *created;
                self.merge_extra(extra);
            }
            Event::Open { choice, part, kind } => self.open.push(OpenPart {
                choice: *choice,
                number: *part,
                kind: kind.clone(),
                text: String::new(),
                transcript: String::new(),
                annotations: Vec::new(),
                signature: None,
            }),
            Event::Text { part, delta }
            | Event::Reasoning { part, delta }
            | Event::Arguments { part, delta } => {
                if let Some(open) = self.part(*part) {
                    open.text.push_str(delta);
                }
            }
            Event::Media { part, data, transcript } => {
                if let Some(open) = self.part(*part) {
                    open.text.push_str(data);
                    open.transcript.push_str(transcript);
                }
            }
            Event::Signature { part, signature } => {
                if let Some(open) = self.part(*part) {
                    open.signature = Some(signature.clone());
                }
            }
            Event::Annotation { part, annotation } => {
                if let Some(open) = self.part(*part) {
                    open.annotations.push(annotation.clone());
                }
            }
            Event::Logprobs { choice, value } => self.add_logprobs(*choice, value),
            Event::Usage(usage) => self.answer.usage.absorb(usage),
            Event::Finish { choice, reason, stop_sequence } => {
                let choice = self.choice(*choice);
                choice.finish = reason.clone();
                choice.stop_sequence.clone_from(stop_sequence);
            }
            Event::Extra(extra) => self.merge_extra(extra),
            Event::Close { .. } | Event::Ping | Event::Error(_) => {}
        }
    }

    /// What has been used so far.
    pub fn usage(&self) -> &Usage {
        &self.answer.usage
    }

    /// The answer; parts in the order in which they opened.
    pub fn finish(mut self) -> ChatResponse {
        for open in std::mem::take(&mut self.open) {
            let index = open.choice;
            let part = open.into_part();
            self.choice(index).parts.push(part);
        }
        if self.answer.choices.is_empty() {
            self.choice(0);
        }
        self.answer.choices.sort_by_key(|choice| choice.index);
        self.answer
    }

    fn part(&mut self, number: u32) -> Option<&mut OpenPart> {
        self.open.iter_mut().rev().find(|open| open.number == number)
    }

    fn choice(&mut self, index: u32) -> &mut Choice {
        let at = match self.answer.choices.iter().position(|choice| choice.index == index) {
            Some(at) => at,
            None => {
                self.answer.choices.push(Choice {
                    index,
                    parts: Vec::new(),
                    finish: FinishReason::Stop,
                    stop_sequence: None,
                    logprobs: None,
                });
                self.answer.choices.len() - 1
            }
        };
        &mut self.answer.choices[at]
    }

    fn add_logprobs(&mut self, index: u32, value: &serde_json::Value) {
        let choice = self.choice(index);
        let Some(have) = choice.logprobs.as_mut().and_then(serde_json::Value::as_object_mut) else {
            choice.logprobs = Some(value.clone());
            return;
        };
        for (key, items) in value.as_object().into_iter().flatten() {
            match (have.get_mut(key).and_then(serde_json::Value::as_array_mut), items.as_array()) {
                (Some(mine), Some(theirs)) => mine.extend(theirs.iter().cloned()),
                _ => {
                    have.insert(key.clone(), items.clone());
                }
            }
        }
    }

    fn merge_extra(&mut self, extra: &Extra) {
        for (family, members) in extra.families() {
            for (key, value) in members {
                self.answer.extra.put(family, key.clone(), value.clone());
            }
        }
    }
}

impl OpenPart {
    fn into_part(self) -> Part {
        match self.kind {
            PartKind::Text => Part::Text {
                text: self.text,
                annotations: self.annotations,
                signature: self.signature,
                cache: None,
                extra: Extra::default(),
            },
            PartKind::Reasoning { id } => {
                Part::Reasoning { text: self.text, signature: self.signature, redacted: false, id }
            }
            PartKind::Redacted { signature, id } => {
                Part::Reasoning { text: String::new(), signature: Some(signature), redacted: true, id }
            }
            PartKind::ToolCall { id, name, extra } => Part::ToolCall {
                id,
                name,
                arguments: self.text,
                signature: self.signature,
                cache: None,
                extra,
            },
            PartKind::Refusal => Part::Refusal { text: self.text },
            PartKind::Audio { id, mime } => Part::Audio {
                media: Media::Base64 { mime, data: self.text },
                transcript: (!self.transcript.is_empty()).then_some(self.transcript),
                id,
            },
            PartKind::Image { mime } => Part::image(Media::Base64 { mime, data: self.text }),
            PartKind::Foreign { family, value } => Part::Foreign { family, value },
        }
    }
}

/// Spells a whole answer as the events of a stream, for providers that cannot stream.
pub fn unfold(answer: &ChatResponse) -> Vec<Event> {
    let mut events = vec![Event::Start {
        id: answer.id.clone(),
        model: answer.model.clone(),
        created: answer.created,
        extra: answer.extra.clone(),
    }];
    let mut number = 0;
    for choice in &answer.choices {
        for part in &choice.parts {
            unfold_part(choice.index, number, part, &mut events);
            number += 1;
        }
        if let Some(value) = &choice.logprobs {
            events.push(Event::Logprobs { choice: choice.index, value: value.clone() });
        }
        events.push(Event::Finish {
            choice: choice.index,
            reason: choice.finish.clone(),
            stop_sequence: choice.stop_sequence.clone(),
        });
    }
    events.push(Event::Usage(answer.usage.clone()));
    events
}

fn unfold_part(choice: u32, part: u32, source: &Part, events: &mut Vec<Event>) {
    let (kind, growth, mut signature) = match source {
        Part::Text { text, signature, .. } => {
            (PartKind::Text, Some(Event::Text { part, delta: text.clone() }), signature.clone())
        }
        Part::Refusal { text } => (PartKind::Refusal, Some(Event::Text { part, delta: text.clone() }), None),
        Part::Reasoning { signature: Some(signature), redacted: true, id, .. } => {
            (PartKind::Redacted { signature: signature.clone(), id: id.clone() }, None, None)
        }
        Part::Reasoning { text, signature, id, .. } => (
            PartKind::Reasoning { id: id.clone() },
            Some(Event::Reasoning { part, delta: text.clone() }),
            signature.clone(),
        ),
        Part::ToolCall { id, name, arguments, signature, extra, .. } => (
            PartKind::ToolCall { id: id.clone(), name: name.clone(), extra: extra.clone() },
            Some(Event::Arguments { part, delta: arguments.clone() }),
            signature.clone(),
        ),
        Part::Audio { media: Media::Base64 { mime, data }, transcript, id } => (
            PartKind::Audio { id: id.clone(), mime: mime.clone() },
            Some(Event::Media {
                part,
                data: data.clone(),
                transcript: transcript.clone().unwrap_or_default(),
            }),
            None,
        ),
        Part::Image { media: Media::Base64 { mime, data }, .. } => (
            PartKind::Image { mime: mime.clone() },
            Some(Event::Media { part, data: data.clone(), transcript: String::new() }),
            None,
        ),
        Part::Foreign { family, value } => {
            (PartKind::Foreign { family: *family, value: value.clone() }, None, None)
        }
        // Not things a model says.
        Part::Image { .. } | Part::Audio { .. } | Part::File { .. } | Part::ToolResult { .. } => return,
    };
    events.push(Event::Open { choice, part, kind });
    if matches!(source, Part::ToolCall { .. }) {
        // Before the arguments, as dialects that carry it in the call's id must know it first.
        events.extend(signature.take().map(|signature| Event::Signature { part, signature }));
    }
    events.extend(growth);
    if let Part::Text { annotations, .. } = source {
        events.extend(
            annotations.iter().map(|annotation| Event::Annotation { part, annotation: annotation.clone() }),
        );
    }
    if let Some(signature) = signature {
        events.push(Event::Signature { part, signature });
    }
    events.push(Event::Close { part });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Family;
    use crate::dialect::{Dialect, Reply};

    fn answer() -> ChatResponse {
        let signature = |data: &str| Some(Signature { family: Family::Gemini, data: data.to_owned() });
        let mut call = Part::tool_call("c1", "look", r#"{"at":"sky"}"#);
        if let Part::ToolCall { signature: state, .. } = &mut call {
            *state = signature("state of the call");
        }
        let thought = Part::Reasoning {
            text: "hm".into(),
            signature: signature("of the thought"),
            redacted: false,
            id: None,
        };
        let choice = Choice {
            index: 0,
            parts: vec![thought, Part::text("Let me look."), call],
            finish: FinishReason::ToolCalls,
            stop_sequence: None,
            logprobs: None,
        };
        ChatResponse { id: "1".into(), choices: vec![choice], ..ChatResponse::default() }
    }

    #[test]
    fn what_is_unfolded_folds_back() {
        let mut folder = Folder::new();
        unfold(&answer()).iter().for_each(|event| folder.add(event));
        assert_eq!(folder.finish(), answer());
    }

    /// Dialects that carry a call's state in its id write the id with the call's beginning.
    #[test]
    fn the_state_of_a_replayed_call_reaches_every_client() {
        let plain = "state of the call";
        for dialect in [Dialect::Anthropic, Dialect::Bedrock, Dialect::OpenAiChat, Dialect::OpenAiResponses] {
            let reply = Reply {
                id: "1".into(),
                model: "m".into(),
                created: 0,
                request: std::sync::Arc::default(),
                alt_sse: false,
            };
            let mut encoder = dialect.client().unwrap().encoder(reply);
            let mut out = Vec::new();
            unfold(&answer()).iter().for_each(|event| encoder.event(event, &mut out));
            encoder.end(&mut out);
            let text = String::from_utf8_lossy(&out);
            let sealed =
                crate::opaque::seal_id("c1", Some(&Signature { family: Family::Gemini, data: plain.into() }));
            let is_carried = text.contains(&sealed) || text.contains(plain);
            assert!(is_carried, "{}: {text}", dialect.name());
        }
    }
}
