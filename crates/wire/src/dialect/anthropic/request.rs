//! A client's request body, read into the canonical form.

use serde_json::{Map, Value};

use crate::chat::{
    ChatRequest, Effort, Extra, Family, Message, OutputFormat, Reasoning, Role, Tool, ToolChoice,
};
use crate::dialect::members::{self, Members};
use crate::dialect::results;
use crate::dialect::{BadRequest, ClientCall};

use super::content;
use super::types::cache_hint;

/// Reads the body of `POST /v1/messages`.
pub(super) fn decode(body: &[u8], call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
    let value = members::document(body)?;
    let mut body = Members::of(value, "")?;
    let model = members::model(call, &mut body)?;
    let mut request = ChatRequest { model, ..ChatRequest::default() };
    let stream = body.flag("stream")?;
    request.stream = call.path_stream.or(stream).unwrap_or(false);
    // Streams of this dialect always end with usage.
    request.include_usage = request.stream;
    if let Some(system) = body.take("system") {
        let parts = content::parts(system, "system")?;
        if !parts.is_empty() {
            request.messages.push(Message::new(Role::System, parts));
        }
    }
    messages(&mut body, &mut request)?;
    sampling(&mut body, &mut request)?;
    let tools = body.list("tools")?;
    for (index, tool) in tools.into_iter().enumerate() {
        request.tools.push(read_tool(tool, index)?);
    }
    tool_choice(&mut body, &mut request)?;
    thinking(&mut body, &mut request)?;
    output(&mut body, &mut request)?;
    request.service_tier = body.text("service_tier")?;
    if let Some(mut metadata) = body.object("metadata")? {
        request.user = metadata.text("user_id")?;
        put_rest(&mut request.extra, "metadata", metadata.rest());
    }
    for (key, value) in body.rest() {
        request.extra.put(Family::Anthropic, key, value);
    }
    Ok(request)
}

fn messages(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    if body.peek("messages").is_none() {
        return Err(BadRequest::new("messages", "messages: this member is required"));
    }
    for (index, message) in body.list("messages")?.into_iter().enumerate() {
        let mut message = Members::of(message, format!("messages[{index}]"))?;
        let role = message.need_text("role")?;
        let at = message.at("content");
        let parts = content::parts(message.need("content")?, &at)?;
        results::turn(&role, parts, &message.at("role"), &mut request.messages)?;
    }
    Ok(())
}

fn sampling(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let sampling = &mut request.sampling;
    sampling.max_output_tokens = body.count("max_tokens")?;
    sampling.temperature = body.number("temperature")?;
    sampling.top_p = body.number("top_p")?;
    sampling.top_k = body.count("top_k")?;
    sampling.stop = body.texts("stop_sequences")?;
    Ok(())
}

fn read_tool(tool: Value, index: usize) -> Result<Tool, BadRequest> {
    let kind = tool.get("type").and_then(Value::as_str).unwrap_or("custom").to_owned();
    let mut members = Members::of(tool.clone(), format!("tools[{index}]"))?;
    if kind == "custom" {
        members.take("type");
        return Ok(Tool::Function {
            name: members.need_text("name")?,
            description: members.text("description")?,
            parameters: members.take("input_schema"),
            strict: members.flag("strict")?,
            cache: cache_hint(members.take("cache_control")),
            extra: Extra::from_map(Family::Anthropic, members.rest()),
        });
    }
    if !kind.starts_with("web_search_") {
        return Ok(Tool::Foreign { family: Family::Anthropic, value: tool });
    }
    let max_uses = members.count("max_uses")?.map(|uses| u32::try_from(uses).unwrap_or(u32::MAX));
    let location = members.take("user_location").map(|mut location| {
        if let Value::Object(map) = &mut location {
            map.shift_remove("type");
        }
        location
    });
    Ok(Tool::WebSearch {
        context_size: None,
        max_uses,
        allowed_domains: members.texts("allowed_domains")?,
        blocked_domains: members.texts("blocked_domains")?,
        location,
        extra: Extra::from_map(Family::Anthropic, members.rest()),
    })
}

fn tool_choice(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let Some(mut choice) = body.object("tool_choice")? else {
        return Ok(());
    };
    let kind = choice.need_text("type")?;
    request.tool_choice = Some(match kind.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.need_text("name")?),
        _ => {
            let at = choice.at("type");
            let message = format!("{at}: must be `auto`, `any`, `tool` or `none`");
            return Err(BadRequest::new(at, message));
        }
    });
    request.parallel_tools = choice.flag("disable_parallel_tool_use")?.map(|disabled| !disabled);
    Ok(())
}

fn thinking(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let kind = body.peek("thinking").and_then(|thinking| thinking.get("type")).and_then(Value::as_str);
    if !matches!(kind, None | Some("enabled" | "adaptive" | "disabled")) {
        // A kind we do not know stays in the body and travels as it is.
        return Ok(());
    }
    let Some(thinking) = body.object("thinking")? else {
        return Ok(());
    };
    request.reasoning = Some(members::thinking(thinking)?);
    Ok(())
}

fn output(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    if let Some(mut config) = body.object("output_config")? {
        if let Some(effort) = config.text("effort")? {
            request.reasoning.get_or_insert_with(Reasoning::of_the_answer).effort =
                Some(Effort::of_word(&effort));
        }
        if let Some(format) = config.object("format")? {
            request.output = format_of(format)?;
        }
        put_rest(&mut request.extra, "output_config", config.rest());
    }
    // The name of the beta.
    if let Some(format) = body.object("output_format")? {
        request.output = format_of(format)?;
    }
    Ok(())
}

fn format_of(mut format: Members) -> Result<OutputFormat, BadRequest> {
    let kind = format.need_text("type")?;
    if kind != "json_schema" {
        let at = format.at("type");
        let message = format!("{at}: must be `json_schema`");
        return Err(BadRequest::new(at, message));
    }
    Ok(OutputFormat::JsonSchema {
        name: format.text("name")?,
        description: None,
        schema: format.need("schema")?,
        strict: None,
    })
}

fn put_rest(extra: &mut Extra, key: &str, rest: Map<String, Value>) {
    if !rest.is_empty() {
        extra.put(Family::Anthropic, key, Value::Object(rest));
    }
}
