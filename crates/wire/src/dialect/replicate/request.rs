//! The input of a prediction: one prompt made of the conversation.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, Family, Media, Part, Role};
use crate::dialect::render::{lose, put};
use crate::dialect::{Losses, Unsupported};

/// Renders `input`.
pub(super) fn input(request: &ChatRequest, losses: &mut Losses) -> Result<Map<String, Value>, Unsupported> {
    if !request.tools.is_empty() {
        return Err(Unsupported::new(
            "tools",
            "Replicate's models take a prompt only; send the request without tools",
        ));
    }
    let mut picture = None;
    let mut system = Vec::new();
    let mut turns: Vec<(Role, String)> = Vec::new();
    for (index, message) in request.messages.iter().enumerate() {
        let mut text = String::new();
        for (place, part) in message.parts.iter().enumerate() {
            let at = format!("messages[{index}].content[{place}]");
            match part {
                Part::Image { media, .. } => {
                    if picture.replace(address(media, &at)?).is_some() {
                        return Err(Unsupported::new(
                            &at,
                            "Replicate's models take one picture; leave the others out",
                        ));
                    }
                }
                part => push_text(part, &at, &mut text, losses)?,
            }
        }
        if message.name.is_some() {
            losses.note("message.name");
        }
        match message.role {
            Role::System | Role::Developer => system.push(text),
            role => turns.push((role, text)),
        }
    }
    let mut input = Map::new();
    input.insert("prompt".to_owned(), json!(prompt(&turns)));
    if !system.is_empty() {
        input.insert("system_prompt".to_owned(), json!(system.join("\n\n")));
    }
    if let Some(picture) = picture {
        input.insert("image".to_owned(), json!(picture));
    }
    sampling(request, &mut input, losses);
    for (key, value) in request.extra.of(Family::OpenAi).into_iter().flatten() {
        if key != "stream_options" {
            input.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    Ok(input)
}

/// One question stands for itself; a conversation is told turn by turn.
fn prompt(turns: &[(Role, String)]) -> String {
    if let [(Role::User, text)] = turns {
        return text.clone();
    }
    let mut prompt = String::new();
    for (role, text) in turns {
        let speaker = if *role == Role::Assistant { "Assistant" } else { "User" };
        prompt.push_str(speaker);
        prompt.push_str(": ");
        prompt.push_str(text);
        prompt.push_str("\n\n");
    }
    prompt.push_str("Assistant:");
    prompt
}

fn push_text(part: &Part, at: &str, text: &mut String, losses: &mut Losses) -> Result<(), Unsupported> {
    match part {
        Part::Text { text: said, cache, .. } => {
            if cache.is_some() {
                losses.note("cache_control");
            }
            text.push_str(said);
        }
        Part::Refusal { text: said } => text.push_str(said),
        Part::Audio { transcript: Some(said), .. } => {
            losses.note("content.audio");
            text.push_str(said);
        }
        Part::Reasoning { .. } => losses.note("reasoning.text"),
        _ => {
            return Err(Unsupported::new(
                at,
                "Replicate's models take text and one picture; leave the rest out",
            ));
        }
    }
    Ok(())
}

fn address(media: &Media, at: &str) -> Result<String, Unsupported> {
    match media {
        Media::Base64 { mime, data } => Ok(format!("data:{mime};base64,{data}")),
        Media::Url { url, .. } => Ok(url.clone()),
        Media::FileId { .. } => Err(Unsupported::new(
            at,
            "the picture was uploaded to another provider; send base64 data or a URL",
        )),
    }
}

fn sampling(request: &ChatRequest, input: &mut Map<String, Value>, losses: &mut Losses) {
    let sampling = &request.sampling;
    let bound = sampling.max_output_tokens.map(|count| json!(count));
    let members = [
        // Models know the one or the other, and ignore what they do not know.
        ("max_tokens", bound.clone()),
        ("max_new_tokens", bound),
        ("temperature", sampling.temperature.clone().map(Value::Number)),
        ("top_p", sampling.top_p.clone().map(Value::Number)),
        ("top_k", sampling.top_k.map(|count| json!(count))),
        ("seed", sampling.seed.map(|seed| json!(seed))),
        ("presence_penalty", sampling.presence_penalty.clone().map(Value::Number)),
        ("frequency_penalty", sampling.frequency_penalty.clone().map(Value::Number)),
        ("stop_sequences", (!sampling.stop.is_empty()).then(|| json!(sampling.stop.join(",")))),
    ];
    put(input, members);
    let wishes = [
        "sampling.n",
        "sampling.logprobs",
        "sampling.logit_bias",
        "output.format",
        "reasoning",
        "service_tier",
        "user",
        "metadata",
        "modalities",
        "audio",
    ];
    lose(request, &wishes, losses);
}
