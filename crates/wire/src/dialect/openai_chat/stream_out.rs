//! Events of one stream as a chat-completions client reads them.

use serde_json::{Map, Value, json};

use faregate_terms::Usage;

use crate::chat::{Event, Extra, Family, FinishReason, PartKind, Signature};
use crate::dialect::{ErrorNote, Losses, Reply, StreamEncoder};
use crate::frame::sse_data;
use crate::{json as wire_json, opaque};

use super::client::{
    client_finish, completion_id, custom_input, error_value, image, is_custom, is_legacy, own_members,
};
use super::types::UsageOut;

const DONE: &[u8] = b"data: [DONE]\n\n";

/// One stream on its way to a client.
pub(super) struct Encoder {
    reply: Reply,
    legacy: bool,
    /// `data: ` and a chunk's members up to `"choices":[`.
    head: Vec<u8>,
    open: Vec<Open>,
    /// Text parts that have ended, with their alternatives: citations may come after the text.
    ended: Vec<(u32, u32)>,
    /// Alternatives whose role has been said.
    begun: Vec<Voice>,
    /// Members that go with the next chunk.
    pending: Map<String, Value>,
    usage: Usage,
    losses: Losses,
}

/// One alternative.
#[derive(Default)]
struct Voice {
    choice: u32,
    calls: usize,
    blocks: usize,
    notes: usize,
    images: usize,
}

struct Open {
    part: u32,
    choice: u32,
    kind: PartKind,
    /// The call's or block's place in its list.
    index: usize,
    /// Whether a tool call's id and name have been sent.
    sent: bool,
    custom: bool,
    /// What only makes sense whole: signed reasoning, pictures, free text of custom tools.
    held: String,
    signature: Option<Signature>,
}

impl Encoder {
    pub(super) fn new(reply: Reply) -> Self {
        let mut encoder = Self {
            legacy: is_legacy(&reply.request),
            head: Vec::new(),
            open: Vec::new(),
            ended: Vec::new(),
            begun: Vec::new(),
            pending: Map::new(),
            usage: Usage::default(),
            losses: Losses::default(),
            reply,
        };
        encoder.set_head("", None, None);
        encoder
    }

    fn set_head(&mut self, id: &str, created: Option<i64>, fingerprint: Option<&Value>) {
        let head = &mut self.head;
        head.clear();
        head.extend_from_slice(b"data: {\"id\":");
        wire_json::write_into(&completion_id(id, &self.reply.id), head);
        head.extend_from_slice(b",\"object\":\"chat.completion.chunk\",\"created\":");
        wire_json::write_into(&created.unwrap_or(self.reply.created), head);
        head.extend_from_slice(b",\"model\":");
        wire_json::write_into(&self.reply.model, head);
        if let Some(fingerprint) = fingerprint {
            head.extend_from_slice(b",\"system_fingerprint\":");
            wire_json::write_into(fingerprint, head);
        }
        head.extend_from_slice(b",\"choices\":[");
    }

    fn start(&mut self, id: &str, created: Option<i64>, extra: &Extra) {
        let fingerprint = extra.get(Family::OpenAi, "system_fingerprint");
        self.set_head(id, created, fingerprint);
        self.keep(extra);
        self.pending.shift_remove("system_fingerprint");
    }

    fn keep(&mut self, extra: &Extra) {
        for (key, value) in own_members(extra) {
            self.pending.insert(key.clone(), value.clone());
        }
    }

    /// Begins a chunk: everything up to the inside of `delta`.
    fn begin(&self, choice: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b"{\"index\":");
        wire_json::write_into(&choice, out);
        out.extend_from_slice(b",\"delta\":{");
    }

    /// Ends a chunk begun by [`Self::begin`] that finishes nothing.
    fn close(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"},\"finish_reason\":null}]");
        self.tail(out);
    }

    /// Ends a chunk after its choices.
    fn tail(&mut self, out: &mut Vec<u8>) {
        for (key, value) in std::mem::take(&mut self.pending) {
            out.push(b',');
            wire_json::write_into(&key, out);
            out.push(b':');
            wire_json::write_into(&value, out);
        }
        out.extend_from_slice(b"}\n\n");
    }

    /// One chunk whose delta has this one text member.
    fn text(&mut self, choice: u32, member: &str, text: &str, out: &mut Vec<u8>) {
        self.begin(choice, out);
        out.extend_from_slice(member.as_bytes());
        wire_json::write_into(text, out);
        self.close(out);
    }

    /// One chunk whose delta has this one member.
    fn delta(&mut self, choice: u32, member: &str, value: &Value, out: &mut Vec<u8>) {
        self.begin(choice, out);
        wire_json::write_into(member, out);
        out.push(b':');
        wire_json::write_into(value, out);
        self.close(out);
    }

    /// Says the role if this is the first of an alternative.
    fn voice(&mut self, choice: u32, has_text: bool, out: &mut Vec<u8>) -> &mut Voice {
        if !self.begun.iter().any(|voice| voice.choice == choice) {
            self.begin(choice, out);
            let content = if has_text { "\"\"" } else { "null" };
            out.extend_from_slice(b"\"role\":\"assistant\",\"content\":");
            out.extend_from_slice(content.as_bytes());
            self.close(out);
            self.begun.push(Voice { choice, ..Voice::default() });
        }
        let at = self.begun.iter().position(|voice| voice.choice == choice).unwrap_or(0);
        &mut self.begun[at]
    }

    fn opened(&mut self, choice: u32, part: u32, kind: &PartKind, out: &mut Vec<u8>) {
        let calls = matches!(kind, PartKind::ToolCall { .. });
        let voice = self.voice(choice, !calls, out);
        let counter = match kind {
            PartKind::ToolCall { .. } => Some(&mut voice.calls),
            PartKind::Reasoning { .. } | PartKind::Redacted { .. } => Some(&mut voice.blocks),
            PartKind::Image { .. } => Some(&mut voice.images),
            _ => None,
        };
        let index = counter.map_or(0, |counter| {
            *counter += 1;
            *counter - 1
        });
        let custom = match kind {
            PartKind::ToolCall { name, .. } => is_custom(&self.reply.request, name),
            _ => false,
        };
        if let PartKind::Redacted { signature, .. } = kind {
            let data = opaque::seal(signature, Family::Anthropic);
            let block = json!([{"index": index, "type": "redacted_thinking", "data": data}]);
            self.delta(choice, "thinking_blocks", &block, out);
        }
        if let PartKind::Audio { id: Some(id), .. } = kind {
            self.delta(choice, "audio", &json!({ "id": id }), out);
        }
        self.open.push(Open {
            part,
            choice,
            kind: kind.clone(),
            index,
            sent: false,
            custom,
            held: String::new(),
            signature: None,
        });
    }

    fn find(&mut self, part: u32) -> Option<usize> {
        self.open.iter().position(|open| open.part == part)
    }

    /// Sends a call's id and name, which waits for its first arguments because a signature may come before.
    fn name_call(&mut self, at: usize, out: &mut Vec<u8>) {
        let open = &mut self.open[at];
        let PartKind::ToolCall { id, name, .. } = &open.kind else { return };
        if std::mem::replace(&mut open.sent, true) || open.custom {
            return;
        }
        let (choice, index) = (open.choice, open.index);
        let id = opaque::seal_id(id, open.signature.as_ref());
        let function = json!({"name": name, "arguments": ""});
        if self.legacy {
            if index == 0 {
                self.delta(choice, "function_call", &function, out);
            }
            return;
        }
        let call = json!([{"index": index, "id": id, "type": "function", "function": function}]);
        self.delta(choice, "tool_calls", &call, out);
    }

    fn arguments(&mut self, part: u32, delta: &str, out: &mut Vec<u8>) {
        let Some(at) = self.find(part) else { return };
        if self.open[at].custom {
            self.open[at].held.push_str(delta);
            return;
        }
        self.name_call(at, out);
        if delta.is_empty() {
            return;
        }
        let (choice, index) = (self.open[at].choice, self.open[at].index);
        if self.legacy && index > 0 {
            return;
        }
        self.begin(choice, out);
        if self.legacy {
            out.extend_from_slice(b"\"function_call\":{\"arguments\":");
            wire_json::write_into(delta, out);
            out.push(b'}');
        } else {
            out.extend_from_slice(b"\"tool_calls\":[{\"index\":");
            wire_json::write_into(&index, out);
            out.extend_from_slice(b",\"function\":{\"arguments\":");
            wire_json::write_into(delta, out);
            out.extend_from_slice(b"}}]");
        }
        self.close(out);
    }

    fn signature(&mut self, part: u32, signature: &Signature, out: &mut Vec<u8>) {
        let Some(at) = self.find(part) else { return };
        let open = &mut self.open[at];
        match &open.kind {
            PartKind::ToolCall { .. } if open.sent && !open.custom => {
                let fields = json!({"thought_signature": opaque::seal(signature, Family::Gemini)});
                let call = json!([{"index": open.index, "provider_specific_fields": fields}]);
                let choice = open.choice;
                self.delta(choice, "tool_calls", &call, out);
            }
            PartKind::ToolCall { .. } => open.signature = Some(signature.clone()),
            PartKind::Reasoning { .. } => {
                // Once and whole: accumulators join what comes twice.
                let block = json!([{"index": open.index, "type": "thinking", "thinking": open.held,
                    "signature": opaque::seal(signature, Family::Anthropic)}]);
                let choice = open.choice;
                self.delta(choice, "thinking_blocks", &block, out);
            }
            _ => {
                // As LiteLLM tells a message's own; accumulators put the list together.
                let fields = json!({"thought_signatures": [opaque::seal(signature, Family::Gemini)]});
                let choice = open.choice;
                self.delta(choice, "provider_specific_fields", &fields, out);
            }
        }
    }

    fn media(&mut self, part: u32, data: &str, transcript: &str, out: &mut Vec<u8>) {
        let Some(at) = self.find(part) else { return };
        let choice = self.open[at].choice;
        if matches!(self.open[at].kind, PartKind::Image { .. }) {
            self.open[at].held.push_str(data);
            return;
        }
        for (member, piece) in [("data", data), ("transcript", transcript)] {
            if !piece.is_empty() {
                self.delta(choice, "audio", &json!({ (member): piece }), out);
            }
        }
    }

    fn annotation(&mut self, part: u32, annotation: &Value, out: &mut Vec<u8>) {
        let open = self.open.iter().map(|open| (open.part, open.choice));
        let found = open.chain(self.ended.iter().copied()).find(|(known, _)| *known == part);
        let Some((_, choice)) = found else { return };
        let voice = self.voice(choice, true, out);
        let index = voice.notes;
        voice.notes += 1;
        let mut annotation = annotation.clone();
        if let Some(members) = annotation.as_object_mut() {
            members.insert("index".to_owned(), json!(index));
        }
        self.delta(choice, "annotations", &Value::Array(vec![annotation]), out);
    }

    fn closed(&mut self, part: u32, out: &mut Vec<u8>) {
        let Some(at) = self.find(part) else { return };
        self.name_call(at, out);
        let open = self.open.swap_remove(at);
        match &open.kind {
            PartKind::Text => self.ended.push((part, open.choice)),
            PartKind::ToolCall { id, name, .. } if open.custom => {
                let call = json!([{"index": open.index, "type": "custom",
                    "id": opaque::seal_id(id, open.signature.as_ref()),
                    "custom": {"name": name, "input": custom_input(&open.held)}}]);
                self.delta(open.choice, "tool_calls", &call, out);
            }
            PartKind::Image { mime } => {
                let picture = image(open.index, &format!("data:{mime};base64,{}", open.held));
                self.delta(open.choice, "images", &Value::Array(vec![picture]), out);
            }
            _ => {}
        }
    }

    fn finish(&mut self, choice: u32, reason: &FinishReason, out: &mut Vec<u8>) {
        let parts: Vec<u32> =
            self.open.iter().filter(|open| open.choice == choice).map(|open| open.part).collect();
        for part in parts {
            self.closed(part, out);
        }
        self.voice(choice, true, out);
        self.begin(choice, out);
        out.extend_from_slice(b"},\"finish_reason\":");
        wire_json::write_into(client_finish(reason, self.legacy), out);
        out.extend_from_slice(b"}]");
        self.tail(out);
    }

    fn logprobs(&mut self, choice: u32, value: &Value, out: &mut Vec<u8>) {
        self.voice(choice, true, out);
        self.begin(choice, out);
        out.extend_from_slice(b"},\"logprobs\":");
        wire_json::write_into(value, out);
        out.extend_from_slice(b",\"finish_reason\":null}]");
        self.tail(out);
    }
}

impl StreamEncoder for Encoder {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, created, extra, .. } => self.start(id, *created, extra),
            Event::Open { choice, part, kind } => self.opened(*choice, *part, kind, out),
            Event::Text { part, delta } => {
                let Some(at) = self.find(*part) else { return };
                let (choice, open) = (self.open[at].choice, &self.open[at]);
                let refusal = matches!(open.kind, PartKind::Refusal);
                let member = if refusal { "\"refusal\":" } else { "\"content\":" };
                self.text(choice, member, delta, out);
            }
            Event::Reasoning { part, delta } => {
                let Some(at) = self.find(*part) else { return };
                self.open[at].held.push_str(delta);
                let choice = self.open[at].choice;
                self.text(choice, "\"reasoning_content\":", delta, out);
            }
            Event::Signature { part, signature } => self.signature(*part, signature, out),
            Event::Arguments { part, delta } => self.arguments(*part, delta, out),
            Event::Media { part, data, transcript } => self.media(*part, data, transcript, out),
            Event::Annotation { part, annotation } => self.annotation(*part, annotation, out),
            Event::Logprobs { choice, value } => self.logprobs(*choice, value, out),
            Event::Close { part } => self.closed(*part, out),
            Event::Usage(usage) => self.usage.absorb(usage),
            Event::Finish { choice, reason, .. } => self.finish(*choice, reason, out),
            Event::Extra(extra) => self.keep(extra),
            Event::Ping | Event::Error(_) => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        while let Some(open) = self.open.first() {
            let part = open.part;
            self.closed(part, out);
        }
        if self.reply.request.include_usage {
            if let Some(tier) = &self.usage.service_tier {
                self.pending.insert("service_tier".to_owned(), json!(tier));
            }
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"],\"usage\":");
            wire_json::write_into(&UsageOut::of(&self.usage), out);
            self.tail(out);
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
