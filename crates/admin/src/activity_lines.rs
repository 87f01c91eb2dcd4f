//! Daily activity by key, and as tables for spreadsheets. Source: compat, endpoints §2.10, and LiteLLM's
//! `daily_activity_routes.py`.

use std::collections::{BTreeMap, BTreeSet};

use faregate_store::ledger::SubjectKind;
use faregate_store::report::{ActivityLine, ActivityQuery, KeyOwner, LinesBy, Metrics};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::activity::{self, asked};
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};

const KEYS: &[Field] = asked![
    field("offset", Holds::Int, "keys that are left out; 0 when absent"),
    field("limit", Holds::Int, "50 when absent, 100 at most"),
];
const SEARCH: &[Field] = asked![
    required("search", Holds::Text, "part of a key's hash or alias, or of its user's id or address"),
    field("limit", Holds::Int, "100 when absent and at most"),
];
const EXPORT: &[Field] = asked![
    field("export_type", Holds::Text, "daily, daily_with_keys, daily_with_models or daily_with_users"),
    field("format", Holds::Text, "csv or json"),
];

/// Keys, search and table of each kind of subject: paths, gate, handler.
macro_rules! routes {
    ($([$($subject:literal),+] $gate:ident $handler:path;)*) => {
        &[$(
            route!(
                "GET", &[$(concat!($subject, "/daily/activity/aggregated/keys")),+], $gate, &[], KEYS,
                "Keys with what they spent, most first", $handler
            ),
            route!(
                "GET", &[$(concat!($subject, "/daily/activity/aggregated/search")),+], $gate, &[], SEARCH,
                "Keys that are found by a word, with what they spent", $handler
            ),
            route!(
                "GET", &[$(concat!($subject, "/daily/activity/export")),+], $gate, &[], EXPORT,
                "Spend per day as a table", $handler
            ),
        )*]
    };
}

pub(crate) const ROUTES: &[Route] = routes! {
    ["/user"] Key activity::users;
    ["/team"] User activity::teams;
    ["/tag"] User activity::tags;
    ["/organization"] Key activity::organizations;
    ["/customer", "/end_user"] Admin activity::customers;
    ["/agent"] Admin activity::agents;
};

/// Lines of a table at most.
const MOST_LINES: usize = 500_000;
/// LiteLLM's name for what was spent without a key.
const NO_KEY: &str = "unattributed";
/// LiteLLM's name for a model that is not known.
const NO_MODEL: &str = "unknown-model";

/// What is made of the days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Keys,
    Search,
    Export,
}

impl Form {
    /// What a route is for; `None` for the days themselves.
    pub fn of(route: &str) -> Option<Self> {
        match route.rsplit('/').next()? {
            "keys" => Some(Self::Keys),
            "search" => Some(Self::Search),
            "export" => Some(Self::Export),
            _ => None,
        }
    }
}

/// Answers in this form.
pub(crate) async fn answer(call: &Call, form: Form, kind: SubjectKind, query: &ActivityQuery) -> Outcome {
    match form {
        Form::Keys => keys(call, kind, query).await,
        Form::Search => search(call, kind, query).await,
        Form::Export => export(call, kind, query).await,
    }
}

async fn keys(call: &Call, kind: SubjectKind, query: &ActivityQuery) -> Outcome {
    let (offset, limit) = (number(call, "offset", 0, 0..=usize::MAX)?, number(call, "limit", 50, 1..=100)?);
    let all = call.admin.store.key_activity(kind, query).await?;
    let total = all.len();
    let page: Vec<(String, Metrics)> = all.into_iter().skip(offset).take(limit).collect();
    let hashes = page.iter().map(|(key, _)| key.as_str()).collect();
    let owners = call.admin.store.key_owners(&hashes).await?;
    Ok(Answer::json(&json!({
        "api_keys": rows(&page, &owners), "total_api_keys": total, "offset": offset, "limit": limit,
    })))
}

async fn search(call: &Call, kind: SubjectKind, query: &ActivityQuery) -> Outcome {
    let limit = number(call, "limit", 100, 1..=100)?;
    let Some(word) = call.asked("search").map(str::to_lowercase) else {
        return Err(wrong("search", "search: give at least one letter"));
    };
    let all = call.admin.store.key_activity(kind, query).await?;
    let hashes: BTreeSet<&str> = all.iter().map(|(key, _)| key.as_str()).collect();
    let owners = call.admin.store.key_owners(&hashes).await?;
    let has = |text: &str| text.to_lowercase().contains(&word);
    let fits = |(key, _): &(String, Metrics)| {
        let owner = owners.get(key);
        let of = |part: fn(&KeyOwner) -> Option<&String>| owner.and_then(part).is_some_and(|text| has(text));
        has(shown(key))
            || of(|owner| owner.key_alias.as_ref())
            || of(|owner| owner.user_id.as_ref())
            || of(|owner| owner.user_email.as_ref())
    };
    let found: Vec<(String, Metrics)> = all.iter().filter(|row| fits(row)).take(limit).cloned().collect();
    Ok(Answer::json(&json!({ "api_keys": rows(&found, &owners) })))
}

fn shown(key: &str) -> &str {
    if key.is_empty() { NO_KEY } else { key }
}

fn rows(keys: &[(String, Metrics)], owners: &BTreeMap<String, KeyOwner>) -> Vec<Value> {
    let owner = |key: &str| match owners.get(key) {
        None if key.is_empty() => json!(KeyOwner {
            key_alias: Some("Unattributed".to_owned()),
            key_exists: Some(false),
            ..KeyOwner::default()
        }),
        known => json!(known.cloned().unwrap_or_default()),
    };
    let row = |(key, metrics): &(String, Metrics)| json!({ "api_key": shown(key), "metrics": metrics, "metadata": owner(key) });
    keys.iter().map(row).collect()
}

/// A number of the query within bounds.
fn number(
    call: &Call,
    name: &'static str,
    usual: usize,
    bounds: std::ops::RangeInclusive<usize>,
) -> Result<usize, AdminError> {
    let Some(given) = call.query.get(name).filter(|value| !value.is_null()) else { return Ok(usual) };
    let given = given.as_u64().and_then(|number| usize::try_from(number).ok());
    given.filter(|number| bounds.contains(number)).ok_or_else(|| {
        let most = if *bounds.end() == usize::MAX { String::new() } else { format!(" to {}", bounds.end()) };
        wrong(name, &format!("{name}: Input should be a number from {}{most}", bounds.start()))
    })
}

fn wrong(name: &'static str, text: &str) -> AdminError {
    AdminError::fields(vec![(vec!["query", name], "value_error", text.to_owned())])
}

async fn export(call: &Call, kind: SubjectKind, query: &ActivityQuery) -> Outcome {
    let word = call.asked("export_type").unwrap_or("daily");
    let by = match word {
        "daily" => LinesBy::Day,
        "daily_with_keys" => LinesBy::Key,
        "daily_with_models" => LinesBy::Model,
        "daily_with_users" => LinesBy::User,
        _ => return Err(wrong("export_type", "export_type: none of those there are")),
    };
    let format = call.asked("format").unwrap_or("csv");
    if !["csv", "json"].contains(&format) {
        return Err(wrong("format", "format: Input should be 'csv' or 'json'"));
    }
    let Some(lines) = call.admin.store.activity_lines(kind, query, by, MOST_LINES).await? else {
        let text = format!("end_date: more than {MOST_LINES} lines; ask for fewer days");
        return Err(AdminError::invalid("end_date", text));
    };
    let lines = lines.into_iter().map(cells);
    let mut answer = if format == "json" {
        let name = |line: Vec<Value>| COLUMNS.iter().map(|name| (*name).to_owned()).zip(line).collect();
        Answer::json(&lines.map(name).collect::<Vec<Map<String, Value>>>())
    } else {
        Answer { kind: "text/csv; charset=utf-8", body: csv(lines)?.into(), ..Answer::json(&()) }
    };
    let subject = call.route.split('/').nth(1).unwrap_or_default();
    let day = |name| call.asked(name).unwrap_or_default().get(..10).unwrap_or_default();
    let name = format!("{subject}-usage-{}-{}-{word}.{format}", day("start_date"), day("end_date"));
    answer.headers = download(&name);
    Ok(answer)
}

fn download(name: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    headers
}

/// Columns of a table.
const COLUMNS: [&str; 17] = [
    "date",
    "entity_id",
    "entity_alias",
    "api_key",
    "key_alias",
    "user_id",
    "user_email",
    "model",
    "spend",
    "flat_cost",
    "prompt_tokens",
    "completion_tokens",
    "api_requests",
    "successful_requests",
    "failed_requests",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
];

/// One line, in the order of the columns.
fn cells(line: ActivityLine) -> Vec<Value> {
    let ActivityLine { date, entity, alias, api_key, mut owner, model, metrics } = line;
    if api_key.as_deref() == Some("") {
        owner.key_alias = Some("Unattributed".to_owned());
    }
    let model = model.map(|model| if model.is_empty() { NO_MODEL.to_owned() } else { model });
    vec![
        json!(date),
        json!(entity),
        json!(alias),
        json!(api_key.as_deref().map(shown)),
        json!(owner.key_alias),
        json!(owner.user_id),
        json!(owner.user_email),
        json!(model),
        json!(metrics.spend),
        json!(0.0),
        json!(metrics.prompt_tokens),
        json!(metrics.completion_tokens),
        json!(metrics.api_requests),
        json!(metrics.successful_requests),
        json!(metrics.failed_requests),
        json!(metrics.cache_read_input_tokens),
        json!(metrics.cache_creation_input_tokens),
    ]
}

fn csv(lines: impl Iterator<Item = Vec<Value>>) -> Result<Vec<u8>, AdminError> {
    let failed = |error: &dyn std::error::Error| {
        AdminError::new(500, "internal_server_error", format!("The table cannot be written: {error}"))
    };
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(COLUMNS).map_err(|error| failed(&error))?;
    for line in lines {
        writer.write_record(line.iter().map(cell)).map_err(|error| failed(&error))?;
    }
    writer.into_inner().map_err(|error| failed(&error))
}

/// A cell that no spreadsheet takes for a formula.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
