//! Recorded answers of Anthropic's, read for their meaning and written for its clients again.

use std::sync::Arc;

use crate::chat::{ChatRequest, Event, Family, FinishReason, Part, PartKind, Signature};
use crate::dialect::{ClientDialect, Framing, ProviderDialect, Quirks, Reply, StreamEnd, Target};
use crate::testing::{self, folded};

use super::{Client, Provider};

const THINKING: &[u8] = include_bytes!("../../fixtures/anthropic/thinking_tools_stream/stream.sse");
const SEARCH: &[u8] = include_bytes!("../../fixtures/anthropic/cited_search_stream/stream.sse");
const OVERLOADED: &[u8] = include_bytes!("../../fixtures/anthropic/overloaded_stream/stream.sse");

fn on<R>(run: impl FnOnce(&Target<'_>) -> R) -> R {
    run(&testing::target("anthropic", "claude-sonnet-4-5", &Quirks::default()))
}

fn decode(stream: &[u8]) -> (Vec<Event>, StreamEnd) {
    on(|target| testing::read(Framing::Sse, &[stream], Provider.decoder(target)))
}

fn reply() -> Reply {
    Reply {
        id: "call".to_owned(),
        model: "claude".to_owned(),
        created: 0,
        request: Arc::new(ChatRequest::default()),
        alt_sse: false,
    }
}

fn through_a_client(events: &[Event]) -> Vec<u8> {
    let mut encoder = Client.encoder(reply());
    let mut out = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.end(&mut out);
    out
}

#[test]
fn thoughts_their_state_calls_and_cache_usage_of_a_stream_are_read() {
    let (events, end) = decode(THINKING);
    assert_eq!(end, StreamEnd::Complete);
    assert!(events.contains(&Event::Ping));
    let answer = folded(&events);
    let [thought, hidden, said, call] = answer.choices[0].parts.as_slice() else {
        panic!("{:?}", answer.choices)
    };
    let Part::Reasoning { text, signature: Some(signature), redacted: false, .. } = thought else {
        panic!("{thought:?}")
    };
    assert_eq!(text, "Zürich, not Genève 🌦");
    assert!(signature.data.starts_with("EqQBCgIYAhIM"));
    let Part::Reasoning { signature: Some(signature), redacted: true, .. } = hidden else {
        panic!("{hidden:?}")
    };
    assert_eq!(signature.data, "EmwKAhgBEgy3va3pzix/LafPsn4a");
    assert_eq!(said.as_text(), Some("I look it up."));
    assert!(matches!(call, Part::ToolCall { arguments, .. } if arguments == r#"{"city": "Zürich"}"#));
    assert_eq!(answer.choices[0].finish, FinishReason::ToolCalls);
    let usage = &answer.usage;
    assert_eq!((usage.input, usage.output), (2312, 89), "cached tokens are part of the input");
    assert_eq!((usage.cache_read, usage.cache_write_5m, usage.cache_write_1h), (2000, 100, 200));
}

#[test]
fn a_server_tool_its_result_and_citations_of_a_stream_are_read() {
    let answer = folded(&decode(SEARCH).0);
    let [Part::Foreign { value: asked, .. }, Part::Foreign { value: found, .. }, text] =
        answer.choices[0].parts.as_slice()
    else {
        panic!("{:?}", answer.choices)
    };
    assert_eq!(asked["input"]["query"], "weather Zürich");
    assert_eq!(found["content"][0]["encrypted_content"], "Ev0DCioIAxgC");
    let Part::Text { text, annotations, .. } = text else { panic!("{text:?}") };
    assert_eq!(text, "It rains until noon.");
    assert_eq!(annotations[0]["url_citation"]["url"], "https://example.com/w");
    assert_eq!((answer.usage.input, answer.usage.web_searches), (10682, 1));
}

#[test]
fn a_stream_written_for_a_client_reads_the_same_again() {
    for recorded in [THINKING, SEARCH] {
        let (first, second) = (decode(recorded).0, decode(&through_a_client(&decode(recorded).0)).0);
        let (first, second) = (folded(&first), folded(&second));
        assert_eq!(second.choices, first.choices);
        assert_eq!(second.usage, first.usage);
    }
}

#[test]
fn an_error_midway_is_a_fault_and_no_end() {
    let (events, end) = decode(OVERLOADED);
    assert!(matches!(events.last(), Some(Event::Error(fault)) if fault.message.contains("Overloaded")));
    assert_eq!(end, StreamEnd::Truncated);
}

#[test]
fn state_of_a_text_has_no_place_in_a_stream_and_is_told_as_a_loss() {
    let signature = Signature { family: Family::Gemini, data: "c3RhdGU=".to_owned() };
    let (mut encoder, mut out) = (Client.encoder(reply()), Vec::new());
    encoder.event(&Event::Open { choice: 0, part: 0, kind: PartKind::Text }, &mut out);
    encoder.event(&Event::Text { part: 0, delta: "Hi".to_owned() }, &mut out);
    encoder.event(&Event::Signature { part: 0, signature }, &mut out);
    encoder.end(&mut out);
    assert_eq!(encoder.losses().names(), ["content.signature"]);
    assert!(encoder.losses().names().is_empty(), "told once");
    assert!(!String::from_utf8(out).unwrap().contains("signature_delta"));
}
