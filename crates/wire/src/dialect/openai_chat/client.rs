//! The client side: `POST /v1/chat/completions`.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, ChatResponse, Choice, Extra, Family, FinishReason, Media, Part, Tool};
use crate::dialect::{BadRequest, ClientCall, ClientDialect, ErrorNote, Losses, Reply, StreamEncoder};
use crate::{json as wire_json, opaque};

use super::stream_out::Encoder;
use super::types::{UsageOut, finish_word};
use super::{request, tools};

/// Clients that speak chat completions.
#[derive(Debug, Clone, Copy)]
pub struct Client;

impl ClientDialect for Client {
    fn family(&self) -> Family {
        Family::OpenAi
    }

    fn decode(&self, body: &[u8], call: &ClientCall<'_>) -> Result<ChatRequest, BadRequest> {
        request::decode(body, call)
    }

    fn encode(&self, answer: &ChatResponse, reply: &Reply, losses: &mut Losses) -> Vec<u8> {
        encode(answer, reply, losses)
    }

    fn encoder(&self, reply: Reply) -> Box<dyn StreamEncoder> {
        Box::new(Encoder::new(reply))
    }

    fn error(&self, note: &ErrorNote) -> Vec<u8> {
        wire_json::write(&error_value(note))
    }
}

/// The error object, in an answer or in a stream.
pub(in crate::dialect) fn error_value(note: &ErrorNote) -> Value {
    json!({"error": {
        "message": note.message,
        "type": note.kind,
        "param": note.param,
        "code": note.code,
    }})
}

/// The provider's id if it is one of this dialect, else one made of the call's.
pub(super) fn completion_id(provider: &str, call: &str) -> String {
    if provider.starts_with("chatcmpl") { provider.to_owned() } else { format!("chatcmpl-{call}") }
}

/// True if the client offered its functions in the old form, and so expects the old answer.
pub(super) fn is_legacy(request: &ChatRequest) -> bool {
    request.tools.iter().any(|tool| match tool {
        Tool::Function { extra, .. } => extra.get(Family::OpenAi, tools::LEGACY).is_some(),
        _ => false,
    })
}

/// The word a client of either form expects for `finish`.
pub(super) fn client_finish(finish: &FinishReason, legacy: bool) -> &str {
    match finish {
        FinishReason::ToolCalls if legacy => "function_call",
        other => finish_word(other),
    }
}

/// True if the client offered this tool as one that takes free text.
pub(super) fn is_custom(request: &ChatRequest, called: &str) -> bool {
    request.tools.iter().any(|tool| match tool {
        Tool::Function { name, extra, .. } => name == called && extra.get(Family::OpenAi, "custom").is_some(),
        _ => false,
    })
}

/// The free text of a custom tool's call.
pub(super) fn custom_input(arguments: &str) -> String {
    let value = wire_json::arguments(arguments);
    value.get("input").and_then(Value::as_str).map_or_else(|| arguments.to_owned(), str::to_owned)
}

/// Members of the provider's that clients of this dialect know.
pub(super) fn own_members(extra: &Extra) -> impl Iterator<Item = (&String, &Value)> {
    extra.of(Family::OpenAi).into_iter().flatten()
}

fn encode(answer: &ChatResponse, reply: &Reply, losses: &mut Losses) -> Vec<u8> {
    let choices: Vec<Value> = answer.choices.iter().map(|it| choice(it, reply, losses)).collect();
    let mut body = Map::new();
    body.insert("id".to_owned(), json!(completion_id(&answer.id, &reply.id)));
    body.insert("object".to_owned(), json!("chat.completion"));
    body.insert("created".to_owned(), json!(answer.created.unwrap_or(reply.created)));
    body.insert("model".to_owned(), json!(reply.model));
    body.insert("choices".to_owned(), Value::Array(choices));
    body.insert("usage".to_owned(), json!(UsageOut::of(&answer.usage)));
    if let Some(tier) = &answer.usage.service_tier {
        body.insert("service_tier".to_owned(), json!(tier));
    }
    for (key, value) in own_members(&answer.extra) {
        body.entry(key.clone()).or_insert_with(|| value.clone());
    }
    wire_json::write(&body)
}

fn choice(choice: &Choice, reply: &Reply, losses: &mut Losses) -> Value {
    let legacy = is_legacy(&reply.request);
    let mut message = Spoken::default();
    for part in &choice.parts {
        message.add(part, &reply.request, losses);
    }
    json!({
        "index": choice.index,
        "message": message.render(legacy),
        "logprobs": choice.logprobs,
        "finish_reason": client_finish(&choice.finish, legacy),
    })
}

/// What a message says, by the members that say it.
#[derive(Default)]
struct Spoken {
    text: Option<String>,
    refusal: Option<String>,
    reasoning: Option<String>,
    blocks: Vec<Value>,
    signed: bool,
    /// Opaque state of text.
    signatures: Vec<String>,
    calls: Vec<Value>,
    annotations: Vec<Value>,
    audio: Option<Value>,
    images: Vec<Value>,
}

impl Spoken {
    fn add(&mut self, part: &Part, request: &ChatRequest, losses: &mut Losses) {
        match part {
            Part::Text { text, annotations, signature, .. } => {
                self.signatures.extend(signature.iter().map(|it| opaque::seal(it, Family::Gemini)));
                self.text.get_or_insert_default().push_str(text);
                self.annotations.extend(annotations.iter().cloned());
            }
            Part::Refusal { text } => self.refusal.get_or_insert_default().push_str(text),
            Part::Reasoning { signature: Some(signature), redacted: true, .. } => {
                self.signed = true;
                let data = opaque::seal(signature, Family::Anthropic);
                self.blocks.push(json!({"type": "redacted_thinking", "data": data}));
            }
            Part::Reasoning { text, signature, .. } => {
                self.reasoning.get_or_insert_default().push_str(text);
                self.signed |= signature.is_some();
                let sealed = signature.as_ref().map(|it| opaque::seal(it, Family::Anthropic));
                self.blocks.push(json!({"type": "thinking", "thinking": text,
                    "signature": sealed.unwrap_or_default()}));
            }
            Part::ToolCall { id, name, arguments, signature, .. } => {
                let id = opaque::seal_id(id, signature.as_ref());
                self.calls.push(if is_custom(request, name) {
                    json!({"id": id, "type": "custom",
                        "custom": {"name": name, "input": custom_input(arguments)}})
                } else {
                    json!({"id": id, "type": "function",
                        "function": {"name": name, "arguments": arguments_text(arguments)}})
                });
            }
            Part::Audio { media: Media::Base64 { data, .. }, transcript, id } => {
                self.audio = Some(json!({"id": id.clone().unwrap_or_default(), "data": data,
                    "transcript": transcript.clone().unwrap_or_default(), "expires_at": 0}));
            }
            Part::Image { media, .. } => match media {
                Media::Base64 { mime, data } => {
                    let image = image(self.images.len(), &format!("data:{mime};base64,{data}"));
                    self.images.push(image);
                }
                Media::Url { url, .. } => {
                    let image = image(self.images.len(), url);
                    self.images.push(image);
                }
                Media::FileId { .. } => losses.note("content.image"),
            },
            Part::Audio { .. } => losses.note("content.audio"),
            Part::Foreign { .. } | Part::File { .. } | Part::ToolResult { .. } => {
                losses.note("content.foreign");
            }
        }
    }

    fn render(mut self, legacy: bool) -> Value {
        let mut message = Map::new();
        message.insert("role".to_owned(), json!("assistant"));
        message.insert("content".to_owned(), json!(self.text));
        message.insert("refusal".to_owned(), json!(self.refusal));
        if let Some(reasoning) = self.reasoning.filter(|text| !text.is_empty()) {
            message.insert("reasoning_content".to_owned(), json!(reasoning));
        }
        if self.signed {
            message.insert("thinking_blocks".to_owned(), Value::Array(self.blocks));
        }
        if !self.signatures.is_empty() {
            let fields = json!({"thought_signatures": self.signatures});
            message.insert("provider_specific_fields".to_owned(), fields);
        }
        if legacy {
            if let Some(Value::Object(mut call)) = self.calls.drain(..).next() {
                let function = call.shift_remove("function").unwrap_or_default();
                message.insert("function_call".to_owned(), function);
            }
        } else if !self.calls.is_empty() {
            message.insert("tool_calls".to_owned(), Value::Array(self.calls));
        }
        if !self.annotations.is_empty() {
            message.insert("annotations".to_owned(), Value::Array(self.annotations));
        }
        if let Some(audio) = self.audio {
            message.insert("audio".to_owned(), audio);
        }
        if !self.images.is_empty() {
            message.insert("images".to_owned(), Value::Array(self.images));
        }
        Value::Object(message)
    }
}

/// A generated picture in LiteLLM's form.
pub(super) fn image(index: usize, url: &str) -> Value {
    json!({"index": index, "type": "image_url", "image_url": {"url": url}})
}

fn arguments_text(arguments: &str) -> &str {
    if arguments.is_empty() { "{}" } else { arguments }
}
