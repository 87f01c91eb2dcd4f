//! What a provider's row asks of a request's body that no codec does: small changes to an OpenAI-shaped
//! body after it has been rendered.
//!
//! Which mends a destination needs is decided once, from its row, its model and the catalogue. Source of
//! each rule: compat, providers §3.

use faregate_catalog::{ModelInfo, Provider, Quirk};
use faregate_wire::dialect::BadRequest;
use serde_json::{Map, Value, json};

use crate::refusal::Refusal;

/// Model families that take cache marks through OpenRouter, in the message's content.
const CACHE_IN_CONTENT: &[&str] = &["claude", "gemini", "minimax", "glm", "z-ai"];
/// Stands for 0 where 0 is refused.
const NEARLY_ZERO: f64 = 0.0001;
/// Together's models whose reasoning can be lowered but not switched off.
const ALWAYS_REASONING: &[&str] = &["openai/gpt-oss-120b", "openai/gpt-oss-20b"];
/// Together's models that know the efforts `high` and `max` only.
const HIGH_OR_MAX: &str = "deepseek-ai/DeepSeek-V4-Pro";
/// Sail's completion windows by OpenAI's service tier; `auto` leaves the choice to Sail.
const WINDOWS: &[(&str, Option<&str>)] = &[
    ("auto", None),
    ("default", Some("asap")),
    ("priority", Some("asap")),
    ("flex", Some("flex")),
    ("balanced", Some("balanced")),
];
/// Asks for a tool where no parameter can.
const PICK_A_TOOL: &str = "Please select a tool to handle the current issue.";
/// Makes Magistral write its thoughts where Mistral's answers keep them apart.
const THINK_FIRST: &str = "First draft your thinking process as an inner monologue, in the language of the \
    task, until you have reached an answer. Put it between [THINK] and [/THINK]. Then give a self-contained \
    answer that does not refer to the draft.";

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mend {
    /// Assistant turns that say and call nothing are removed.
    EmptyAssistant,
    /// Cache marks of whole messages move to their last content part.
    CacheIntoContent,
    /// File parts are refused.
    NoFiles,
    /// Only functions stay among the tools.
    FunctionsOnly,
    /// Only `auto` and `none` are sent as tool choice; others are dropped or refused.
    ChoiceAutoOrNone,
    /// `required` becomes a request in words.
    ChoiceByPrompt,
    /// `temperature` is removed.
    NoTemperature,
    /// `temperature` 0 becomes a very small one.
    TemperatureAboveZero,
    /// `reasoning_effort` max becomes xhigh.
    MaxToXhigh,
    /// Together's words for effort; the efforts the catalogue knows the model to take go unchanged.
    EffortToReasoning { known: Vec<&'static str>, scale: Scale },
    /// `thinking` goes on as the client wrote it.
    ThinkingAsWritten,
    /// The `type` of `thinking` goes on as the client wrote it; models that only know adaptive get that.
    ThinkingType { adaptive_only: bool },
    /// Effort becomes a system prompt that asks for thoughts.
    ThinkByPrompt,
    /// With an output format the answer is asked for whole.
    NoStreamWithFormat,
    /// Output formats other than a schema are removed.
    SchemaOnly,
    /// vLLM's guided decoding becomes an output format.
    GuidedToFormat,
    /// `service_tier` becomes a completion window.
    TierToWindow,
}

/// Which words of effort a model at Together knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Low to high.
    LowToHigh,
    /// The same, and reasoning cannot be switched off.
    NeverOff,
    /// High and max.
    HighOrMax,
}

/// What the client wrote, as far as a mend must know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// `thinking` of a client that speaks chat completions.
    pub(crate) thinking: Option<&'a Value>,
    /// What is not taken may be dropped instead of refused.
    pub(crate) may_drop: bool,
    /// The provider, for messages.
    pub(crate) provider: &'a str,
    /// The model, for messages.
    pub(crate) model: &'a str,
}

impl Wish<'_> {
    fn unsupported(&self, param: &str) -> Refusal {
        Refusal::UnsupportedParams {
            provider: self.provider.to_owned(),
            model: self.model.to_owned(),
            params: vec![param.to_owned()],
        }
    }
}

/// The mends of `model` at `provider`.
pub(super) fn of(provider: &Provider, model: &str, info: Option<&ModelInfo>) -> Vec<Mend> {
    provider.quirks.iter().filter_map(|quirk| mend(*quirk, model, info)).collect()
}

/// True if cache marks are worth keeping for this model at a router that moves them into the content.
pub(super) fn caches_in_content(model: &str) -> bool {
    let model = model.to_ascii_lowercase();
    CACHE_IN_CONTENT.iter().any(|family| model.contains(family))
}

fn mend(quirk: Quirk, model: &str, info: Option<&ModelInfo>) -> Option<Mend> {
    let supports = |name: &str| info.is_some_and(|info| info.supports(name));
    Some(match quirk {
        Quirk::DropEmptyAssistant => Mend::EmptyAssistant,
        Quirk::CacheControlIntoContent => Mend::CacheIntoContent,
        Quirk::RefuseFileParts => Mend::NoFiles,
        Quirk::DropNonFunctionTools => Mend::FunctionsOnly,
        Quirk::ToolChoiceAutoOrNone => Mend::ChoiceAutoOrNone,
        Quirk::ToolChoiceRequiredToPrompt => Mend::ChoiceByPrompt,
        Quirk::TemperatureDroppedWhenReasoning if supports("supports_reasoning") => Mend::NoTemperature,
        Quirk::TemperatureNeverZero(only) if only == model => Mend::TemperatureAboveZero,
        Quirk::EffortMaxToXhigh => Mend::MaxToXhigh,
        Quirk::EffortToReasoningObject => Mend::EffortToReasoning {
            known: ["minimal", "low", "medium", "high", "xhigh", "max"]
                .into_iter()
                .filter(|word| supports(&format!("supports_{word}_reasoning_effort")))
                .collect(),
            scale: if ALWAYS_REASONING.contains(&model) {
                Scale::NeverOff
            } else if model.starts_with(HIGH_OR_MAX) {
                Scale::HighOrMax
            } else {
                Scale::LowToHigh
            },
        },
        Quirk::ThinkingToExtraBody => Mend::ThinkingAsWritten,
        Quirk::EffortToThinkingType => {
            Mend::ThinkingType { adaptive_only: supports("supports_adaptive_thinking") }
        }
        Quirk::MagistralReasoningPrompt if model.to_ascii_lowercase().contains("magistral") => {
            Mend::ThinkByPrompt
        }
        Quirk::ResponseFormatSimulatesStream => Mend::NoStreamWithFormat,
        Quirk::ResponseFormatJsonSchemaOnly => Mend::SchemaOnly,
        Quirk::GuidedToResponseFormat => Mend::GuidedToFormat,
        Quirk::ServiceTierToCompletionWindow => Mend::TierToWindow,
        _ => return None,
    })
}

impl Mend {
    /// Changes a rendered body.
    ///
    /// # Errors
    /// 400 for what the provider does not take and nobody allowed to drop.
    pub(crate) fn apply(&self, body: &mut Map<String, Value>, wish: Wish<'_>) -> Result<(), Refusal> {
        match self {
            Self::EmptyAssistant => {
                if let Some(turns) = turns(body) {
                    turns.retain(|turn| !says_nothing(turn));
                }
            }
            Self::CacheIntoContent => turns(body).into_iter().flatten().for_each(cache_into_content),
            Self::NoFiles => return no_files(body, wish),
            Self::FunctionsOnly => functions_only(body),
            Self::ChoiceAutoOrNone => return choice_auto_or_none(body, wish),
            Self::ChoiceByPrompt => choice_by_prompt(body),
            Self::NoTemperature => drop(body.shift_remove("temperature")),
            Self::TemperatureAboveZero => {
                if let Some(value) = body.get_mut("temperature").filter(|value| value.as_f64() == Some(0.0)) {
                    *value = json!(NEARLY_ZERO);
                }
            }
            Self::MaxToXhigh => {
                if let Some(effort) = body.get_mut("reasoning_effort").filter(|effort| *effort == "max") {
                    *effort = json!("xhigh");
                }
            }
            Self::EffortToReasoning { known, scale } => effort(body, known, *scale),
            Self::ThinkingAsWritten => {
                if let Some(thinking) = wish.thinking {
                    body.insert("thinking".to_owned(), thinking.clone());
                    body.shift_remove("reasoning_effort");
                }
            }
            Self::ThinkingType { adaptive_only } => thinking_type(body, wish, *adaptive_only),
            Self::ThinkByPrompt => think_by_prompt(body),
            Self::NoStreamWithFormat => {
                if body.contains_key("response_format") {
                    body.shift_remove("stream");
                    body.shift_remove("stream_options");
                }
            }
            Self::SchemaOnly => {
                let kind = body.get("response_format").and_then(|format| format.get("type"));
                if kind.is_some_and(|kind| kind != "json_schema") {
                    body.shift_remove("response_format");
                }
            }
            Self::GuidedToFormat => guided(body),
            Self::TierToWindow => return tier(body, wish),
        }
        Ok(())
    }
}

/// The conversation; bodies rendered by the codec always have one.
fn turns(body: &mut Map<String, Value>) -> Option<&mut Vec<Value>> {
    body.get_mut("messages").and_then(Value::as_array_mut)
}

fn says_nothing(message: &Value) -> bool {
    let is_empty = |name: &str| match message.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    };
    message.get("role").is_some_and(|role| role == "assistant")
        && ["content", "tool_calls", "function_call", "refusal"].into_iter().all(is_empty)
}

fn cache_into_content(message: &mut Value) {
    let Value::Object(members) = message else { return };
    let Some(mark) = members.shift_remove("cache_control") else { return };
    match members.get_mut("content") {
        Some(Value::Array(items)) => {
            if let Some(Value::Object(last)) = items.last_mut() {
                last.insert("cache_control".to_owned(), mark);
            }
        }
        Some(Value::String(text)) => {
            let part = json!([{"type": "text", "text": text, "cache_control": mark}]);
            members.insert("content".to_owned(), part);
        }
        _ => {}
    }
}

fn no_files(body: &mut Map<String, Value>, wish: Wish<'_>) -> Result<(), Refusal> {
    for (index, turn) in turns(body).into_iter().flatten().enumerate() {
        let parts = turn.get("content").and_then(Value::as_array).into_iter().flatten();
        for (place, part) in parts.enumerate() {
            if part.get("type").is_some_and(|kind| kind == "file") {
                let at = format!("messages[{index}].content[{place}]");
                let text = format!(
                    "{at}: provider `{}` takes no files; send the text of the document instead",
                    wish.provider
                );
                return Err(BadRequest::new(at, text).into());
            }
        }
    }
    Ok(())
}

fn functions_only(body: &mut Map<String, Value>) {
    let Some(Value::Array(tools)) = body.get_mut("tools") else { return };
    tools.retain(|tool| tool.get("type").is_some_and(|kind| kind == "function"));
    if tools.is_empty() {
        body.shift_remove("tools");
        body.shift_remove("tool_choice");
    }
}

fn choice_auto_or_none(body: &mut Map<String, Value>, wish: Wish<'_>) -> Result<(), Refusal> {
    let Some(choice) = body.get("tool_choice") else { return Ok(()) };
    if choice == "auto" || choice == "none" {
        return Ok(());
    }
    if !wish.may_drop {
        return Err(wish.unsupported("tool_choice"));
    }
    body.shift_remove("tool_choice");
    Ok(())
}

fn choice_by_prompt(body: &mut Map<String, Value>) {
    if body.get("tool_choice").is_some_and(|choice| choice == "required") {
        body.shift_remove("tool_choice");
        if let Some(turns) = turns(body) {
            turns.push(json!({"role": "user", "content": PICK_A_TOOL}));
        }
    }
}

fn effort(body: &mut Map<String, Value>, known: &[&str], scale: Scale) {
    let Some(Value::String(word)) = body.shift_remove("reasoning_effort") else { return };
    let word = match (word.as_str(), scale) {
        ("default", _) => return,
        ("none", Scale::NeverOff) => "low",
        ("none", _) => {
            body.insert("reasoning".to_owned(), json!({"enabled": false}));
            return;
        }
        (word, _) if known.contains(&word) => word,
        ("minimal" | "low" | "medium", Scale::HighOrMax) => "high",
        ("xhigh", Scale::HighOrMax) => "max",
        ("minimal", _) => "low",
        ("xhigh" | "max", Scale::LowToHigh | Scale::NeverOff) => "high",
        (word, _) => word,
    };
    body.insert("reasoning_effort".to_owned(), json!(word));
}

fn thinking_type(body: &mut Map<String, Value>, wish: Wish<'_>, adaptive_only: bool) {
    let Some(Value::Object(thinking)) = body.get_mut("thinking") else { return };
    let written = wish.thinking.and_then(|thinking| thinking.get("type"));
    if let Some(kind) = written {
        thinking.insert("type".to_owned(), kind.clone());
    }
    if adaptive_only && thinking.get("type").is_some_and(|kind| kind == "enabled") {
        thinking.insert("type".to_owned(), json!("adaptive"));
    }
}

fn think_by_prompt(body: &mut Map<String, Value>) {
    let wishes = body.shift_remove("reasoning_effort").is_some_and(|effort| effort != "none");
    let Some(turns) = turns(body).filter(|_| wishes) else { return };
    let system = turns.iter_mut().find(|turn| turn.get("role").is_some_and(|role| role == "system"));
    match system.and_then(|turn| turn.get_mut("content")) {
        Some(Value::String(text)) => *text = format!("{THINK_FIRST}\n\n{text}"),
        Some(Value::Array(parts)) => parts.insert(0, json!({"type": "text", "text": THINK_FIRST})),
        _ => turns.insert(0, json!({"role": "system", "content": THINK_FIRST})),
    }
}

fn guided(body: &mut Map<String, Value>) {
    let mut take = |name: &str| body.shift_remove(name).filter(|value| !value.is_null());
    let (schema, grammar, choice) = (take("guided_json"), take("guided_grammar"), take("guided_choice"));
    let by_schema = |name: &str, schema: Value| json!({"type": "json_schema", "json_schema": {"name": name, "schema": schema}});
    let format = match (schema, grammar, choice) {
        (Some(schema), _, _) => by_schema("response", schema),
        (None, Some(grammar), _) => json!({"type": "grammar", "grammar": grammar}),
        (None, None, Some(words)) => by_schema("choice", json!({"type": "string", "enum": words})),
        (None, None, None) => return,
    };
    // A format the client asked for in so many words counts more.
    body.entry("response_format").or_insert(format);
}

fn tier(body: &mut Map<String, Value>, wish: Wish<'_>) -> Result<(), Refusal> {
    let own = body.get("metadata").is_some_and(|metadata| metadata.get("completion_window").is_some());
    if own && !wish.may_drop {
        // The price goes by the tier, so a window nobody prices must not slip through.
        let text = "metadata.completion_window: say it by `service_tier` (default, priority, flex, balanced)";
        return Err(BadRequest::new("metadata.completion_window", text).into());
    }
    let tier = body.shift_remove("service_tier");
    let word = tier.as_ref().and_then(Value::as_str).map(str::to_ascii_lowercase);
    let window = match WINDOWS.iter().find(|(name, _)| Some(*name) == word.as_deref()) {
        Some((_, window)) => *window,
        None if tier.is_none() || wish.may_drop => None,
        None => return Err(wish.unsupported("service_tier")),
    };
    if own && let Some(Value::Object(metadata)) = body.get_mut("metadata") {
        metadata.shift_remove("completion_window");
    }
    if let Some(window) = window
        && let Value::Object(metadata) = body.entry("metadata").or_insert_with(|| json!({}))
    {
        metadata.insert("completion_window".to_owned(), json!(window));
    }
    Ok(())
}
