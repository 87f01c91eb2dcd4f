//! Cuts a byte stream into frames, whatever the network's chunk boundaries.

mod aws;
mod ndjson;
mod sse;

pub use aws::{AwsFrames, BadFrame, aws_frame};
pub use ndjson::NdJsonFrames;
pub use sse::{SseFrames, sse_data, sse_event};

/// One frame of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// SSE `event:` or AWS `:event-type` / `:exception-type`; absent elsewhere.
    pub event: Option<&'a str>,
    /// The payload.
    pub data: &'a [u8],
    /// True for an AWS frame whose `:message-type` is `exception` or `error`.
    pub exception: bool,
}

impl<'a> Frame<'a> {
    /// A frame with a payload and nothing else.
    pub fn data(data: &'a [u8]) -> Self {
        Self { event: None, data, exception: false }
    }
}

/// The largest frame that is buffered, bytes. A longer one is an attack or a fault.
pub const MAX_FRAME: usize = 32 * 1024 * 1024;
