//! The body of `/v2/chat`.

use serde_json::{Map, Value, json};

use crate::chat::{
    ChatRequest, Effort, Family, Media, Message, OutputFormat, Part, Reasoning, Role, Tool, ToolChoice,
};
use crate::dialect::provider::leave_out;
use crate::dialect::render::{lose, put};
use crate::dialect::{Losses, Target, Unsupported};

/// Renders a request.
pub(super) fn body(
    request: &ChatRequest,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Map<String, Value>, Unsupported> {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(target.model));
    body.insert("messages".to_owned(), Value::Array(messages(request, losses)?));
    if request.stream {
        body.insert("stream".to_owned(), json!(true));
    }
    tools(request, &mut body, losses)?;
    sampling(request, &mut body, losses);
    match &request.output {
        OutputFormat::Text => {}
        OutputFormat::JsonObject => {
            body.insert("response_format".to_owned(), json!({"type": "json_object"}));
        }
        OutputFormat::JsonSchema { schema, .. } => {
            let format = json!({"type": "json_object", "json_schema": schema});
            body.insert("response_format".to_owned(), format);
        }
    }
    if let Some(thinking) = request.reasoning.as_ref().and_then(|wish| thinking(wish, target, losses)) {
        body.insert("thinking".to_owned(), thinking);
    }
    for (key, value) in request.extra.of(Family::Cohere).into_iter().flatten() {
        body.entry(key.clone()).or_insert_with(|| value.clone());
    }
    Ok(body)
}

fn sampling(request: &ChatRequest, body: &mut Map<String, Value>, losses: &mut Losses) {
    let sampling = &request.sampling;
    let members = [
        ("max_tokens", sampling.max_output_tokens.map(|count| json!(count))),
        ("temperature", sampling.temperature.as_ref().map(|number| json!(number))),
        ("p", sampling.top_p.as_ref().map(|number| json!(number))),
        ("k", sampling.top_k.map(|count| json!(count))),
        ("seed", sampling.seed.map(|seed| json!(seed))),
        ("stop_sequences", (!sampling.stop.is_empty()).then(|| json!(sampling.stop))),
        ("presence_penalty", sampling.presence_penalty.as_ref().map(|number| json!(number))),
        ("frequency_penalty", sampling.frequency_penalty.as_ref().map(|number| json!(number))),
        ("logprobs", sampling.logprobs.map(|wanted| json!(wanted))),
    ];
    put(body, members);
    let wishes = [
        "sampling.n",
        "sampling.top_logprobs",
        "sampling.logit_bias",
        "parallel_tools",
        "service_tier",
        "user",
        "metadata",
        "modalities",
        "audio",
    ];
    lose(request, &wishes, losses);
}

fn thinking(wish: &Reasoning, target: &Target<'_>, losses: &mut Losses) -> Option<Value> {
    if target.abilities.reasoning == Some(false) {
        losses.note("reasoning");
        return None;
    }
    if wish.disabled || wish.effort == Some(Effort::None) {
        return Some(json!({"type": "disabled"}));
    }
    Some(match wish.budget.or_else(|| wish.effort.as_ref().map(Effort::budget)) {
        Some(tokens) => json!({"type": "enabled", "token_budget": tokens}),
        None => json!({"type": "enabled"}),
    })
}

fn tools(
    request: &ChatRequest,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    // Cohere cannot name a tool: only those that may be called are offered.
    let names: Option<Vec<&str>> = match &request.tool_choice {
        Some(ToolChoice::Named(name)) => Some(vec![name]),
        Some(ToolChoice::AnyOf { names, .. }) => Some(names.iter().map(String::as_str).collect()),
        _ => None,
    };
    let mut tools = Vec::new();
    let mut all_strict = true;
    for (index, tool) in request.tools.iter().enumerate() {
        let Tool::Function { name, description, parameters, strict, cache, .. } = tool else {
            leave_out(
                request,
                index,
                "Cohere runs no tools of its own here; offer a function instead",
                losses,
            )?;
            continue;
        };
        if cache.is_some() {
            losses.note("cache_control");
        }
        if names.as_ref().is_some_and(|names| !names.contains(&name.as_str())) {
            continue;
        }
        all_strict &= *strict == Some(true);
        let mut function = Map::new();
        function.insert("name".to_owned(), json!(name));
        if let Some(description) = description {
            function.insert("description".to_owned(), json!(description));
        }
        let empty = || json!({"type": "object", "properties": {}});
        function.insert("parameters".to_owned(), parameters.clone().unwrap_or_else(empty));
        tools.push(json!({"type": "function", "function": function}));
    }
    if tools.is_empty() {
        return Ok(());
    }
    if all_strict {
        body.insert("strict_tools".to_owned(), json!(true));
    } else if request.tools.iter().any(|tool| matches!(tool, Tool::Function { strict: Some(true), .. })) {
        // It is all or none.
        losses.note("tool.strict");
    }
    let word = match &request.tool_choice {
        Some(ToolChoice::None) => Some("NONE"),
        Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::AnyOf { required: true, .. }) => {
            Some("REQUIRED")
        }
        _ => None,
    };
    body.insert("tools".to_owned(), Value::Array(tools));
    if let Some(word) = word {
        body.insert("tool_choice".to_owned(), json!(word));
    }
    Ok(())
}

fn messages(request: &ChatRequest, losses: &mut Losses) -> Result<Vec<Value>, Unsupported> {
    let mut out = Vec::new();
    let mut shown: Vec<Value> = Vec::new();
    for (index, message) in request.messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        if message.name.is_some() {
            losses.note("message.name");
        }
        if message.role != Role::Tool && !shown.is_empty() {
            out.push(json!({"role": "user", "content": std::mem::take(&mut shown)}));
        }
        match message.role {
            Role::System | Role::Developer => {
                let content = content(&message.parts, &at, losses)?;
                out.push(json!({"role": "system", "content": content}));
            }
            Role::User => {
                let content = content(&message.parts, &at, losses)?;
                out.push(json!({"role": "user", "content": content}));
            }
            Role::Assistant => out.push(assistant(message, &at, losses)?),
            Role::Tool => {
                for part in &message.parts {
                    out.push(tool_result(part, &at, &mut shown, losses)?);
                }
            }
        }
    }
    if !shown.is_empty() {
        out.push(json!({"role": "user", "content": shown}));
    }
    Ok(out)
}

/// Plain text as a string, else a list.
fn content(parts: &[Part], at: &str, losses: &mut Losses) -> Result<Value, Unsupported> {
    if let [Part::Text { text, cache: None, .. }] = parts {
        return Ok(json!(text));
    }
    let mut items = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        items.push(item(part, &format!("{at}.content[{index}]"), losses)?);
    }
    Ok(Value::Array(items))
}

fn item(part: &Part, at: &str, losses: &mut Losses) -> Result<Value, Unsupported> {
    match part {
        Part::Text { text, cache, .. } => {
            if cache.is_some() {
                losses.note("cache_control");
            }
            Ok(json!({"type": "text", "text": text}))
        }
        Part::Refusal { text } => Ok(json!({"type": "text", "text": text})),
        Part::Image { media, detail, cache, .. } => {
            if cache.is_some() {
                losses.note("cache_control");
            }
            let url = match media {
                Media::Base64 { mime, data } => format!("data:{mime};base64,{data}"),
                Media::Url { url, .. } => url.clone(),
                Media::FileId { .. } => {
                    return Err(Unsupported::new(
                        at,
                        "Cohere has no uploaded pictures; send base64 data or a URL",
                    ));
                }
            };
            Ok(match detail {
                Some(detail) => json!({"type": "image_url", "image_url": {"url": url, "detail": detail}}),
                None => json!({"type": "image_url", "image_url": {"url": url}}),
            })
        }
        Part::Audio { .. } => Err(Unsupported::new(at, "Cohere takes no sound; send a transcript")),
        Part::File { .. } => {
            Err(Unsupported::new(at, "Cohere takes no files; send the text, or pictures of the pages"))
        }
        Part::Foreign { family: Family::Cohere, value } => Ok(value.clone()),
        Part::Foreign { .. } => {
            Err(Unsupported::new(at, "this block is known to the provider that made it only; leave it out"))
        }
        Part::ToolCall { .. } | Part::ToolResult { .. } | Part::Reasoning { .. } => {
            Err(Unsupported::new(at, "this kind of content does not belong in a turn of this role"))
        }
    }
}

fn assistant(message: &Message, at: &str, losses: &mut Losses) -> Result<Value, Unsupported> {
    let calls_tools = message.parts.iter().any(|part| matches!(part, Part::ToolCall { .. }));
    let mut items = Vec::new();
    let mut plan = String::new();
    let mut calls = Vec::new();
    for (index, part) in message.parts.iter().enumerate() {
        match part {
            Part::Reasoning { text, signature, .. } => {
                if signature.is_some() {
                    losses.note("reasoning.signature");
                }
                if !text.is_empty() {
                    items.push(json!({"type": "thinking", "thinking": text}));
                }
            }
            Part::ToolCall { id, name, arguments, signature, .. } => {
                if signature.is_some() {
                    losses.note("reasoning.signature");
                }
                let arguments = if arguments.is_empty() { "{}" } else { arguments };
                calls.push(json!({"id": id, "type": "function",
                    "function": {"name": name, "arguments": arguments}}));
            }
            // Next to calls Cohere knows text as the plan that leads to them.
            Part::Text { text, .. } | Part::Refusal { text } if calls_tools => plan.push_str(text),
            Part::Text { text, .. } if text.is_empty() => {}
            part => items.push(item(part, &format!("{at}.content[{index}]"), losses)?),
        }
    }
    let mut turn = Map::new();
    turn.insert("role".to_owned(), json!("assistant"));
    match items.as_slice() {
        [] if calls.is_empty() => {
            turn.insert("content".to_owned(), json!(""));
        }
        [] => {}
        [only] if only.get("type").and_then(Value::as_str) == Some("text") => {
            turn.insert("content".to_owned(), only.get("text").cloned().unwrap_or_default());
        }
        _ => {
            turn.insert("content".to_owned(), Value::Array(items));
        }
    }
    if !calls.is_empty() {
        if !plan.is_empty() {
            turn.insert("tool_plan".to_owned(), json!(plan));
        }
        turn.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    Ok(Value::Object(turn))
}

/// Results hold text only; pictures follow in a user turn after the last result, gathered in `shown`.
fn tool_result(
    part: &Part,
    at: &str,
    shown: &mut Vec<Value>,
    losses: &mut Losses,
) -> Result<Value, Unsupported> {
    let Part::ToolResult { id, content, is_error, cache, .. } = part else {
        return Err(Unsupported::new(at, "a tool turn holds tool results only"));
    };
    if cache.is_some() {
        losses.note("cache_control");
    }
    if *is_error {
        losses.note("tool_result.is_error");
    }
    let mut texts = Vec::new();
    for (index, part) in content.iter().enumerate() {
        let item = item(part, &format!("{at}.content[{index}]"), losses)?;
        if matches!(part, Part::Image { .. }) {
            losses.note("tool_result.image_position");
            shown.push(item);
        } else {
            texts.push(item);
        }
    }
    let content = match texts.as_slice() {
        [] => json!(""),
        [only] if only.get("text").is_some() => only.get("text").cloned().unwrap_or_default(),
        _ => Value::Array(texts),
    };
    Ok(json!({"role": "tool", "tool_call_id": id, "content": content}))
}
