//! Reads and checks a chat completion request.

use serde_json::{Value, json};

use super::super::Head;
use super::is_azure;
use crate::failure::Failure;
use crate::read::{Object, data_url, present, stranger, strings};
use crate::reply::{Ask, Choice, Flavour, Tool};

const KNOWN: &[&str] = &[
    "messages",
    "model",
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
    "stream",
];

/// Members that only some of the compatible providers take; accepted where the address is not OpenAI's own.
const COMPATIBLE: &[&str] = &[
    "top_k",
    "min_p",
    "repetition_penalty",
    "safe_prompt",
    "random_seed",
    "thinking",
    "enable_thinking",
    "chat_template_kwargs",
    "extra_body",
    "provider",
    "reasoning",
    "transforms",
    "models",
    "search_parameters",
    "guided_json",
    "documents",
    "include_reasoning",
    "reasoning_format",
    "data_sources",
    "enhancements",
    "prompt_mode",
    "return_citations",
    "search_domain_filter",
];

pub(super) fn read(head: &Head<'_>, body: &Object) -> Result<Ask, Failure> {
    let own = head.path == "/v1/chat/completions" || is_azure(head.path);
    if let Some(name) = body
        .keys()
        .find(|name| !KNOWN.contains(&name.as_str()) && (own || !COMPATIBLE.contains(&name.as_str())))
    {
        return Err(Failure { param: None, ..unrecognized(name) });
    }
    let azure = is_azure(head.path);
    let model = head.model.or_else(|| body.get("model").and_then(Value::as_str));
    let model = model.ok_or_else(|| Failure::invalid("you must provide a model parameter"))?;
    let mut ask = Ask {
        model: model.to_owned(),
        stream: flag(body, "stream")?,
        choices: usize::try_from(body.get("n").and_then(Value::as_u64).unwrap_or(1))
            .unwrap_or(1)
            .clamp(1, 128),
        flavour: if azure { Flavour::Azure } else { Flavour::Plain },
        serial_tools: body.get("parallel_tool_calls") == Some(&Value::Bool(false)),
        stops: strings(body.get("stop")),
        ..Ask::default()
    };
    stream_options(body, &mut ask)?;
    if body.contains_key("max_tokens") && body.contains_key("max_completion_tokens") && own {
        return Err(Failure::invalid(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
        ));
    }
    ask.max_tokens = present(body, "max_completion_tokens")
        .or_else(|| present(body, "max_tokens"))
        .and_then(Value::as_u64);
    range(body, "temperature", 0.0, 2.0)?;
    range(body, "top_p", 0.0, 1.0)?;
    tools(body, &mut ask)?;
    ask.schema = format(body)?;
    messages(body, &mut ask)?;
    Ok(ask)
}

fn unrecognized(name: &str) -> Failure {
    Failure {
        message: Some(format!("Unrecognized request argument supplied: {name}")),
        ..Failure::unknown_param(name)
    }
}

fn flag(body: &Object, name: &str) -> Result<bool, Failure> {
    match present(body, name) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(wrong_type(name, "a boolean", other)),
    }
}

fn wrong_type(param: &str, wanted: &str, got: &Value) -> Failure {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Failure::invalid_param(
        param,
        format!("Invalid type for '{param}': expected {wanted}, but got {got} instead."),
    )
}

fn range(body: &Object, name: &str, least: f64, most: f64) -> Result<(), Failure> {
    let Some(value) = present(body, name) else { return Ok(()) };
    let number = value.as_f64().ok_or_else(|| wrong_type(name, "a decimal", value))?;
    if number < least || number > most {
        let bound = if number < least {
            format!("minimum value, but got {number}")
        } else {
            format!("maximum value, but got {number}")
        };
        let text = format!(
            "Invalid '{name}': decimal {} {bound} instead.",
            if number < least { "below" } else { "above" }
        );
        return Err(Failure::invalid_param(name, text));
    }
    Ok(())
}

fn stream_options(body: &Object, ask: &mut Ask) -> Result<(), Failure> {
    let Some(options) = present(body, "stream_options") else { return Ok(()) };
    if !ask.stream {
        return Err(Failure::invalid_param(
            "stream_options",
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        ));
    }
    let options = options.as_object().ok_or_else(|| wrong_type("stream_options", "an object", options))?;
    if let Some(name) = stranger(options, &["include_usage", "include_obfuscation"]) {
        let path = format!("stream_options.{name}");
        return Err(Failure::invalid_param(path.clone(), format!("Unknown parameter: '{path}'.")));
    }
    ask.include_usage = options.get("include_usage") == Some(&Value::Bool(true));
    Ok(())
}

fn tools(body: &Object, ask: &mut Ask) -> Result<(), Failure> {
    let empty = Vec::new();
    let tools = match present(body, "tools") {
        None => &empty,
        Some(Value::Array(tools)) if tools.is_empty() => {
            return Err(Failure::invalid_param(
                "tools",
                "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            ));
        }
        Some(Value::Array(tools)) => tools,
        Some(other) => return Err(wrong_type("tools", "an array of objects", other)),
    };
    for (index, tool) in tools.iter().enumerate() {
        let at = format!("tools[{index}]");
        match tool["type"].as_str() {
            Some("function") => {}
            Some("custom") => continue,
            Some(other) => {
                let text =
                    format!("Invalid value: '{other}'. Supported values are: 'function' and 'custom'.");
                return Err(Failure::invalid_param(format!("{at}.type"), text));
            }
            None => return Err(missing(format!("{at}.type"))),
        }
        let name = tool["function"]["name"].as_str().ok_or_else(|| missing(format!("{at}.function.name")))?;
        check_name(&format!("{at}.function.name"), name)?;
        ask.tools.push(Tool { name: name.to_owned(), schema: tool["function"]["parameters"].clone() });
    }
    ask.choice = choice(body, ask)?;
    Ok(())
}

/// OpenAI's rule for names of functions: `^[a-zA-Z0-9_-]{1,64}$`.
pub(crate) fn check_name(at: &str, name: &str) -> Result<(), Failure> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
        let text = format!(
            "Invalid '{at}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
        );
        return Err(Failure::invalid_param(at, text));
    }
    Ok(())
}

fn missing(param: impl Into<String>) -> Failure {
    let param = param.into();
    Failure::invalid_param(param.clone(), format!("Missing required parameter: '{param}'."))
}

fn choice(body: &Object, ask: &Ask) -> Result<Choice, Failure> {
    let Some(value) = present(body, "tool_choice") else { return Ok(Choice::Auto) };
    if ask.tools.is_empty() && value != "none" && value != "auto" {
        return Err(Failure::invalid_param(
            "tool_choice",
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
        ));
    }
    match value {
        Value::String(word) => match word.as_str() {
            "auto" => Ok(Choice::Auto),
            "none" => Ok(Choice::None),
            "required" => Ok(Choice::Any),
            other => Err(Failure::invalid_param(
                "tool_choice",
                format!("Invalid value: '{other}'. Supported values are: 'none', 'auto', and 'required'."),
            )),
        },
        Value::Object(_) => {
            if value["type"] == "allowed_tools" {
                return Ok(if value["allowed_tools"]["mode"] == "required" {
                    Choice::Any
                } else {
                    Choice::Auto
                });
            }
            let name = value["function"]["name"].as_str().ok_or_else(|| missing("tool_choice.function"))?;
            if !ask.tools.iter().any(|tool| tool.name == name) {
                let text = format!("Tool choice '{name}' not found in 'tools' parameter.");
                return Err(Failure::invalid_param("tool_choice", text));
            }
            Ok(Choice::Named(name.to_owned()))
        }
        other => Err(wrong_type("tool_choice", "one of an object or a string", other)),
    }
}

fn format(body: &Object) -> Result<Option<Value>, Failure> {
    let Some(format) = present(body, "response_format") else { return Ok(None) };
    match format["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(json!({"type": "object", "properties": {"ok": {"type": "boolean"}}}))),
        Some("json_schema") => {
            let inner = &format["json_schema"];
            inner["name"].as_str().ok_or_else(|| missing("response_format.json_schema.name"))?;
            Ok(Some(
                inner.get("schema").cloned().ok_or_else(|| missing("response_format.json_schema.schema"))?,
            ))
        }
        Some(other) => Err(Failure::invalid_param(
            "response_format.type",
            format!(
                "Invalid value: '{other}'. Supported values are: 'json_object', 'json_schema', and 'text'."
            ),
        )),
        None => Err(missing("response_format.type")),
    }
}

fn messages(body: &Object, ask: &mut Ask) -> Result<(), Failure> {
    let messages = present(body, "messages").ok_or_else(|| missing("messages"))?;
    let list = messages.as_array().ok_or_else(|| wrong_type("messages", "an array of objects", messages))?;
    if list.is_empty() {
        return Err(Failure::invalid_param(
            "messages",
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        ));
    }
    // Ids of calls that still need an answer, with the message that made them.
    let mut open: Vec<&str> = Vec::new();
    for (index, message) in list.iter().enumerate() {
        let at = format!("messages[{index}]");
        let role = message["role"].as_str().ok_or_else(|| missing(format!("{at}.role")))?;
        if role != "tool" && !open.is_empty() {
            return Err(unanswered(&open));
        }
        match role {
            "system" | "developer" | "user" | "function" => {
                if message["content"].is_null() {
                    let text =
                        format!("Invalid value for 'content': expected a string, got null. ({at}.content)");
                    return Err(Failure::invalid_param(format!("{at}.content"), text));
                }
                content(&at, role, &message["content"], ask)?;
                ask.ends_with_results = false;
            }
            "assistant" => {
                open = calls_of(&at, message)?;
                if message["content"].is_null()
                    && open.is_empty()
                    && message["function_call"].is_null()
                    && message["refusal"].is_null()
                    && message["audio"].is_null()
                {
                    let text = "Invalid value for 'content': expected a string, got null.";
                    return Err(Failure::invalid_param(format!("{at}.content"), text));
                }
                content(&at, role, &message["content"], ask)?;
                ask.ends_with_results = false;
            }
            "tool" => {
                let id =
                    message["tool_call_id"].as_str().ok_or_else(|| missing(format!("{at}.tool_call_id")))?;
                let Some(position) = open.iter().position(|call| *call == id) else {
                    let text = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.";
                    return Err(Failure::invalid_param(format!("{at}.role"), text));
                };
                open.remove(position);
                let text = content(&at, role, &message["content"], ask)?;
                ask.tool_results.push(text);
                ask.ends_with_results = true;
            }
            other => {
                let text = format!(
                    "Invalid value: '{other}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'."
                );
                return Err(Failure::invalid_param(format!("{at}.role"), text));
            }
        }
    }
    if open.is_empty() { Ok(()) } else { Err(unanswered(&open)) }
}

fn unanswered(open: &[&str]) -> Failure {
    Failure::invalid_param(
        "messages",
        format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: {}",
            open.join(", ")
        ),
    )
}

fn calls_of<'a>(at: &str, message: &'a Value) -> Result<Vec<&'a str>, Failure> {
    let Some(calls) = message["tool_calls"].as_array() else { return Ok(Vec::new()) };
    let mut ids = Vec::with_capacity(calls.len());
    for (index, call) in calls.iter().enumerate() {
        let at = format!("{at}.tool_calls[{index}]");
        let id = call["id"].as_str().ok_or_else(|| missing(format!("{at}.id")))?;
        if id.len() > 64 {
            let text = format!(
                "Invalid '{at}.id': string too long. Expected a string with maximum length 64, but got a string with length {} instead.",
                id.len()
            );
            return Err(Failure::invalid_param(format!("{at}.id"), text));
        }
        if call["type"].as_str().is_none() {
            return Err(missing(format!("{at}.type")));
        }
        if call["type"] == "function" {
            call["function"]["name"].as_str().ok_or_else(|| missing(format!("{at}.function.name")))?;
            call["function"]["arguments"]
                .as_str()
                .ok_or_else(|| missing(format!("{at}.function.arguments")))?;
        }
        ids.push(id);
    }
    Ok(ids)
}

/// Reads one message's content; answers its text.
fn content(at: &str, role: &str, content: &Value, ask: &mut Ask) -> Result<String, Failure> {
    let mut text = String::new();
    match content {
        Value::String(one) => text.push_str(one),
        Value::Null => {}
        Value::Array(parts) => {
            for (index, part) in parts.iter().enumerate() {
                read_part(&format!("{at}.content[{index}]"), role, part, &mut text, ask)?;
            }
        }
        other => {
            return Err(wrong_type(&format!("{at}.content"), "one of a string or array of objects", other));
        }
    }
    ask.prompt_chars += text.len();
    if role == "user" {
        ask.last_user.clone_from(&text);
    }
    Ok(text)
}

fn read_part(at: &str, role: &str, part: &Value, text: &mut String, ask: &mut Ask) -> Result<(), Failure> {
    match (part["type"].as_str(), role) {
        (Some("text"), _) => {
            text.push_str(part["text"].as_str().ok_or_else(|| missing(format!("{at}.text")))?);
            Ok(())
        }
        (Some("refusal"), "assistant") => Ok(()),
        (Some("image_url"), "user") => {
            let url = part["image_url"]["url"].as_str().ok_or_else(|| missing(format!("{at}.image_url")))?;
            let image = if url.starts_with("http") {
                ("url".to_owned(), 0)
            } else {
                data_url(url).ok_or_else(|| {
                    let text = "Invalid base64 image_url.";
                    Failure::invalid_param(format!("{at}.image_url.url"), text)
                })?
            };
            ask.images.push(image);
            Ok(())
        }
        (Some("input_audio" | "file"), "user") => Ok(()),
        (Some(other), _) => {
            let text = format!(
                "Invalid value: '{other}'. Supported values are: 'text', 'image_url', 'input_audio', 'refusal', 'audio', and 'file'."
            );
            Err(Failure::invalid_param(format!("{at}.type"), text))
        }
        (None, _) => Err(missing(format!("{at}.type"))),
    }
}
