//! Groups that choose another one by what is asked.

use super::*;

/// Groups `code`, `poems` and `cheap`, and `auto` before them.
fn entries(provider: &FakeProvider, more: Value) -> Vec<Value> {
    let mut entries: Vec<Value> = ["code", "poems", "cheap"]
        .map(|group| entry(provider, group, &format!("up-{group}"), json!({})))
        .into();
    entries.push(entry(provider, "embed", "text-embedding-3-small", json!({})));
    let mut params = json!({
        "model": "auto_router/router",
        "auto_router_config": json!({"routes": [
            {"name": "code", "utterances": ["write a function in rust", "fix this bug in my code"], "score_threshold": 0.6},
            {"name": "poems", "utterances": ["write a poem about the sea"], "score_threshold": 0.6}]}).to_string(),
        "auto_router_default_model": "cheap",
        "auto_router_embedding_model": "embed",
    });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entries.push(json!({"model_name": "auto", "litellm_params": params}));
    entries
}

fn says(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

#[tokio::test]
async fn the_question_decides_which_group_answers() {
    let provider = FakeProvider::start().await;
    let gateway = start(entries(&provider, json!({})), json!({})).await;
    for (text, group) in [
        ("please write a function in rust", "code"),
        ("write a poem about the sea now", "poems"),
        ("what is the capital of france", "cheap"),
    ] {
        provider.reset();
        let reply = chat(&gateway, "auto", says(text)).await;
        assert_eq!(reply.status, 200, "{}", reply.json());
        assert_eq!(called(&provider).last().unwrap(), &format!("up-{group}"), "{text}");
        assert_eq!(reply.header("x-litellm-model-group"), Some(group));
    }
    // Anthropic's clients as well.
    let body = json!({"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "fix this bug in my code"}]});
    assert_eq!(gateway.post("/v1/messages", &body).await.status, 200);
    assert_eq!(called(&provider).last().unwrap(), "up-code");
    let listed = gateway.get("/v1/models").await.json();
    assert!(listed["data"].as_array().unwrap().iter().any(|row| row["id"] == "auto"), "{listed}");
}

#[tokio::test]
async fn utterances_are_embedded_once_and_each_embedding_is_on_record() {
    let provider = FakeProvider::start().await;
    let gateway = start(entries(&provider, json!({})), json!({})).await;
    let mut receipts = gateway.receipts();
    for _ in 0..2 {
        assert_eq!(chat(&gateway, "auto", says("write a poem about the sea")).await.status, 200);
    }
    assert_eq!(
        called(&provider),
        [
            "text-embedding-3-small",
            "text-embedding-3-small",
            "up-poems",
            "text-embedding-3-small",
            "up-poems"
        ]
    );
    let mut types = Vec::new();
    for _ in 0..5 {
        let receipt = receipts.next().await;
        assert_eq!(receipt.account.api_key, "litellm_proxy_master_key", "on the account of who asked");
        types.push(receipt.log.call_type.clone());
    }
    assert_eq!(types, ["aembedding", "aembedding", "acompletion", "aembedding", "acompletion"]);
}

#[tokio::test]
async fn it_is_explained_and_what_is_explained_is_done() {
    let provider = FakeProvider::start().await;
    let gateway = start(entries(&provider, json!({})), json!({})).await;
    for text in ["write a function in rust", "sing"] {
        let told = gateway.post("/route/explain", &ask("auto", says(text))).await.json();
        let reply = chat(&gateway, "auto", says(text)).await;
        assert_eq!(reply.header("x-litellm-model-group"), told["model_group"].as_str(), "{told}");
        assert_eq!(told["auto_router"]["group"], told["model_group"]);
        let near = told["auto_router"]["similarities"]["code"].as_f64().unwrap();
        let reason = told["auto_router"]["reason"].as_str().unwrap();
        assert_eq!(
            (near > 0.6, reason),
            if text == "sing" { (false, "no utterance is near enough") } else { (true, "nearest utterance") }
        );
    }
    let client = gateway.client().with("x-faregate-explain", "true");
    let reply = client.post("/v1/chat/completions", &ask("auto", says("write a function in rust"))).await;
    let told: Value = serde_json::from_str(reply.header("x-faregate-explain").unwrap()).unwrap();
    assert_eq!((&told["auto_router"]["group"], &told["answered_group"]), (&json!("code"), &json!("code")));
}

#[tokio::test]
async fn without_vectors_or_words_the_default_serves() {
    let provider = FakeProvider::start().await;
    let gateway = start(entries(&provider, json!({})), json!({"num_retries": 0})).await;
    fails(&provider, "text-embedding-3-small", 500);
    assert_eq!(chat(&gateway, "auto", says("write a function in rust")).await.status, 200);
    assert_eq!(called(&provider).last().unwrap(), "up-cheap");
    provider.reset();
    let image = json!({"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}]});
    assert_eq!(chat(&gateway, "auto", image).await.status, 200);
    assert_eq!(called(&provider), ["up-cheap"]);
}

#[tokio::test]
async fn routes_may_stand_in_a_file() {
    let provider = FakeProvider::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("router.json");
    let routes =
        json!({"encoder_name": "embed", "routes": [{"name": "poems", "utterances": ["rhyme for me"]}]});
    std::fs::write(&path, routes.to_string()).unwrap();
    let mut entries = entries(&provider, json!({}));
    entries.last_mut().unwrap()["litellm_params"] = json!({
        "model": "auto_router/router", "auto_router_config_path": path, "auto_router_default_model": "cheap",
    });
    let gateway = start(entries, json!({})).await;
    assert_eq!(chat(&gateway, "auto", says("rhyme for me please")).await.status, 200);
    assert_eq!(called(&provider).last().unwrap(), "up-poems");
}
