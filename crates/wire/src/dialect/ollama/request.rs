//! The body of `/api/chat`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::chat::{
    ChatRequest, Effort, Family, Media, Message, OutputFormat, Part, Reasoning, Role, Tool, ToolChoice,
};
use crate::dialect::provider::leave_out;
use crate::dialect::render::{lose, put};
use crate::dialect::{Losses, Target, Unsupported};
use crate::json as wire_json;

/// Renders a request.
pub(super) fn body(
    request: &ChatRequest,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Map<String, Value>, Unsupported> {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(target.model));
    body.insert("messages".to_owned(), Value::Array(messages(request, losses)?));
    body.insert("stream".to_owned(), json!(request.stream));
    let tools = tools(request, losses)?;
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    match &request.output {
        OutputFormat::Text => {}
        OutputFormat::JsonObject => {
            body.insert("format".to_owned(), json!("json"));
        }
        OutputFormat::JsonSchema { schema, .. } => {
            body.insert("format".to_owned(), schema.clone());
        }
    }
    if let Some(think) = request.reasoning.as_ref().and_then(|wish| think(wish, target, losses)) {
        body.insert("think".to_owned(), think);
    }
    let options = options(request, losses);
    if !options.is_empty() {
        body.insert("options".to_owned(), Value::Object(options));
    }
    logprobs(request, &mut body);
    note_losses(request, losses);
    for (key, value) in request.extra.of(Family::Ollama).into_iter().flatten() {
        if key != "options" {
            body.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    Ok(body)
}

fn options(request: &ChatRequest, losses: &mut Losses) -> Map<String, Value> {
    let sampling = &request.sampling;
    let members = [
        ("num_predict", sampling.max_output_tokens.map(|count| json!(count))),
        ("temperature", sampling.temperature.as_ref().map(|number| json!(number))),
        ("top_p", sampling.top_p.as_ref().map(|number| json!(number))),
        ("top_k", sampling.top_k.map(|count| json!(count))),
        ("seed", sampling.seed.map(|seed| json!(seed))),
        ("stop", (!sampling.stop.is_empty()).then(|| json!(sampling.stop))),
        ("presence_penalty", sampling.presence_penalty.as_ref().map(|number| json!(number))),
        ("frequency_penalty", sampling.frequency_penalty.as_ref().map(|number| json!(number))),
    ];
    let mut options = Map::new();
    put(&mut options, members);
    match request.extra.get(Family::Ollama, "options") {
        Some(Value::Object(extra)) => {
            for (key, value) in extra {
                options.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        Some(_) => losses.note("options"),
        None => {}
    }
    options
}

fn logprobs(request: &ChatRequest, body: &mut Map<String, Value>) {
    if let Some(wanted) = request.sampling.logprobs {
        body.insert("logprobs".to_owned(), json!(wanted));
    }
    if let Some(count) = request.sampling.top_logprobs {
        body.insert("top_logprobs".to_owned(), json!(count));
    }
}

fn note_losses(request: &ChatRequest, losses: &mut Losses) {
    let wishes = [
        "sampling.n",
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

/// Levels are understood by gpt-oss only; other models take yes or no.
///
/// Source: Ollama, "Thinking".
fn think(wish: &Reasoning, target: &Target<'_>, losses: &mut Losses) -> Option<Value> {
    if target.abilities.reasoning == Some(false) {
        losses.note("reasoning");
        return None;
    }
    if wish.disabled || wish.effort == Some(Effort::None) {
        return Some(json!(false));
    }
    if wish.budget.is_some() {
        losses.note("reasoning.budget");
    }
    let effort = match (&wish.effort, wish.budget) {
        (Some(effort), _) => effort.clone(),
        (None, Some(tokens)) => Effort::of_budget(tokens),
        (None, None) => return Some(json!(true)),
    };
    if !target.model.contains("gpt-oss") {
        return Some(json!(true));
    }
    Some(json!(match &effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::Xhigh | Effort::Max => "high",
        Effort::Other(word) => word,
    }))
}

fn tools(request: &ChatRequest, losses: &mut Losses) -> Result<Vec<Value>, Unsupported> {
    let names: Option<Vec<&str>> = match &request.tool_choice {
        Some(ToolChoice::None) => return Ok(Vec::new()),
        Some(ToolChoice::Named(name)) => Some(vec![name]),
        Some(ToolChoice::AnyOf { names, .. }) => Some(names.iter().map(String::as_str).collect()),
        _ => None,
    };
    if matches!(
        request.tool_choice,
        Some(ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::AnyOf { required: true, .. })
    ) {
        losses.note("tool_choice");
    }
    let mut tools = Vec::new();
    for (index, tool) in request.tools.iter().enumerate() {
        let Tool::Function { name, description, parameters, strict, cache, .. } = tool else {
            leave_out(request, index, "Ollama runs no tools of its own; offer a function instead", losses)?;
            continue;
        };
        if strict.is_some() {
            losses.note("tool.strict");
        }
        if cache.is_some() {
            losses.note("cache_control");
        }
        if names.as_ref().is_some_and(|names| !names.contains(&name.as_str())) {
            continue;
        }
        let mut function = Map::new();
        function.insert("name".to_owned(), json!(name));
        function.insert("description".to_owned(), json!(description.as_deref().unwrap_or_default()));
        let empty = || json!({"type": "object", "properties": {}});
        function.insert("parameters".to_owned(), parameters.clone().unwrap_or_else(empty));
        tools.push(json!({"type": "function", "function": function}));
    }
    Ok(tools)
}

fn messages(request: &ChatRequest, losses: &mut Losses) -> Result<Vec<Value>, Unsupported> {
    let mut out = Vec::new();
    let mut called: HashMap<&str, &str> = HashMap::new();
    for (index, message) in request.messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        if message.name.is_some() {
            losses.note("message.name");
        }
        if message.role == Role::Tool {
            for part in &message.parts {
                out.push(tool_result(part, &called, &at, losses)?);
            }
            continue;
        }
        for part in &message.parts {
            if let Part::ToolCall { id, name, .. } = part {
                called.insert(id, name);
            }
        }
        out.push(turn(message, &at, losses)?);
    }
    Ok(out)
}

fn turn(message: &Message, at: &str, losses: &mut Losses) -> Result<Value, Unsupported> {
    let role = match message.role {
        Role::System | Role::Developer => "system",
        Role::User | Role::Tool => "user",
        Role::Assistant => "assistant",
    };
    let mut said = Said::default();
    for (index, part) in message.parts.iter().enumerate() {
        said.part(part, &format!("{at}.content[{index}]"), losses)?;
    }
    Ok(Value::Object(said.message(role)))
}

fn tool_result(
    part: &Part,
    called: &HashMap<&str, &str>,
    at: &str,
    losses: &mut Losses,
) -> Result<Value, Unsupported> {
    let Part::ToolResult { id, name, content, is_error, cache, .. } = part else {
        return Err(Unsupported {
            what: at.to_owned(),
            why: "a tool turn holds tool results only".to_owned(),
        });
    };
    if cache.is_some() {
        losses.note("cache_control");
    }
    if *is_error {
        losses.note("tool_result.is_error");
    }
    let mut said = Said::default();
    for (index, part) in content.iter().enumerate() {
        said.part(part, &format!("{at}.content[{index}]"), losses)?;
    }
    let mut message = said.message("tool");
    if let Some(name) = name.as_deref().or_else(|| called.get(id.as_str()).copied()) {
        message.insert("tool_name".to_owned(), json!(name));
    }
    message.insert("tool_call_id".to_owned(), json!(id));
    Ok(Value::Object(message))
}

/// One message under construction: Ollama keeps text, pictures and calls apart.
#[derive(Default)]
struct Said {
    text: String,
    thinking: String,
    images: Vec<Value>,
    calls: Vec<Value>,
}

impl Said {
    fn part(&mut self, part: &Part, at: &str, losses: &mut Losses) -> Result<(), Unsupported> {
        match part {
            Part::Text { text, cache, .. } => {
                if cache.is_some() {
                    losses.note("cache_control");
                }
                add_paragraph(&mut self.text, text);
            }
            Part::Refusal { text } => add_paragraph(&mut self.text, text),
            Part::Image { media: Media::Base64 { data, .. }, detail, cache, .. } => {
                if detail.is_some() {
                    losses.note("image.detail");
                }
                if cache.is_some() {
                    losses.note("cache_control");
                }
                self.images.push(json!(data));
            }
            Part::Image { .. } => {
                return Err(Unsupported::new(
                    at,
                    "Ollama fetches no pictures; send the picture as base64 data",
                ));
            }
            Part::Audio { .. } => {
                return Err(Unsupported::new(at, "Ollama takes no sound; send a transcript"));
            }
            Part::File { .. } => {
                return Err(Unsupported::new(
                    at,
                    "Ollama takes no files; send the text, or pictures of the pages",
                ));
            }
            Part::ToolCall { id, name, arguments, signature, .. } => {
                if signature.is_some() {
                    losses.note("reasoning.signature");
                }
                let index = self.calls.len();
                let arguments = wire_json::arguments(arguments);
                self.calls.push(
                    json!({"id": id, "function": {"index": index, "name": name, "arguments": arguments}}),
                );
            }
            Part::Reasoning { text, signature, .. } => {
                if signature.is_some() {
                    losses.note("reasoning.signature");
                }
                add_paragraph(&mut self.thinking, text);
            }
            Part::ToolResult { .. } => {
                return Err(Unsupported::new(at, "tool results belong in a tool turn"));
            }
            Part::Foreign { .. } => {
                return Err(Unsupported::new(
                    at,
                    "this block is known to the provider that made it only; leave it out",
                ));
            }
        }
        Ok(())
    }

    fn message(self, role: &str) -> Map<String, Value> {
        let mut message = Map::new();
        message.insert("role".to_owned(), json!(role));
        message.insert("content".to_owned(), json!(self.text));
        if !self.thinking.is_empty() {
            message.insert("thinking".to_owned(), json!(self.thinking));
        }
        if !self.images.is_empty() {
            message.insert("images".to_owned(), Value::Array(self.images));
        }
        if !self.calls.is_empty() {
            message.insert("tool_calls".to_owned(), Value::Array(self.calls));
        }
        message
    }
}

fn add_paragraph(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push('\n');
    }
    text.push_str(more);
}
