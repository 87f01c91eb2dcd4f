use faregate_terms::FaultClass;
use http::HeaderMap;
use serde_json::{Value, json};

use super::Provider;
use crate::chat::{
    ChatRequest, Effort, Event, Extra, Family, FinishReason, Media, Message, OutputFormat, Part, Reasoning,
    Role,
};
use crate::dialect::{Framing, Head, Losses, ProviderDialect, Quirks, StreamEnd, Target};
use crate::testing::{self, folded};

const TOOLS: &[u8] = include_bytes!("../../fixtures/ollama/tools_stream/stream.ndjson");
const WHOLE: &[u8] = include_bytes!("../../fixtures/ollama/whole/answer.json");

fn on<R>(model: &str, run: impl FnOnce(&Target<'_>) -> R) -> R {
    run(&testing::target("ollama", model, &Quirks::default()))
}

fn decode_stream(chunks: &[&[u8]]) -> (Vec<Event>, StreamEnd) {
    on("m", |target| testing::read(Framing::NdJson, chunks, Provider.decoder(target)))
}

#[test]
fn thinking_text_and_calls_are_read_and_every_call_has_an_id() {
    let answer = folded(&decode_stream(&[TOOLS]).0);
    let [
        Part::Reasoning { text, .. },
        said,
        Part::ToolCall { id, arguments, .. },
        Part::ToolCall { id: own, .. },
    ] = answer.choices[0].parts.as_slice()
    else {
        panic!("{:?}", answer.choices)
    };
    assert_eq!((text.as_str(), said.as_text()), ("Two — calls", Some("Größe")));
    assert_eq!(arguments, r#"{"city":"Paris"}"#);
    assert!(id.starts_with("call_2026"), "{id}");
    assert_eq!(own, "call_x");
    assert_eq!(answer.choices[0].finish, FinishReason::ToolCalls);
    assert_eq!((answer.usage.input, answer.usage.output), (26, 9));
    assert_eq!(answer.created, Some(1_769_860_800));
}

#[test]
fn a_whole_answer_is_read_and_an_unfinished_one_refused() {
    let answer = on("m", |target| Provider.decode(target, WHOLE)).unwrap();
    assert_eq!(answer.choices[0].finish, FinishReason::Length);
    let half = br#"{"model":"m","created_at":"","message":{"role":"assistant","content":"H"},"done":false}"#;
    assert!(on("m", |target| Provider.decode(target, half)).is_err());
}

#[test]
fn an_error_line_is_a_fault_and_a_missing_end_a_truncation() {
    let (events, _) = decode_stream(&[b"{\"error\":\"an error was encountered while running the model\"}\n"]);
    assert!(matches!(&events[0], Event::Error(fault) if fault.class == FaultClass::Internal));
    let cut = TOOLS.windows(9).rposition(|window| window == br#"{"model":"#).unwrap();
    assert_eq!(decode_stream(&[&TOOLS[..cut]]).1, StreamEnd::Truncated);
}

#[test]
fn a_request_takes_ollamas_form() {
    let png = Part::image(Media::Base64 { mime: "image/png".into(), data: "AAAA".into() });
    let mut extra = Extra::default();
    extra.put(Family::Ollama, "options", json!({"num_ctx": 8192}));
    extra.put(Family::Ollama, "keep_alive", json!("5m"));
    let mut request = ChatRequest {
        messages: vec![
            Message::text(Role::System, "Be brief."),
            Message::new(Role::User, vec![Part::text("See"), png]),
            Message::new(Role::Assistant, vec![Part::tool_call("t1", "look", r#"{"a":1}"#)]),
            Message::new(Role::Tool, vec![Part::tool_result("t1", vec![Part::text("seen")])]),
        ],
        reasoning: Some(Reasoning { effort: Some(Effort::Minimal), ..Reasoning::default() }),
        output: OutputFormat::JsonObject,
        extra,
        ..ChatRequest::default()
    };
    request.sampling.max_output_tokens = Some(50);
    let body = |model: &str| -> Value {
        let bytes = on(model, |target| Provider.body(&request, target, &mut Losses::default())).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let plain = body("qwen3");
    assert_eq!(plain["stream"], false, "without the member Ollama would stream");
    assert_eq!(plain["format"], "json");
    assert_eq!(plain["options"], json!({"num_predict": 50, "num_ctx": 8192}));
    assert_eq!(plain["keep_alive"], "5m");
    assert_eq!(plain["messages"][1], json!({"role": "user", "content": "See", "images": ["AAAA"]}));
    assert_eq!(plain["messages"][2]["tool_calls"][0]["function"]["arguments"], json!({"a": 1}));
    assert_eq!(plain["messages"][3]["tool_name"], "look");
    assert_eq!(plain["think"], true);
    assert_eq!(body("gpt-oss:20b")["think"], "low");
}

#[test]
fn a_picture_by_address_is_refused_with_a_remedy() {
    let url = Part::image(Media::Url { url: "https://x.example/a.png".into(), mime: None });
    let request =
        ChatRequest { messages: vec![Message::new(Role::User, vec![url])], ..ChatRequest::default() };
    let error = on("m", |target| Provider.body(&request, target, &mut Losses::default())).unwrap_err();
    assert_eq!(error.what, "messages[0].content[0]");
    assert!(error.why.contains("base64"));
}

#[test]
fn errors_are_told_apart_by_their_text() {
    let headers = HeaderMap::new();
    let class = |status, message: &str| {
        let body = json!({ "error": message }).to_string();
        Provider.fault(&Head { status, headers: &headers }, body.as_bytes()).class
    };
    assert_eq!(class(404, "model 'x' not found"), FaultClass::NotFound);
    assert_eq!(class(400, "the input length exceeds the context length"), FaultClass::ContextWindow);
    assert_eq!(class(503, "server busy, please try again"), FaultClass::Unavailable);
}
