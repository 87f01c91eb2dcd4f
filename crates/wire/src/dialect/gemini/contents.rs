//! The conversation a client sends, read into messages.

use serde_json::{Map, Value};

use crate::chat::{Extra, Family, Media, Message, Part, Role};
use crate::dialect::members::{Members, wrong};
use crate::dialect::{BadRequest, media};
use crate::json;

use super::members::object;
use super::state;

/// The calls met so far: what gives calls and results without ids matching ones.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Name and id of calls that have no result yet, in order.
    open: Vec<(String, String)>,
    made_up: usize,
}

impl Calls {
    fn call(&mut self, name: &str, id: Option<String>) -> String {
        let id = id.unwrap_or_else(|| self.make_up());
        self.open.push((name.to_owned(), id.clone()));
        id
    }

    /// A result with an id answers that call, one without the first call of its name that is open.
    fn result(&mut self, name: &str, id: Option<String>) -> String {
        let fits = |(call, call_id): &(String, String)| match &id {
            Some(id) => call_id == id,
            None => call == name,
        };
        match self.open.iter().position(fits) {
            Some(at) => self.open.remove(at).1,
            None => id.unwrap_or_else(|| self.make_up()),
        }
    }

    fn make_up(&mut self) -> String {
        self.made_up += 1;
        format!("{MADE_UP}{}", self.made_up)
    }
}

/// How ids begin that were made up for calls without one.
pub(super) const MADE_UP: &str = "gcall_";

/// Reads one `Content`; results stand in messages of their own.
pub(super) fn content(value: Value, at: &str, calls: &mut Calls) -> Result<Vec<Message>, BadRequest> {
    if let Value::String(text) = value {
        return Ok(vec![Message::text(Role::User, text)]);
    }
    let mut content = object(value, at)?;
    let role = match content.text("role")?.as_deref() {
        None | Some("user" | "function" | "") => Role::User,
        Some("model") => Role::Assistant,
        Some("system") => Role::System,
        Some(_) => {
            let at = content.at("role");
            let message = format!("{at}: must be `user` or `model`");
            return Err(BadRequest::new(at, message));
        }
    };
    let at = content.at("parts");
    let items = match content.take("parts") {
        None => Vec::new(),
        Some(Value::Array(items)) => items,
        Some(one @ Value::Object(_)) => vec![one],
        Some(other) => return Err(wrong(&at, "a list", &other)),
    };
    let extra = Extra::from_map(Family::Gemini, content.rest());
    let mut messages: Vec<Message> = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let part = part(item, &format!("{at}[{index}]"), calls)?;
        // Streams of this dialect end with an empty text, and may hold some to keep the connection alive.
        let is_empty = matches!(&part, Part::Text { text, signature: None, extra, .. }
            if text.is_empty() && extra.is_empty());
        if is_empty && role == Role::Assistant {
            continue;
        }
        let role = if matches!(part, Part::ToolResult { .. }) { Role::Tool } else { role };
        match messages.last_mut() {
            Some(last) if last.role == role => add(&mut last.parts, part),
            _ => messages.push(Message { extra: extra.clone(), ..Message::new(role, vec![part]) }),
        }
    }
    Ok(messages)
}

/// Appends the messages of one content. SDKs return a streamed turn as one content per chunk: those are
/// put together again, text that was one part included.
pub(super) fn append(messages: &mut Vec<Message>, content: Vec<Message>) {
    for message in content {
        match messages.last_mut() {
            Some(last)
                if last.role == Role::Assistant
                    && message.role == Role::Assistant
                    && last.extra == message.extra =>
            {
                let mut parts = message.parts.into_iter();
                if let Some(first) = parts.next() {
                    continue_with(&mut last.parts, first);
                }
                parts.for_each(|part| add(&mut last.parts, part));
            }
            _ => messages.push(message),
        }
    }
}

fn continue_with(parts: &mut Vec<Part>, part: Part) {
    match (parts.last_mut(), part) {
        (
            Some(Part::Text { text, signature: signature @ None, .. }),
            Part::Text { text: more, signature: later, extra, .. },
        ) if extra.is_empty() => {
            text.push_str(&more);
            *signature = later;
        }
        (_, part) => add(parts, part),
    }
}

/// Appends a part. Streamed turns come back in pieces: text is joined, and a signature on an empty text
/// belongs to the part before it.
fn add(parts: &mut Vec<Part>, part: Part) {
    match (parts.last_mut(), part) {
        (
            Some(Part::Reasoning { text, signature: signature @ None, redacted: false, .. }),
            Part::Reasoning { text: more, signature: later, redacted: false, .. },
        ) => {
            text.push_str(&more);
            *signature = later;
        }
        (
            Some(Part::Text { signature: signature @ None, .. }),
            Part::Text { text, signature: later, extra, .. },
        ) if text.is_empty() && extra.is_empty() => {
            *signature = later;
        }
        (_, part) => parts.push(part),
    }
}

fn part(value: Value, at: &str, calls: &mut Calls) -> Result<Part, BadRequest> {
    if let Value::String(text) = value {
        return Ok(Part::text(text));
    }
    let mut part = object(value, at)?;
    if let Some(call) = part.take("functionCall") {
        return function_call(object(call, part.at("functionCall"))?, part, calls);
    }
    if let Some(response) = part.take("functionResponse") {
        return function_response(object(response, part.at("functionResponse"))?, part, calls);
    }
    if let Some(blob) = part.take("inlineData") {
        let at = part.at("inlineData");
        let mut blob = object(blob, at)?;
        let media = inline(&mut blob)?;
        return Ok(media_part(media, blob.text("displayName")?, part));
    }
    if let Some(file) = part.take("fileData") {
        let at = part.at("fileData");
        let mut file = object(file, at)?;
        let media = file_media(&mut file)?;
        return Ok(media_part(media, file.text("displayName")?, part));
    }
    if part.peek("text").is_some_and(|text| !text.is_null()) {
        return text(part);
    }
    let rest = part.rest();
    if rest.is_empty() {
        return Err(BadRequest::new(
            at,
            format!("{at}: a part needs `text`, `inlineData` or another kind of data"),
        ));
    }
    Ok(Part::Foreign { family: Family::Gemini, value: Value::Object(rest) })
}

fn text(mut part: Members) -> Result<Part, BadRequest> {
    let text = part.need_text("text")?;
    let thought = part.flag("thought")?.unwrap_or(false);
    let signature = part.text("thoughtSignature")?.map(|text| state::open(&text));
    if thought {
        let (signature, redacted) = signature.map_or((None, false), |(state, hidden)| (Some(state), hidden));
        return Ok(Part::Reasoning { text, signature, redacted, id: None });
    }
    Ok(Part::Text {
        text,
        annotations: Vec::new(),
        signature: signature.map(|(state, _)| state),
        cache: None,
        extra: Extra::from_map(Family::Gemini, part.rest()),
    })
}

fn function_call(mut call: Members, mut part: Members, calls: &mut Calls) -> Result<Part, BadRequest> {
    let name = call.need_text("name")?;
    let id = call.text("id")?.filter(|id| !id.is_empty());
    let arguments = match call.take("args") {
        None => "{}".to_owned(),
        Some(args @ Value::Object(_)) => json::text(&args),
        Some(other) => return Err(wrong(&call.at("args"), "an object", &other)),
    };
    let signature = part.text("thoughtSignature")?.map(|text| state::open(&text).0);
    let extra = Extra::from_map(Family::Gemini, part.rest());
    Ok(Part::ToolCall { id: calls.call(&name, id), name, arguments, signature, cache: None, extra })
}

fn function_response(mut response: Members, part: Members, calls: &mut Calls) -> Result<Part, BadRequest> {
    let name = response.need_text("name")?;
    let id = response.text("id")?.filter(|id| !id.is_empty());
    let at = response.at("parts");
    let (text, is_error) = match response.take("response") {
        None => ("{}".to_owned(), false),
        Some(Value::Object(map)) => outcome(map),
        Some(other) => return Err(wrong(&response.at("response"), "an object", &other)),
    };
    let mut content = vec![Part::text(text)];
    for (index, item) in response.list("parts")?.into_iter().enumerate() {
        content.push(self::part(item, &format!("{at}[{index}]"), calls)?);
    }
    let mut members = part.rest();
    members.extend(response.rest());
    let extra = Extra::from_map(Family::Gemini, members);
    let id = calls.result(&name, id);
    Ok(Part::ToolResult { id, name: Some(name), content, is_error, cache: None, extra })
}

/// The text of a result. Google's convention: `result` (or `output`) holds what came out, `error` what
/// went wrong; an object of any other form is the result itself.
fn outcome(map: Map<String, Value>) -> (String, bool) {
    if map.len() == 1
        && let Some((key, Value::String(text))) = map.iter().next()
        && json::read_str::<Map<String, Value>>(text).is_err()
        && matches!(key.as_str(), "result" | "error")
    {
        return (text.clone(), key == "error");
    }
    let is_error = map.contains_key("error") && map.len() == 1;
    (json::text(&map), is_error)
}

fn inline(blob: &mut Members) -> Result<Media, BadRequest> {
    let (mime, data) = (blob.need_text("mimeType")?, blob.need_text("data")?);
    media::inline(mime, state::standard(&data), &blob.at("data"))
}

fn file_media(file: &mut Members) -> Result<Media, BadRequest> {
    let mime = file.text("mimeType")?.filter(|mime| !mime.is_empty());
    Ok(Media::Url { url: file.need_text("fileUri")?, mime })
}

/// Picture, sound or file, by the media type.
fn media_part(media: Media, name: Option<String>, part: Members) -> Part {
    let extra = Extra::from_map(Family::Gemini, part.rest());
    let mime = match &media {
        Media::Base64 { mime, .. } => mime.as_str(),
        Media::Url { mime, .. } => mime.as_deref().unwrap_or_default(),
        Media::FileId { .. } => "",
    };
    if mime.starts_with("image/") {
        Part::Image { media, detail: None, cache: None, extra }
    } else if mime.starts_with("audio/") {
        Part::Audio { media, transcript: None, id: None }
    } else {
        Part::File { media, name, cache: None, extra }
    }
}
