//! What is asked of each pair, and what must have arrived at both ends.

use faregate_fake_provider::{Answer, CACHE_USAGE, Class, Failure, Kind, Scenario};
use serde_json::{Value, json};

use super::heard::Heard;
use super::seen::{Seen, Stop};
use super::talk::{Client, PIXEL, SYSTEM, Talk, Turn};

/// A row of the square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    Text,
    Tools,
    ParallelTools,
    ToolResults,
    ResultImage,
    Image,
    Reasoning,
    Schema,
    Cache,
    StopLength,
    StopSequence,
    StopFilter,
    StopRefusal,
    RateLimit,
    Context,
    Policy,
    Internal,
}

use Feature::*;

const RESULTS: &[(&str, &str)] = &[("call_one", "sunny in Paris"), ("call_two", "rain in Oslo")];

impl Feature {
    pub const ALL: [Self; 17] = [
        Text,
        Tools,
        ParallelTools,
        ToolResults,
        ResultImage,
        Image,
        Reasoning,
        Schema,
        Cache,
        StopLength,
        StopSequence,
        StopFilter,
        StopRefusal,
        RateLimit,
        Context,
        Policy,
        Internal,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Text => "Text, system prompt, several turns",
            Tools => "Tools",
            ParallelTools => "Parallel tools",
            ToolResults => "Tool results",
            ResultImage => "Image in a tool result",
            Image => "Image",
            Reasoning => "Reasoning, signature sent back",
            Schema => "JSON schema",
            Cache => "Usage with cache",
            StopLength => "Stop: length",
            StopSequence => "Stop: sequence",
            StopFilter => "Stop: content filter",
            StopRefusal => "Stop: refusal",
            RateLimit => "Error: 429 with retry-after",
            Context => "Error: context length",
            Policy => "Error: content policy",
            Internal => "Error: 500",
        }
    }

    pub fn talk(self) -> Talk {
        let asked = |turns: Vec<Turn>| Talk { turns, ..Talk::default() };
        match self {
            Text => asked(vec![
                Turn::User("Hello first"),
                Turn::Said("Hello yourself"),
                Turn::User("Which train?"),
            ]),
            Tools | ParallelTools => Talk { tools: true, ..asked(vec![Turn::User("Weather in Paris?")]) },
            ToolResults => Talk {
                tools: true,
                ..asked(vec![
                    Turn::User("Weather?"),
                    Turn::Calls(&[("call_one", "Paris"), ("call_two", "Oslo")]),
                    Turn::Results(RESULTS),
                ])
            },
            ResultImage => Talk {
                tools: true,
                ..asked(vec![
                    Turn::User("Weather?"),
                    Turn::Calls(&[("call_one", "Paris")]),
                    Turn::Photo("call_one"),
                ])
            },
            Image => asked(vec![Turn::Picture("What is this?")]),
            Reasoning => Talk { reasoning: true, ..asked(vec![Turn::User("Think about Paris")]) },
            Schema => Talk { schema: true, ..asked(vec![Turn::User("Name a city")]) },
            StopSequence => Talk { stop: true, ..asked(vec![Turn::User("Count")]) },
            _ => asked(vec![Turn::User("Hello")]),
        }
    }

    pub fn answer(self) -> Answer {
        let kind = |kind| Scenario::of(kind).into();
        let failing =
            |class, retry_after| Scenario::failing(Failure { retry_after, ..Failure::new(class) }).into();
        match self {
            Text | Schema => kind(Kind::Echo),
            Tools | ToolResults | ResultImage => kind(Kind::Tools),
            ParallelTools => kind(Kind::ParallelTools),
            Image => kind(Kind::Image),
            Reasoning => kind(Kind::Reasoning),
            Cache => kind(Kind::Cache),
            StopLength => kind(Kind::Length),
            StopSequence => kind(Kind::StopSequence),
            StopFilter => kind(Kind::ContentFilter),
            StopRefusal => kind(Kind::Refusal),
            RateLimit => failing(Class::RateLimit, Some(3)),
            Context => failing(Class::Context, None),
            Policy => failing(Class::Policy, None),
            Internal => failing(Class::Internal, None),
        }
    }

    /// The status the client must get in place of an answer.
    pub fn error(self) -> Option<u16> {
        match self {
            RateLimit => Some(429),
            Context | Policy => Some(400),
            Internal => Some(500),
            _ => None,
        }
    }

    /// What of this feature did not arrive, in the page's words. Empty means carried.
    pub fn missing(self, client: Client, heard: &Heard, seen: &Seen) -> Vec<&'static str> {
        let mut missing = Vec::new();
        let mut want = |there: bool, what| {
            if !there {
                missing.push(what);
            }
        };
        want(heard.system.contains(SYSTEM), "system prompt");
        match self {
            Text => {
                let order =
                    ["Hello first", "Hello yourself", "Which train?"].map(|words| heard.said.find(words));
                want(order.iter().all(Option::is_some) && order.is_sorted(), "turns");
                want(seen.text == "You said: Which train?", "text");
                want(seen.stop == Stop::End, "end of turn");
                want(seen.usage.0 > 0 && seen.usage.2 > 0, "usage");
            }
            Tools | ParallelTools => {
                let cities: &[&str] = if self == Tools { &["Paris"] } else { &["Paris", "Oslo"] };
                let calls: Vec<_> =
                    cities.iter().map(|city| ("weather".to_owned(), json!({"city": city}))).collect();
                want(heard.tools == ["weather"], "tool schema");
                want(seen.calls == calls, "calls");
                want(seen.stop == Stop::Tools, "stop reason");
            }
            ToolResults => {
                want(heard.calls.len() == 2, "earlier calls");
                let tied = heard.results.iter().map(|(id, _)| id).eq(heard.calls.iter());
                want(tied, "ids of results");
                let told = heard
                    .results
                    .iter()
                    .zip(RESULTS)
                    .filter(|((_, got), (_, sent))| got.contains(sent))
                    .count();
                want(told == 2, "results");
                want(RESULTS.iter().all(|(_, words)| seen.text.contains(words)), "answer");
            }
            ResultImage => {
                want(heard.results.len() == 1 && heard.results[0].1.contains("a photo"), "result text");
                if heard.result_pictures == 0 {
                    want(false, if heard.pictures == 1 { "place in the result" } else { "image" });
                }
            }
            Image => {
                want(heard.pictures == 1, "image");
                want(seen.text.contains("70 bytes"), "image bytes");
            }
            Reasoning => {
                want(heard.reasoning, "wish to reason");
                want(seen.reasoning.contains("step by step"), "reasoning text");
                want(heard.signatures > 0, "signature");
            }
            Schema => {
                want(heard.schema, "schema");
                let object: Value = serde_json::from_str(&seen.text).unwrap_or_default();
                want(object == json!({"city": "Paris"}), "object");
                want(seen.stop == Stop::End, "end of turn");
            }
            Cache => {
                want(seen.usage.0 == CACHE_USAGE.input, "prompt tokens");
                want(seen.usage.1 == CACHE_USAGE.cached, "cached tokens");
                want(seen.usage.2 == CACHE_USAGE.output, "completion tokens");
            }
            StopLength => want(seen.stop == Stop::Length, "stop reason"),
            StopSequence => {
                // Only Anthropic's and Bedrock's clients have a word for it, the others say "stop".
                let named = matches!(client, Client::Anthropic | Client::Bedrock);
                want(client == Client::Responses || heard.stop, "stop sequence");
                want(seen.stop == if named { Stop::Sequence } else { Stop::End }, "stop reason");
            }
            StopRefusal => {
                want(seen.stop == Stop::Declined, "stop reason");
                want(seen.text.contains("I can't help with that."), "text");
            }
            StopFilter => want(seen.stop == Stop::Declined, "stop reason"),
            RateLimit | Context | Policy | Internal => {}
        }
        missing
    }
}

/// What an error answer lacks of the client's own shape, in the page's words.
pub fn error_missing(client: Client, feature: Feature, reply: &faregate_testkit::Reply) -> Vec<&'static str> {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let mut missing = Vec::new();
    let status = reply.status.as_u16();
    let (message, shape) = match client {
        Client::Chat | Client::Responses => (&body["error"]["message"], !body["error"]["type"].is_null()),
        Client::Anthropic => {
            (&body["error"]["message"], body["type"] == "error" && body["error"]["type"].is_string())
        }
        Client::Gemini => (
            &body["error"]["message"],
            body["error"]["code"] == status && body["error"]["status"].is_string(),
        ),
        Client::Bedrock => (&body["message"], reply.header("x-amzn-errortype").is_some()),
    };
    if !shape || message.as_str().is_none_or(str::is_empty) {
        missing.push("error shape");
    }
    if feature == RateLimit && reply.header("retry-after") != Some("3") {
        missing.push("retry-after");
    }
    let code = &body["error"]["code"];
    if client == Client::Chat && feature == Context && code != "context_length_exceeded" {
        missing.push("error code");
    }
    if client == Client::Chat
        && feature == Policy
        && code != "content_policy_violation"
        && code != "content_filter"
    {
        missing.push("error code");
    }
    missing
}

/// Keeps the picture's length in the tests' words true.
#[test]
fn the_pixel_has_seventy_bytes() {
    assert_eq!(PIXEL.trim_end_matches('=').len() * 6 / 8, 70);
}
