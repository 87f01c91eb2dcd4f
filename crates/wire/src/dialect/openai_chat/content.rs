//! Content of a client's messages, read into typed parts.

use serde_json::Value;

use crate::chat::{CacheHint, Extra, Family, Media, Part};
use crate::dialect::members::{Members, wrong};
use crate::dialect::{BadRequest, media};
use crate::opaque;

use super::types::cache_hint;

/// Reads `content`: text, a list of parts, or nothing.
pub(super) fn parts(content: Option<Value>, at: &str) -> Result<Vec<Part>, BadRequest> {
    match content {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Part::text(text)]),
        Some(Value::Array(items)) => {
            items.into_iter().enumerate().map(|(index, item)| part(item, &format!("{at}[{index}]"))).collect()
        }
        Some(other) => Err(wrong(at, "a string or a list of parts", &other)),
    }
}

fn part(item: Value, at: &str) -> Result<Part, BadRequest> {
    if let Value::String(text) = item {
        return Ok(Part::text(text));
    }
    let kind = item.get("type").and_then(Value::as_str).unwrap_or("text").to_owned();
    let whole = item.clone();
    let mut members = Members::of(item, at)?;
    members.take("type");
    let cache = cache_hint(members.take("cache_control"));
    Ok(match kind.as_str() {
        "text" | "input_text" | "output_text" => Part::Text {
            text: members.need_text("text")?,
            annotations: Vec::new(),
            signature: None,
            cache,
            extra: Extra::from_map(Family::OpenAi, members.rest()),
        },
        "image_url" => {
            let place = members.at("image_url");
            let (media, detail) = match members.need("image_url")? {
                Value::String(url) => (media::of_url(&url, None, &place)?, members.text("detail")?),
                object => {
                    let mut image = Members::of(object, place)?;
                    let (url, mime) = (image.need_text("url")?, image.text("format")?);
                    (media::of_url(&url, mime, &image.at("url"))?, image.text("detail")?)
                }
            };
            let extra = Extra::from_map(Family::OpenAi, members.rest());
            Part::Image { media, detail, cache, extra }
        }
        "input_audio" => {
            let mut audio = members.need_object("input_audio")?;
            let data = audio.need_text("data")?;
            let format = audio.text("format")?.unwrap_or_else(|| "wav".to_owned());
            let mime = if format.contains('/') { format } else { format!("audio/{format}") };
            let media = media::inline(mime, data, &audio.at("data"))?;
            Part::Audio { media, transcript: None, id: None }
        }
        "file" => {
            let file = members.need_object("file")?;
            file_part(file, cache)?
        }
        "video_url" => {
            let place = members.at("video_url");
            let url = match members.need("video_url")? {
                Value::String(url) => url,
                object => Members::of(object, &*place)?.need_text("url")?,
            };
            let extra = Extra::from_map(Family::OpenAi, members.rest());
            let media = media::of_url(&url, Some("video/mp4".to_owned()), &place)?;
            Part::File { media, name: None, cache, extra }
        }
        "refusal" => Part::Refusal { text: members.need_text("refusal")? },
        "thinking" | "redacted_thinking" => thinking_block(whole, at)?,
        "document" | "tool_result" | "tool_use" | "search_result" => {
            Part::Foreign { family: Family::Anthropic, value: whole }
        }
        _ => Part::Foreign { family: Family::OpenAi, value: whole },
    })
}

fn file_part(mut file: Members, cache: Option<CacheHint>) -> Result<Part, BadRequest> {
    let at = file.at("file_data");
    let name = file.text("filename")?;
    let mime = file.text("format")?;
    let media = match (file.text("file_data")?, file.text("file_id")?) {
        (Some(data), _) if data.contains(':') => media::of_url(&data, mime, &at)?,
        // Bare base64, as some clients send it.
        (Some(data), _) => media::inline(mime.unwrap_or_else(|| "application/pdf".to_owned()), data, &at)?,
        // LiteLLM takes addresses in place of ids.
        (None, Some(id)) if id.contains("://") => Media::Url { url: id, mime },
        (None, Some(id)) => Media::FileId { id, family: Family::OpenAi },
        (None, None) => {
            return Err(BadRequest::new(at, "a file needs `file_data` (a data URL) or `file_id`"));
        }
    };
    let extra = Extra::from_map(Family::OpenAi, file.rest());
    Ok(Part::File { media, name, cache, extra })
}

/// Reads one of `thinking_blocks`. The form is Anthropic's, so an untagged signature is Anthropic's too.
///
/// Source: LiteLLM, "Reasoning content".
pub(super) fn thinking_block(block: Value, at: &str) -> Result<Part, BadRequest> {
    let mut block = Members::of(block, at)?;
    let kind = block.text("type")?;
    if kind.as_deref() == Some("redacted_thinking") {
        let data = block.need_text("data")?;
        return Ok(Part::Reasoning {
            text: String::new(),
            signature: Some(opaque::open(&data, Family::Anthropic)),
            redacted: true,
            id: None,
        });
    }
    let signature = block.text("signature")?.filter(|signature| !signature.is_empty());
    Ok(Part::Reasoning {
        text: block.text("thinking")?.unwrap_or_default(),
        signature: signature.map(|signature| opaque::open(&signature, Family::Anthropic)),
        redacted: false,
        id: None,
    })
}
