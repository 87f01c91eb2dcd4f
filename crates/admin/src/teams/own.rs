//! What a member may know of its own membership. Source: compat, endpoints §2.2, and LiteLLM's
//! `TeamMemberInfoResponse`.

use faregate_store::{Budget, Team, TeamMembership, User};
use serde_json::json;

use crate::Outcome;
use crate::columns::json_of;
use crate::error::AdminError;
use crate::routes::{Answer, Call};

/// `GET /team/{team_id}/members/me`: of the user whose key it is, also when that is an admin of the proxy.
pub(super) async fn me(call: Call) -> Outcome {
    let team_id = call.path.get("team_id").map(String::as_str).unwrap_or_default();
    let user = call.caller.user_id();
    if user.is_empty() {
        return Err(AdminError::invalid(
            "user_id",
            "API key has no associated user_id; cannot resolve 'me' for team membership.",
        ));
    }
    let nobody =
        || AdminError::not_found(format!("User user_id={user} is not a member of team_id={team_id}."));
    // A team that is not there and one that is none of theirs look the same.
    let team = call.admin.store.get::<Team>(&[team_id]).await?.ok_or_else(nobody)?;
    let role = team.members().iter().find(|member| member.user_id == user).map(|member| member.role.clone());
    let role = role.ok_or_else(nobody)?;
    let store = &call.admin.store;
    let row = store.get::<TeamMembership>(&[user, team_id]).await?.unwrap_or_else(|| TeamMembership {
        user_id: user.to_owned(),
        team_id: team_id.to_owned(),
        ..TeamMembership::default()
    });
    let budget = match &row.budget_id {
        Some(id) => store.get::<Budget>(&[id]).await?,
        None => None,
    };
    let email = store.get::<User>(&[user]).await?.and_then(|user| user.user_email);
    let mut told = json_of(&row);
    told["litellm_budget_table"] = json!(budget);
    told["role"] = json!(role);
    told["user_email"] = json!(email);
    told["team_alias"] = json!(team.team_alias);
    Ok(Answer::json(&told))
}
