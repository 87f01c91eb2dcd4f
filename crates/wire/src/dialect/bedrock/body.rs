//! Renders a request.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, Family, OutputFormat, Part, Tool, ToolChoice};
use crate::dialect::anthropic::betas;
use crate::dialect::anthropic::thinking::{Plan, check_forced, plan};
use crate::dialect::render::{lose, merge, object_schema, one_answer, schema_of_output, stops};
use crate::dialect::{Losses, Target, Unsupported};
use crate::json as wire_json;

use super::types::{cache_point, is_claude};
use super::{JSON_TOOL, turns};

/// The body of a Converse call.
pub(super) fn render(
    request: &ChatRequest,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Vec<u8>, Unsupported> {
    one_answer(request, "Bedrock gives")?;
    check_forced(request, target)?;
    let plan = plan(request, target, losses);
    let turns = turns::render(request, losses)?;
    let mut body = Map::new();
    body.insert("messages".to_owned(), Value::Array(turns.messages));
    if !turns.system.is_empty() {
        body.insert("system".to_owned(), Value::Array(turns.system));
    }
    inference(request, &plan, &mut body, losses);
    model_fields(request, target, &plan, &mut body, losses);
    tools(request, target, &plan, &mut body, losses);
    wishes(request, &mut body, losses);
    for (key, value) in request.extra.of(Family::Bedrock).into_iter().flatten() {
        merge(&mut body, key, value);
    }
    Ok(wire_json::write(&body))
}

fn inference(request: &ChatRequest, plan: &Plan, body: &mut Map<String, Value>, losses: &mut Losses) {
    let mut config = Map::new();
    // Models have limits of their own; only a thinking budget needs one that is above it.
    if request.sampling.max_output_tokens.is_some() || plan.thinks() {
        config.insert("maxTokens".to_owned(), json!(plan.max_tokens));
    }
    if let Some(temperature) = &plan.temperature {
        config.insert("temperature".to_owned(), json!(temperature));
    }
    if let Some(top_p) = &plan.top_p {
        config.insert("topP".to_owned(), json!(top_p));
    }
    let stop = stops(&request.sampling, losses);
    if !stop.is_empty() {
        config.insert("stopSequences".to_owned(), json!(stop));
    }
    if !config.is_empty() {
        body.insert("inferenceConfig".to_owned(), Value::Object(config));
    }
}

/// Parameters of the model's vendor, for which Converse has no members of its own.
fn model_fields(
    request: &ChatRequest,
    target: &Target<'_>,
    plan: &Plan,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) {
    let mut fields = Map::new();
    let model = target.model;
    if is_claude(model) {
        if let Some(thinking) = &plan.thinking {
            fields.insert("thinking".to_owned(), thinking.clone());
        }
        if let Some(effort) = &plan.effort {
            fields.insert("output_config".to_owned(), json!({"effort": effort}));
        }
        if !target.betas.is_empty() {
            fields.insert(betas::MEMBER.to_owned(), json!(target.betas));
        }
    } else if let Some(reasoning) = &request.reasoning {
        let effort = reasoning.effort.as_ref().map(|effort| effort.word());
        match effort {
            Some(word) if model.contains("gpt-oss") => {
                fields.insert("reasoning_effort".to_owned(), json!(word));
            }
            Some(word @ ("low" | "medium" | "high")) if model.contains("nova-2") => {
                fields.insert(
                    "reasoningConfig".to_owned(),
                    json!({"type": "enabled", "maxReasoningEffort": word}),
                );
            }
            _ if reasoning.disabled => {}
            _ => losses.note("reasoning"),
        }
    }
    if let Some(top_k) = plan.top_k {
        if model.contains("nova") {
            fields.insert("inferenceConfig".to_owned(), json!({"topK": top_k}));
        } else {
            fields.insert("top_k".to_owned(), json!(top_k));
        }
    }
    if !fields.is_empty() {
        body.insert("additionalModelRequestFields".to_owned(), Value::Object(fields));
    }
}

fn tools(
    request: &ChatRequest,
    target: &Target<'_>,
    plan: &Plan,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) {
    let native = target.abilities.json_schema == Some(true);
    let mut tools = Vec::new();
    request.tools.iter().for_each(|it| tool(it, native, &mut tools, losses));
    let mut choice = tool_choice(request, losses);
    let in_history = called(request);
    if request.tool_choice == Some(ToolChoice::None) {
        // Converse cannot forbid tools; leaving them out does, unless the conversation has used some.
        if in_history.is_empty() {
            tools.clear();
        } else {
            losses.note("tool_choice.none");
        }
    }
    match &request.output {
        OutputFormat::Text => {}
        OutputFormat::JsonSchema { schema, name, description, .. } if native => {
            let mut format = json!({"schema": wire_json::text(schema)});
            for (key, value) in [("name", name), ("description", description)] {
                if let Some(value) = value {
                    format[key] = json!(value);
                }
            }
            let text = json!({"type": "json_schema", "structure": {"jsonSchema": format}});
            merge(body, "outputConfig", &json!({"textFormat": text}));
        }
        output => {
            // A tool that must be called stands in: its arguments are the answer.
            let schema = schema_of_output(output);
            let alone = tools.is_empty();
            tools.push(json!({"toolSpec": {"name": JSON_TOOL, "inputSchema": {"json": schema}}}));
            choice = if alone && !plan.thinks() && target.abilities.forced_tools != Some(false) {
                Some(json!({"tool": {"name": JSON_TOOL}}))
            } else {
                choice.or_else(|| Some(json!({"auto": {}})))
            };
        }
    }
    if tools.is_empty() && !in_history.is_empty() {
        // Calls and results in the conversation are refused without a declaration.
        losses.note("tools.undeclared");
        tools.extend(in_history.iter().map(|name| {
            json!({"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object", "properties": {}}}}})
        }));
        choice = None;
    }
    if request.parallel_tools == Some(false) && !tools.is_empty() {
        losses.note("parallel_tools");
    }
    if tools.is_empty() {
        return;
    }
    let mut config = Map::new();
    config.insert("tools".to_owned(), Value::Array(tools));
    if let Some(choice) = choice {
        config.insert("toolChoice".to_owned(), choice);
    }
    body.insert("toolConfig".to_owned(), Value::Object(config));
}

/// Names of the tools that the conversation has called, once each.
fn called(request: &ChatRequest) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for part in request.messages.iter().flat_map(|message| &message.parts) {
        let name = match part {
            Part::ToolCall { name, .. } => Some(name.as_str()),
            Part::ToolResult { name, .. } => Some(name.as_deref().unwrap_or("tool")),
            _ => None,
        };
        // A result names the tool only sometimes; its call has done so before.
        let known = |name: &str| names.contains(&name) || (name == "tool" && !names.is_empty());
        names.extend(name.filter(|name| !known(name)));
    }
    names
}

fn tool(tool: &Tool, native: bool, out: &mut Vec<Value>, losses: &mut Losses) {
    match tool {
        Tool::Function { name, description, parameters, strict, cache, extra } => {
            let mut spec = Map::new();
            spec.insert("name".to_owned(), json!(name));
            // The API refuses an empty description.
            if let Some(description) = description.as_deref().filter(|text| !text.is_empty()) {
                spec.insert("description".to_owned(), json!(description));
            }
            spec.insert("inputSchema".to_owned(), json!({"json": object_schema(parameters.as_ref())}));
            match strict {
                Some(strict) if native => {
                    spec.insert("strict".to_owned(), json!(strict));
                }
                Some(true) => losses.note("tool.strict"),
                _ => {}
            }
            for (key, value) in extra.of(Family::Bedrock).into_iter().flatten() {
                spec.entry(key.clone()).or_insert_with(|| value.clone());
            }
            out.push(json!({"toolSpec": spec}));
            out.extend(cache.as_ref().map(cache_point));
        }
        Tool::WebSearch { .. } => losses.note("tool.web_search"),
        Tool::Foreign { family: Family::Bedrock, value } => out.push(value.clone()),
        Tool::Foreign { .. } => losses.note("tool.foreign"),
    }
}

fn tool_choice(request: &ChatRequest, losses: &mut Losses) -> Option<Value> {
    Some(match request.tool_choice.as_ref()? {
        ToolChoice::Auto => json!({"auto": {}}),
        ToolChoice::None => return None,
        ToolChoice::Required => json!({"any": {}}),
        ToolChoice::Named(name) => json!({"tool": {"name": name}}),
        ToolChoice::AnyOf { names, required } => {
            losses.note("tool_choice.allowed");
            match names.as_slice() {
                [name] if *required => json!({"tool": {"name": name}}),
                _ if *required => json!({"any": {}}),
                _ => json!({"auto": {}}),
            }
        }
    })
}

fn wishes(request: &ChatRequest, body: &mut Map<String, Value>, losses: &mut Losses) {
    match request.service_tier.as_deref() {
        None | Some("auto") => {}
        Some(tier @ ("priority" | "default" | "flex" | "reserved")) => {
            body.insert("serviceTier".to_owned(), json!({"type": tier}));
        }
        Some(_) => losses.note("service_tier"),
    }
    if !request.metadata.is_empty() {
        body.insert("requestMetadata".to_owned(), Value::Object(request.metadata.clone()));
    }
    let wishes = [
        "user",
        "sampling.seed",
        "sampling.presence_penalty",
        "sampling.frequency_penalty",
        "sampling.logprobs",
        "sampling.logit_bias",
        "audio",
    ];
    lose(request, &wishes, losses);
}
