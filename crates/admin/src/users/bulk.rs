//! Many users in one call: each stands for itself. Source: compat, endpoints §2.3, and LiteLLM, `/user/bulk_update`.

use faregate_store::{ListQuery, User};
use serde_json::{Map, Value, json};

use super::{UPDATE, change, shown};
use crate::Outcome;
use crate::columns::json_of;
use crate::error::AdminError;
use crate::fields::{self, Field};
use crate::routes::{Answer, Call};

/// Users in one call.
const MOST: usize = 500;

pub(super) async fn update(call: Call) -> Outcome {
    let updates = wanted(&call).await?;
    if updates.is_empty() {
        return Err(AdminError::invalid(
            "users",
            "users: give the users to change, or all_users and user_updates",
        ));
    }
    if updates.len() > MOST {
        let message = format!("users: Maximum {MOST} users can be updated at once, found {}", updates.len());
        return Err(AdminError::invalid("users", message));
    }
    let known: Vec<Field> = UPDATE.iter().copied().flatten().copied().collect();
    let (mut results, mut done) = (Vec::with_capacity(updates.len()), 0);
    for given in updates {
        let named = |name: &str| given.get(name).cloned().unwrap_or_default();
        let (id, email) = (named("user_id"), named("user_email"));
        let outcome = match fields::check("body", &known, given) {
            Ok(body) => change(&call.with_body(body)).await,
            Err(error) => Err(error),
        };
        done += usize::from(outcome.is_ok());
        let (row, error) = match outcome {
            Ok(row) => (shown(json_of(&row)), None),
            Err(error) => (Value::Null, Some(error.message)),
        };
        results.push(json!({
            "user_id": id, "user_email": email, "success": error.is_none(), "error": error, "updated_user": row,
        }));
    }
    Ok(Answer::json(&json!({
        "total_requested": results.len(),
        "successful_updates": done,
        "failed_updates": results.len() - done,
        "results": results,
    })))
}

/// One body per user.
async fn wanted(call: &Call) -> Result<Vec<Map<String, Value>>, AdminError> {
    if call.given("all_users") != Some(&Value::Bool(true)) {
        return Ok(call.form("users")?.unwrap_or_default());
    }
    if !call.caller.is_admin() {
        return Err(
            AdminError::forbidden("Only proxy admins can update all users at once.").about("all_users")
        );
    }
    let mut same: Map<String, Value> = call.form("user_updates")?.unwrap_or_default();
    if same.contains_key("password") {
        let message = "user_updates: one password for all users is not taken; name the users instead";
        return Err(AdminError::invalid("user_updates", message));
    }
    same.remove("user_email");
    if same.is_empty() {
        return Ok(Vec::new());
    }
    let query = ListQuery::new().page(1, MOST as u64 + 2).uncounted();
    let users = call.admin.store.list::<User>(&query).await?.rows;
    let people = users.into_iter().filter(|user| user.user_id != faregate_store::ledger::EVERYBODY);
    Ok(people
        .map(|user| {
            let mut body = same.clone();
            body.insert("user_id".to_owned(), json!(user.user_id));
            body
        })
        .collect())
}
