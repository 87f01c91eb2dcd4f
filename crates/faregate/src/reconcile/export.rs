//! Usage exports of providers: JSON of their usage APIs, CSV of their consoles.
//!
//! Sources: OpenAI `GET /v1/organization/usage/completions?bucket_width=1d&group_by=model`; Anthropic
//! `GET /v1/organizations/usage_report/messages?bucket_width=1d&group_by[]=model`, and the CSV that its console
//! exports. Several pages may follow each other in one file.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Deserializer, Value};

use super::Used;

/// What a provider says, by day and model.
pub type Days = BTreeMap<(String, String), Used>;

/// Names of columns and members with the same meaning; the first that is there counts.
const DATE: &[&str] =
    &["start_time_iso", "starting_at", "start_time", "usage_date_utc", "usage_date", "date"];
const MODEL: &[&str] = &["model", "model_version"];
const REQUESTS: &[&str] = &["num_model_requests", "requests"];
const OUTPUT: &[&str] = &["output_tokens", "usage_output_tokens"];
/// All tokens in, cached ones included.
const INPUT: &[&str] = &["input_tokens"];
/// The parts of what came in, where the whole is not given.
const INPUT_PARTS: &[&[&str]] = &[
    &["uncached_input_tokens", "usage_input_tokens_no_cache"],
    &["cache_read_input_tokens", "usage_input_tokens_cache_read"],
    &["cache_creation.ephemeral_5m_input_tokens", "usage_input_tokens_cache_write_5m"],
    &["cache_creation.ephemeral_1h_input_tokens", "usage_input_tokens_cache_write_1h"],
];

/// Reads an export, by what it looks like.
///
/// # Errors
/// With the place, if it is neither, or a row makes no sense.
pub fn read(text: &str) -> anyhow::Result<Days> {
    if text.trim_start().starts_with(['{', '[']) { of_json(text) } else { of_csv(text) }
}

fn of_json(text: &str) -> anyhow::Result<Days> {
    let mut days = Days::new();
    for page in Deserializer::from_str(text).into_iter::<Value>() {
        let page = page.context("the export is not whole JSON")?;
        let pages = page.as_array().cloned().unwrap_or_else(|| vec![page]);
        for page in pages {
            let buckets = page["data"].as_array().context("a page of the export has no `data` list")?;
            for bucket in buckets {
                let in_bucket = |name: &str| scalar(&bucket[name]);
                let date = day(first(DATE, &in_bucket).as_deref())?;
                for result in bucket["results"].as_array().into_iter().flatten() {
                    let member = |name: &str| match name.split_once('.') {
                        Some((outer, inner)) => scalar(&result[outer][inner]),
                        None => scalar(&result[name]),
                    };
                    add(&mut days, date.clone(), &member).with_context(|| format!("{date}"))?;
                }
            }
        }
    }
    Ok(days)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn of_csv(text: &str) -> anyhow::Result<Days> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers: Vec<String> =
        reader.headers().context("the export has no header line")?.iter().map(str::to_owned).collect();
    let mut days = Days::new();
    for (index, record) in reader.records().enumerate() {
        let line = index + 2;
        let record = record.with_context(|| format!("line {line} of the export"))?;
        let cell = |name: &str| {
            let place = headers.iter().position(|header| header.trim() == name)?;
            record.get(place).map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned)
        };
        let date =
            day(first(DATE, &cell).as_deref()).with_context(|| format!("line {line} of the export"))?;
        add(&mut days, date, &cell).with_context(|| format!("line {line} of the export"))?;
    }
    Ok(days)
}

fn first(names: &[&str], read: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    names.iter().find_map(|name| read(name))
}

/// Seconds since 1970, or a text that begins with a date.
fn day(text: Option<&str>) -> anyhow::Result<String> {
    let Some(text) = text else { bail!("there is no date; expected one of {}", DATE.join(", ")) };
    if let Ok(seconds) = text.parse::<i64>() {
        let at = Timestamp::from_second(seconds).with_context(|| format!("{text} is no time"))?;
        return Ok(at.to_zoned(TimeZone::UTC).date().to_string());
    }
    let date = text.get(..10).and_then(|date| date.parse::<jiff::civil::Date>().ok());
    Ok(date.with_context(|| format!("{text:?} is no date"))?.to_string())
}

fn add(days: &mut Days, date: String, read: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<()> {
    let number = |names: &[&str]| -> anyhow::Result<Option<i64>> {
        let Some(text) = first(names, read) else { return Ok(None) };
        text.parse().map(Some).with_context(|| format!("{}: {text:?} is no whole number", names[0]))
    };
    let model = first(MODEL, read)
        .context("a row names no model; ask the provider for an export that is grouped by model")?;
    let used = days.entry((date, model)).or_default();
    let input = match number(INPUT)? {
        Some(whole) => whole,
        None => {
            let mut sum = 0;
            for part in INPUT_PARTS {
                sum += number(part)?.unwrap_or_default();
            }
            sum
        }
    };
    used.prompt_tokens += input;
    used.completion_tokens += number(OUTPUT)?.unwrap_or_default();
    if let Some(requests) = number(REQUESTS)? {
        *used.requests.get_or_insert(0) += requests;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(prompt_tokens: i64, completion_tokens: i64, requests: Option<i64>) -> Used {
        Used { prompt_tokens, completion_tokens, requests }
    }

    #[test]
    fn the_three_forms_are_read_and_rows_of_a_day_and_model_added_up() {
        let openai = r#"{"object": "page", "data": [{"object": "bucket", "start_time": 1730419200, "results": [
            {"input_tokens": 1000, "input_cached_tokens": 800, "output_tokens": 500, "num_model_requests": 5, "model": "gpt-4o"},
            {"input_tokens": 1, "output_tokens": 2, "num_model_requests": 1, "model": "gpt-4o"}]}]}
            {"data": []}"#;
        let days = read(openai).unwrap();
        assert_eq!(days[&("2024-11-01".into(), "gpt-4o".into())], used(1001, 502, Some(6)));

        let anthropic = r#"{"data": [{"starting_at": "2026-11-01T00:00:00Z", "results": [{"uncached_input_tokens": 10,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 5},
            "cache_read_input_tokens": 100, "output_tokens": 7, "model": "claude-x"}]}]}"#;
        assert_eq!(read(anthropic).unwrap()[&("2026-11-01".into(), "claude-x".into())], used(135, 7, None));

        let csv = "usage_date_utc,model_version,usage_input_tokens_no_cache,usage_input_tokens_cache_read,usage_output_tokens\n\
                   2026-11-01,claude-x,10,100,7\n2026-11-01,claude-x,1,,1\n";
        assert_eq!(read(csv).unwrap()[&("2026-11-01".into(), "claude-x".into())], used(111, 8, None));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, words) in [
            ("{\"data\": [{\"start_time\": 1, \"results\": [{\"input_tokens\": 1}]}]}", "names no model"),
            ("{\"object\": 1}", "no `data` list"),
            ("{\"data\": [", "not whole JSON"),
            ("date,model\nsoon,m\n", "line 2"),
            ("date,model,output_tokens\n2026-11-01,m,many\n", "output_tokens"),
            ("model\nm\n", "no date"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
