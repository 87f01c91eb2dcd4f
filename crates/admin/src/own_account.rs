//! What somebody does with their own session, password and key. Source: compat, endpoints §2.1, §2.3 and §2.17.

use faregate_state::invalidate::Subject;
use faregate_store::{Patch, User, VirtualKey};
use serde_json::{Value, json};

use crate::Outcome;
use crate::error::AdminError;
use crate::fields::{Field, Holds, required};
use crate::keys::deleter;
use crate::login::{SESSIONS_TEAM, end_sessions};
use crate::passwords;
use crate::routes::{Answer, Call, Route, route};

const PASSWORDS: &[Field] = &[
    required("current_password", Holds::Text, "the password that counts"),
    required("new_password", Holds::Text, "the password from now on"),
];

pub(crate) const ROUTES: &[Route] = &[
    route!("POST", &["/session/logout"], Key, &[], &[], "End the caller's own session", log_out),
    route!(
        "POST",
        &["/user/password/change"],
        Key,
        &[PASSWORDS],
        &[],
        "Change one's own password; other sessions end",
        change_password
    ),
    route!(
        "POST",
        &["/key/health"],
        Key,
        &[],
        &[],
        "Whether the caller's key and its callbacks work",
        key_health
    ),
];

/// The key of the session that the caller is in.
fn session(call: &Call) -> Option<&VirtualKey> {
    let key = &call.caller.record.as_ref()?.key;
    (key.team_id.as_deref() == Some(SESSIONS_TEAM)).then_some(key)
}

async fn log_out(call: Call) -> Outcome {
    let Some(key) = session(&call) else {
        return Err(AdminError::forbidden(
            "Only a session can be logged out of; a key is deleted with `/key/delete`",
        ));
    };
    call.admin.store.delete_keys(&[&key.token], &deleter(&call), call.admin.now()).await?;
    call.admin.changed(Subject::Key, &key.token);
    Ok(Answer::json(&json!({ "message": "Session revoked", "status": "success" })))
}

async fn change_password(call: Call) -> Outcome {
    let by_password = session(&call).filter(|key| key.metadata["login_method"] == "username_password");
    let Some(key) = by_password else {
        return Err(AdminError::forbidden(
            "Passwords can only be changed from a session created by signing in with a password.",
        ));
    };
    let id = key.user_id.clone().unwrap_or_default();
    let user = call.admin.store.get::<User>(&[&id]).await?;
    let stored = user.as_ref().and_then(|user| user.password.as_deref());
    if stored.is_none() {
        return Err(AdminError::invalid(
            "current_password",
            "This account has no password set, so there is no password to change; passwords are set by invitation",
        ));
    }
    let (current, new) =
        (call.text("current_password").unwrap_or_default(), call.text("new_password").unwrap_or_default());
    if call.admin.wrong_passwords.get(&id).unwrap_or_default() >= crate::login::MOST_WRONG {
        return Err(AdminError::new(
            429,
            "auth_error",
            "Too many wrong passwords; try again in five minutes",
        ));
    }
    if !passwords::verify(current, stored).await {
        let wrong = call.admin.wrong_passwords.get(&id).unwrap_or_default();
        call.admin.wrong_passwords.insert(id, wrong + 1);
        return Err(AdminError::invalid("current_password", "Current password is incorrect."));
    }
    if current == new {
        return Err(AdminError::invalid(
            "new_password",
            "new_password: choose one that differs from the current",
        ));
    }
    let hashed = passwords::hash(new).await?;
    let patch = Patch::new().set("password", hashed).set("password_reset_required", false);
    let token = key.token.clone();
    call.admin.store.update::<User>(&[&id], &patch, call.admin.now()).await?;
    end_sessions(&call.admin, &id, Some(&token)).await?;
    let fields = json!({ "fields_changed": ["password"] });
    call.admin.audit(&call, "updated", "LiteLLM_UserTable", &id, Value::Null, fields).await;
    Ok(Answer::json(&json!({ "message": "Password changed successfully", "status": "success" })))
}

/// The key got here, so it works. Callbacks of single keys are not there yet: a key that asks for some is told so.
async fn key_health(call: Call) -> Outcome {
    let record = call.caller.record.as_ref();
    let asked = record.and_then(|record| record.key.metadata["logging"].as_array());
    let names: Vec<&str> =
        asked.into_iter().flatten().filter_map(|one| one["callback_name"].as_str()).collect();
    if names.is_empty() {
        return Ok(Answer::json(&json!({ "key": "healthy", "logging_callbacks": null })));
    }
    let details = format!(
        "Callbacks of single keys are not supported yet: {}; take `logging` out of the key's metadata",
        names.join(", ")
    );
    Ok(Answer::json(&json!({
        "key": "unhealthy",
        "logging_callbacks": { "callbacks": names, "status": "unhealthy", "details": details },
    })))
}
