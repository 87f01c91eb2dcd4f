use faregate_terms::FaultClass;
use http::HeaderMap;
use serde_json::{Value, json};

use super::Provider;
use crate::chat::{
    ChatRequest, Event, FinishReason, Media, Message, OutputFormat, Part, Role, Tool, ToolChoice,
};
use crate::dialect::{Framing, Head, Losses, ProviderDialect, Quirks, StreamEnd, Target};
use crate::testing::{self, folded};

const TEXT: &[u8] = include_bytes!("../../fixtures/cohere/text_stream/stream.sse");
const TOOLS: &[u8] = include_bytes!("../../fixtures/cohere/tools_stream/stream.sse");
const WHOLE: &[u8] = include_bytes!("../../fixtures/cohere/whole/answer.json");

fn on<R>(run: impl FnOnce(&Target<'_>) -> R) -> R {
    run(&testing::target("cohere", "command-a-03-2025", &Quirks::default()))
}

fn decode_stream(chunks: &[&[u8]]) -> (Vec<Event>, StreamEnd) {
    on(|target| testing::read(Framing::Sse, chunks, Provider.decoder(target)))
}

#[test]
fn thinking_text_and_late_citations_of_a_stream_are_read() {
    let answer = folded(&decode_stream(&[TEXT]).0);
    let [Part::Reasoning { text: thought, .. }, Part::Text { text, annotations, .. }] =
        answer.choices[0].parts.as_slice()
    else {
        panic!("{:?}", answer.choices)
    };
    assert_eq!((thought.as_str(), text.as_str()), ("Hm — fares.", "It costs 3 €."));
    assert_eq!(annotations[0]["url_citation"]["url"], "https://f.example");
    assert_eq!((answer.usage.input, answer.usage.output, answer.usage.cache_read), (70, 12, 16));
    assert_eq!(answer.choices[0].finish, FinishReason::Stop);
}

#[test]
fn the_plan_is_text_and_calls_grow_in_pieces() {
    let answer = folded(&decode_stream(&[TOOLS]).0);
    assert_eq!(
        answer.choices[0].parts,
        [
            Part::text("I will look."),
            Part::tool_call("w_1", "get_weather", r#"{"city":"Paris"}"#),
            Part::tool_call("w_2", "get_weather", r#"{"city":"Oslo"}"#),
        ]
    );
    assert_eq!(answer.choices[0].finish, FinishReason::ToolCalls);
}

#[test]
fn a_whole_answer_is_read() {
    let answer = on(|target| Provider.decode(target, WHOLE)).unwrap();
    let choice = &answer.choices[0];
    assert_eq!(choice.finish, FinishReason::Length);
    assert_eq!(choice.logprobs.as_ref().unwrap()["content"][0]["logprob"], -0.5);
    let Part::Text { annotations, .. } = &choice.parts[1] else { panic!() };
    assert_eq!(annotations.len(), 1);
}

#[test]
fn a_stream_without_its_end_is_truncated_and_an_error_in_it_is_a_fault() {
    let cut = TOOLS.windows(6).rposition(|window| window == b"event:").unwrap();
    assert_eq!(decode_stream(&[&TOOLS[..cut]]).1, StreamEnd::Truncated);
    let error = b"event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"error\":\"boom\",\"finish_reason\":\"ERROR\"}}\n\n";
    let (events, _) = decode_stream(&[error]);
    assert!(matches!(&events[0], Event::Error(fault) if fault.message == "boom"));
}

#[test]
fn a_request_takes_coheres_form() {
    let tool = |name: &str| Tool::Function {
        name: name.into(),
        description: None,
        parameters: None,
        strict: None,
        cache: None,
        extra: Default::default(),
    };
    let png = || Part::image(Media::Base64 { mime: "image/png".into(), data: "AAAA".into() });
    let request = ChatRequest {
        messages: vec![
            Message::text(Role::Developer, "Be brief."),
            Message::new(Role::User, vec![Part::text("See"), png()]),
            Message::new(Role::Assistant, vec![Part::text("I look."), Part::tool_call("t1", "look", "")]),
            Message::new(Role::Tool, vec![Part::tool_result("t1", vec![Part::text("seen"), png()])]),
        ],
        tools: vec![tool("look"), tool("other")],
        tool_choice: Some(ToolChoice::Named("look".into())),
        output: OutputFormat::JsonSchema {
            name: None,
            description: None,
            schema: json!({"type": "object"}),
            strict: None,
        },
        stream: true,
        ..ChatRequest::default()
    };
    let mut losses = Losses::default();
    let body: Value =
        serde_json::from_slice(&on(|target| Provider.body(&request, target, &mut losses)).unwrap()).unwrap();
    assert_eq!(
        body["messages"],
        json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "See"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
            {"role": "assistant", "tool_plan": "I look.", "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "t1", "content": "seen"},
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
        ])
    );
    assert_eq!(body["tool_choice"], "REQUIRED");
    assert_eq!(body["tools"].as_array().unwrap().len(), 1, "only the tool that must be called is offered");
    assert_eq!(body["response_format"], json!({"type": "json_object", "json_schema": {"type": "object"}}));
    assert_eq!(losses.names(), ["tool_result.image_position"]);
}

#[test]
fn errors_are_told_apart_by_their_text() {
    let headers = HeaderMap::new();
    let class = |status, message: &str| {
        let body = json!({ "message": message }).to_string();
        Provider.fault(&Head { status, headers: &headers }, body.as_bytes()).class
    };
    let long = "too many tokens: total number of tokens in the prompt cannot exceed 128000";
    assert_eq!(class(400, long), FaultClass::ContextWindow);
    assert_eq!(class(400, "blocked input: please adjust"), FaultClass::ContentPolicy);
    assert_eq!(class(498, "invalid token"), FaultClass::Authentication);
    assert_eq!(class(429, "slow down"), FaultClass::RateLimit);
}
