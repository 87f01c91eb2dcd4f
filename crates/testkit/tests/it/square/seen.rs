//! What a client got, read from its own dialect as an SDK would.

use serde_json::{Value, json};

use super::talk::Client;

/// Why an answer ended, as far as the client's dialect can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stop {
    #[default]
    Unknown,
    End,
    Length,
    Tools,
    Sequence,
    Declined,
}

/// An answer in words of no dialect.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub text: String,
    pub reasoning: String,
    /// Name and arguments of each call.
    pub calls: Vec<(String, Value)>,
    pub stop: Stop,
    /// All prompt tokens, those read from a cache, all completion tokens.
    pub usage: (u64, u64, u64),
    /// The model's turn as the client sends it back.
    pub echo: Vec<Value>,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn arguments(value: &Value) -> Value {
    serde_json::from_str(text(value)).unwrap_or_else(|_| json!({"unreadable": value}))
}

/// Reads a whole answer.
pub fn read(client: Client, answer: &Value) -> Seen {
    match client {
        Client::Chat => chat(answer),
        Client::Responses => responses(answer),
        Client::Anthropic => anthropic(answer),
        Client::Gemini => gemini(answer),
        Client::Bedrock => bedrock(answer),
    }
}

fn chat(answer: &Value) -> Seen {
    let choice = &answer["choices"][0];
    let message = &choice["message"];
    let refused = !text(&message["refusal"]).is_empty();
    let usage = &answer["usage"];
    Seen {
        text: format!("{}{}", text(&message["content"]), text(&message["refusal"])),
        reasoning: text(&message["reasoning_content"]).to_owned(),
        calls: list(&message["tool_calls"])
            .iter()
            .map(|call| {
                (text(&call["function"]["name"]).to_owned(), arguments(&call["function"]["arguments"]))
            })
            .collect(),
        stop: match text(&choice["finish_reason"]) {
            _ if refused => Stop::Declined,
            "stop" => Stop::End,
            "length" => Stop::Length,
            "tool_calls" => Stop::Tools,
            "content_filter" => Stop::Declined,
            _ => Stop::Unknown,
        },
        usage: (
            count(&usage["prompt_tokens"]),
            count(&usage["prompt_tokens_details"]["cached_tokens"]),
            count(&usage["completion_tokens"]),
        ),
        echo: vec![message.clone()],
    }
}

fn responses(answer: &Value) -> Seen {
    let usage = &answer["usage"];
    let mut seen = Seen {
        usage: (
            count(&usage["input_tokens"]),
            count(&usage["input_tokens_details"]["cached_tokens"]),
            count(&usage["output_tokens"]),
        ),
        echo: list(&answer["output"]).to_vec(),
        stop: match (text(&answer["status"]), text(&answer["incomplete_details"]["reason"])) {
            ("completed", _) => Stop::End,
            ("incomplete", "max_output_tokens") => Stop::Length,
            ("incomplete", "content_filter") => Stop::Declined,
            _ => Stop::Unknown,
        },
        ..Seen::default()
    };
    for item in list(&answer["output"]) {
        match text(&item["type"]) {
            "message" => {
                for part in list(&item["content"]) {
                    seen.text += text(&part["text"]);
                    seen.text += text(&part["refusal"]);
                    if part["type"] == "refusal" {
                        seen.stop = Stop::Declined;
                    }
                }
            }
            "reasoning" => {
                let told = list(&item["summary"]).iter().chain(list(&item["content"]));
                seen.reasoning.extend(told.map(|part| text(&part["text"])));
            }
            "function_call" => {
                seen.calls.push((text(&item["name"]).to_owned(), arguments(&item["arguments"])));
                seen.stop = Stop::Tools;
            }
            _ => {}
        }
    }
    seen
}

fn anthropic(answer: &Value) -> Seen {
    let usage = &answer["usage"];
    let cached = count(&usage["cache_read_input_tokens"]);
    let written = count(&usage["cache_creation_input_tokens"]);
    let mut seen = Seen {
        usage: (count(&usage["input_tokens"]) + cached + written, cached, count(&usage["output_tokens"])),
        echo: list(&answer["content"]).to_vec(),
        stop: match text(&answer["stop_reason"]) {
            "end_turn" => Stop::End,
            "max_tokens" => Stop::Length,
            "tool_use" => Stop::Tools,
            "stop_sequence" => Stop::Sequence,
            "refusal" => Stop::Declined,
            _ => Stop::Unknown,
        },
        ..Seen::default()
    };
    for block in list(&answer["content"]) {
        seen.text += text(&block["text"]);
        seen.reasoning += text(&block["thinking"]);
        if block["type"] == "tool_use" {
            seen.calls.push((text(&block["name"]).to_owned(), block["input"].clone()));
        }
    }
    seen
}

fn gemini(answer: &Value) -> Seen {
    let candidate = &answer["candidates"][0];
    let usage = &answer["usageMetadata"];
    let parts = list(&candidate["content"]["parts"]);
    let mut seen = Seen {
        usage: (
            count(&usage["promptTokenCount"]),
            count(&usage["cachedContentTokenCount"]),
            count(&usage["candidatesTokenCount"]) + count(&usage["thoughtsTokenCount"]),
        ),
        echo: parts.to_vec(),
        ..Seen::default()
    };
    for part in parts {
        let into = if part["thought"] == true { &mut seen.reasoning } else { &mut seen.text };
        *into += text(&part["text"]);
        if let Some(call) = part.get("functionCall") {
            seen.calls.push((text(&call["name"]).to_owned(), call["args"].clone()));
        }
    }
    seen.stop = match text(&candidate["finishReason"]) {
        "STOP" if !seen.calls.is_empty() => Stop::Tools,
        "STOP" => Stop::End,
        "MAX_TOKENS" => Stop::Length,
        "SAFETY" | "PROHIBITED_CONTENT" | "BLOCKLIST" | "RECITATION" => Stop::Declined,
        _ => Stop::Unknown,
    };
    seen
}

fn bedrock(answer: &Value) -> Seen {
    let content = list(&answer["output"]["message"]["content"]);
    let usage = &answer["usage"];
    let cached = count(&usage["cacheReadInputTokens"]);
    let mut seen = Seen {
        usage: (
            count(&usage["inputTokens"]) + cached + count(&usage["cacheWriteInputTokens"]),
            cached,
            count(&usage["outputTokens"]),
        ),
        echo: content.to_vec(),
        stop: match text(&answer["stopReason"]) {
            "end_turn" => Stop::End,
            "max_tokens" => Stop::Length,
            "tool_use" => Stop::Tools,
            "stop_sequence" => Stop::Sequence,
            "content_filtered" | "guardrail_intervened" => Stop::Declined,
            _ => Stop::Unknown,
        },
        ..Seen::default()
    };
    for block in content {
        seen.text += text(&block["text"]);
        seen.reasoning += text(&block["reasoningContent"]["reasoningText"]["text"]);
        if let Some(call) = block.get("toolUse") {
            seen.calls.push((text(&call["name"]).to_owned(), call["input"].clone()));
        }
    }
    seen
}
