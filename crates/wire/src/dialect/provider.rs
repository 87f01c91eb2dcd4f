//! The provider side of a wire format: encode requests, decode answers, events and errors.

use http::HeaderMap;

use faregate_terms::{Fault, Usage};

use crate::chat::{ChatRequest, ChatResponse, Event, Family, Tool};
use crate::envelope::Envelope;
use crate::frame::Frame;

use super::{Losses, Target};

/// The provider side of a wire format: values in, bytes out, and back.
pub trait ProviderDialect: Send + Sync {
    /// The family whose private members go through unchanged.
    fn family(&self) -> Family;

    /// Anthropic's beta features to switch on: what the client `asked` for (header values) and what the
    /// request itself needs. Belongs into [`Target::betas`] before anything else is rendered.
    fn betas(
        &self,
        _features: Features<'_>,
        _asked: &[&str],
        _target: &Target<'_>,
        _losses: &mut Losses,
    ) -> Vec<String> {
        Vec::new()
    }

    /// Where to send a request, and how its answer is framed.
    fn route(&self, target: &Target<'_>, stream: bool) -> Route;

    /// Renders a request body for `target`. Parameters the target does not take have been removed or
    /// refused before; content it cannot carry is an error.
    ///
    /// # Errors
    /// [`Unsupported`] naming what cannot be expressed.
    fn body(
        &self,
        request: &ChatRequest,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Vec<u8>, Unsupported>;

    /// What to change in a body of the same dialect that is forwarded as bytes. `include_usage` tells
    /// whether a stream must report usage even if the client did not ask.
    fn edits(&self, target: &Target<'_>, stream: bool, include_usage: bool) -> Vec<Edit>;

    /// Reads a complete 2xx answer.
    ///
    /// # Errors
    /// [`Malformed`] if it is not what the dialect promises.
    fn decode(&self, target: &Target<'_>, body: &[u8]) -> Result<ChatResponse, Malformed>;

    /// Reads of a complete 2xx answer only what the receipt needs: it is forwarded as bytes.
    ///
    /// # Errors
    /// [`Malformed`] if it is not what the dialect promises.
    fn glance(&self, target: &Target<'_>, body: &[u8]) -> Result<Glance, Malformed> {
        let answer = self.decode(target, body)?;
        Ok(Glance { id: answer.id, usage: answer.usage })
    }

    /// A fresh decoder for one stream. It may turn one frame into no event or into several.
    fn decoder(&self, target: &Target<'_>) -> Box<dyn StreamDecoder>;

    /// Reads a non-2xx answer, keeping the provider's own code and message.
    fn fault(&self, head: &Head<'_>, body: &[u8]) -> Fault;

    /// True if answers of this dialect name their model in a member `model` of their own, which the client
    /// is to see under the name it asked for. Elsewhere such a member could only be a tool's argument.
    fn names_model(&self) -> bool {
        matches!(self.family(), Family::OpenAi | Family::Responses | Family::Anthropic)
    }

    /// Bytes that every stream frame with usage figures contains, for cheap search in forwarded streams.
    fn usage_mark(&self) -> &'static [u8] {
        b"\"usage\""
    }

    /// What a 2xx answer wants next. Most are the answer itself.
    fn follow_up(&self, _body: &[u8]) -> FollowUp {
        FollowUp::Done
    }
}

/// What tells which features a request uses.
#[derive(Debug, Clone, Copy)]
pub enum Features<'a> {
    /// A request that is translated.
    Request(&'a ChatRequest),
    /// A body of the provider's own dialect that goes through as bytes.
    Bytes(&'a Envelope),
}

/// What the receipt needs of an answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Glance {
    /// The provider's id of the answer; empty if it gave none.
    pub id: String,
    /// What was used.
    pub usage: Usage,
}

/// Reads the frames of one stream.
pub trait StreamDecoder: Send {
    /// Reads one frame.
    ///
    /// # Errors
    /// [`Malformed`] if it is not what the dialect promises; the stream is then over.
    fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) -> Result<(), Malformed>;

    /// End of input. A stream cut before its own end mark is [`StreamEnd::Truncated`], never a made-up finish.
    fn end(&mut self, out: &mut Vec<Event>) -> StreamEnd;
}

/// How a stream's input ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// With the dialect's own end.
    Complete,
    /// Before it.
    Truncated,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Path and query below the base URL, e.g. `/chat/completions`. Percent-encoded.
    pub path: String,
    /// Headers of the dialect, lower-case names. Never a credential.
    pub headers: Vec<(&'static str, String)>,
    /// How a streamed answer is framed.
    pub framing: Framing,
}

/// How the frames of a stream are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `text/event-stream`.
    Sse,
    /// `application/vnd.amazon.eventstream`.
    AwsEventStream,
    /// A JSON document per line.
    NdJson,
    /// Not streamed: the whole body is one frame.
    Whole,
}

/// One change of a forwarded body's top-level members.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Set a member to this JSON text, replacing or adding it.
    Set(&'static str, Vec<u8>),
    /// Remove a member.
    Remove(&'static str),
}

/// What a 2xx answer wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowUp {
    /// It is the answer.
    Done,
    /// Ask again at this address (GET) after a moment.
    Poll {
        /// Absolute URL.
        url: String,
    },
    /// Read the stream at this address (GET, `accept: text/event-stream`).
    Stream {
        /// Absolute URL.
        url: String,
    },
}

/// Status and headers of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

/// A provider's answer that is not what its dialect promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the provider's answer cannot be read: {0}")]
pub struct Malformed(pub String);

/// A request the target's dialect cannot express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be sent to this model: {why}")]
pub struct Unsupported {
    /// The member or content kind, e.g. `messages[1].content[0]` or `audio input`.
    pub what: String,
    /// Why, and the remedy.
    pub why: String,
}

impl Unsupported {
    /// A complaint about `what`.
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

/// Leaves out a tool that the target cannot run, as a named loss.
///
/// Coding agents always offer a few of those beside their functions and do without them; a request that offers
/// nothing else would get an answer that has nothing to do with what it asked.
///
/// # Errors
///
/// [`Unsupported`], with this remedy, when no function is left.
pub(crate) fn leave_out(
    request: &ChatRequest,
    index: usize,
    remedy: impl Into<String>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    if !request.tools.iter().any(|tool| matches!(tool, Tool::Function { .. })) {
        return Err(Unsupported::new(format!("tools[{index}]"), remedy));
    }
    losses.note(match request.tools.get(index) {
        Some(Tool::WebSearch { .. }) => "tool.web_search",
        _ => "tool.foreign",
    });
    Ok(())
}
