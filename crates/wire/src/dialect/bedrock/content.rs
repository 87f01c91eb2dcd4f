//! A client's content blocks, read into canonical parts.

use serde_json::{Map, Value, json};

use crate::chat::{Extra, Family, Part, Signature};
use crate::dialect::BadRequest;
use crate::dialect::members::{Members, wrong};
use crate::{json as wire_json, opaque};

use super::types::cache_hint;
use super::{citations, media};

/// Reads a list of blocks. A cache point marks the part in front of it.
pub(super) fn parts(blocks: Vec<Value>, at: &str) -> Result<Vec<Part>, BadRequest> {
    let mut parts = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.into_iter().enumerate() {
        let at = format!("{at}[{index}]");
        if let Some(point) = block.get("cachePoint") {
            if let Some(cache) = parts.last_mut().and_then(cache_of) {
                *cache = Some(cache_hint(point));
            }
            continue;
        }
        parts.push(part(block, &at)?);
    }
    Ok(parts)
}

fn cache_of(part: &mut Part) -> Option<&mut Option<crate::chat::CacheHint>> {
    match part {
        Part::Text { cache, .. }
        | Part::Image { cache, .. }
        | Part::File { cache, .. }
        | Part::ToolCall { cache, .. }
        | Part::ToolResult { cache, .. } => Some(cache),
        _ => None,
    }
}

fn part(block: Value, at: &str) -> Result<Part, BadRequest> {
    let Value::Object(members) = &block else { return Err(wrong(at, "an object", &block)) };
    let Some(kind) = members.keys().next().cloned().filter(|_| members.len() == 1) else {
        return Err(BadRequest::new(at, format!("{at}: a block must have exactly one member, its kind")));
    };
    let at = format!("{at}.{kind}");
    let inner = block.get(&kind).cloned().unwrap_or_default();
    if kind == "text" {
        return match inner {
            Value::String(text) => Ok(Part::text(text)),
            other => Err(wrong(&at, "a string", &other)),
        };
    }
    let foreign = || Part::Foreign { family: Family::Bedrock, value: block.clone() };
    let mut inner = Members::of(inner, at)?;
    Ok(match kind.as_str() {
        "image" => match media::read("image", &mut inner)? {
            Some(media) => Part::image(media),
            None => foreign(),
        },
        "document" => match media::read("document", &mut inner)? {
            Some(media) => {
                let name = inner.text("name")?;
                Part::File { media, name, cache: None, extra: Extra::from_map(Family::Bedrock, inner.rest()) }
            }
            None => foreign(),
        },
        "audio" => match media::read("audio", &mut inner)? {
            Some(media) => Part::Audio { media, transcript: None, id: None },
            None => foreign(),
        },
        "toolUse" => tool_use(inner)?,
        "toolResult" => tool_result(inner)?,
        "reasoningContent" => reasoning(inner)?,
        "citationsContent" => cited(inner)?,
        _ => foreign(),
    })
}

fn tool_use(mut inner: Members) -> Result<Part, BadRequest> {
    let (id, signature) = opaque::open_id(&inner.need_text("toolUseId")?);
    let name = inner.need_text("name")?;
    let arguments = match inner.take("input") {
        None => String::new(),
        Some(input @ Value::Object(_)) => wire_json::text(&input),
        Some(other) => return Err(wrong(&inner.at("input"), "an object", &other)),
    };
    let extra = Extra::from_map(Family::Bedrock, inner.rest());
    Ok(Part::ToolCall { id, name, arguments, signature, cache: None, extra })
}

fn tool_result(mut inner: Members) -> Result<Part, BadRequest> {
    let (id, _) = opaque::open_id(&inner.need_text("toolUseId")?);
    let at = inner.at("content");
    let mut content = Vec::new();
    for (index, block) in inner.list("content")?.into_iter().enumerate() {
        match block.get("json") {
            // Other dialects have no structured results; the text is what their models read.
            Some(value) => content.push(Part::text(wire_json::text(value))),
            None => content.push(part(block, &format!("{at}[{index}]"))?),
        }
    }
    let is_error = inner.text("status")?.as_deref() == Some("error");
    let extra = Extra::from_map(Family::Bedrock, inner.rest());
    Ok(Part::ToolResult { id, name: None, content, is_error, cache: None, extra })
}

fn reasoning(mut inner: Members) -> Result<Part, BadRequest> {
    if let Some(data) = inner.text("redactedContent")? {
        let signature = Some(unredact(data));
        return Ok(Part::Reasoning { text: String::new(), signature, redacted: true, id: None });
    }
    let mut said = inner.need_object("reasoningText")?;
    let text = said.text("text")?.unwrap_or_default();
    let signature = said.text("signature")?.filter(|data| !data.is_empty()).map(|data| unseal(&data));
    Ok(Part::Reasoning { text, signature, redacted: false, id: None })
}

/// What [`redacted`] made of a signature, or Bedrock's own blob.
fn unredact(data: String) -> Signature {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(&data).unwrap_or_default();
    let opened = String::from_utf8(bytes).ok().map(|text| opaque::open(&text, Family::Bedrock));
    match opened {
        Some(signature) if signature.family != Family::Bedrock => signature,
        _ => Signature { family: Family::Bedrock, data },
    }
}

/// The text a Bedrock client gets for `signature`. Claude's own come as they are, as Bedrock itself gives
/// them.
pub(super) fn seal(signature: &Signature) -> String {
    opaque::seal(signature, Family::Anthropic)
}

fn unseal(data: &str) -> Signature {
    opaque::open(data, Family::Anthropic)
}

fn cited(mut inner: Members) -> Result<Part, BadRequest> {
    let content = inner.list("content")?;
    let text: String = content.iter().filter_map(|it| it.get("text")?.as_str()).collect();
    let end = text.chars().count();
    let found = inner.list("citations")?;
    let annotations = found.iter().map(|citation| citations::annotation(citation, 0, end)).collect();
    Ok(Part::Text { text, annotations, signature: None, cache: None, extra: Extra::default() })
}

/// Renders a part of an answer as a block; `None` for what the dialect has no block for.
pub(super) fn block(part: &Part, losses: &mut crate::dialect::Losses) -> Option<Value> {
    use crate::chat::Media;
    match part {
        Part::Text { text, annotations, signature, .. } => {
            if signature.is_some() {
                losses.note("content.signature");
            }
            Some(super::turns::cited(text, annotations, losses))
        }
        Part::Refusal { text } => Some(json!({"text": text})),
        Part::Reasoning { signature: Some(signature), redacted: true, .. } => {
            Some(json!({"reasoningContent": {"redactedContent": redacted(signature)}}))
        }
        Part::Reasoning { text, signature, .. } => {
            let mut said = Map::new();
            said.insert("text".to_owned(), json!(text));
            if let Some(signature) = signature {
                said.insert("signature".to_owned(), json!(seal(signature)));
            }
            Some(json!({"reasoningContent": {"reasoningText": said}}))
        }
        Part::ToolCall { id, name, arguments, signature, extra, .. } => {
            let mut call = Map::new();
            call.insert("toolUseId".to_owned(), json!(opaque::seal_id(id, signature.as_ref())));
            call.insert("name".to_owned(), json!(name));
            call.insert("input".to_owned(), wire_json::arguments(arguments));
            for (key, value) in extra.of(Family::Bedrock).into_iter().flatten() {
                call.entry(key.clone()).or_insert_with(|| value.clone());
            }
            Some(json!({"toolUse": call}))
        }
        Part::Image { media: Media::Base64 { mime, data }, .. } => {
            let format = mime.strip_prefix("image/").unwrap_or("png");
            Some(json!({"image": {"format": format, "source": {"bytes": data}}}))
        }
        Part::Audio { transcript: Some(text), .. } => {
            losses.note("content.audio");
            Some(json!({"text": text}))
        }
        Part::Foreign { family: Family::Bedrock, value } => Some(value.clone()),
        other => {
            losses.note(other.loss());
            None
        }
    }
}

/// `redactedContent` is a blob, base64 on the wire: Bedrock's own is one already, another family's is sealed.
pub(super) fn redacted(signature: &Signature) -> String {
    use base64::Engine;
    if signature.family == Family::Bedrock {
        return signature.data.clone();
    }
    base64::engine::general_purpose::STANDARD.encode(opaque::seal(signature, Family::Bedrock))
}
