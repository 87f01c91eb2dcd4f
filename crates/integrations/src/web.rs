//! The one door out: a request and its whole answer.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method};

/// What is asked.
#[derive(Debug, Clone)]
pub struct WebRequest {
    /// Method.
    pub method: Method,
    /// Absolute URL.
    pub url: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body; empty for none.
    pub body: Bytes,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct WebReply {
    /// Status.
    pub status: u16,
    /// Body, bounded by who reads it.
    pub body: Bytes,
}

/// Why nothing came back. Never holds the URL: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WebError(pub String);

/// Sends a request and waits for all of the answer, for a bounded time.
pub type Web = Arc<dyn Fn(WebRequest) -> BoxFuture<'static, Result<WebReply, WebError>> + Send + Sync>;
