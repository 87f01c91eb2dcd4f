//! Cohere's v2 chat.
//!
//! Source: Cohere API reference, "Chat (v2)" and "Streaming"; the `cohere` SDK's types.

use bytes::Bytes;
use serde_json::{Value, json};

use super::openai_chat::check_name;
use super::{Dialect, Frames, Head, Refused, bearer, is_wrong, pieces, serial};
use crate::failure::{Class, Failure};
use crate::read::{Object, data_url, present, stranger, strings};
use crate::reply::{Ask, Choice, Finish, Part, Reply, Style, Tool};
use crate::scenario::Usage;

const KNOWN: &[&str] = &[
    "model",
    "messages",
    "tools",
    "strict_tools",
    "documents",
    "citation_options",
    "response_format",
    "safety_mode",
    "max_tokens",
    "stop_sequences",
    "temperature",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "k",
    "p",
    "logprobs",
    "tool_choice",
    "thinking",
    "priority",
    "stream",
    "raw_prompting",
];

pub(crate) struct Cohere;

impl Dialect for Cohere {
    fn authorize(&self, head: &Head<'_>) -> Result<(), Failure> {
        match bearer(head.headers) {
            Some(key) if !is_wrong(key) => Ok(()),
            Some(_) => Err(Failure::new(Class::Authentication)),
            None => Err(Failure {
                message: Some("no api key supplied".into()),
                ..Failure::new(Class::Authentication)
            }),
        }
    }

    fn read(&self, _head: &Head<'_>, body: &Object) -> Result<Ask, Failure> {
        if let Some(name) = stranger(body, KNOWN) {
            return Err(Failure::unknown_param(name));
        }
        let model = body.get("model").and_then(Value::as_str);
        let mut ask = Ask {
            id: format!("00000000-0000-4000-8000-{:012x}", serial()),
            model: model.ok_or_else(|| invalid("model is required"))?.to_owned(),
            stream: body.get("stream") == Some(&Value::Bool(true)),
            choices: 1,
            max_tokens: present(body, "max_tokens").and_then(Value::as_u64),
            stops: strings(body.get("stop_sequences")),
            ..Ask::default()
        };
        if ask.stops.len() > 5 {
            return Err(invalid("stop_sequences: too many stop sequences, at most 5 are allowed"));
        }
        tools(body, &mut ask)?;
        ask.schema = format(body)?;
        messages(body, &mut ask)?;
        Ok(ask)
    }

    fn style(&self) -> Style {
        Style { call_prefix: "tool_", family: "cohere" }
    }

    fn whole(&self, ask: &Ask, reply: &Reply) -> Value {
        let calls: Vec<Value> =
            reply.calls().map(|(id, name, arguments)| call(id, name, &arguments.to_string())).collect();
        let mut message = json!({"role": "assistant"});
        let content: Vec<Value> =
            reply.parts.iter().filter_map(|part| content(part, calls.is_empty())).collect();
        if !content.is_empty() {
            message["content"] = content.into();
        }
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
            message["tool_plan"] = plan(reply).into();
        }
        let citations = citations(reply);
        if !citations.is_empty() {
            message["citations"] = citations.into();
        }
        json!({"id": ask.id, "message": message, "finish_reason": finish(&reply.finish), "usage": usage(&reply.usage)})
    }

    fn frames(&self, ask: &Ask, reply: &Reply) -> Vec<Bytes> {
        let mut stream =
            Stream { frames: Frames::default(), index: 0, calls: 0, plans: reply.calls().next().is_some() };
        let start =
            json!({"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []});
        stream.emit(json!({"id": ask.id, "type": "message-start", "delta": {"message": start}}));
        for part in &reply.parts {
            stream.part(part);
        }
        for (index, citation) in citations(reply).into_iter().enumerate() {
            stream.emit(json!({"type": "citation-start", "index": index, "delta": {"message": {"citations": citation}}}));
            stream.emit(json!({"type": "citation-end", "index": index}));
        }
        let delta = json!({"finish_reason": finish(&reply.finish), "usage": usage(&reply.usage)});
        stream.emit(json!({"type": "message-end", "id": ask.id, "delta": delta}));
        stream.frames.raw(&[b"data: [DONE]\n\n"]);
        stream.frames.finish()
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("x-debug-trace-id", "fake0001")]
    }

    fn refuse(&self, head: &Head<'_>, failure: &Failure) -> Refused {
        let model = head.model.unwrap_or("unknown");
        let (status, own) = match failure.class {
            Class::UnknownParam => {
                let name = failure.param.as_deref().unwrap_or_default();
                (422, format!("unknown field: parameter '{name}' is not a valid field"))
            }
            Class::Authentication => (401, "invalid api token".to_owned()),
            Class::Payment => (402, "Please add or update your payment method at https://dashboard.cohere.com/billing".into()),
            Class::Permission => (403, "you do not have access to this model".into()),
            Class::NotFound => {
                (404, format!("model '{model}' not found, make sure the correct model ID was used and that you have access to the model."))
            }
            Class::RateLimit => (429, "You are past the per minute request limit, please wait and try again later.".into()),
            Class::Context => (
                400,
                "too many tokens: total number of tokens in the prompt cannot exceed 128000 - received 130000. Try using a shorter prompt."
                    .into(),
            ),
            Class::Policy => (400, "blocked input: please adjust your prompt and try again".into()),
            class => (class.status(), "internal server error".to_owned()),
        };
        let mut headers = vec![("x-debug-trace-id", "fake0001".to_owned())];
        if let Some(seconds) = failure.retry_after {
            headers.push(("retry-after", seconds.to_string()));
        }
        let body = json!({"id": "00000000-0000-4000-8000-000000000001", "message": failure.text(|| own)});
        Refused { status: failure.status.unwrap_or(status), headers, body }
    }

    fn broken(&self, ask: &Ask) -> Bytes {
        let mut frames = Frames::default();
        let delta = json!({"error": "internal server error", "finish_reason": "ERROR"});
        frames.event("message-end", &json!({"type": "message-end", "id": ask.id, "delta": delta}));
        frames.finish().into_iter().next().unwrap_or_default()
    }
}

fn invalid(text: impl Into<String>) -> Failure {
    Failure::invalid(format!("invalid request: {}", text.into()))
}

fn tools(body: &Object, ask: &mut Ask) -> Result<(), Failure> {
    let tools = present(body, "tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (index, tool) in tools.iter().enumerate() {
        if tool["type"] != "function" {
            return Err(invalid(format!("tools[{index}].type must be 'function'")));
        }
        let name = tool["function"]["name"].as_str().unwrap_or_default();
        check_name(&format!("tools[{index}].function.name"), name)?;
        ask.tools.push(Tool { name: name.to_owned(), schema: tool["function"]["parameters"].clone() });
    }
    ask.choice = match present(body, "tool_choice").map(|choice| choice.as_str().unwrap_or_default()) {
        None => Choice::Auto,
        Some(_) if tools.is_empty() => {
            return Err(invalid("tool_choice is only allowed when tools are specified"));
        }
        Some("REQUIRED") => Choice::Any,
        Some("NONE") => Choice::None,
        Some(other) => {
            return Err(invalid(format!("tool_choice must be one of 'REQUIRED', 'NONE', got '{other}'")));
        }
    };
    Ok(())
}

fn format(body: &Object) -> Result<Option<Value>, Failure> {
    let Some(format) = present(body, "response_format") else { return Ok(None) };
    match format["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") => {
            let schema = format.get("schema").or_else(|| format.get("json_schema"));
            Ok(Some(schema.cloned().unwrap_or_else(|| json!({"properties": {"ok": {"type": "boolean"}}}))))
        }
        _ => Err(invalid("response_format.type must be one of 'text', 'json_object'")),
    }
}

fn messages(body: &Object, ask: &mut Ask) -> Result<(), Failure> {
    let list = body.get("messages").and_then(Value::as_array).filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| invalid("messages must not be empty"))?;
    tool_conversation(list).map_err(|id| {
        invalid(format!("tool call id {id} not found in previous tool calls, or it has no tool message"))
    })?;
    for (index, message) in list.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if !matches!(role, "user" | "assistant" | "system" | "tool") {
            return Err(invalid(format!(
                "messages[{index}].role must be one of 'user', 'assistant', 'system', 'tool'"
            )));
        }
        if role != "assistant" && message["content"].is_null() {
            return Err(invalid(format!("message at index {index} must have non-empty content")));
        }
        let text = content_text(index, &message["content"], ask)?;
        ask.prompt_chars += text.len();
        ask.ends_with_results = role == "tool";
        match role {
            "user" => ask.last_user = text,
            "tool" => ask.tool_results.push(text),
            _ => {}
        }
    }
    Ok(())
}

/// Every tool message must answer a call of the assistant message before it, and every call must be answered.
fn tool_conversation(list: &[Value]) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    for message in list {
        if message["role"] == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            let position = open.iter().position(|call| *call == id).ok_or_else(|| id.to_owned())?;
            open.remove(position);
            continue;
        }
        if let Some(id) = open.first() {
            return Err((*id).to_owned());
        }
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        open = calls.filter_map(|call| call["id"].as_str()).collect();
    }
    open.first().map_or(Ok(()), |id| Err((*id).to_owned()))
}

fn content_text(index: usize, content: &Value, ask: &mut Ask) -> Result<String, Failure> {
    let parts = match content {
        Value::String(text) => return Ok(text.clone()),
        Value::Array(parts) => parts,
        _ => return Ok(String::new()),
    };
    let mut text = String::new();
    for part in parts {
        match part["type"].as_str() {
            Some("text") => text.push_str(part["text"].as_str().unwrap_or_default()),
            Some("image_url") => {
                let url = part["image_url"]["url"].as_str().unwrap_or_default();
                let broken = || invalid(format!("messages[{index}]: invalid image data"));
                ask.images.push(data_url(url).ok_or_else(broken)?);
            }
            Some("document") => text.push_str(part["document"]["data"].as_str().unwrap_or_default()),
            Some("thinking") => {}
            _ => return Err(invalid(format!("messages[{index}].content: unknown content type"))),
        }
    }
    Ok(text)
}

fn finish(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::Refused | Finish::Blocked => "COMPLETE",
        Finish::Length => "MAX_TOKENS",
        Finish::Calls => "TOOL_CALL",
        Finish::Filter => "ERROR",
        Finish::Sequence(_) => "STOP_SEQUENCE",
    }
}

fn usage(usage: &Usage) -> Value {
    json!({
        "billed_units": {"input_tokens": usage.input, "output_tokens": usage.output},
        "tokens": {"input_tokens": usage.input, "output_tokens": usage.output},
        "cached_tokens": usage.cached,
    })
}

fn call(id: &str, name: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

/// With tool calls, the text in front of them is the plan.
fn plan(reply: &Reply) -> String {
    let text = reply.text();
    if text.is_empty() { "I will call the tools.".into() } else { text }
}

fn content(part: &Part, with_text: bool) -> Option<Value> {
    match part {
        Part::Reasoning { deltas, .. } => Some(json!({"type": "thinking", "thinking": deltas.concat()})),
        Part::Text { deltas } | Part::Cited { deltas, .. } if with_text => {
            Some(json!({"type": "text", "text": deltas.concat()}))
        }
        Part::Refusal(text) => Some(json!({"type": "text", "text": text})),
        _ => None,
    }
}

fn citations(reply: &Reply) -> Vec<Value> {
    let cited = reply.parts.iter().filter_map(|part| match part {
        Part::Cited { deltas, source } => Some((deltas.concat(), *source)),
        _ => None,
    });
    cited
        .map(|(text, url)| {
            json!({"start": 0, "end": text.len(), "text": text, "type": "TEXT_CONTENT",
                "sources": [{"type": "document", "id": "doc:0", "document": {"id": "doc:0", "title": "Fares", "url": url}}]})
        })
        .collect()
}

struct Stream {
    frames: Frames,
    index: usize,
    calls: usize,
    plans: bool,
}

impl Stream {
    fn emit(&mut self, event: Value) {
        self.frames.event(event["type"].as_str().unwrap_or_default(), &event);
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::Reasoning { deltas, .. } => self.content("thinking", deltas),
            Part::Text { deltas } if self.plans => {
                for text in deltas {
                    self.emit(json!({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": text}}}));
                }
            }
            Part::Text { deltas } | Part::Cited { deltas, .. } => self.content("text", deltas),
            Part::Refusal(text) => self.content("text", std::slice::from_ref(text)),
            Part::Call { id, name, arguments } => self.call(id, name, arguments),
        }
    }

    fn content(&mut self, kind: &str, deltas: &[String]) {
        let index = self.index;
        self.index += 1;
        let empty = json!({"type": kind, kind: ""});
        self.emit(json!({"type": "content-start", "index": index, "delta": {"message": {"content": empty}}}));
        for text in deltas {
            let content = json!({kind: text});
            self.emit(
                json!({"type": "content-delta", "index": index, "delta": {"message": {"content": content}}}),
            );
        }
        self.emit(json!({"type": "content-end", "index": index}));
    }

    fn call(&mut self, id: &str, name: &str, arguments: &Value) {
        let index = self.calls;
        self.calls += 1;
        let start = call(id, name, "");
        self.emit(
            json!({"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": start}}}),
        );
        for piece in pieces(&arguments.to_string(), 8) {
            let more = json!({"function": {"arguments": piece}});
            self.emit(json!({"type": "tool-call-delta", "index": index, "delta": {"message": {"tool_calls": more}}}));
        }
        self.emit(json!({"type": "tool-call-end", "index": index}));
    }
}
