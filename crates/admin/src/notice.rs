//! Changes that somebody asked to hear of: keys, teams and users that are made, changed and deleted. Source: compat,
//! metrics §6, and LiteLLM, `send_virtual_key_event_slack`.

use std::sync::Arc;

use faregate_integrations::alerts::Alert;
use serde_json::{Map, Value, json};

use crate::columns::masked;
use crate::routes::Call;

/// Hands an alert to whoever sends it. Never waits.
pub type Tell = Arc<dyn Fn(Alert) + Send + Sync>;

/// A change that there is an alert for.
struct Kind {
    table: &'static str,
    action: &'static str,
    /// LiteLLM's type of alert.
    alert: &'static str,
    title: &'static str,
    /// Group and name of the event for webhooks.
    event: Option<(&'static str, &'static str)>,
}

const fn kind(table: &'static str, action: &'static str, alert: &'static str, title: &'static str) -> Kind {
    Kind { table, action, alert, title, event: None }
}

impl Kind {
    const fn with(self, group: &'static str, event: &'static str) -> Self {
        Self { event: Some((group, event)), ..self }
    }
}

const KEYS: &str = "LiteLLM_VerificationToken";
const TEAMS: &str = "LiteLLM_TeamTable";
const USERS: &str = "LiteLLM_UserTable";

const KINDS: &[Kind] = &[
    kind(KEYS, "created", "new_virtual_key_created", "New Virtual Key Created").with("key", "key_created"),
    kind(KEYS, "rotated", "virtual_key_updated", "Virtual Key Rotated").with("key", "key_rotated"),
    kind(KEYS, "updated", "virtual_key_updated", "Virtual Key Updated"),
    kind(KEYS, "deleted", "virtual_key_deleted", "Virtual Key Deleted"),
    kind(TEAMS, "created", "new_team_created", "New Team Created"),
    kind(TEAMS, "updated", "team_updated", "Team Updated"),
    kind(TEAMS, "deleted", "team_deleted", "Team Deleted"),
    kind(USERS, "created", "new_internal_user_created", "New Internal User Created")
        .with("user", "internal_user_created"),
    kind(USERS, "updated", "internal_user_updated", "Internal User Updated"),
    kind(USERS, "deleted", "internal_user_deleted", "Internal User Deleted"),
];

/// Tells of a change, if its type is wanted. Secrets are masked.
pub(crate) fn of_change(call: &Call, action: &str, table: &str, row: &Value) {
    let Some(tell) = &call.admin.tell else { return };
    let known = KINDS.iter().find(|kind| kind.table == table && kind.action == action);
    let Some(Kind { alert: kind, title, event, .. }) = known else { return };
    if !call.admin.snapshot.load().general.alerts.wants(kind) {
        return;
    }
    let mut message = format!("`{title}`\n*Action Done by:*\n");
    message.push_str(&format!("created_by_user_id: `{}`\n", call.changed_by()));
    message.push_str(&format!("created_by_key: `{}`\n\n*Arguments passed:*\n", call.caller.key_hash()));
    for (name, value) in masked(Value::Object(call.body.clone())).as_object().into_iter().flatten() {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        message.push_str(&format!("{name}: `{shown}`\n"));
    }
    let event = event.map(|(group, event)| webhook(group, event, title, row));
    tell(Alert { kind, message, event });
}

/// LiteLLM's event; what does not concern it is null.
fn webhook(group: &str, event: &str, title: &str, row: &Value) -> Value {
    const MEMBERS: [&str; 11] = [
        "spend",
        "max_budget",
        "soft_budget",
        "token",
        "customer_id",
        "user_id",
        "team_id",
        "team_alias",
        "organization_id",
        "user_email",
        "key_alias",
    ];
    let mut shown: Map<String, Value> = MEMBERS
        .iter()
        .map(|name| ((*name).to_owned(), row.get(*name).cloned().unwrap_or_default()))
        .collect();
    for name in ["projected_exceeded_date", "projected_spend", "alert_emails", "max_budget_alert_emails"] {
        shown.insert(name.to_owned(), Value::Null);
    }
    shown.insert("event".to_owned(), json!(event));
    shown.insert("event_group".to_owned(), json!(group));
    shown.insert("event_message".to_owned(), json!(title));
    Value::Object(shown)
}
