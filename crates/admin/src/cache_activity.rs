//! What the response cache saved: hits, misses and failures by kind of call. Source: compat, endpoints §2.10, and
//! LiteLLM, `cache_activity.py`.

use std::collections::{BTreeMap, BTreeSet};

use faregate_store::report::{Dimension, LogQuery, SpendRow};
use faregate_store::{Filter, ListQuery, VirtualKey};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Outcome;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};
use crate::spend::{narrowed, period};

/// Lines that are read: kinds of calls × models × keys.
const MOST: u32 = 50_000;
/// What a key without an alias is called.
const UNNAMED: &str = "Unnamed Key";

const ASKED: &[Field] = &[
    required("start_date", Holds::Text, "2026-01-31"),
    required("end_date", Holds::Text, "2026-01-31"),
    field("key_aliases", Holds::Texts, "only these keys"),
    field("models", Holds::Texts, "only these names sent to the provider"),
];

pub(crate) const ROUTES: &[Route] = &[route!(
    "GET",
    &["/global/activity/cache_hits"],
    User,
    &[],
    ASKED,
    "What the response cache saved",
    hits
)];

/// One kind of call.
#[derive(Default, Serialize)]
struct Group {
    call_type: String,
    api_requests: u64,
    cache_hits: u64,
    failed_requests: u64,
    cached_completion_tokens: u64,
    generated_completion_tokens: u64,
}

impl Group {
    fn add(&mut self, row: &SpendRow) {
        let of = |at: usize| row.of.get(at).map_or("", String::as_str);
        let (hit, failed) = (of(1) == "True", of(2) == "failure");
        match (hit, failed) {
            (true, _) => self.cache_hits += row.requests,
            (false, true) => self.failed_requests += row.requests,
            (false, false) => self.api_requests += row.requests,
        }
        if hit {
            self.cached_completion_tokens += row.output_tokens;
        } else {
            self.generated_completion_tokens += row.output_tokens;
        }
    }
}

fn listed(call: &Call, name: &str) -> Vec<String> {
    let list = call.query.get(name).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|item| item.as_str().map(str::to_owned)).filter(|item| !item.is_empty()).collect()
}

async fn hits(call: Call) -> Outcome {
    use Dimension::{CacheHit, CallType, ErrorClass, ErrorCode, Key, Model, Status};
    let query = narrowed(&call, period(&call)?)?;
    let store = &call.admin.store;
    let rows = store.spend_by(&[CallType, CacheHit, Status, Model, Key], &query, MOST).await?;
    let failures = LogQuery { status: Some("failure".to_owned()), ..query };
    let failed = store.spend_by(&[CallType, ErrorCode, ErrorClass, Model, Key], &failures, MOST).await?;
    let names = aliases(&call, rows.iter().map(key)).await?;
    let alias = |row: &SpendRow| names.get(key(row)).cloned().unwrap_or_else(|| UNNAMED.to_owned());
    let (wanted_keys, wanted_models) = (listed(&call, "key_aliases"), listed(&call, "models"));
    let wanted = |row: &&SpendRow| {
        (wanted_keys.is_empty() || wanted_keys.contains(&alias(row)))
            && (wanted_models.is_empty() || wanted_models.iter().any(|model| model == text(row, 3)))
    };
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for row in rows.iter().filter(wanted) {
        let kind = known(text(row, 0));
        let group = groups.entry(kind.clone()).or_default();
        group.call_type = kind;
        group.add(row);
    }
    let mut errors: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    for row in failed.iter().filter(wanted) {
        let of = (known(text(row, 0)), known(text(row, 1)), known(text(row, 2)));
        *errors.entry(of).or_default() += row.requests;
    }
    let breakdown = errors.into_iter().map(|((call_type, code, class), count)| {
        json!({ "call_type": call_type, "error_code": code, "error_class": class, "count": count })
    });
    let aliases: BTreeSet<String> = rows.iter().map(alias).collect();
    let models: BTreeSet<&str> = rows.iter().map(|row| text(row, 3)).filter(|it| !it.is_empty()).collect();
    let groups: Vec<Group> = groups.into_values().collect();
    Ok(Answer::json(&json!({
        "groups": groups,
        "totals": totals(&groups),
        "filter_options": { "key_aliases": aliases, "models": models },
        "error_breakdown": breakdown.collect::<Vec<_>>(),
    })))
}

fn text(row: &SpendRow, at: usize) -> &str {
    row.of.get(at).map_or("", String::as_str)
}

fn key(row: &SpendRow) -> &str {
    text(row, 4)
}

fn known(text: &str) -> String {
    if text.is_empty() { "Unknown".to_owned() } else { text.to_owned() }
}

fn totals(groups: &[Group]) -> Value {
    let sum = |of: fn(&Group) -> u64| groups.iter().map(of).sum::<u64>();
    let (requests, hits, failed) =
        (sum(|group| group.api_requests), sum(|group| group.cache_hits), sum(|group| group.failed_requests));
    let all = requests + hits + failed;
    json!({
        "api_requests": requests,
        "cache_hits": hits,
        "failed_requests": failed,
        "cached_completion_tokens": sum(|group| group.cached_completion_tokens),
        "cache_hit_ratio": if all == 0 { 0.0 } else { hits as f64 / all as f64 * 100.0 },
    })
}

/// Aliases by hash, of keys that have one.
async fn aliases<'a>(
    call: &Call,
    keys: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<String, String>, AdminError> {
    let keys: BTreeSet<&str> = keys.filter(|key| !key.is_empty()).collect();
    let keys: Vec<Value> = keys.into_iter().map(Value::from).collect();
    let mut names = BTreeMap::new();
    for part in keys.chunks(1000) {
        let query = ListQuery::new().filter(Filter::In("token", part.to_vec())).page(1, 1000).uncounted();
        let rows = call.admin.store.list::<VirtualKey>(&query).await?.rows;
        names.extend(rows.into_iter().filter_map(|row| Some((row.token, row.key_alias?))));
    }
    Ok(names)
}
