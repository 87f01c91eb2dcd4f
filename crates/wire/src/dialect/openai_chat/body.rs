//! The body of `/chat/completions`.

use serde_json::{Map, Number, Value, json};

use crate::chat::{ChatRequest, Effort, Family, OutputFormat, Reasoning, Tool, ToolChoice};
use crate::dialect::provider::leave_out;
use crate::dialect::{Losses, Quirks, Target, Unsupported};

use super::types::put_cache;
use super::{JSON_TOOL, schema, tools, turns};

/// Renders a request.
pub(super) fn body(
    request: &ChatRequest,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Map<String, Value>, Unsupported> {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(target.model));
    body.insert("messages".to_owned(), Value::Array(turns::messages(request, target, losses)?));
    if request.stream {
        body.insert("stream".to_owned(), json!(true));
        if !target.quirks.no_stream_options {
            body.insert("stream_options".to_owned(), stream_options(request));
        }
    }
    sampling(request, target, &mut body, losses);
    offer(request, target, &mut body, losses)?;
    output(request, target, &mut body);
    if let Some(wish) = &request.reasoning {
        reasoning(wish, target, &mut body, losses);
    }
    let members = [
        (
            "parallel_tool_calls",
            request.parallel_tools.filter(|_| !request.tools.is_empty()).map(Value::from),
        ),
        ("service_tier", request.service_tier.as_deref().map(Value::from)),
        ("user", request.user.as_deref().map(Value::from)),
        ("metadata", (!request.metadata.is_empty()).then(|| Value::Object(request.metadata.clone()))),
        ("modalities", (!request.modalities.is_empty()).then(|| json!(request.modalities))),
        ("audio", request.audio.clone()),
    ];
    for (name, value) in members {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    }
    for (key, value) in request.extra.of(Family::OpenAi).into_iter().flatten() {
        body.entry(key.clone()).or_insert_with(|| value.clone());
    }
    finish(target.quirks, &mut body);
    Ok(body)
}

fn stream_options(request: &ChatRequest) -> Value {
    let mut options = match request.extra.get(Family::OpenAi, "stream_options") {
        Some(Value::Object(options)) => options.clone(),
        _ => Map::new(),
    };
    options.insert("include_usage".to_owned(), json!(true));
    Value::Object(options)
}

/// What the provider always gets, and what it calls by another name.
fn finish(quirks: &Quirks, body: &mut Map<String, Value>) {
    if quirks.force_store_false {
        body.insert("store".to_owned(), json!(false));
    }
    for (name, text) in &quirks.always_send {
        if let Ok(value) = crate::json::read_str::<Value>(text) {
            body.entry(name.clone()).or_insert(value);
        }
    }
    for (ours, theirs) in &quirks.rename {
        if let Some(value) = body.shift_remove(ours) {
            body.insert(theirs.clone(), value);
        }
    }
}

/// True for the models that know `max_completion_tokens` only.
///
/// Source: OpenAI, "Reasoning models".
fn is_reasoning_model(target: &Target<'_>) -> bool {
    let name = target.model.rsplit('/').next().unwrap_or_default();
    matches!(target.provider, "openai" | "azure")
        && ["o1", "o3", "o4", "gpt-5"].iter().any(|family| name.starts_with(family))
}

fn sampling(request: &ChatRequest, target: &Target<'_>, body: &mut Map<String, Value>, losses: &mut Losses) {
    let (sampling, quirks) = (&request.sampling, target.quirks);
    let bound =
        if quirks.max_completion_tokens || quirks.knows_max_completion_tokens || is_reasoning_model(target) {
            "max_completion_tokens"
        } else {
            "max_tokens"
        };
    let stop = match sampling.stop.as_slice() {
        [] => None,
        [only] => Some(json!(only)),
        many => Some(json!(many)),
    };
    let top_k = sampling.top_k.filter(|_| {
        // These have no such parameter and refuse it; Groq's reference lists what it takes.
        let takes = !matches!(target.provider, "openai" | "azure" | "groq");
        if !takes {
            losses.note("sampling.top_k");
        }
        takes
    });
    let members = [
        (bound, sampling.max_output_tokens.map(|count| json!(count))),
        ("temperature", temperature(sampling, quirks, losses).map(Value::Number)),
        ("top_p", sampling.top_p.clone().map(Value::Number)),
        ("top_k", top_k.map(|count| json!(count))),
        ("stop", stop),
        ("n", sampling.n.map(|count| json!(count))),
        ("seed", sampling.seed.map(|seed| json!(seed))),
        ("presence_penalty", sampling.presence_penalty.clone().map(Value::Number)),
        ("frequency_penalty", sampling.frequency_penalty.clone().map(Value::Number)),
        ("logprobs", sampling.logprobs.map(Value::from)),
        ("top_logprobs", sampling.top_logprobs.map(|count| json!(count))),
        ("logit_bias", sampling.logit_bias.clone()),
    ];
    for (name, value) in members {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    }
}

fn temperature(sampling: &crate::chat::Sampling, quirks: &Quirks, losses: &mut Losses) -> Option<Number> {
    let asked = sampling.temperature.as_ref()?;
    let value = asked.as_f64()?;
    let bound = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<f64>().ok());
    let most = bound(&quirks.temperature_max).filter(|most| value > *most);
    let least = bound(&quirks.temperature_min_with_n)
        .filter(|least| sampling.n.is_some_and(|n| n > 1) && value < *least);
    match most.or(least).and_then(Number::from_f64) {
        Some(clamped) => {
            losses.note("sampling.temperature");
            Some(clamped)
        }
        None => Some(asked.clone()),
    }
}

fn offer(
    request: &ChatRequest,
    target: &Target<'_>,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let mut list = Vec::new();
    for (index, tool) in request.tools.iter().enumerate() {
        match tool {
            Tool::Function { .. } => list.push(function(tool, target, losses)),
            Tool::WebSearch { .. } => {
                body.insert("web_search_options".to_owned(), web_search(tool, losses));
            }
            Tool::Foreign { family: Family::OpenAi, value } => list.push(value.clone()),
            Tool::Foreign { value, .. } => {
                let kind = value.get("type").and_then(Value::as_str).unwrap_or("this kind of tool");
                let remedy = format!(
                    "`{kind}` runs at the provider that defines it only; offer a function instead, or send the \
                     request to a model of that provider"
                );
                leave_out(request, index, remedy, losses)?;
            }
        }
    }
    if !list.is_empty() {
        body.insert("tools".to_owned(), Value::Array(list));
        if let Some(choice) = &request.tool_choice {
            body.insert("tool_choice".to_owned(), choose(choice, request, target.quirks));
        }
    }
    Ok(())
}

fn function(tool: &Tool, target: &Target<'_>, losses: &mut Losses) -> Value {
    let Tool::Function { name, description, parameters, strict, cache, extra } = tool else {
        return Value::Null;
    };
    let quirks = target.quirks;
    let own = extra.of(Family::OpenAi);
    if let Some(custom) = own.and_then(|own| own.get("custom")) {
        if matches!(target.provider, "openai" | "azure") {
            let mut form = Map::new();
            form.insert("name".to_owned(), json!(name));
            if let Some(description) = description {
                form.insert("description".to_owned(), json!(description));
            }
            if let Some(format) = custom.get("format").filter(|format| !format.is_null()) {
                form.insert("format".to_owned(), format.clone());
            }
            return json!({"type": "custom", "custom": form});
        }
        losses.note("tool.grammar");
    }
    let mut form = Map::new();
    form.insert("name".to_owned(), json!(name));
    if let Some(description) = description {
        form.insert("description".to_owned(), json!(description));
    }
    if let Some(parameters) = parameters {
        let mut parameters = parameters.clone();
        if quirks.inline_schema_refs {
            parameters = schema::inlined(&parameters);
        }
        if quirks.drop_additional_properties {
            schema::without(&mut parameters, "additionalProperties");
        }
        form.insert("parameters".to_owned(), parameters);
    }
    match strict {
        Some(_) if quirks.drop_tool_strict => losses.note("tool.strict"),
        Some(strict) => {
            form.insert("strict".to_owned(), json!(strict));
        }
        None => {}
    }
    for (key, value) in own.into_iter().flatten() {
        if !matches!(key.as_str(), tools::LEGACY | "custom") {
            form.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    let mut out = Map::new();
    out.insert("type".to_owned(), json!("function"));
    out.insert("function".to_owned(), Value::Object(form));
    match cache {
        Some(cache) if quirks.keep_cache_control => put_cache(&mut out, cache),
        Some(_) => losses.note("cache_control"),
        None => {}
    }
    Value::Object(out)
}

fn web_search(tool: &Tool, losses: &mut Losses) -> Value {
    let mut options = Map::new();
    if let Tool::WebSearch { context_size, max_uses, allowed_domains, blocked_domains, location, extra } =
        tool
    {
        if let Some(size) = context_size {
            options.insert("search_context_size".to_owned(), json!(size));
        }
        if let Some(place) = location {
            let place = json!({"type": "approximate", "approximate": place});
            options.insert("user_location".to_owned(), place);
        }
        if max_uses.is_some() {
            losses.note("web_search.max_uses");
        }
        if !allowed_domains.is_empty() || !blocked_domains.is_empty() {
            losses.note("web_search.domains");
        }
        for (key, value) in extra.of(Family::OpenAi).into_iter().flatten() {
            options.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    Value::Object(options)
}

fn choose(choice: &ToolChoice, request: &ChatRequest, quirks: &Quirks) -> Value {
    let required = || json!(quirks.required_word.as_deref().unwrap_or("required"));
    let custom = |called: &str| {
        request.tools.iter().any(|tool| {
            matches!(tool, Tool::Function { name, extra, .. }
                if name == called && extra.get(Family::OpenAi, "custom").is_some())
        })
    };
    let named = |name: &str| {
        let kind = if custom(name) { "custom" } else { "function" };
        json!({"type": kind, (kind): {"name": name}})
    };
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => required(),
        ToolChoice::Named(name) => named(name),
        ToolChoice::AnyOf { names, required } => {
            let tools: Vec<Value> = names.iter().map(|name| named(name)).collect();
            let mode = if *required { "required" } else { "auto" };
            json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}})
        }
    }
}

fn output(request: &ChatRequest, target: &Target<'_>, body: &mut Map<String, Value>) {
    match &request.output {
        OutputFormat::Text => {}
        OutputFormat::JsonObject => {
            body.insert("response_format".to_owned(), json!({"type": "json_object"}));
        }
        OutputFormat::JsonSchema { schema, .. } if target.quirks.schema_by_tool => {
            let tool = json!({"type": "function", "function": {"name": JSON_TOOL, "parameters": schema}});
            if let Value::Array(tools) = body.entry("tools").or_insert_with(|| json!([])) {
                tools.push(tool);
            }
            // Other tools stay available; without any, the answer must come by this one.
            let choice = if request.tools.is_empty() {
                json!({"type": "function", "function": {"name": JSON_TOOL}})
            } else {
                json!(target.quirks.required_word.as_deref().unwrap_or("required"))
            };
            body.insert("tool_choice".to_owned(), choice);
        }
        OutputFormat::JsonSchema { name, description, schema, strict } => {
            let mut wish = Map::new();
            wish.insert("name".to_owned(), json!(name.as_deref().unwrap_or("response")));
            if let Some(description) = description {
                wish.insert("description".to_owned(), json!(description));
            }
            wish.insert("schema".to_owned(), schema.clone());
            if let Some(strict) = strict {
                wish.insert("strict".to_owned(), json!(strict));
            }
            let format = json!({"type": "json_schema", "json_schema": wish});
            body.insert("response_format".to_owned(), format);
        }
    }
}

fn reasoning(wish: &Reasoning, target: &Target<'_>, body: &mut Map<String, Value>, losses: &mut Losses) {
    if wish.summary.as_deref().is_some_and(|word| word != "auto") {
        losses.note("reasoning.summary");
    }
    let off = wish.disabled || wish.budget == Some(0) || wish.effort == Some(Effort::None);
    if target.quirks.thinking_switch {
        let kind = if off { "disabled" } else { "enabled" };
        if wish.budget.is_some_and(|budget| budget > 0) {
            losses.note("reasoning.budget");
        }
        body.insert("thinking".to_owned(), json!({ "type": kind }));
        return;
    }
    if off {
        // Only those who said `none` to a model that knows the word get it; others reason not by default.
        if wish.effort == Some(Effort::None) {
            body.insert("reasoning_effort".to_owned(), json!("none"));
        } else if target.abilities.reasoning != Some(false) {
            losses.note("reasoning.disabled");
        }
        return;
    }
    if target.abilities.reasoning == Some(false) {
        losses.note("reasoning");
        return;
    }
    let effort = match (&wish.effort, wish.budget) {
        // Not a word of OpenAI's; a model the catalog does not know may have it.
        (Some(Effort::Max), _) if target.abilities.reasoning == Some(true) => {
            target.abilities.effort(Effort::Max, losses)
        }
        (Some(effort), _) => effort.clone(),
        (None, Some(budget)) => {
            losses.note("reasoning.budget");
            // OpenAI's scale ends at high for most models.
            match Effort::of_budget(budget) {
                Effort::Xhigh | Effort::Max => Effort::High,
                other => other,
            }
        }
        // The model's own default is what adaptive asks for.
        (None, None) => return,
    };
    body.insert("reasoning_effort".to_owned(), json!(effort.word()));
}
