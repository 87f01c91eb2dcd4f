//! Messages of the conversation as a provider takes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::chat::{CacheHint, ChatRequest, Effort, Extra, Family, Media, Message, Part, Role};
use crate::dialect::{Losses, Quirks, Target, Unsupported};
use crate::opaque;

use super::client::custom_input;
use super::types::put_cache;

/// Renders all turns.
pub(super) fn messages(
    request: &ChatRequest,
    target: &Target<'_>,
    losses: &mut Losses,
) -> Result<Vec<Value>, Unsupported> {
    let mut writer = Writer { target, losses, thinks: thinks(request), shown: Vec::new() };
    let mut out = Vec::new();
    for (index, message) in request.messages.iter().enumerate() {
        if message.role != Role::Tool {
            writer.show(&mut out);
        }
        writer.message(message, &format!("messages[{index}]"), &mut out)?;
    }
    writer.show(&mut out);
    Ok(out)
}

fn thinks(request: &ChatRequest) -> bool {
    request
        .reasoning
        .as_ref()
        .is_some_and(|wish| !wish.disabled && wish.budget != Some(0) && wish.effort != Some(Effort::None))
}

struct Writer<'a> {
    target: &'a Target<'a>,
    losses: &'a mut Losses,
    thinks: bool,
    /// Pictures of tool results: tool messages hold text only, so these follow in a turn of the user's.
    shown: Vec<Value>,
}

impl Writer<'_> {
    fn quirks(&self) -> &Quirks {
        self.target.quirks
    }

    fn show(&mut self, out: &mut Vec<Value>) {
        if !self.shown.is_empty() {
            out.push(json!({"role": "user", "content": std::mem::take(&mut self.shown)}));
        }
    }

    fn message(&mut self, message: &Message, at: &str, out: &mut Vec<Value>) -> Result<(), Unsupported> {
        if message.role == Role::Tool {
            for part in &message.parts {
                out.push(self.tool_result(part, &message.extra, at)?);
            }
            return Ok(());
        }
        let mut turn = Map::new();
        turn.insert("role".to_owned(), json!(self.role(message.role)));
        if message.role == Role::Assistant {
            self.assistant(message, at, &mut turn)?;
        } else {
            let content = self.content(&message.parts, at)?;
            turn.insert("content".to_owned(), content);
        }
        match &message.name {
            Some(_) if self.quirks().drop_message_name => self.losses.note("message.name"),
            Some(name) => {
                turn.insert("name".to_owned(), json!(name));
            }
            None => {}
        }
        add(&mut turn, &message.extra);
        out.push(Value::Object(turn));
        Ok(())
    }

    fn role(&mut self, role: Role) -> &'static str {
        match role {
            Role::System | Role::Developer if self.target.abilities.system_messages == Some(false) => {
                self.losses.note("message.system");
                "user"
            }
            Role::Developer if self.quirks().developer_as_system => "system",
            Role::Developer => "developer",
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }

    /// Plain text as a string, else a list.
    fn content(&mut self, parts: &[Part], at: &str) -> Result<Value, Unsupported> {
        if let [Part::Text { text, cache: None, .. }] = parts {
            return Ok(json!(text));
        }
        let mut items = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            items.push(self.item(part, &format!("{at}.content[{index}]"))?);
        }
        let all_text = items.iter().all(|item| item.get("type").is_some_and(|kind| kind == "text"));
        let marked = items.iter().any(|item| item.get("cache_control").is_some());
        if self.quirks().text_only_content && !all_text {
            if !self.target.may_modify {
                return Err(Unsupported::new(
                    at,
                    "this model takes text only; leave pictures, sound and files out",
                ));
            }
            self.losses.note("content.media");
            items.retain(|item| item.get("type").is_some_and(|kind| kind == "text"));
        } else if !(all_text && !marked && (self.quirks().flatten_content || self.quirks().text_only_content))
        {
            return Ok(Value::Array(items));
        }
        let text: String = items.iter().filter_map(|item| item.get("text")?.as_str()).collect();
        Ok(Value::String(text))
    }

    fn cache(&mut self, item: &mut Map<String, Value>, cache: Option<&CacheHint>) {
        match cache {
            Some(hint) if self.quirks().keep_cache_control => put_cache(item, hint),
            Some(_) => self.losses.note("cache_control"),
            None => {}
        }
    }

    fn item(&mut self, part: &Part, at: &str) -> Result<Value, Unsupported> {
        let (mut item, cache, extra) = match part {
            Part::Text { text, cache, extra, .. } => {
                (object(json!({"type": "text", "text": text})), cache.as_ref(), Some(extra))
            }
            Part::Refusal { text } => (object(json!({"type": "refusal", "refusal": text})), None, None),
            Part::Image { media, detail, cache, extra } => {
                let mut image = Map::new();
                image.insert("url".to_owned(), json!(picture_url(media, at)?));
                if let Some(detail) = detail {
                    image.insert("detail".to_owned(), json!(detail));
                }
                let item = json!({"type": "image_url", "image_url": image});
                (object(item), cache.as_ref(), Some(extra))
            }
            Part::Audio { media, .. } => (object(audio(media, at)?), None, None),
            Part::File { media, name, cache, extra } => {
                (object(file(media, name.as_deref(), extra, at)?), cache.as_ref(), None)
            }
            Part::Foreign { family: Family::OpenAi, value } => return Ok(value.clone()),
            Part::Foreign { .. } => {
                return Err(Unsupported::new(
                    at,
                    "this block is known to the provider that made it only; leave it out",
                ));
            }
            Part::ToolCall { .. } | Part::ToolResult { .. } | Part::Reasoning { .. } => {
                return Err(Unsupported::new(
                    at,
                    "this kind of content does not belong in a turn of this role",
                ));
            }
        };
        self.cache(&mut item, cache);
        if let Some(extra) = extra {
            add(&mut item, extra);
        }
        Ok(Value::Object(item))
    }

    fn assistant(
        &mut self,
        message: &Message,
        at: &str,
        turn: &mut Map<String, Value>,
    ) -> Result<(), Unsupported> {
        let mut said = Vec::new();
        let mut reasoning = String::new();
        let mut calls = Vec::new();
        for part in &message.parts {
            match part {
                Part::Reasoning { text, signature, .. } => {
                    if signature.is_some() {
                        self.losses.note("reasoning.signature");
                    }
                    reasoning.push_str(text);
                }
                Part::ToolCall { cache, .. } => {
                    if cache.is_some() && !self.quirks().keep_cache_control {
                        self.losses.note("cache_control");
                    }
                    calls.push(self.call(part));
                }
                Part::Refusal { text } => {
                    turn.insert("refusal".to_owned(), json!(text));
                }
                Part::Audio { id: Some(id), .. } => {
                    turn.insert("audio".to_owned(), json!({ "id": id }));
                }
                // Models do not take back what they drew or said; the words remain.
                Part::Audio { transcript: Some(text), .. } => {
                    self.losses.note("content.audio");
                    said.push(Part::text(text.clone()));
                }
                Part::Image { .. } => self.losses.note("content.image"),
                Part::Foreign { family, .. } if *family != Family::OpenAi => {
                    self.losses.note("content.foreign");
                }
                other => said.push(other.clone()),
            }
        }
        if said.is_empty() {
            // With calls or a refusal there may be no text at all.
            let silent = !calls.is_empty() || turn.contains_key("refusal") || turn.contains_key("audio");
            if !silent {
                turn.insert("content".to_owned(), json!(""));
            } else if !self.quirks().drop_null_members {
                turn.insert("content".to_owned(), Value::Null);
            }
        } else {
            let content = self.content(&said, at)?;
            turn.insert("content".to_owned(), content);
        }
        self.reasoning(reasoning, turn);
        if !calls.is_empty() {
            turn.insert("tool_calls".to_owned(), Value::Array(calls));
        }
        Ok(())
    }

    fn reasoning(&mut self, reasoning: String, turn: &mut Map<String, Value>) {
        let blank = self.quirks().fill_reasoning && self.thinks && reasoning.is_empty();
        if blank || (self.quirks().send_reasoning && !reasoning.is_empty()) {
            // A blank is refused when empty.
            let text = if blank { " ".to_owned() } else { reasoning };
            turn.insert("reasoning_content".to_owned(), Value::String(text));
        } else if !reasoning.is_empty() {
            self.losses.note("reasoning.text");
        }
    }

    fn call(&mut self, part: &Part) -> Value {
        let Part::ToolCall { id, name, arguments, signature, extra, .. } = part else {
            return Value::Null;
        };
        let own = extra.of(Family::OpenAi);
        let custom = own.and_then(|own| own.get("type")).is_some_and(|kind| kind == "custom");
        if custom && matches!(self.target.provider, "openai" | "azure") {
            return json!({"id": id, "type": "custom",
                "custom": {"name": name, "input": custom_input(arguments)}});
        }
        let arguments = if arguments.is_empty() { "{}" } else { arguments };
        let mut call = object(json!({"id": id, "type": "function",
            "function": {"name": name, "arguments": arguments}}));
        for (key, value) in own.into_iter().flatten() {
            call.entry(key.clone()).or_insert_with(|| value.clone());
        }
        match signature {
            // Google's own compatible API wants it back where it gave it.
            Some(state) if state.family == Family::Gemini && takes_google_state(self.target) => {
                let google = json!({"google": {"thought_signature": state.data}});
                call.insert("extra_content".to_owned(), google);
            }
            Some(state) if state.family == Family::OpenAi => {
                call.insert("id".to_owned(), json!(opaque::seal_id(id, Some(state))));
            }
            Some(_) => self.losses.note("reasoning.signature"),
            None => {}
        }
        Value::Object(call)
    }

    fn tool_result(&mut self, part: &Part, extra: &Extra, at: &str) -> Result<Value, Unsupported> {
        let Part::ToolResult { id, name, content, is_error, cache, .. } = part else {
            return Err(Unsupported::new(at, "a turn of this role holds tool results only"));
        };
        if *is_error {
            self.losses.note("tool_result.is_error");
        }
        let mut texts = Vec::new();
        for (index, part) in content.iter().enumerate() {
            let item = self.item(part, &format!("{at}.content[{index}]"))?;
            if item.get("type").is_some_and(|kind| kind == "text") {
                texts.push(item);
            } else {
                self.losses.note("tool_result.image_position");
                self.shown.push(item);
            }
        }
        let mut turn = Map::new();
        turn.insert("role".to_owned(), json!("tool"));
        turn.insert("tool_call_id".to_owned(), json!(id));
        let plain = texts.iter().all(|item| item.as_object().is_some_and(|item| item.len() == 2));
        let body = match texts.as_slice() {
            [] => json!(""),
            [only] if plain => only.get("text").cloned().unwrap_or_default(),
            _ if self.quirks().flatten_content || self.quirks().text_only_content => {
                texts.iter().filter_map(|item| item.get("text")?.as_str()).collect::<String>().into()
            }
            _ => Value::Array(texts),
        };
        turn.insert("content".to_owned(), body);
        if let Some(name) = name {
            if self.quirks().drop_message_name && !self.quirks().keep_tool_name {
                self.losses.note("message.name");
            } else {
                turn.insert("name".to_owned(), json!(name));
            }
        }
        self.cache(&mut turn, cache.as_ref());
        add(&mut turn, extra);
        Ok(Value::Object(turn))
    }
}

fn takes_google_state(target: &Target<'_>) -> bool {
    matches!(target.provider, "gemini" | "vertex_ai" | "google")
}

fn add(members: &mut Map<String, Value>, extra: &Extra) {
    for (key, value) in extra.of(Family::OpenAi).into_iter().flatten() {
        members.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn picture_url(media: &Media, at: &str) -> Result<String, Unsupported> {
    match media {
        Media::Base64 { mime, data } => Ok(format!("data:{mime};base64,{data}")),
        Media::Url { url, .. } => Ok(url.clone()),
        Media::FileId { .. } => {
            Err(Unsupported::new(at, "chat completions take no uploaded pictures; send base64 data or a URL"))
        }
    }
}

fn audio(media: &Media, at: &str) -> Result<Value, Unsupported> {
    let Media::Base64 { mime, data } = media else {
        return Err(Unsupported::new(at, "sound is taken inline only; send base64 data"));
    };
    let format = match mime.strip_prefix("audio/").unwrap_or(mime) {
        "mpeg" | "mp3" => "mp3",
        "wav" | "x-wav" | "wave" => "wav",
        other => other,
    };
    Ok(json!({"type": "input_audio", "input_audio": {"data": data, "format": format}}))
}

fn file(media: &Media, name: Option<&str>, extra: &Extra, at: &str) -> Result<Value, Unsupported> {
    let mut file = Map::new();
    match media {
        Media::Base64 { mime, data } if mime.starts_with("text/") => {
            // Files are PDF here; plain text can be said as such.
            let text = STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let text =
                text.ok_or_else(|| Unsupported::new(at, "the file is not UTF-8 text; send it as PDF"))?;
            return Ok(json!({"type": "text", "text": text}));
        }
        Media::Url { url, mime } if mime.as_deref().is_some_and(|mime| mime.starts_with("video/")) => {
            return Ok(json!({"type": "video_url", "video_url": {"url": url}}));
        }
        Media::Base64 { mime, data } if mime.starts_with("video/") => {
            let url = format!("data:{mime};base64,{data}");
            return Ok(json!({"type": "video_url", "video_url": {"url": url}}));
        }
        Media::Base64 { mime, data } => {
            file.insert("filename".to_owned(), json!(name.unwrap_or("document.pdf")));
            file.insert("file_data".to_owned(), json!(format!("data:{mime};base64,{data}")));
        }
        Media::FileId { id, family: Family::OpenAi | Family::Responses } => {
            file.insert("file_id".to_owned(), json!(id));
        }
        Media::FileId { .. } => {
            return Err(Unsupported::new(at, "the file was uploaded to another provider; send base64 data"));
        }
        Media::Url { .. } => {
            return Err(Unsupported::new(at, "files are not fetched from addresses here; send base64 data"));
        }
    }
    add(&mut file, extra);
    Ok(json!({"type": "file", "file": file}))
}
