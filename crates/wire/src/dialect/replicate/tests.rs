use faregate_terms::FaultClass;
use http::HeaderMap;
use serde_json::{Value, json};

use super::Provider;
use crate::chat::{ChatRequest, Event, Message, Part, Role};
use crate::dialect::{FollowUp, Framing, Head, Losses, ProviderDialect, Quirks, StreamEnd, Target};
use crate::testing;

const VERSION: &str = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa";

fn on<R>(model: &str, run: impl FnOnce(&Target<'_>) -> R) -> R {
    run(&testing::target("replicate", model, &Quirks::default()))
}

fn read(chunks: &[&[u8]]) -> (Vec<Event>, StreamEnd) {
    on("meta/llama", |target| testing::read(Framing::Sse, chunks, Provider.decoder(target)))
}

#[test]
fn names_versions_and_deployments_have_their_own_paths() {
    let path = |model: &str| on(model, |target| Provider.route(target, false).path);
    assert_eq!(path("meta/llama-3"), "/models/meta/llama-3/predictions");
    assert_eq!(path(&format!("meta/llama-3:{VERSION}")), "/predictions");
    assert_eq!(path("deployments/acme/bot"), "/deployments/acme/bot/predictions");
}

#[test]
fn a_conversation_becomes_one_prompt() {
    let request = ChatRequest {
        messages: vec![
            Message::text(Role::System, "Be brief."),
            Message::text(Role::User, "Hi"),
            Message::text(Role::Assistant, "Hello"),
            Message::text(Role::User, "Bye"),
        ],
        ..ChatRequest::default()
    };
    let body = on(VERSION, |target| Provider.body(&request, target, &mut Losses::default())).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        body,
        json!({"version": VERSION, "input": {
            "prompt": "User: Hi\n\nAssistant: Hello\n\nUser: Bye\n\nAssistant:",
            "system_prompt": "Be brief."}})
    );
}

#[test]
fn a_running_prediction_is_asked_after_until_it_is_done() {
    let running = br#"{"id":"p1","status":"processing","urls":{"get":"https://r.example/p1"}}"#;
    assert_eq!(Provider.follow_up(running), FollowUp::Poll { url: "https://r.example/p1".to_owned() });
    let done = br#"{"id":"p1","model":"m","status":"succeeded","output":["a","b"],
        "metrics":{"input_token_count":3,"output_token_count":2},"urls":{"get":"https://r.example/p1"}}"#;
    assert_eq!(Provider.follow_up(done), FollowUp::Done);
    let answer = on("m", |target| Provider.decode(target, done)).unwrap();
    assert_eq!(answer.choices[0].parts, [Part::text("ab")]);
    assert_eq!((answer.usage.input, answer.usage.output), (3, 2));
}

#[test]
fn a_failed_prediction_is_no_answer() {
    let failed = br#"{"status":"failed","error":"out of memory","output":null}"#;
    let error = on("m", |target| Provider.decode(target, failed)).unwrap_err();
    assert!(error.to_string().contains("out of memory"));
    let error = read(&[b"event: error\ndata: {\"detail\":\"crashed\"}\n\n"]).0;
    assert!(matches!(&error[0], Event::Error(fault) if fault.message == "crashed"));
}

#[test]
fn refusals_keep_the_providers_words() {
    let body = br#"{"title":"Insufficient credit","detail":"Buy more.","status":402}"#;
    let headers = HeaderMap::new();
    let fault = Provider.fault(&Head { status: 402, headers: &headers }, body);
    assert_eq!((fault.class, fault.message.as_str()), (FaultClass::PaymentRequired, "Buy more."));
}
