//! How long models took, day by day. Source: compat, endpoints §2.8, and LiteLLM's `model_metrics`.

use std::collections::{BTreeMap, BTreeSet};

use faregate_store::report::LogQuery;
use faregate_terms::UtcMillis;
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::columns::hash_of;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field};
use crate::routes::{Answer, Call, Route, route};
use crate::spend::MOST;

const QUERY: &[Field] = &[
    field("_selected_model_group", Holds::Text, "a public name; all when absent"),
    field("startTime", Holds::Text, "2026-01-31, with a time if wanted; thirty days ago when absent"),
    field("endTime", Holds::Text, ""),
    field("api_key", Holds::Text, "key or hash"),
    field("customer", Holds::Text, "an end user"),
];

pub(crate) const ROUTES: &[Route] =
    &[route!("GET", &["/model/metrics"], Admin, &[], QUERY, "Seconds per token by day and model", per_day)];

const MONTH_MS: i64 = 30 * 24 * 3_600_000;

async fn per_day(call: Call) -> Outcome {
    let time = |name: &'static str| {
        let parsed = call.asked(name).map(UtcMillis::parse).transpose();
        parsed.map_err(|error| AdminError::invalid(name, format!("{name}: {error}")))
    };
    let to = time("endTime")?.unwrap_or_else(|| call.admin.now());
    let from = time("startTime")?.unwrap_or_else(|| to.plus_millis(-MONTH_MS));
    // What a page sends that has nothing chosen.
    let chosen = |name: &str| call.asked(name).filter(|text| !["undefined", "null"].contains(text));
    let query = LogQuery {
        to: Some(to),
        model_group: chosen("_selected_model_group").map(str::to_owned),
        api_key: chosen("api_key").map(hash_of),
        end_user: chosen("customer").map(str::to_owned),
        ..LogQuery::default()
    };
    let mut days: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut places = BTreeSet::new();
    for row in call.admin.store.latencies(from, &query, MOST).await? {
        let base = if row.api_base.contains("https://") { row.api_base } else { row.model };
        let place = base.split("/openai/").next().unwrap_or_default().to_owned();
        places.insert(place.clone());
        // The slowest comes first, and stands for its place.
        days.entry(row.day).or_default().entry(place).or_insert(json!(row.seconds_per_token));
    }
    let data = days.into_iter().map(|(day, mut latencies)| {
        latencies.insert("date".to_owned(), json!(day));
        Value::Object(latencies)
    });
    Ok(Answer::json(&json!({ "data": data.collect::<Vec<_>>(), "all_api_bases": places })))
}
