//! New secrets, blocking, and spend set back.

use faregate_state::invalidate::Subject;
use faregate_store::{Patch, Rotation, Usd, VirtualKey};
use serde_json::{Value, json};

use super::generate::{secret, shown_once};
use super::rules::{self, Act};
use super::update::changes;
use super::{TABLE, find};
use crate::Outcome;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::routes::{Answer, Call};

pub(super) async fn regenerate(call: Call) -> Outcome {
    if call.given("new_master_key").is_some() {
        return Err(AdminError::invalid(
            "new_master_key",
            "new_master_key: the master key is set in the configuration (general_settings.master_key or LITELLM_MASTER_KEY); \
             re-encrypt stored secrets with `faregate rotate-salt`",
        ));
    }
    let named = call.path.get("key").map(String::as_str).or_else(|| call.text("key"));
    let named = named.ok_or_else(|| AdminError::invalid("key", "key: Field required"))?;
    let key = find(&call, named).await?;
    let rights = rules::rights(&call, &key, Act::Regenerate).await?;
    let secret = secret(&call, "new_key")?;
    let now = call.admin.now();
    let grace = call.text("grace_period").filter(|text| !text.is_empty());
    let grace_until = grace.map(|text| columns::after("grace_period", text, now)).transpose()?;
    let mut patch = changes(&call, &key, rights).await?;
    if patch.keys().any(|column| !matches!(column.as_str(), "metadata" | "updated_by"))
        || patch["metadata"] != key.metadata
    {
        rules::made_by_holder(&call.caller, &key, rights)?;
    }
    patch.insert("key_name".to_owned(), json!(columns::shown(&secret)));
    patch.insert("rotation_count".to_owned(), json!(key.rotation_count.unwrap_or_default() + 1));
    patch.insert("last_rotation_at".to_owned(), json!(now));
    let to = columns::hash_of(&secret);
    if call.admin.store.get::<VirtualKey>(&[&to]).await?.is_some() {
        return Err(AdminError::invalid("new_key", "new_key: this key exists already; choose another one"));
    }
    let rotation = Rotation { from: &key.token, to: &to, grace_until, patch: Patch::from(patch) };
    let row = call.admin.store.rotate_key(rotation, now).await?;
    let row = row.ok_or_else(|| AdminError::not_found("Key not found in database"))?;
    call.admin.changed(Subject::Key, &key.token);
    call.admin.changed(Subject::Key, &row.token);
    call.admin.audit(&call, "rotated", TABLE, &row.token, json_of(&key), json_of(&row)).await;
    Ok(Answer::json(&shown_once(&row, &secret)))
}

pub(super) async fn block(call: Call) -> Outcome {
    set_blocked(call, true).await
}

pub(super) async fn unblock(call: Call) -> Outcome {
    set_blocked(call, false).await
}

async fn set_blocked(call: Call, blocked: bool) -> Outcome {
    let key = find(&call, call.text("key").unwrap_or_default()).await?;
    rules::rights(&call, &key, Act::Block).await?;
    let patch = Patch::new().set("blocked", blocked).set("updated_by", call.changed_by());
    let row = call.admin.store.update::<VirtualKey>(&[&key.token], &patch, call.admin.now()).await?;
    call.admin.changed(Subject::Key, &key.token);
    let action = if blocked { "blocked" } else { "updated" };
    call.admin.audit(&call, action, TABLE, &key.token, json_of(&key), json_of(&row)).await;
    Ok(Answer::json(&row))
}

pub(super) async fn reset_spend(call: Call) -> Outcome {
    let key = find(&call, call.path.get("key").map(String::as_str).unwrap_or_default()).await?;
    rules::rights(&call, &key, Act::ResetSpend).await?;
    let to = call.given("reset_to").and_then(Value::as_f64).and_then(Usd::from_f64).unwrap_or_default();
    if to < Usd::default() || to > key.spend {
        return Err(AdminError::invalid("reset_to", "reset_to must lie between 0 and the spend of now"));
    }
    let mut metadata = key.metadata.clone();
    if !metadata.is_object() {
        metadata = json!({});
    }
    // Counters in memory start again from the new spend when they see this.
    metadata[columns::SPEND_RESET_AT] = json!(call.admin.now());
    let patch = Patch::new().set("spend", to).set("metadata", metadata);
    let row = call.admin.store.update::<VirtualKey>(&[&key.token], &patch, call.admin.now()).await?;
    let row = row.ok_or_else(|| AdminError::not_found("Key not found in database"))?;
    call.admin.changed(Subject::Key, &key.token);
    call.admin.audit(&call, "updated", TABLE, &key.token, json_of(&key), json_of(&row)).await;
    Ok(Answer::json(&json!({
        "key_hash": row.token,
        "spend": row.spend,
        "previous_spend": key.spend,
        "max_budget": row.max_budget,
        "budget_reset_at": row.budget_reset_at,
    })))
}
