//! The end of users, and of what the request log says of them.

use faregate_state::invalidate::Subject;
use faregate_store::User;
use faregate_store::ledger::Erasure;
use serde_json::{Value, json};

use super::TABLE;
use crate::Outcome;
use crate::columns::json_of;
use crate::error::AdminError;
use crate::keys::deleter;
use crate::routes::{Answer, Call};

async fn remove(call: &Call) -> Result<Vec<User>, AdminError> {
    let mut ids = call.texts("user_ids");
    ids.extend(call.text("user_id").map(str::to_owned));
    if ids.is_empty() {
        return Err(AdminError::invalid("user_ids", "user_ids: Field required; or give one user_id"));
    }
    let mut users = Vec::new();
    for id in &ids {
        let user: User = call.admin.row(&[id], || format!("User not found, passed user_id={id}")).await?;
        call.admin.may_change_user(&call.caller, &user).await?;
        users.push(user);
    }
    for user in &users {
        let keys = call.admin.store.delete_user(&user.user_id, &deleter(call), call.admin.now()).await?;
        for key in keys.unwrap_or_default() {
            call.admin.changed(Subject::Key, &key);
        }
        call.admin.changed(Subject::User, &user.user_id);
        call.admin.audit(call, "deleted", TABLE, &user.user_id, json_of(user), Value::Null).await;
    }
    Ok(users)
}

pub(super) async fn delete(call: Call) -> Outcome {
    let gone = remove(&call).await?;
    erase_logs(&call, &gone, "keep").await?;
    Ok(Answer::json(&gone.len()))
}

pub(super) async fn erase(call: Call) -> Outcome {
    let gone = remove(&call).await?;
    // Who uses this form asks for a person to be forgotten.
    let rows = erase_logs(&call, &gone, "anonymize").await?;
    let ids: Vec<&str> = gone.iter().map(|user| user.user_id.as_str()).collect();
    Ok(Answer::json(&json!({
        "message": "User deleted", "deleted_users": ids, "erased_log_rows": rows,
    })))
}

/// Rows per statement.
const BATCH: u32 = 1_000;

/// Takes users out of the request log, as asked: nothing, their names, or their requests. Sums stay.
async fn erase_logs(call: &Call, users: &[User], usual: &str) -> Result<u64, AdminError> {
    let how = match call.text("logs").unwrap_or(usual) {
        "keep" => return Ok(0),
        "anonymize" => Erasure::Anonymize,
        "delete" => Erasure::Remove,
        other => {
            return Err(AdminError::invalid(
                "logs",
                format!("logs: `{other}` is none of keep, anonymize, delete"),
            ));
        }
    };
    let mut rows = 0;
    for user in users {
        loop {
            let done = call.admin.store.erase_user_logs(&user.user_id, how, BATCH).await?;
            rows += done;
            if done == 0 {
                break;
            }
        }
        call.admin.store.erase_user_days(&user.user_id, call.admin.now()).await?;
    }
    Ok(rows)
}
