//! The kit's own promises.

use std::sync::Arc;

use faregate_fake_provider::FakeProvider;
use faregate_terms::Ending;
use faregate_testkit::{Client, Gateway, config};
use serde_json::json;

#[tokio::test]
async fn each_dialect_of_the_kits_config_answers_whole_and_in_pieces() {
    let provider = FakeProvider::start().await;
    let gateway = Gateway::start(&config::every_dialect(&provider)).await;
    let mut receipts = gateway.receipts();
    for group in ["openai", "responses", "azure", "anthropic", "gemini", "cohere", "ollama", "groq"] {
        let turn = json!([{"role": "user", "content": "hello"}]);
        let reply = gateway.post("/v1/chat/completions", &json!({"model": group, "messages": turn})).await;
        assert_eq!(reply.status, 200, "{group}: {}", reply.json());
        let content = reply.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
        assert!(!content.is_empty(), "{group}");

        let body = json!({"model": group, "messages": turn, "stream": true});
        let frames = gateway.stream("/v1/chat/completions", &body).await;
        assert_eq!(frames.last().unwrap().data, "[DONE]", "{group}: {frames:#?}");

        for stream in [false, true] {
            let receipt = receipts.next().await;
            assert_eq!(receipt.ending, Ending::Complete, "{group}");
            assert_eq!(receipt.stream, stream, "{group}");
            assert_eq!(receipt.model_group.as_ref().unwrap().as_str(), group);
        }
    }
    assert_eq!(gateway.gate().settler.in_flight(), 0);
    gateway.stop().await;
}

#[tokio::test]
async fn a_swapped_config_serves_the_next_request() {
    let provider = FakeProvider::start().await;
    let gateway = Gateway::start(&config::every_dialect(&provider)).await;
    let before = Arc::clone(&gateway.gate().table.load_full());
    let params =
        json!({"model": "openai/gpt-4o", "api_key": "sk-up", "api_base": format!("{}/v1", provider.url())});
    gateway.swap(&config::of([("other", params)]));
    let models = gateway.get("/v1/models").await.json();
    assert_eq!(models["data"][0]["id"], "other", "{models}");
    assert!(before.deployments.len() > gateway.gate().table.load().deployments.len());
}

#[tokio::test]
async fn a_client_with_another_key_is_turned_away() {
    let provider = FakeProvider::start().await;
    let gateway = Gateway::start(&config::every_dialect(&provider)).await;
    let address = gateway.url().trim_start_matches("http://").parse().unwrap();
    assert_eq!(Client::new(address, "no-key-of-ours").get("/v1/models").await.status, 401);
}
