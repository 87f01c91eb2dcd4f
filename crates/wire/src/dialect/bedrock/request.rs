//! A client's request body, read into the canonical form.

use serde_json::Value;

use crate::chat::{
    ChatRequest, Effort, Extra, Family, Message, OutputFormat, Reasoning, Role, Tool, ToolChoice,
};
use crate::dialect::members::{self, Members};
use crate::dialect::results;
use crate::dialect::{BadRequest, ClientCall};
use crate::json;

use super::content;
use super::types::cache_hint;

/// Reads the body of `POST /model/{id}/converse`. The path names the model.
pub(super) fn decode(body: &[u8], call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
    let value = members::document(body)?;
    let mut body = Members::of(value, "")?;
    let mut request = ChatRequest {
        model: call.path_model.unwrap_or_default().to_owned(),
        stream: call.path_stream.unwrap_or(false),
        // Streams of this dialect always end with usage.
        include_usage: true,
        ..ChatRequest::default()
    };
    let system = content::parts(body.list("system")?, "system")?;
    if !system.is_empty() {
        request.messages.push(Message::new(Role::System, system));
    }
    messages(&mut body, &mut request)?;
    inference(&mut body, &mut request)?;
    tools(&mut body, &mut request)?;
    model_fields(&mut body, &mut request)?;
    output(&mut body, &mut request)?;
    if let Some(mut tier) = body.object("serviceTier")? {
        request.service_tier = tier.text("type")?;
    }
    if let Some(Value::Object(metadata)) = body.take("requestMetadata") {
        request.metadata = metadata;
    }
    for (key, value) in body.rest() {
        request.extra.put(Family::Bedrock, key, value);
    }
    Ok(request)
}

fn messages(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    for (index, message) in body.list("messages")?.into_iter().enumerate() {
        let mut message = Members::of(message, format!("messages[{index}]"))?;
        let role = message.need_text("role")?;
        let at = message.at("content");
        let parts = content::parts(message.list("content")?, &at)?;
        results::turn(&role, parts, &message.at("role"), &mut request.messages)?;
    }
    Ok(())
}

fn inference(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let Some(mut config) = body.object("inferenceConfig")? else { return Ok(()) };
    let sampling = &mut request.sampling;
    sampling.max_output_tokens = config.count("maxTokens")?;
    sampling.temperature = config.number("temperature")?;
    sampling.top_p = config.number("topP")?;
    sampling.stop = config.texts("stopSequences")?;
    let rest = config.rest();
    if !rest.is_empty() {
        request.extra.put(Family::Bedrock, "inferenceConfig", Value::Object(rest));
    }
    Ok(())
}

fn tools(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let Some(mut config) = body.object("toolConfig")? else { return Ok(()) };
    let at = config.at("tools");
    for (index, tool) in config.list("tools")?.into_iter().enumerate() {
        if let Some(point) = tool.get("cachePoint") {
            if let Some(Tool::Function { cache, .. }) = request.tools.last_mut() {
                *cache = Some(cache_hint(point));
            }
            continue;
        }
        let mut tool = Members::of(tool, format!("{at}[{index}]"))?;
        let Some(mut spec) = tool.object("toolSpec")? else {
            request.tools.push(Tool::Foreign { family: Family::Bedrock, value: Value::Object(tool.rest()) });
            continue;
        };
        request.tools.push(Tool::Function {
            name: spec.need_text("name")?,
            description: spec.text("description")?,
            parameters: spec.need_object("inputSchema")?.take("json"),
            strict: spec.flag("strict")?,
            cache: None,
            extra: Extra::from_map(Family::Bedrock, spec.rest()),
        });
    }
    if let Some(mut choice) = config.object("toolChoice")? {
        request.tool_choice = Some(if let Some(mut tool) = choice.object("tool")? {
            ToolChoice::Named(tool.need_text("name")?)
        } else if choice.peek("any").is_some() {
            ToolChoice::Required
        } else {
            ToolChoice::Auto
        });
    }
    Ok(())
}

/// Vendor parameters that other dialects have members for; the rest stays with this family.
fn model_fields(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let Some(mut fields) = body.object("additionalModelRequestFields")? else { return Ok(()) };
    request.sampling.top_k = fields.count("top_k")?;
    if let Some(thinking) = fields.object("thinking")? {
        request.reasoning = Some(members::thinking(thinking)?);
    }
    if let Some(effort) = fields.text("reasoning_effort")? {
        request.reasoning.get_or_insert_default().effort = Some(Effort::of_word(&effort));
    }
    if let Some(mut config) = fields.object("output_config")?
        && let Some(effort) = config.text("effort")?
    {
        request.reasoning.get_or_insert_with(Reasoning::of_the_answer).effort =
            Some(Effort::of_word(&effort));
    }
    let rest = fields.rest();
    if !rest.is_empty() {
        request.extra.put(Family::Bedrock, "additionalModelRequestFields", Value::Object(rest));
    }
    Ok(())
}

fn output(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let Some(mut config) = body.object("outputConfig")? else { return Ok(()) };
    if let Some(effort) = config.text("effort")? {
        request.reasoning.get_or_insert_with(Reasoning::of_the_answer).effort =
            Some(Effort::of_word(&effort));
    }
    let Some(mut format) = config.object("textFormat")? else { return Ok(()) };
    let mut structure = format.need_object("structure")?;
    let mut schema = structure.need_object("jsonSchema")?;
    let at = schema.at("schema");
    let text = schema.need_text("schema")?;
    let parsed = json::read_str(&text)
        .map_err(|why| BadRequest::new(&*at, format!("{at}: must be a JSON schema as text: {why}")))?;
    request.output = OutputFormat::JsonSchema {
        name: schema.text("name")?,
        description: schema.text("description")?,
        schema: parsed,
        strict: None,
    };
    Ok(())
}
