//! Renders a conversation as turns that alternate between user and assistant.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, Extra, Family, Media, Message, Part, Role};
use crate::dialect::{Losses, Unsupported};
use crate::json as wire_json;

use super::citations;
use super::types::put_cache;

/// A conversation in the dialect's form.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Text blocks of standing instructions.
    pub(super) system: Vec<Value>,
    /// Turns, user first.
    pub(super) messages: Vec<Value>,
}

/// Renders the conversation. `thinks` tells whether earlier thinking may be sent.
pub(super) fn render(request: &ChatRequest, thinks: bool, losses: &mut Losses) -> Result<Turns, Unsupported> {
    let mut turns: Vec<(&'static str, Vec<Value>)> = Vec::new();
    let mut system = Vec::new();
    for (index, message) in request.messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        if message.name.is_some() {
            losses.note("message.name");
        }
        match message.role {
            Role::System | Role::Developer => system.extend(blocks(message, &at, thinks, losses)?),
            Role::User | Role::Tool => add(&mut turns, "user", blocks(message, &at, thinks, losses)?),
            Role::Assistant => add(&mut turns, "assistant", blocks(message, &at, thinks, losses)?),
        }
    }
    for (role, content) in &mut turns {
        if *role == "user" {
            // Results must come before anything else in the turn that answers tool calls.
            content.sort_by_key(|block| block["type"] != "tool_result");
        }
    }
    if turns.first().is_none_or(|(role, _)| *role != "user") {
        // The API wants a user to begin. LiteLLM puts the same placeholder there.
        turns.insert(0, ("user", vec![json!({ "type": "text", "text": "." })]));
    }
    trim_last(&mut turns);
    let messages =
        turns.into_iter().map(|(role, content)| json!({ "role": role, "content": content })).collect();
    Ok(Turns { system, messages })
}

fn add(turns: &mut Vec<(&'static str, Vec<Value>)>, role: &'static str, content: Vec<Value>) {
    if content.is_empty() {
        return;
    }
    match turns.last_mut() {
        Some((last, blocks)) if *last == role => blocks.extend(content),
        _ => turns.push((role, content)),
    }
}

/// The API refuses a final assistant text that ends in white space.
fn trim_last(turns: &mut [(&'static str, Vec<Value>)]) {
    let Some(("assistant", content)) = turns.last_mut().map(|(role, content)| (*role, content)) else {
        return;
    };
    if let Some(text) = content.last_mut().and_then(|block| block.get_mut("text"))
        && let Some(trimmed) = text.as_str().map(|text| text.trim_end().to_owned())
    {
        *text = Value::String(trimmed);
    }
}

fn blocks(message: &Message, at: &str, thinks: bool, losses: &mut Losses) -> Result<Vec<Value>, Unsupported> {
    let mut out = Vec::with_capacity(message.parts.len());
    for (index, part) in message.parts.iter().enumerate() {
        let at = format!("{at}.content[{index}]");
        out.extend(block(part, &at, thinks, losses)?);
    }
    Ok(out)
}

fn block(part: &Part, at: &str, thinks: bool, losses: &mut Losses) -> Result<Option<Value>, Unsupported> {
    Ok(match part {
        // Empty text blocks are refused.
        Part::Text { text, .. } if text.is_empty() => None,
        Part::Text { text, annotations, cache, extra, .. } => {
            let mut out = typed("text");
            out.insert("text".to_owned(), json!(text));
            let cited: Vec<Value> = annotations.iter().filter_map(citations::citation).collect();
            if !cited.is_empty() && extra.get(Family::Anthropic, "citations").is_none() {
                losses.note("content.annotations");
            }
            finish(out, cache.as_ref(), extra)
        }
        Part::Refusal { text } if text.is_empty() => None,
        Part::Refusal { text } => Some(json!({ "type": "text", "text": text })),
        Part::Image { media, cache, extra, detail } => {
            if detail.is_some() {
                losses.note("image.detail");
            }
            let mut out = typed("image");
            out.insert("source".to_owned(), source(media, at)?);
            finish(out, cache.as_ref(), extra)
        }
        Part::File { media, name, cache, extra } => {
            let mut out = typed("document");
            out.insert("source".to_owned(), document(media, at)?);
            if let Some(name) = name {
                out.insert("title".to_owned(), json!(name));
            }
            finish(out, cache.as_ref(), extra)
        }
        Part::Audio { .. } => {
            return Err(Unsupported {
                what: at.to_owned(),
                why: "Anthropic models take no audio; send a transcript as text".to_owned(),
            });
        }
        Part::ToolCall { id, name, arguments, cache, extra, .. } => {
            let mut out = typed("tool_use");
            out.insert("id".to_owned(), json!(safe_id(id)));
            out.insert("name".to_owned(), json!(name));
            out.insert("input".to_owned(), wire_json::arguments(arguments));
            finish(out, cache.as_ref(), extra)
        }
        Part::ToolResult { id, content, is_error, cache, extra, .. } => {
            let mut out = typed("tool_result");
            out.insert("tool_use_id".to_owned(), json!(safe_id(id)));
            let mut inner = Vec::with_capacity(content.len());
            for (index, part) in content.iter().enumerate() {
                inner.extend(block(part, &format!("{at}.content[{index}]"), thinks, losses)?);
            }
            if !inner.is_empty() {
                out.insert("content".to_owned(), Value::Array(inner));
            }
            if *is_error {
                out.insert("is_error".to_owned(), json!(true));
            }
            finish(out, cache.as_ref(), extra)
        }
        Part::Reasoning { text, signature, redacted, .. } => match signature {
            Some(signature) if signature.family == Family::Anthropic && *redacted => {
                Some(json!({ "type": "redacted_thinking", "data": signature.data }))
            }
            Some(signature) if signature.family == Family::Anthropic => {
                Some(json!({ "type": "thinking", "thinking": text, "signature": signature.data }))
            }
            _ => {
                // Without a signature of its own the API refuses the block.
                if thinks {
                    losses.note("reasoning.signature");
                }
                None
            }
        },
        Part::Foreign { family: Family::Anthropic, value } => Some(value.clone()),
        Part::Foreign { .. } => {
            losses.note("content.foreign");
            None
        }
    })
}

fn typed(kind: &str) -> Map<String, Value> {
    Map::from_iter([("type".to_owned(), json!(kind))])
}

fn finish(
    mut block: Map<String, Value>,
    cache: Option<&crate::chat::CacheHint>,
    extra: &Extra,
) -> Option<Value> {
    for (key, value) in extra.of(Family::Anthropic).into_iter().flatten() {
        block.entry(key.clone()).or_insert_with(|| value.clone());
    }
    put_cache(&mut block, cache);
    Some(Value::Object(block))
}

fn source(media: &Media, at: &str) -> Result<Value, Unsupported> {
    Ok(match media {
        Media::Base64 { mime, data } => json!({ "type": "base64", "media_type": mime, "data": data }),
        Media::Url { url, .. } => json!({ "type": "url", "url": url }),
        Media::FileId { id, family: Family::Anthropic } => json!({ "type": "file", "file_id": id }),
        Media::FileId { .. } => {
            return Err(Unsupported {
                what: at.to_owned(),
                why: "the file was uploaded to another provider; send its content as base64".to_owned(),
            });
        }
    })
}

/// Documents: PDF as it is, text as text.
fn document(media: &Media, at: &str) -> Result<Value, Unsupported> {
    use base64::Engine;
    if let Media::Base64 { mime, data } = media
        && mime.starts_with("text/")
        && let Some(text) = base64::engine::general_purpose::STANDARD
            .decode(data)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
    {
        return Ok(json!({ "type": "text", "media_type": "text/plain", "data": text }));
    }
    source(media, at)
}

/// Ids may hold letters, digits, `_` and `-` only; others are mapped one to one onto these.
///
/// Source: Anthropic API, `tool_use.id` pattern `^[a-zA-Z0-9_-]+$`.
fn safe_id(id: &str) -> String {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !id.is_empty() && id.chars().all(is_fine) {
        return id.to_owned();
    }
    let mapped: String = id.chars().map(|c| if is_fine(c) { c } else { '_' }).collect();
    if mapped.is_empty() { "call".to_owned() } else { mapped }
}
