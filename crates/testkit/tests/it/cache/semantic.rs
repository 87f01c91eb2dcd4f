//! Answers to questions that mean the same.

use serde_json::{Value, json};

use super::*;

const QUESTION: &str = "how do I reset the password of my account";
/// The same words but one.
const ALIKE: &str = "how do I reset the password of your account";

async fn cached(more: Value) -> Cached {
    let provider = FakeProvider::start().await;
    let mut services = Services::alone();
    services.principals = Some(Arc::new(Principals::new(Arc::new(Teams(Vec::new())))));
    let gateway = Gateway::start_over(&settings(&provider, more), &Env::empty(), services).await;
    Cached { provider, gateway }
}

fn settings(provider: &FakeProvider, more: Value) -> String {
    let mut params = json!({
        "type": "local-semantic", "similarity_threshold": 0.8, "semantic_cache_embedding_model": "embed",
    });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut config: Value = serde_json::from_str(&with_settings(provider, caching(params))).unwrap();
    let base = format!("{}/v1", provider.url());
    let embed = json!({"model": "openai/text-embedding-3-small", "api_key": "sk-up", "api_base": base});
    config["model_list"]
        .as_array_mut()
        .unwrap()
        .push(json!({"model_name": "embed", "litellm_params": embed}));
    config.to_string()
}

fn question(text: &str, more: Value) -> Value {
    let mut body = json!({"model": "openai", "messages": [{"role": "user", "content": text}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

impl Cached {
    /// Chats that reached the provider.
    fn chats(&self) -> usize {
        self.provider.requests().iter().filter(|request| !request.path.ends_with("/embeddings")).count()
    }
}

#[tokio::test]
async fn a_question_that_means_the_same_gets_the_answer_of_the_other_for_nothing() {
    let cached = cached(json!({})).await;
    let first = cached.gateway.post(CHAT, &question(QUESTION, json!({}))).await;
    assert!(!is_hit(&first));
    let mut receipts = cached.gateway.receipts();
    let again = cached.gateway.post(CHAT, &question(ALIKE, json!({}))).await;
    assert!(is_hit(&again));
    assert_eq!(again.body, first.body);
    let similarity: f32 = again.header("x-litellm-semantic-similarity").unwrap().parse().unwrap();
    assert!((0.8..1.0).contains(&similarity), "{similarity}");
    assert_eq!(again.header("x-litellm-response-cost"), Some("0"));
    let (vector, hit) = (receipts.next().await, receipts.next().await);
    assert_eq!((vector.log.call_type.as_str(), vector.log.cache_hit), ("aembedding", None));
    assert_eq!(hit.log.cache_hit, Some(true));
    // The same words again need no vector.
    let exact = cached.gateway.post(CHAT, &question(QUESTION, json!({}))).await;
    assert!(is_hit(&exact) && exact.header("x-litellm-semantic-similarity").is_none());
    // As a stream, too.
    let frames = cached.gateway.stream(CHAT, &question(ALIKE, json!({"stream": true}))).await;
    assert!(frames.iter().any(|frame| frame.data.contains(QUESTION.split(' ').next().unwrap())));
    assert_eq!(cached.chats(), 1);
    let far = cached.gateway.post(CHAT, &question("what is the weather in Bern", json!({}))).await;
    assert!(!is_hit(&far));
}

#[tokio::test]
async fn what_differs_in_anything_else_is_never_taken_for_the_same() {
    let cached = cached(json!({})).await;
    let system = |text: &str| json!({"messages": [{"role": "system", "content": text}, {"role": "user", "content": QUESTION}]});
    let tool = json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]});
    let image = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": QUESTION},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}]});
    let turns = json!({"messages": [{"role": "user", "content": "about bikes"}, {"role": "assistant", "content": "yes"},
        {"role": "user", "content": QUESTION}]});
    let named = json!({"messages": [{"role": "user", "name": "ann", "content": QUESTION}]});
    let others = [
        json!({}),
        named,
        json!({"model": "groq"}),
        json!({"temperature": 0.5}),
        json!({"response_format": {"type": "json_object"}}),
        system("You sell cars."),
        system("You sell boats."),
        tool,
        image,
        turns,
    ];
    for (index, more) in others.iter().enumerate() {
        let reply = cached.gateway.post(CHAT, &question(QUESTION, more.clone())).await;
        assert!(!is_hit(&reply), "{more}");
        assert_eq!(cached.chats(), index + 1, "{more}");
    }
    let beta = cached.gateway.client().with("anthropic-beta", "new-2026");
    assert!(!is_hit(&beta.post(CHAT, &question(QUESTION, json!({}))).await), "a feature is switched on");
    let anthropic =
        json!({"model": "openai", "max_tokens": 50, "messages": [{"role": "user", "content": QUESTION}]});
    assert!(
        !is_hit(&cached.gateway.post("/v1/messages", &anthropic).await),
        "another dialect's answer is in another form"
    );
}

#[tokio::test]
async fn a_response_repeats_its_metadata_and_never_another_ones() {
    let cached = cached(json!({})).await;
    let ask = |text: &str, run: &str| json!({"model": "openai", "input": text, "metadata": {"run": run}});
    for (text, run, hit) in [(QUESTION, "1", false), (ALIKE, "2", false), (ALIKE, "1", true)] {
        let reply = cached.gateway.post("/v1/responses", &ask(text, run)).await;
        assert_eq!((is_hit(&reply), &reply.json()["metadata"]["run"]), (hit, &json!(run)), "{text} {run}");
    }
}

#[tokio::test]
async fn keys_share_nothing_and_end_users_only_if_they_may() {
    let cached = cached(json!({})).await;
    let ask = async |key: &str, text: &str, user: &str| {
        is_hit(&cached.client(key).post(CHAT, &question(text, json!({"user": user}))).await)
    };
    assert!(!ask("sk-red-1", QUESTION, "ann").await);
    assert!(ask("sk-red-1", ALIKE, "bob").await, "one key's end users share");
    assert!(!ask("sk-blue-1", ALIKE, "ann").await);
    let cached = self::cached(json!({"semantic_cache_scope": "end_user"})).await;
    let ask = async |text: &str, user: &str| {
        is_hit(&cached.client("sk-red-1").post(CHAT, &question(text, json!({"user": user}))).await)
    };
    assert!(!ask(QUESTION, "ann").await);
    assert!(!ask(ALIKE, "bob").await);
    assert!(ask(ALIKE, "ann").await);
}

#[tokio::test]
async fn without_vectors_requests_are_served_all_the_same() {
    let cached = cached(json!({"semantic_cache_embedding_model": "nobody"})).await;
    for text in [QUESTION, ALIKE] {
        assert!(!is_hit(&cached.gateway.post(CHAT, &question(text, json!({}))).await));
    }
    assert!(
        is_hit(&cached.gateway.post(CHAT, &question(QUESTION, json!({}))).await),
        "the same is still the same"
    );
    assert!(cached.metric("faregate_cache_failures_total").await.unwrap() > 0.0);
}

#[tokio::test]
async fn long_conversations_and_wishes_of_the_request_are_minded() {
    let cached = cached(json!({"max_messages": 1})).await;
    let with = |cache: Value| question(QUESTION, json!({"cache": cache}));
    assert!(!is_hit(&cached.gateway.post(CHAT, &with(json!({"no-store": true}))).await));
    assert!(!is_hit(&cached.gateway.post(CHAT, &question(ALIKE, json!({}))).await), "nothing was kept");
    assert!(is_hit(&cached.gateway.post(CHAT, &question(QUESTION, json!({}))).await));
    assert!(!is_hit(&cached.gateway.post(CHAT, &with(json!({"no-cache": true}))).await));
    let embeddings = |cached: &Cached| {
        cached.provider.requests().iter().filter(|request| request.path.ends_with("/embeddings")).count()
    };
    let before = embeddings(&cached);
    let long =
        json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": QUESTION}]});
    assert!(!is_hit(&cached.gateway.post(CHAT, &question(QUESTION, long)).await));
    assert_eq!(embeddings(&cached), before, "more messages than are compared need no vector");
    assert_eq!(cached.gateway.post("/cache/flushall", &json!({})).await.status, 200);
    assert!(!is_hit(&cached.gateway.post(CHAT, &question(ALIKE, json!({}))).await));
}
