//! What Google's and Microsoft's token services have in common: a form goes in, a bearer token comes out.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use serde::{Deserialize, Deserializer};

use super::AuthError;
use super::header::bearer_value;
use super::query::pair;
use super::token::Lease;
use crate::client::Transport;

/// A token service that takes longer is as good as down.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// What a service that does not say grants (RFC 6749 section 5.1 leaves it open; both grant an hour).
const USUAL_LIFETIME: u64 = 3600;
/// Enough for every known error text, too little to flood a log.
const MAX_ERROR_TEXT: usize = 400;

/// A URL out of configuration or a key file.
pub(super) fn url(text: &str, what: &str) -> Result<Uri, AuthError> {
    let url: Uri = text.parse().map_err(|_| AuthError::malformed(format!("{what} is not a URL")))?;
    match url.scheme_str() {
        Some("http" | "https") if url.host().is_some() => Ok(url),
        _ => Err(AuthError::malformed(format!("{what} must begin with https:// and name a host"))),
    }
}

/// Asks `service` (a name for messages) at `url` for an access token, by a form of `fields`.
///
/// Source: RFC 6749 sections 4.3, 4.4, 5 and 6; RFC 7523; RFC 8693.
pub(super) async fn token(
    transport: &Transport,
    service: &str,
    url: Uri,
    fields: &[(&str, &str)],
) -> Result<Lease<String>, AuthError> {
    let mut form = String::new();
    for (name, value) in fields {
        pair(&mut form, name, value);
    }
    let mut request = Request::new(Bytes::from(form));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    get_token(transport, service, request).await
}

/// Sends `request`, whose answer is an access token.
pub(super) async fn get_token(
    transport: &Transport,
    service: &str,
    request: Request<Bytes>,
) -> Result<Lease<String>, AuthError> {
    let body = ask(transport, service, request, PATIENCE).await?;
    let granted: Granted = serde_json::from_slice(&body).map_err(|_| AuthError::nonsense(service))?;
    let seconds = granted.expires_in.unwrap_or(USUAL_LIFETIME);
    Ok(Lease { value: granted.access_token, lifetime: Some(Duration::from_secs(seconds)) })
}

/// The same lease with the token as the value of `authorization`.
pub(super) fn as_bearer(lease: &Lease<String>) -> Result<Lease<HeaderValue>, AuthError> {
    Ok(Lease { value: bearer_value(&lease.value)?, lifetime: lease.lifetime })
}

/// Sends `request` and returns the body of a 2xx answer.
pub(super) async fn ask(
    transport: &Transport,
    service: &str,
    mut request: Request<Bytes>,
    limit: Duration,
) -> Result<Bytes, AuthError> {
    request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
    let (status, body) =
        transport.exchange(request, limit).await.map_err(|error| AuthError::unsent(service, &error))?;
    if status.is_success() { Ok(body) } else { Err(refusal(service, status, &body)) }
}

/// What the service says is wrong: its own words are the remedy.
fn refusal(service: &str, status: StatusCode, body: &[u8]) -> AuthError {
    let said: String = serde_json::from_slice::<Refused>(body).ok().map(Refused::text).unwrap_or_default();
    let said: String = said.lines().next().unwrap_or_default().chars().take(MAX_ERROR_TEXT).collect();
    let message = match said.is_empty() {
        true => format!("{service} answered {status}"),
        false => format!("{service} answered {status}: {said}"),
    };
    match status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
        true => AuthError::refused(format!("{message}; check the configured credential")),
        false => AuthError::unavailable(message),
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default, deserialize_with = "number_or_text")]
    expires_in: Option<u64>,
}

/// RFC 6749 section 5.2, or Google's API error object.
#[derive(Deserialize)]
struct Refused {
    error: serde_json::Value,
    error_description: Option<String>,
}

impl Refused {
    fn text(self) -> String {
        let word = match &self.error {
            serde_json::Value::String(word) => word.clone(),
            object => object["message"].as_str().unwrap_or_default().to_owned(),
        };
        match self.error_description {
            Some(description) => format!("{word}: {description}"),
            None => word,
        }
    }
}

/// Seconds, which some services write as text.
fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match Option::<serde_json::Value>::deserialize(deserializer)? {
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
        None => None,
    })
}
