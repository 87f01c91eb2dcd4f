//! The body of `/responses`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, Effort, Family, Media, Message, OutputFormat, Part, Reasoning, Role};
use crate::dialect::provider::leave_out;
use crate::dialect::render::{lose, put};
use crate::dialect::{Losses, Target, Unsupported};

use super::output::{custom_input, format, reasoning as reasoning_item};
use super::request::INSTRUCTIONS;
use super::tools::{self, Nature};
use super::types::flat;

/// Renders a request.
pub(super) fn body(
    request: &ChatRequest,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Map<String, Value>, Unsupported> {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(target.model));
    let mut messages = request.messages.as_slice();
    if let Some((first, rest)) = messages.split_first() {
        let marked = first.extra.get(Family::Responses, INSTRUCTIONS).is_some();
        if let Some(text) = first.parts.first().and_then(Part::as_text).filter(|_| marked) {
            body.insert(INSTRUCTIONS.to_owned(), json!(text));
            messages = rest;
        }
    }
    body.insert("input".to_owned(), Value::Array(input(messages, request, losses)?));
    if request.stream {
        body.insert("stream".to_owned(), json!(true));
    }
    offer(request, &mut body, losses)?;
    sampling(request, &mut body, losses);
    text(request, &mut body);
    if let Some(wish) = &request.reasoning {
        reasoning(wish, request, target, &mut body, losses);
    }
    keep_state_here(request, target, &mut body);
    for (key, value) in request.extra.of(Family::Responses).into_iter().flatten() {
        // Earlier turns have been put into `input`: the id means nothing to this account.
        if key != "previous_response_id" {
            body.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    if target.quirks.force_store_false {
        body.insert("store".to_owned(), json!(false));
    }
    for (name, text) in &target.quirks.always_send {
        if let Ok(value) = crate::json::read_str::<Value>(text) {
            body.entry(name.clone()).or_insert(value);
        }
    }
    Ok(body)
}

/// Clients of other dialects hold the whole conversation: nothing is to be stored, and reasoning must come
/// along in its encrypted form.
fn keep_state_here(request: &ChatRequest, target: &Target<'_>, body: &mut Map<String, Value>) {
    let own = request.extra.of(Family::Responses);
    if own.is_some_and(|own| own.contains_key("store")) {
        return;
    }
    let spoken_here = own.is_some() || request.messages.iter().any(|message| !message.extra.is_empty());
    if spoken_here {
        return;
    }
    body.insert("store".to_owned(), json!(false));
    if target.abilities.reasoning == Some(true) || body.contains_key("reasoning") {
        body.insert("include".to_owned(), json!(["reasoning.encrypted_content"]));
    }
}

fn sampling(request: &ChatRequest, body: &mut Map<String, Value>, losses: &mut Losses) {
    let sampling = &request.sampling;
    // Below 16 the API refuses.
    let bound = sampling.max_output_tokens.map(|count| count.max(16));
    let members = [
        ("max_output_tokens", bound.map(|count| json!(count))),
        ("temperature", sampling.temperature.clone().map(Value::Number)),
        ("top_p", sampling.top_p.clone().map(Value::Number)),
        ("top_logprobs", sampling.top_logprobs.map(|count| json!(count))),
        ("parallel_tool_calls", request.parallel_tools.map(Value::from)),
        ("service_tier", request.service_tier.as_deref().map(Value::from)),
        ("user", request.user.as_deref().map(Value::from)),
        ("metadata", (!request.metadata.is_empty()).then(|| Value::Object(request.metadata.clone()))),
    ];
    put(body, members);
    if sampling.logprobs == Some(true) && request.extra.get(Family::Responses, "include").is_none() {
        body.insert("include".to_owned(), json!(["message.output_text.logprobs"]));
    }
    let wishes = [
        "sampling.stop",
        "sampling.n",
        "sampling.seed",
        "sampling.top_k",
        "sampling.presence_penalty",
        "sampling.frequency_penalty",
        "sampling.logit_bias",
        "modalities",
        "audio",
    ];
    lose(request, &wishes, losses);
}

fn offer(
    request: &ChatRequest,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) -> Result<(), Unsupported> {
    let mut list = Vec::new();
    for (index, tool) in request.tools.iter().enumerate() {
        let Some(value) = tools::render(tool) else {
            let remedy =
                "this kind of tool runs at the provider that defines it only; offer a function instead";
            leave_out(request, index, remedy, losses)?;
            continue;
        };
        match tool {
            crate::chat::Tool::Function { cache: Some(_), .. } => losses.note("cache_control"),
            crate::chat::Tool::WebSearch { max_uses: Some(_), .. } => losses.note("web_search.max_uses"),
            _ => {}
        }
        list.push(value);
    }
    if !list.is_empty() {
        body.insert("tools".to_owned(), Value::Array(list));
        if let Some(choice) = &request.tool_choice {
            body.insert("tool_choice".to_owned(), tools::render_choice(choice, request));
        }
    }
    Ok(())
}

fn text(request: &ChatRequest, body: &mut Map<String, Value>) {
    let mut text = match request.extra.get(Family::Responses, "text") {
        Some(Value::Object(rest)) => rest.clone(),
        _ => Map::new(),
    };
    if let Some(word) = request.extra.get(Family::OpenAi, "verbosity") {
        // The same parameter of the same vendor, under another roof.
        text.insert("verbosity".to_owned(), word.clone());
    }
    if request.output != OutputFormat::Text {
        text.insert("format".to_owned(), format(&request.output));
    }
    if !text.is_empty() {
        body.insert("text".to_owned(), Value::Object(text));
    }
}

fn reasoning(
    wish: &Reasoning,
    request: &ChatRequest,
    target: &Target<'_>,
    body: &mut Map<String, Value>,
    losses: &mut Losses,
) {
    if target.abilities.reasoning == Some(false) {
        losses.note("reasoning");
        return;
    }
    let mut out = match request.extra.get(Family::Responses, "reasoning") {
        Some(Value::Object(rest)) => rest.clone(),
        _ => Map::new(),
    };
    let effort = match (&wish.effort, wish.budget) {
        _ if wish.disabled || wish.budget == Some(0) => {
            losses.note("reasoning.disabled");
            None
        }
        // Not a word of OpenAI's; a model the catalog does not know may have it.
        (Some(Effort::Max), _) if target.abilities.reasoning == Some(true) => {
            Some(target.abilities.effort(Effort::Max, losses))
        }
        (Some(effort), _) => Some(effort.clone()),
        (None, Some(budget)) => {
            losses.note("reasoning.budget");
            // The scale ends at high for most models.
            Some(match Effort::of_budget(budget) {
                Effort::Xhigh | Effort::Max => Effort::High,
                other => other,
            })
        }
        (None, None) => None,
    };
    if let Some(effort) = effort {
        out.insert("effort".to_owned(), json!(effort.word()));
    }
    match wish.summary.as_deref() {
        Some(word @ ("auto" | "concise" | "detailed")) => {
            out.insert("summary".to_owned(), json!(word));
        }
        Some("summarized") => {
            out.insert("summary".to_owned(), json!("auto"));
        }
        // Anthropic's budget means readable thoughts.
        None if wish.budget.is_some_and(|budget| budget > 0) => {
            out.insert("summary".to_owned(), json!("auto"));
        }
        _ => {}
    }
    if !out.is_empty() {
        body.insert("reasoning".to_owned(), Value::Object(out));
    }
}

fn input(
    messages: &[Message],
    request: &ChatRequest,
    losses: &mut Losses,
) -> Result<Vec<Value>, Unsupported> {
    let mut writer = Writer { request, losses, natures: HashMap::new(), items: Vec::new() };
    for (index, message) in messages.iter().enumerate() {
        writer.message(message, &format!("messages[{index}]"))?;
    }
    Ok(writer.items)
}

struct Writer<'a> {
    request: &'a ChatRequest,
    losses: &'a mut Losses,
    /// What each call was, by its id: its result must match.
    natures: HashMap<&'a str, Nature>,
    items: Vec<Value>,
}

impl<'a> Writer<'a> {
    fn message(&mut self, message: &'a Message, at: &str) -> Result<(), Unsupported> {
        if message.name.is_some() {
            self.losses.note("message.name");
        }
        let role = match message.role {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant | Role::Tool => "assistant",
        };
        let mut content = Vec::new();
        for (index, part) in message.parts.iter().enumerate() {
            let at = format!("{at}.content[{index}]");
            match part {
                Part::ToolCall { .. }
                | Part::ToolResult { .. }
                | Part::Reasoning { .. }
                | Part::Foreign { .. } => {
                    self.flush(role, &mut content);
                    self.item(part, &at)?;
                }
                part => content.extend(self.part(part, role == "assistant", &at)?),
            }
        }
        self.flush(role, &mut content);
        Ok(())
    }

    fn flush(&mut self, role: &str, content: &mut Vec<Value>) {
        if !content.is_empty() {
            let content = std::mem::take(content);
            self.items.push(json!({"type": "message", "role": role, "content": content}));
        }
    }

    fn item(&mut self, part: &'a Part, at: &str) -> Result<(), Unsupported> {
        match part {
            Part::ToolCall { id, name, arguments, signature, extra, .. } => {
                if signature.is_some() {
                    self.losses.note("reasoning.signature");
                }
                let nature = match extra.get(Family::Responses, "type").and_then(Value::as_str) {
                    Some("custom") => Nature::Custom,
                    Some(tools::SHELL) => Nature::Shell,
                    _ => tools::nature(self.request, name),
                };
                self.natures.insert(id, nature);
                let arguments = if arguments.is_empty() { "{}" } else { arguments };
                let item = match nature {
                    Nature::Function => json!({"type": "function_call", "call_id": id, "name": name,
                        "arguments": arguments}),
                    Nature::Custom => json!({"type": "custom_tool_call", "call_id": id, "name": name,
                        "input": custom_input(arguments)}),
                    Nature::Shell => {
                        super::output::call(nature, &format!("lsh_{id}"), id, name, arguments, "completed")
                    }
                };
                self.items.push(item);
            }
            Part::ToolResult { id, content, is_error, .. } => self.result(id, content, *is_error, at)?,
            Part::Reasoning { text, signature: Some(signature), id, .. }
                if signature.family == Family::Responses =>
            {
                let mut item = reasoning_item(id.as_deref().unwrap_or_default(), text, Some(signature));
                if let (None, Value::Object(members)) = (id, &mut item) {
                    members.shift_remove("id");
                }
                self.items.push(item);
            }
            // The API takes back only what it encrypted itself.
            Part::Reasoning { signature, .. } => {
                self.losses.note(if signature.is_some() { "reasoning.signature" } else { "reasoning.text" });
            }
            Part::Foreign { family: Family::Responses, value } => self.items.push(value.clone()),
            _ => {
                return Err(Unsupported::new(
                    at,
                    "this block is known to the provider that made it only; leave it out",
                ));
            }
        }
        Ok(())
    }

    fn result(&mut self, id: &str, content: &[Part], is_error: bool, at: &str) -> Result<(), Unsupported> {
        if is_error {
            self.losses.note("tool_result.is_error");
        }
        let output = match content {
            [] => json!(""),
            [Part::Text { text, .. }] => json!(text),
            parts => {
                let mut items = Vec::new();
                for (index, part) in parts.iter().enumerate() {
                    items.extend(self.part(part, false, &format!("{at}.content[{index}]"))?);
                }
                Value::Array(items)
            }
        };
        self.items.push(match self.natures.get(id) {
            Some(Nature::Custom) => {
                json!({"type": "custom_tool_call_output", "call_id": id, "output": output})
            }
            Some(Nature::Shell) => json!({"type": "local_shell_call_output", "id": id, "output": output}),
            _ => json!({"type": "function_call_output", "call_id": id, "output": output}),
        });
        Ok(())
    }

    /// One piece of content; none for what models do not take back.
    fn part(&mut self, part: &Part, spoken: bool, at: &str) -> Result<Option<Value>, Unsupported> {
        let (Part::Text { cache, .. } | Part::Image { cache, .. } | Part::File { cache, .. }) = part else {
            return self.other_part(part, at);
        };
        if cache.is_some() {
            self.losses.note("cache_control");
        }
        Ok(Some(match part {
            Part::Text { text, .. } if spoken && text.is_empty() => return Ok(None),
            Part::Text { text, annotations, .. } if spoken => {
                let annotations: Vec<Value> = annotations.iter().map(flat).collect();
                json!({"type": "output_text", "text": text, "annotations": annotations})
            }
            Part::Text { text, .. } => json!({"type": "input_text", "text": text}),
            Part::Image { .. } if spoken => {
                self.losses.note("content.image");
                return Ok(None);
            }
            Part::Image { media, detail, .. } => {
                let detail = detail.as_deref().unwrap_or("auto");
                match media {
                    Media::FileId { id, family: Family::Responses | Family::OpenAi } => {
                        json!({"type": "input_image", "file_id": id, "detail": detail})
                    }
                    media => {
                        json!({"type": "input_image", "image_url": address(media, at)?, "detail": detail})
                    }
                }
            }
            Part::File { media, name, .. } => match media {
                Media::FileId { id, family: Family::Responses | Family::OpenAi } => {
                    json!({"type": "input_file", "file_id": id})
                }
                Media::Url { url, .. } => json!({"type": "input_file", "file_url": url}),
                media => json!({"type": "input_file", "file_data": address(media, at)?,
                    "filename": name.as_deref().unwrap_or("document.pdf")}),
            },
            _ => return Ok(None),
        }))
    }

    fn other_part(&mut self, part: &Part, at: &str) -> Result<Option<Value>, Unsupported> {
        match part {
            Part::Refusal { text } => Ok(Some(json!({"type": "refusal", "refusal": text}))),
            Part::Audio { transcript: Some(text), .. } => {
                self.losses.note("content.audio");
                Ok(Some(json!({"type": "output_text", "text": text, "annotations": []})))
            }
            Part::Audio { .. } => Err(Unsupported::new(
                at,
                "the responses API takes no sound; send a transcript, or use chat completions",
            )),
            _ => Err(Unsupported::new(at, "this kind of content does not belong here")),
        }
    }
}

fn address(media: &Media, at: &str) -> Result<String, Unsupported> {
    match media {
        Media::Base64 { mime, data } => Ok(format!("data:{mime};base64,{data}")),
        Media::Url { url, .. } => Ok(url.clone()),
        Media::FileId { .. } => {
            Err(Unsupported::new(at, "the file was uploaded to another provider; send base64 data or a URL"))
        }
    }
}
