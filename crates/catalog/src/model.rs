//! One catalogue entry, typed where the gateway acts on it and raw for the rest.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::price::members::Members;
use crate::price::{BadPrice, Prices};

/// What kind of model it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words of the price list, which say what they mean")]
pub enum Mode {
    Chat,
    Responses,
    Completion,
    Embedding,
    ImageGeneration,
    ImageEdit,
    AudioTranscription,
    AudioSpeech,
    VideoGeneration,
    Realtime,
    Rerank,
    Ocr,
    Search,
    Moderation,
    Evaluation,
    Extraction,
    VectorStore,
    Guardrail,
    /// A word of a newer list.
    #[serde(other)]
    Other,
}

/// Why an entry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadEntry {
    /// Not a JSON object.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A price that cannot be read.
    #[error(transparent)]
    Price(#[from] BadPrice),
}

/// What is known of one model: identity, limits, capabilities and prices.
#[derive(Debug, Clone)]
pub struct ModelInfo {
    /// The catalogue key it was found under; for pattern rules, the name asked for.
    pub key: Box<str>,
    /// `litellm_provider`, e.g. `vertex_ai-anthropic_models`.
    pub listed_provider: Option<Box<str>>,
    /// The kind of model; absent on rows that price a whole size class.
    pub mode: Option<Mode>,
    /// Context limit, tokens.
    pub max_input_tokens: Option<u64>,
    /// Output limit, tokens.
    pub max_output_tokens: Option<u64>,
    /// Legacy limit: of the output when known, else of the input.
    pub max_tokens: Option<u64>,
    /// Embedding dimension.
    pub output_vector_size: Option<u64>,
    /// Shortest prefix the provider caches, tokens.
    pub prompt_cache_min_tokens: Option<u64>,
    /// Provider's default limit, requests per minute.
    pub rpm: Option<u64>,
    /// Provider's default limit, tokens per minute.
    pub tpm: Option<u64>,
    /// What it costs.
    pub prices: Prices,
    /// Boolean members (`supports_*` and switches), sorted by name.
    flags: Vec<(Box<str>, bool)>,
    /// The entry as it is written in the list: a JSON object.
    raw: Cow<'static, str>,
}

impl ModelInfo {
    /// Reads one entry of the list.
    pub fn parse(key: &str, raw: Cow<'static, str>) -> Result<Self, BadEntry> {
        let mut info = Self::bare(key);
        let members: Members<'_> = serde_json::from_str(&raw)?;
        for (name, value) in members.iter() {
            info.member(name, value)?;
        }
        info.flags.sort();
        info.raw = raw;
        Ok(info)
    }

    /// An entry about which nothing is known.
    pub(crate) fn bare(key: &str) -> Self {
        Self {
            key: key.into(),
            listed_provider: None,
            mode: None,
            max_input_tokens: None,
            max_output_tokens: None,
            max_tokens: None,
            output_vector_size: None,
            prompt_cache_min_tokens: None,
            rpm: None,
            tpm: None,
            prices: Prices::default(),
            flags: Vec::new(),
            raw: Cow::Borrowed("{}"),
        }
    }

    fn member(&mut self, name: &str, value: &RawValue) -> Result<(), BadEntry> {
        match name {
            "litellm_provider" => self.listed_provider = serde_json::from_str(value.get()).ok(),
            "mode" => self.mode = serde_json::from_str(value.get()).ok(),
            "max_input_tokens" => self.max_input_tokens = count(value),
            "max_output_tokens" => self.max_output_tokens = count(value),
            "max_tokens" => self.max_tokens = count(value),
            "output_vector_size" => self.output_vector_size = count(value),
            "prompt_cache_min_tokens" => self.prompt_cache_min_tokens = count(value),
            "rpm" => self.rpm = count(value),
            "tpm" => self.tpm = count(value),
            _ => match value.get() {
                "true" => self.flags.push((name.into(), true)),
                "false" => self.flags.push((name.into(), false)),
                _ => {
                    self.prices.read(name, value)?;
                }
            },
        }
        Ok(())
    }

    /// A boolean member; `None` when the list does not say.
    pub fn flag(&self, name: &str) -> Option<bool> {
        let at = self.flags.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.flags.get(at).map(|(_, value)| *value)
    }

    /// True when the list says so; what it does not say counts as no.
    pub fn supports(&self, capability: &str) -> bool {
        self.flag(capability).unwrap_or(false)
    }

    /// All boolean members, sorted by name.
    pub fn flags(&self) -> impl Iterator<Item = (&str, bool)> {
        self.flags.iter().map(|(name, value)| (&**name, *value))
    }

    /// Sets a boolean member that the entry does not state; used by pattern rules.
    pub(crate) fn fill(&mut self, name: &str, value: bool) {
        if let Err(at) = self.flags.binary_search_by(|(known, _)| (**known).cmp(name)) {
            self.flags.insert(at, (name.into(), value));
        }
    }

    /// The entry as JSON text, as it stands in the list. Members filled in by rules are not in it.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// One member of the entry as JSON, for those that have no field here.
    pub fn json(&self, name: &str) -> Option<serde_json::Value> {
        let members: Members<'_> = serde_json::from_str(&self.raw).ok()?;
        members.get(name).and_then(|value| serde_json::from_str(value.get()).ok())
    }

    /// The name of the provider row this entry belongs to.
    pub fn provider_name(&self) -> Option<&str> {
        self.listed_provider.as_deref().map(row_of)
    }
}

/// The provider row behind a `litellm_provider` word: families of one provider share its row.
pub(crate) fn row_of(listed: &str) -> &str {
    if listed.starts_with("vertex_ai-") {
        return "vertex_ai";
    }
    match listed {
        "bedrock_converse" => "bedrock",
        "fireworks_ai-embedding-models" => "fireworks_ai",
        other => other,
    }
}

/// Limits are whole numbers, some written as floats (`1000000.0`); anything else counts as unknown.
fn count(value: &RawValue) -> Option<u64> {
    let text = value.get().trim_matches('"');
    let whole = text.strip_suffix(".0").unwrap_or(text);
    whole.parse().ok()
}
