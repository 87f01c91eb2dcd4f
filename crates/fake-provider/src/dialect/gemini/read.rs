//! Reads and checks a `generateContent` request.

use serde_json::{Value, json};

use super::super::Head;
use super::{call_seal, is_vertex, response_id};
use crate::failure::Failure;
use crate::read::{Object, loose_base64, strings};
use crate::reply::{Ask, Choice, Flavour, Tool};

const KNOWN: &[&str] = &[
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "safetySettings",
    "generationConfig",
    "cachedContent",
    "labels",
    "serviceTier",
    "store",
    "continuationToken",
    "model",
];

const CONFIG: &[&str] = &[
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "maxOutputTokens",
    "stopSequences",
    "responseLogprobs",
    "logprobs",
    "presencePenalty",
    "frequencyPenalty",
    "seed",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "responseModalities",
    "mediaResolution",
    "speechConfig",
    "thinkingConfig",
    "imageConfig",
    "enableEnhancedCivicAnswers",
    "audioTimestamp",
    "routingConfig",
    "modelConfig",
    "responseFormat",
    "audioTranscriptionConfig",
];

const PART: &[&str] = &[
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "thought",
    "thoughtSignature",
    "executableCode",
    "codeExecutionResult",
    "videoMetadata",
    "mediaResolution",
    "partMetadata",
    "toolCall",
    "toolResponse",
];

/// Members of Google's `Schema`; JSON Schema's other words are refused.
const SCHEMA: &[&str] = &[
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "maxItems",
    "minItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "example",
    "anyOf",
    "propertyOrdering",
    "default",
    "items",
    "minimum",
    "maximum",
    "additionalProperties",
    "ref",
    "defs",
    "$ref",
    "$defs",
];

/// Signatures that the service takes from clients that have none to send back.
///
/// Source: Gemini API, "Thought signatures", FAQ on migrating a history from another model.
const SKIPS: &[&str] = &["skip_thought_signature_validator", "context_engineering_is_the_way_to_go"];

pub(super) fn read(head: &Head<'_>, body: &Object) -> Result<Ask, Failure> {
    check_members(body, KNOWN, "")?;
    let vertex = is_vertex(head.path);
    if body.contains_key("labels") && !vertex {
        return Err(Failure::unknown_param("labels"));
    }
    let stream = head.stream.unwrap_or(false);
    let array = stream && !head.query.split('&').any(|pair| pair == "alt=sse");
    let mut ask = Ask {
        id: response_id(),
        model: head.model.unwrap_or_default().to_owned(),
        stream,
        choices: 1,
        flavour: match (array, vertex) {
            (true, _) => Flavour::JsonArray,
            (_, true) => Flavour::Vertex,
            _ => Flavour::Plain,
        },
        ..Ask::default()
    };
    tools(body, &mut ask)?;
    config(body, &mut ask)?;
    if let Some(system) = get(body, "systemInstruction") {
        let parts = system["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
        ask.prompt_chars +=
            parts.iter().filter_map(|part| part["text"].as_str()).map(str::len).sum::<usize>();
    }
    let contents = get(body, "contents").and_then(Value::as_array).filter(|contents| !contents.is_empty());
    let contents = contents
        .ok_or_else(|| Failure::invalid("* GenerateContentRequest.contents: contents is not specified\n"))?;
    Contents { ask, calls: Vec::new() }.all(contents)
}

/// A member under its name in camel or snake case; protobuf's JSON takes both.
fn get<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| object.get(&snake(name))).filter(|value| !value.is_null())
}

fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn check_members(object: &Object, known: &[&str], at: &str) -> Result<(), Failure> {
    let fine = |name: &str| known.iter().any(|k| *k == name || snake(k) == name);
    match object.keys().find(|name| !fine(name)) {
        None => Ok(()),
        Some(name) if at.is_empty() => Err(Failure::unknown_param(name)),
        Some(name) => Err(Failure::unknown_param(format!("{at}.{name}"))),
    }
}

fn tools(body: &Object, ask: &mut Ask) -> Result<(), Failure> {
    let tools = get(body, "tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (index, tool) in tools.iter().enumerate() {
        let Some(tool) = tool.as_object() else { continue };
        let declared = get(tool, "functionDeclarations").and_then(Value::as_array);
        for (n, function) in declared.into_iter().flatten().enumerate() {
            let at = format!("tools[{index}].function_declarations[{n}]");
            let function =
                function.as_object().ok_or_else(|| Failure::invalid("Invalid value at 'tools'"))?;
            let known = [
                "name",
                "description",
                "parameters",
                "parametersJsonSchema",
                "response",
                "responseJsonSchema",
                "behavior",
            ];
            check_members(function, &known, &at)?;
            let name = function.get("name").and_then(Value::as_str).unwrap_or_default();
            check_name(name, &at)?;
            if let Some(parameters) = get(function, "parameters") {
                schema(parameters, &format!("{at}.parameters"))?;
            }
            let found = get(function, "parametersJsonSchema").or_else(|| get(function, "parameters"));
            ask.tools.push(Tool { name: name.to_owned(), schema: found.cloned().unwrap_or_default() });
        }
    }
    ask.choice = choice(body, ask)?;
    Ok(())
}

fn check_name(name: &str, at: &str) -> Result<(), Failure> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts && name.len() <= 128 && name.chars().all(fine) {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "* GenerateContentRequest.{at}.name: [Invalid function name. Must start with a letter or an underscore. Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 128.]"
    )))
}

fn schema(schema: &Value, at: &str) -> Result<(), Failure> {
    let Some(object) = schema.as_object() else { return Ok(()) };
    check_members(object, SCHEMA, at)?;
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        self::schema(inner, &format!("{at}.properties[{name}]"))?;
    }
    for (index, inner) in schema["anyOf"].as_array().into_iter().flatten().enumerate() {
        self::schema(inner, &format!("{at}.any_of[{index}]"))?;
    }
    self::schema(&schema["items"], &format!("{at}.items"))
}

fn choice(body: &Object, ask: &Ask) -> Result<Choice, Failure> {
    let config = get(body, "toolConfig").and_then(Value::as_object);
    let Some(config) = config.and_then(|config| get(config, "functionCallingConfig")) else {
        return Ok(Choice::Auto);
    };
    let Some(config) = config.as_object() else { return Ok(Choice::Auto) };
    let allowed = strings(get(config, "allowedFunctionNames"));
    let mode = get(config, "mode").and_then(Value::as_str).unwrap_or("AUTO").to_ascii_uppercase();
    if mode == "ANY" && ask.tools.is_empty() {
        return Err(Failure::invalid("Function calling config is set without function_declarations."));
    }
    if let Some(name) = allowed.iter().find(|name| !ask.tools.iter().any(|tool| tool.name == **name)) {
        let text = format!(
            "* GenerateContentRequest.tool_config.function_calling_config.allowed_function_names: `{name}` is not declared."
        );
        return Err(Failure::invalid(text));
    }
    match (mode.as_str(), allowed.as_slice()) {
        ("AUTO" | "VALIDATED" | "MODE_UNSPECIFIED", []) | ("VALIDATED", _) => Ok(Choice::Auto),
        ("AUTO", _) => Err(Failure::invalid(
            "Allowed function names should be set only when function calling mode is ANY.",
        )),
        ("NONE", _) => Ok(Choice::None),
        ("ANY", [one]) => Ok(Choice::Named(one.clone())),
        ("ANY", _) => Ok(Choice::Any),
        (other, _) => Err(Failure::invalid(format!(
            "Invalid value at 'tool_config.function_calling_config.mode' (type.googleapis.com/google.ai.generativelanguage.v1beta.FunctionCallingConfig.Mode), \"{other}\""
        ))),
    }
}

fn config(body: &Object, ask: &mut Ask) -> Result<(), Failure> {
    let Some(config) = get(body, "generationConfig").and_then(Value::as_object) else { return Ok(()) };
    check_members(config, CONFIG, "generation_config")?;
    ask.max_tokens = get(config, "maxOutputTokens").and_then(Value::as_u64);
    ask.stops = strings(get(config, "stopSequences"));
    if let Some(temperature) = get(config, "temperature").and_then(Value::as_f64)
        && !(0.0..=2.0).contains(&temperature)
    {
        return Err(Failure::invalid(
            "* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0].\n",
        ));
    }
    if let Some(thinking) = get(config, "thinkingConfig").and_then(Value::as_object) {
        check_members(
            thinking,
            &["includeThoughts", "thinkingBudget", "thinkingLevel"],
            "generation_config.thinking_config",
        )?;
    }
    let json_type = get(config, "responseMimeType").is_some_and(|kind| kind == "application/json");
    let declared = get(config, "responseJsonSchema").or_else(|| get(config, "responseSchema"));
    if let Some(declared) = get(config, "responseSchema") {
        schema(declared, "generation_config.response_schema")?;
    }
    if declared.is_some() && !json_type {
        return Err(Failure::invalid(
            "* GenerateContentRequest.generation_config.response_schema: only allowed when response_mime_type is application/json",
        ));
    }
    let any = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}});
    ask.schema = json_type.then(|| declared.cloned().unwrap_or(any));
    Ok(())
}

/// Walks the conversation.
struct Contents {
    ask: Ask,
    /// Calls of the last model turn that wait for their responses: name and id.
    calls: Vec<(String, Option<String>)>,
}

impl Contents {
    fn all(mut self, contents: &[Value]) -> Result<Ask, Failure> {
        for (index, content) in contents.iter().enumerate() {
            self.content(index, content)?;
        }
        if !self.calls.is_empty() {
            return Err(unequal());
        }
        check_signatures(contents, &self.ask.model)?;
        Ok(self.ask)
    }

    fn content(&mut self, index: usize, content: &Value) -> Result<(), Failure> {
        let at = format!("contents[{index}]");
        if let Some(object) = content.as_object() {
            check_members(object, &["role", "parts"], &at)?;
        }
        let role = content["role"].as_str().unwrap_or("user");
        if !matches!(role, "user" | "model" | "function") {
            return Err(Failure::invalid("Please use a valid role: user, model."));
        }
        let parts = content["parts"].as_array().filter(|parts| !parts.is_empty());
        let parts = parts.ok_or_else(|| {
            Failure::invalid(format!(
                "* GenerateContentRequest.{at}.parts: contents.parts must not be empty.\n"
            ))
        })?;
        let responds =
            parts.iter().filter_map(Value::as_object).any(|part| get(part, "functionResponse").is_some());
        if !self.calls.is_empty() && !responds {
            return Err(unequal());
        }
        let mut text = String::new();
        for (n, part) in parts.iter().enumerate() {
            let at = format!("{at}.parts[{n}]");
            let part =
                part.as_object().ok_or_else(|| Failure::invalid(format!("Invalid value at '{at}'")))?;
            check_members(part, PART, &at)?;
            self.part(&at, role, part, &mut text)?;
        }
        if role == "user" && !responds {
            self.ask.last_user.clone_from(&text);
        }
        self.ask.ends_with_results = responds;
        self.ask.prompt_chars += text.len();
        if responds && !self.calls.is_empty() { Err(unequal()) } else { Ok(()) }
    }

    fn part(&mut self, at: &str, role: &str, part: &Object, text: &mut String) -> Result<(), Failure> {
        if let Some(words) = get(part, "text").and_then(Value::as_str) {
            if get(part, "thought") != Some(&Value::Bool(true)) {
                text.push_str(words);
            }
            return Ok(());
        }
        if let Some(blob) = get(part, "inlineData").and_then(Value::as_object) {
            let media = get(blob, "mimeType").and_then(Value::as_str);
            let media = media.ok_or_else(|| {
                Failure::invalid(format!(
                    "* GenerateContentRequest.{at}.inline_data.mime_type: mime_type must be set."
                ))
            })?;
            let length = get(blob, "data").and_then(Value::as_str).and_then(loose_base64);
            let length = length.ok_or_else(|| {
                Failure::invalid(format!(
                    "Invalid value at '{at}.inline_data.data' (TYPE_BYTES), Base64 decoding failed"
                ))
            })?;
            self.ask.images.push((media.to_owned(), length.len()));
            return Ok(());
        }
        if get(part, "fileData").is_some() {
            self.ask.images.push(("url".to_owned(), 0));
            return Ok(());
        }
        if let Some(call) = get(part, "functionCall") {
            let name = call["name"].as_str().unwrap_or_default();
            if role != "model" || name.is_empty() {
                return Err(Failure::invalid(format!(
                    "* GenerateContentRequest.{at}.function_call.name: Name cannot be empty.\n"
                )));
            }
            if !matches!(call["args"], Value::Null | Value::Object(_)) {
                return Err(Failure::invalid(format!(
                    "Invalid value at '{at}.function_call.args' (type.googleapis.com/google.protobuf.Struct)"
                )));
            }
            self.calls.push((name.to_owned(), call["id"].as_str().map(str::to_owned)));
            return Ok(());
        }
        match get(part, "functionResponse") {
            Some(response) => self.response(at, response),
            None if part.is_empty() || part.keys().all(|name| name == "thought") => {
                Err(Failure::invalid(format!(
                    "* GenerateContentRequest.{at}.data: required oneof field 'data' must have one initialized field\n"
                )))
            }
            None => Ok(()),
        }
    }

    fn response(&mut self, at: &str, response: &Value) -> Result<(), Failure> {
        let name = response["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            return Err(Failure::invalid(format!(
                "* GenerateContentRequest.{at}.function_response.name: Name cannot be empty.\n"
            )));
        }
        if !response["response"].is_object() {
            return Err(Failure::invalid(format!(
                "Invalid value at '{at}.function_response.response' (type.googleapis.com/google.protobuf.Struct)"
            )));
        }
        if self.calls.is_empty() {
            return Err(Failure::invalid(
                "Please ensure that function response turn comes immediately after a function call turn.",
            ));
        }
        let id = response["id"].as_str();
        let matches = |(call, call_id): &(String, Option<String>)| {
            call == name && (id.is_none() || call_id.is_none() || call_id.as_deref() == id)
        };
        let Some(position) = self.calls.iter().position(matches) else { return Err(unequal()) };
        self.calls.remove(position);
        let text = match &response["response"] {
            Value::Object(one) if one.len() == 1 => match one.values().next() {
                Some(Value::String(text)) => text.clone(),
                _ => response["response"].to_string(),
            },
            other => other.to_string(),
        };
        self.ask.prompt_chars += text.len();
        self.ask.tool_results.push(text);
        Ok(())
    }
}

fn unequal() -> Failure {
    Failure::invalid(
        "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.",
    )
}

/// The first call of each step of the current turn must bring its signature back; 1.x and 2.x do not ask for it.
fn check_signatures(contents: &[Value], model: &str) -> Result<(), Failure> {
    let lenient = model.contains("gemini-1") || model.contains("gemini-2");
    let part_with = |content: &Value, camel: &str| {
        let parts = content["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
        parts.iter().filter_map(Value::as_object).find_map(|part| get(part, camel).map(|_| part.clone()))
    };
    let is_words = |content: &Value| {
        content["role"].as_str().unwrap_or("user") == "user"
            && part_with(content, "functionResponse").is_none()
    };
    let turn = contents.iter().rposition(is_words).map_or(0, |index| index + 1);
    for (position, content) in contents.iter().enumerate() {
        if content["role"] != "model" {
            continue;
        }
        let Some(part) = part_with(content, "functionCall") else { continue };
        let call = part.get("functionCall").or_else(|| part.get("function_call")).unwrap_or(&Value::Null);
        let name = call["name"].as_str().unwrap_or_default();
        match get(&part, "thoughtSignature").and_then(Value::as_str) {
            Some(signature) if is_skip(signature) || is_same(signature, &call_seal(name, &call["args"])) => {}
            Some(_) => return Err(Failure::invalid("Corrupted thought signature.")),
            None if position < turn || lenient => {}
            None => {
                return Err(Failure::invalid(format!(
                    "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance. Additional data, function call `default_api:{name}` , position {}. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details.",
                    position + 1
                )));
            }
        }
    }
    Ok(())
}

fn is_skip(signature: &str) -> bool {
    SKIPS.iter().any(|skip| {
        *skip == signature || loose_base64(signature).is_some_and(|bytes| bytes == skip.as_bytes())
    })
}

fn is_same(signature: &str, issued: &str) -> bool {
    loose_base64(signature).is_some_and(|bytes| Some(bytes) == loose_base64(issued))
}
