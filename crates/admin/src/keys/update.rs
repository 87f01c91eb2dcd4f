//! Changes of keys.

use faregate_state::invalidate::Subject;
use faregate_store::ledger::Windowed;
use faregate_store::{Budget, EndUser, Filter, ListQuery, Patch, TeamMembership, Usd, VirtualKey};
use serde_json::{Map, Value, json};

use super::member;
use super::rules::{self, Act, Rights};
use super::{COLUMNS, IN_METADATA, KEY_BUT_SECRET, SHARED, TABLE, UPDATE, find, unique_alias};
use crate::Outcome;
use crate::columns::{self, json_of};
use crate::error::AdminError;
use crate::fields::Field;
use crate::routes::{Answer, Call};

pub(super) async fn update(call: Call) -> Outcome {
    let row = change(&call).await?;
    let mut answer = json_of(&row);
    answer["key"] = json!(row.token);
    Ok(Answer::json(&answer))
}

async fn change(call: &Call) -> Result<VirtualKey, AdminError> {
    columns::not_negative(call, &["max_budget", "soft_budget", "spend"])?;
    let key = find(call, call.text("key").unwrap_or_default()).await?;
    let rights = rules::rights(call, &key, Act::Update).await?;
    rules::made_by_holder(&call.caller, &key, rights)?;
    let mut patch = changes(call, &key, rights).await?;
    soft_budget(call, &key, &mut patch).await?;
    let now = call.admin.now();
    let row = call.admin.store.update::<VirtualKey>(&[&key.token], &columns::patch(patch), now).await?;
    let row = row.ok_or_else(|| AdminError::not_found("Key not found in database"))?;
    if call.body.contains_key("budget_limits") {
        let durations = columns::durations(&row.budget_limits);
        call.admin.store.keep_windows(Windowed::Key, &row.token, &durations).await?;
    }
    call.admin.changed(Subject::Key, &row.token);
    call.admin.audit(call, "updated", TABLE, &row.token, json_of(&key), json_of(&row)).await;
    Ok(row)
}

/// A soft budget is kept in a budget object: the key's own, made where it has none or one that others share.
async fn soft_budget(
    call: &Call,
    key: &VirtualKey,
    patch: &mut Map<String, Value>,
) -> Result<(), AdminError> {
    let Some(given) = call.body.get("soft_budget") else { return Ok(()) };
    let store = &call.admin.store;
    let pointed =
        patch.get("budget_id").map_or_else(|| key.budget_id.clone(), |id| id.as_str().map(str::to_owned));
    let known = match &pointed {
        Some(id) => store.get::<Budget>(&[id]).await?,
        None => None,
    };
    let change = Patch::new().set("soft_budget", given).set("updated_by", call.changed_by());
    let mut row = match known {
        Some(row) if !is_shared(call, &row, &key.token).await? => {
            store.update::<Budget>(&[&row.budget_id], &change, call.admin.now()).await?;
            return Ok(());
        }
        Some(row) => row,
        None if given.is_null() => return Ok(()),
        None => Budget { created_by: call.changed_by(), ..Budget::default() },
    };
    row.budget_id = uuid::Uuid::new_v4().to_string();
    row.soft_budget = given.as_f64().and_then(Usd::from_f64);
    row.updated_by = call.changed_by();
    (row.created_at, row.updated_at) = (None, None);
    store.insert(&row, call.admin.now()).await?;
    patch.insert("budget_id".to_owned(), json!(row.budget_id));
    Ok(())
}

/// True if anybody but this key points to the budget, or it was made as an object of its own.
async fn is_shared(call: &Call, budget: &Budget, key: &str) -> Result<bool, AdminError> {
    let store = &call.admin.store;
    let pointing = || ListQuery::new().filter(Filter::Is("budget_id", json!(budget.budget_id))).page(1, 2);
    let keys = store.list::<VirtualKey>(&pointing().uncounted()).await?.rows;
    // The budget that `/key/generate` makes for a soft budget holds nothing else.
    let plain = budget.max_budget.is_none() && budget.rpm_limit.is_none() && budget.tpm_limit.is_none();
    Ok(!plain
        || keys.iter().any(|other| other.token != key)
        || !store.list::<TeamMembership>(&pointing().uncounted()).await?.rows.is_empty()
        || !store.list::<EndUser>(&pointing().uncounted()).await?.rows.is_empty())
}

/// The columns that a body changes, after asking whether the caller may.
pub(super) async fn changes(
    call: &Call,
    key: &VirtualKey,
    rights: Rights,
) -> Result<Map<String, Value>, AdminError> {
    call.admin.current_key_policy().await?.check_bounds(&call.body)?;
    let mut patch = Map::new();
    columns::take(&mut patch, &call.body, COLUMNS);
    columns::no_empty_ids(&mut patch);
    // What a key is for is said when it is made. Source: compat, endpoints §3.1, "Absent from update".
    patch.remove("key_type");
    if patch.get("spend").is_some_and(Value::is_null) {
        patch.remove("spend");
    }
    for list in ["models", "policies", "allowed_routes", "allowed_cache_controls", "access_group_ids"] {
        if patch.get(list).is_some_and(Value::is_null) {
            patch.insert(list.to_owned(), json!([]));
        }
    }
    let same_period = patch.get("budget_duration").and_then(Value::as_str) == key.budget_duration.as_deref();
    if same_period && key.budget_duration.is_some() && rights < Rights::ProxyAdmin {
        // Sent again it would begin a new period, and with it put off the end of the running one.
        patch.remove("budget_duration");
    } else {
        columns::period(call, &mut patch)?;
    }
    columns::windows(call, &key.budget_limits, &mut patch)?;
    patch.insert("metadata".to_owned(), metadata(call, key));
    match call.body.get("duration") {
        None => {}
        Some(Value::String(duration)) if duration != "-1" && !duration.is_empty() => {
            patch
                .insert("expires".to_owned(), json!(columns::after("duration", duration, call.admin.now())?));
        }
        Some(_) => drop(patch.insert("expires".to_owned(), Value::Null)),
    }
    patch.insert("updated_by".to_owned(), json!(call.changed_by()));
    let mut merged = match json_of(key) {
        Value::Object(all) => all,
        _ => Map::new(),
    };
    merged.extend(patch.clone());
    let after: VirtualKey = columns::row(merged)?;
    let self_serve = member::self_serve(call, key).await?;
    rules::check_fields(call, Some(key), &after, rights, self_serve)?;
    member::check_member_budget(call, key, &after).await?;
    rules::check_place(call, Some(key), &after).await?;
    unique_alias(call, &after).await?;
    Ok(patch)
}

/// The free members and settings of the key after the change. What the gateway keeps there stays.
fn metadata(call: &Call, key: &VirtualKey) -> Value {
    let mut metadata = match call.body.get("metadata") {
        Some(Value::Object(given)) => Value::Object(given.clone()),
        Some(_) => json!({}),
        None => key.metadata.clone(),
    };
    columns::take_into(&mut metadata, &call.body, IN_METADATA);
    columns::keep_internal(&mut metadata, &key.metadata);
    let service = &key.metadata["service_account_id"];
    if !service.is_null() && metadata["service_account_id"].is_null() {
        metadata["service_account_id"] = service.clone();
    }
    if call.given("spend").is_some() {
        // Counters in memory start again from the new spend when they see this.
        metadata[columns::SPEND_RESET_AT] = json!(call.admin.now());
    }
    metadata
}

/// Keys in one call. Source: LiteLLM, `/key/bulk_update`.
const MOST_AT_ONCE: usize = 500;

pub(super) async fn bulk_update(call: Call) -> Outcome {
    let updates: Vec<Map<String, Value>> = call.form("keys")?.unwrap_or_default();
    if updates.is_empty() {
        return Err(AdminError::invalid("keys", "No keys provided for update"));
    }
    if updates.len() > MOST_AT_ONCE {
        return Err(AdminError::invalid(
            "keys",
            format!("Maximum {MOST_AT_ONCE} keys can be updated at once. Found {} keys.", updates.len()),
        ));
    }
    let known: Vec<Field> =
        [UPDATE, KEY_BUT_SECRET, SHARED, columns::BUDGET].into_iter().flatten().copied().collect();
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for given in updates {
        let name = given.get("key").cloned().unwrap_or_default();
        let outcome = match crate::fields::check("body", &known, given) {
            Ok(body) => change(&call.with_body(body)).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(row) => done.push(json!({ "key": name, "key_info": without_hash(&row) })),
            Err(error) => {
                let row = find(&call, name.as_str().unwrap_or_default()).await.ok();
                failed.push(json!({
                    "key": name,
                    "key_info": row.as_ref().map(without_hash),
                    "failed_reason": error.message,
                }));
            }
        }
    }
    Ok(Answer::json(&json!({
        "total_requested": done.len() + failed.len(),
        "successful_updates": done,
        "failed_updates": failed,
    })))
}

fn without_hash(row: &VirtualKey) -> Value {
    let mut info = json_of(row);
    if let Value::Object(map) = &mut info {
        map.remove("token");
    }
    info
}
