//! A client's request body, read into the canonical form.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, Effort, Extra, Family, Message, OutputFormat, Reasoning, Role};
use crate::dialect::members::{self, Members};
use crate::dialect::{BadRequest, ClientCall};

use super::{items, tools};

/// Marks the turn made of `instructions`.
pub(super) const INSTRUCTIONS: &str = "instructions";

/// Reads the body of `POST /v1/responses`.
pub(super) fn decode(body: &[u8], call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
    let value = members::document(body)?;
    let mut body = Members::of(value, "")?;
    let model = members::model(call, &mut body)?;
    let mut request = ChatRequest { model, ..ChatRequest::default() };
    let stream = body.flag("stream")?;
    request.stream = call.path_stream.or(stream).unwrap_or(false);
    // Streams of this dialect always end with usage.
    request.include_usage = request.stream;
    if let Some(text) = body.text(INSTRUCTIONS)?.filter(|text| !text.is_empty()) {
        let mut message = Message::text(Role::System, text);
        message.extra.put(Family::Responses, INSTRUCTIONS, json!(true));
        request.messages.push(message);
    }
    if let Some(input) = body.take("input") {
        items::turns(input, &mut request.messages)?;
    }
    sampling(&mut body, &mut request)?;
    for (index, tool) in body.list("tools")?.into_iter().enumerate() {
        request.tools.push(tools::read(tool, &format!("tools[{index}]"))?);
    }
    if let Some(choice) = body.take("tool_choice") {
        request.tool_choice = tools::read_choice(&choice)?;
        if request.tool_choice.is_none() {
            request.extra.put(Family::Responses, "tool_choice", choice);
        }
    }
    request.parallel_tools = body.flag("parallel_tool_calls")?;
    text(&mut body, &mut request)?;
    reasoning(&mut body, &mut request)?;
    request.service_tier = body.text("service_tier")?;
    request.user = body.text("user")?;
    request.metadata = body.object("metadata")?.map(Members::rest).unwrap_or_default();
    let rest: Map<String, Value> = body.rest().into_iter().filter(|(_, value)| !value.is_null()).collect();
    for (key, value) in rest {
        request.extra.put(Family::Responses, key, value);
    }
    Ok(request)
}

fn sampling(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let sampling = &mut request.sampling;
    sampling.max_output_tokens = body.count("max_output_tokens")?;
    sampling.temperature = body.number("temperature")?;
    sampling.top_p = body.number("top_p")?;
    sampling.top_logprobs = body.count("top_logprobs")?.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let wants = body
        .peek("include")
        .and_then(Value::as_array)
        .is_some_and(|include| include.iter().any(|word| word == "message.output_text.logprobs"));
    sampling.logprobs = wants.then_some(true);
    Ok(())
}

fn text(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let Some(mut text) = body.object("text")? else {
        return Ok(());
    };
    if let Some(mut format) = text.object("format")? {
        let kind = format.need_text("type")?;
        request.output = match kind.as_str() {
            "text" => OutputFormat::Text,
            "json_object" => OutputFormat::JsonObject,
            "json_schema" => OutputFormat::JsonSchema {
                name: format.text("name")?,
                description: format.text("description")?,
                schema: format.need("schema")?,
                strict: format.flag("strict")?,
            },
            _ => {
                let at = format.at("type");
                let text = format!("{at}: must be `text`, `json_object` or `json_schema`");
                return Err(BadRequest::new(at, text));
            }
        };
    }
    let rest = text.rest();
    if !rest.is_empty() {
        // `verbosity`, and what comes later.
        request.extra.put(Family::Responses, "text", Value::Object(rest));
    }
    Ok(())
}

fn reasoning(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let Some(mut wish) = body.object("reasoning")? else {
        return Ok(());
    };
    let effort = wish.text("effort")?.map(|word| Effort::of_word(&word));
    let older = wish.text("generate_summary")?;
    let summary = wish.text("summary")?.or(older);
    if effort.is_some() || summary.is_some() {
        request.reasoning = Some(Reasoning { effort, summary, ..Reasoning::default() });
    }
    let rest: Extra = Extra::from_map(Family::Responses, wish.rest());
    if let Some(rest) = rest.of(Family::Responses) {
        request.extra.put(Family::Responses, "reasoning", Value::Object(rest.clone()));
    }
    Ok(())
}
