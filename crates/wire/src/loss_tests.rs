//! What a client's dialect has no place for is told, in a whole answer and in a stream alike.

use std::sync::Arc;

use serde_json::json;

use faregate_terms::Usage;

use crate::chat::{
    ChatRequest, ChatResponse, Choice, Event, Extra, Family, FinishReason, Media, Part, PartKind, Signature,
    unfold,
};
use crate::dialect::{Dialect, Losses, Reply};

fn reply() -> Reply {
    Reply {
        id: "call".to_owned(),
        model: "m".to_owned(),
        created: 0,
        request: Arc::new(ChatRequest::default()),
        alt_sse: true,
    }
}

fn answer(parts: Vec<Part>) -> ChatResponse {
    let choice = Choice { index: 0, parts, finish: FinishReason::Stop, stop_sequence: None, logprobs: None };
    ChatResponse {
        id: "r".to_owned(),
        model: "m".to_owned(),
        created: None,
        choices: vec![choice],
        usage: Usage::default(),
        extra: Extra::default(),
    }
}

fn whole(dialect: Dialect, answer: &ChatResponse) -> Vec<String> {
    let mut losses = Losses::default();
    dialect.client().unwrap().encode(answer, &reply(), &mut losses);
    losses.into_names()
}

fn streamed(dialect: Dialect, events: &[Event]) -> Vec<String> {
    let mut encoder = dialect.client().unwrap().encoder(reply());
    let mut out = Vec::new();
    events.iter().for_each(|event| encoder.event(event, &mut out));
    encoder.end(&mut out);
    let told = encoder.losses().into_names();
    assert!(encoder.losses().names().is_empty(), "{dialect:?}: told once");
    told
}

fn text(signature: Option<Signature>, annotations: Vec<serde_json::Value>) -> Part {
    Part::Text { text: "Hi".to_owned(), annotations, signature, cache: None, extra: Extra::default() }
}

#[test]
fn a_stream_and_a_whole_answer_lose_the_same() {
    let signature = Signature { family: Family::Gemini, data: "c3RhdGU=".to_owned() };
    let picture = Part::image(Media::Base64 { mime: "image/png".into(), data: "QUJD".into() });
    let foreign = Part::Foreign { family: Family::Cohere, value: json!({"x": 1}) };
    let file_citation = json!({"type": "file_citation", "file_id": "f", "index": 1});
    let audio = Part::Audio {
        media: Media::Base64 { mime: "audio/wav".into(), data: "QUJD".into() },
        transcript: Some("Hi".to_owned()),
        id: None,
    };
    let dialects = [Dialect::Anthropic, Dialect::Bedrock, Dialect::Gemini];
    for (part, of) in [
        (text(Some(signature), vec![]), ["content.signature", "content.signature", ""]),
        (
            text(None, vec![file_citation]),
            ["content.annotations", "content.annotations", "content.annotations"],
        ),
        (picture, ["content.image", "content.image", ""]),
        (foreign, ["content.foreign", "content.foreign", "content.foreign"]),
        (audio, ["content.audio", "content.audio", ""]),
    ] {
        let answer = answer(vec![part]);
        for (dialect, loss) in dialects.into_iter().zip(of) {
            let expected: Vec<&str> = if loss.is_empty() { vec![] } else { vec![loss] };
            // Converse has pictures in whole answers only.
            let is_shown = dialect == Dialect::Bedrock && loss == "content.image";
            let in_whole = if is_shown { vec![] } else { expected.clone() };
            assert_eq!(whole(dialect, &answer), in_whole, "{dialect:?}, whole: {answer:?}");
            assert_eq!(streamed(dialect, &unfold(&answer)), expected, "{dialect:?}, stream: {answer:?}");
        }
    }
}

#[test]
fn an_alternative_that_blocks_cannot_show_is_told() {
    for dialect in [Dialect::Anthropic, Dialect::Bedrock] {
        let events = [
            Event::Open { choice: 0, part: 0, kind: PartKind::Text },
            Event::Open { choice: 1, part: 1, kind: PartKind::Text },
        ];
        assert_eq!(streamed(dialect, &events), ["choices"]);
    }
}
