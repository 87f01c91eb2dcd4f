//! Input items, read into turns.

use serde_json::{Value, json};

use crate::chat::{Extra, Family, Media, Message, Part, Role};
use crate::dialect::members::{self, Members, wrong};
use crate::dialect::{BadRequest, media};
use crate::{json as wire_json, opaque};

use super::tools::SHELL;
use super::types::nested;

/// The items of a request's `input`, text spelt out as a message; what a later turn continues from.
///
/// # Errors
/// [`BadRequest`] if the body is no JSON object, or `input` neither text nor a list.
pub fn input_items(body: &[u8]) -> Result<Vec<Value>, BadRequest> {
    let body = members::document(body)?;
    match Members::of(body, "")?.take("input") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![user_text(&text)]),
        Some(Value::Array(items)) => Ok(items),
        Some(other) => Err(wrong("input", "a string or a list of items", &other)),
    }
}

fn user_text(text: &str) -> Value {
    json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
}

/// Reads all items. What the model said in one go becomes one turn, as do the results of its calls.
pub(super) fn turns(input: Value, messages: &mut Vec<Message>) -> Result<(), BadRequest> {
    let items = match input {
        Value::String(text) => {
            messages.push(Message::text(Role::User, text));
            return Ok(());
        }
        Value::Array(items) => items,
        other => return Err(wrong("input", "a string or a list of items", &other)),
    };
    for (index, item) in items.into_iter().enumerate() {
        let (role, parts) = turn(item, &format!("input[{index}]"))?;
        let joins = matches!(role, Role::Assistant | Role::Tool);
        match messages.last_mut().filter(|last| joins && last.role == role) {
            Some(last) => last.parts.extend(parts),
            None => messages.push(Message::new(role, parts)),
        }
    }
    Ok(())
}

fn turn(item: Value, at: &str) -> Result<(Role, Vec<Part>), BadRequest> {
    let kind = item.get("type").and_then(Value::as_str).unwrap_or("message").to_owned();
    if matches!(kind.as_str(), "function_call_output" | "custom_tool_call_output" | "local_shell_call_output")
    {
        return Ok((Role::Tool, vec![result(Members::of(item, at)?)?]));
    }
    let part = match kind.as_str() {
        "message" => return message(Members::of(item, at)?),
        "item_reference" => {
            return Err(BadRequest::new(
                at,
                format!(
                    "{at}: items cannot be referred to by id here; send the item itself, or continue with \
                     `previous_response_id`"
                ),
            ));
        }
        "function_call" => {
            let mut call = Members::of(item, at)?;
            let (id, signature) = opaque::open_id(&call.need_text("call_id")?);
            Part::ToolCall {
                id,
                name: call.need_text("name")?,
                arguments: call.text("arguments")?.unwrap_or_default(),
                signature,
                cache: None,
                extra: Extra::default(),
            }
        }
        "custom_tool_call" => {
            let mut call = Members::of(item, at)?;
            let (id, signature) = opaque::open_id(&call.need_text("call_id")?);
            let name = call.need_text("name")?;
            let input = call.text("input")?.unwrap_or_default();
            call_as_function(id, name, &json!({ "input": input }), signature, "custom")
        }
        "local_shell_call" => {
            let mut call = Members::of(item, at)?;
            let (id, signature) = opaque::open_id(&call.need_text("call_id")?);
            let mut action = call.take("action").unwrap_or_default();
            if let Value::Object(members) = &mut action {
                members.shift_remove("type");
                members.retain(|_, value| !value.is_null());
            }
            call_as_function(id, SHELL.to_owned(), &action, signature, SHELL)
        }
        "reasoning" => reasoning(Members::of(item, at)?)?,
        kind => {
            let role = if kind.ends_with("_output") { Role::User } else { Role::Assistant };
            return Ok((role, vec![Part::Foreign { family: Family::Responses, value: item }]));
        }
    };
    Ok((Role::Assistant, vec![part]))
}

fn call_as_function(
    id: String,
    name: String,
    arguments: &Value,
    signature: Option<crate::chat::Signature>,
    kind: &str,
) -> Part {
    let mut extra = Extra::default();
    extra.put(Family::Responses, "type", json!(kind));
    Part::ToolCall { id, name, arguments: wire_json::text(arguments), signature, cache: None, extra }
}

fn result(mut item: Members) -> Result<Part, BadRequest> {
    // The shell's output names its call in `id`.
    let id = match item.text("call_id")? {
        Some(id) => id,
        None => item.need_text("id")?,
    };
    let at = item.at("output");
    let content = match item.take("output") {
        None => Vec::new(),
        Some(Value::String(text)) => vec![Part::text(text)],
        Some(Value::Array(items)) => content(items, &at)?,
        Some(other) => vec![Part::text(wire_json::text(&other))],
    };
    Ok(Part::tool_result(opaque::open_id(&id).0, content))
}

fn reasoning(mut item: Members) -> Result<Part, BadRequest> {
    let texts = |items: Vec<Value>| -> Vec<String> {
        items.iter().filter_map(|it| it.get("text")?.as_str().map(str::to_owned)).collect()
    };
    let mut said = texts(item.list("summary")?);
    if said.is_empty() {
        said = texts(item.list("content")?);
    }
    let text = said.join("\n\n");
    let sealed = item.text("encrypted_content")?;
    let signature = sealed.map(|sealed| opaque::open(&sealed, Family::Responses));
    let redacted = text.is_empty() && signature.is_some();
    Ok(Part::Reasoning { text, signature, redacted, id: item.text("id")? })
}

fn message(mut item: Members) -> Result<(Role, Vec<Part>), BadRequest> {
    let role = match item.need_text("role")?.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        "developer" => Role::Developer,
        _ => {
            let at = item.at("role");
            let text = format!("{at}: must be `user`, `assistant`, `system` or `developer`");
            return Err(BadRequest::new(at, text));
        }
    };
    let at = item.at("content");
    let parts = match item.need("content")? {
        Value::String(text) => vec![Part::text(text)],
        Value::Array(items) => content(items, &at)?,
        other => return Err(wrong(&at, "a string or a list of parts", &other)),
    };
    Ok((role, parts))
}

fn content(items: Vec<Value>, at: &str) -> Result<Vec<Part>, BadRequest> {
    items.into_iter().enumerate().map(|(index, item)| part(item, &format!("{at}[{index}]"))).collect()
}

fn part(item: Value, at: &str) -> Result<Part, BadRequest> {
    let kind = item.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let whole = item.clone();
    let mut members = Members::of(item, at)?;
    Ok(match kind.as_str() {
        "input_text" | "output_text" | "text" | "summary_text" => Part::Text {
            text: members.need_text("text")?,
            annotations: members.list("annotations")?.iter().map(nested).collect(),
            signature: None,
            cache: None,
            extra: Extra::default(),
        },
        "refusal" => Part::Refusal { text: members.need_text("refusal")? },
        "input_image" => {
            let detail = members.text("detail")?;
            let media = match (members.text("image_url")?, members.text("file_id")?) {
                (Some(url), _) => media::of_url(&url, None, &members.at("image_url"))?,
                (None, Some(id)) => Media::FileId { id, family: Family::Responses },
                (None, None) => {
                    return Err(BadRequest::new(at, format!("{at}: needs `image_url` or `file_id`")));
                }
            };
            Part::Image { media, detail, cache: None, extra: Extra::default() }
        }
        "input_file" => {
            let name = members.text("filename")?;
            let data = members.text("file_data")?;
            let media = match (data, members.text("file_url")?, members.text("file_id")?) {
                (Some(data), _, _) if data.starts_with("data:") => {
                    media::of_url(&data, None, &members.at("file_data"))?
                }
                (Some(data), _, _) => {
                    media::inline("application/pdf".to_owned(), data, &members.at("file_data"))?
                }
                (None, Some(url), _) => Media::Url { url, mime: None },
                (None, None, Some(id)) => Media::FileId { id, family: Family::Responses },
                (None, None, None) => {
                    let text = format!("{at}: needs `file_data`, `file_url` or `file_id`");
                    return Err(BadRequest::new(at, text));
                }
            };
            Part::File { media, name, cache: None, extra: Extra::default() }
        }
        "input_audio" => {
            let mut audio = members.need_object("input_audio")?;
            let format = audio.text("format")?.unwrap_or_else(|| "wav".to_owned());
            let data = audio.need_text("data")?;
            let media = media::inline(format!("audio/{format}"), data, &audio.at("data"))?;
            Part::Audio { media, transcript: None, id: None }
        }
        _ => Part::Foreign { family: Family::Responses, value: whole },
    })
}
