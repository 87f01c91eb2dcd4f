//! Fields of a request → columns of a row.

use faregate_store::{Budget, Patch, Record};
use faregate_terms::{KeyHash, UtcMillis};
use jiff::{Span, Timestamp, ToSpan};
use rand::RngCore;
use serde::Serialize;
use serde_json::{Map, Value, json};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::AdminError;
use crate::fields::{Field, Holds, field};
use crate::routes::Call;

/// Fields of a budget, wherever one is given.
pub const BUDGET: &[Field] = &[
    field("max_budget", Holds::Number, "US dollars per budget period"),
    field("soft_budget", Holds::Number, "US dollars at which an alert goes out"),
    field("budget_duration", Holds::Text, "length of a budget period: 30s, 30m, 30h, 30d, 1w, 1mo"),
    field("tpm_limit", Holds::Int, "tokens per minute"),
    field("rpm_limit", Holds::Int, "requests per minute"),
    field("tpd_limit", Holds::Int, "tokens per day"),
    field("max_parallel_requests", Holds::Int, "requests at the same time"),
    field("model_max_budget", Holds::Object, "model → {budget_limit, time_period}"),
];

/// Moves `fields` of `body` into `columns`. A `null` empties the column.
pub fn take(columns: &mut Map<String, Value>, body: &Map<String, Value>, fields: &[&str]) {
    for name in fields {
        if let Some(value) = body.get(*name) {
            columns.insert((*name).to_owned(), value.clone());
        }
    }
}

/// Moves `fields` of `body` into the object `metadata`. A `null` removes the member.
pub fn take_into(metadata: &mut Value, body: &Map<String, Value>, fields: &[&str]) {
    if !metadata.is_object() {
        *metadata = json!({});
    }
    let Value::Object(map) = metadata else { return };
    for name in fields {
        match body.get(*name) {
            None => {}
            Some(Value::Null) => drop(map.remove(*name)),
            Some(value) => drop(map.insert((*name).to_owned(), value.clone())),
        }
    }
}

/// Where the time of a reset by hand is kept, so that counters in memory follow.
pub const SPEND_RESET_AT: &str = "faregate_spend_reset_at";

/// Members of `metadata` that the gateway keeps for itself.
fn internal(name: &str) -> bool {
    name.starts_with("faregate_") || name == "team_member_budget_id"
}

/// Puts the gateway's own members of `metadata` back to what is stored, whatever a caller sent: a page that
/// sends back what it was shown must neither set nor lose them.
pub fn keep_internal(metadata: &mut Value, stored: &Value) {
    if !metadata.is_object() {
        *metadata = json!({});
    }
    let Value::Object(map) = metadata else { return };
    map.retain(|name, _| !internal(name));
    let kept = stored.as_object().into_iter().flatten().filter(|(name, _)| internal(name));
    map.extend(kept.map(|(name, value)| (name.clone(), value.clone())));
}

/// An id or name without a character names nobody: it counts as none.
pub fn no_empty_ids(columns: &mut Map<String, Value>) {
    for id in ["user_id", "team_id", "organization_id", "project_id", "agent_id", "budget_id", "key_alias"] {
        if let Some(value) = columns.get_mut(id)
            && value.as_str().is_some_and(str::is_empty)
        {
            *value = Value::Null;
        }
    }
}

/// A row made of columns; what is not named is as in a new row.
///
/// # Errors
/// 422 if a value does not fit its column.
pub fn row<T: Record + Default>(columns: Map<String, Value>) -> Result<T, AdminError> {
    let mut all = match serde_json::to_value(T::default()) {
        Ok(Value::Object(all)) => all,
        _ => Map::new(),
    };
    // Columns that must hold something keep what a new row has.
    all.extend(columns.into_iter().filter(|(_, value)| !value.is_null()));
    serde_json::from_value(Value::Object(all))
        .map_err(|error| AdminError::fields(vec![(vec!["body"], "value_error", error.to_string())]))
}

/// A patch of these columns.
pub fn patch(columns: Map<String, Value>) -> Patch {
    Patch::from(columns)
}

/// The row as JSON.
pub fn json_of(record: &impl Serialize) -> Value {
    serde_json::to_value(record).unwrap_or(Value::Null)
}

/// Sets the end of the first period when the length of one is set.
///
/// # Errors
/// 400 if the text is no duration.
pub fn period(call: &Call, columns: &mut Map<String, Value>) -> Result<(), AdminError> {
    match call.body.get("budget_duration") {
        None => {}
        Some(Value::String(duration)) if !duration.is_empty() => {
            let ends = call.admin.period_end("budget_duration", duration)?;
            columns.insert("budget_reset_at".to_owned(), json!(ends));
        }
        Some(_) => {
            columns.insert("budget_duration".to_owned(), Value::Null);
            columns.insert("budget_reset_at".to_owned(), Value::Null);
        }
    }
    Ok(())
}

/// Puts the running period into each window of `budget_limits`: its end, and where it counts from. A window that is
/// there already goes on.
///
/// # Errors
/// 400 for an entry that is none.
pub fn windows(call: &Call, stored: &Value, columns: &mut Map<String, Value>) -> Result<(), AdminError> {
    let Some(Value::Array(given)) = call.given("budget_limits") else { return Ok(()) };
    let mut windows: Vec<Value> = Vec::with_capacity(given.len());
    for entry in given {
        let (duration, max) = (entry["budget_duration"].as_str(), entry["max_budget"].as_f64());
        let (Some(duration), Some(max)) = (duration, max.filter(|max| *max >= 0.0)) else {
            return Err(AdminError::invalid(
                "budget_limits",
                "budget_limits: each entry needs budget_duration and a max_budget from 0",
            ));
        };
        if windows.iter().any(|window| window["budget_duration"] == duration) {
            let message =
                format!("budget_limits: there are two entries with budget_duration {duration}; keep one");
            return Err(AdminError::invalid("budget_limits", message));
        }
        let known = stored.as_array().into_iter().flatten().find(|it| it["budget_duration"] == duration);
        let mut window = json!({ "budget_duration": duration, "max_budget": max });
        match known {
            Some(known) => {
                for member in ["reset_at", "started_at"] {
                    if let Some(time) = known.get(member) {
                        window[member] = time.clone();
                    }
                }
            }
            None => {
                window["reset_at"] = json!(call.admin.period_end("budget_limits", duration)?);
                window["started_at"] = json!(call.admin.now());
            }
        }
        windows.push(window);
    }
    columns.insert("budget_limits".to_owned(), Value::Array(windows));
    Ok(())
}

/// The durations of `budget_limits`.
pub fn durations(limits: &Value) -> Vec<&str> {
    limits.as_array().into_iter().flatten().filter_map(|window| window["budget_duration"].as_str()).collect()
}

/// Refuses amounts below zero.
///
/// # Errors
/// 400 naming the field.
pub fn not_negative(call: &Call, fields: &[&'static str]) -> Result<(), AdminError> {
    for name in fields {
        if call.given(name).and_then(Value::as_f64).is_some_and(|amount| amount < 0.0) {
            return Err(AdminError::invalid(name, format!("{name} cannot be negative")));
        }
    }
    Ok(())
}

/// The moment that is `duration` from now: `30s`, `30m`, `30h`, `30d`, `1w`, `1mo`.
///
/// # Errors
/// 400 naming `name`, if the text is no duration.
pub fn after(name: &str, duration: &str, now: UtcMillis) -> Result<UtcMillis, AdminError> {
    let bad = || {
        AdminError::invalid(
            name,
            format!(
                "{name}: `{duration}` is not a duration; write a positive number and s, m, h, d, w or mo"
            ),
        )
    };
    let digits = duration.len() - duration.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let count: i64 =
        duration[..digits].parse().ok().filter(|count| (1..100_000).contains(count)).ok_or_else(bad)?;
    let span: Span = match &duration[digits..] {
        "s" => count.seconds(),
        "m" => count.minutes(),
        "h" => count.hours(),
        "d" => (count * 24).hours(),
        "w" => (count * 24 * 7).hours(),
        "mo" => (count * 24 * 30).hours(),
        _ => return Err(bad()),
    };
    let start = Timestamp::from_millisecond(now.millis()).map_err(|_| bad())?;
    let end = start.checked_add(span).map_err(|_| bad())?;
    Ok(UtcMillis::from_millis(end.as_millisecond()))
}

/// A new secret. Source: compat, behaviour §1, "Generated key".
pub fn new_secret() -> String {
    let mut bytes = [0; 16];
    rand::rng().fill_bytes(&mut bytes);
    format!("sk-{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// How a key is shown. Source: compat, behaviour §1, `key_name`.
pub fn shown(secret: &str) -> String {
    let tail = if secret.len() < 16 { "" } else { secret.get(secret.len() - 4..).unwrap_or_default() };
    format!("sk-...{tail}")
}

/// The hash of what may be a key or a hash.
pub fn hash_of(key: &str) -> String {
    if key.starts_with("sk-") { KeyHash::of(key).to_string() } else { key.to_owned() }
}

/// A budget row from the budget fields of a body; `None` if the body has none.
///
/// # Errors
/// 400 and 422 for values that make no sense.
pub fn budget(call: &Call) -> Result<Option<Budget>, AdminError> {
    let names: Vec<&str> = BUDGET.iter().map(|field| field.name).collect();
    if !names.iter().any(|name| call.given(name).is_some()) {
        return Ok(None);
    }
    not_negative(call, &["max_budget", "soft_budget"])?;
    let mut columns = Map::new();
    take(&mut columns, &call.body, &names);
    take(&mut columns, &call.body, &["allowed_models", "temp_budget_increase", "temp_budget_expiry"]);
    period(call, &mut columns)?;
    let mut row: Budget = row(columns)?;
    row.budget_id = uuid::Uuid::new_v4().to_string();
    row.created_by = call.changed_by();
    row.updated_by = call.changed_by();
    Ok(Some(row))
}

/// Secrets in what is shown or written down: their first characters stay.
pub fn masked(mut value: Value) -> Value {
    mask(&mut value);
    value
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, member) in map {
                let secret = [
                    "password",
                    "secret",
                    "api_key",
                    "credential",
                    "token_value",
                    "access_key",
                    "session_token",
                    "ad_token",
                ];
                let named = !name.ends_with("_name") && secret.iter().any(|word| name.contains(word));
                let is_secret = named || name == "key";
                match member {
                    // Any header of theirs may be a credential, and so may a parameter.
                    Value::Array(routes) if name == "pass_through_endpoints" => {
                        for route in routes {
                            for name in ["headers", "default_query_params"] {
                                route.get_mut(name).into_iter().for_each(hide);
                            }
                            mask(route);
                        }
                    }
                    // Whoever has the URL of a webhook writes there.
                    member if name.contains("webhook_url") => hide(member),
                    Value::String(_) if is_secret => shorten(member),
                    Value::Array(items) if is_secret => items.iter_mut().for_each(shorten),
                    other => mask(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

/// Leaves the first characters of a text.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if !text.is_empty() => {
            *text = format!("{}****", text.chars().take(3).collect::<String>());
        }
        other => mask(other),
    }
}

/// Nothing of any text stays.
fn hide(value: &mut Value) {
    match value {
        Value::String(text) if !text.is_empty() => *text = "****".to_owned(),
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(map) => map.values_mut().for_each(hide),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_are() {
        let value = json!({"api_key": "sk-123456", "api_keys": ["sk-abcdef"], "deep": [{"client_secret": "abcdef", "name": "x"}]});
        let shown = masked(value);
        assert_eq!(
            shown,
            json!({"api_key": "sk-****", "api_keys": ["sk-****"], "deep": [{"client_secret": "abc****", "name": "x"}]})
        );
        let urls = masked(json!({"alert_to_webhook_url": {"budget_alerts": ["https://hooks/secret"]}}));
        let routes = json!({"pass_through_endpoints": [{"path": "/x", "headers": {"x-mine": "secret"}}]});
        let hidden = json!({"pass_through_endpoints": [{"path": "/x", "headers": {"x-mine": "****"}}]});
        assert_eq!(masked(routes), hidden);
        assert_eq!(urls, json!({"alert_to_webhook_url": {"budget_alerts": ["****"]}}));
    }

    #[test]
    fn durations_are_counted_exactly() {
        let now = UtcMillis::from_millis(0);
        for (text, seconds) in [("30s", 30), ("2m", 120), ("1h", 3600), ("30d", 30 * 86_400), ("1w", 604_800)]
        {
            assert_eq!(after("duration", text, now).unwrap().millis(), seconds * 1000, "{text}");
        }
        for text in ["", "d", "0d", "-1d", "3x", "1.5h"] {
            assert!(after("duration", text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn new_keys_have_litellms_form() {
        let (one, two) = (new_secret(), new_secret());
        assert!(one.starts_with("sk-") && one.len() == 25 && one != two);
    }
}
