//! What one answer consumed, in one shape for every provider.

use serde::{Deserialize, Serialize};

use crate::PicoUsd;

/// Tokens and other billed units of one answer.
///
/// `input` and `output` are totals; the other token counts say what part of those totals was of a
/// special kind, so `input - cache_read - cache_write()` is what was processed afresh. Providers that
/// report the parts beside the total (Anthropic, Bedrock) are converted to this form by their codec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// All prompt tokens, cached ones included.
    pub input: u64,
    /// Prompt tokens read from the provider's prompt cache; part of `input`.
    pub cache_read: u64,
    /// Tokens written to a prompt cache that lives five minutes (or whose life is unknown); part of `input`.
    pub cache_write_5m: u64,
    /// Tokens written to a prompt cache that lives one hour; part of `input`.
    ///
    /// Source: Anthropic Messages API, "Prompt caching", `cache_creation.ephemeral_1h_input_tokens`.
    pub cache_write_1h: u64,
    /// Audio tokens of the prompt; part of `input`.
    pub input_audio: u64,
    /// Image tokens of the prompt; part of `input`.
    pub input_image: u64,
    /// Video tokens of the prompt; part of `input`.
    pub input_video: u64,
    /// All generated tokens, reasoning included.
    pub output: u64,
    /// Tokens spent on reasoning; part of `output`.
    pub reasoning: u64,
    /// Audio tokens generated; part of `output`.
    pub output_audio: u64,
    /// Image tokens generated; part of `output`.
    pub output_image: u64,
    /// Predicted-output tokens that were used; part of `output`.
    pub accepted_prediction: u64,
    /// Predicted-output tokens that were generated but thrown away; part of `output`.
    pub rejected_prediction: u64,
    /// Web searches the provider ran for this answer.
    pub web_searches: u64,
    /// Citation tokens billed apart from output (Perplexity).
    pub citation: u64,
    /// Searches billed as such: a ranking of documents is one or several.
    #[serde(skip_serializing_if = "is_zero")]
    pub queries: u64,
    /// Milliseconds of speech, where that is what is billed.
    #[serde(skip_serializing_if = "is_zero")]
    pub audio_ms: u64,
    /// The service tier the provider says it used, e.g. `priority`, `flex`, `batch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    /// What the answer costs by the provider's own word, where that counts; else prices make the cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stated_cost: Option<PicoUsd>,
    /// True when the provider gave no figures and these were counted by us.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    /// The provider's usage object as it came, as JSON text.
    #[serde(skip)]
    pub raw: AsTold,
}

/// A provider's own words for figures. Two sets of figures that say the same are equal, however they were told.
#[derive(Debug, Clone, Default)]
pub struct AsTold(pub Option<Box<str>>);

impl PartialEq for AsTold {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for AsTold {}

impl From<String> for AsTold {
    fn from(text: String) -> Self {
        Self(Some(text.into()))
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Usage {
    /// Tokens written to a prompt cache of any lifetime.
    pub fn cache_write(&self) -> u64 {
        self.cache_write_5m.saturating_add(self.cache_write_1h)
    }

    /// Prompt tokens neither read from nor written to a prompt cache.
    pub fn input_fresh(&self) -> u64 {
        self.input.saturating_sub(self.cache_read).saturating_sub(self.cache_write())
    }

    /// Input plus output.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// True when nothing was reported.
    pub fn is_empty(&self) -> bool {
        self.input == 0 && self.output == 0 && self.queries == 0 && self.audio_ms == 0
    }

    /// Takes the larger of each count: streams report usage cumulatively, sometimes in pieces.
    pub fn absorb(&mut self, later: &Self) {
        for (mine, theirs) in self.beside(later) {
            *mine = (*mine).max(theirs);
        }
        self.take_words(later);
        self.stated_cost = self.stated_cost.max(later.stated_cost);
        self.estimated |= later.estimated;
    }

    /// Adds what another call used. The service tier is the later one's, if it has any.
    pub fn add(&mut self, later: &Self) {
        for (mine, theirs) in self.beside(later) {
            *mine = mine.saturating_add(theirs);
        }
        self.take_words(later);
        if let Some(cost) = later.stated_cost {
            self.stated_cost = Some(self.stated_cost.unwrap_or(PicoUsd::ZERO) + cost);
        }
        self.estimated |= later.estimated;
    }

    /// What is said in words is what was said last.
    fn take_words(&mut self, later: &Self) {
        if later.service_tier.is_some() {
            self.service_tier.clone_from(&later.service_tier);
        }
        if later.raw.0.is_some() {
            self.raw.clone_from(&later.raw);
        }
    }

    /// Every count, beside that of another.
    fn beside(&mut self, later: &Self) -> [(&mut u64, u64); 17] {
        [
            (&mut self.input, later.input),
            (&mut self.cache_read, later.cache_read),
            (&mut self.cache_write_5m, later.cache_write_5m),
            (&mut self.cache_write_1h, later.cache_write_1h),
            (&mut self.input_audio, later.input_audio),
            (&mut self.input_image, later.input_image),
            (&mut self.input_video, later.input_video),
            (&mut self.output, later.output),
            (&mut self.reasoning, later.reasoning),
            (&mut self.output_audio, later.output_audio),
            (&mut self.output_image, later.output_image),
            (&mut self.accepted_prediction, later.accepted_prediction),
            (&mut self.rejected_prediction, later.rejected_prediction),
            (&mut self.web_searches, later.web_searches),
            (&mut self.citation, later.citation),
            (&mut self.queries, later.queries),
            (&mut self.audio_ms, later.audio_ms),
        ]
    }
}
