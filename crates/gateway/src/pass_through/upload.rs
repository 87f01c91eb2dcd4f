//! A client's body on its way to a target: bounded in size, and in how long it may stand still.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use faregate_upstream::{Alarm, UploadError};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::refusal::Refusal;

/// How long a client may keep silent in the middle of its body.
const STANDSTILL: Duration = Duration::from_secs(60);

/// Why a body broke off; whoever waits for the answer asks.
pub(super) type WhyNot = Arc<OnceLock<Refusal>>;

/// A client's body, pulled as the target's connection takes it.
pub(super) struct Bounded<B> {
    body: B,
    left: usize,
    limit: usize,
    why_not: WhyNot,
    waiting_since: Option<Instant>,
    alarm: Alarm,
}

impl<B> Bounded<B> {
    /// At most `limit` bytes of `body`. What keeps it from being whole is put into `why_not`.
    pub(super) fn new(body: B, limit: usize, why_not: WhyNot) -> Self {
        Self { body, left: limit, limit, why_not, waiting_since: None, alarm: Alarm::default() }
    }

    fn stop(&self, why: Refusal) -> UploadError {
        let text = why.to_string();
        // The first reason is the one that counts.
        let _ = self.why_not.set(why);
        text.into()
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<UploadError>,
{
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting_since = None;
                let length = frame.data_ref().map_or(0, Bytes::len);
                let Some(left) = this.left.checked_sub(length) else {
                    return Poll::Ready(Some(Err(this.stop(Refusal::TooLarge { limit: this.limit }))));
                };
                this.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let why = Refusal::BodyLost(error.into().to_string());
                Poll::Ready(Some(Err(this.stop(why))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let now = Instant::now();
                let since = *this.waiting_since.get_or_insert(now);
                if this.alarm.poll_at(since + STANDSTILL, now, cx).is_pending() {
                    return Poll::Pending;
                }
                let why = format!("nothing came for {} s", STANDSTILL.as_secs());
                Poll::Ready(Some(Err(this.stop(Refusal::BodyLost(why)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn a_body_passes_up_to_its_limit_and_says_why_not_beyond_it() {
        for (limit, passes) in [(5, true), (4, false)] {
            let why_not = WhyNot::default();
            let body = Bounded::new(Full::new(Bytes::from_static(b"12345")), limit, Arc::clone(&why_not));
            assert_eq!(body.collect().await.is_ok(), passes);
            assert_eq!(why_not.get(), (!passes).then_some(&Refusal::TooLarge { limit }));
        }
    }

    /// A body of which nothing comes.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = UploadError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_falls_silent_is_not_waited_for() {
        let why_not = WhyNot::default();
        assert!(Bounded::new(Silent, 9, Arc::clone(&why_not)).collect().await.is_err());
        assert!(matches!(why_not.get(), Some(Refusal::BodyLost(_))));
    }
}
