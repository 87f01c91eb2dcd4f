//! A JSON event to `WEBHOOK_URL`.

use bytes::Bytes;
use faregate_config::Env;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::Alert;
use crate::web::WebRequest;

/// The event, if the alert has one.
///
/// # Errors
/// The variable that has to be set.
pub(super) fn requests(alert: &Alert, env: &Env) -> Result<Vec<WebRequest>, &'static str> {
    let Some(event) = &alert.event else { return Ok(Vec::new()) };
    let url = env.filled("WEBHOOK_URL").ok_or("WEBHOOK_URL")?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = Bytes::from(event.to_string());
    Ok(vec![WebRequest { method: Method::POST, url: url.to_owned(), headers, body }])
}
