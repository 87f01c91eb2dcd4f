//! A client's request body, read into the canonical form.

use serde_json::{Map, Value};

use crate::chat::{
    ChatRequest, Effort, Extra, Family, Message, OutputFormat, Part, Reasoning, Role, Signature,
};
use crate::dialect::members::{self, Members, wrong};
use crate::dialect::{BadRequest, ClientCall};
use crate::{json, opaque};

use super::content::{self, thinking_block};
use super::tools;
use super::types::cache_hint;

/// Reads the body of `POST /v1/chat/completions`.
pub(super) fn decode(body: &[u8], call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
    read(members::document(body)?, call)
}

/// Reads a body that is parsed already.
pub(in crate::dialect) fn read(body: Value, call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
    let mut body = Members::of(body, "")?;
    let model = members::model(call, &mut body)?;
    let mut request = ChatRequest { model, ..ChatRequest::default() };
    let stream = body.flag("stream")?;
    request.stream = call.path_stream.or(stream).unwrap_or(false);
    if let Some(mut options) = body.object("stream_options")? {
        request.include_usage = options.flag("include_usage")?.unwrap_or(false);
        let rest = options.rest();
        if !rest.is_empty() {
            request.extra.put(Family::OpenAi, "stream_options", Value::Object(rest));
        }
    }
    request.messages = messages(&mut body)?;
    sampling(&mut body, &mut request)?;
    tools::read(&mut body, &mut request)?;
    reasoning(&mut body, &mut request)?;
    output(&mut body, &mut request)?;
    request.service_tier = body.text("service_tier")?;
    request.user = body.text("user")?;
    request.metadata = body.object("metadata")?.map(Members::rest).unwrap_or_default();
    request.modalities = body.texts("modalities")?;
    request.audio = body.take("audio");
    for (key, value) in body.rest() {
        if !value.is_null() {
            request.extra.put(Family::OpenAi, key, value);
        }
    }
    Ok(request)
}

fn messages(body: &mut Members) -> Result<Vec<Message>, BadRequest> {
    if body.peek("messages").is_none() {
        return Err(BadRequest::new("messages", "messages: this member is required"));
    }
    let mut messages = Vec::new();
    // Legacy function calls have no ids: results answer the last call.
    let mut legacy = 0;
    for (index, message) in body.list("messages")?.into_iter().enumerate() {
        let message = Members::of(message, format!("messages[{index}]"))?;
        messages.push(read_message(message, &mut legacy)?);
    }
    Ok(messages)
}

fn read_message(mut message: Members, legacy: &mut usize) -> Result<Message, BadRequest> {
    let word = message.need_text("role")?;
    let at = message.at("content");
    let cache = cache_hint(message.take("cache_control"));
    let content = message.take("content");
    let mut name = message.text("name")?;
    let (role, mut parts) = match word.as_str() {
        "system" => (Role::System, content::parts(content, &at)?),
        "developer" => (Role::Developer, content::parts(content, &at)?),
        "user" => (Role::User, content::parts(content, &at)?),
        "assistant" => (Role::Assistant, assistant(content, &mut message, legacy)?),
        "tool" | "function" => {
            let id = match message.text("tool_call_id")? {
                Some(id) => opaque::open_id(&id).0,
                None if word == "function" => format!("call_legacy_{legacy}"),
                None => {
                    let at = message.at("tool_call_id");
                    let text = format!("{at}: this member is required");
                    return Err(BadRequest::new(at, text));
                }
            };
            let part = Part::ToolResult {
                id,
                name: name.take(),
                content: content::parts(content, &at)?,
                is_error: false,
                cache: cache.clone(),
                extra: Extra::default(),
            };
            (Role::Tool, vec![part])
        }
        _ => {
            let at = message.at("role");
            let text = format!("{at}: must be `system`, `developer`, `user`, `assistant` or `tool`");
            return Err(BadRequest::new(at, text));
        }
    };
    if let (Some(cache), Some(last)) = (cache, parts.last_mut()) {
        mark(last, cache);
    }
    let mut rest = message.rest();
    rest.retain(|_, value| !value.is_null());
    // LiteLLM's answers carry these; clients send them back.
    rest.shift_remove("provider_specific_fields");
    Ok(Message { role, parts, name, extra: Extra::from_map(Family::OpenAi, rest) })
}

/// A hint on a message is one on its last part.
fn mark(part: &mut Part, hint: crate::chat::CacheHint) {
    match part {
        Part::Text { cache, .. }
        | Part::Image { cache, .. }
        | Part::File { cache, .. }
        | Part::ToolCall { cache, .. }
        | Part::ToolResult { cache, .. } => *cache = Some(hint),
        _ => {}
    }
}

fn assistant(
    content: Option<Value>,
    message: &mut Members,
    legacy: &mut usize,
) -> Result<Vec<Part>, BadRequest> {
    let mut parts = Vec::new();
    let readable = match message.text("reasoning_content")? {
        Some(text) => Some(text),
        None => message.text("reasoning")?,
    };
    let at = message.at("thinking_blocks");
    for (index, block) in message.list("thinking_blocks")?.into_iter().enumerate() {
        parts.push(thinking_block(block, &format!("{at}[{index}]"))?);
    }
    if let (Some(text), true) = (readable.filter(|text| !text.is_empty()), parts.is_empty()) {
        parts.push(Part::Reasoning { text, signature: None, redacted: false, id: None });
    }
    let annotations = message.list("annotations")?;
    for mut part in content::parts(content, &message.at("content"))? {
        if let Part::Text { text, annotations: cited, .. } = &mut part {
            if text.is_empty() {
                continue;
            }
            cited.clone_from(&annotations);
        }
        parts.push(part);
    }
    if let Some(text) = message.text("refusal")? {
        parts.push(Part::Refusal { text });
    }
    let state = state_of_text(message);
    if let Some(mut audio) = message.object("audio")? {
        let id = audio.text("id")?;
        let data = audio.text("data")?.unwrap_or_default();
        let media = crate::chat::Media::Base64 { mime: String::new(), data };
        parts.push(Part::Audio { media, transcript: audio.text("transcript")?, id });
    }
    let at = message.at("tool_calls");
    for (index, call) in message.list("tool_calls")?.into_iter().enumerate() {
        parts.push(tool_call(Members::of(call, format!("{at}[{index}]"))?)?);
    }
    if let Some(mut call) = message.object("function_call")? {
        *legacy += 1;
        let name = call.need_text("name")?;
        let arguments = call.text("arguments")?.unwrap_or_default();
        parts.push(Part::tool_call(format!("call_legacy_{legacy}"), name, arguments));
    }
    if let Some(state) = state {
        sign(&mut parts, state);
    }
    Ok(parts)
}

/// What Gemini wants back with an assistant's text. Source: LiteLLM, "Thought signatures".
fn state_of_text(message: &Members) -> Option<Signature> {
    let state = message.peek("provider_specific_fields")?.get("thought_signatures")?.as_array()?.last()?;
    Some(opaque::open(state.as_str()?, Family::Gemini))
}

/// Puts a message's own state to its last text; LiteLLM repeats that of a call there.
fn sign(parts: &mut [Part], state: Signature) {
    let of_call = parts.iter().any(
        |part| matches!(part, Part::ToolCall { signature: Some(known), .. } if known.data == state.data),
    );
    let text = parts.iter_mut().rev().find_map(|part| match part {
        Part::Text { signature, .. } => Some(signature),
        _ => None,
    });
    if let (Some(signature), false) = (text, of_call) {
        *signature = Some(state);
    }
}

fn tool_call(mut call: Members) -> Result<Part, BadRequest> {
    let (id, mut signature) = opaque::open_id(&call.need_text("id")?);
    let is_custom = call.peek("custom").is_some();
    call.take("type");
    call.take("index");
    if let Some(mut fields) = call.object("provider_specific_fields")? {
        let thought = fields.text("thought_signature")?;
        signature = signature.or(thought.map(|data| opaque::open(&data, Family::Gemini)));
    }
    // Google's own compatible API says it this way.
    if let Some(data) = call.peek("extra_content").and_then(|it| it.pointer("/google/thought_signature")) {
        let data = data.as_str().unwrap_or_default().to_owned();
        signature = signature.or(Some(Signature { family: Family::Gemini, data }));
    }
    let cache = cache_hint(call.take("cache_control"));
    let (name, arguments) = if is_custom {
        let mut custom = call.need_object("custom")?;
        let input = custom.text("input")?.unwrap_or_default();
        (custom.need_text("name")?, json::text(&serde_json::json!({ "input": input })))
    } else {
        let mut function = call.need_object("function")?;
        let arguments = match function.take("arguments") {
            None => String::new(),
            Some(Value::String(text)) => text,
            Some(object @ Value::Object(_)) => json::text(&object),
            Some(other) => return Err(wrong(&function.at("arguments"), "a string", &other)),
        };
        (function.need_text("name")?, arguments)
    };
    let mut extra = Extra::from_map(Family::OpenAi, call.rest());
    if is_custom {
        extra.put(Family::OpenAi, "type", Value::from("custom"));
    }
    Ok(Part::ToolCall { id, name, arguments, signature, cache, extra })
}

fn sampling(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let sampling = &mut request.sampling;
    let older = body.count("max_tokens")?;
    sampling.max_output_tokens = body.count("max_completion_tokens")?.or(older);
    sampling.temperature = body.number("temperature")?;
    sampling.top_p = body.number("top_p")?;
    sampling.top_k = body.count("top_k")?;
    sampling.stop = match body.take("stop") {
        None => Vec::new(),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| match item {
                Value::String(text) => Ok(text),
                other => Err(wrong(&format!("stop[{index}]"), "a string", &other)),
            })
            .collect::<Result<_, _>>()?,
        Some(other) => return Err(wrong("stop", "a string or a list of strings", &other)),
    };
    let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    sampling.n = body.count("n")?.map(narrow);
    sampling.seed = match body.take("seed") {
        None => None,
        Some(value) => Some(value.as_i64().ok_or_else(|| wrong("seed", "an integer", &value))?),
    };
    sampling.presence_penalty = body.number("presence_penalty")?;
    sampling.frequency_penalty = body.number("frequency_penalty")?;
    sampling.logprobs = body.flag("logprobs")?;
    sampling.top_logprobs = body.count("top_logprobs")?.map(narrow);
    sampling.logit_bias = body.take("logit_bias");
    Ok(())
}

fn reasoning(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    match body.take("reasoning_effort") {
        None => {}
        Some(Value::String(word)) => {
            request.reasoning.get_or_insert_default().effort = Some(Effort::of_word(&word));
        }
        Some(object) => {
            // LiteLLM takes the responses form too.
            let mut wish = Members::of(object, "reasoning_effort")?;
            let effort = wish.text("effort")?.map(|word| Effort::of_word(&word));
            let summary = wish.text("summary")?;
            request.reasoning = Some(Reasoning { effort, summary, ..Reasoning::default() });
        }
    }
    let kind = body.peek("thinking").and_then(|thinking| thinking.get("type")).and_then(Value::as_str);
    if matches!(kind, Some("enabled" | "adaptive" | "disabled")) {
        let Some(mut thinking) = body.object("thinking")? else {
            return Ok(());
        };
        let kind = thinking.need_text("type")?;
        let wish = request.reasoning.get_or_insert_default();
        wish.budget = thinking.count("budget_tokens")?;
        wish.adaptive = kind == "adaptive" || (kind == "enabled" && wish.budget.is_none());
        wish.disabled = kind == "disabled";
        wish.summary = thinking.text("display")?.or(wish.summary.take());
    }
    Ok(())
}

fn output(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let Some(mut format) = body.object("response_format")? else {
        return Ok(());
    };
    let kind = format.need_text("type")?;
    request.output = match kind.as_str() {
        "text" => OutputFormat::Text,
        // LiteLLM: a schema beside the older word counts.
        "json_object" => match format.take("response_schema").or_else(|| format.take("schema")) {
            Some(schema) => OutputFormat::JsonSchema { name: None, description: None, schema, strict: None },
            None => OutputFormat::JsonObject,
        },
        "json_schema" => {
            // LM Studio's clients put the schema beside the type.
            let beside = format.take("schema").filter(|_| format.peek("json_schema").is_none());
            if let Some(schema) = beside {
                request.output =
                    OutputFormat::JsonSchema { name: None, description: None, schema, strict: None };
                return Ok(());
            }
            let mut wish = format.need_object("json_schema")?;
            OutputFormat::JsonSchema {
                name: wish.text("name")?,
                description: wish.text("description")?,
                schema: wish.take("schema").unwrap_or_else(|| Value::Object(Map::new())),
                strict: wish.flag("strict")?,
            }
        }
        _ => {
            let at = format.at("type");
            let text = format!("{at}: must be `text`, `json_object` or `json_schema`");
            return Err(BadRequest::new(at, text));
        }
    };
    Ok(())
}
