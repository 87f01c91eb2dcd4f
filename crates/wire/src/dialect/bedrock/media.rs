//! Pictures, documents and sound: bytes in base64 or a place in S3, and a format word instead of a media type.

use serde_json::{Value, json};

use crate::chat::Media;
use crate::dialect::media::inline;
use crate::dialect::members::Members;
use crate::dialect::{BadRequest, Unsupported};

/// Media types and Bedrock's words for them, by block kind.
///
/// Source: Bedrock Runtime API, `ImageBlock`, `DocumentBlock`, `AudioBlock`.
const FORMATS: &[(&str, &[(&str, &str)])] = &[
    ("image", &[("image/png", "png"), ("image/jpeg", "jpeg"), ("image/gif", "gif"), ("image/webp", "webp")]),
    (
        "document",
        &[
            ("application/pdf", "pdf"),
            ("text/csv", "csv"),
            ("application/msword", "doc"),
            ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
            ("application/vnd.ms-excel", "xls"),
            ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
            ("text/html", "html"),
            ("text/plain", "txt"),
            ("text/markdown", "md"),
        ],
    ),
    (
        "audio",
        &[
            ("audio/wav", "wav"),
            ("audio/mp3", "mp3"),
            ("audio/flac", "flac"),
            ("audio/opus", "opus"),
            ("audio/aac", "aac"),
            ("audio/ogg", "ogg"),
            ("audio/pcm16", "pcm"),
        ],
    ),
];

fn formats(kind: &str) -> &'static [(&'static str, &'static str)] {
    FORMATS.iter().find(|(known, _)| *known == kind).map_or(&[], |(_, formats)| formats)
}

/// `format` and `source` of a block of `kind`.
///
/// # Errors
/// If the type is none of the dialect's, or the bytes are elsewhere than in the request or in S3.
pub(super) fn block(kind: &str, media: &Media, at: &str) -> Result<Value, Unsupported> {
    let refuse = |why: String| Unsupported { what: at.to_owned(), why };
    let word = |mime: &str| {
        let plain = mime.split(';').next().unwrap_or_default().trim();
        let plain = match plain {
            "image/jpg" => "image/jpeg",
            "audio/mpeg" => "audio/mp3",
            other => other,
        };
        formats(kind).iter().find(|(known, _)| *known == plain).map(|(_, word)| *word)
    };
    match media {
        Media::Base64 { mime, data } => {
            let format = word(mime).ok_or_else(|| {
                let known: Vec<&str> = formats(kind).iter().map(|(mime, _)| *mime).collect();
                refuse(format!("Bedrock takes no {kind} of type `{mime}`; use one of {}", known.join(", ")))
            })?;
            Ok(json!({"format": format, "source": {"bytes": data}}))
        }
        Media::Url { url, mime } if url.starts_with("s3://") => {
            let ending = url.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
            let ending = if ending == "jpg" { "jpeg".to_owned() } else { ending };
            let by_name = formats(kind).iter().map(|(_, word)| *word).find(|word| *word == ending);
            let format = mime.as_deref().and_then(word).or(by_name).ok_or_else(|| {
                refuse(
                    "the type cannot be told from the address; end it in the file type, e.g. .png".to_owned(),
                )
            })?;
            Ok(json!({"format": format, "source": {"s3Location": {"uri": url}}}))
        }
        Media::Url { .. } => Err(refuse(
            "Bedrock does not fetch web addresses; send the bytes as base64 or an s3:// address".to_owned(),
        )),
        Media::FileId { .. } => {
            Err(refuse("the file was uploaded to another provider; send its content as base64".to_owned()))
        }
    }
}

/// Reads `format` and `source` of a block of `kind`; `None` for a source only Bedrock understands.
///
/// # Errors
/// A complaint about a member.
pub(super) fn read(kind: &str, block: &mut Members) -> Result<Option<Media>, BadRequest> {
    let format = block.text("format")?;
    let mime = format.map_or_else(
        || "application/octet-stream".to_owned(),
        |format| {
            let known = formats(kind).iter().find(|(_, word)| *word == format);
            known.map_or_else(|| format!("{kind}/{format}"), |(mime, _)| (*mime).to_owned())
        },
    );
    let mut source = block.need_object("source")?;
    if let Some(data) = source.text("bytes")? {
        return inline(mime, data, &source.at("bytes")).map(Some);
    }
    if let Some(text) = source.text("text")? {
        use base64::Engine;
        let data = base64::engine::general_purpose::STANDARD.encode(text);
        return Ok(Some(Media::Base64 { mime: "text/plain".to_owned(), data }));
    }
    if let Some(mut place) = source.object("s3Location")? {
        return Ok(Some(Media::Url { url: place.need_text("uri")?, mime: Some(mime) }));
    }
    Ok(None)
}
