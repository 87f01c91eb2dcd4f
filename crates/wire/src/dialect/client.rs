//! The client side of a wire format: decode requests, encode answers, events and errors.

use std::sync::Arc;

use crate::chat::{ChatRequest, ChatResponse, Event, Family};

use super::Losses;

/// The client side of a wire format.
pub trait ClientDialect: Send + Sync {
    /// The family whose private members come back unchanged.
    fn family(&self) -> Family;

    /// Reads a request body.
    ///
    /// # Errors
    /// [`BadRequest`] naming the member that is missing or wrong.
    fn decode(&self, body: &[u8], call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest>;

    /// Renders a complete answer.
    fn encode(&self, answer: &ChatResponse, reply: &Reply, losses: &mut Losses) -> Vec<u8>;

    /// A fresh encoder for one stream.
    fn encoder(&self, reply: Reply) -> Box<dyn StreamEncoder>;

    /// Renders an error that comes instead of an answer.
    fn error(&self, note: &ErrorNote) -> Vec<u8>;

    /// Headers that go with [`ClientDialect::error`], lower-case names.
    fn error_headers(&self, _note: &ErrorNote) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The `content-type` of a stream.
    fn stream_content_type(&self) -> &'static str {
        "text/event-stream; charset=utf-8"
    }

    /// The `content-type` of a stream; differs for Gemini, which without `alt=sse` sends a JSON array.
    fn stream_type(&self, _alt_sse: bool) -> &'static str {
        self.stream_content_type()
    }
}

/// Renders the events of one stream as the bytes a client reads.
pub trait StreamEncoder: Send {
    /// Appends what the client gets for `event`: no bytes, one frame or several.
    fn event(&mut self, event: &Event, out: &mut Vec<u8>);

    /// Appends the regular end of the stream. Closes what is still open; a `Finish` the provider never
    /// sent is not made up here (the caller ends such a stream with [`StreamEncoder::error`]).
    fn end(&mut self, out: &mut Vec<u8>);

    /// Appends an error in the middle of the stream, and the dialect's end after an error.
    fn error(&mut self, note: &ErrorNote, out: &mut Vec<u8>);

    /// Appends a sign of life that clients ignore.
    fn heartbeat(&mut self, out: &mut Vec<u8>);

    /// Takes what of the events so far the dialect had no place for; whole after [`StreamEncoder::end`].
    fn losses(&mut self) -> Losses {
        Losses::default()
    }
}

/// What the client said outside the body.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientCall<'a> {
    /// The model named by the path, where the dialect (or an alias route) does so.
    pub path_model: Option<&'a str>,
    /// Whether the path asks for a stream, where the dialect says it there.
    pub path_stream: Option<bool>,
    /// True for Gemini's `alt=sse`; without it a Gemini stream is a JSON array.
    pub alt_sse: bool,
}

/// What the gateway contributes to an answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// An id for answers whose provider gave none: the call id, unique, without dialect prefix.
    pub id: String,
    /// The model name the client is to see.
    pub model: String,
    /// Unix seconds, for answers whose provider did not say.
    pub created: i64,
    /// The request, for dialects that repeat parts of it in the answer.
    pub request: Arc<ChatRequest>,
    /// True for Gemini's `alt=sse`.
    pub alt_sse: bool,
}

/// A request body the client must mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadRequest {
    /// The member at fault, e.g. `messages[2].content`.
    pub param: Option<String>,
    /// What is wrong, and the remedy.
    pub message: String,
}

impl BadRequest {
    /// A complaint about `param`.
    pub fn new(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), message: message.into() }
    }
}

/// An error as a client is to see it; each dialect renders it in its own shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorNote {
    /// HTTP status (also of an error inside a stream).
    pub status: u16,
    /// OpenAI-style type, e.g. `invalid_request_error`; other dialects derive theirs from the status.
    pub kind: String,
    /// What happened, and the remedy.
    pub message: String,
    /// The provider's code word, else the status as text.
    pub code: String,
    /// The member at fault.
    pub param: Option<String>,
    /// The request's id.
    pub call_id: String,
}
