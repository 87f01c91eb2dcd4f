//! Messages and their typed parts.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Extra, Family};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Standing instructions.
    System,
    /// Standing instructions in OpenAI's newer word; a system message everywhere else.
    Developer,
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
    /// The outcome of tool calls. Holds only [`Part::ToolResult`] parts, one or several.
    Tool,
}

/// One turn. Consecutive turns of one role are legal here; codecs merge them where a dialect forbids it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, in order.
    pub parts: Vec<Part>,
    /// OpenAI's participant name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Members we do not interpret.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

impl Message {
    /// A message with one text part.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, parts: vec![Part::text(text)], name: None, extra: Extra::default() }
    }

    /// A message with the given parts.
    pub fn new(role: Role, parts: Vec<Part>) -> Self {
        Self { role, parts, name: None, extra: Extra::default() }
    }
}

/// "Cache the prompt up to and including this part."
///
/// Source: Anthropic Messages API, `cache_control`; Bedrock Converse, `cachePoint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheHint {
    /// `5m` or `1h`; absent means the provider's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
}

/// Opaque state a provider wants back unchanged: a thinking signature, encrypted reasoning, a Gemini
/// `thoughtSignature`. Means something to its own family only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The family whose provider issued it.
    pub family: Family,
    /// The text, exactly as issued.
    pub data: String,
}

/// Where the bytes of an image, audio clip or file are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Media {
    /// Inline, as base64 text (standard alphabet).
    Base64 {
        /// E.g. `image/png`.
        mime: String,
        /// The base64 text.
        data: String,
    },
    /// At an address the provider fetches itself (http(s), gs, s3).
    Url {
        /// The address.
        url: String,
        /// The media type when the sender says it.
        mime: Option<String>,
    },
    /// Uploaded earlier; an id that only one provider knows.
    FileId {
        /// The id.
        id: String,
        /// The family whose files API issued it.
        family: Family,
    },
}

/// One piece of a message, in a request or in an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Plain text.
    Text {
        /// The text.
        text: String,
        /// Citations as OpenAI annotations (`{"type":"url_citation","url_citation":{...}}`); codecs convert.
        annotations: Vec<Value>,
        /// Gemini may sign a text part.
        signature: Option<Signature>,
        /// Cache the prompt up to here.
        cache: Option<CacheHint>,
        /// Members we do not interpret.
        extra: Extra,
    },
    /// A picture.
    Image {
        /// Its bytes.
        media: Media,
        /// OpenAI's `detail`: `low`, `high`, `auto`.
        detail: Option<String>,
        /// Cache the prompt up to here.
        cache: Option<CacheHint>,
        /// Members we do not interpret.
        extra: Extra,
    },
    /// A sound clip.
    Audio {
        /// Its bytes; the media type names the format, e.g. `audio/wav`, `audio/mp3`.
        media: Media,
        /// What is said in it, when the model generated it.
        transcript: Option<String>,
        /// OpenAI's id of a generated clip, by which a later turn refers to it.
        id: Option<String>,
    },
    /// A document: PDF, text, ...
    File {
        /// Its bytes.
        media: Media,
        /// File name or title.
        name: Option<String>,
        /// Cache the prompt up to here.
        cache: Option<CacheHint>,
        /// Members we do not interpret (Anthropic `citations`, `context`; Gemini `videoMetadata`).
        extra: Extra,
    },
    /// The model asks for a tool.
    ToolCall {
        /// The call's id; made up by the codec for dialects without ids.
        id: String,
        /// The tool's name.
        name: String,
        /// JSON text exactly as the model wrote it; empty means no arguments.
        arguments: String,
        /// Gemini signs tool calls.
        signature: Option<Signature>,
        /// Cache the prompt up to here.
        cache: Option<CacheHint>,
        /// Members we do not interpret (server tools: the family's own block type and fields).
        extra: Extra,
    },
    /// What a tool answered.
    ToolResult {
        /// The call it answers.
        id: String,
        /// The tool's name where the dialect says it; codecs that need it look the call up otherwise.
        name: Option<String>,
        /// Text, images and files.
        content: Vec<Part>,
        /// True when the tool failed.
        is_error: bool,
        /// Cache the prompt up to here.
        cache: Option<CacheHint>,
        /// Members we do not interpret.
        extra: Extra,
    },
    /// The model's reasoning, or a summary of it.
    Reasoning {
        /// Readable text; empty when only the opaque form exists.
        text: String,
        /// What the provider wants back.
        signature: Option<Signature>,
        /// True when the provider hid the text: `signature` then holds all there is
        /// (Anthropic `redacted_thinking`, OpenAI `encrypted_content`).
        redacted: bool,
        /// OpenAI Responses' item id (`rs_...`).
        id: Option<String>,
    },
    /// The model declines, in OpenAI's separate channel.
    Refusal {
        /// What it says.
        text: String,
    },
    /// A block of a kind only its own family knows (server tool results, computer calls, code output...).
    Foreign {
        /// Whose block.
        family: Family,
        /// The block, untouched.
        value: Value,
    },
}

impl Part {
    /// A plain text part.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text {
            text: text.into(),
            annotations: Vec::new(),
            signature: None,
            cache: None,
            extra: Extra::default(),
        }
    }

    /// A picture with no further wishes.
    pub fn image(media: Media) -> Self {
        Self::Image { media, detail: None, cache: None, extra: Extra::default() }
    }

    /// A tool call with no further wishes.
    pub fn tool_call(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self::ToolCall {
            id: id.into(),
            name: name.into(),
            arguments: arguments.into(),
            signature: None,
            cache: None,
            extra: Extra::default(),
        }
    }

    /// A tool result with no further wishes.
    pub fn tool_result(id: impl Into<String>, content: Vec<Part>) -> Self {
        Self::ToolResult {
            id: id.into(),
            name: None,
            content,
            is_error: false,
            cache: None,
            extra: Extra::default(),
        }
    }

    /// The loss of a part that a client's dialect has no place for.
    pub fn loss(&self) -> &'static str {
        match self {
            Self::Image { .. } => "content.image",
            Self::Audio { .. } => "content.audio",
            _ => "content.foreign",
        }
    }

    /// The text of a text part.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } => Some(text),
            _ => None,
        }
    }
}
