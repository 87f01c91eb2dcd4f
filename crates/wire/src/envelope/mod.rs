//! The same-dialect fast path: a body stays bytes.
//!
//! One pass over the body finds its top-level members (key → byte range); what the gateway needs is read
//! from there, what it changes is spliced in between pieces of the original. The body is never made into a document tree and never
//! re-serialised. A top-level member named twice is refused: otherwise we would authorise one `model` and
//! the provider serve the other.

mod scan;

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::dialect::Edit;

pub use scan::Mark;
use scan::{Bad, Found, Marks, scan};

/// Up to here a spliced body is copied into one piece; beyond, it goes out as pieces of the original.
const COPY_UP_TO: usize = 16 * 1024;

/// A JSON object's bytes with an index of its top-level members.
#[derive(Debug, Clone)]
pub struct Envelope {
    body: Bytes,
    members: Vec<Member>,
    marks: Marks,
}

#[derive(Debug, Clone)]
struct Member {
    /// The key's text; quotes excluded.
    key: Range<usize>,
    /// The key, if it is written with escapes.
    unescaped: Option<String>,
    value: Range<usize>,
}

impl Member {
    fn key<'a>(&'a self, body: &'a [u8]) -> &'a [u8] {
        self.unescaped.as_ref().map_or(&body[self.key.clone()], |key| key.as_bytes())
    }
}

/// The top-level members of an object that is only looked at: names as they are written, without their quotes, and
/// values. Of a name that comes twice, both.
///
/// # Errors
/// The parser's message if it is no JSON object.
pub(crate) fn members(json: &[u8]) -> Result<impl Iterator<Item = (&[u8], &[u8])>, String> {
    let found = scan(json).map_err(|bad| match (bad, crate::json::read_borrowed::<IgnoredAny>(json)) {
        (Bad::TooDeep, _) => "it is nested too deeply".to_owned(),
        (Bad::Syntax, Err(message)) => message,
        (Bad::Syntax, Ok(_)) => "it is no object".to_owned(),
    })?;
    Ok(found
        .members
        .into_iter()
        .map(|Found { key, value }| (&json[key.start + 1..key.end - 1], &json[value])))
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
        let found = scan(&body);
        let is_ascii = found.as_ref().is_ok_and(|found| found.is_ascii);
        if !is_ascii && let Err(error) = std::str::from_utf8(&body) {
            let at = error.valid_up_to();
            return Err(BadBody::NotAnObject(format!("the body is not UTF-8 at byte {at}")));
        }
        let found = found.map_err(|bad| BadBody::NotAnObject(complaint(&body, bad)))?;
        let mut members = Vec::with_capacity(found.members.len());
        for member in found.members {
            let key = member.key.start + 1..member.key.end - 1;
            let escaped = memchr::memchr(b'\\', &body[key.clone()]).is_some();
            let unescaped =
                escaped.then(|| crate::json::read::<String>(&body[member.key]).unwrap_or_default());
            members.push(Member { key, unescaped, value: member.value });
        }
        if let Some(twice) = duplicate(&members, &body) {
            return Err(BadBody::Duplicate(twice));
        }
        Ok(Self { body, members, marks: found.marks })
    }

    /// The whole body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The JSON text of a member.
    pub fn raw(&self, key: &str) -> Option<&[u8]> {
        self.find(key).map(|member| &self.body[member.value.clone()])
    }

    /// A member, read as `T`; `None` if absent, null, or of another shape.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        crate::json::read::<Option<T>>(self.raw(key)?).ok().flatten()
    }

    /// The members' names, in order.
    pub fn keys(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.members.iter().map(|member| String::from_utf8_lossy(member.key(&self.body)))
    }

    /// Every member's name and JSON text, in order.
    pub fn members(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.members.iter().map(|member| (member.key(&self.body), &self.body[member.value.clone()]))
    }

    /// Those of `names` that the body has, in the body's order.
    ///
    /// Bodies have few members and the lists of names are long: each member is looked for once.
    pub fn members_among(&self, names: &'static [&'static str]) -> impl Iterator<Item = &'static str> {
        self.members.iter().filter_map(move |member| {
            let key = member.key(&self.body);
            names.iter().copied().find(|name| name.as_bytes() == key)
        })
    }

    /// True if the member is there, even as null.
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// True if the word occurs anywhere in the body as a whole string.
    pub fn mentions(&self, mark: Mark) -> bool {
        self.marks.has(mark)
    }

    fn find(&self, key: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.key(&self.body) == key.as_bytes())
    }

    /// The body with `edits` applied, in pieces that put together are the new body. What is not edited is
    /// neither copied (but for small bodies, which come in one piece) nor changed by a byte. Without any
    /// edit it is the very same bytes.
    pub fn spliced(&self, edits: &[Edit]) -> Vec<Bytes> {
        let edits = edits.iter().map(|edit| match edit {
            Edit::Set(key, value) => (*key, Some(value.as_slice())),
            Edit::Remove(key) => (*key, None),
        });
        self.changed(edits, true)
    }

    /// The body with `members` (name, JSON text) added; those already there are replaced if `overwrite`.
    pub fn merged<'m>(
        &self,
        members: impl Iterator<Item = (&'m str, &'m [u8])> + Clone,
        overwrite: bool,
    ) -> Bytes {
        join(self.changed(members.map(|(key, value)| (key, Some(value))), overwrite))
    }

    /// `changes`: name, and the new JSON text or `None` to remove the member.
    fn changed<'m>(
        &self,
        changes: impl Iterator<Item = (&'m str, Option<&'m [u8]>)> + Clone,
        overwrite: bool,
    ) -> Vec<Bytes> {
        let mut pieces = Pieces::new(&self.body);
        // From here the original leads on to the next member, unless something between was taken out.
        let mut joint = Some(0);
        let mut any = false;
        for member in &self.members {
            let key = member.key(&self.body);
            let change = changes.clone().find(|(name, _)| overwrite && name.as_bytes() == key);
            if let Some((_, None)) = change {
                joint = None;
                continue;
            }
            let start = member.key.start - 1;
            match joint {
                Some(from) => pieces.keep(from..start),
                None => pieces.add(if any { b"," } else { b"{" }),
            }
            match change {
                Some((_, Some(value))) => {
                    pieces.keep(start..member.value.start);
                    pieces.add(value);
                }
                _ => pieces.keep(start..member.value.end),
            }
            (joint, any) = (Some(member.value.end), true);
        }
        for (key, value) in changes.filter_map(|(key, value)| Some((key, value?))) {
            if self.has(key) {
                continue;
            }
            pieces.add(if any { b"," } else { b"{" });
            pieces.add(&crate::json::write(key));
            pieces.add(b":");
            pieces.add(value);
            (joint, any) = (None, true);
        }
        match joint {
            Some(from) => pieces.keep(from..self.body.len()),
            None => pieces.add(if any { b"}" } else { b"{}" }),
        }
        pieces.finish()
    }
}

/// Pieces of a body, old and new; neighbours are one.
struct Pieces<'a> {
    body: &'a Bytes,
    done: Vec<Bytes>,
    kept: Range<usize>,
    added: Vec<u8>,
}

impl<'a> Pieces<'a> {
    fn new(body: &'a Bytes) -> Self {
        Self { body, done: Vec::with_capacity(4), kept: 0..0, added: Vec::new() }
    }

    fn keep(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        if !self.added.is_empty() {
            self.done.push(Bytes::from(std::mem::take(&mut self.added)));
        }
        if self.kept.end == range.start {
            self.kept.end = range.end;
        } else {
            self.flush_kept();
            self.kept = range;
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.flush_kept();
        self.added.extend_from_slice(bytes);
    }

    fn flush_kept(&mut self) {
        let kept = std::mem::replace(&mut self.kept, 0..0);
        if !kept.is_empty() {
            self.done.push(self.body.slice(kept));
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.flush_kept();
        if !self.added.is_empty() {
            self.done.push(Bytes::from(std::mem::take(&mut self.added)));
        }
        let small = self.done.len() > 1 && self.done.iter().map(Bytes::len).sum::<usize>() <= COPY_UP_TO;
        if small { vec![join(self.done)] } else { self.done }
    }
}

/// Pieces put together.
pub fn join(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() == 1 {
        return pieces.swap_remove(0);
    }
    Bytes::from(pieces.concat())
}

fn duplicate(members: &[Member], body: &[u8]) -> Option<String> {
    let text = |member: &Member| String::from_utf8_lossy(member.key(body)).into_owned();
    if members.len() <= 32 {
        let twice = members.iter().enumerate().find(|(index, member)| {
            members[..*index].iter().any(|earlier| earlier.key(body) == member.key(body))
        });
        return twice.map(|(_, member)| text(member));
    }
    let mut seen = HashSet::with_capacity(members.len());
    members.iter().find(|member| !seen.insert(member.key(body))).map(text)
}

/// The parser's own words for what the scan refused, with line and column.
fn complaint(body: &[u8], bad: Bad) -> String {
    let parsed = match bad {
        Bad::TooDeep => Err("recursion limit exceeded: nested deeper than 128 levels".to_owned()),
        Bad::Syntax => crate::json::read::<ObjectOnly>(body).map(drop),
    };
    parsed.err().unwrap_or_else(|| "not a JSON object".to_owned())
}

/// Any JSON object, for the error message about what is none.
struct ObjectOnly;

impl<'de> serde::Deserialize<'de> for ObjectOnly {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = ObjectOnly;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a JSON object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<ObjectOnly, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(ObjectOnly)
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

/// Where the value of a frame's or answer's first `"model": "..."` is, quotes included.
///
/// Inside JSON strings every quote is escaped, so the bytes `"model"` followed by a colon can only be a
/// member's name; in every dialect of the fast path the first one is the answer's own.
pub fn model_value(frame: &[u8]) -> Option<Range<usize>> {
    static KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"model\""));
    let after = KEY.find(frame)? + KEY.needle().len();
    let colon = skip_space(frame, after).filter(|&i| frame[i] == b':')?;
    let open = skip_space(frame, colon + 1).filter(|&i| frame[i] == b'"')?;
    let mut close = open + 1;
    while let Some(offset) = memchr::memchr2(b'"', b'\\', &frame[close..]) {
        close += offset;
        if frame[close] == b'"' {
            return Some(open..close + 1);
        }
        close = (close + 2).min(frame.len());
    }
    None
}

/// Replaces the value found by [`model_value`] by `name` (JSON text, quotes included).
/// Returns false and leaves `out` alone if there is none.
pub fn splice_model(frame: &[u8], name: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(value) = model_value(frame) else { return false };
    out.extend_from_slice(&frame[..value.start]);
    out.extend_from_slice(name);
    out.extend_from_slice(&frame[value.end..]);
    true
}

fn skip_space(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find(|&i| !bytes[i].is_ascii_whitespace())
}

/// True if `body` is one valid JSON document.
pub fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        let spliced = join(body.spliced(&[
            Edit::Set("model", b"\"b\"".to_vec()),
            Edit::Remove("stream"),
            Edit::Set("new", b"1".to_vec()),
        ]));
        assert_eq!(
            std::str::from_utf8(&spliced).unwrap(),
            r#"{ "model" : "b", "x": [1, {"model":"z"}],"é": null,"new":1}"#
        );
    }

    #[test]
    fn a_large_body_is_not_copied() {
        let prompt = "x".repeat(COPY_UP_TO);
        let body = envelope(&format!(r#"{{"model":"a","messages":"{prompt}","stream":true}}"#));
        let pieces = body.spliced(&[Edit::Set("model", b"\"b\"".to_vec())]);
        assert_eq!(pieces.len(), 3);
        let original = body.body().as_ptr_range();
        assert!(original.contains(&pieces[2].as_ptr()), "the prompt is a piece of the original");
        assert_eq!(join(pieces), format!(r#"{{"model":"b","messages":"{prompt}","stream":true}}"#));
        assert_eq!(body.spliced(&[]), [body.body().clone()]);
    }

    proptest! {
        /// Whatever is set and removed, the result is what the same changes make of the parsed object.
        #[test]
        fn splicing_is_editing(
            before in prop::collection::btree_map("[a-d]", 0..9u8, 0..4),
            sets in prop::collection::btree_map(prop::sample::select(vec!["a", "b", "z"]), 10..19u8, 0..3),
            removals in prop::collection::vec(prop::sample::select(vec!["c", "d", "y"]), 0..3),
            space in prop::sample::select(vec!["", " ", "\n  "]),
        ) {
            let members: Vec<String> = before.iter().map(|(k, v)| format!("{space}\"{k}\"{space}:{space}{v}")).collect();
            let body = envelope(&format!("{{{}{space}}}", members.join(&format!("{space},"))));
            let mut edits: Vec<Edit> = sets.iter().map(|(k, v)| Edit::Set(k, v.to_string().into_bytes())).collect();
            edits.extend(removals.iter().map(|key| Edit::Remove(key)));
            let mut expected: std::collections::BTreeMap<String, u8> = before.clone();
            expected.extend(sets.iter().map(|(k, v)| ((*k).to_owned(), *v)));
            expected.retain(|key, _| !removals.contains(&key.as_str()));
            let after: std::collections::BTreeMap<String, u8> =
                crate::json::read(&join(body.spliced(&edits))).unwrap();
            prop_assert_eq!(after, expected);
        }
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
        let frame =
            br#"data: {"id":"1","text":"say \"model\":\"x\"","model" : "up\"stream","y":{"model":"k"}}"#;
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
