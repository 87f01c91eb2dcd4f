//! One codec per wire format: reads and checks requests, writes answers, streams and errors.

pub(crate) mod anthropic;
pub(crate) mod bedrock;
pub(crate) mod cohere;
pub(crate) mod gemini;
pub(crate) mod ollama;
pub(crate) mod openai_chat;
pub(crate) mod openai_responses;
pub(crate) mod openai_text;
pub(crate) mod replicate;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use crate::failure::{Class, Failure};
use crate::read::Object;
use crate::reply::{Ask, Reply, Style};
use crate::store::Store;

/// What a codec may look at beside the body.
pub(crate) struct Head<'a> {
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// The body as sent, for signatures over it.
    pub body: &'a [u8],
    /// What earlier requests left; absent for the demonstration model.
    pub store: Option<&'a Store>,
    /// The model, where the path names it.
    pub model: Option<&'a str>,
    /// Whether the path asks for a stream, where the path says so.
    pub stream: Option<bool>,
}

/// An error answer, ready to send.
pub(crate) struct Refused {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Value,
}

/// A provider's wire format.
pub(crate) trait Dialect: Sync {
    /// Checks the credential.
    fn authorize(&self, head: &Head<'_>) -> Result<(), Failure>;
    /// Reads and checks a request as strictly as the provider does.
    fn read(&self, head: &Head<'_>, body: &Object) -> Result<Ask, Failure>;
    /// Ids and seals.
    fn style(&self) -> Style;
    /// A complete answer.
    fn whole(&self, ask: &Ask, reply: &Reply) -> Value;
    /// The frames of a streamed answer, in order.
    fn frames(&self, ask: &Ask, reply: &Reply) -> Vec<Bytes>;
    /// Keeps what later requests may ask for.
    fn keep(&self, _store: &Store, _ask: &Ask, _reply: &Reply) {}
    /// Whether a blocked prompt is an answer (and not an error) here.
    fn blocks_in_answer(&self) -> bool {
        false
    }
    /// A token count; most providers have none.
    fn count(&self, _head: &Head<'_>, _body: &[u8]) -> Result<Value, Failure> {
        Err(Failure::new(Class::NotFound))
    }
    /// `content-type` of a stream.
    fn stream_type(&self, _ask: &Ask) -> &'static str {
        "text/event-stream; charset=utf-8"
    }
    /// Headers of a successful answer.
    fn headers(&self) -> &'static [(&'static str, &'static str)];
    /// An error in the provider's own shape.
    fn refuse(&self, head: &Head<'_>, failure: &Failure) -> Refused;
    /// The frame a stream breaks with.
    fn broken(&self, ask: &Ask) -> Bytes;
    /// Bytes that are not a frame of this format.
    fn garbage(&self) -> Bytes {
        Bytes::from_static(b"data: {\"not json at all\n\n<html>502</html>\xff\xfe\n\n")
    }
}

/// Frames of one stream in one allocation.
#[derive(Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Frames {
    /// An SSE event with data only.
    pub(crate) fn data(&mut self, data: &Value) {
        self.bytes.extend_from_slice(b"data: ");
        self.json(data);
        self.bytes.extend_from_slice(b"\n\n");
        self.ends.push(self.bytes.len());
    }

    /// An SSE event with a name.
    pub(crate) fn event(&mut self, name: &str, data: &Value) {
        self.bytes.extend_from_slice(b"event: ");
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\ndata: ");
        self.json(data);
        self.bytes.extend_from_slice(b"\n\n");
        self.ends.push(self.bytes.len());
    }

    /// A frame of these pieces as they are.
    pub(crate) fn raw(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.bytes.extend_from_slice(piece);
        }
        self.ends.push(self.bytes.len());
    }

    fn json(&mut self, data: &Value) {
        // A `Value` with string keys always serialises, and a `Vec` takes all writes.
        let _ = serde_json::to_writer(&mut self.bytes, data);
    }

    pub(crate) fn finish(self) -> Vec<Bytes> {
        let all = Bytes::from(self.bytes);
        let mut from = 0;
        let mut frames = Vec::with_capacity(self.ends.len());
        for end in self.ends {
            frames.push(all.slice(from..end));
            from = end;
        }
        frames
    }
}

/// The token of `Authorization: Bearer ...`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ").filter(|token| !token.is_empty())
}

/// A header's text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().filter(|text| !text.is_empty())
}

/// Keys with this in them are refused, so that tests can have a wrong key.
pub(crate) fn is_wrong(key: &str) -> bool {
    key.contains("invalid")
}

/// A number that no other answer of this process has, for response ids.
pub(crate) fn serial() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Cuts text into pieces of `size` characters, as providers stream arguments.
pub(crate) fn pieces(text: &str, size: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.char_indices().nth(size).map_or(rest.len(), |(at, _)| at);
        let (piece, tail) = rest.split_at(end);
        pieces.push(piece);
        rest = tail;
    }
    pieces
}
