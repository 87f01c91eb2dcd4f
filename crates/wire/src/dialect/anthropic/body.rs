//! Renders a request.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, Family, OutputFormat, Tool, ToolChoice};
use crate::dialect::render::{lose, merge, object_schema, one_answer, schema_of_output, stops};
use crate::dialect::{Flavor, Losses, Target, Unsupported};
use crate::json as wire_json;

use super::provider::address;
use super::thinking::{Plan, check_forced, plan};
use super::types::put_cache;
use super::{JSON_TOOL, betas, turns};

/// The body of a messages call.
pub(super) fn render(
    request: &ChatRequest,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Vec<u8>, Unsupported> {
    one_answer(request, "Anthropic models give")?;
    check_forced(request, target)?;
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
        if !matches!(key.as_str(), "anthropic_version" | betas::MEMBER) {
            merge(&mut body, key, value);
        }
    }
    if target.flavor == Flavor::BedrockInvoke {
        sort_edits(&mut body, losses);
    }
    note_losses(request, losses);
    Ok(wire_json::write(&body))
}

/// Leaves those edits of the context in that InvokeModel knows; it refuses the others.
///
/// Source: Amazon Bedrock user guide, "Anthropic Claude Messages API: tool use" and "Compaction".
fn sort_edits(body: &mut Map<String, Value>, losses: &mut Losses) {
    const KNOWN: &[&str] = &["clear_tool_uses_20250919", "compact_20260112"];
    let Some(management) = body.get_mut("context_management") else { return };
    let edits = management.get_mut("edits").and_then(Value::as_array_mut);
    let left = edits.map_or(0, |edits| {
        let all = edits.len();
        edits.retain(|edit| edit["type"].as_str().is_some_and(|kind| KNOWN.contains(&kind)));
        if edits.len() < all {
            losses.note("context_management.edits");
        }
        edits.len()
    });
    if left == 0 {
        body.shift_remove("context_management");
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
    let stop = stops(&request.sampling, losses);
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
            let schema = schema_of_output(output);
            tools.push(json!({ "name": JSON_TOOL, "input_schema": schema }));
            let may_force = !plan.thinks() && target.abilities.forced_tools != Some(false);
            if choice.is_none() && request.tools.is_empty() && may_force {
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
            out.insert("input_schema".to_owned(), object_schema(parameters.as_ref()));
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
    let wishes = [
        "sampling.seed",
        "sampling.presence_penalty",
        "sampling.frequency_penalty",
        "sampling.logprobs",
        "sampling.logit_bias",
        "metadata",
        "audio",
    ];
    lose(request, &wishes, losses);
}
