//! The names of price fields, taken apart once: what is priced, above which prompt size, on which tier.

/// Declares [`PriceKind`] with the field name of each variant.
macro_rules! kinds {
    ($( $(#[$meta:meta])* $name:ident = $field:literal , )+) => {
        /// What a price is for. Units are those of the price list: per token, second, image, ...
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum PriceKind {
            $( $(#[$meta])* #[doc = concat!("`", $field, "`")] $name, )+
        }

        const FIELDS: &[(&str, PriceKind)] = &[ $( ($field, PriceKind::$name), )+ ];

        impl PriceKind {
            /// The base field name, without threshold and tier.
            pub fn field(self) -> &'static str {
                match self { $( Self::$name => $field, )+ }
            }
        }
    };
}

kinds! {
    InputToken = "input_cost_per_token",
    OutputToken = "output_cost_per_token",
    ReasoningToken = "output_cost_per_reasoning_token",
    CitationToken = "citation_cost_per_token",
    CacheRead = "cache_read_input_token_cost",
    CacheWrite = "cache_creation_input_token_cost",
    CacheWrite1h = "cache_creation_input_token_cost_above_1hr",
    CacheReadExplicit = "explicit_cache_read_input_token_cost",
    CacheHit = "input_cost_per_token_cache_hit",
    InputAudioToken = "input_cost_per_audio_token",
    OutputAudioToken = "output_cost_per_audio_token",
    CacheReadAudio = "cache_read_input_audio_token_cost",
    CacheWriteAudio = "cache_creation_input_audio_token_cost",
    InputImageToken = "input_cost_per_image_token",
    OutputImageToken = "output_cost_per_image_token",
    CacheReadImage = "cache_read_input_image_token_cost",
    InputVideoToken = "input_cost_per_video_token",
    OutputVideoToken = "output_cost_per_video_token",
    InputCharacter = "input_cost_per_character",
    OutputCharacter = "output_cost_per_character",
    InputSecond = "input_cost_per_second",
    OutputSecond = "output_cost_per_second",
    OutputSecond480p = "output_cost_per_second_480p",
    OutputSecond720p = "output_cost_per_second_720p",
    OutputSecond768p = "output_cost_per_second_768p",
    OutputSecond1080p = "output_cost_per_second_1080p",
    OutputSecond2k = "output_cost_per_second_2k",
    OutputSecond4k = "output_cost_per_second_4k",
    InputAudioSecond = "input_cost_per_audio_per_second",
    InputVideoSecond = "input_cost_per_video_per_second",
    InputVideoSecondAbove8s = "input_cost_per_video_per_second_above_8s_interval",
    InputVideoSecondAbove15s = "input_cost_per_video_per_second_above_15s_interval",
    OutputVideoSecond = "output_cost_per_video_per_second",
    InputImage = "input_cost_per_image",
    OutputImage = "output_cost_per_image",
    OutputImage512 = "output_cost_per_image_512",
    OutputImage1024 = "output_cost_per_image_1024",
    OutputImage1536 = "output_cost_per_image_1536",
    OutputImageHalfK = "output_cost_per_image_0.5K",
    OutputImage1K = "output_cost_per_image_1K",
    OutputImage2K = "output_cost_per_image_2K",
    OutputImage4K = "output_cost_per_image_4K",
    InputPixel = "input_cost_per_pixel",
    OutputPixel = "output_cost_per_pixel",
    Query = "input_cost_per_query",
    Request = "input_cost_per_request",
    TextMessage = "input_cost_per_text_message",
    ProvisionedSecond = "cost_per_second",
    InputDbu = "input_dbu_cost_per_token",
    OutputDbu = "output_dbu_cost_per_token",
    OcrPage = "ocr_cost_per_page",
    OcrCredit = "ocr_cost_per_credit",
    AnnotationPage = "annotation_cost_per_page",
    CodeInterpreterSession = "code_interpreter_cost_per_session",
    MapsQuery = "google_maps_grounding_cost_per_query",
}

impl PriceKind {
    /// The kind of a base field name.
    pub fn of_field(field: &str) -> Option<Self> {
        FIELDS.iter().find(|(name, _)| *name == field).map(|(_, kind)| *kind)
    }

    /// Base field names of all kinds.
    pub fn fields() -> impl Iterator<Item = &'static str> {
        FIELDS.iter().map(|(name, _)| *name)
    }
}

/// The terms a request ran under, as far as prices differ by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ServiceTier {
    /// No special terms.
    #[default]
    Standard,
    /// Faster, dearer.
    Priority,
    /// Slower, cheaper.
    Flex,
    /// Between flex and standard.
    Balanced,
    /// Fastest.
    Ultrafast,
    /// Batch jobs.
    Batch,
    /// The decisions route.
    Decisions,
}

const TIERS: &[(&str, ServiceTier)] = &[
    ("_priority", ServiceTier::Priority),
    ("_flex", ServiceTier::Flex),
    ("_balanced", ServiceTier::Balanced),
    ("_ultrafast", ServiceTier::Ultrafast),
    ("_batches", ServiceTier::Batch),
    ("_decisions", ServiceTier::Decisions),
];

impl ServiceTier {
    /// Reads the word a provider or a request uses; `auto`, `default` and unknown words are standard.
    pub fn from_word(word: &str) -> Self {
        match word {
            // `fast` is Anthropic's and Bedrock's word for what the list calls priority.
            "priority" | "fast" => Self::Priority,
            "flex" => Self::Flex,
            "balanced" => Self::Balanced,
            "ultrafast" => Self::Ultrafast,
            "batch" | "batches" => Self::Batch,
            "decisions" => Self::Decisions,
            _ => Self::Standard,
        }
    }
}

/// One price field: its kind and the conditions in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PriceKey {
    /// What is priced.
    pub kind: PriceKind,
    /// Applies when the prompt has more than this many thousand tokens; 0 = always.
    pub above_k: u32,
    /// On which terms.
    pub tier: ServiceTier,
}

impl PriceKey {
    /// The price without conditions.
    pub fn flat(kind: PriceKind) -> Self {
        Self { kind, above_k: 0, tier: ServiceTier::Standard }
    }

    /// Takes a field name such as `input_cost_per_token_above_200k_tokens_priority` apart.
    pub fn parse(field: &str) -> Option<Self> {
        let (rest, tier) = TIERS
            .iter()
            .find_map(|(suffix, tier)| field.strip_suffix(suffix).map(|rest| (rest, *tier)))
            .unwrap_or((field, ServiceTier::Standard));
        let (base, above_k) = match rest.strip_suffix("k_tokens").and_then(|head| head.rsplit_once("_above_"))
        {
            Some((base, thousands)) => (base, thousands.parse().ok()?),
            None => (rest, 0),
        };
        PriceKind::of_field(base).map(|kind| Self { kind, above_k, tier })
    }
}
