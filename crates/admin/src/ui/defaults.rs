//! What new users and new teams get that nobody asked for: two settings of `litellm_settings`, stored here or in the
//! file. They are applied where users and teams are made.

use faregate_store::{Organization, Team};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field};
use crate::form::form;
use crate::routes::{Answer, Call};

const SECTION: &str = "litellm_settings";
/// Roles that a new user may get by default.
const ROLES: [&str; 4] = ["proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer"];

/// `default_internal_user_params`.
pub(super) const USER: &[Field] = &[
    field("user_role", Holds::Text, "role of new users: internal_user_viewer when absent"),
    field("max_budget", Holds::Number, "US dollars of new users per budget period"),
    field("budget_duration", Holds::Text, "length of that period: 1d, 7d, 30d, 1mo"),
    field("models", Holds::Texts, "models that new users may call; empty allows all"),
    field("teams", Holds::List, "teams of new users: ids, or {team_id, max_budget_in_team, user_role}"),
];

/// `default_team_params`.
pub(super) const TEAM: &[Field] = &[
    field("models", Holds::Texts, "models of teams that single sign-on makes"),
    field("max_budget", Holds::Number, "US dollars of a new team per budget period"),
    field("budget_duration", Holds::Text, "length of that period"),
    field("tpm_limit", Holds::Int, "tokens per minute of a new team"),
    field("rpm_limit", Holds::Int, "requests per minute of a new team"),
    field("team_member_permissions", Holds::Texts, "what plain members of a new team may do with keys"),
    field("organization_id", Holds::Text, "organization of a new team that names none"),
];

pub(super) async fn of_users(call: Call) -> Outcome {
    let mut values = call.admin.snapshot.load().litellm.people.user.0.clone();
    values.entry("user_role").or_insert_with(|| json!("internal_user_viewer"));
    Ok(Answer::json(&form("What new users get, by /user/new and by single sign-on", USER, &values)))
}

pub(super) async fn of_teams(call: Call) -> Outcome {
    let values = call.admin.snapshot.load().litellm.people.team.0.clone();
    Ok(Answer::json(&form("What new teams get that is not asked for", TEAM, &values)))
}

pub(super) async fn update_users(call: Call) -> Outcome {
    limits(&call)?;
    if let Some(role) = call.text("user_role")
        && !ROLES.contains(&role)
    {
        return Err(AdminError::fields(vec![(
            vec!["body", "user_role"],
            "literal_error",
            format!("user_role: Input should be one of {}", ROLES.join(", ")),
        )]));
    }
    for team in call.given("teams").and_then(Value::as_array).into_iter().flatten() {
        let id = team.as_str().or_else(|| team["team_id"].as_str()).unwrap_or_default();
        if call.admin.store.get::<Team>(&[id]).await?.is_none() {
            return Err(AdminError::invalid("teams", format!("teams: Team(s) not found in database: {id}")));
        }
    }
    save(&call, "default_internal_user_params", "Internal user settings updated successfully").await
}

pub(super) async fn update_teams(call: Call) -> Outcome {
    limits(&call)?;
    crate::teams::known_permissions(&call)?;
    if let Some(id) = call.text("organization_id").filter(|id| !id.is_empty())
        && call.admin.store.get::<Organization>(&[id]).await?.is_none()
    {
        let message = format!("organization_id: Organization '{id}' does not exist");
        return Err(AdminError::invalid("organization_id", message));
    }
    save(&call, "default_team_params", "Default team settings updated successfully").await
}

fn limits(call: &Call) -> Result<(), AdminError> {
    columns::not_negative(call, &["max_budget", "tpm_limit", "rpm_limit"])?;
    if let Some(duration) = call.text("budget_duration").filter(|text| !text.is_empty()) {
        call.admin.period_end("budget_duration", duration)?;
    }
    Ok(())
}

async fn save(call: &Call, setting: &str, message: &str) -> Outcome {
    let settings: Map<String, Value> =
        call.body.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
    crate::settings::store(call, SECTION, setting, Value::Object(settings.clone())).await?;
    Ok(Answer::json(&json!({ "message": message, "status": "success", "settings": settings })))
}
