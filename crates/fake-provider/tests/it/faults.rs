//! What goes wrong on demand.

use bytes::Bytes;
use faregate_fake_provider::FakeProvider;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::client::{ALL, Wire, open, request};

#[tokio::test]
async fn each_error_class_has_the_dialects_own_status_and_shape() {
    let fake = FakeProvider::start().await;
    let table = [
        (Wire::Chat, "429", 429, "/error/code", "rate_limit_exceeded"),
        (Wire::Chat, "context", 400, "/error/code", "context_length_exceeded"),
        (Wire::Chat, "policy", 400, "/error/code", "content_policy_violation"),
        (Wire::Chat, "401", 401, "/error/code", "invalid_api_key"),
        (Wire::Chat, "404", 404, "/error/code", "model_not_found"),
        (Wire::Chat, "500", 500, "/error/type", "server_error"),
        (Wire::Azure, "policy", 400, "/error/code", "content_filter"),
        (Wire::Anthropic, "429", 429, "/error/type", "rate_limit_error"),
        (Wire::Anthropic, "529", 529, "/error/type", "overloaded_error"),
        (Wire::Anthropic, "403", 403, "/error/type", "permission_error"),
        (Wire::Anthropic, "context", 400, "/error/type", "invalid_request_error"),
        (Wire::Gemini, "429", 429, "/error/status", "RESOURCE_EXHAUSTED"),
        (Wire::Gemini, "503", 503, "/error/status", "UNAVAILABLE"),
        (Wire::Gemini, "policy", 200, "/promptFeedback/blockReason", "PROHIBITED_CONTENT"),
        (Wire::Vertex, "401", 401, "/error/status", "UNAUTHENTICATED"),
        (Wire::Converse, "context", 400, "/message", "Input is too long for requested model."),
        (Wire::Cohere, "401", 401, "/message", "invalid api token"),
        (Wire::Ollama, "404", 404, "/error", "model 'm-fake-error-404' not found"),
    ];
    for (wire, name, status, pointer, word) in table {
        let answer = wire.ask(&fake, &format!("m-fake-error-{name}"), "hi", false).await;
        assert_eq!(answer.status, status, "{wire:?} {name}");
        assert_eq!(answer.json().pointer(pointer), Some(&json!(word)), "{wire:?} {name}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_rate_limit_says_when_to_come_back() {
    let fake = FakeProvider::start().await;
    for wire in [Wire::Chat, Wire::Anthropic, Wire::Converse, Wire::Cohere] {
        let answer = wire.ask(&fake, "m", "[[fake: status=429 retry_after=7]]", false).await;
        assert_eq!(answer.status, 429, "{wire:?}");
        assert_eq!(answer.headers["retry-after"], "7", "{wire:?}");
    }
    let google = Wire::Gemini.ask(&fake, "m", "[[fake: status=429 retry_after=7]]", false).await.json();
    assert_eq!(google["error"]["details"][1]["retryDelay"], "7s");
}

#[tokio::test]
async fn a_cut_breaks_the_connection_inside_a_frame() {
    let fake = FakeProvider::start().await;
    for wire in ALL {
        for stream in [true, false] {
            let answer = wire.ask(&fake, "m", "[[fake: tokens=9 cut_after=4]]", stream).await;
            assert_eq!(answer.status, 200, "{wire:?}");
            let Err(bytes) = &answer.body else { panic!("{wire:?} stream {stream}: the body came whole") };
            assert!(!bytes.is_empty(), "{wire:?} stream {stream}: nothing came before the cut");
            let ended = bytes.ends_with(b"\n") || serde_json::from_slice::<Value>(bytes).is_ok();
            assert!(!ended, "{wire:?} stream {stream}: cut between frames");
        }
    }
}

#[tokio::test]
async fn a_mid_stream_error_follows_the_frames_before_it() {
    let fake = FakeProvider::start().await;
    for (wire, word) in [
        (Wire::Chat, "server_error"),
        (Wire::Anthropic, "overloaded_error"),
        (Wire::Gemini, "UNAVAILABLE"),
        (Wire::Responses, "response.failed"),
        (Wire::Cohere, "\"ERROR\""),
        (Wire::Ollama, "unexpected EOF"),
        (Wire::Converse, "modelStreamErrorException"),
    ] {
        let answer = wire.ask(&fake, "m", "[[fake: tokens=9 error_after=5]]", true).await;
        let text = answer.text();
        assert!(answer.body.is_ok() && text.contains(word), "{wire:?}: {text}");
        assert!(!text.contains("[DONE]"), "{wire:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_stalled_stream_is_counted() {
    let fake = FakeProvider::start().await;
    let body = Wire::Chat.body("gpt-fake-stall", "hi", true);
    let mut response =
        open(request(&fake, "POST", "/v1/chat/completions", Bytes::from(body.to_string()))).await;
    for _ in 0..3 {
        response.body_mut().frame().await.unwrap().unwrap();
    }
    assert_eq!(fake.stats().in_flight, 1);
    drop(response);
    assert_eq!(fake.cancelled().await, 1);
    let [request] = fake.requests().try_into().unwrap();
    assert!(request.aborted && !request.done);
}

#[tokio::test]
async fn a_client_that_gives_up_before_the_head_is_counted() {
    let fake = FakeProvider::start().await;
    let body = Bytes::from(Wire::Chat.body("gpt-fake-hang", "hi", true).to_string());
    let waiting = tokio::spawn(open(request(&fake, "POST", "/v1/chat/completions", body)));
    fake.received(1).await;
    waiting.abort();
    assert_eq!(fake.cancelled().await, 1);
}

#[tokio::test]
async fn a_complete_answer_is_not_a_cancellation() {
    let fake = FakeProvider::start().await;
    Wire::Chat.ask(&fake, "gpt-fake-stream-60", "hi", true).await;
    assert_eq!(fake.stats().cancelled, 0);
    assert!(fake.requests()[0].done);
}

#[tokio::test]
async fn the_benchmarks_stream_has_as_many_deltas_as_asked() {
    let fake = FakeProvider::start().await;
    let answer = Wire::Chat.ask(&fake, "gpt-fake-stream-60", "hi", true).await;
    let texts = |event: &&Value| {
        event["choices"][0]["delta"]["content"].as_str().is_some_and(|text| !text.is_empty())
    };
    assert_eq!(answer.events().iter().filter(texts).count(), 60);
}

#[tokio::test]
async fn a_prompt_of_twenty_megabytes_is_taken() {
    let fake = FakeProvider::start().await;
    let answer = Wire::Chat.ask(&fake, "gpt", &"x".repeat(20_000_000), false).await;
    assert_eq!(answer.status, 200);
    assert!(answer.json()["usage"]["prompt_tokens"].as_u64() > Some(4_000_000));
}
