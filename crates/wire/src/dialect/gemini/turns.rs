//! The conversation as `contents`: system text apart, turns of one role merged, results in call order.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::chat::{Family, Media, Message, Part, Role};
use crate::dialect::{Flavor, Losses, Target, Unsupported};
use crate::json as wire_json;

use super::contents::MADE_UP;
use super::thinking::is_third;

/// Passes for the signature of a call that another model made.
///
/// Source: Gemini API, "Thought signatures", FAQ on history transferred from another model.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// `systemInstruction` and `contents`.
pub(super) struct Turns {
    /// Parts of the system instruction.
    pub(super) system: Vec<Value>,
    /// The turns.
    pub(super) contents: Vec<Value>,
}

/// Renders the conversation.
pub(super) fn turns(
    messages: &[Message],
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Turns, Unsupported> {
    let mut writer = Writer {
        third: is_third(target.model),
        vertex: matches!(target.flavor, Flavor::Vertex { .. }),
        losses,
        system: Vec::new(),
        contents: Vec::new(),
        calls: HashMap::new(),
    };
    let mut index = 0;
    while let Some(message) = messages.get(index) {
        let at = format!("messages[{index}]");
        if message.name.is_some() {
            writer.losses.note("message.name");
        }
        match message.role {
            Role::System | Role::Developer => {
                let parts = writer.parts(&message.parts, &at)?;
                writer.system.extend(parts);
            }
            Role::User => {
                let parts = writer.parts(&message.parts, &at)?;
                writer.push("user", parts);
            }
            Role::Assistant => writer.model(message, &at)?,
            Role::Tool => {
                // All results of one step form one turn.
                let run = messages[index..].iter().take_while(|message| message.role == Role::Tool).count();
                writer.results(&messages[index..index + run], index)?;
                index += run;
                continue;
            }
        }
        index += 1;
    }
    let (mut system, mut contents) = (writer.system, writer.contents);
    if contents.is_empty() && !system.is_empty() && target.may_modify {
        // The API wants a turn; instructions alone are one.
        contents.push(json!({"role": "user", "parts": std::mem::take(&mut system)}));
    } else if target.abilities.system_messages == Some(false) && !system.is_empty() {
        contents.insert(0, json!({"role": "user", "parts": std::mem::take(&mut system)}));
    }
    Ok(Turns { system, contents: contents_of(contents) })
}

fn contents_of(contents: Vec<Value>) -> Vec<Value> {
    contents
        .into_iter()
        .filter(|turn| turn["parts"].as_array().is_some_and(|parts| !parts.is_empty()))
        .collect()
}

struct Writer<'a> {
    third: bool,
    vertex: bool,
    losses: &'a mut Losses,
    system: Vec<Value>,
    contents: Vec<Value>,
    /// Name and order of the calls by id.
    calls: HashMap<String, (String, usize)>,
}

impl Writer<'_> {
    fn push(&mut self, role: &str, mut parts: Vec<Value>) {
        if parts.is_empty() {
            return;
        }
        let answers = |turn: &Value| {
            turn["parts"]
                .as_array()
                .is_some_and(|parts| parts.iter().any(|it| it.get("functionResponse").is_some()))
        };
        if let Some(last) = self.contents.last_mut()
            && last["role"] == role
            // What is said after results is a turn of its own: a turn of results holds nothing else.
            && !answers(last)
            && let Some(have) = last.get_mut("parts").and_then(Value::as_array_mut)
        {
            have.append(&mut parts);
            return;
        }
        self.contents.push(json!({"role": role, "parts": parts}));
    }

    fn parts(&mut self, parts: &[Part], at: &str) -> Result<Vec<Value>, Unsupported> {
        let mut out = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            out.extend(self.part(part, &format!("{at}.content[{index}]"))?);
        }
        Ok(out)
    }

    fn model(&mut self, message: &Message, at: &str) -> Result<(), Unsupported> {
        let mut parts = self.parts(&message.parts, at)?;
        // The first call of a step must be signed.
        let first = parts.iter_mut().find(|part| part.get("functionCall").is_some());
        if let Some(Value::Object(part)) = first
            && self.third
            && !part.contains_key("thoughtSignature")
        {
            part.insert("thoughtSignature".to_owned(), json!(NO_SIGNATURE));
        }
        self.push("model", parts);
        Ok(())
    }

    fn part(&mut self, part: &Part, at: &str) -> Result<Option<Value>, Unsupported> {
        self.note_cache(part);
        let (mut out, signature) = match part {
            Part::Text { text, signature, extra, .. } => {
                if text.is_empty() && signature.is_none() {
                    // The API refuses empty text.
                    return Ok(None);
                }
                let mut out = Map::from_iter([("text".to_owned(), json!(text))]);
                merge(&mut out, extra.of(Family::Gemini));
                (out, signature.as_ref())
            }
            Part::Refusal { text } => (Map::from_iter([("text".to_owned(), json!(text))]), None),
            Part::Reasoning { text, signature, redacted, .. } => {
                let own = signature.as_ref().filter(|state| state.family == Family::Gemini);
                if signature.is_some() && own.is_none() {
                    self.losses.note("reasoning.signature");
                }
                if own.is_none() && (*redacted || text.is_empty()) {
                    return Ok(None);
                }
                let members = [("text".to_owned(), json!(text)), ("thought".to_owned(), json!(true))];
                (Map::from_iter(members), own)
            }
            Part::ToolCall { id, name, arguments, signature, extra, .. } => {
                let order = self.calls.len();
                self.calls.insert(id.clone(), (name.clone(), order));
                let mut call = Map::new();
                self.put_id(id, &mut call);
                call.insert("name".to_owned(), json!(name));
                call.insert("args".to_owned(), wire_json::arguments(arguments));
                let mut out = Map::from_iter([("functionCall".to_owned(), Value::Object(call))]);
                merge(&mut out, extra.of(Family::Gemini));
                (out, signature.as_ref())
            }
            Part::Image { media, detail, extra, .. } => {
                if detail.is_some() {
                    self.losses.note("image.detail");
                }
                let mut out = self.media(media, "image", at)?;
                merge(&mut out, extra.of(Family::Gemini));
                (out, None)
            }
            Part::Audio { media, .. } => (self.media(media, "audio", at)?, None),
            Part::File { media, name, extra, .. } => {
                if name.is_some() {
                    self.losses.note("file.name");
                }
                let mut out = self.media(media, "application", at)?;
                merge(&mut out, extra.of(Family::Gemini));
                (out, None)
            }
            Part::Foreign { family: Family::Gemini, value } => return Ok(Some(value.clone())),
            Part::Foreign { .. } => {
                let why = "this block is known to the provider that made it only; leave it out";
                return Err(Unsupported::new(at, why));
            }
            Part::ToolResult { .. } => {
                return Err(Unsupported::new(at, "tool results belong in a tool turn"));
            }
        };
        match signature {
            Some(state) if state.family == Family::Gemini => {
                out.insert("thoughtSignature".to_owned(), json!(state.data));
            }
            Some(_) => self.losses.note("reasoning.signature"),
            None => {}
        }
        // Text that was there only to carry a signature of another family.
        let empty = out.len() == 1 && out.get("text").is_some_and(|text| text == "");
        Ok((!empty).then_some(Value::Object(out)))
    }

    /// Ids are the Gemini API's; Vertex AI goes by name and order.
    fn put_id(&self, id: &str, out: &mut Map<String, Value>) {
        if !self.vertex && !id.starts_with(MADE_UP) && !id.is_empty() {
            out.insert("id".to_owned(), json!(id));
        }
    }

    fn results(&mut self, messages: &[Message], first: usize) -> Result<(), Unsupported> {
        let mut answers: Vec<(usize, Value)> = Vec::new();
        let mut shown = Vec::new();
        for (offset, message) in messages.iter().enumerate() {
            let at = format!("messages[{}]", first + offset);
            for part in &message.parts {
                let answer = self.result(part, &at, &mut shown)?;
                answers.push(answer);
            }
        }
        // Without ids the order is what tells equal calls apart.
        answers.sort_by_key(|(order, _)| *order);
        let mut parts: Vec<Value> = answers.into_iter().map(|(_, answer)| answer).collect();
        parts.append(&mut shown);
        self.contents.push(json!({"role": "user", "parts": parts}));
        Ok(())
    }

    fn result(
        &mut self,
        part: &Part,
        at: &str,
        shown: &mut Vec<Value>,
    ) -> Result<(usize, Value), Unsupported> {
        let Part::ToolResult { id, name, content, is_error, extra, .. } = part else {
            return Err(Unsupported::new(at, "a tool turn holds tool results only"));
        };
        self.note_cache(part);
        let known = self.calls.get(id).cloned();
        let order = known.as_ref().map_or(usize::MAX, |(_, order)| *order);
        let Some(name) = name.clone().or(known.map(|(name, _)| name)) else {
            let why = format!("no tool call before it has the id `{id}`; Gemini wants the tool's name");
            return Err(Unsupported::new(at, &why));
        };
        let (mut texts, mut media) = (Vec::new(), Vec::new());
        for (index, part) in content.iter().enumerate() {
            match part {
                Part::Text { text, .. } | Part::Refusal { text } => texts.push(text.as_str()),
                other => media.extend(self.part(other, &format!("{at}.content[{index}]"))?),
            }
        }
        let mut answer = Map::new();
        self.put_id(id, &mut answer);
        answer.insert("name".to_owned(), json!(name));
        answer.insert("response".to_owned(), outcome(&texts.join("\n"), *is_error));
        if self.third && !media.is_empty() {
            answer.insert("parts".to_owned(), Value::Array(media));
        } else {
            // Earlier models see pictures beside the results only.
            shown.append(&mut media);
        }
        let mut out = Map::from_iter([("functionResponse".to_owned(), Value::Null)]);
        if let Some(members) = extra.of(Family::Gemini) {
            for (key, value) in members {
                let holder = if OF_RESPONSE.contains(&key.as_str()) { &mut answer } else { &mut out };
                holder.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        out.insert("functionResponse".to_owned(), Value::Object(answer));
        Ok((order, Value::Object(out)))
    }

    fn media(&mut self, media: &Media, kind: &str, at: &str) -> Result<Map<String, Value>, Unsupported> {
        let (key, value) = match media {
            Media::Base64 { mime, data } => {
                let mime = google_mime(mime);
                ("inlineData", json!({"mimeType": mime, "data": data}))
            }
            Media::Url { url, mime } => {
                let mime = mime.clone().or_else(|| mime_of(url, kind));
                let uploaded = url.starts_with("https://generativelanguage.googleapis.com/")
                    || url.contains("youtube.com/")
                    || url.contains("youtu.be/");
                match (mime, uploaded) {
                    (Some(mime), _) => ("fileData", json!({"mimeType": mime, "fileUri": url})),
                    (None, true) => ("fileData", json!({ "fileUri": url })),
                    (None, false) => {
                        let why =
                            "the media type cannot be told from the address; say it, or send base64 data";
                        return Err(Unsupported::new(at, why));
                    }
                }
            }
            Media::FileId { id, family: Family::Gemini } => ("fileData", json!({ "fileUri": id })),
            Media::FileId { .. } => {
                return Err(Unsupported::new(
                    at,
                    "the file was uploaded to another provider; send its bytes",
                ));
            }
        };
        Ok(Map::from_iter([(key.to_owned(), value)]))
    }

    fn note_cache(&mut self, part: &Part) {
        let hint = match part {
            Part::Text { cache, .. }
            | Part::Image { cache, .. }
            | Part::File { cache, .. }
            | Part::ToolCall { cache, .. }
            | Part::ToolResult { cache, .. } => cache.is_some(),
            _ => false,
        };
        if hint {
            self.losses.note("cache_control");
        }
    }
}

/// Members of a `functionResponse` that are carried; the others belong to the part.
const OF_RESPONSE: &[&str] = &["willContinue", "scheduling"];

/// What a tool said, as the object the API wants.
fn outcome(text: &str, is_error: bool) -> Value {
    match wire_json::read_str::<Value>(text) {
        Ok(object @ Value::Object(_)) => object,
        _ if is_error => json!({ "error": text }),
        _ => json!({ "result": text }),
    }
}

fn merge(out: &mut Map<String, Value>, members: Option<&Map<String, Value>>) {
    for (key, value) in members.into_iter().flatten() {
        out.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

/// OpenAI's short names as media types Google knows.
fn google_mime(mime: &str) -> &str {
    match mime {
        "image/jpg" => "image/jpeg",
        "audio/mpeg" | "audio/mpga" => "audio/mp3",
        "audio/x-wav" | "audio/wave" => "audio/wav",
        other => other,
    }
}

/// The media type by the address's ending.
fn mime_of(url: &str, kind: &str) -> Option<String> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let name = path.rsplit('/').next().unwrap_or(path);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let mime = match ending.as_deref() {
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("gif") => "image/gif",
        Some("heic") => "image/heic",
        Some("heif") => "image/heif",
        Some("pdf") => "application/pdf",
        Some("txt" | "md") => "text/plain",
        Some("html" | "htm") => "text/html",
        Some("csv") => "text/csv",
        Some("json") => "application/json",
        Some("mp3") => "audio/mp3",
        Some("wav") => "audio/wav",
        Some("flac") => "audio/flac",
        Some("ogg") => "audio/ogg",
        Some("aac") => "audio/aac",
        Some("mp4") => "video/mp4",
        Some("mov") => "video/mov",
        Some("webm") => "video/webm",
        Some("mpeg" | "mpg") => "video/mpeg",
        // Most pictures of the web without an ending are of this kind, and the API looks for itself.
        _ if kind == "image" => "image/jpeg",
        _ => return None,
    };
    Some(mime.to_owned())
}
