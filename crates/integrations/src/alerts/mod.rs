//! Alerts: who is told of what, and how often it is tried. Source: compat, metrics §6, and LiteLLM,
//! `slack_alerting.py`.

pub mod budget;
mod slack;
mod webhook;

use std::time::Duration;

use faregate_config::{AlertDestination, AlertSettings, Env};
use serde_json::Value;

use crate::web::{Web, WebRequest};

/// Something that somebody should hear of.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// One of LiteLLM's types, e.g. `budget_alerts`.
    pub kind: &'static str,
    /// What happened, for people.
    pub message: String,
    /// What happened, for programs; only such alerts go to webhooks.
    pub event: Option<Value>,
}

/// Tries per destination, and the wait before the second; it doubles.
const TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Tells every destination that is configured for it. True if each that is configured has heard it, also when there
/// is none; what failed is in the log.
pub async fn deliver(alert: &Alert, settings: &AlertSettings, env: &Env, web: &Web, clock: &str) -> bool {
    if !settings.wants(alert.kind) {
        return true;
    }
    let mut heard = true;
    for destination in &settings.to {
        let requests = match destination {
            AlertDestination::Slack => slack::requests(alert, settings, env, clock),
            AlertDestination::Webhook => webhook::requests(alert, env),
        };
        match requests {
            Ok(requests) => {
                for request in requests {
                    heard &= send(request, alert.kind, web).await;
                }
            }
            Err(missing) => {
                tracing::error!(kind = alert.kind, "an alert cannot be sent: {missing} is not set");
                heard = false;
            }
        }
    }
    heard
}

async fn send(request: WebRequest, kind: &str, web: &Web) -> bool {
    let mut wait = FIRST_WAIT;
    for attempt in 1..=TRIES {
        let problem = match web(request.clone()).await {
            Ok(reply) if (200..300).contains(&reply.status) => return true,
            // What the other side refuses it will refuse again, but for "too many" and "not now".
            Ok(reply) if (400..500).contains(&reply.status) && !matches!(reply.status, 408 | 429) => {
                tracing::error!(kind, status = reply.status, "an alert was refused");
                return false;
            }
            Ok(reply) => format!("the server answered {}", reply.status),
            Err(error) => error.to_string(),
        };
        if attempt == TRIES {
            tracing::error!(kind, problem, "an alert was not delivered");
        } else {
            tracing::debug!(kind, problem, "an alert is tried again");
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }
    false
}

#[cfg(test)]
mod tests;
