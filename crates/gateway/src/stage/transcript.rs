//! What was said, for the request log, where the operator asks for it: `store_prompts_in_spend_logs`.
//!
//! Long texts are cut in the middle; credentials in a request are not written down; with
//! `turn_off_message_logging`, or the header that asks for it, neither prompts nor answers are. Source: compat,
//! database §"LiteLLM_SpendLogs", and LiteLLM's words.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::stage::lookup;

/// The longest text of a prompt or answer that is written down whole. Source: compat,
/// `MAX_STRING_LENGTH_PROMPT_IN_DB`.
const LONGEST_TEXT: usize = 2048;
/// Bytes of an answer that are remembered; of a longer one nothing is.
const MOST_OF_ANSWER: usize = 1024 * 1024;
/// Bytes of a request that are read; of a longer one nothing is written down.
const MOST_OF_REQUEST: usize = 4 * 1024 * 1024;
const REDACTED: &str = "redacted-by-litellm";
/// Asks for redaction of one request.
const REDACT_HEADER: &str = "x-litellm-enable-message-redaction";
/// Members that hold what is said.
const SAID: &[&str] =
    &["messages", "input", "prompt", "contents", "system", "instructions", "systemInstruction"];

/// One exchange as it goes on.
pub struct Transcript {
    call: Arc<Call>,
    redacted: bool,
    /// The answer so far; `None` once it is too long.
    answer: Option<Vec<Bytes>>,
    size: usize,
}

/// Texts for the log, as JSON.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// The prompt.
    pub messages: Option<String>,
    /// The answer.
    pub response: Option<String>,
    /// The request.
    pub request: Option<String>,
}

impl std::fmt::Debug for Transcript {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "<transcript, {} bytes>", self.size)
    }
}

impl Transcript {
    /// Begins with the request. `redacted` if the operator wants neither prompts nor answers written down.
    pub fn of(call: &Arc<Call>, redacted: bool) -> Self {
        let asked = call.arrival.headers.get(REDACT_HEADER).is_some_and(|value| value.as_bytes() == b"true");
        Self { call: Arc::clone(call), redacted: redacted || asked, answer: Some(Vec::new()), size: 0 }
    }

    /// Remembers what the client is sent.
    pub fn piece(&mut self, piece: &Bytes) {
        self.size += piece.len();
        if self.redacted || self.size > MOST_OF_ANSWER {
            self.answer = None;
        } else if let Some(answer) = &mut self.answer {
            answer.push(piece.clone());
        }
    }

    /// What is written down.
    pub fn texts(self) -> Texts {
        let body = self.call.envelope.body();
        let parsed =
            (body.len() <= MOST_OF_REQUEST).then(|| serde_json::from_slice::<Map<String, Value>>(body));
        let request = parsed.and_then(Result::ok).map(|members| self.request(members));
        let said = |request: &Map<String, Value>| {
            SAID.iter().take(4).find_map(|name| request.get(*name)).map(Value::to_string)
        };
        Texts {
            messages: request.as_ref().and_then(said),
            response: self.response(),
            request: request.map(|members| Value::Object(members).to_string()),
        }
    }

    fn request(&self, mut members: Map<String, Value>) -> Map<String, Value> {
        for (name, value) in &mut members {
            hide(name, value);
            if self.redacted && SAID.contains(&name.as_str()) {
                *value = json!([{ "role": "user", "content": REDACTED }]);
            } else {
                shorten(value);
            }
        }
        members
    }

    fn response(&self) -> Option<String> {
        if self.redacted {
            return Some(json!({ "text": REDACTED }).to_string());
        }
        let bytes = self.answer.as_ref().filter(|pieces| !pieces.is_empty())?.concat();
        let whole = if self.call.stream { lookup::told_so_far(&self.call, &bytes)? } else { bytes };
        let mut value: Value = serde_json::from_slice(&whole).ok()?;
        shorten(&mut value);
        Some(value.to_string())
    }
}

/// Takes credentials out, wherever they are.
fn hide(name: &str, value: &mut Value) {
    match value {
        Value::String(_) if is_secret(name) => *value = json!("****"),
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| hide(name, value)),
        Value::Array(items) => items.iter_mut().for_each(|item| hide(name, item)),
        _ => {}
    }
}

/// Members with which a client brings its own credentials.
fn is_secret(name: &str) -> bool {
    ["api_key", "token", "secret", "password", "credentials", "user_config"]
        .iter()
        .any(|word| name.ends_with(word))
}

/// Cuts long texts: their beginning and, which matters more, their end stay.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().count() > LONGEST_TEXT => {
            let letters: Vec<char> = text.chars().collect();
            let first = LONGEST_TEXT * 35 / 100;
            let last = LONGEST_TEXT - first;
            let skipped = letters.len() - LONGEST_TEXT;
            let (head, tail) = (&letters[..first], &letters[letters.len() - last..]);
            let text_of = |part: &[char]| part.iter().collect::<String>();
            *text = format!(
                "{}... (litellm_truncated skipped {skipped} chars) ...{}",
                text_of(head),
                text_of(tail)
            );
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(members) => members.values_mut().for_each(shorten),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_keep_their_ends_wherever_they_are() {
        let mut value = json!({"deep": [{"text": format!("a{}z", "é".repeat(5000))}], "short": "kept"});
        shorten(&mut value);
        let text = value["deep"][0]["text"].as_str().unwrap();
        assert!(text.starts_with("aé") && text.ends_with("éz"), "{text}");
        assert!(text.contains("skipped 2954 chars") && text.chars().count() < 2200, "{text}");
        assert_eq!(value["short"], "kept");
    }

    #[test]
    fn credentials_of_a_request_are_told_from_its_parameters() {
        for name in ["api_key", "aws_session_token", "client_secret", "vertex_credentials"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["max_tokens", "messages", "max_completion_tokens", "user"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
