//! One step of a streamed answer.

use serde_json::Value;

use faregate_terms::{Fault, Usage};

use super::{Extra, Family, FinishReason, Signature};

/// One step of a streamed answer.
///
/// Parts open, grow and close by `part`, a number unique within the stream, and may interleave. A decoder
/// emits `Start` first, `Open` before the first growth of a part, `Close` when the part ends (at the
/// latest before `Finish`), one `Finish` per choice, and `Usage` whenever the provider reports it
/// (cumulative: later figures replace earlier ones).
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The answer begins.
    Start {
        /// The provider's id; empty when it gave none.
        id: String,
        /// The provider's model name; empty when it gave none.
        model: String,
        /// Unix seconds, when the provider says.
        created: Option<i64>,
        /// Members we do not interpret.
        extra: Extra,
    },
    /// A part begins.
    Open {
        /// The alternative it belongs to.
        choice: u32,
        /// Its number, unique within the stream.
        part: u32,
        /// What it is.
        kind: PartKind,
    },
    /// More text of a text or refusal part.
    Text {
        /// Which part.
        part: u32,
        /// The addition.
        delta: String,
    },
    /// More readable reasoning.
    Reasoning {
        /// Which part.
        part: u32,
        /// The addition.
        delta: String,
    },
    /// The opaque state of a reasoning, text or tool-call part (whole, not a piece).
    Signature {
        /// Which part.
        part: u32,
        /// The state.
        signature: Signature,
    },
    /// More of a tool call's arguments.
    Arguments {
        /// Which part.
        part: u32,
        /// A piece of JSON text.
        delta: String,
    },
    /// More of a generated audio or image part.
    Media {
        /// Which part.
        part: u32,
        /// A piece of base64 text.
        data: String,
        /// A piece of what is said in it.
        transcript: String,
    },
    /// A citation of a text part, as an OpenAI annotation.
    Annotation {
        /// Which part.
        part: u32,
        /// The annotation.
        annotation: Value,
    },
    /// OpenAI's `logprobs` object of one chunk, as sent.
    Logprobs {
        /// The alternative it belongs to.
        choice: u32,
        /// The object.
        value: Value,
    },
    /// A part ends.
    Close {
        /// Which part.
        part: u32,
    },
    /// What has been used so far.
    Usage(Usage),
    /// An alternative ends.
    Finish {
        /// Which.
        choice: u32,
        /// Why.
        reason: FinishReason,
        /// The stop text met, when the provider says.
        stop_sequence: Option<String>,
    },
    /// Members we do not interpret that came late (Gemini `groundingMetadata`, ...).
    Extra(Extra),
    /// The provider is alive but has nothing to say yet.
    Ping,
    /// The provider reports an error inside the stream; nothing follows.
    Error(Fault),
}

/// What kind of part opens.
#[derive(Debug, Clone, PartialEq)]
pub enum PartKind {
    /// Text.
    Text,
    /// Reasoning; `id` is OpenAI Responses' item id.
    Reasoning {
        /// The item id.
        id: Option<String>,
    },
    /// Reasoning whose text is hidden; the state is complete.
    Redacted {
        /// The state.
        signature: Signature,
        /// The item id.
        id: Option<String>,
    },
    /// A tool call.
    ToolCall {
        /// Its id; made up by the codec for dialects without ids.
        id: String,
        /// The tool's name.
        name: String,
        /// Members we do not interpret.
        extra: Extra,
    },
    /// OpenAI's refusal channel.
    Refusal,
    /// Generated audio.
    Audio {
        /// OpenAI's id of the clip.
        id: Option<String>,
        /// E.g. `audio/wav`; empty when unknown.
        mime: String,
    },
    /// A generated picture.
    Image {
        /// E.g. `image/png`.
        mime: String,
    },
    /// A complete block of a kind only its own family knows.
    Foreign {
        /// Whose block.
        family: Family,
        /// The block, untouched.
        value: Value,
    },
}
