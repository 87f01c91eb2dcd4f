//! `faregate reconcile`: the ledger of a period beside the provider's own count, and the differences by name.

mod export;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use faregate_store::report::ModelDay;
use jiff::civil::Date;
use serde::Serialize;

use crate::maintenance::{Which, with_store};

/// What to compare.
#[derive(Debug, Args)]
pub struct Reconcile {
    #[command(flatten)]
    which: Which,
    /// The provider, as the ledger names it
    #[arg(long)]
    provider: String,
    /// Its usage export by day and model: JSON of its usage API or CSV of its console
    #[arg(long)]
    export: PathBuf,
    /// First day (UTC)
    #[arg(long)]
    from: Date,
    /// Last day (UTC), included
    #[arg(long)]
    to: Date,
    /// Percent by which tokens may differ
    #[arg(long, default_value_t = 0.0)]
    tolerance: f64,
    /// How to print the differences
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

/// How the outcome is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// One line per difference
    Text,
    /// One object
    Json,
}

/// Use of a model on a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Used {
    /// Tokens in, cached ones included.
    pub prompt_tokens: i64,
    /// Tokens out.
    pub completion_tokens: i64,
    /// Calls; unknown where an export does not say.
    pub requests: Option<i64>,
}

/// A day and model about which the two do not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Difference {
    date: String,
    model: String,
    /// What the provider says.
    provider: Used,
    /// What the ledger says.
    ledger: Used,
}

/// Compares and prints; exit code 1 if they differ by more than the tolerance.
///
/// # Errors
/// If the export or the database cannot be read.
pub fn run(asked: &Reconcile) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(&asked.export)
        .with_context(|| format!("cannot read {}", asked.export.display()))?;
    let said = export::read(&text).with_context(|| format!("{}", asked.export.display()))?;
    let (first, last) = (asked.from.to_string(), asked.to.to_string());
    with_store(&asked.which, async |store| {
        let booked = store.usage_of_provider(&asked.provider, &first, &last).await?;
        let within = |date: &str| (first.as_str()..=last.as_str()).contains(&date);
        let said = said.iter().filter(|((date, _), _)| within(date));
        let rows = side_by_side(said.map(|((date, model), used)| (date, model, *used)), &booked);
        let differences: Vec<&Difference> = rows.iter().filter(|row| differs(row, asked.tolerance)).collect();
        print(asked, rows.len(), &differences)?;
        Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// A model's name without provider and release date, under which both sides are put together: the provider counts
/// `gpt-4o-2024-08-06` where `gpt-4o` was asked for.
fn family(model: &str) -> &str {
    let name = model.rsplit('/').next().unwrap_or(model);
    let digits = |text: &str, lengths: &[usize]| {
        let parts: Vec<&str> = text.split('-').collect();
        parts.len() == lengths.len()
            && parts
                .iter()
                .zip(lengths)
                .all(|(part, length)| part.len() == *length && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    for (tail, lengths) in [(11, &[4, 2, 2][..]), (9, &[8])] {
        let Some(cut) = name.len().checked_sub(tail) else { continue };
        if let (Some(head), Some(rest)) = (name.get(..cut), name.get(cut..))
            && let Some(date) = rest.strip_prefix('-')
            && digits(date, lengths)
        {
            return head;
        }
    }
    name
}

fn side_by_side<'a>(
    said: impl Iterator<Item = (&'a String, &'a String, Used)>,
    booked: &[ModelDay],
) -> Vec<Difference> {
    let mut rows: BTreeMap<(String, String), (Used, Used)> = BTreeMap::new();
    let mut counted = false;
    for (date, model, used) in said {
        let (provider, _) = rows.entry((date.clone(), family(model).to_owned())).or_default();
        provider.prompt_tokens += used.prompt_tokens;
        provider.completion_tokens += used.completion_tokens;
        if let Some(requests) = used.requests {
            *provider.requests.get_or_insert(0) += requests;
            counted = true;
        }
    }
    for day in booked {
        let (_, ledger) = rows.entry((day.date.clone(), family(&day.model).to_owned())).or_default();
        ledger.prompt_tokens += day.prompt_tokens;
        ledger.completion_tokens += day.completion_tokens;
        *ledger.requests.get_or_insert(0) += day.requests;
    }
    let rows = rows.into_iter().map(|((date, model), (mut provider, mut ledger))| {
        if counted {
            // Who counts requests and does not name a model has seen none.
            provider.requests.get_or_insert(0);
            ledger.requests.get_or_insert(0);
        }
        Difference { date, model, provider, ledger }
    });
    rows.collect()
}

fn differs(row: &Difference, tolerance: f64) -> bool {
    let beyond = |one: i64, other: i64| {
        let apart = one.abs_diff(other) as f64;
        apart > one.max(other) as f64 * tolerance / 100.0
    };
    beyond(row.provider.prompt_tokens, row.ledger.prompt_tokens)
        || beyond(row.provider.completion_tokens, row.ledger.completion_tokens)
        || matches!((row.provider.requests, row.ledger.requests), (Some(one), Some(other)) if beyond(one, other))
}

fn print(asked: &Reconcile, compared: usize, differences: &[&Difference]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if asked.format == Form::Json {
        let report = serde_json::json!({ "compared": compared, "differences": differences });
        return Ok(writeln!(out, "{report:#}")?);
    }
    for row in differences {
        write!(out, "{} {}:", row.date, row.model)?;
        for (what, provider, ledger) in [
            ("prompt tokens", Some(row.provider.prompt_tokens), Some(row.ledger.prompt_tokens)),
            ("completion tokens", Some(row.provider.completion_tokens), Some(row.ledger.completion_tokens)),
            ("requests", row.provider.requests, row.ledger.requests),
        ] {
            if let (Some(provider), Some(ledger)) = (provider, ledger)
                && provider != ledger
            {
                write!(
                    out,
                    " {what} {} {provider}, ledger {ledger} ({:+});",
                    asked.provider,
                    ledger - provider
                )?;
            }
        }
        writeln!(out)?;
    }
    writeln!(out, "{compared} days and models compared, {} differ", differences.len())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_a_model_are_put_together() {
        for (name, expected) in [
            ("gpt-4o-2024-08-06", "gpt-4o"),
            ("claude-sonnet-4-20250514", "claude-sonnet-4"),
            ("openai/gpt-4o", "gpt-4o"),
            ("gpt-4.1-mini", "gpt-4.1-mini"),
            ("m-1234", "m-1234"),
            ("é-2024-08-06", "é"),
        ] {
            assert_eq!(family(name), expected);
        }
    }

    #[test]
    fn a_difference_is_what_goes_beyond_the_tolerance_on_either_side() {
        let used = |prompt_tokens, requests| Used { prompt_tokens, completion_tokens: 10, requests };
        let row =
            |provider, ledger| Difference { date: String::new(), model: String::new(), provider, ledger };
        assert!(!differs(&row(used(100, None), used(100, Some(3))), 0.0), "nobody says how many requests");
        assert!(differs(&row(used(100, Some(4)), used(100, Some(3))), 0.0));
        assert!(differs(&row(used(100, None), used(99, None)), 0.5));
        assert!(!differs(&row(used(100, None), used(99, None)), 1.0));
        assert!(differs(&row(Used::default(), used(1, None)), 1.0), "only one side knows of it");
    }
}
