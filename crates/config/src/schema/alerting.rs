//! `general_settings.alerting` and its neighbours: who is told of what.

use std::collections::BTreeMap;
use std::time::Duration;

use faregate_terms::Secret;

use crate::fields::Fields;

/// Where alerts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertDestination {
    /// Slack's incoming webhooks: `SLACK_WEBHOOK_URL`, else `ALERTING_WEBHOOK_URL`.
    Slack,
    /// A JSON event to `WEBHOOK_URL`.
    Webhook,
}

/// Alerts; nobody is told of anything when `to` is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlertSettings {
    /// `alerting`: those destinations that there are here.
    pub to: Vec<AlertDestination>,
    /// `alerting`: as it was written.
    pub named: Vec<String>,
    /// `alert_types`; LiteLLM's default types when absent.
    pub types: Option<Vec<String>>,
    /// `alert_to_webhook_url`: type → URLs of Slack, instead of those of the environment.
    pub by_type: BTreeMap<String, Vec<Secret>>,
    /// `alerting_args.budget_alert_ttl`: how long the same budget alert is not sent again; a day when absent.
    pub budget_ttl: Option<Duration>,
}

/// Alerts of changes of keys, teams and users: off unless `alert_types` names them. Source: compat, metrics §6.
pub const CHANGE_ALERTS: [&str; 9] = [
    "new_virtual_key_created",
    "virtual_key_updated",
    "virtual_key_deleted",
    "new_team_created",
    "team_updated",
    "team_deleted",
    "new_internal_user_created",
    "internal_user_updated",
    "internal_user_deleted",
];

impl AlertSettings {
    /// True if alerts of this type are wanted anywhere.
    pub fn wants(&self, kind: &str) -> bool {
        !self.to.is_empty()
            && match &self.types {
                Some(types) => types.iter().any(|wanted| wanted == kind),
                None => kind != "user_spend_anomalies" && !CHANGE_ALERTS.contains(&kind),
            }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let named = fields.texts("alerting").unwrap_or_default();
        let destination = |name: &String| match name.as_str() {
            "slack" => Some(AlertDestination::Slack),
            "webhook" => Some(AlertDestination::Webhook),
            _ => None,
        };
        Self {
            to: named.iter().filter_map(destination).collect(),
            named,
            types: fields.texts("alert_types"),
            by_type: by_type(fields),
            budget_ttl: fields.child("alerting_args").and_then(|mut args| args.seconds("budget_alert_ttl")),
        }
    }
}

fn by_type(fields: &mut Fields<'_>) -> BTreeMap<String, Vec<Secret>> {
    let Some(mut map) = fields.child("alert_to_webhook_url") else { return BTreeMap::new() };
    let entries = map.entries();
    entries
        .iter()
        .filter_map(|entry| {
            let urls = map.texts(&entry.key)?;
            Some((entry.key.clone(), urls.into_iter().map(Secret::from).collect()))
        })
        .collect()
}
