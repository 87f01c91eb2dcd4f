//! Streamed answers of `/chat/completions`.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::chat::{Event, Extra, Family, FinishReason, PartKind};
use crate::dialect::told::Told;
use crate::dialect::{Malformed, Quirks, StreamDecoder, StreamEnd};
use crate::frame::Frame;
use crate::{json, opaque};

use super::JSON_TOOL;
use super::answer::{
    Arguments, Piece, WireCall, WireFunction, call_id, call_state, image, pieces_of, seconds, sources,
};
use super::content::thinking_block;
use super::fault::fault_of;
use super::types::{WireUsage, finish_of, settle_tier, stated_cost};

#[derive(serde::Deserialize)]
struct Chunk {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    created: Option<Value>,
    #[serde(default)]
    choices: Option<Vec<WireChoice>>,
    #[serde(default)]
    usage: Option<Told<WireUsage>>,
    #[serde(default)]
    x_groq: Option<Groq>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    service_tier: Option<String>,
    #[serde(default)]
    system_fingerprint: Option<String>,
    #[serde(default)]
    cost: Option<serde_json::Number>,
    #[serde(default)]
    citations: Option<Value>,
    #[serde(default)]
    search_results: Option<Value>,
    #[serde(default)]
    prompt_filter_results: Option<Value>,
}

#[derive(serde::Deserialize)]
struct Groq {
    #[serde(default)]
    usage: Option<Told<WireUsage>>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(serde::Deserialize)]
struct WireChoice {
    #[serde(default)]
    index: u32,
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    stop_reason: Option<Value>,
    #[serde(default)]
    logprobs: Option<Value>,
    #[serde(default)]
    usage: Option<Told<WireUsage>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Delta {
    content: Content,
    reasoning_content: Option<String>,
    reasoning: Content,
    thinking_blocks: Option<Vec<Value>>,
    refusal: Option<String>,
    tool_calls: Option<Vec<WireCall>>,
    function_call: Option<WireFunction>,
    annotations: Option<Vec<Value>>,
    audio: Option<Audio>,
    images: Option<Vec<Value>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Audio {
    id: Option<String>,
    data: Option<String>,
    transcript: Option<String>,
}

/// Content of a delta: usually text, a list with Mistral.
#[derive(Default)]
enum Content {
    #[default]
    Nothing,
    Text(String),
    List(Vec<Value>),
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Content;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("text or a list of parts")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }
            fn visit_string<E: de::Error>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
                Ok(Content::Nothing)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Content::List(list))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// One stream under reading.
pub(super) struct Decoder {
    /// Structured output was asked for through a tool.
    by_tool: bool,
    unknown_tier_as_auto: bool,
    cost_in_body: bool,
    started: bool,
    done: bool,
    next: u32,
    voices: Vec<Voice>,
    /// Members that came before the answer's id did.
    early: Extra,
    cited: bool,
}

/// One alternative.
#[derive(Default)]
struct Voice {
    index: u32,
    /// The text, reasoning or refusal part that grows.
    speaking: Option<(Speech, u32)>,
    audio: Option<u32>,
    calls: Vec<Call>,
    /// A real tool was called.
    called: bool,
    /// The stand-in tool was.
    answered_by_tool: bool,
    finished: bool,
    last_text: Option<u32>,
    blocks: bool,
}

struct Call {
    index: u32,
    id: String,
    part: u32,
    /// Arguments are the answer's text.
    stands_in: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speech {
    Text,
    Thought,
    Refusal,
}

impl Decoder {
    pub(super) fn new(quirks: &Quirks) -> Self {
        Self {
            by_tool: quirks.schema_by_tool,
            unknown_tier_as_auto: quirks.unknown_tier_as_auto,
            cost_in_body: quirks.cost_in_body,
            started: false,
            done: false,
            next: 0,
            voices: Vec::new(),
            early: Extra::default(),
            cited: false,
        }
    }

    fn start(&mut self, chunk: &mut Chunk, out: &mut Vec<Event>) {
        let id = chunk.id.take().unwrap_or_default();
        for (key, value) in [
            ("system_fingerprint", chunk.system_fingerprint.take().map(Value::from)),
            ("prompt_filter_results", chunk.prompt_filter_results.take()),
        ] {
            if let Some(value) = value.filter(|value| !value.is_null()) {
                self.early.put(Family::OpenAi, key, value);
            }
        }
        // Azure's filter results come before the answer has an id.
        if id.is_empty() && chunk.choices.as_ref().is_none_or(Vec::is_empty) && chunk.usage.is_none() {
            return;
        }
        self.started = true;
        out.push(Event::Start {
            id,
            model: chunk.model.take().unwrap_or_default(),
            created: chunk.created.as_ref().and_then(seconds),
            extra: std::mem::take(&mut self.early),
        });
    }

    fn voice(&mut self, index: u32) -> usize {
        match self.voices.iter().position(|voice| voice.index == index) {
            Some(at) => at,
            None => {
                self.voices.push(Voice { index, ..Voice::default() });
                self.voices.len() - 1
            }
        }
    }

    fn open(&mut self, at: usize, kind: PartKind, out: &mut Vec<Event>) -> u32 {
        let part = self.next;
        self.next += 1;
        out.push(Event::Open { choice: self.voices[at].index, part, kind });
        part
    }

    /// Grows the part of this kind of speech; another kind's ends.
    fn say(&mut self, at: usize, speech: Speech, delta: String, out: &mut Vec<Event>) {
        if delta.is_empty() {
            return;
        }
        let part = match self.voices[at].speaking {
            Some((same, part)) if same == speech => part,
            _ => {
                self.hush(at, out);
                let kind = match speech {
                    Speech::Text => PartKind::Text,
                    Speech::Thought => PartKind::Reasoning { id: None },
                    Speech::Refusal => PartKind::Refusal,
                };
                let part = self.open(at, kind, out);
                self.voices[at].speaking = Some((speech, part));
                part
            }
        };
        out.push(match speech {
            Speech::Thought => Event::Reasoning { part, delta },
            Speech::Text | Speech::Refusal => Event::Text { part, delta },
        });
    }

    /// Ends what is being said.
    fn hush(&mut self, at: usize, out: &mut Vec<Event>) {
        if let Some((speech, part)) = self.voices[at].speaking.take() {
            if speech == Speech::Text {
                // Citations may still come: a text part is closed with its choice.
                if let Some(earlier) = self.voices[at].last_text.replace(part) {
                    out.push(Event::Close { part: earlier });
                }
            } else {
                out.push(Event::Close { part });
            }
        }
    }

    fn delta(&mut self, at: usize, delta: Delta, out: &mut Vec<Event>) -> Result<(), Malformed> {
        self.thoughts(at, delta.thinking_blocks, delta.reasoning_content, delta.reasoning, out)?;
        match delta.content {
            Content::Nothing => {}
            Content::Text(text) => self.say(at, Speech::Text, text, out),
            Content::List(items) => {
                for piece in items.iter().flat_map(pieces_of) {
                    match piece {
                        Piece::Text(text) => self.say(at, Speech::Text, text, out),
                        Piece::Thought(text) => self.say(at, Speech::Thought, text, out),
                    }
                }
            }
        }
        if let Some(text) = delta.refusal {
            self.say(at, Speech::Refusal, text, out);
        }
        if let Some(audio) = delta.audio {
            self.audio(at, audio, out);
        }
        for picture in delta.images.iter().flatten() {
            self.picture(at, picture, out);
        }
        for annotation in delta.annotations.into_iter().flatten() {
            self.annotate(at, annotation, out);
        }
        let legacy =
            delta.function_call.map(|function| WireCall { function: Some(function), ..WireCall::default() });
        for call in delta.tool_calls.into_iter().flatten().chain(legacy) {
            self.call(at, call, out);
        }
        Ok(())
    }

    fn thoughts(
        &mut self,
        at: usize,
        blocks: Option<Vec<Value>>,
        readable: Option<String>,
        other: Content,
        out: &mut Vec<Event>,
    ) -> Result<(), Malformed> {
        let readable = readable.or(match other {
            Content::Text(text) => Some(text),
            _ => None,
        });
        let has_readable = readable.as_ref().is_some_and(|text| !text.is_empty());
        if let Some(text) = readable {
            self.say(at, Speech::Thought, text, out);
        }
        for block in blocks.into_iter().flatten() {
            let part = thinking_block(block, "thinking_blocks").map_err(|bad| Malformed(bad.message))?;
            let crate::chat::Part::Reasoning { text, signature, redacted, .. } = part else { continue };
            match signature {
                Some(signature) if redacted => {
                    self.hush(at, out);
                    let part = self.open(at, PartKind::Redacted { signature, id: None }, out);
                    out.push(Event::Close { part });
                }
                signature => {
                    let heard = has_readable || self.voices[at].blocks;
                    if !heard && !matches!(self.voices[at].speaking, Some((Speech::Thought, _))) {
                        self.say(at, Speech::Thought, text, out);
                    }
                    if let (Some(signature), Some((Speech::Thought, part))) =
                        (signature, self.voices[at].speaking)
                    {
                        out.push(Event::Signature { part, signature });
                        self.hush(at, out);
                    }
                }
            }
        }
        self.voices[at].blocks |= has_readable;
        Ok(())
    }

    fn audio(&mut self, at: usize, audio: Audio, out: &mut Vec<Event>) {
        let part = match self.voices[at].audio {
            Some(part) => part,
            None => {
                let kind = PartKind::Audio { id: audio.id, mime: String::new() };
                let part = self.open(at, kind, out);
                self.voices[at].audio = Some(part);
                part
            }
        };
        let (data, transcript) = (audio.data.unwrap_or_default(), audio.transcript.unwrap_or_default());
        if !data.is_empty() || !transcript.is_empty() {
            out.push(Event::Media { part, data, transcript });
        }
    }

    fn picture(&mut self, at: usize, picture: &Value, out: &mut Vec<Event>) {
        use crate::chat::{Media, Part};
        if let Some(Part::Image { media: Media::Base64 { mime, data }, .. }) = image(picture) {
            self.hush(at, out);
            let part = self.open(at, PartKind::Image { mime }, out);
            out.push(Event::Media { part, data, transcript: String::new() });
            out.push(Event::Close { part });
        }
    }

    fn annotate(&mut self, at: usize, mut annotation: Value, out: &mut Vec<Event>) {
        if let Some(members) = annotation.as_object_mut() {
            members.shift_remove("index");
        }
        let part = match self.voices[at].speaking {
            Some((Speech::Text, part)) => Some(part),
            _ => self.voices[at].last_text,
        };
        if let Some(part) = part {
            out.push(Event::Annotation { part, annotation });
        }
    }

    fn call(&mut self, at: usize, call: WireCall, out: &mut Vec<Event>) {
        let state = call_state(&call);
        let (name, arguments) = match (call.function, call.custom) {
            (Some(function), _) => (function.name, function.arguments.map(Arguments::into_text)),
            // Free text is wrapped when it is whole; pieces are not sent by those who translate.
            (None, Some(custom)) => (
                custom.name,
                custom
                    .input
                    .filter(|it| !it.is_empty())
                    .map(|it| json::text(&serde_json::json!({"input": it}))),
            ),
            (None, None) => (None, None),
        };
        let id = call.id.filter(|id| !id.is_empty());
        let found = self.known_call(at, call.index, id.as_deref(), name.as_deref());
        let slot = match found {
            Some(slot) => slot,
            None => self.open_call(at, call.index, id, name.unwrap_or_default(), out),
        };
        let known = &self.voices[at].calls[slot];
        let (part, stands_in) = (known.part, known.stands_in);
        if let Some(signature) = state {
            out.push(Event::Signature { part, signature });
        }
        if let Some(delta) = arguments.filter(|delta| !delta.is_empty()) {
            out.push(if stands_in { Event::Text { part, delta } } else { Event::Arguments { part, delta } });
        }
    }

    /// The call a piece belongs to. Some providers number every call 0, some not at all: then the id tells.
    fn known_call(
        &self,
        at: usize,
        index: Option<u32>,
        id: Option<&str>,
        name: Option<&str>,
    ) -> Option<usize> {
        let calls = &self.voices[at].calls;
        let by_index = match index {
            Some(index) => calls.iter().rposition(|call| call.index == index),
            None => calls.len().checked_sub(1),
        }?;
        let renamed = id.is_some_and(|id| opaque::open_id(id).0 != calls[by_index].id)
            && name.is_some_and(|name| !name.is_empty());
        (!renamed).then_some(by_index)
    }

    fn open_call(
        &mut self,
        at: usize,
        index: Option<u32>,
        id: Option<String>,
        name: String,
        out: &mut Vec<Event>,
    ) -> usize {
        self.hush(at, out);
        let place = self.voices[at].calls.len();
        let (id, sealed) = opaque::open_id(&id.unwrap_or_else(|| call_id(place)));
        let stands_in = self.by_tool && name == JSON_TOOL;
        let kind = if stands_in {
            PartKind::Text
        } else {
            PartKind::ToolCall { id: id.clone(), name, extra: Extra::default() }
        };
        let part = self.open(at, kind, out);
        if let Some(signature) = sealed {
            out.push(Event::Signature { part, signature });
        }
        let voice = &mut self.voices[at];
        voice.called |= !stands_in;
        voice.answered_by_tool |= stands_in;
        let index = index.unwrap_or(u32::try_from(place).unwrap_or(u32::MAX));
        voice.calls.push(Call { index, id, part, stands_in });
        place
    }

    fn finish(&mut self, at: usize, word: &str, stop: Option<Value>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.voices[at].finished, true) {
            return;
        }
        self.close_all(at, out);
        let voice = &self.voices[at];
        let reason = match finish_of(word) {
            FinishReason::ToolCalls if voice.answered_by_tool && !voice.called => FinishReason::Stop,
            FinishReason::Stop if voice.called => FinishReason::ToolCalls,
            other => other,
        };
        let stop_sequence = stop.and_then(|stop| stop.as_str().map(str::to_owned));
        out.push(Event::Finish { choice: voice.index, reason, stop_sequence });
    }

    fn close_all(&mut self, at: usize, out: &mut Vec<Event>) {
        self.hush(at, out);
        let voice = &mut self.voices[at];
        let parts = voice.last_text.take().into_iter().chain(voice.audio.take());
        let parts = parts.chain(voice.calls.iter().map(|call| call.part));
        out.extend(parts.map(|part| Event::Close { part }));
    }

    fn cite(&mut self, sources_of: &mut Sources, out: &mut Vec<Event>) {
        let members = std::mem::take(&mut sources_of.0);
        if members.is_empty() || self.cited {
            return;
        }
        // Every chunk repeats them; the last counts.
        self.cited = true;
        for source in sources(&members) {
            self.annotate(0, source, out);
        }
        out.push(Event::Extra(Extra::from_map(Family::OpenAi, members)));
    }
}

/// Perplexity's members of a chunk.
struct Sources(Map<String, Value>);

impl Sources {
    fn of(chunk: &mut Chunk) -> Self {
        let mut members = Map::new();
        for (key, value) in
            [("citations", chunk.citations.take()), ("search_results", chunk.search_results.take())]
        {
            if let Some(value) = value.filter(|value| !value.is_null()) {
                members.insert(key.to_owned(), value);
            }
        }
        Self(members)
    }
}

impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        let data = frame.data.trim_ascii();
        if data.is_empty() {
            return Ok(());
        }
        if data == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        let mut chunk: Chunk = json::read(data).map_err(Malformed)?;
        let groq = chunk.x_groq.take();
        let groq_error = groq.as_ref().and_then(|groq| groq.error.clone());
        if let Some(error) = chunk.error.take().or(groq_error).filter(|error| !error.is_null()) {
            out.push(Event::Error(fault_of(&error, 200)));
            return Ok(());
        }
        if !self.started {
            self.start(&mut chunk, out);
        }
        let mut cited = Sources::of(&mut chunk);
        let mut usage = chunk.usage.take().or(groq.and_then(|groq| groq.usage));
        for choice in chunk.choices.take().into_iter().flatten() {
            let at = self.voice(choice.index);
            if let Some(delta) = choice.delta.filter(|_| !self.voices[at].finished) {
                self.delta(at, delta, out)?;
            }
            if let Some(value) = choice.logprobs.filter(|value| !value.is_null()) {
                out.push(Event::Logprobs { choice: choice.index, value });
            }
            // Moonshot reports usage inside the choice.
            usage = usage.or(choice.usage);
            if let Some(word) = choice.finish_reason.filter(|word| !word.is_empty()) {
                self.cite(&mut cited, out);
                self.finish(at, &word, choice.stop_reason, out);
            }
        }
        if let Some(usage) = usage {
            let mut usage = usage.usage();
            usage.service_tier = chunk.service_tier.take();
            if self.unknown_tier_as_auto {
                settle_tier(&mut usage.service_tier);
            }
            if self.cost_in_body {
                usage.stated_cost = stated_cost(chunk.cost.as_ref());
            }
            out.push(Event::Usage(usage));
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<Event>) -> StreamEnd {
        for at in 0..self.voices.len() {
            // xAI leaves the reason empty when the answer is a call.
            if self.done && self.voices[at].called && !self.voices[at].finished {
                self.finish(at, "tool_calls", None, out);
            }
        }
        let all_finished = !self.voices.is_empty() && self.voices.iter().all(|voice| voice.finished);
        if all_finished || (self.done && self.voices.is_empty()) {
            return StreamEnd::Complete;
        }
        for at in 0..self.voices.len() {
            if !self.voices[at].finished {
                self.close_all(at, out);
            }
        }
        StreamEnd::Truncated
    }
}
