//! A target's answer on its way to the client, piece by piece as it comes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use faregate_terms::Fault;
use faregate_upstream::Body as Upstream;
use http_body::Body as _;

use crate::body::Source;
use crate::stage::admit::Admitted;
use crate::stage::settle::Recorded;

/// An answer's body with the request it settles. Nothing is read ahead; a client that leaves drops it, and with it the
/// target's connection and the request.
pub(super) struct Download {
    /// `None` once it is over.
    upstream: Option<Upstream>,
    admitted: Option<Box<Admitted>>,
    since: Instant,
    /// The last piece, which waits until the request is on record.
    last: Option<Bytes>,
    recorded: Option<Recorded>,
    broke: bool,
}

impl Download {
    /// Hands `upstream` on and settles `admitted` at its end; the target was asked at `since`.
    pub(super) fn new(upstream: Upstream, admitted: Box<Admitted>, since: Instant) -> Self {
        Self {
            upstream: Some(upstream),
            admitted: Some(admitted),
            since,
            last: None,
            recorded: None,
            broke: false,
        }
    }

    /// The next piece of the target's answer that holds anything.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while let Some(upstream) = &mut self.upstream {
            match ready!(Pin::new(upstream).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) if !piece.is_empty() => return Poll::Ready(Some(piece)),
                    // Trailers are not passed on: the client was not told that there would be any.
                    _ => {}
                },
                Some(Err(error)) => {
                    self.upstream = None;
                    self.broken(error.into());
                }
                None => self.upstream = None,
            }
        }
        Poll::Ready(None)
    }

    fn broken(&mut self, fault: Fault) {
        self.broke = true;
        if let Some(admitted) = &mut self.admitted {
            admitted.broken(fault.class, &fault.message);
        }
    }

    /// Settles once, and waits until that is on record.
    fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(mut admitted) = self.admitted.take() {
            admitted.meter.upstream_time = self.since.elapsed();
            if !self.broke {
                admitted.complete();
            }
            self.recorded = Some(admitted.settle());
        }
        if let Some(recorded) = &mut self.recorded {
            ready!(Pin::new(recorded).poll(cx));
            self.recorded = None;
        }
        Poll::Ready(())
    }
}

impl Source for Download {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.last.is_none() {
            let Some(piece) = ready!(self.poll_upstream(cx)) else {
                ready!(self.poll_settled(cx));
                return Poll::Ready(None);
            };
            if let Some(admitted) = self.admitted.as_mut().filter(|admitted| admitted.meter.stream) {
                admitted.first_output();
            }
            if !self.upstream.as_ref().is_none_or(|upstream| upstream.is_end_stream()) {
                return Poll::Ready(Some(piece));
            }
            // The client knows an answer of known length to be whole without any further sign.
            self.last = Some(piece);
        }
        self.upstream = None;
        ready!(self.poll_settled(cx));
        Poll::Ready(self.last.take())
    }

    fn has_broken_off(&self) -> bool {
        self.broke
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // The client left: the request's own drop settles what came so far.
        if let Some(admitted) = &mut self.admitted {
            admitted.meter.upstream_time = self.since.elapsed();
        }
    }
}
