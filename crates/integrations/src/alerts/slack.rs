//! Slack's incoming webhooks.

use bytes::Bytes;
use faregate_config::{AlertSettings, Env};
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::json;

use super::Alert;
use crate::web::WebRequest;

/// One request per URL: those of the alert's type, else `SLACK_WEBHOOK_URL` (a comma list), else
/// `ALERTING_WEBHOOK_URL`.
///
/// # Errors
/// The variable that has to be set.
pub(super) fn requests(
    alert: &Alert,
    settings: &AlertSettings,
    env: &Env,
    clock: &str,
) -> Result<Vec<WebRequest>, &'static str> {
    let own = settings.by_type.get(alert.kind);
    let urls: Vec<String> = match own {
        Some(urls) => urls.iter().map(|url| url.expose().to_owned()).collect(),
        None => env
            .filled("SLACK_WEBHOOK_URL")
            .or_else(|| env.filled("ALERTING_WEBHOOK_URL"))
            .into_iter()
            .flat_map(|list| list.split(','))
            .map(|url| url.trim().to_owned())
            .collect(),
    };
    if urls.is_empty() {
        return Err("SLACK_WEBHOOK_URL");
    }
    let body = Bytes::from(json!({ "text": text(alert, env, clock) }).to_string());
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let request =
        |url| WebRequest { method: Method::POST, url, headers: headers.clone(), body: body.clone() };
    Ok(urls.into_iter().map(request).collect())
}

fn text(alert: &Alert, env: &Env, clock: &str) -> String {
    let mut text = format!(
        "Alert type: `{}`\nLevel: `High`\nTimestamp: `{clock}`\n\nMessage: {}",
        alert.kind, alert.message
    );
    if let Some(url) = env.filled("PROXY_BASE_URL") {
        text.push_str(&format!("\n\nProxy URL: `{url}`"));
    }
    text
}
