//! Pieces of provider bodies that several dialects write alike.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, OutputFormat, Sampling};

use super::{Losses, Unsupported};

/// Objects of which we render a part keep the client's other members.
pub(in crate::dialect) fn merge(body: &mut Map<String, Value>, key: &str, value: &Value) {
    match (body.get_mut(key).and_then(Value::as_object_mut), value.as_object()) {
        (Some(mine), Some(theirs)) => {
            for (key, value) in theirs {
                mine.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        (None, _) => {
            body.entry(key.to_owned()).or_insert_with(|| value.clone());
        }
        _ => {}
    }
}

/// Adds the members that have a value.
pub(in crate::dialect) fn put<'a>(
    body: &mut Map<String, Value>,
    members: impl IntoIterator<Item = (&'a str, Option<Value>)>,
) {
    for (name, value) in members {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    }
}

/// A tool's parameters, for dialects that want an object schema in any case.
pub(in crate::dialect) fn object_schema(parameters: Option<&Value>) -> Value {
    let mut schema = parameters.and_then(Value::as_object).cloned().unwrap_or_default();
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        schema.insert("type".to_owned(), json!("object"));
    }
    schema.entry("properties".to_owned()).or_insert_with(|| json!({}));
    Value::Object(schema)
}

/// The schema of the tool that stands in for structured output.
pub(in crate::dialect) fn schema_of_output(output: &OutputFormat) -> Value {
    match output {
        OutputFormat::JsonSchema { schema, .. } => schema.clone(),
        _ => json!({"type": "object", "additionalProperties": true, "properties": {}}),
    }
}

/// Stop texts for dialects that refuse those of white space alone.
pub(in crate::dialect) fn stops<'a>(sampling: &'a Sampling, losses: &mut Losses) -> Vec<&'a String> {
    let stops: Vec<&String> = sampling.stop.iter().filter(|text| !text.trim().is_empty()).collect();
    if stops.len() < sampling.stop.len() {
        losses.note("sampling.stop");
    }
    stops
}

/// Refuses several answers to one call.
///
/// # Errors
/// [`Unsupported`], in the name of `who`.
pub(in crate::dialect) fn one_answer(request: &ChatRequest, who: &str) -> Result<(), Unsupported> {
    if asks(request, "sampling.n") {
        let why = format!("{who} one answer per call; send `n: 1` or call several times");
        return Err(Unsupported::new("n", why));
    }
    Ok(())
}

/// Notes those of the wishes in `names` that `request` has: its dialect has no word for them.
pub(in crate::dialect) fn lose(request: &ChatRequest, names: &[&'static str], losses: &mut Losses) {
    names.iter().filter(|name| asks(request, name)).for_each(|name| losses.note(*name));
}

fn asks(request: &ChatRequest, name: &str) -> bool {
    let sampling = &request.sampling;
    match name {
        "audio" => request.audio.is_some(),
        "metadata" => !request.metadata.is_empty(),
        "modalities" => request.modalities.iter().any(|kind| kind != "text"),
        "output.format" => request.output != OutputFormat::Text,
        "parallel_tools" => request.parallel_tools == Some(false),
        "reasoning" => request.reasoning.is_some(),
        "sampling.frequency_penalty" => sampling.frequency_penalty.is_some(),
        "sampling.logit_bias" => sampling.logit_bias.is_some(),
        "sampling.logprobs" => sampling.logprobs == Some(true) || sampling.top_logprobs.is_some(),
        "sampling.n" => sampling.n.is_some_and(|n| n > 1),
        "sampling.presence_penalty" => sampling.presence_penalty.is_some(),
        "sampling.seed" => sampling.seed.is_some(),
        "sampling.stop" => !sampling.stop.is_empty(),
        "sampling.top_k" => sampling.top_k.is_some(),
        "sampling.top_logprobs" => sampling.top_logprobs.is_some_and(|count| count > 0),
        "service_tier" => request.service_tier.is_some(),
        "user" => request.user.is_some(),
        _ => false,
    }
}
