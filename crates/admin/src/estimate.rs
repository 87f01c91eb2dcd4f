//! What a volume of requests would cost. Source: compat, endpoints §2.10, and LiteLLM's `CostEstimateRequest` and
//! `CostEstimateResponse`. No discount or margin is configured here, so `margin_cost` is zero.

use faregate_catalog::{Cost, CostContext, Prices, cost};
use faregate_store::Usd;
use faregate_terms::{PicoUsd, Usage};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::error::AdminError;
use crate::fields::{Field, Holds, field, required};
use crate::routes::{Answer, Call, Route, route};

const VOLUME: &[Field] = &[
    required("model", Holds::Text, "a public name, or one of the price list"),
    required("input_tokens", Holds::Int, "of one request"),
    required("output_tokens", Holds::Int, "of one request"),
    field("cache_read_input_tokens", Holds::Int, "of the input, read from a prompt cache"),
    field("cache_creation_input_tokens", Holds::Int, "of the input, written to a prompt cache"),
    field("reasoning_tokens", Holds::Int, "of the output"),
    field("num_requests_per_day", Holds::Int, ""),
    field("num_requests_per_month", Holds::Int, ""),
];

pub(crate) const ROUTES: &[Route] =
    &[route!("POST", &["/cost/estimate"], User, &[VOLUME], &[], "Price a volume of requests", estimate)];

/// A whole number of the body; 0 when absent.
///
/// # Errors
/// 422 naming it, if it is below zero.
fn count(call: &Call, name: &'static str) -> Result<u64, AdminError> {
    let Some(value) = call.given(name) else { return Ok(0) };
    value.as_u64().ok_or_else(|| {
        let text = format!("{name}: must be 0 or more");
        AdminError::fields(vec![(vec!["body", name], "greater_than_equal", text)])
    })
}

fn usage(call: &Call) -> Result<Usage, AdminError> {
    let usage = Usage {
        input: count(call, "input_tokens")?,
        output: count(call, "output_tokens")?,
        cache_read: count(call, "cache_read_input_tokens")?,
        cache_write_5m: count(call, "cache_creation_input_tokens")?,
        reasoning: count(call, "reasoning_tokens")?,
        ..Usage::default()
    };
    let wrong =
        |name, text: &str| AdminError::fields(vec![(vec!["body", name], "value_error", text.to_owned())]);
    if usage.cache_read.saturating_add(usage.cache_write_5m) > usage.input {
        let text = "cache_read_input_tokens plus cache_creation_input_tokens cannot exceed input_tokens";
        return Err(wrong("cache_read_input_tokens", text));
    }
    if usage.reasoning > usage.output {
        return Err(wrong("reasoning_tokens", "reasoning_tokens cannot exceed output_tokens"));
    }
    Ok(usage)
}

/// The sums of an answer, by the names that LiteLLM gives them. Parts of the input and output are in these too.
fn sums(cost: &Cost) -> [(&'static str, PicoUsd); 7] {
    [
        ("cost", cost.total),
        ("input_cost", cost.input + cost.cache_read + cost.cache_creation),
        ("output_cost", cost.output + cost.reasoning),
        ("margin_cost", cost.margin),
        ("cache_read_cost", cost.cache_read),
        ("cache_creation_cost", cost.cache_creation),
        ("reasoning_cost", cost.reasoning),
    ]
}

async fn estimate(call: Call) -> Outcome {
    let model = call.text("model").unwrap_or_default();
    let usage = usage(&call)?;
    let Some((cost, provider)) = call.admin.priced(model, &usage) else {
        return Err(AdminError::not_found(format!(
            "Could not calculate cost for model '{model}': no price is known; add it to model_list with prices"
        )));
    };
    let mut body = Map::new();
    for field in VOLUME {
        let usual = if field.name.starts_with("num_") { Value::Null } else { json!(0) };
        body.insert(field.name.to_owned(), call.given(field.name).cloned().unwrap_or(usual));
    }
    for (period, number) in [
        ("", Some(1)),
        (
            "daily_",
            call.given("num_requests_per_day").map(|_| count(&call, "num_requests_per_day")).transpose()?,
        ),
        (
            "monthly_",
            call.given("num_requests_per_month")
                .map(|_| count(&call, "num_requests_per_month"))
                .transpose()?,
        ),
    ] {
        for (name, sum) in sums(&cost) {
            let name =
                if period.is_empty() { format!("{name}_per_request") } else { format!("{period}{name}") };
            let total =
                number.map(|number| PicoUsd::from_pico(sum.pico().saturating_mul(i128::from(number))));
            body.insert(name, json!(total.map(Usd)));
        }
    }
    // The rate at which a token of each kind was billed.
    let per = |sum: PicoUsd, tokens: u64| (tokens > 0).then(|| sum.to_f64() / tokens as f64);
    let fresh = usage.input - usage.cache_read - usage.cache_write_5m;
    for (name, rate) in [
        ("input_cost_per_token", per(cost.input, fresh)),
        ("output_cost_per_token", per(cost.output, usage.output - usage.reasoning)),
        ("cache_read_input_token_cost", per(cost.cache_read, usage.cache_read)),
        ("cache_creation_input_token_cost", per(cost.cache_creation, usage.cache_write_5m)),
        ("output_cost_per_reasoning_token", per(cost.reasoning, usage.reasoning)),
    ] {
        body.insert(name.to_owned(), json!(rate));
    }
    body.insert("provider".to_owned(), json!(provider));
    Ok(Answer::json(&body))
}

impl crate::Admin {
    /// What `usage` of a model costs, and whose it is: of a public name of the configuration, with the prices of its
    /// first deployment, or of a name of the price list.
    pub(crate) fn priced(&self, model: &str, usage: &Usage) -> Option<(Cost, Option<String>)> {
        let snapshot = self.snapshot.load();
        let deployment = snapshot.deployments.iter().find(|one| one.group.as_str() == model);
        let name = deployment.map_or(model, |one| one.params.model.as_str());
        let bare = name.split_once('/').map_or(name, |(_, bare)| bare);
        let catalog = self.prices.catalog();
        let key = if catalog.contains(name) { name } else { bare };
        let listed = catalog.entry(key).map(|entry| entry.prices.clone());
        let own = deployment.map(|one| one.prices()).filter(|own| !own.is_empty());
        // What cannot be read does not serve; the check of the configuration says so.
        let own = own.and_then(|own| Prices::from_json(&serde_json::to_string(&own.0).ok()?).ok());
        let prices = match (own, listed) {
            (Some(own), Some(listed)) => own.over(&listed),
            (own, listed) => own.or(listed)?,
        };
        let provider = catalog.provider_of(key);
        let provider = provider.or_else(|| Some(name.split_once('/')?.0.to_owned()));
        let context =
            CostContext { provider: provider.as_deref().unwrap_or_default(), ..CostContext::default() };
        Some((cost(&prices, usage, &context)?, provider))
    }
}
