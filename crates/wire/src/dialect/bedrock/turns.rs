//! Renders a conversation as turns that alternate between user and assistant.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};

use crate::chat::{CacheHint, ChatRequest, Extra, Family, Message, Part, Role, Signature};
use crate::dialect::{Losses, Unsupported};
use crate::json as wire_json;

use super::types::cache_point;
use super::{citations, media};

/// A conversation in the dialect's form.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Blocks of standing instructions.
    pub(super) system: Vec<Value>,
    /// Turns, user first.
    pub(super) messages: Vec<Value>,
}

/// Renders the conversation.
pub(super) fn render(request: &ChatRequest, losses: &mut Losses) -> Result<Turns, Unsupported> {
    let mut writer = Writer { losses, documents: 0 };
    let mut turns: Vec<(&'static str, Vec<Value>)> = Vec::new();
    let mut system = Vec::new();
    for (index, message) in request.messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        if message.name.is_some() {
            writer.losses.note("message.name");
        }
        match message.role {
            Role::System | Role::Developer => writer.system(message, &mut system),
            Role::User | Role::Tool => add(&mut turns, "user", writer.blocks(message, &at)?),
            Role::Assistant => add(&mut turns, "assistant", writer.blocks(message, &at)?),
        }
    }
    if turns.first().is_none_or(|(role, _)| *role != "user") {
        // The API wants a user to begin. LiteLLM puts the same placeholder there.
        turns.insert(0, ("user", vec![json!({"text": "."})]));
    }
    for (role, content) in &mut turns {
        if *role == "user" {
            // Results must come before anything else in the turn that answers tool calls; a cache point
            // stays behind the block it marks.
            *content = results_first(std::mem::take(content));
            name_documents(content);
        }
    }
    trim_last(&mut turns);
    let messages =
        turns.into_iter().map(|(role, content)| json!({"role": role, "content": content})).collect();
    Ok(Turns { system, messages })
}

fn add(turns: &mut Vec<(&'static str, Vec<Value>)>, role: &'static str, content: Vec<Value>) {
    if content.is_empty() {
        return;
    }
    match turns.last_mut() {
        Some((last, blocks)) if *last == role => blocks.extend(content),
        _ => turns.push((role, content)),
    }
}

fn results_first(content: Vec<Value>) -> Vec<Value> {
    let (mut results, mut others) = (Vec::new(), Vec::new());
    let mut last_was_result = false;
    for block in content {
        let is_point = block.get("cachePoint").is_some();
        if !is_point {
            last_was_result = block.get("toolResult").is_some();
        }
        if last_was_result { results.push(block) } else { others.push(block) }
    }
    results.extend(others);
    results
}

/// A document may not come alone: the API wants some text beside it.
fn name_documents(content: &mut Vec<Value>) {
    let has = |kind: &str| content.iter().any(|block| block.get(kind).is_some());
    if has("document") && !has("text") {
        content.push(json!({"text": "."}));
    }
}

/// Models refuse a final assistant text that ends in white space.
fn trim_last(turns: &mut [(&'static str, Vec<Value>)]) {
    let Some(("assistant", content)) = turns.last_mut().map(|(role, content)| (*role, content)) else {
        return;
    };
    if let Some(text) = content.last_mut().and_then(|block| block.get_mut("text"))
        && let Some(trimmed) = text.as_str().map(|text| text.trim_end().to_owned())
    {
        *text = Value::String(trimmed);
    }
}

struct Writer<'a> {
    losses: &'a mut Losses,
    documents: usize,
}

impl Writer<'_> {
    fn system(&mut self, message: &Message, out: &mut Vec<Value>) {
        for part in &message.parts {
            match part {
                Part::Text { text, cache, .. } => {
                    if !text.is_empty() {
                        out.push(json!({"text": text}));
                    }
                    // A point needs something in front of it.
                    out.extend(cache.as_ref().filter(|_| !text.is_empty()).map(cache_point));
                }
                Part::Foreign { family: Family::Bedrock, value } => out.push(value.clone()),
                _ => self.losses.note("system.media"),
            }
        }
    }

    fn blocks(&mut self, message: &Message, at: &str) -> Result<Vec<Value>, Unsupported> {
        let mut out = Vec::with_capacity(message.parts.len());
        for (index, part) in message.parts.iter().enumerate() {
            self.block(part, &format!("{at}.content[{index}]"), &mut out)?;
        }
        Ok(out)
    }

    fn block(&mut self, part: &Part, at: &str, out: &mut Vec<Value>) -> Result<(), Unsupported> {
        match part {
            // Blank text blocks are refused.
            Part::Text { text, .. } | Part::Refusal { text } if text.trim().is_empty() => {}
            Part::Text { text, annotations, cache, .. } => {
                out.push(cited(text, annotations, self.losses));
                mark(cache.as_ref(), out);
            }
            Part::Refusal { text } => out.push(json!({"text": text})),
            Part::Image { media, cache, detail, .. } => {
                if detail.is_some() {
                    self.losses.note("image.detail");
                }
                out.push(json!({"image": media::block("image", media, at)?}));
                mark(cache.as_ref(), out);
            }
            Part::File { media, name, cache, extra } => {
                out.push(json!({"document": self.document(media, name.as_deref(), extra, at)?}));
                mark(cache.as_ref(), out);
            }
            Part::Audio { media, .. } => out.push(json!({"audio": media::block("audio", media, at)?})),
            Part::ToolCall { id, name, arguments, cache, extra, .. } => {
                let mut call = Map::new();
                call.insert("toolUseId".to_owned(), json!(safe_id(id)));
                call.insert("name".to_owned(), json!(name));
                call.insert("input".to_owned(), wire_json::arguments(arguments));
                put_extra(&mut call, extra);
                out.push(json!({"toolUse": call}));
                mark(cache.as_ref(), out);
            }
            Part::ToolResult { id, content, is_error, cache, extra, .. } => {
                let mut inner = Vec::with_capacity(content.len());
                for (index, part) in content.iter().enumerate() {
                    self.block(part, &format!("{at}.content[{index}]"), &mut inner)?;
                }
                inner.retain(|block| block.get("cachePoint").is_none());
                if inner.is_empty() {
                    // An empty result is still a result; blank texts are refused.
                    inner.push(json!({"text": "(no output)"}));
                }
                let mut result = Map::new();
                result.insert("toolUseId".to_owned(), json!(safe_id(id)));
                result.insert("content".to_owned(), Value::Array(inner));
                if *is_error {
                    result.insert("status".to_owned(), json!("error"));
                }
                put_extra(&mut result, extra);
                out.push(json!({"toolResult": result}));
                mark(cache.as_ref(), out);
            }
            Part::Reasoning { text, signature, redacted, .. } => {
                out.extend(self.reasoning(text, signature.as_ref(), *redacted));
            }
            Part::Foreign { family: Family::Bedrock, value } => out.push(value.clone()),
            Part::Foreign { .. } => self.losses.note("content.foreign"),
        }
        Ok(())
    }

    fn reasoning(&mut self, text: &str, signature: Option<&Signature>, redacted: bool) -> Option<Value> {
        match signature {
            Some(Signature { family: Family::Bedrock, data }) if redacted => {
                Some(json!({"reasoningContent": {"redactedContent": data}}))
            }
            // Claude signs its thinking alike on every platform.
            Some(Signature { family: Family::Bedrock | Family::Anthropic, data }) if !redacted => {
                Some(json!({"reasoningContent": {"reasoningText": {"text": text, "signature": data}}}))
            }
            _ => {
                // Without a signature of its own the API refuses the block.
                self.losses.note("reasoning.signature");
                None
            }
        }
    }

    fn document(
        &mut self,
        media: &crate::chat::Media,
        name: Option<&str>,
        extra: &Extra,
        at: &str,
    ) -> Result<Value, Unsupported> {
        self.documents += 1;
        let mut block = media::block("document", media, at)?;
        if let Some(members) = block.as_object_mut() {
            members.insert("name".to_owned(), json!(document_name(name, self.documents)));
            put_extra(members, extra);
        }
        Ok(block)
    }
}

fn put_extra(block: &mut Map<String, Value>, extra: &Extra) {
    for (key, value) in extra.of(Family::Bedrock).into_iter().flatten() {
        block.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

fn mark(cache: Option<&CacheHint>, out: &mut Vec<Value>) {
    out.extend(cache.map(cache_point));
}

/// A text, with its citations where the dialect has a form for them.
pub(super) fn cited(text: &str, annotations: &[Value], losses: &mut Losses) -> Value {
    let found: Vec<Value> = annotations.iter().filter_map(citations::citation).collect();
    if found.len() < annotations.len() {
        losses.note("content.annotations");
    }
    if found.is_empty() {
        json!({"text": text})
    } else {
        json!({"citationsContent": {"content": [{"text": text}], "citations": found}})
    }
}

/// Names hold letters, digits, single blanks, `-`, `(`, `)`, `[` and `]`, and differ within a request.
///
/// Source: Bedrock Runtime API, `DocumentBlock.name`.
fn document_name(name: Option<&str>, number: usize) -> String {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '(' | ')' | '[' | ']');
    let mapped: String = name.unwrap_or_default().chars().map(|c| if fine(c) { c } else { ' ' }).collect();
    let mut words: Vec<&str> = mapped.split_whitespace().collect();
    let number = number.to_string();
    if words.is_empty() {
        words.push("document");
    }
    if number != "1" {
        words.push(&number);
    }
    words.join(" ")
}

/// Ids have at most 64 letters, digits, `_`, `-`, `.` and `:`; others are mapped, alike in call and result.
///
/// Source: Bedrock Runtime API, `ToolUseBlock.toolUseId`.
fn safe_id(id: &str) -> String {
    const LONGEST: usize = 64;
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    if !id.is_empty() && id.len() <= LONGEST && id.chars().all(fine) {
        return id.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let head: String = id.chars().map(|c| if fine(c) { c } else { '_' }).take(LONGEST - 17).collect();
    format!("{head}_{:016x}", hasher.finish())
}
