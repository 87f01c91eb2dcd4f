//! Renders a request.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, Family, OutputFormat, Tool, ToolChoice};
use crate::dialect::{Losses, Target, Unsupported};
use crate::json as wire_json;

use super::provider::address;
use super::thinking::{Plan, plan};
use super::types::put_cache;
use super::{JSON_TOOL, turns};

/// The body of a messages call.
pub(super) fn render(
    request: &ChatRequest,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Vec<u8>, Unsupported> {
    if request.sampling.n.is_some_and(|n| n > 1) {
        return Err(Unsupported {
            what: "n".to_owned(),
            why: "Anthropic models give one answer per call; send `n: 1` or call several times".to_owned(),
        });
    }
    let plan = plan(request, target, losses);
    let mut body = Map::new();
    for (key, value) in address(target, request.stream) {
        body.insert(key.to_owned(), value);
    }
    let turns = turns::render(request, plan.thinks(), losses)?;
    if !turns.system.is_empty() {
        body.insert("system".to_owned(), Value::Array(turns.system));
    }
    body.insert("messages".to_owned(), Value::Array(turns.messages));
    sampling(request, &plan, &mut body, losses);
    tools(request, target, &plan, &mut body, losses);
    if let Some(user) = &request.user {
        body.insert("metadata".to_owned(), json!({ "user_id": user }));
    }
    if let Some(tier) = &request.service_tier {
        // The dialect knows two words; the others name tiers of other providers.
        match tier.as_str() {
            "auto" | "standard_only" => {
                body.insert("service_tier".to_owned(), json!(tier));
            }
            "default" => {
                body.insert("service_tier".to_owned(), json!("standard_only"));
            }
            _ => losses.note("service_tier"),
        }
    }
    for (key, value) in request.extra.of(Family::Anthropic).into_iter().flatten() {
        if key != "anthropic_version" {
            merge(&mut body, key, value);
        }
    }
    note_losses(request, losses);
    Ok(wire_json::write(&body))
}

/// Objects of which we render a part keep the client's other members.
fn merge(body: &mut Map<String, Value>, key: &str, value: &Value) {
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

fn sampling(request: &ChatRequest, plan: &Plan, body: &mut Map<String, Value>, losses: &mut Losses) {
    body.insert("max_tokens".to_owned(), json!(plan.max_tokens));
    if let Some(thinking) = &plan.thinking {
        body.insert("thinking".to_owned(), thinking.clone());
    }
    if let Some(effort) = &plan.effort {
        body.insert("output_config".to_owned(), json!({ "effort": effort }));
    }
    if let Some(temperature) = &plan.temperature {
        body.insert("temperature".to_owned(), json!(temperature));
    }
    if let Some(top_p) = &plan.top_p {
        body.insert("top_p".to_owned(), json!(top_p));
    }
    if let Some(top_k) = plan.top_k {
        body.insert("top_k".to_owned(), json!(top_k));
    }
    // The API refuses stop texts of white space alone.
    let stop: Vec<&String> = request.sampling.stop.iter().filter(|text| !text.trim().is_empty()).collect();
    if stop.len() < request.sampling.stop.len() {
        losses.note("sampling.stop");
    }
    if !stop.is_empty() {
        body.insert("stop_sequences".to_owned(), json!(stop));
    }
}

fn tools(
    request: &ChatRequest,
    target: &Target<'_>,
    plan: &Plan,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) {
    let mut tools: Vec<Value> = request.tools.iter().filter_map(|tool| self::tool(tool, losses)).collect();
    let mut choice = (!tools.is_empty()).then(|| tool_choice(request, losses)).flatten();
    match &request.output {
        OutputFormat::Text => {}
        OutputFormat::JsonSchema { schema, .. } if target.abilities.json_schema == Some(true) => {
            let format = json!({ "type": "json_schema", "schema": schema });
            merge(body, "output_config", &json!({ "format": format }));
            if let Some(config) = body.get_mut("output_config").and_then(Value::as_object_mut) {
                config.entry("format".to_owned()).or_insert(format);
            }
        }
        output => {
            // A tool that must be called stands in: its arguments are the answer.
            let schema = match output {
                OutputFormat::JsonSchema { schema, .. } => schema.clone(),
                _ => json!({ "type": "object", "additionalProperties": true, "properties": {} }),
            };
            tools.push(json!({ "name": JSON_TOOL, "input_schema": schema }));
            if choice.is_none() && request.tools.is_empty() && !plan.thinks() {
                choice = Some(json!({ "type": "tool", "name": JSON_TOOL }));
            } else {
                choice.get_or_insert_with(|| json!({ "type": "auto" }));
            }
        }
    }
    if tools.is_empty() {
        return;
    }
    body.insert("tools".to_owned(), Value::Array(tools));
    if request.parallel_tools == Some(false) {
        let choice = choice.get_or_insert_with(|| json!({ "type": "auto" }));
        if let Some(members) = choice.as_object_mut().filter(|members| members["type"] != "none") {
            members.insert("disable_parallel_tool_use".to_owned(), json!(true));
        }
    }
    if let Some(choice) = choice {
        body.insert("tool_choice".to_owned(), choice);
    }
}

fn tool(tool: &Tool, losses: &mut Losses) -> Option<Value> {
    match tool {
        Tool::Function { name, description, parameters, strict, cache, extra } => {
            let mut out = Map::new();
            out.insert("name".to_owned(), json!(name));
            if let Some(description) = description {
                out.insert("description".to_owned(), json!(description));
            }
            out.insert("input_schema".to_owned(), schema(parameters.as_ref()));
            if strict.is_some() {
                losses.note("tool.strict");
            }
            for (key, value) in extra.of(Family::Anthropic).into_iter().flatten() {
                out.entry(key.clone()).or_insert_with(|| value.clone());
            }
            put_cache(&mut out, cache.as_ref());
            Some(Value::Object(out))
        }
        Tool::WebSearch { context_size, max_uses, allowed_domains, blocked_domains, location, extra } => {
            let mut out = Map::new();
            out.insert("type".to_owned(), json!("web_search_20250305"));
            out.insert("name".to_owned(), json!("web_search"));
            if let Some(uses) = max_uses {
                out.insert("max_uses".to_owned(), json!(uses));
            }
            for (key, domains) in [("allowed_domains", allowed_domains), ("blocked_domains", blocked_domains)]
            {
                if !domains.is_empty() {
                    out.insert(key.to_owned(), json!(domains));
                }
            }
            if let Some(location) = location {
                let mut place = location.as_object().cloned().unwrap_or_default();
                place.insert("type".to_owned(), json!("approximate"));
                out.insert("user_location".to_owned(), Value::Object(place));
            }
            if context_size.is_some() {
                losses.note("tool.web_search.context_size");
            }
            for (key, value) in extra.of(Family::Anthropic).into_iter().flatten() {
                out.insert(key.clone(), value.clone());
            }
            Some(Value::Object(out))
        }
        Tool::Foreign { family: Family::Anthropic, value } => Some(value.clone()),
        Tool::Foreign { .. } => {
            losses.note("tool.foreign");
            None
        }
    }
}

/// The API wants an object schema in any case.
fn schema(parameters: Option<&Value>) -> Value {
    let mut schema = parameters.and_then(Value::as_object).cloned().unwrap_or_default();
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        schema.insert("type".to_owned(), json!("object"));
    }
    schema.entry("properties".to_owned()).or_insert_with(|| json!({}));
    Value::Object(schema)
}

fn tool_choice(request: &ChatRequest, losses: &mut Losses) -> Option<Value> {
    Some(match request.tool_choice.as_ref()? {
        ToolChoice::Auto => json!({ "type": "auto" }),
        ToolChoice::None => json!({ "type": "none" }),
        ToolChoice::Required => json!({ "type": "any" }),
        ToolChoice::Named(name) => json!({ "type": "tool", "name": name }),
        ToolChoice::AnyOf { names, required } => {
            losses.note("tool_choice.allowed");
            match names.as_slice() {
                [name] if *required => json!({ "type": "tool", "name": name }),
                _ if *required => json!({ "type": "any" }),
                _ => json!({ "type": "auto" }),
            }
        }
    })
}

/// Wishes the dialect has no word for.
fn note_losses(request: &ChatRequest, losses: &mut Losses) {
    let sampling = &request.sampling;
    for (name, is_set) in [
        ("sampling.seed", sampling.seed.is_some()),
        ("sampling.presence_penalty", sampling.presence_penalty.is_some()),
        ("sampling.frequency_penalty", sampling.frequency_penalty.is_some()),
        ("sampling.logprobs", sampling.logprobs == Some(true) || sampling.top_logprobs.is_some()),
        ("sampling.logit_bias", sampling.logit_bias.is_some()),
        ("metadata", !request.metadata.is_empty()),
        ("audio", request.audio.is_some()),
    ] {
        if is_set {
            losses.note(name);
        }
    }
}
