//! A prompt, read as a conversation.

use serde_json::{Map, Value, json};

use crate::chat::ChatRequest;
use crate::dialect::members::{self, wrong};
use crate::dialect::{BadRequest, ClientCall, openai_chat};

/// Reads the body of `POST /v1/completions`. Members that it shares with a chat mean what they mean there.
pub(super) fn decode(body: &[u8], call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
    let value = members::document(body)?;
    let Value::Object(mut body) = value else { return Err(wrong("", "an object", &value)) };
    let prompt = body.shift_remove("prompt").filter(|prompt| !prompt.is_null());
    let prompt = prompt.ok_or_else(|| BadRequest::new("prompt", "prompt: this member is required"))?;
    body.insert("messages".to_owned(), messages(prompt)?);
    alternatives(&mut body)?;
    // What the reference sends by default asks for nothing.
    for (name, nothing) in [("echo", json!(false)), ("best_of", json!(1)), ("suffix", json!(""))] {
        if body.get(name) == Some(&nothing) {
            body.shift_remove(name);
        }
    }
    openai_chat::read_request(Value::Object(body), call)
}

/// Each text of a prompt is a message of the user, as LiteLLM has it.
fn messages(prompt: Value) -> Result<Value, BadRequest> {
    let message = |text: Value| json!({ "role": "user", "content": text });
    match prompt {
        text @ Value::String(_) => Ok(Value::Array(vec![message(text)])),
        Value::Array(texts) if texts.is_empty() => {
            Err(BadRequest::new("prompt", "prompt: give at least one text"))
        }
        Value::Array(texts) => {
            if texts.iter().any(|text| text.is_number() || text.is_array()) {
                return Err(BadRequest::new(
                    "prompt",
                    "prompt: tokens mean something to one vocabulary only; send the text itself",
                ));
            }
            let odd = texts.iter().enumerate().find(|(_, text)| !text.is_string());
            if let Some((at, odd)) = odd {
                return Err(wrong(&format!("prompt[{at}]"), "a string", odd));
            }
            Ok(texts.into_iter().map(message).collect())
        }
        other => Err(wrong("prompt", "a string or a list of strings", &other)),
    }
}

/// `logprobs: 2` in the form of a chat: whether, and how many alternatives.
fn alternatives(body: &mut Map<String, Value>) -> Result<(), BadRequest> {
    match body.get("logprobs") {
        None | Some(Value::Null) => Ok(()),
        Some(count) => {
            let count = count.as_u64().ok_or_else(|| wrong("logprobs", "an integer", count))?;
            body.insert("logprobs".to_owned(), json!(true));
            body.insert("top_logprobs".to_owned(), json!(count));
            Ok(())
        }
    }
}
