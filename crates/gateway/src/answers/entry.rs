//! An answer as it is kept: a few facts, then the bytes a client was sent.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use faregate_terms::{PicoUsd, Usage};

/// The form of what is kept. Another one is not read.
const FORM: u8 = 1;
/// Form, and the length of the facts.
const HEAD: usize = 1 + 4;

/// How an answer was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// As a stream.
    pub stream: bool,
    /// A chat-completions stream with the chunk of usage.
    pub usage: bool,
    /// A Gemini stream as server-sent events.
    pub alt_sse: bool,
}

/// What is known of a kept answer besides its bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// When it was kept, in milliseconds since 1970.
    pub at: i64,
    /// How it was sent.
    pub shape: Shape,
    /// What it used.
    pub usage: Usage,
    /// What it cost; `None` if nobody knew.
    pub cost: Option<PicoUsd>,
    /// The provider's id of it.
    pub upstream_id: Option<String>,
    /// The deployment that gave it.
    pub deployment: Option<String>,
    /// Its provider.
    pub provider: Option<String>,
    /// The upstream's model name.
    pub model: Option<String>,
    /// What its translation could not carry.
    pub losses: Vec<String>,
    /// Its media type, unless that is what its shape says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// A kept answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What is known of it.
    pub facts: Facts,
    /// What the client was sent.
    pub body: Bytes,
}

impl Entry {
    /// As bytes; `None` if the facts are beyond any measure.
    pub fn encode(facts: &Facts, body: &[Bytes]) -> Option<Bytes> {
        let facts = serde_json::to_vec(facts).ok()?;
        let length = u32::try_from(facts.len()).ok()?;
        let size = HEAD + facts.len() + body.iter().map(Bytes::len).sum::<usize>();
        let mut out = Vec::with_capacity(size);
        out.push(FORM);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&facts);
        body.iter().for_each(|piece| out.extend_from_slice(piece));
        Some(Bytes::from(out))
    }

    /// From bytes; `None` if they are no answer in this form.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let rest = bytes.strip_prefix(&[FORM])?;
        let length = usize::try_from(u32::from_le_bytes(*rest.first_chunk()?)).ok()?;
        let end = HEAD.checked_add(length)?;
        let facts = serde_json::from_slice(bytes.get(HEAD..end)?).ok()?;
        Some(Self { facts, body: bytes.slice(end..) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_anything_else_is_no_answer() {
        let facts = Facts {
            at: 7,
            shape: Shape { stream: true, usage: false, alt_sse: false },
            usage: Usage { input: 3, output: 4, ..Usage::default() },
            cost: Some(PicoUsd::from_pico(5)),
            upstream_id: Some("id".into()),
            deployment: None,
            provider: Some("openai".into()),
            model: None,
            losses: vec!["x".into()],
            kind: None,
        };
        let pieces = [Bytes::from_static(b"one "), Bytes::from_static(b"two")];
        let bytes = Entry::encode(&facts, &pieces).unwrap();
        let entry = Entry::decode(&bytes).unwrap();
        assert_eq!((entry.facts, &entry.body[..]), (facts, &b"one two"[..]));
        for cut in 0..bytes.len() - pieces[0].len() - pieces[1].len() {
            assert_eq!(Entry::decode(&bytes.slice(..cut)), None, "{cut}");
        }
        assert_eq!(Entry::decode(&Bytes::from_static(b"\x02\0\0\0\0{}")), None);
    }
}
