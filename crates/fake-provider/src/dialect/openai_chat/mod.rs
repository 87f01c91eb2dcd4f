//! OpenAI Chat Completions, also as Azure and the many compatible providers speak it.
//!
//! Source: OpenAI API reference, "Create chat completion" and "Chat completion chunk"; the `openai` SDK's types.

mod read;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Dialect, Frames, Head, Refused, pieces, serial};
use crate::clock::now;
use crate::failure::{Class, Failure};
use crate::read::Object;
use crate::reply::{Ask, Finish, Flavour, Part, Reply, Style};
use crate::scenario::Usage;

pub(super) use read::check_name;

pub(crate) struct OpenAiChat;

impl Dialect for OpenAiChat {
    fn authorize(&self, head: &Head<'_>) -> Result<(), Failure> {
        authorize(head)
    }

    fn read(&self, head: &Head<'_>, body: &Object) -> Result<Ask, Failure> {
        read::read(head, body)
    }

    fn style(&self) -> Style {
        Style { call_prefix: "call_", family: "openai" }
    }

    fn whole(&self, ask: &Ask, reply: &Reply) -> Value {
        let mut answer = json!({
            "id": format!("chatcmpl-fake{:x}", serial()),
            "object": "chat.completion",
            "created": now(),
            "model": ask.model,
            "choices": (0..ask.choices).map(|index| choice(ask, reply, index)).collect::<Vec<_>>(),
            "usage": usage(&reply.usage),
            "service_tier": "default",
            "system_fingerprint": "fp_fake0001",
        });
        if ask.flavour == Flavour::Azure {
            answer["prompt_filter_results"] = prompt_filter();
        }
        answer
    }

    fn frames(&self, ask: &Ask, reply: &Reply) -> Vec<Bytes> {
        Chunks::new(ask, reply).all(reply)
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("x-request-id", "req_fake0001"),
            ("openai-version", "2020-10-01"),
            ("openai-processing-ms", "7"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-limit-tokens", "2000000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-remaining-tokens", "1999900"),
            ("x-ratelimit-reset-requests", "6ms"),
            ("x-ratelimit-reset-tokens", "3ms"),
        ]
    }

    fn refuse(&self, head: &Head<'_>, failure: &Failure) -> Refused {
        refuse(head, failure)
    }

    fn broken(&self, _ask: &Ask) -> Bytes {
        let mut frames = Frames::default();
        frames.data(&json!({"error": {
            "message": "The server had an error while processing your request. Sorry about that!",
            "type": "server_error", "param": null, "code": null,
        }}));
        frames.finish().into_iter().next().unwrap_or_default()
    }
}

/// OpenAI takes a bearer token, Azure an `api-key` header or a bearer token.
pub(super) fn authorize(head: &Head<'_>) -> Result<(), Failure> {
    let key = super::bearer(head.headers)
        .or_else(|| super::header(head.headers, "api-key").filter(|_| head.path.contains("/openai/")));
    // Local servers (vLLM, LM Studio) ask for no key; a base path of `/local` stands for them.
    match key {
        Some(key) if super::is_wrong(key) => Err(Failure::new(Class::Authentication)),
        None if !head.path.starts_with("/local") => Err(Failure::new(Class::Authentication)),
        _ => Ok(()),
    }
}

/// Whether this is Azure's address for the format.
pub(super) fn is_azure(path: &str) -> bool {
    path.contains("/openai/deployments/") || path.starts_with("/openai/")
}

pub(super) fn refuse(head: &Head<'_>, failure: &Failure) -> Refused {
    let status = failure.status.unwrap_or(failure.class.status());
    let (kind, code, own): (Value, Value, String) = words(head, failure);
    let mut error =
        json!({"message": failure.text(|| own), "type": kind, "param": failure.param, "code": code});
    if is_azure(head.path) {
        azure_error(&mut error, failure);
    }
    let mut headers = vec![("x-request-id", "req_fake0001".to_owned())];
    if let Some(seconds) = failure.retry_after {
        headers.push(("retry-after", seconds.to_string()));
        headers.push(("retry-after-ms", (seconds * 1000).to_string()));
        headers.push(("x-ratelimit-remaining-requests", "0".to_owned()));
        headers.push(("x-ratelimit-reset-requests", format!("{seconds}s")));
    }
    Refused { status, headers, body: json!({ "error": error }) }
}

/// `type`, `code` and message of each class, as OpenAI words them.
fn words(head: &Head<'_>, failure: &Failure) -> (Value, Value, String) {
    let model = head.model.unwrap_or("the model");
    let (kind, code, text) = match failure.class {
        Class::Invalid => ("invalid_request_error", "", "Invalid request.".to_owned()),
        Class::UnknownParam => {
            let name = failure.param.as_deref().unwrap_or_default();
            ("invalid_request_error", "", format!("Unrecognized request argument supplied: {name}"))
        }
        Class::Authentication => (
            "invalid_request_error",
            "invalid_api_key",
            "Incorrect API key provided: sk-fake***. You can find your API key at \
             https://platform.openai.com/account/api-keys."
                .to_owned(),
        ),
        Class::Payment => ("unknown_error", "invalid_request_error", "Insufficient Balance".to_owned()),
        Class::Permission => (
            "invalid_request_error",
            "unsupported_country_region_territory",
            "Country, region, or territory not supported".to_owned(),
        ),
        Class::NotFound => (
            "invalid_request_error",
            "model_not_found",
            format!("The model `{model}` does not exist or you do not have access to it."),
        ),
        Class::Timeout => ("server_error", "timeout", "Request timed out.".to_owned()),
        Class::TooLarge => ("invalid_request_error", "", "Request body is too large.".to_owned()),
        Class::Unprocessable => ("invalid_request_error", "", "Unprocessable entity.".to_owned()),
        Class::RateLimit => (
            "tokens",
            "rate_limit_exceeded",
            format!(
                "Rate limit reached for {model} in organization org-fake on tokens per min (TPM): Limit 30000, \
                 Used 29000, Requested 2000. Please try again in {}s.",
                failure.retry_after.unwrap_or(2)
            ),
        ),
        Class::Context => (
            "invalid_request_error",
            "context_length_exceeded",
            "This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 \
             tokens. Please reduce the length of the messages."
                .to_owned(),
        ),
        Class::Policy => (
            "invalid_request_error",
            "content_policy_violation",
            "Your request was rejected as a result of our safety system.".to_owned(),
        ),
        Class::Internal => (
            "server_error",
            "",
            "The server had an error while processing your request. Sorry about that!".to_owned(),
        ),
        Class::BadGateway => ("server_error", "", "Bad gateway.".to_owned()),
        Class::Unavailable => {
            ("server_error", "", "The engine is currently overloaded, please try again later.".to_owned())
        }
    };
    let code = if code.is_empty() { Value::Null } else { code.into() };
    (kind.into(), code, text)
}

fn azure_error(error: &mut Value, failure: &Failure) {
    match failure.class {
        Class::Policy => {
            *error = json!({
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management \
                    policy. Please modify your prompt and retry.",
                "type": null, "param": "prompt", "code": "content_filter", "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {
                    "hate": {"filtered": false, "severity": "safe"},
                    "self_harm": {"filtered": false, "severity": "safe"},
                    "sexual": {"filtered": false, "severity": "safe"},
                    "violence": {"filtered": true, "severity": "medium"},
                }},
            });
        }
        Class::Authentication => {
            *error = json!({"code": "401", "message": "Access denied due to invalid subscription key or wrong API \
                endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API \
                endpoint for your resource."});
        }
        Class::RateLimit => error["code"] = "429".into(),
        Class::NotFound => {
            *error = json!({"code": "DeploymentNotFound",
                "message": "The API deployment for this resource does not exist."});
        }
        _ => {}
    }
}

fn prompt_filter() -> Value {
    json!([{"prompt_index": 0, "content_filter_results": safe()}])
}

fn safe() -> Value {
    let safe = json!({"filtered": false, "severity": "safe"});
    json!({"hate": safe, "self_harm": safe, "sexual": safe, "violence": safe})
}

pub(super) fn finish(finish: &Finish) -> &'static str {
    match finish {
        Finish::Length => "length",
        Finish::Calls => "tool_calls",
        Finish::Filter => "content_filter",
        Finish::Stop | Finish::Sequence(_) | Finish::Refused | Finish::Blocked => "stop",
    }
}

fn choice(ask: &Ask, reply: &Reply, index: usize) -> Value {
    let calls: Vec<Value> = reply
        .calls()
        .map(|(id, name, arguments)| {
            json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments.to_string()}})
        })
        .collect();
    let text = reply.text();
    let content = if text.is_empty() { Value::Null } else { text.into() };
    let refusal = refusal(reply);
    let mut message = json!({"role": "assistant", "content": content, "refusal": refusal, "annotations": annotations(reply)});
    if let Some(reasoning) = reply.reasoning() {
        message["reasoning_content"] = reasoning.into();
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    let mut choice =
        json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish(&reply.finish)});
    if ask.flavour == Flavour::Azure {
        choice["content_filter_results"] = safe();
    }
    choice
}

fn refusal(reply: &Reply) -> Option<&str> {
    reply.parts.iter().find_map(|part| match part {
        Part::Refusal(text) => Some(text.as_str()),
        _ => None,
    })
}

fn annotations(reply: &Reply) -> Vec<Value> {
    let cited = reply.parts.iter().filter_map(|part| match part {
        Part::Cited { deltas, source } => Some((deltas.concat().len(), *source)),
        _ => None,
    });
    cited
        .map(|(end, url)| {
            json!({"type": "url_citation",
                "url_citation": {"url": url, "title": "Fares", "start_index": 0, "end_index": end}})
        })
        .collect()
}

pub(crate) fn usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write,
            "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    })
}

/// Writes the chunks of one answer.
struct Chunks<'a> {
    ask: &'a Ask,
    frames: Frames,
    /// The chunk up to and with `"choices":`.
    opening: String,
    /// What follows the choices.
    closing: String,
}

impl<'a> Chunks<'a> {
    fn new(ask: &'a Ask, _reply: &Reply) -> Self {
        let model = Value::from(ask.model.as_str());
        let opening = format!(
            r#"data: {{"id":"chatcmpl-fake{:x}","object":"chat.completion.chunk","created":{},"model":{model},"service_tier":"default","system_fingerprint":"fp_fake0001","choices":"#,
            serial(),
            now(),
        );
        // With `include_usage` every chunk but the last has a null usage.
        let closing = if ask.include_usage { ",\"usage\":null}\n\n" } else { "}\n\n" };
        Self { ask, frames: Frames::default(), opening, closing: closing.to_owned() }
    }

    fn all(mut self, reply: &Reply) -> Vec<Bytes> {
        if self.ask.flavour == Flavour::Azure {
            self.azure_opening();
        }
        for index in 0..self.ask.choices {
            self.choice(index, reply);
        }
        if self.ask.include_usage {
            let tail = format!("[],\"usage\":{}}}\n\n", usage(&reply.usage));
            self.frames.raw(&[self.opening.as_bytes(), tail.as_bytes()]);
        }
        self.frames.raw(&[b"data: [DONE]\n\n"]);
        self.frames.finish()
    }

    /// Azure opens with a chunk of no choices and the prompt's filter results.
    fn azure_opening(&mut self) {
        self.frames.data(&json!({"id": "", "object": "", "created": 0, "model": "", "choices": [],
            "prompt_filter_results": prompt_filter()}));
    }

    fn choice(&mut self, index: usize, reply: &Reply) {
        let has_calls = reply.calls().next().is_some();
        let first = if has_calls && reply.text().is_empty() { Value::Null } else { "".into() };
        self.delta(index, &json!({"role": "assistant", "content": first, "refusal": null}), None);
        let mut call = 0;
        for part in &reply.parts {
            match part {
                Part::Reasoning { deltas, .. } => {
                    deltas.iter().for_each(|delta| self.member(index, "reasoning_content", delta));
                }
                Part::Text { deltas } => deltas.iter().for_each(|delta| self.member(index, "content", delta)),
                Part::Cited { deltas, .. } => {
                    deltas.iter().for_each(|delta| self.member(index, "content", delta));
                    self.delta(index, &json!({"annotations": annotations(reply)}), None);
                }
                Part::Refusal(text) => self.member(index, "refusal", text),
                Part::Call { id, name, arguments } => {
                    self.call(index, call, id, name, arguments);
                    call += 1;
                }
            }
        }
        self.delta(index, &json!({}), Some(finish(&reply.finish)));
    }

    fn call(&mut self, index: usize, call: usize, id: &str, name: &str, arguments: &Value) {
        let start = json!({"tool_calls": [{"index": call, "id": id, "type": "function",
            "function": {"name": name, "arguments": ""}}]});
        self.delta(index, &start, None);
        for piece in pieces(&arguments.to_string(), 6) {
            let more = json!({"tool_calls": [{"index": call, "function": {"arguments": piece}}]});
            self.delta(index, &more, None);
        }
    }

    /// The frequent chunk: one string member. Written by hand, because the benchmark sends millions of them.
    fn member(&mut self, index: usize, name: &str, text: &str) {
        let text = Value::from(text);
        let delta = format!(
            r#"[{{"index":{index},"delta":{{"{name}":{text}}},"logprobs":null,"finish_reason":null}}]"#
        );
        self.frames.raw(&[self.opening.as_bytes(), delta.as_bytes(), self.closing.as_bytes()]);
    }

    fn delta(&mut self, index: usize, delta: &Value, finish: Option<&str>) {
        let choices =
            json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": finish}]).to_string();
        self.frames.raw(&[self.opening.as_bytes(), choices.as_bytes(), self.closing.as_bytes()]);
    }
}
