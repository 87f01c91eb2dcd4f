//! Pictures, sounds and files in a client's body: inline data and data URLs.

use crate::chat::Media;

use super::BadRequest;

/// Inline data, which must be base64 of something; `at` is its place in the body.
pub(in crate::dialect) fn inline(mime: String, data: String, at: &str) -> Result<Media, BadRequest> {
    match flaw(&data) {
        Some(why) => Err(BadRequest::new(at, format!("{at}: {why}"))),
        None => Ok(Media::Base64 { mime, data }),
    }
}

/// Tells a data URL from an address. `mime` counts more than what a data URL states.
pub(in crate::dialect) fn of_url(url: &str, mime: Option<String>, at: &str) -> Result<Media, BadRequest> {
    let Some(rest) = url.strip_prefix("data:") else {
        return Ok(Media::Url { url: url.to_owned(), mime });
    };
    let (head, data) =
        rest.split_once(',').filter(|(head, _)| head.ends_with(";base64")).ok_or_else(|| {
            BadRequest::new(at, format!("{at}: a data URL must be `data:<type>;base64,<data>`"))
        })?;
    let stated = head.split(';').next().unwrap_or_default();
    inline(mime.unwrap_or_else(|| stated.to_owned()), data.to_owned(), at)
}

/// What is wrong with inline data, and the remedy; one pass that decodes nothing.
///
/// Both alphabets, missing padding and line breaks pass: providers differ in what they take of these.
fn flaw(data: &str) -> Option<&'static str> {
    let body = data.trim_ascii_end();
    let body = body.strip_suffix("==").or_else(|| body.strip_suffix('=')).unwrap_or(body);
    let (mut digits, mut fine) = (0_usize, true);
    for byte in body.bytes() {
        let digit = byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
        digits += usize::from(digit);
        fine &= digit || byte.is_ascii_whitespace();
    }
    if digits == 0 {
        Some("its base64 data is empty; send the bytes of the file")
    } else if !fine || digits % 4 == 1 {
        Some("its data is not valid base64; encode the bytes of the file as base64")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
