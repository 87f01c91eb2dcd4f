//! Where answers are kept outside: buckets, and a server of vectors.
//!
//! Unlike the rest of this crate these are asked while a request waits, so each call has a deadline, and a
//! server that failed repeatedly is left alone for a while.

mod azure;
pub mod bucket;
pub mod qdrant;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use faregate_state::breaker::Breaker;
use faregate_state::cache::CacheError;
use faregate_upstream::{Auth, Outgoing, Payload, Timeouts, Upstream};
use http::header::HeaderMap;
use http::{Method, StatusCode};

/// The largest answer that is read, bytes: the largest kept value and its frame, or a page of names.
const MOST: usize = 16 * 1024 * 1024;

/// A server over HTTP.
#[derive(Debug)]
struct Door {
    upstream: Upstream,
    auth: Arc<Auth>,
    /// What a request waits at most.
    deadline: Duration,
    breaker: Breaker,
    /// What messages call it.
    name: &'static str,
}

/// What is asked of it.
struct Ask {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    /// Instead of the door's, for what no request waits for.
    deadline: Option<Duration>,
}

impl Ask {
    fn new(method: Method, url: String) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new(), deadline: None }
    }
}

impl Door {
    fn new(upstream: &Upstream, auth: Arc<Auth>, deadline: Duration, name: &'static str) -> Self {
        Self { upstream: upstream.clone(), auth, deadline, breaker: Breaker::default(), name }
    }

    /// Status and body, within the deadline and under the breaker.
    async fn call(&self, ask: Ask) -> Result<(StatusCode, Bytes), CacheError> {
        let trial =
            self.breaker.admit().ok_or_else(|| self.failed("it failed repeatedly; a try a second"))?;
        let outgoing = Outgoing {
            method: ask.method,
            url: ask.url.parse().map_err(|_| self.failed("its address is no URL"))?,
            headers: ask.headers,
            body: Payload::from(ask.body),
            auth: &self.auth,
            timeouts: Timeouts { total: Some(ask.deadline.unwrap_or(self.deadline)), ..Timeouts::default() },
        };
        let failed = |error: faregate_upstream::SendError| self.failed(&error.to_string());
        let answer = self.upstream.send(outgoing).await.map_err(failed)?;
        let status = answer.status;
        let body = answer.body.collect(MOST).await.map_err(failed)?;
        // Asked too much is no better than away.
        if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS {
            trial.answered();
        }
        Ok((status, body))
    }

    fn failed(&self, why: &str) -> CacheError {
        CacheError(format!("{}: {why}", self.name))
    }
}
