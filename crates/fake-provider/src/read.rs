//! Small readers of request members, shared by all dialects' checks.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Map, Value};

pub(crate) type Object = Map<String, Value>;

/// The first member of `object` that is not in `known`.
pub(crate) fn stranger<'a>(object: &'a Object, known: &[&str]) -> Option<&'a str> {
    object.keys().map(String::as_str).find(|name| !known.contains(name))
}

/// A member that is there and not `null`.
pub(crate) fn present<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// Media type and decoded length of a `data:` address; `None` if it is none or its base64 is broken.
pub(crate) fn data_url(url: &str) -> Option<(String, usize)> {
    let (media, data) = url.strip_prefix("data:")?.split_once(";base64,")?;
    Some((media.to_owned(), STANDARD.decode(data).ok()?.len()))
}

/// Decoded length of standard base64.
pub(crate) fn base64_len(data: &str) -> Option<usize> {
    STANDARD.decode(data).ok().map(|bytes| bytes.len())
}

/// The bytes of base64 in either alphabet, padded or not, as protobuf's JSON takes it.
pub(crate) fn loose_base64(text: &str) -> Option<Vec<u8>> {
    let standard: String = text
        .trim_end_matches('=')
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    STANDARD_NO_PAD.decode(standard).ok()
}

/// The strings of a string or an array of strings.
pub(crate) fn strings(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}
