//! The body of `:generateContent`.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, Family, OutputFormat, Tool, ToolChoice};
use crate::dialect::provider::leave_out;
use crate::dialect::{Flavor, Losses, Target, Unsupported};

use super::{schema, thinking, turns};

/// Renders a request.
pub(super) fn body(
    request: &ChatRequest,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Map<String, Value>, Unsupported> {
    let mut body = conversation(request, target, losses)?;
    if let Some(config) = tool_config(request, losses) {
        body.insert("toolConfig".to_owned(), config);
    }
    let config = config(request, target, losses);
    if !config.is_empty() {
        body.insert("generationConfig".to_owned(), Value::Object(config));
    }
    if let Some(tier) = tier(request, target, losses) {
        body.insert("serviceTier".to_owned(), json!(tier));
    }
    note_losses(request, losses);
    for (key, value) in request.extra.of(Family::Gemini).into_iter().flatten() {
        if !NESTED.contains(&key.as_str()) {
            body.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    Ok(body)
}

/// Objects the client's codec read; what it left of them is merged into ours.
const NESTED: &[&str] = &["generationConfig", "toolConfig", "functionCallingConfig", "thinkingConfig"];

/// What counts toward the prompt: contents, system instruction, tools.
pub(super) fn conversation(
    request: &ChatRequest,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Map<String, Value>, Unsupported> {
    let turns = turns::turns(&request.messages, target, losses)?;
    let mut body = Map::new();
    body.insert("contents".to_owned(), Value::Array(turns.contents));
    if !turns.system.is_empty() {
        body.insert("systemInstruction".to_owned(), json!({ "parts": turns.system }));
    }
    let tools = tools(request, losses)?;
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    Ok(body)
}

fn tools(request: &ChatRequest, losses: &mut Losses) -> Result<Vec<Value>, Unsupported> {
    let (mut functions, mut others) = (Vec::new(), Vec::new());
    for (index, tool) in request.tools.iter().enumerate() {
        match tool {
            Tool::Function { name, description, parameters, strict, cache, extra } => {
                if *strict == Some(true) {
                    losses.note("tool.strict");
                }
                if cache.is_some() {
                    losses.note("cache_control");
                }
                let mut function = Map::new();
                function.insert("name".to_owned(), json!(name));
                if let Some(description) = description {
                    function.insert("description".to_owned(), json!(description));
                }
                if let Some(parameters) = parameters {
                    function.insert("parametersJsonSchema".to_owned(), schema::accepted(parameters));
                }
                for (key, value) in extra.of(Family::Gemini).into_iter().flatten() {
                    function.entry(key.clone()).or_insert_with(|| value.clone());
                }
                functions.push(Value::Object(function));
            }
            Tool::WebSearch { context_size, max_uses, allowed_domains, blocked_domains, location, extra } => {
                let lost = [
                    ("web_search.context_size", context_size.is_some()),
                    ("web_search.max_uses", max_uses.is_some()),
                    ("web_search.allowed_domains", !allowed_domains.is_empty()),
                    ("web_search.location", location.is_some()),
                ];
                for (name, is_lost) in lost {
                    if is_lost {
                        losses.note(name);
                    }
                }
                let mut search = extra.of(Family::Gemini).cloned().unwrap_or_default();
                if !blocked_domains.is_empty() {
                    search.insert("excludeDomains".to_owned(), json!(blocked_domains));
                }
                others.push(json!({ "googleSearch": search }));
            }
            Tool::Foreign { family: Family::Gemini, value } => others.push(value.clone()),
            Tool::Foreign { .. } => {
                let remedy = "this tool is run by another provider; leave it out or offer a function";
                leave_out(request, index, remedy, losses)?;
            }
        }
    }
    if !functions.is_empty() {
        others.insert(0, json!({ "functionDeclarations": functions }));
    }
    Ok(others)
}

fn tool_config(request: &ChatRequest, losses: &mut Losses) -> Option<Value> {
    if request.parallel_tools == Some(false) {
        losses.note("parallel_tools");
    }
    let kept = |key: &str| request.extra.get(Family::Gemini, key).and_then(Value::as_object).cloned();
    let mut calling = Map::new();
    let has_functions = request.tools.iter().any(|tool| matches!(tool, Tool::Function { .. }));
    let choice = request.tool_choice.as_ref().filter(|_| has_functions);
    let (mode, names) = match choice {
        None => (None, None),
        Some(ToolChoice::Auto) => (Some("AUTO"), None),
        Some(ToolChoice::None) => (Some("NONE"), None),
        Some(ToolChoice::Required) => (Some("ANY"), None),
        Some(ToolChoice::Named(name)) => (Some("ANY"), Some(json!([name]))),
        Some(ToolChoice::AnyOf { names, required: true }) => (Some("ANY"), Some(json!(names))),
        Some(ToolChoice::AnyOf { names, required: false }) => (Some("VALIDATED"), Some(json!(names))),
    };
    if let Some(mode) = mode {
        calling.insert("mode".to_owned(), json!(mode));
    }
    if let Some(names) = names {
        calling.insert("allowedFunctionNames".to_owned(), names);
    }
    calling.extend(kept("functionCallingConfig").unwrap_or_default());
    let mut config = kept("toolConfig").unwrap_or_default();
    if !calling.is_empty() {
        config.insert("functionCallingConfig".to_owned(), Value::Object(calling));
    }
    (!config.is_empty()).then_some(Value::Object(config))
}

fn config(request: &ChatRequest, target: &Target<'_>, losses: &mut Losses) -> Map<String, Value> {
    let sampling = &request.sampling;
    let members = [
        ("maxOutputTokens", sampling.max_output_tokens.map(|count| json!(count))),
        ("temperature", sampling.temperature.as_ref().map(|number| json!(number))),
        ("topP", sampling.top_p.as_ref().map(|number| json!(number))),
        ("topK", sampling.top_k.map(|count| json!(count))),
        ("stopSequences", (!sampling.stop.is_empty()).then(|| json!(sampling.stop))),
        ("candidateCount", sampling.n.map(|n| json!(n))),
        ("seed", sampling.seed.map(|seed| json!(seed))),
        ("presencePenalty", sampling.presence_penalty.as_ref().map(|number| json!(number))),
        ("frequencyPenalty", sampling.frequency_penalty.as_ref().map(|number| json!(number))),
        ("responseLogprobs", sampling.logprobs.map(|wanted| json!(wanted))),
        // Zero alternatives is not a number the API takes.
        ("logprobs", sampling.top_logprobs.filter(|count| *count > 0).map(|count| json!(count))),
    ];
    let mut config = Map::new();
    for (name, value) in members {
        if let Some(value) = value {
            config.insert(name.to_owned(), value);
        }
    }
    match &request.output {
        OutputFormat::Text => {}
        OutputFormat::JsonObject => {
            config.insert("responseMimeType".to_owned(), json!("application/json"));
        }
        OutputFormat::JsonSchema { schema, .. } => {
            config.insert("responseMimeType".to_owned(), json!("application/json"));
            config.insert("responseJsonSchema".to_owned(), schema::accepted(schema));
        }
    }
    if !request.modalities.is_empty() {
        let words: Vec<String> = request.modalities.iter().map(|word| word.to_ascii_uppercase()).collect();
        config.insert("responseModalities".to_owned(), json!(words));
    }
    if let Some(mut thinking) = request.reasoning.as_ref().and_then(|it| thinking::config(it, target, losses))
    {
        if let (Value::Object(map), Some(rest)) = (&mut thinking, thinking::rest(&request.extra)) {
            map.extend(rest.clone());
        }
        config.insert("thinkingConfig".to_owned(), thinking);
    }
    let kept = request.extra.get(Family::Gemini, "generationConfig").and_then(Value::as_object);
    for (key, value) in kept.into_iter().flatten() {
        // The client's own word for a form we only know as JSON, e.g. `text/x.enum`.
        config.insert(key.clone(), value.clone());
    }
    if let Some(voice) = request.audio.as_ref().and_then(|audio| audio.get("voice")) {
        config
            .entry("speechConfig")
            .or_insert_with(|| json!({"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}));
    }
    config
}

fn tier(request: &ChatRequest, target: &Target<'_>, losses: &mut Losses) -> Option<String> {
    let tier = request.service_tier.as_deref()?;
    if matches!(target.flavor, Flavor::Vertex { .. }) {
        losses.note("service_tier");
        return None;
    }
    match tier {
        "auto" => None,
        "default" => Some("standard".to_owned()),
        other => Some(other.to_owned()),
    }
}

fn note_losses(request: &ChatRequest, losses: &mut Losses) {
    let lost = [
        ("sampling.logit_bias", request.sampling.logit_bias.is_some()),
        ("user", request.user.is_some()),
        ("metadata", !request.metadata.is_empty()),
        ("audio.format", request.audio.as_ref().is_some_and(|audio| audio.get("format").is_some())),
    ];
    for (name, is_lost) in lost {
        if is_lost {
            losses.note(name);
        }
    }
}
