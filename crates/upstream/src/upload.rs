//! The body of a request that is sent on while it still comes in.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use crate::payload::Payload;

/// Why a body breaks off.
pub type UploadError = Box<dyn Error + Send + Sync>;

/// A body that is pulled piece by piece as the connection takes it; nothing is read ahead.
pub struct Upload(Pin<Box<dyn Body<Data = Bytes, Error = UploadError> + Send>>);

impl Upload {
    /// Sends `body` on. Its size hint decides how it is framed: with its length if that is known.
    pub fn new(body: impl Body<Data = Bytes, Error = UploadError> + Send + 'static) -> Self {
        Self(Box::pin(body))
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Upload").field(&self.0.size_hint()).finish()
    }
}

/// What a connection sends.
pub(crate) enum Outbound {
    /// All of it is there.
    Whole(Full<Payload>),
    /// It still comes in.
    Live(Upload),
}

impl Body for Outbound {
    type Data = Payload;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Payload>, UploadError>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Live(upload) => upload
                .0
                .as_mut()
                .poll_frame(cx)
                .map(|piece| piece.map(|frame| frame.map(|frame| frame.map_data(Payload::from)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Live(upload) => upload.0.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Live(upload) => upload.0.size_hint(),
        }
    }
}
