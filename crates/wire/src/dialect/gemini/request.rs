//! A client's request body, read into the canonical form.

use serde_json::{Map, Value};

use crate::chat::{
    ChatRequest, Effort, Extra, Family, Message, OutputFormat, Part, Reasoning, Role, Tool, ToolChoice,
};
use crate::dialect::members::{self, Members, wrong};
use crate::dialect::{BadRequest, ClientCall};

use super::contents::{self, Calls};
use super::members::{camel, object};
use super::schema;

/// Reads the body of `:generateContent` and `:streamGenerateContent`.
pub(super) fn decode(body: &[u8], call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
    let value = members::document(body)?;
    read(object(value, "")?, call)
}

/// Reads a `GenerateContentRequest`.
pub(super) fn read(mut body: Members, call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
    let mut request = ChatRequest::default();
    let named = body.text("model")?;
    request.model = match (call.path_model, named) {
        (Some(model), _) => model.to_owned(),
        (None, Some(model)) => model.strip_prefix("models/").map(str::to_owned).unwrap_or(model),
        (None, None) => return Err(BadRequest::new("model", "model: this member is required")),
    };
    request.stream = call.path_stream.unwrap_or(false);
    // Streams of this dialect always end with usage.
    request.include_usage = request.stream;
    let mut calls = Calls::default();
    if let Some(system) = body.take("systemInstruction") {
        let message = contents::content(system, "systemInstruction", &mut calls)?;
        let parts: Vec<Part> = message.into_iter().flat_map(|message| message.parts).collect();
        if !parts.is_empty() {
            request.messages.push(Message::new(Role::System, parts));
        }
    }
    match body.need("contents")? {
        Value::Array(items) => {
            for (index, item) in items.into_iter().enumerate() {
                let content = contents::content(item, &format!("contents[{index}]"), &mut calls)?;
                contents::append(&mut request.messages, content);
            }
        }
        // The API takes a single content for a list of one.
        item @ Value::Object(_) => {
            request.messages.extend(contents::content(item, "contents", &mut calls)?);
        }
        other => return Err(wrong("contents", "a list", &other)),
    }
    tools(&mut body, &mut request)?;
    tool_config(&mut body, &mut request)?;
    config(&mut body, &mut request)?;
    request.service_tier = body.text("serviceTier")?.map(|word| match word.as_str() {
        "standard" | "STANDARD" => "default".to_owned(),
        other => other.to_ascii_lowercase(),
    });
    for (key, value) in body.rest() {
        request.extra.put(Family::Gemini, key, value);
    }
    Ok(request)
}

fn tools(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let list = match body.take("tools") {
        None => return Ok(()),
        Some(Value::Array(list)) => list,
        Some(one @ Value::Object(_)) => vec![one],
        Some(other) => return Err(wrong("tools", "a list", &other)),
    };
    for (index, tool) in list.into_iter().enumerate() {
        let at = format!("tools[{index}]");
        let mut tool = object(tool, at.as_str())?;
        for (n, function) in tool.list("functionDeclarations")?.into_iter().enumerate() {
            request.tools.push(function_of(function, &format!("{at}.functionDeclarations[{n}]"))?);
        }
        // One entry may hold several tools, one per member.
        for (name, value) in tool.rest() {
            request.tools.push(built_in(name, value, &at)?);
        }
    }
    Ok(())
}

fn function_of(function: Value, at: &str) -> Result<Tool, BadRequest> {
    let mut function = object(function, at)?;
    let plain = function.take("parameters").map(schema::json_schema);
    let parameters = function.take("parametersJsonSchema").or(plain);
    Ok(Tool::Function {
        name: function.need_text("name")?,
        description: function.text("description")?,
        parameters,
        strict: None,
        cache: None,
        extra: Extra::from_map(Family::Gemini, function.rest()),
    })
}

fn built_in(name: String, value: Value, at: &str) -> Result<Tool, BadRequest> {
    if name == "googleSearch" {
        let mut search = object(value, format!("{at}.googleSearch"))?;
        return Ok(Tool::WebSearch {
            context_size: None,
            max_uses: None,
            allowed_domains: Vec::new(),
            blocked_domains: search.texts("excludeDomains")?,
            location: None,
            extra: Extra::from_map(Family::Gemini, search.rest()),
        });
    }
    let value = Value::Object(Map::from_iter([(name, value)]));
    Ok(Tool::Foreign { family: Family::Gemini, value })
}

fn tool_config(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let Some(config) = body.take("toolConfig") else {
        return Ok(());
    };
    let mut config = object(config, "toolConfig")?;
    if let Some(calling) = config.take("functionCallingConfig") {
        let mut calling = object(calling, "toolConfig.functionCallingConfig")?;
        let mode = calling.text("mode")?.unwrap_or_default().to_ascii_uppercase();
        let names = calling.texts("allowedFunctionNames")?;
        request.tool_choice = match mode.as_str() {
            "AUTO" | "" | "MODE_UNSPECIFIED" => (!mode.is_empty()).then_some(ToolChoice::Auto),
            "NONE" => Some(ToolChoice::None),
            "ANY" => Some(match <[String; 1]>::try_from(names) {
                Ok([name]) => ToolChoice::Named(name),
                Err(names) if names.is_empty() => ToolChoice::Required,
                Err(names) => ToolChoice::AnyOf { names, required: true },
            }),
            // As AUTO, but calls are held to their schemas.
            "VALIDATED" => {
                let mut kept = Map::new();
                kept.insert("mode".to_owned(), Value::String(mode));
                put_rest(&mut request.extra, "functionCallingConfig", kept);
                Some(if names.is_empty() {
                    ToolChoice::Auto
                } else {
                    ToolChoice::AnyOf { names, required: false }
                })
            }
            _ => {
                let at = calling.at("mode");
                let message = format!("{at}: must be `AUTO`, `ANY`, `NONE` or `VALIDATED`");
                return Err(BadRequest::new(at, message));
            }
        };
        put_rest(&mut request.extra, "functionCallingConfig", calling.rest());
    }
    put_rest(&mut request.extra, "toolConfig", config.rest());
    Ok(())
}

fn config(body: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let Some(config) = body.take("generationConfig") else {
        return Ok(());
    };
    let mut config = object(config, "generationConfig")?;
    let sampling = &mut request.sampling;
    sampling.max_output_tokens = config.count("maxOutputTokens")?;
    sampling.temperature = config.number("temperature")?;
    sampling.top_p = config.number("topP")?;
    sampling.top_k = top_k(&mut config)?;
    sampling.stop = config.texts("stopSequences")?;
    sampling.n = config.count("candidateCount")?.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    sampling.seed = config.number("seed")?.and_then(|seed| seed.as_i64());
    sampling.presence_penalty = config.number("presencePenalty")?;
    sampling.frequency_penalty = config.number("frequencyPenalty")?;
    sampling.logprobs = config.flag("responseLogprobs")?;
    sampling.top_logprobs = config.count("logprobs")?.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    output(&mut config, request)?;
    thinking(&mut config, request)?;
    request.modalities =
        config.texts("responseModalities")?.iter().map(|word| word.to_ascii_lowercase()).collect();
    if let Some(speech) = config.peek("speechConfig").cloned().map(camel) {
        let voice = speech
            .get("voiceConfig")
            .map(|voice| camel(voice.clone()))
            .and_then(|voice| voice.get("prebuiltVoiceConfig").map(|inner| camel(inner.clone())))
            .and_then(|inner| inner.get("voiceName").cloned());
        request.audio = voice.map(|voice| serde_json::json!({ "voice": voice }));
    }
    put_rest(&mut request.extra, "generationConfig", config.rest());
    Ok(())
}

/// The API declares a number, and SDKs write `40.0`.
fn top_k(config: &mut Members) -> Result<Option<u64>, BadRequest> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be whole and not negative; the cast saturates"
    )]
    let whole = |number: f64| (number >= 0.0 && number.fract() == 0.0).then_some(number as u64);
    let Some(number) = config.number("topK")? else {
        return Ok(None);
    };
    let found = number.as_u64().or_else(|| number.as_f64().and_then(whole));
    let at = config.at("topK");
    let message = format!("{at}: must be a non-negative integer");
    found.map(Some).ok_or_else(|| BadRequest::new(at, message))
}

fn output(config: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let plain = config.take("responseSchema").map(schema::json_schema);
    let schema = config.take("responseJsonSchema").or(plain);
    let mime = config.text("responseMimeType")?;
    request.output = match (mime.as_deref(), schema) {
        (_, Some(schema)) => {
            // `text/x.enum` wants the bare word; that wish has no counterpart elsewhere.
            if let Some(other) = mime.filter(|mime| mime != "application/json") {
                let kept = Map::from_iter([("responseMimeType".to_owned(), Value::String(other))]);
                put_rest(&mut request.extra, "generationConfig", kept);
            }
            OutputFormat::JsonSchema { name: None, description: None, schema, strict: None }
        }
        (Some("application/json"), None) => OutputFormat::JsonObject,
        (None | Some("text/plain"), None) => OutputFormat::Text,
        (Some(_), None) => {
            let message = "generationConfig.responseMimeType: must be `text/plain` or `application/json`";
            return Err(BadRequest::new("generationConfig.responseMimeType", message));
        }
    };
    Ok(())
}

fn thinking(config: &mut Members, request: &mut ChatRequest) -> Result<(), BadRequest> {
    let Some(thinking) = config.take("thinkingConfig") else {
        return Ok(());
    };
    let mut thinking = object(thinking, "generationConfig.thinkingConfig")?;
    let mut wish = Reasoning::default();
    if thinking.flag("includeThoughts")? == Some(true) {
        wish.summary = Some("auto".to_owned());
    }
    if let Some(budget) = thinking.number("thinkingBudget")? {
        match budget.as_i64() {
            Some(0) => wish.disabled = true,
            Some(-1) => wish.adaptive = true,
            Some(tokens) if tokens > 0 => wish.budget = u64::try_from(tokens).ok(),
            _ => {
                let at = thinking.at("thinkingBudget");
                let message = format!("{at}: must be -1 or a non-negative integer");
                return Err(BadRequest::new(at, message));
            }
        }
    }
    wish.effort = thinking
        .text("thinkingLevel")?
        .filter(|word| word != "THINKING_LEVEL_UNSPECIFIED")
        .map(|word| Effort::of_word(&word.to_ascii_lowercase()));
    put_rest(&mut request.extra, "thinkingConfig", thinking.rest());
    request.reasoning = Some(wish);
    Ok(())
}

/// Keeps members that nobody reads, within the object they stood in.
fn put_rest(extra: &mut Extra, key: &str, rest: Map<String, Value>) {
    if rest.is_empty() {
        return;
    }
    let slot = extra.of_mut(Family::Gemini).entry(key).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(kept) = slot {
        kept.extend(rest);
    }
}
