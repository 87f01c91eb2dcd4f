//! What a pair of dialects cannot carry, and why. Every cell that no row names must be carried whole.

use super::feature::Feature::{self, *};
use super::talk::Client;
use super::{Place, Square};

const ANY: &[Client] = &[];

/// A reason, and the cells it explains.
pub struct Rule {
    /// Empty means all.
    pub clients: &'static [Client],
    /// Empty means all.
    pub providers: &'static [&'static str],
    pub features: &'static [Feature],
    /// Only plain or only streamed answers.
    pub stream: Option<bool>,
    /// Pairs left out, because both sides speak the same dialect.
    pub but: &'static [(Client, &'static str)],
    /// What does not arrive, as the test words it.
    pub missing: &'static str,
    /// For the page.
    pub why: &'static str,
}

impl Rule {
    fn covers(&self, (client, provider, feature, stream): Place) -> bool {
        (self.clients.is_empty() || self.clients.contains(&client))
            && (self.providers.is_empty() || self.providers.contains(&provider))
            && self.features.contains(&feature)
            && !self.but.contains(&(client, provider))
            && self.stream.is_none_or(|only| only == stream)
    }
}

/// The first row that covers a cell counts.
pub const RULES: &[Rule] = &[
    Rule {
        clients: ANY,
        providers: &["openai", "azure", "groq", "cohere", "ollama"],
        features: &[Reasoning],
        stream: None,
        but: &[(Client::Responses, "openai")],
        missing: "signature",
        why: "OpenAI's chat format and its kin, Cohere and Ollama sign no reasoning: its text reaches the client, and there is nothing to send back",
    },
    Rule {
        clients: &[Client::Responses, Client::Anthropic, Client::Bedrock],
        providers: &["gemini"],
        features: &[Reasoning],
        stream: None,
        but: &[],
        missing: "signature",
        why: "Gemini signs the text of an answer without tools, and the client's dialect has no place for a signature on text; Gemini does not insist on it there",
    },
    Rule {
        clients: &[Client::Chat],
        providers: &["openai", "azure"],
        features: &[ResultImage],
        stream: None,
        but: &[],
        missing: "refused 400",
        why: "the same dialect passes unchanged, and OpenAI takes text only in tool messages: its own refusal reaches the client",
    },
    Rule {
        clients: ANY,
        providers: &["openai", "azure", "groq", "cohere", "gemini"],
        features: &[ResultImage],
        stream: None,
        but: &[(Client::Responses, "openai"), (Client::Gemini, "gemini")],
        missing: "place in the result",
        why: "tool results are text here (Gemini before 3 as well): the image follows in a user turn, so the model sees it",
    },
    Rule {
        clients: ANY,
        providers: &["ollama"],
        features: &[Cache],
        stream: None,
        but: &[],
        missing: "cached tokens",
        why: "Ollama does not report cached tokens",
    },
    Rule {
        clients: &[Client::Anthropic, Client::Bedrock],
        providers: &["responses"],
        features: &[StopSequence],
        stream: None,
        but: &[],
        missing: "stop sequence, stop reason",
        why: "OpenAI's responses format has no stop sequences; the loss is reported",
    },
    Rule {
        clients: &[Client::Chat, Client::Gemini],
        providers: &["responses"],
        features: &[StopSequence],
        stream: None,
        but: &[],
        missing: "stop sequence",
        why: "OpenAI's responses format has no stop sequences; the loss is reported",
    },
    Rule {
        clients: &[Client::Anthropic, Client::Bedrock],
        providers: &["openai", "azure", "groq", "gemini", "ollama"],
        features: &[StopSequence],
        stream: None,
        but: &[],
        missing: "stop reason",
        why: "the provider has one word for the end of a turn and a stop sequence, so the client reads end of turn",
    },
    Rule {
        clients: ANY,
        providers: &["ollama"],
        features: &[StopFilter],
        stream: None,
        but: &[],
        missing: "stop reason",
        why: "Ollama has no filter and no word for one",
    },
    Rule {
        clients: ANY,
        providers: &["cohere"],
        features: &[StopFilter],
        stream: Some(true),
        but: &[],
        missing: "error event in the stream",
        why: "Cohere ends a filtered answer with `ERROR`, as it ends any that failed: a streamed one ends in an error event",
    },
    Rule {
        clients: ANY,
        providers: &["cohere"],
        features: &[StopFilter],
        stream: Some(false),
        but: &[],
        missing: "stop reason",
        why: "Cohere ends a filtered answer with `ERROR`, as it ends any that failed; its text reaches the client",
    },
    Rule {
        clients: ANY,
        providers: &["cohere", "ollama"],
        features: &[StopRefusal],
        stream: None,
        but: &[],
        missing: "stop reason",
        why: "Cohere and Ollama have no word for a refusal: it is an ordinary text",
    },
    Rule {
        clients: &[Client::Anthropic, Client::Gemini, Client::Bedrock],
        providers: &["openai", "responses", "azure", "groq"],
        features: &[StopRefusal],
        stream: None,
        but: &[],
        missing: "stop reason",
        why: "OpenAI's formats put a refusal in a member of its own and end as usual: the text arrives, the stop reason says end of turn",
    },
    Rule {
        clients: ANY,
        providers: &["gemini"],
        features: &[StopRefusal],
        stream: None,
        but: &[],
        missing: "text",
        why: "Gemini sends no words with `PROHIBITED_CONTENT`; the stop reason arrives",
    },
    Rule {
        clients: ANY,
        providers: &["gemini"],
        features: &[Policy],
        stream: None,
        but: &[],
        missing: "status 200",
        why: "Gemini reports a blocked prompt as an answer, and so does the gateway",
    },
    Rule {
        clients: &[Client::Chat],
        providers: &["ollama"],
        features: &[Policy],
        stream: None,
        but: &[],
        missing: "error code",
        why: "Ollama has no policy of its own: what runs behind it says so in the message only",
    },
];

/// The row that explains a cell, with its number from 1.
pub fn rule(place: Place) -> Option<(usize, &'static Rule)> {
    RULES.iter().enumerate().find(|(_, rule)| rule.covers(place)).map(|(index, rule)| (index + 1, rule))
}

/// Cells that are not as said, and rows that explain nothing.
pub fn differences(square: &Square) -> Vec<String> {
    let mut wrong = Vec::new();
    for (place, missing) in &square.cells {
        let said = rule(*place).map_or("", |(_, rule)| rule.missing);
        if said != missing {
            wrong.push(format!("{place:?}: missing `{missing}`, the table says `{said}`"));
        }
    }
    for (index, one) in RULES.iter().enumerate() {
        let used =
            square.cells.keys().any(|place| rule(*place).is_some_and(|(number, _)| number == index + 1));
        if !used {
            wrong.push(format!("no cell needs the row `{}`", one.why));
        }
    }
    wrong
}
