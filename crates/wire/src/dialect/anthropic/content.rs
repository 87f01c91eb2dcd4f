//! Content blocks of requests, read into parts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::chat::{Extra, Family, Media, Part};
use crate::dialect::members::{Members, wrong};
use crate::dialect::{BadRequest, media};
use crate::{json, opaque};

use super::citations;
use super::types::cache_hint;

/// Reads `content`: a string or a list of blocks.
pub(super) fn parts(content: Value, at: &str) -> Result<Vec<Part>, BadRequest> {
    match content {
        Value::String(text) => Ok(vec![Part::text(text)]),
        Value::Array(blocks) => blocks
            .into_iter()
            .enumerate()
            .map(|(index, block)| part(block, &format!("{at}[{index}]")))
            .collect(),
        other => Err(wrong(at, "a string or a list of content blocks", &other)),
    }
}

fn part(block: Value, at: &str) -> Result<Part, BadRequest> {
    let kind = match block.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        _ if block.is_object() => {
            return Err(BadRequest::new(format!("{at}.type"), format!("{at}.type: this member is required")));
        }
        _ => return Err(wrong(at, "an object", &block)),
    };
    match kind.as_str() {
        "text" => text(Members::of(block, at)?),
        "image" => image(Members::of(block, at)?),
        "document" if custom_source(&block) => Ok(Part::Foreign { family: Family::Anthropic, value: block }),
        "document" => document(Members::of(block, at)?),
        "tool_use" => tool_use(Members::of(block, at)?),
        "tool_result" => tool_result(Members::of(block, at)?),
        "thinking" => {
            let mut block = Members::of(block, at)?;
            let signature = block.text("signature")?.filter(|text| !text.is_empty());
            Ok(Part::Reasoning {
                text: block.text("thinking")?.unwrap_or_default(),
                signature: signature.map(|text| opaque::open(&text, Family::Anthropic)),
                redacted: false,
                id: None,
            })
        }
        "redacted_thinking" => {
            let data = Members::of(block, at)?.need_text("data")?;
            Ok(Part::Reasoning {
                text: String::new(),
                signature: Some(opaque::open(&data, Family::Anthropic)),
                redacted: true,
                id: None,
            })
        }
        _ => Ok(Part::Foreign { family: Family::Anthropic, value: block }),
    }
}

/// A document made of content blocks has no counterpart elsewhere.
fn custom_source(block: &Value) -> bool {
    block.pointer("/source/type").and_then(Value::as_str) == Some("content")
}

fn text(mut block: Members) -> Result<Part, BadRequest> {
    block.take("type");
    let text = block.need_text("text")?;
    let cache = cache_hint(block.take("cache_control"));
    let mut extra = Extra::default();
    let mut annotations = Vec::new();
    if let Some(Value::Array(found)) = block.take("citations") {
        let end = text.chars().count();
        annotations = found.iter().map(|item| citations::annotation(item.clone(), 0, end)).collect();
        if !found.is_empty() {
            extra.put(Family::Anthropic, "citations", Value::Array(found));
        }
    }
    keep(&mut extra, block.rest());
    Ok(Part::Text { text, annotations, signature: None, cache, extra })
}

fn image(mut block: Members) -> Result<Part, BadRequest> {
    block.take("type");
    let media = source(block.need_object("source")?)?;
    let cache = cache_hint(block.take("cache_control"));
    Ok(Part::Image { media, detail: None, cache, extra: Extra::from_map(Family::Anthropic, block.rest()) })
}

fn document(mut block: Members) -> Result<Part, BadRequest> {
    block.take("type");
    let media = source(block.need_object("source")?)?;
    let cache = cache_hint(block.take("cache_control"));
    let name = block.text("title")?;
    Ok(Part::File { media, name, cache, extra: Extra::from_map(Family::Anthropic, block.rest()) })
}

fn source(mut source: Members) -> Result<Media, BadRequest> {
    let kind = source.need_text("type")?;
    match kind.as_str() {
        "base64" => {
            let (mime, data) = (source.need_text("media_type")?, source.need_text("data")?);
            media::inline(mime, data, &source.at("data"))
        }
        "text" => {
            let mime = source.text("media_type")?.unwrap_or_else(|| "text/plain".to_owned());
            Ok(Media::Base64 { mime, data: STANDARD.encode(source.need_text("data")?) })
        }
        "url" => Ok(Media::Url { url: source.need_text("url")?, mime: None }),
        "file" => Ok(Media::FileId { id: source.need_text("file_id")?, family: Family::Anthropic }),
        _ => {
            let at = source.at("type");
            let message = format!("{at}: unknown source type; use base64, text, url or file");
            Err(BadRequest::new(at, message))
        }
    }
}

fn tool_use(mut block: Members) -> Result<Part, BadRequest> {
    block.take("type");
    let (id, signature) = opaque::open_id(&block.need_text("id")?);
    let name = block.need_text("name")?;
    let arguments = match block.take("input") {
        None => String::new(),
        Some(input @ Value::Object(_)) => json::text(&input),
        Some(other) => return Err(wrong(&block.at("input"), "an object", &other)),
    };
    let cache = cache_hint(block.take("cache_control"));
    let extra = Extra::from_map(Family::Anthropic, block.rest());
    Ok(Part::ToolCall { id, name, arguments, signature, cache, extra })
}

fn tool_result(mut block: Members) -> Result<Part, BadRequest> {
    block.take("type");
    let (id, _) = opaque::open_id(&block.need_text("tool_use_id")?);
    let at = block.at("content");
    let content = block.take("content").map_or_else(|| Ok(Vec::new()), |content| parts(content, &at))?;
    let is_error = block.flag("is_error")?.unwrap_or(false);
    let cache = cache_hint(block.take("cache_control"));
    let extra = Extra::from_map(Family::Anthropic, block.rest());
    Ok(Part::ToolResult { id, name: None, content, is_error, cache, extra })
}

fn keep(extra: &mut Extra, members: Map<String, Value>) {
    for (key, value) in members {
        extra.put(Family::Anthropic, key, value);
    }
}
