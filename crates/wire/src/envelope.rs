//! The same-dialect fast path: a body stays bytes.
//!
//! One pass over the body finds its top-level members (key → byte range); what the gateway needs is read
//! from there, what it changes is spliced in. The body is never made into a document tree and never
//! re-serialised. A top-level member named twice is refused: otherwise we would authorise one `model` and
//! the provider serve the other.

use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::dialect::Edit;

/// A JSON object's bytes with an index of its top-level members.
#[derive(Debug, Clone)]
pub struct Envelope {
    body: Bytes,
    members: Vec<Member>,
}

#[derive(Debug, Clone)]
struct Member {
    key: String,
    start: usize,
    end: usize,
}

/// A body that is no usable JSON object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// Not JSON, not UTF-8, nested too deeply, or not an object.
    #[error("Invalid JSON payload: {0}")]
    NotAnObject(String),
    /// A top-level member occurs twice.
    #[error("Invalid JSON payload: member `{0}` occurs more than once; send it once")]
    Duplicate(String),
}

impl Envelope {
    /// Indexes `body`.
    ///
    /// # Errors
    /// [`BadBody`] with the parser's position, never with content.
    pub fn index(body: Bytes) -> Result<Self, BadBody> {
        let text = std::str::from_utf8(&body).map_err(|error| {
            BadBody::NotAnObject(format!("the body is not UTF-8 at byte {}", error.valid_up_to()))
        })?;
        let raw: RawMembers<'_> =
            serde_json::from_str(text).map_err(|error| BadBody::NotAnObject(error.to_string()))?;
        if is_too_deep(text.as_bytes()) {
            return Err(BadBody::NotAnObject(format!(
                "nested deeper than {MAX_DEPTH} levels (recursion limit exceeded)"
            )));
        }
        let base = text.as_ptr() as usize;
        let mut members: Vec<Member> = Vec::with_capacity(raw.0.len());
        let mut seen = HashSet::new();
        for (key, value) in raw.0 {
            let start = value.get().as_ptr() as usize - base;
            let twice = if members.len() < 32 {
                members.iter().any(|member| member.key == key)
            } else {
                if seen.is_empty() {
                    seen.extend(members.iter().map(|member| member.key.clone()));
                }
                !seen.insert(key.clone())
            };
            if twice {
                return Err(BadBody::Duplicate(key));
            }
            members.push(Member { key, start, end: start + value.get().len() });
        }
        Ok(Self { body, members })
    }

    /// The whole body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The JSON text of a member.
    pub fn raw(&self, key: &str) -> Option<&[u8]> {
        self.members.iter().find(|m| m.key == key).map(|m| &self.body[m.start..m.end])
    }

    /// A member, read as `T`; `None` if absent, null, or of another shape.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        serde_json::from_slice::<Option<T>>(self.raw(key)?).ok().flatten()
    }

    /// The members' names, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.key.as_str())
    }

    /// True if the member is there, even as null.
    pub fn has(&self, key: &str) -> bool {
        self.members.iter().any(|member| member.key == key)
    }

    /// The body with `edits` applied. Without any it is the very same bytes.
    pub fn spliced(&self, edits: &[Edit]) -> Bytes {
        if edits.iter().all(|edit| matches!(edit, Edit::Remove(key) if !self.has(key))) {
            return self.body.clone();
        }
        let added: usize = edits
            .iter()
            .map(|edit| match edit {
                Edit::Set(key, value) => key.len() + value.len() + 4,
                Edit::Remove(_) => 0,
            })
            .sum();
        let mut out = Vec::with_capacity(self.body.len() + added);
        out.push(b'{');
        for member in &self.members {
            let edit = edits.iter().find(|edit| edit.key() == member.key);
            let value = match edit {
                Some(Edit::Remove(_)) => continue,
                Some(Edit::Set(_, value)) => value.as_slice(),
                None => &self.body[member.start..member.end],
            };
            push_member(&member.key, value, &mut out);
        }
        for edit in edits {
            if let Edit::Set(key, value) = edit
                && !self.has(key)
            {
                push_member(key, value, &mut out);
            }
        }
        out.push(b'}');
        Bytes::from(out)
    }
}

impl Envelope {
    /// The body with `members` (name, JSON text) added; those already there are replaced if `overwrite`.
    pub fn merged<'m>(
        &self,
        members: impl Iterator<Item = (&'m str, &'m [u8])> + Clone,
        overwrite: bool,
    ) -> Bytes {
        let mut out = Vec::with_capacity(self.body.len() + 64);
        out.push(b'{');
        for member in &self.members {
            let replaced = members.clone().find(|(key, _)| overwrite && *key == member.key);
            let value = replaced.map_or(&self.body[member.start..member.end], |(_, value)| value);
            push_member(&member.key, value, &mut out);
        }
        for (key, value) in members.filter(|(key, _)| !self.has(key)) {
            push_member(key, value, &mut out);
        }
        out.push(b'}');
        Bytes::from(out)
    }
}

impl Edit {
    fn key(&self) -> &'static str {
        match self {
            Self::Set(key, _) | Self::Remove(key) => key,
        }
    }
}

fn push_member(key: &str, value: &[u8], out: &mut Vec<u8>) {
    if out.len() > 1 {
        out.push(b',');
    }
    crate::json::write_into(key, out);
    out.push(b':');
    out.extend_from_slice(value);
}

/// Replaces the first `"model": "..."` of a frame or answer by `name` (JSON text, quotes included).
/// Returns false and leaves `out` alone if there is none.
///
/// Inside JSON strings every quote is escaped, so the bytes `"model"` followed by a colon can only be a
/// member's name; in every dialect of the fast path the first one is the answer's own.
pub fn splice_model(frame: &[u8], name: &[u8], out: &mut Vec<u8>) -> bool {
    const KEY: &[u8] = b"\"model\"";
    let Some(at) = memchr::memmem::find(frame, KEY) else {
        return false;
    };
    let after = at + KEY.len();
    let Some(colon) = skip_space(frame, after).filter(|&i| frame[i] == b':') else {
        return false;
    };
    let Some(open) = skip_space(frame, colon + 1).filter(|&i| frame[i] == b'"') else {
        return false;
    };
    let mut close = open + 1;
    while let Some(offset) = memchr::memchr2(b'"', b'\\', &frame[close..]) {
        close += offset;
        if frame[close] == b'"' {
            out.extend_from_slice(&frame[..open]);
            out.extend_from_slice(name);
            out.extend_from_slice(&frame[close + 1..]);
            return true;
        }
        close = (close + 2).min(frame.len());
    }
    false
}

fn skip_space(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find(|&i| !bytes[i].is_ascii_whitespace())
}

/// The deepest nesting that is read; serde_json's own limit, which does not hold for skipped values.
const MAX_DEPTH: usize = 128;

/// True if arrays and objects nest beyond [`MAX_DEPTH`]. `json` is valid JSON.
fn is_too_deep(json: &[u8]) -> bool {
    if memchr::memchr2_iter(b'[', b'{', json).take(MAX_DEPTH + 1).count() <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut at) = (0usize, 0);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at = end_of_string(json, at + 1),
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    false
}

/// Index of the quote that ends the string whose content begins at `at`.
fn end_of_string(json: &[u8], mut at: usize) -> usize {
    while let Some(offset) = memchr::memchr2(b'"', b'\\', json.get(at..).unwrap_or_default()) {
        at += offset;
        if json[at] == b'"' {
            return at;
        }
        at += 2;
    }
    json.len()
}

struct RawMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for RawMembers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(16);
                while let Some(entry) = map.next_entry()? {
                    members.push(entry);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(RawMembers)
    }
}

/// True if `body` is one valid JSON document.
pub fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(text: &str) -> Envelope {
        Envelope::index(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn members_are_found_and_spliced_without_touching_the_rest() {
        let body = envelope(r#"{ "model" : "a", "x": [1, {"model":"z"}], "stream":false, "é": null }"#);
        assert_eq!(body.get::<String>("model").as_deref(), Some("a"));
        assert_eq!(body.get::<bool>("stream"), Some(false));
        assert!(body.has("é"));
        let spliced = body.spliced(&[
            Edit::Set("model", b"\"b\"".to_vec()),
            Edit::Remove("stream"),
            Edit::Set("new", b"1".to_vec()),
        ]);
        assert_eq!(
            std::str::from_utf8(&spliced).unwrap(),
            r#"{"model":"b","x":[1, {"model":"z"}],"é":null,"new":1}"#
        );
    }

    #[test]
    fn a_member_named_twice_is_refused() {
        let twice = Envelope::index(Bytes::from_static(br#"{"model":"a","mod\u0065l":"b"}"#));
        assert_eq!(twice.unwrap_err(), BadBody::Duplicate("model".into()));
        let many: String = (0..40).map(|i| format!("\"k{i}\":1,")).collect();
        let twice = Envelope::index(Bytes::from(format!("{{{many}\"k3\":2}}")));
        assert_eq!(twice.unwrap_err(), BadBody::Duplicate("k3".into()));
    }

    #[test]
    fn what_is_no_object_is_refused_with_a_position() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
        for (body, says) in [
            (b"".to_vec(), "EOF"),
            (b"[1]".to_vec(), "a JSON object"),
            (b"{\"a\":}".to_vec(), "column 6"),
            (b"{\"a\":\"\xff\"}".to_vec(), "not UTF-8 at byte 6"),
            (deep.into_bytes(), "recursion limit"),
            (b"{} {}".to_vec(), "trailing"),
        ] {
            let message = Envelope::index(Bytes::from(body)).unwrap_err().to_string();
            assert!(message.contains(says), "{message} should say {says}");
        }
    }

    #[test]
    fn only_the_answers_own_model_name_is_replaced() {
        let frame = br#"data: {"id":"1","text":"say \"model\":\"x\"","model" : "up\"stream","y":{"model":"k"}}"#;
        let mut out = Vec::new();
        assert!(splice_model(frame, b"\"mine\"", &mut out));
        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            r#"data: {"id":"1","text":"say \"model\":\"x\"","model" : "mine","y":{"model":"k"}}"#
        );
        assert!(!splice_model(br#"{"model":null}"#, b"\"m\"", &mut Vec::new()));
        assert!(!splice_model(br#"{"model":"unterminated"#.as_slice(), b"\"m\"", &mut Vec::new()));
    }
}
