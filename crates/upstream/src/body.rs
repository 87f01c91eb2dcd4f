//! The body of an answer, as it comes.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

use crate::alarm::Alarm;
use crate::error::{SendError, Wait, innermost};
use crate::pool::Arriving;

/// A streaming body. Nothing is read ahead of the consumer beyond one read of the connection.
///
/// Ends in an error when no byte came for the idle limit, when the total limit is over, or when the
/// connection broke before the body was complete. Dropping it before its end closes the connection
/// (HTTP/1.1) or resets the stream (HTTP/2), which tells the provider to stop.
pub struct Body {
    inner: Option<Arriving>,
    host: Arc<str>,
    idle: Option<Duration>,
    /// When the whole answer must be there, and the limit that said so.
    total: Option<(Instant, Duration)>,
    /// Since when we have been waiting for bytes; nobody waits while they keep coming.
    waiting_since: Option<Instant>,
    alarm: Alarm,
}

impl Body {
    pub(crate) fn new(
        inner: Arriving,
        host: Arc<str>,
        idle: Option<Duration>,
        total: Option<(Instant, Duration)>,
    ) -> Self {
        Self { inner: Some(inner), host, idle, total, waiting_since: None, alarm: Alarm::default() }
    }

    /// The next piece of the body; `None` at its end. Cancel-safe.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, SendError>> {
        loop {
            match poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await? {
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(Ok(bytes));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The whole body, at most `limit` bytes. A body that came in one piece is not copied.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, SendError> {
        let host = Arc::clone(&self.host);
        let too_large = || SendError::TooLarge { host: host.to_string(), limit };
        let declared = self.size_hint().lower();
        if declared > limit as u64 {
            return Err(too_large());
        }
        let Some(first) = self.chunk().await.transpose()? else { return Ok(Bytes::new()) };
        if first.len() > limit {
            return Err(too_large());
        }
        if self.is_end_stream() {
            return Ok(first);
        }
        let mut whole =
            BytesMut::with_capacity(first.len().max(usize::try_from(declared).unwrap_or_default()));
        whole.extend_from_slice(&first);
        while let Some(next) = self.chunk().await.transpose()? {
            if whole.len() + next.len() > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&next);
        }
        Ok(whole.freeze())
    }

    /// Lets the connection go: to its pool if the answer is all there.
    fn part(&mut self, is_over: bool) {
        if let Some(inner) = self.inner.take() {
            inner.part(is_over);
        }
    }

    /// The limit that ends the wait for bytes first: when, which, and how long it is.
    fn limit(&self, since: Instant) -> Option<(Instant, Wait, Duration)> {
        let idle = self.idle.and_then(|idle| Some((since.checked_add(idle)?, Wait::Idle, idle)));
        let total = self.total.map(|(at, limit)| (at, Wait::Total, limit));
        idle.into_iter().chain(total).min_by_key(|(at, ..)| *at)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = SendError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SendError>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        match inner.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting_since = None;
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(Some(Err(error))) => {
                this.inner = None;
                let detail = innermost(&error);
                return Poll::Ready(Some(Err(SendError::Broken { host: this.host.to_string(), detail })));
            }
            Poll::Ready(None) => {
                this.part(true);
                return Poll::Ready(None);
            }
            Poll::Pending => {}
        }
        let now = Instant::now();
        let since = *this.waiting_since.get_or_insert(now);
        let Some((at, wait, after)) = this.limit(since) else { return Poll::Pending };
        if this.alarm.poll_at(at, now, cx).is_pending() {
            return Poll::Pending;
        }
        this.inner = None;
        Poll::Ready(Some(Err(SendError::Timeout { host: this.host.to_string(), wait, after })))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(|inner| inner.incoming().is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), |inner| inner.incoming().size_hint())
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.part(false);
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Body").field("host", &self.host).field("open", &self.inner.is_some()).finish()
    }
}
