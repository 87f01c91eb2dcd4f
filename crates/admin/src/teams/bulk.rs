//! Many members in one call: each stands for itself. Source: compat, endpoints §2.2, and LiteLLM,
//! `/team/bulk_member_add`.

use faregate_store::{ListQuery, User};
use serde_json::{Map, Value, json};

use super::{found, members};
use crate::Outcome;
use crate::error::AdminError;
use crate::routes::{Answer, Call};

/// Members in one call.
const MOST: usize = 500;

pub(super) async fn add(call: Call) -> Outcome {
    let team = found(&call, call.text("team_id").unwrap_or_default()).await?;
    call.admin.may_change_team(&call.caller, &team).await?;
    let members = wanted(&call).await?;
    if members.is_empty() {
        return Err(AdminError::invalid("members", "members: At least one member is required"));
    }
    if members.len() > MOST {
        let message =
            format!("members: Maximum {MOST} members can be added at once, found {}", members.len());
        return Err(AdminError::invalid("members", message));
    }
    let (mut results, mut added) = (Vec::with_capacity(members.len()), 0);
    for member in members {
        let mut body = Map::new();
        for name in ["team_id", "max_budget_in_team", "budget_duration", "allowed_models"] {
            if let Some(value) = call.body.get(name) {
                body.insert(name.to_owned(), value.clone());
            }
        }
        body.insert("member".to_owned(), member.clone());
        let outcome = members::member_add(call.with_body(body)).await;
        added += usize::from(outcome.is_ok());
        results.push(json!({
            "user_id": member["user_id"], "user_email": member["user_email"], "success": outcome.is_ok(),
            "error": outcome.err().map(|error| error.message),
        }));
    }
    let after = found(&call, &team.team_id).await?;
    Ok(Answer::json(&json!({
        "team_id": team.team_id,
        "total_requested": results.len(),
        "successful_additions": added,
        "failed_additions": results.len() - added,
        "results": results,
        "updated_team": after,
    })))
}

/// The members of the body; for proxy admins everybody there is, if they say so.
async fn wanted(call: &Call) -> Result<Vec<Value>, AdminError> {
    if call.given("all_users") != Some(&Value::Bool(true)) {
        return Ok(call.given("members").and_then(Value::as_array).cloned().unwrap_or_default());
    }
    if !call.caller.is_admin() {
        return Err(
            AdminError::forbidden("all_users is for proxy admins; name the members").about("all_users")
        );
    }
    let query = ListQuery::new().page(1, MOST as u64 + 1).uncounted();
    let users = call.admin.store.list::<User>(&query).await?.rows;
    let people = users.iter().filter(|user| user.user_id != faregate_store::ledger::EVERYBODY);
    Ok(people.map(|user| json!({ "user_id": user.user_id, "role": "user" })).collect())
}
