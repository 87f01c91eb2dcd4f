//! One HTTP/1.1 connection, run by the very task whose request it carries.
//!
//! A connection that is a task of its own costs each request two changes of task, and each piece of a stream
//! another. Here whoever waits for the answer also moves the connection.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_rustls::MaybeHttpsStream;

use crate::connect::Counted;
use crate::upload::Outbound;

/// What connections are made of: TCP, perhaps through a proxy, perhaps with TLS.
pub(crate) type Io = MaybeHttpsStream<Counted>;

/// A connection that carries one request at a time.
pub(crate) struct Lane {
    sender: SendRequest<Outbound>,
    /// `None` once it is over.
    connection: Option<Pin<Box<http1::Connection<Io, Outbound>>>>,
    /// A proxy at its other end reads absolute URLs.
    pub(crate) absolute_form: bool,
}

impl Lane {
    /// Speaks HTTP/1.1 on `io`.
    pub(crate) async fn open(io: Io, absolute_form: bool) -> hyper::Result<Self> {
        let (sender, connection) = http1::handshake(io).await?;
        Ok(Self { sender, connection: Some(Box::pin(connection)), absolute_form })
    }

    /// Lets the connection do what it can. Nobody is woken for it unless `cx` says so.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && connection.as_mut().poll(cx).is_ready()
        {
            // What went wrong is told where the answer is waited for.
            self.connection = None;
        }
    }

    /// Whether it can take a request: the last one is over, and the peer has not closed it.
    pub(crate) fn is_free(&mut self) -> bool {
        self.drive(&mut quiet());
        self.connection.is_some() && self.sender.is_ready()
    }

    /// Drives until `ready` has something, which only driving brings about. What driving brings wakes this task,
    /// which runs already: so it is driven in silence first, and heard only when there is nothing.
    fn poll_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut ready: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.drive(&mut quiet());
        if let Poll::Ready(done) = ready(&mut quiet()) {
            return Poll::Ready(done);
        }
        self.drive(cx);
        ready(&mut quiet())
    }

    /// Sends `request` and waits for the head of its answer.
    ///
    /// # Errors
    /// With the request if nothing of it was sent.
    pub(crate) async fn send(
        mut self,
        request: Request<Outbound>,
    ) -> Result<Response<Passage>, TrySendError<Request<Outbound>>> {
        let mut answering = pin!(self.sender.try_send_request(request));
        let answer = poll_fn(|cx| self.poll_with(cx, |cx| answering.as_mut().poll(cx))).await?;
        Ok(answer.map(|body| Passage { body, lane: Some(self) }))
    }
}

/// An answer's body together with the connection that brings it.
pub(crate) struct Passage {
    body: Incoming,
    lane: Option<Lane>,
}

impl Passage {
    /// The next piece.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let body = &mut self.body;
        if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(&mut quiet()) {
            return Poll::Ready(frame);
        }
        match &mut self.lane {
            Some(lane) => lane.poll_with(cx, |cx| Pin::new(&mut *body).poll_frame(cx)),
            None => Poll::Pending,
        }
    }

    /// What is known of its end.
    pub(crate) fn body(&self) -> &Incoming {
        &self.body
    }

    /// The connection, if the answer is all there and it can carry another; it is closed otherwise.
    pub(crate) fn into_lane(self, is_over: bool) -> Option<Lane> {
        let mut lane = self.lane?;
        let is_over = is_over || self.body.is_end_stream();
        drop(self.body);
        (is_over && lane.is_free()).then_some(lane)
    }
}

impl fmt::Debug for Passage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.body.fmt(out)
    }
}

/// Polls without asking to be woken.
fn quiet() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
