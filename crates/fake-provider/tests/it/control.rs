//! Scripts, the log, and both over HTTP.

use bytes::Bytes;
use faregate_fake_provider::{Answer, FakeProvider, Kind, Matcher, Scenario, answer};
use http::Request;
use http_body_util::BodyExt;
use serde_json::json;

use crate::client::{Wire, post, request, send};

#[tokio::test]
async fn scripted_answers_come_once_each_and_in_order() {
    let fake = FakeProvider::start().await;
    let raw = json!({"odd": true});
    fake.script(
        Matcher::model("gpt-a"),
        [Answer::status(503), Answer::json(418, &raw), Answer::text("third")],
    );
    assert_eq!(Wire::Chat.ask(&fake, "gpt-b", "hi", false).await.status, 200);
    assert_eq!(Wire::Chat.ask(&fake, "gpt-a", "hi", false).await.status, 503);
    let odd = Wire::Chat.ask(&fake, "gpt-a", "hi", false).await;
    assert_eq!((odd.status.as_u16(), odd.json()), (418, raw));
    assert_eq!(Wire::Chat.answer_text(&Wire::Chat.ask(&fake, "gpt-a", "hi", false).await.json()), "third");
    let after = Wire::Chat.ask(&fake, "gpt-a", "hi", false).await.json();
    assert_eq!(Wire::Chat.answer_text(&after), "You said: hi");
}

#[tokio::test]
async fn one_script_serves_every_dialect() {
    let fake = FakeProvider::start().await;
    fake.always(Matcher::any(), Scenario { reasoning: true, ..Scenario::of(Kind::Echo) }.into());
    for (wire, word) in [
        (Wire::Chat, "reasoning_content"),
        (Wire::Anthropic, "signature"),
        (Wire::Gemini, "thoughtSignature"),
    ] {
        assert!(wire.ask(&fake, "m", "hi", false).await.text().contains(word), "{wire:?}");
    }
}

#[tokio::test]
async fn the_log_keeps_what_came_and_masks_credentials() {
    let fake = FakeProvider::start().await;
    Wire::Chat.ask(&fake, "gpt", "hi", false).await;
    let [logged] = fake.requests().try_into().unwrap();
    assert_eq!((logged.method.as_str(), logged.path.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(logged.json()["messages"][0]["content"], "hi");
    assert_eq!(logged.header("authorization"), Some("Bearer ...1234"));
    assert!(!format!("{:?}", logged.headers).contains("sk-test"));
}

#[tokio::test]
async fn scripts_and_log_work_over_http_too() {
    let fake = FakeProvider::start().await;
    let script = json!({"match": {"model": "gpt"}, "answers": [{"directive": "status=429 retry_after=4"}]});
    assert_eq!(post(&fake, "/__fake__/script", &script).await.status, 200);
    let limited = Wire::Chat.ask(&fake, "gpt", "hi", false).await;
    assert_eq!((limited.status.as_u16(), limited.headers["retry-after"].as_bytes()), (429, &b"4"[..]));
    let get = |path: &str| send(request(&fake, "GET", path, Bytes::new()));
    assert_eq!(get("/__fake__/log").await.json()["requests"][0]["body"]["model"], "gpt");
    assert_eq!(get("/__fake__/stats").await.json()["requests"], 1);
    post(&fake, "/__fake__/reset", &json!({})).await;
    assert_eq!(get("/__fake__/log").await.json()["requests"], json!([]));
    let wrong = json!({"answers": [{"scenario": "no-such"}]});
    assert_eq!(post(&fake, "/__fake__/script", &wrong).await.status, 400);
}

#[tokio::test]
async fn the_demo_model_answers_without_a_socket() {
    for stream in [false, true] {
        let body = Wire::Chat.body("fake-demo", "what is a fare?", stream);
        let request = Request::post("/v1/chat/completions")
            .header("authorization", "Bearer demo")
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let response = answer(request).await;
        assert_eq!(response.status(), 200);
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(text.contains("demo") && text.contains("fare?"), "{text}");
        assert_eq!(text.contains("chat.completion.chunk"), stream);
    }
}
