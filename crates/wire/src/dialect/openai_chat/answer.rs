//! Complete answers of `/chat/completions`.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::chat::{ChatResponse, Choice, Extra, Family, FinishReason, Media, Part, Signature};
use crate::dialect::told::Told;
use crate::dialect::{Glance, Malformed};
use crate::envelope::members;
use crate::{json as wire_json, opaque};

use super::JSON_TOOL;
use super::content::thinking_block;
use super::fault::fault_of;
use super::types::{WireUsage, finish_of};

#[derive(Debug, Deserialize)]
struct WireAnswer {
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
    error: Option<Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct WireChoice {
    #[serde(default)]
    index: u32,
    #[serde(default)]
    message: WireMessage,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    stop_reason: Option<Value>,
    #[serde(default)]
    logprobs: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireMessage {
    content: Option<Value>,
    refusal: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<Value>,
    thinking_blocks: Option<Vec<Value>>,
    tool_calls: Option<Vec<WireCall>>,
    function_call: Option<WireFunction>,
    annotations: Option<Vec<Value>>,
    audio: Option<Value>,
    images: Option<Vec<Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireCall {
    pub index: Option<u32>,
    pub id: Option<String>,
    pub function: Option<WireFunction>,
    pub custom: Option<WireCustom>,
    pub extra_content: Option<Value>,
    pub provider_specific_fields: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireFunction {
    pub name: Option<String>,
    pub arguments: Option<Arguments>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireCustom {
    pub name: Option<String>,
    pub input: Option<String>,
}

/// Arguments are text; some providers send the object itself.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Arguments {
    Text(String),
    Other(Value),
}

impl Arguments {
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Other(Value::Null) => String::new(),
            Self::Other(value) => wire_json::text(&value),
        }
    }
}

/// Reads a body; `by_tool` if structured output was asked for through [`JSON_TOOL`].
pub(super) fn decode(body: &[u8], by_tool: bool) -> Result<ChatResponse, Malformed> {
    let wire: WireAnswer = wire_json::read(body).map_err(Malformed)?;
    if let Some(error) = wire.error.filter(|error| !error.is_null()) {
        // Some routers answer 200 with an error inside.
        return Err(Malformed(fault_of(&error, 200).message));
    }
    let choices = wire.choices.ok_or_else(|| Malformed("no `choices`".to_owned()))?;
    let mut usage = wire.usage.map(|usage| usage.usage()).unwrap_or_default();
    let mut rest = wire.rest;
    rest.shift_remove("object");
    rest.retain(|_, value| !value.is_null());
    usage.service_tier = rest.get("service_tier").and_then(Value::as_str).map(str::to_owned);
    let sources = sources(&rest);
    Ok(ChatResponse {
        id: wire.id.unwrap_or_default(),
        model: wire.model.unwrap_or_default(),
        created: wire.created.as_ref().and_then(seconds),
        choices: choices.into_iter().map(|it| choice(it, by_tool, &sources)).collect::<Result<_, _>>()?,
        usage,
        extra: Extra::from_map(Family::OpenAi, rest),
    })
}

/// Reads id and usage of a body that is forwarded as it is. The answer itself is passed over.
pub(super) fn glance(body: &[u8]) -> Result<Glance, Malformed> {
    fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, Malformed> {
        wire_json::read_borrowed(value).map_err(Malformed)
    }
    let (mut id, mut tier): (Option<String>, Option<String>) = (None, None);
    let mut usage: Option<Told<WireUsage>> = None;
    let mut has_choices = false;
    for (name, value) in members(body).map_err(Malformed)? {
        match name {
            b"id" => id = read(value)?,
            b"usage" => usage = Told::read(value).map_err(Malformed)?,
            b"service_tier" => tier = read(value)?,
            b"choices" => has_choices = value != b"null",
            b"error" if value != b"null" => return Err(Malformed(fault_of(&read(value)?, 200).message)),
            _ => {}
        }
    }
    if !has_choices {
        return Err(Malformed("no `choices`".to_owned()));
    }
    let mut usage = usage.map(|usage| usage.usage()).unwrap_or_default();
    usage.service_tier = tier;
    Ok(Glance { id: id.unwrap_or_default(), usage })
}

/// Some providers write seconds with a fraction.
pub(super) fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let whole = value.as_f64()?.trunc();
        format!("{whole:.0}").parse().ok()
    })
}

fn choice(wire: WireChoice, by_tool: bool, sources: &[Value]) -> Result<Choice, Malformed> {
    let message = wire.message;
    let mut parts = Vec::new();
    reasoning(&message, &mut parts)?;
    text(message.content, message.annotations.unwrap_or_default(), sources, &mut parts);
    if let Some(text) = message.refusal.filter(|text| !text.is_empty()) {
        parts.push(Part::Refusal { text });
    }
    if let Some(audio) = message.audio.filter(|audio| !audio.is_null()) {
        let word = |name: &str| audio.get(name).and_then(Value::as_str).map(str::to_owned);
        let data = word("data").unwrap_or_default();
        let media = Media::Base64 { mime: String::new(), data };
        parts.push(Part::Audio { media, transcript: word("transcript"), id: word("id") });
    }
    parts.extend(message.images.iter().flatten().filter_map(image));
    let word = wire.finish_reason.as_deref().filter(|word| !word.is_empty());
    let mut finish = word.map_or(FinishReason::Stop, finish_of);
    let mut called = false;
    let legacy =
        message.function_call.map(|function| WireCall { function: Some(function), ..WireCall::default() });
    for (at, call) in message.tool_calls.into_iter().flatten().chain(legacy).enumerate() {
        let part = tool_call(call, at);
        match part {
            Part::ToolCall { name, arguments, .. } if by_tool && name == JSON_TOOL => {
                parts.push(Part::text(arguments));
                finish = FinishReason::Stop;
            }
            part => {
                called = true;
                parts.push(part);
            }
        }
    }
    if called && finish == FinishReason::Stop {
        finish = FinishReason::ToolCalls;
    }
    // vLLM says which text ended the answer; a number is a token's.
    let stop_sequence = wire.stop_reason.as_ref().and_then(Value::as_str).map(str::to_owned);
    let logprobs = wire.logprobs.filter(|value| !value.is_null());
    Ok(Choice { index: wire.index, parts, finish, stop_sequence, logprobs })
}

fn reasoning(message: &WireMessage, parts: &mut Vec<Part>) -> Result<(), Malformed> {
    for (index, block) in message.thinking_blocks.iter().flatten().enumerate() {
        let part = thinking_block(block.clone(), &format!("thinking_blocks[{index}]"))
            .map_err(|bad| Malformed(bad.message))?;
        parts.push(part);
    }
    let text = message.reasoning_content.as_deref().or_else(|| message.reasoning.as_ref()?.as_str());
    if let (Some(text), true) = (text.filter(|text| !text.is_empty()), parts.is_empty()) {
        parts.push(Part::Reasoning { text: text.to_owned(), signature: None, redacted: false, id: None });
    }
    Ok(())
}

fn text(content: Option<Value>, annotations: Vec<Value>, sources: &[Value], parts: &mut Vec<Part>) {
    let mut pieces = Vec::new();
    match content {
        Some(Value::String(text)) => pieces.push(Piece::Text(text)),
        Some(Value::Array(items)) => pieces.extend(items.iter().flat_map(pieces_of)),
        _ => {}
    }
    let mut notes = if annotations.is_empty() { sources.to_vec() } else { annotations };
    for piece in pieces {
        match piece {
            Piece::Text(text) if text.is_empty() => {}
            Piece::Text(text) => parts.push(Part::Text {
                annotations: std::mem::take(&mut notes),
                text,
                signature: None,
                cache: None,
                extra: Extra::default(),
            }),
            Piece::Thought(text) => {
                parts.push(Part::Reasoning { text, signature: None, redacted: false, id: None });
            }
        }
    }
}

/// A piece of content that came as a list.
pub(super) enum Piece {
    Text(String),
    Thought(String),
}

/// Reads one item of a content list: text, or Mistral's thinking.
///
/// Source: Mistral API, "Reasoning".
pub(super) fn pieces_of(item: &Value) -> Vec<Piece> {
    let word = |item: &Value, name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    match item.get("type").and_then(Value::as_str) {
        Some("thinking") => match item.get("thinking") {
            Some(Value::Array(inner)) => {
                inner.iter().filter_map(|it| word(it, "text")).map(Piece::Thought).collect()
            }
            Some(Value::String(text)) => vec![Piece::Thought(text.clone())],
            _ => Vec::new(),
        },
        _ => word(item, "text").map(Piece::Text).into_iter().collect(),
    }
}

/// Perplexity's sources as annotations.
///
/// Source: Perplexity API, `citations` and `search_results`.
pub(super) fn sources(members: &Map<String, Value>) -> Vec<Value> {
    let results = members.get("search_results").and_then(Value::as_array);
    let urls = members.get("citations").and_then(Value::as_array);
    let note = |url: &str, title: &str| {
        json!({"type": "url_citation",
            "url_citation": {"url": url, "title": title, "start_index": 0, "end_index": 0}})
    };
    match (results, urls) {
        (Some(results), _) => results
            .iter()
            .filter_map(|it| {
                let title = it.get("title").and_then(Value::as_str).unwrap_or_default();
                Some(note(it.get("url")?.as_str()?, title))
            })
            .collect(),
        (None, Some(urls)) => urls.iter().filter_map(|url| Some(note(url.as_str()?, ""))).collect(),
        (None, None) => Vec::new(),
    }
}

/// A generated picture in the form OpenRouter and LiteLLM share.
pub(super) fn image(item: &Value) -> Option<Part> {
    let url = item.pointer("/image_url/url").or_else(|| item.get("image_url"))?.as_str()?;
    let media = match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((mime, data)) => Media::Base64 { mime: mime.to_owned(), data: data.to_owned() },
        None => Media::Url { url: url.to_owned(), mime: None },
    };
    Some(Part::image(media))
}

fn tool_call(call: WireCall, at: usize) -> Part {
    let signature = call_state(&call);
    let (id, sealed) = opaque::open_id(&call.id.filter(|id| !id.is_empty()).unwrap_or_else(|| call_id(at)));
    let mut extra = Extra::default();
    let (name, arguments) = match (call.function, call.custom) {
        (Some(function), _) => (
            function.name.unwrap_or_default(),
            function.arguments.map(Arguments::into_text).unwrap_or_default(),
        ),
        (None, custom) => {
            let custom = custom.unwrap_or_default();
            extra.put(Family::OpenAi, "type", Value::from("custom"));
            let input = json!({"input": custom.input.unwrap_or_default()});
            (custom.name.unwrap_or_default(), wire_json::text(&input))
        }
    };
    Part::ToolCall { id, name, arguments, signature: signature.or(sealed), cache: None, extra }
}

/// An id for a call whose provider gave none.
pub(super) fn call_id(at: usize) -> String {
    // Ids must not repeat within a conversation, and nothing here knows the earlier turns.
    let unique = uuid::Uuid::new_v4().simple().to_string();
    format!("call_{at}{}", &unique[..16])
}

/// The state Google's compatible API and LiteLLM give a call.
pub(super) fn call_state(call: &WireCall) -> Option<Signature> {
    let google = call.extra_content.as_ref().and_then(|it| it.pointer("/google/thought_signature"));
    let fields = call.provider_specific_fields.as_ref();
    let state = google.or_else(|| fields.and_then(|it| it.get("thought_signature")))?.as_str()?;
    Some(opaque::open(state, Family::Gemini))
}
