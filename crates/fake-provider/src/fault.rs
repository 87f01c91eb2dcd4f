//! What goes wrong while an answer travels, and the response body that acts it out.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::log::Tracked;

/// Faults of one answer; counts are in wire frames (SSE events, JSON lines, event-stream messages).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// Wait before the response head.
    pub first_byte: Duration,
    /// Wait before each frame but the first.
    pub delay: Duration,
    /// Go silent after so many frames, connection open; 0, or any number without streaming: no head either.
    pub stall_after: Option<usize>,
    /// Close the connection in the middle of the frame after so many frames.
    pub cut_after: Option<usize>,
    /// After so many frames, send bytes that are no frame of the dialect, then end.
    pub garbage_after: Option<usize>,
    /// After so many frames, send the dialect's mid-stream error, then end. Without streaming: a 500.
    pub error_after: Option<usize>,
}

/// One act of a response body.
#[derive(Debug)]
pub(crate) enum Step {
    Send(Bytes),
    Wait(Duration),
    Stall,
    /// Lets hyper flush what was sent, then breaks the connection.
    Cut,
}

impl Faults {
    /// The acts that send `frames` with these faults; `error` and `garbage` are the dialect's own bytes.
    pub(crate) fn steps(
        &self,
        frames: Vec<Bytes>,
        error: impl FnOnce() -> Bytes,
        garbage: Bytes,
    ) -> Vec<Step> {
        let mut steps = Vec::with_capacity(frames.len() + 1);
        for (index, frame) in frames.into_iter().enumerate() {
            if index > 0 && !self.delay.is_zero() {
                steps.push(Step::Wait(self.delay));
            }
            if self.stall_after == Some(index) {
                steps.push(Step::Stall);
                return steps;
            }
            if self.cut_after == Some(index) {
                steps.push(Step::Send(frame.slice(..frame.len() / 2)));
                steps.push(Step::Cut);
                return steps;
            }
            if self.garbage_after == Some(index) {
                steps.push(Step::Send(garbage));
                return steps;
            }
            if self.error_after == Some(index) {
                steps.push(Step::Send(error()));
                return steps;
            }
            steps.push(Step::Send(frame));
        }
        steps
    }

    /// Whether the head of the answer never comes.
    pub(crate) fn never_answers(&self, stream: bool) -> bool {
        self.stall_after.is_some_and(|after| after == 0 || !stream)
    }
}

/// The connection was cut on purpose.
#[derive(Debug)]
pub struct CutOnPurpose;

impl std::fmt::Display for CutOnPurpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("connection cut on purpose")
    }
}

impl std::error::Error for CutOnPurpose {}

/// A response body that plays its steps and notices a client that leaves early.
pub struct FakeBody {
    steps: std::vec::IntoIter<Step>,
    /// Exact length, where the answer has a `content-length`.
    left: Option<u64>,
    sleep: Option<Pin<Box<Sleep>>>,
    flushing: bool,
    tracked: Option<Tracked>,
}

impl FakeBody {
    pub(crate) fn whole(bytes: Bytes, tracked: Option<Tracked>) -> Self {
        let left = Some(bytes.len() as u64);
        Self { left, ..Self::steps(vec![Step::Send(bytes)], tracked) }
    }

    pub(crate) fn steps(steps: Vec<Step>, tracked: Option<Tracked>) -> Self {
        Self { steps: steps.into_iter(), left: None, sleep: None, flushing: false, tracked }
    }

    /// Announces `length` bytes whatever the steps send.
    pub(crate) fn announcing(mut self, length: u64) -> Self {
        self.left = Some(length);
        self
    }

    fn finished(&mut self) {
        if let Some(tracked) = self.tracked.take() {
            tracked.complete();
        }
    }
}

impl Body for FakeBody {
    type Data = Bytes;
    type Error = CutOnPurpose;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOnPurpose>>> {
        if self.flushing {
            self.finished();
            return Poll::Ready(Some(Err(CutOnPurpose)));
        }
        loop {
            if let Some(sleep) = self.sleep.as_mut() {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            match self.steps.next() {
                Some(Step::Send(bytes)) => {
                    if let Some(left) = self.left.as_mut() {
                        *left = left.saturating_sub(bytes.len() as u64);
                    }
                    if self.steps.len() == 0 {
                        self.finished();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Wait(time)) => self.sleep = Some(Box::pin(tokio::time::sleep(time))),
                // Nothing ever wakes this body again; only the client's leaving ends it.
                Some(Step::Stall) => {
                    self.steps = vec![Step::Stall].into_iter();
                    return Poll::Pending;
                }
                // Pending once makes hyper flush the half frame before the error drops the connection.
                Some(Step::Cut) => {
                    self.flushing = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                None => {
                    self.finished();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.len() == 0 && !self.flushing && self.sleep.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
