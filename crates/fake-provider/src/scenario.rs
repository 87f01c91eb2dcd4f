//! What to answer, in words every dialect shares, and how it is asked for.
//!
//! A scenario is chosen, first match wins, by a script (see [`crate::Control`]), by a directive in the last
//! user text (`[[fake: tools=2 delay_ms=10]]`), or by the end of the model's name (`gpt-4o-fake-tools`).

use std::time::Duration;

use crate::failure::{Class, Failure};
use crate::fault::Faults;
use crate::steps::Steps;

/// Token counts of one answer, in OpenAI's way of counting: parts are included in their totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// All prompt tokens, cached ones included.
    pub input: u64,
    /// Prompt tokens read from a cache.
    pub cached: u64,
    /// Prompt tokens written to a cache.
    pub cache_write: u64,
    /// All completion tokens, reasoning included.
    pub output: u64,
    /// Completion tokens spent on reasoning.
    pub reasoning: u64,
}

/// The figures of the `cache` scenario, the same in every dialect.
pub const CACHE_USAGE: Usage =
    Usage { input: 1000, cached: 800, cache_write: 100, output: 50, reasoning: 20 };

/// The kind of answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A text that repeats the last user text.
    Echo,
    /// One tool call; once it has a result, a text that quotes it.
    Tools,
    /// Two tool calls at once; once they have results, a text that quotes them.
    ParallelTools,
    /// Three turns: reasoning, text and two calls; one more call; a text that quotes all results.
    Agent,
    /// Reasoning with a signature, then text.
    Reasoning,
    /// A text naming media type and length in bytes of each image received.
    Image,
    /// An object that fits the schema asked for.
    Json,
    /// A text with the usage of [`CACHE_USAGE`].
    Cache,
    /// A text cut short by the token limit.
    Length,
    /// A text that ended at a stop sequence.
    StopSequence,
    /// A text that the provider's filter cut.
    ContentFilter,
    /// The model declines.
    Refusal,
    /// A text with one citation.
    Citations,
    /// The built-in demonstration model.
    Demo,
}

/// One answer to give: what, and with which faults.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What the answer holds.
    pub kind: Kind,
    /// This text in place of the kind's own.
    pub text: Option<String>,
    /// Reasoning in front of the answer.
    pub reasoning: bool,
    /// How many tool calls, in place of the kind's own number.
    pub calls: Option<usize>,
    /// How many text deltas; the text is then made up to that length.
    pub events: Option<usize>,
    /// An upstream error in place of an answer.
    pub failure: Option<Failure>,
    /// What to do turn by turn, in place of the kind's own answer.
    pub steps: Option<Steps>,
    /// These token counts in place of estimated ones.
    pub usage: Option<Usage>,
    /// What goes wrong on the way.
    pub faults: Faults,
}

impl Default for Scenario {
    fn default() -> Self {
        Self::of(Kind::Echo)
    }
}

impl Scenario {
    /// A faultless answer of this kind.
    pub fn of(kind: Kind) -> Self {
        Self {
            kind,
            text: None,
            reasoning: matches!(kind, Kind::Reasoning),
            calls: None,
            events: None,
            failure: None,
            steps: None,
            usage: (kind == Kind::Cache).then_some(CACHE_USAGE),
            faults: Faults::default(),
        }
    }

    /// Exactly this text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    /// An upstream error.
    pub fn failing(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }

    /// The scenario of a name such as `tools`, `error-429` or `stream-60`; `None` for an unknown one.
    pub fn named(name: &str) -> Option<Self> {
        if let Some(kind) = kind_named(name) {
            return Some(Self::of(kind));
        }
        if let Some(word) = name.strip_prefix("error-") {
            return failure_named(word).map(Self::failing);
        }
        if let Some(count) = name.strip_prefix("stream-").and_then(|n| n.parse().ok()) {
            return Some(Self { events: Some(count), ..Self::default() });
        }
        if let Some(count) = name.strip_prefix("slow-stream-").and_then(|n| n.parse().ok()) {
            let faults = Faults { delay: Duration::from_secs(1), ..Faults::default() };
            return Some(Self { events: Some(count), faults, ..Self::default() });
        }
        faults_named(name).map(|faults| Self { events: Some(8), faults, ..Self::default() })
    }

    /// The scenario a model's name asks for by `fake-<scenario>`, wherever a prefix or version surrounds it.
    pub fn of_model(model: &str) -> Option<Self> {
        let at = model.rfind("fake-")?;
        let name = &model[at + "fake-".len()..];
        // Bedrock and Vertex put versions behind the name: `-v1:0`, `@20250101`.
        let name = name.split(['@', ':']).next().unwrap_or(name);
        Self::named(name).or_else(|| name.rsplit_once("-v").and_then(|(name, _)| Self::named(name)))
    }

    /// The scenario a `[[fake: key=value ...]]` directive in `text` asks for, on top of `base`.
    pub fn of_directive(text: &str, base: Self) -> Option<Self> {
        let from = text.rfind("[[fake:")? + "[[fake:".len();
        let to = from + text[from..].find("]]")?;
        Some(Self::parse(&text[from..to], base))
    }

    /// Reads `key=value` words on top of `base`; unknown words are ignored, so that a text never fails.
    pub fn parse(words: &str, base: Self) -> Self {
        let mut scenario = base;
        for word in words.split_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, "1"));
            scenario.set(key, value);
        }
        scenario
    }

    fn set(&mut self, key: &str, value: &str) {
        let number: Option<u64> = value.parse().ok();
        let count = number.and_then(|n| usize::try_from(n).ok());
        let millis = Duration::from_millis(number.unwrap_or(0));
        match key {
            "scenario" => {
                if let Some(named) = Self::named(value) {
                    *self = named;
                }
            }
            "tools" => {
                self.kind = Kind::Tools;
                self.calls = count;
            }
            "reasoning" => self.reasoning = number != Some(0),
            "tokens" | "n" => self.events = count,
            "status" => {
                let status = number.and_then(|n| u16::try_from(n).ok()).filter(|s| (400..600).contains(s));
                self.failure = status.map(Failure::of_status);
            }
            "error" => self.failure = failure_named(value),
            "retry_after" => {
                let failure = self.failure.get_or_insert_with(|| Failure::new(Class::RateLimit));
                failure.retry_after = number;
            }
            "delay_ms" => self.faults.delay = millis,
            "first_byte_ms" => self.faults.first_byte = millis,
            "stall_after" => self.faults.stall_after = count,
            "cut_after" => self.faults.cut_after = count,
            "garbage_after" => self.faults.garbage_after = count,
            "error_after" => self.faults.error_after = count,
            _ => {}
        }
    }
}

fn kind_named(name: &str) -> Option<Kind> {
    Some(match name {
        "text" | "echo" => Kind::Echo,
        "tools" | "tool-result" => Kind::Tools,
        "parallel-tools" => Kind::ParallelTools,
        "agent" => Kind::Agent,
        "reasoning" => Kind::Reasoning,
        "image-ok" | "image" => Kind::Image,
        "json" => Kind::Json,
        "cache" => Kind::Cache,
        "length" => Kind::Length,
        "stop" | "stop-sequence" => Kind::StopSequence,
        "content-filter" => Kind::ContentFilter,
        "refusal" => Kind::Refusal,
        "citations" => Kind::Citations,
        "demo" => Kind::Demo,
        _ => return None,
    })
}

fn failure_named(word: &str) -> Option<Failure> {
    Some(match word {
        "context" => Failure::new(Class::Context),
        "policy" => Failure::new(Class::Policy),
        status => {
            let status = status.parse().ok().filter(|s| (400..600).contains(s))?;
            let mut failure = Failure::of_status(status);
            failure.retry_after = matches!(status, 429).then_some(3);
            failure
        }
    })
}

fn faults_named(name: &str) -> Option<Faults> {
    let none = Faults::default();
    Some(match name {
        "stall" => Faults { stall_after: Some(3), ..none },
        "hang" => Faults { stall_after: Some(0), ..none },
        "slow" => Faults { first_byte: Duration::from_millis(200), delay: Duration::from_millis(50), ..none },
        "cut" => Faults { cut_after: Some(3), ..none },
        "garbage" => Faults { garbage_after: Some(3), ..none },
        "midstream-error" => Faults { error_after: Some(3), ..none },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Kind, Scenario};

    #[test]
    fn a_models_name_asks_for_its_scenario_whatever_surrounds_it() {
        for (model, kind) in [
            ("fake-tools", Kind::Tools),
            ("gpt-4o-fake-parallel-tools", Kind::ParallelTools),
            ("us.anthropic.claude-fake-agent-v1:0", Kind::Agent),
            ("claude-fake-reasoning@20250101", Kind::Reasoning),
        ] {
            assert_eq!(Scenario::of_model(model).map(|scenario| scenario.kind), Some(kind), "{model}");
        }
        assert_eq!(Scenario::of_model("gpt-4o"), None);
        assert_eq!(Scenario::of_model("fake-nonsense"), None);
    }

    #[test]
    fn a_directive_adds_to_what_the_model_asks_for() {
        let base = Scenario::of(Kind::Cache);
        let text = "hi [[fake: tokens=60 delay_ms=10 stall_after=5 unknown=1]] there";
        let scenario = Scenario::of_directive(text, base).unwrap();
        assert_eq!((scenario.kind, scenario.events), (Kind::Cache, Some(60)));
        assert_eq!(
            (scenario.faults.delay, scenario.faults.stall_after),
            (Duration::from_millis(10), Some(5))
        );
    }

    #[test]
    fn a_stall_without_streaming_never_answers() {
        let faults = Scenario::named("stall").unwrap().faults;
        assert!(faults.never_answers(false) && !faults.never_answers(true));
    }
}
