//! Requests to others than providers: alerts, identity providers. Over the same connections, with the same rules about
//! certificates and proxies.

use std::sync::Arc;
use std::time::Duration;

use faregate_integrations::web::{Web, WebError, WebReply, WebRequest};
use faregate_upstream::{Auth, Outgoing, Payload, Timeouts, Upstream};

/// A request takes this long at most, answer included.
const DEADLINE: Duration = Duration::from_secs(10);
/// The largest answer that is read, bytes.
const MOST: usize = 1024 * 1024;

/// The door out.
pub fn web(upstream: &Upstream) -> Web {
    let upstream = upstream.clone();
    Arc::new(move |request| {
        let upstream = upstream.clone();
        Box::pin(async move {
            let late = || WebError(format!("no answer within {} seconds", DEADLINE.as_secs()));
            tokio::time::timeout(DEADLINE, call(&upstream, request)).await.unwrap_or_else(|_| Err(late()))
        })
    })
}

async fn call(upstream: &Upstream, request: WebRequest) -> Result<WebReply, WebError> {
    let WebRequest { method, url, headers, body } = request;
    let outgoing = Outgoing {
        method,
        // The text may hold a secret.
        url: url.parse().map_err(|_| WebError("the URL is none".to_owned()))?,
        headers,
        body: Payload::from(body),
        auth: &Auth::NONE,
        timeouts: Timeouts { total: Some(DEADLINE), ..Timeouts::default() },
    };
    let failed = |error: faregate_upstream::SendError| WebError(error.to_string());
    let answer = upstream.send(outgoing).await.map_err(failed)?;
    let status = answer.status.as_u16();
    Ok(WebReply { status, body: answer.body.collect(MOST).await.map_err(failed)? })
}
