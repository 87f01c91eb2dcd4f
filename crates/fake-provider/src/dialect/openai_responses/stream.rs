//! The typed events of a streamed response, numbered in order.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::{Frames, pieces};
use super::{annotation, content, final_status, item, item_id, object, wants_encrypted};
use crate::reply::{Ask, Part, Reply};

pub(super) fn frames(ask: &Ask, reply: &Reply) -> Vec<Bytes> {
    let mut events = Events { frames: Frames::default(), next: 0 };
    events.emit("response.created", json!({"response": object(ask, reply, "in_progress")}));
    events.emit("response.in_progress", json!({"response": object(ask, reply, "in_progress")}));
    for (index, part) in reply.parts.iter().enumerate() {
        match part {
            Part::Reasoning { deltas, .. } => events.reasoning(ask, index, deltas),
            Part::Call { id, name, arguments } => events.call(ask, index, id, name, arguments),
            _ => events.message(ask, index, part),
        }
        let done = item(ask, reply, index, part);
        events.emit("response.output_item.done", json!({"output_index": index, "item": done}));
    }
    let status = final_status(&reply.finish);
    events.emit(&format!("response.{status}"), json!({"response": object(ask, reply, status)}));
    events.frames.finish()
}

struct Events {
    frames: Frames,
    next: u64,
}

impl Events {
    fn emit(&mut self, kind: &str, members: Value) {
        let mut event = json!({"type": kind, "sequence_number": self.next});
        self.next += 1;
        if let (Some(event), Value::Object(members)) = (event.as_object_mut(), members) {
            event.extend(members);
        }
        self.frames.event(kind, &event);
    }

    fn reasoning(&mut self, ask: &Ask, index: usize, deltas: &[String]) {
        let id = item_id(ask, "rs", index);
        let mut item = json!({"id": id, "type": "reasoning", "summary": []});
        if wants_encrypted(ask) {
            item["encrypted_content"] = "".into();
        }
        self.emit("response.output_item.added", json!({"output_index": index, "item": item}));
        let at = |more: Value| {
            let mut members = json!({"item_id": id, "output_index": index, "summary_index": 0});
            if let (Some(members), Value::Object(more)) = (members.as_object_mut(), more) {
                members.extend(more);
            }
            members
        };
        let empty = json!({"part": {"type": "summary_text", "text": ""}});
        self.emit("response.reasoning_summary_part.added", at(empty));
        for text in deltas {
            self.emit("response.reasoning_summary_text.delta", at(json!({"delta": text})));
        }
        let text = deltas.concat();
        self.emit("response.reasoning_summary_text.done", at(json!({"text": text})));
        let part = json!({"part": {"type": "summary_text", "text": text}});
        self.emit("response.reasoning_summary_part.done", at(part));
    }

    fn call(&mut self, ask: &Ask, index: usize, call_id: &str, name: &str, arguments: &Value) {
        let id = item_id(ask, "fc", index);
        let item = json!({"id": id, "type": "function_call", "status": "in_progress", "arguments": "",
            "call_id": call_id, "name": name});
        self.emit("response.output_item.added", json!({"output_index": index, "item": item}));
        let text = arguments.to_string();
        for piece in pieces(&text, 6) {
            let members = json!({"item_id": id, "output_index": index, "delta": piece});
            self.emit("response.function_call_arguments.delta", members);
        }
        let members = json!({"item_id": id, "output_index": index, "arguments": text});
        self.emit("response.function_call_arguments.done", members);
    }

    fn message(&mut self, ask: &Ask, index: usize, part: &Part) {
        let id = item_id(ask, "msg", index);
        let item =
            json!({"id": id, "type": "message", "status": "in_progress", "content": [], "role": "assistant"});
        self.emit("response.output_item.added", json!({"output_index": index, "item": item}));
        let at = |more: Value| {
            let mut members = json!({"item_id": id, "output_index": index, "content_index": 0});
            if let (Some(members), Value::Object(more)) = (members.as_object_mut(), more) {
                members.extend(more);
            }
            members
        };
        match part {
            Part::Refusal(text) => {
                let empty = json!({"part": {"type": "refusal", "refusal": ""}});
                self.emit("response.content_part.added", at(empty));
                self.emit("response.refusal.delta", at(json!({"delta": text})));
                self.emit("response.refusal.done", at(json!({"refusal": text})));
            }
            Part::Text { deltas } | Part::Cited { deltas, .. } => {
                let empty = json!({"type": "output_text", "annotations": [], "logprobs": [], "text": ""});
                self.emit("response.content_part.added", at(json!({"part": empty})));
                for text in deltas {
                    self.emit("response.output_text.delta", at(json!({"delta": text, "logprobs": []})));
                }
                if let Some(annotation) = annotation(part) {
                    let members = at(json!({"annotation_index": 0, "annotation": annotation}));
                    self.emit("response.output_text.annotation.added", members);
                }
                let done = json!({"text": deltas.concat(), "logprobs": []});
                self.emit("response.output_text.done", at(done));
            }
            // Reasoning and calls are items of their own.
            Part::Reasoning { .. } | Part::Call { .. } => {}
        }
        self.emit("response.content_part.done", at(json!({"part": content(part)})));
    }
}
