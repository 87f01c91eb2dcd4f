//! The provider side: `{base}/completions`.
//!
//! An answer differs from a chat's in where its text stands, so it is put there and read as one.

use faregate_terms::Fault;
use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, ChatResponse, Event, Family, Message, OutputFormat, Part, Role};
use crate::dialect::{
    Edit, Glance, Head, Losses, Malformed, ProviderDialect, Route, StreamDecoder, StreamEnd, Target,
    Unsupported, openai_chat,
};
use crate::frame::Frame;
use crate::json as wire_json;

use super::logprobs;

/// Providers that complete texts.
#[derive(Debug, Clone, Copy)]
pub struct Provider;

impl ProviderDialect for Provider {
    fn family(&self) -> Family {
        Family::OpenAi
    }

    fn route(&self, target: &Target<'_>, stream: bool) -> Route {
        let chat = openai_chat::Provider.route(target, stream);
        // The same place, one segment less; a slash in a model's name is escaped.
        Route { path: chat.path.replacen("/chat/completions", "/completions", 1), ..chat }
    }

    fn body(
        &self,
        request: &ChatRequest,
        target: &Target<'_>,
        losses: &mut Losses,
    ) -> Result<Vec<u8>, Unsupported> {
        Ok(wire_json::write(&body(request, target, losses)?))
    }

    fn edits(&self, target: &Target<'_>, stream: bool, include_usage: bool) -> Vec<Edit> {
        openai_chat::Provider.edits(target, stream, include_usage)
    }

    fn decode(&self, target: &Target<'_>, body: &[u8]) -> Result<ChatResponse, Malformed> {
        let mut answer: Value = wire_json::read(body).map_err(Malformed)?;
        each_choice(&mut answer, "message");
        openai_chat::Provider.decode(target, &wire_json::write(&answer))
    }

    fn glance(&self, target: &Target<'_>, body: &[u8]) -> Result<Glance, Malformed> {
        openai_chat::Provider.glance(target, body)
    }

    fn decoder(&self, target: &Target<'_>) -> Box<dyn StreamDecoder> {
        Box::new(Decoder(openai_chat::Provider.decoder(target)))
    }

    fn fault(&self, head: &Head<'_>, body: &[u8]) -> Fault {
        openai_chat::Provider.fault(head, body)
    }
}

/// One stream under reading.
struct Decoder(Box<dyn StreamDecoder>);

impl StreamDecoder for Decoder {
    fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) -> Result<(), Malformed> {
        // What is no JSON is for the chat's decoder to judge: the mark of the end, or a mistake.
        let Ok(mut chunk) = wire_json::read::<Value>(frame.data) else { return self.0.frame(frame, out) };
        each_choice(&mut chunk, "delta");
        self.0.frame(Frame { data: &wire_json::write(&chunk), ..frame }, out)
    }

    fn end(&mut self, out: &mut Vec<Event>) -> StreamEnd {
        self.0.end(out)
    }
}

/// Puts the text of each choice where a chat has it: into its `message`, or the `delta` of a stream.
fn each_choice(answer: &mut Value, place: &str) {
    for choice in answer.get_mut("choices").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(choice) = choice.as_object_mut() else { continue };
        let mut said = Map::new();
        for (name, there) in [("text", "content"), ("reasoning_content", "reasoning_content")] {
            if let Some(text) = choice.shift_remove(name).filter(|text| !text.is_null()) {
                said.insert(there.to_owned(), text);
            }
        }
        choice.insert(place.to_owned(), Value::Object(said));
        if let Some(columns) = choice.shift_remove("logprobs").filter(|columns| !columns.is_null()) {
            choice.insert("logprobs".to_owned(), logprobs::rows(&columns));
        }
    }
}

fn body(
    request: &ChatRequest,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Map<String, Value>, Unsupported> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    let sampling = &request.sampling;
    put("model", Some(json!(target.model)));
    put("prompt", Some(prompt(&request.messages, losses)?));
    put("max_tokens", sampling.max_output_tokens.map(|most| json!(most)));
    put("temperature", sampling.temperature.as_ref().map(|it| json!(it)));
    put("top_p", sampling.top_p.as_ref().map(|it| json!(it)));
    put("top_k", sampling.top_k.map(|it| json!(it)));
    put("stop", (!sampling.stop.is_empty()).then(|| json!(sampling.stop)));
    put("n", sampling.n.map(|it| json!(it)));
    put("seed", sampling.seed.map(|it| json!(it)));
    put("presence_penalty", sampling.presence_penalty.as_ref().map(|it| json!(it)));
    put("frequency_penalty", sampling.frequency_penalty.as_ref().map(|it| json!(it)));
    put("logit_bias", sampling.logit_bias.clone());
    if sampling.logprobs == Some(true) {
        put("logprobs", Some(json!(sampling.top_logprobs.unwrap_or(0))));
    }
    put("user", request.user.as_ref().map(|it| json!(it)));
    if request.stream {
        put("stream", Some(json!(true)));
        if !target.quirks.no_stream_options {
            put("stream_options", Some(json!({ "include_usage": true })));
        }
    }
    for (name, value) in request.extra.of(Family::OpenAi).into_iter().flatten() {
        if name != "stream_options" {
            put(name, Some(value.clone()));
        }
    }
    let lost = [
        (!request.tools.is_empty(), "tools"),
        (request.output != OutputFormat::Text, "response_format"),
        (request.reasoning.is_some(), "reasoning"),
    ];
    lost.into_iter().filter(|(is_lost, _)| *is_lost).for_each(|(_, name)| losses.note(name));
    Ok(body)
}

/// Messages of the user are prompts. A conversation is one prompt, which what the assistant said last begins to
/// answer.
fn prompt(messages: &[Message], losses: &mut Losses) -> Result<Value, Unsupported> {
    let mut texts = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        let mut text = String::new();
        for part in &message.parts {
            match part {
                Part::Text { text: more, .. } => text.push_str(more),
                // What the model thought is no part of the text.
                Part::Reasoning { .. } => {}
                _ => {
                    let what = format!("messages[{index}].content");
                    return Err(Unsupported::new(what, "it completes texts and takes nothing else"));
                }
            }
        }
        texts.push(text);
    }
    if messages.iter().all(|message| message.role == Role::User) {
        return Ok(match texts.as_slice() {
            [text] => json!(text),
            _ => json!(texts),
        });
    }
    let begun =
        messages.last().is_some_and(|last| last.role == Role::Assistant).then(|| texts.pop()).flatten();
    if messages.iter().any(|message| matches!(message.role, Role::System | Role::Developer))
        || texts.len() > 1
    {
        losses.note("roles");
    }
    Ok(json!(format!("{}{}", texts.join("\n\n"), begun.unwrap_or_default())))
}
