//! An answer says the same to a client whether it comes whole or as a stream.

use std::sync::Arc;

use faregate_terms::Usage;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::chat::{ChatRequest, ChatResponse, Choice, Extra, FinishReason, Part, unfold};
use crate::dialect::{Dialect, Losses, Quirks, Reply, StreamEnd};
use crate::testing;

const BOTH_SIDES: [Dialect; 5] =
    [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::Anthropic, Dialect::Gemini, Dialect::Bedrock];

fn answer() -> impl Strategy<Value = ChatResponse> {
    let text = || "[A-Za-zé🌦\"\\\\\n]{1,12}";
    let thought = prop::option::of(text());
    let calls = prop::collection::vec(text(), 0..3);
    let figures = (1..5000_u64, 1..5000_u64, 0..100_u64);
    (thought, prop::option::of(text()), calls, figures).prop_map(
        |(thought, said, calls, (input, output, read))| {
            let reasoning = |text| Part::Reasoning { text, signature: None, redacted: false, id: None };
            let mut parts: Vec<Part> = thought.into_iter().map(reasoning).collect();
            parts.extend(said.map(Part::text));
            let finish = if calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls };
            for (index, argument) in calls.into_iter().enumerate() {
                parts.push(Part::tool_call(
                    format!("call_{index}"),
                    "f",
                    json!({ "q": argument }).to_string(),
                ));
            }
            let usage = Usage { input: input + read, output, cache_read: read, ..Usage::default() };
            let choice = Choice { index: 0, parts, finish, stop_sequence: None, logprobs: None };
            let (id, model) = ("r".to_owned(), "m".to_owned());
            ChatResponse { id, model, created: None, choices: vec![choice], usage, extra: Extra::default() }
        },
    )
}

fn reply() -> Reply {
    let request = ChatRequest { stream: true, include_usage: true, ..ChatRequest::default() };
    let (id, model) = ("call".to_owned(), "m".to_owned());
    Reply { id, model, created: 0, request: Arc::new(request), alt_sse: true }
}

/// What counts: ids a codec makes up differ.
fn gist(answer: &ChatResponse) -> Value {
    let choice = &answer.choices[0];
    let part = |part: &Part| match part {
        Part::Text { text, .. } => json!({ "text": text }),
        Part::Reasoning { text, .. } => json!({ "thought": text }),
        Part::ToolCall { id, name, arguments, .. } => {
            json!({"call": id, "name": name, "with": crate::json::arguments(arguments)})
        }
        other => json!({ "other": other }),
    };
    let parts: Vec<Value> = choice.parts.iter().map(part).collect();
    let usage = &answer.usage;
    json!({"parts": parts, "finish": choice.finish, "usage": [usage.input, usage.output, usage.cache_read]})
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_says_what_the_whole_answer_says(answer in answer()) {
        for dialect in BOTH_SIDES {
            let (client, provider) = (dialect.client().unwrap(), dialect.provider().unwrap());
            let quirks = Quirks::default();
            let target = testing::target("x", "anthropic.claude", &quirks);
            let whole = client.encode(&answer, &reply(), &mut Losses::default());
            let whole = provider.decode(&target, &whole).unwrap();
            let (mut encoder, mut bytes) = (client.encoder(reply()), Vec::new());
            unfold(&answer).iter().for_each(|event| encoder.event(event, &mut bytes));
            encoder.end(&mut bytes);
            let framing = provider.route(&target, true).framing;
            let (events, end) = testing::read(framing, &[&bytes], provider.decoder(&target));
            prop_assert_eq!(end, StreamEnd::Complete);
            let streamed = testing::folded(&events);
            prop_assert_eq!(gist(&streamed), gist(&whole), "{:?}", dialect);
            prop_assert_eq!(gist(&streamed), gist(&answer), "{:?}", dialect);
        }
    }
}
