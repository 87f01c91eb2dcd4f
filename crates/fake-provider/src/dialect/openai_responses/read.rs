//! Reads and checks a response request.

use serde_json::{Value, json};

use super::super::openai_chat::{check_name, is_azure};
use super::super::{Head, serial};
use super::FAMILY;
use crate::clock::now;
use crate::failure::Failure;
use crate::read::{Object, data_url, present, stranger};
use crate::reply::{Ask, Choice, Flavour, Tool};
use crate::seal::genuine;

const KNOWN: &[&str] = &[
    "access_programs",
    "background",
    // Not in the published reference: Codex sends it to OpenAI and to Azure alike.
    "client_metadata",
    "context_management",
    "conversation",
    "image",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "moderation",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

/// Members the response object repeats, and those kept for later requests.
const ECHOED: &[&str] = &[
    "background",
    "include",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

/// Items of hosted tools: taken as they are.
const CARRIED: &[&str] = &[
    "item_reference",
    "file_search_call",
    "web_search_call",
    "computer_call",
    "computer_call_output",
    "image_generation_call",
    "code_interpreter_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_call",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "custom_tool_call",
    "custom_tool_call_output",
    "compaction",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
];

pub(super) fn read(head: &Head<'_>, body: &Object) -> Result<Ask, Failure> {
    if let Some(name) = stranger(body, KNOWN) {
        return Err(Failure::unknown_param(name));
    }
    let model =
        head.model.or_else(|| body.get("model").and_then(Value::as_str)).ok_or_else(|| missing("model"))?;
    let mut ask = Ask {
        id: format!("resp_fake{:012x}", serial()),
        created: now(),
        model: model.to_owned(),
        stream: body.get("stream") == Some(&Value::Bool(true)),
        choices: 1,
        flavour: if is_azure(head.path) { Flavour::Azure } else { Flavour::Plain },
        max_tokens: present(body, "max_output_tokens").and_then(Value::as_u64),
        serial_tools: body.get("parallel_tool_calls") == Some(&Value::Bool(false)),
        ..Ask::default()
    };
    for name in ECHOED {
        if let Some(value) = body.get(*name) {
            ask.echo.insert((*name).to_owned(), value.clone());
        }
    }
    if ask.max_tokens.is_some_and(|max| max < 16) {
        let text = "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got a lower one instead.";
        return Err(Failure::invalid_param("max_output_tokens", text));
    }
    tools(body, &mut ask)?;
    ask.schema = format(body)?;
    ask.prompt_chars += body.get("instructions").and_then(Value::as_str).map_or(0, str::len);
    input(head, body, &mut ask)?;
    Ok(ask)
}

fn missing(param: impl Into<String>) -> Failure {
    let param = param.into();
    Failure::invalid_param(param.clone(), format!("Missing required parameter: '{param}'."))
}

fn tools(body: &Object, ask: &mut Ask) -> Result<(), Failure> {
    let tools = present(body, "tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (index, tool) in tools.iter().enumerate() {
        let at = format!("tools[{index}]");
        match tool["type"].as_str() {
            None => return Err(missing(format!("{at}.type"))),
            Some("function") => {}
            Some(_) => continue,
        }
        let name = tool["name"].as_str().ok_or_else(|| missing(format!("{at}.name")))?;
        check_name(&format!("{at}.name"), name)?;
        ask.tools.push(Tool { name: name.to_owned(), schema: tool["parameters"].clone() });
    }
    ask.choice = match present(body, "tool_choice") {
        None => Choice::Auto,
        Some(Value::String(word)) => match word.as_str() {
            "auto" => Choice::Auto,
            "none" => Choice::None,
            "required" => Choice::Any,
            other => {
                let text = format!(
                    "Invalid value: '{other}'. Supported values are: 'none', 'auto', and 'required'."
                );
                return Err(Failure::invalid_param("tool_choice", text));
            }
        },
        Some(choice) if choice["type"] == "function" => {
            let name = choice["name"].as_str().ok_or_else(|| missing("tool_choice.name"))?;
            if !ask.tools.iter().any(|tool| tool.name == name) {
                let text =
                    format!("Tool choice 'function' with name '{name}' not found in 'tools' parameter.");
                return Err(Failure::invalid_param("tool_choice", text));
            }
            Choice::Named(name.to_owned())
        }
        Some(choice) if choice["mode"] == "required" => Choice::Any,
        Some(_) => Choice::Auto,
    };
    Ok(())
}

fn format(body: &Object) -> Result<Option<Value>, Failure> {
    let Some(format) = body.get("text").map(|text| &text["format"]).filter(|format| !format.is_null()) else {
        return Ok(None);
    };
    match format["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(json!({"type": "object", "properties": {"ok": {"type": "boolean"}}}))),
        Some("json_schema") => {
            format["name"].as_str().ok_or_else(|| missing("text.format.name"))?;
            Ok(Some(format.get("schema").cloned().ok_or_else(|| missing("text.format.schema"))?))
        }
        _ => {
            let text = "Invalid value. Supported values are: 'json_object', 'json_schema', and 'text'.";
            Err(Failure::invalid_param("text.format.type", text))
        }
    }
}

fn input(head: &Head<'_>, body: &Object, ask: &mut Ask) -> Result<(), Failure> {
    // Items of earlier responses come first, then this request's own.
    let mut items: Vec<Value> = Vec::new();
    if let Some(id) = present(body, "previous_response_id").and_then(Value::as_str) {
        let earlier = head.store.and_then(|store| store.response(id)).ok_or_else(|| {
            Failure::invalid_param(
                "previous_response_id",
                format!("Previous response with id '{id}' not found."),
            )
        })?;
        items.extend(earlier.input);
        items.extend(earlier.answer["output"].as_array().cloned().unwrap_or_default());
    }
    let own = items.len();
    match body.get("input") {
        Some(Value::String(text)) => items.push(json!({"type": "message", "role": "user",
            "content": [{"type": "input_text", "text": text}]})),
        Some(Value::Array(list)) => items.extend(list.iter().cloned()),
        None if body.contains_key("prompt") || own > 0 => {}
        _ => return Err(missing("input")),
    }
    let mut open: Vec<String> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let at = format!("input[{}]", index.saturating_sub(own));
        read_item(&at, item, &mut open, ask)?;
    }
    if let Some(id) = open.first() {
        return Err(Failure::invalid_param("input", format!("No tool output found for function call {id}.")));
    }
    if let Some(Value::Object(last)) = items.last()
        && last.get("type").is_some_and(|kind| kind == "reasoning")
    {
        let id = last.get("id").and_then(Value::as_str).unwrap_or_default();
        let text =
            format!("Item '{id}' of type 'reasoning' was provided without its required following item.");
        return Err(Failure::invalid_param("input", text));
    }
    for (index, item) in items.iter_mut().enumerate() {
        if item["id"].is_null()
            && let Some(item) = item.as_object_mut()
        {
            item.insert(
                "id".into(),
                format!("item_{}{index:02x}", ask.id.trim_start_matches("resp_")).into(),
            );
        }
    }
    ask.echo.insert("input".into(), items.into());
    Ok(())
}

fn read_item(at: &str, item: &Value, open: &mut Vec<String>, ask: &mut Ask) -> Result<(), Failure> {
    match item["type"].as_str() {
        None | Some("message") => {
            ask.ends_with_results = false;
            message(at, item, ask)
        }
        Some("function_call") => {
            for name in ["call_id", "name", "arguments"] {
                item[name].as_str().ok_or_else(|| missing(format!("{at}.{name}")))?;
            }
            check_id(at, item, "fc")?;
            open.push(item["call_id"].as_str().unwrap_or_default().to_owned());
            Ok(())
        }
        Some("function_call_output") => {
            let id = item["call_id"].as_str().ok_or_else(|| missing(format!("{at}.call_id")))?;
            let Some(position) = open.iter().position(|call| call == id) else {
                let text = format!("No tool call found for function call output with call_id {id}.");
                return Err(Failure::invalid_param("input", text));
            };
            open.remove(position);
            let text = match &item["output"] {
                Value::String(text) => text.clone(),
                Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
                _ => return Err(missing(format!("{at}.output"))),
            };
            ask.prompt_chars += text.len();
            ask.tool_results.push(text);
            ask.ends_with_results = true;
            Ok(())
        }
        Some("reasoning") => {
            let summary = item["summary"].as_array().ok_or_else(|| missing(format!("{at}.summary")))?;
            check_id(at, item, "rs")?;
            let Some(sealed) = item["encrypted_content"].as_str() else { return Ok(()) };
            let text: String = summary.iter().filter_map(|part| part["text"].as_str()).collect();
            if genuine(FAMILY, &text, sealed) {
                return Ok(());
            }
            let id = item["id"].as_str().unwrap_or_default();
            let text = format!(
                "The encrypted content for item {id} could not be verified. Reason: Encrypted content could not be decrypted or parsed."
            );
            Err(Failure::invalid_param("input", text))
        }
        Some(kind) if CARRIED.contains(&kind) => Ok(()),
        Some(other) => {
            let text = format!(
                "Invalid value: '{other}'. Supported values are: 'message', 'function_call', 'function_call_output', 'reasoning', and 'item_reference'."
            );
            Err(Failure::invalid_param(at, text))
        }
    }
}

fn check_id(at: &str, item: &Value, prefix: &str) -> Result<(), Failure> {
    match item["id"].as_str() {
        Some(id) if !id.starts_with(prefix) && !id.starts_with("item_") => {
            let text = format!("Invalid '{at}.id': '{id}'. Expected an ID that begins with '{prefix}'.");
            Err(Failure::invalid_param(format!("{at}.id"), text))
        }
        _ => Ok(()),
    }
}

fn message(at: &str, item: &Value, ask: &mut Ask) -> Result<(), Failure> {
    let role = item["role"].as_str().ok_or_else(|| missing(format!("{at}.role")))?;
    if !matches!(role, "user" | "assistant" | "system" | "developer") {
        let text = format!(
            "Invalid value: '{role}'. Supported values are: 'assistant', 'system', 'developer', and 'user'."
        );
        return Err(Failure::invalid_param(at, text));
    }
    let mut text = String::new();
    match &item["content"] {
        Value::String(words) => text.push_str(words),
        Value::Array(parts) => {
            for (index, part) in parts.iter().enumerate() {
                read_part(&format!("{at}.content[{index}]"), role, part, &mut text, ask)?;
            }
        }
        _ => return Err(missing(format!("{at}.content"))),
    }
    ask.prompt_chars += text.len();
    if role == "user" {
        ask.last_user = text;
    }
    Ok(())
}

fn read_part(at: &str, role: &str, part: &Value, text: &mut String, ask: &mut Ask) -> Result<(), Failure> {
    let says = role == "assistant";
    match part["type"].as_str() {
        Some("input_text") if !says => {
            text.push_str(part["text"].as_str().ok_or_else(|| missing(format!("{at}.text")))?);
            Ok(())
        }
        Some("output_text") if says => {
            text.push_str(part["text"].as_str().ok_or_else(|| missing(format!("{at}.text")))?);
            Ok(())
        }
        Some("refusal") if says => Ok(()),
        Some("input_image") if !says => {
            let url = part["image_url"].as_str();
            if url.is_none() && part["file_id"].is_string() {
                return Ok(());
            }
            let url = url.ok_or_else(|| missing(format!("{at}.image_url")))?;
            let image = if url.starts_with("http") { Some(("url".to_owned(), 0)) } else { data_url(url) };
            let broken = || {
                let text = format!("Invalid '{at}.image_url'. Expected a valid URL or base64 data.");
                Failure::invalid_param(format!("{at}.image_url"), text)
            };
            ask.images.push(image.ok_or_else(broken)?);
            Ok(())
        }
        Some("input_file" | "input_audio") if !says => Ok(()),
        Some(other) => {
            let wanted = if says {
                "'output_text' and 'refusal'"
            } else {
                "'input_text', 'input_image', 'input_file', and 'input_audio'"
            };
            let text = format!("Invalid value: '{other}'. Supported values are: {wanted}.");
            Err(Failure::invalid_param(format!("{at}.type"), text))
        }
        None => Err(missing(format!("{at}.type"))),
    }
}
