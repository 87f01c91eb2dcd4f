//! What besides usage decides the price of a request.

use std::time::Duration;

use faregate_terms::{BadAmount, PicoUsd, Price};

use crate::price::ServiceTier;

/// An exact factor or fraction, e.g. 0.05 is 1/20.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    numerator: i128,
    denominator: i128,
}

impl Ratio {
    /// Reads decimal text, e.g. `0.05`.
    pub fn parse(text: &str) -> Result<Self, BadAmount> {
        Price::parse(text).map(Self::of)
    }

    /// A factor that was read as a decimal number.
    pub fn of(decimal: Price) -> Self {
        const ONE: i128 = 1_000_000_000_000_000_000;
        // Reduced, so that products with large amounts stay in range.
        let divisor = greatest_common_divisor(decimal.atto(), ONE);
        Self { numerator: decimal.atto() / divisor, denominator: ONE / divisor }
    }

    pub(super) fn of_price(self, price: Price) -> Price {
        price.scaled(self.numerator, self.denominator)
    }

    pub(super) fn of_amount(self, amount: PicoUsd) -> PicoUsd {
        amount.scaled(self.numerator, self.denominator)
    }
}

fn greatest_common_divisor(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i128::try_from(a).unwrap_or(1).max(1)
}

/// What is added to the discounted cost (`cost_margin_config`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Margin {
    /// Fraction of the cost.
    pub fraction: Ratio,
    /// Fixed amount per request.
    pub fixed: PicoUsd,
}

/// A data-residency host of the provider (OpenAI `eu.` and `us.`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataRegion {
    /// European Union.
    Eu,
    /// United States.
    Us,
}

/// How much context a web search fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SearchSize {
    /// Little.
    Low,
    /// The default of providers.
    #[default]
    Medium,
    /// Much.
    High,
}

/// Resolution of a generated video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "resolutions name themselves")]
pub enum Resolution {
    P480,
    P720,
    P768,
    P1080,
    K2,
    K4,
}

/// Size of a generated image, where the price depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "sizes name themselves: pixels of the longer side, or thousands of them")]
pub enum ImageSize {
    Px512,
    Px1024,
    Px1536,
    HalfK,
    K1,
    K2,
    K4,
}

/// Billed quantities other than tokens. Fill in only what the operation bills by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Units {
    /// Calls; 1 unless several upstream calls made one answer.
    pub requests: u64,
    /// Characters read.
    pub input_characters: u64,
    /// Characters spoken or written.
    pub output_characters: u64,
    /// Seconds of audio transcribed or of compute used.
    pub seconds: Duration,
    /// Seconds of audio in the input of an embedding.
    pub input_audio: Duration,
    /// Seconds of video in the input of an embedding.
    pub input_video: Duration,
    /// Seconds of video generated.
    pub video: Duration,
    /// Resolution of that video.
    pub resolution: Option<Resolution>,
    /// Images read.
    pub input_images: u64,
    /// Images generated.
    pub images: u64,
    /// Their size.
    pub image_size: Option<ImageSize>,
    /// Pixels read.
    pub input_pixels: u64,
    /// Pixels generated.
    pub output_pixels: u64,
    /// Rerank or search queries.
    pub queries: u64,
    /// Results asked of a search; selects the tier of per-query prices.
    pub max_results: u64,
    /// Pages recognised.
    pub pages: u64,
    /// Pages annotated.
    pub annotated_pages: u64,
    /// Credits of a document service.
    pub credits: u64,
    /// Text messages of a realtime session.
    pub text_messages: u64,
    /// Code interpreter sessions opened.
    pub code_sessions: u64,
    /// Queries grounded in maps.
    pub maps_queries: u64,
}

impl Default for Units {
    fn default() -> Self {
        Self {
            requests: 1,
            input_characters: 0,
            output_characters: 0,
            seconds: Duration::ZERO,
            input_audio: Duration::ZERO,
            input_video: Duration::ZERO,
            video: Duration::ZERO,
            resolution: None,
            input_images: 0,
            images: 0,
            image_size: None,
            input_pixels: 0,
            output_pixels: 0,
            queries: 0,
            max_results: 0,
            pages: 0,
            annotated_pages: 0,
            credits: 0,
            text_messages: 0,
            code_sessions: 0,
            maps_queries: 0,
        }
    }
}

/// The circumstances of a request, as far as prices depend on them.
#[derive(Debug, Clone, Default)]
pub struct CostContext<'a> {
    /// Row name of the provider that answered.
    pub provider: &'a str,
    /// The terms it ran on. Absent: what the usage says the provider used.
    pub tier: Option<ServiceTier>,
    /// When it ran, seconds since 1970 UTC; off-peak prices depend on it.
    pub unix_seconds: i64,
    /// Prompt size that decides thresholds, when it is not the usage's input.
    pub prompt_tokens: Option<u64>,
    /// Inference geography or speed words that have a factor (`us`, `fast`).
    pub factors: &'a [&'a str],
    /// Data-residency host the request went to.
    pub data_region: Option<DataRegion>,
    /// True on a Vertex location other than `global`.
    pub regional_endpoint: bool,
    /// Context size of web searches.
    pub search_size: SearchSize,
    /// Quantities other than tokens.
    pub units: Units,
    /// Fraction taken off (`cost_discount_config` of the provider).
    pub discount: Option<Ratio>,
    /// What is added (`cost_margin_config` of the provider or `global`).
    pub margin: Option<Margin>,
}
