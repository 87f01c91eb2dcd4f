//! OpenAI Completions, the older format: a prompt in, its continuation out.
//!
//! Source: OpenAI API reference, "Create completion" and "The completion object"; the `openai` SDK's types.

use bytes::Bytes;
use serde_json::{Value, json};

use super::openai_chat::{OpenAiChat, finish, refuse, usage};
use super::{Dialect, Frames, Head, Refused, pieces, serial};
use crate::clock::now;
use crate::failure::Failure;
use crate::read::Object;
use crate::reply::{Ask, Reply, Style};

const KNOWN: &[&str] = &[
    "model",
    "prompt",
    "best_of",
    "echo",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "n",
    "presence_penalty",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "suffix",
    "temperature",
    "top_p",
    "user",
];
/// What a chat does not know, or means otherwise.
const OWN: &[&str] = &["prompt", "best_of", "echo", "logprobs", "suffix"];

pub(crate) struct OpenAiText;

impl Dialect for OpenAiText {
    fn authorize(&self, head: &Head<'_>) -> Result<(), Failure> {
        OpenAiChat.authorize(head)
    }

    /// Read as a chat, once everything that belongs to the older format is checked.
    fn read(&self, head: &Head<'_>, body: &Object) -> Result<Ask, Failure> {
        if let Some(name) = body.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(Failure::unknown_param(name));
        }
        let wrong = |name: &str| Failure::invalid(format!("Invalid value for '{name}'."));
        let count = |name: &str, most: u64| match body.get(name) {
            None | Some(Value::Null) => Ok(()),
            Some(value) if value.as_u64().is_some_and(|count| count <= most) => Ok(()),
            Some(_) => Err(wrong(name)),
        };
        count("logprobs", 5)?;
        count("best_of", 20)?;
        let message = |text: &Value| json!({ "role": "user", "content": text });
        let messages: Vec<Value> = match body.get("prompt") {
            Some(text @ Value::String(_)) => vec![message(text)],
            Some(Value::Array(texts)) if !texts.is_empty() && texts.iter().all(Value::is_string) => {
                texts.iter().map(message).collect()
            }
            // This model's vocabulary has one word.
            Some(Value::Array(tokens)) if is_tokens(tokens) => vec![message(&json!("token"))],
            _ => return Err(wrong("prompt")),
        };
        let mut chat = body.clone();
        chat.retain(|name, _| !OWN.contains(&name.as_str()));
        chat.insert("messages".to_owned(), Value::Array(messages));
        OpenAiChat.read(head, &chat)
    }

    fn style(&self) -> Style {
        OpenAiChat.style()
    }

    fn whole(&self, ask: &Ask, reply: &Reply) -> Value {
        let text = reply.text();
        let choice = |index| choice(index, &text, Some(finish(&reply.finish)));
        let mut answer = head(ask);
        answer["choices"] = (0..ask.choices).map(choice).collect();
        answer["usage"] = usage(&reply.usage);
        answer
    }

    fn frames(&self, ask: &Ask, reply: &Reply) -> Vec<Bytes> {
        let (mut frames, text) = (Frames::default(), reply.text());
        let head = head(ask);
        let mut chunk = |choices: Vec<Value>, usage: Value| {
            let mut chunk = head.clone();
            chunk["choices"] = Value::Array(choices);
            // With `include_usage` every chunk but the last has a null usage.
            if ask.include_usage {
                chunk["usage"] = usage;
            }
            frames.data(&chunk);
        };
        for index in 0..ask.choices {
            pieces(&text, 8)
                .into_iter()
                .for_each(|piece| chunk(vec![choice(index, piece, None)], Value::Null));
            chunk(vec![choice(index, "", Some(finish(&reply.finish)))], Value::Null);
        }
        if ask.include_usage {
            chunk(Vec::new(), usage(&reply.usage));
        }
        frames.raw(&[b"data: [DONE]\n\n"]);
        frames.finish()
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        OpenAiChat.headers()
    }

    fn refuse(&self, head: &Head<'_>, failure: &Failure) -> Refused {
        refuse(head, failure)
    }

    fn broken(&self, ask: &Ask) -> Bytes {
        OpenAiChat.broken(ask)
    }
}

/// Tokens, or a list of such prompts.
fn is_tokens(prompt: &[Value]) -> bool {
    let all = |tokens: &[Value]| !tokens.is_empty() && tokens.iter().all(Value::is_u64);
    let prompts = || prompt.iter().all(|one| one.as_array().is_some_and(|tokens| all(tokens)));
    all(prompt) || (!prompt.is_empty() && prompts())
}

fn head(ask: &Ask) -> Value {
    let id = format!("cmpl-fake{:x}", serial());
    json!({ "id": id, "object": "text_completion", "created": now(), "model": ask.model })
}

fn choice(index: usize, text: &str, finish: Option<&str>) -> Value {
    json!({ "text": text, "index": index, "logprobs": null, "finish_reason": finish })
}
