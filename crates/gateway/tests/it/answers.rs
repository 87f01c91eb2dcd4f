//! Answers of providers that depart from their dialect, as clients get them.

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_testkit::{Gateway, config};
use serde_json::{Value, json};

/// A gateway with `model` served by `provider`.
async fn gateway(provider: &FakeProvider, model: &str) -> Gateway {
    let base = format!("{}/v1", provider.url());
    Gateway::start(&config::of([("m", json!({"model": model, "api_key": "sk-up", "api_base": base}))])).await
}

fn answer(message: Value, more: Value) -> Value {
    let mut body = json!({"id": "a1", "object": "chat.completion", "created": 1, "model": "x",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

/// What a chat client gets when `model`'s provider answers `body`.
async fn heard(model: &str, body: &Value) -> Value {
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider, model).await;
    provider.script(Matcher::any(), [Answer::json(200, body)]);
    let turn = json!([{"role": "user", "content": "hi"}]);
    let reply = gateway.post("/v1/chat/completions", &json!({"model": "m", "messages": turn})).await;
    assert_eq!(reply.status, 200, "{model}: {}", reply.json());
    reply.json()
}

#[tokio::test]
async fn thoughts_come_as_reasoning_content_whatever_the_provider_calls_them() {
    for model in ["openrouter/x/y", "groq/x", "cometapi/x", "ovhcloud/x", "hosted_vllm/x"] {
        let message = json!({"role": "assistant", "content": "four", "reasoning": "two and two"});
        let body = heard(model, &answer(message, json!({}))).await;
        assert_eq!(body["choices"][0]["message"]["reasoning_content"], "two and two", "{model}: {body}");
        assert_eq!(body["choices"][0]["message"]["content"], "four");
    }
    let parts = json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "four"}]);
    for model in ["mistral/magistral-small", "databricks/x"] {
        let message = json!({"role": "assistant", "content": parts});
        let body = heard(model, &answer(message, json!({}))).await;
        assert_eq!(body["choices"][0]["message"]["reasoning_content"], "hm", "{model}: {body}");
        assert_eq!(body["choices"][0]["message"]["content"], "four");
    }
}

#[tokio::test]
async fn empty_content_beside_calls_is_null_and_calls_are_the_finish() {
    let message = json!({"role": "assistant", "content": "", "tool_calls":
        [{"id": "c", "type": "function", "function": {"name": "now", "arguments": "{}"}}]});
    for model in ["mistral/mistral-large-latest", "xai/grok-4"] {
        let mut body = answer(message.clone(), json!({}));
        body["choices"][0]["finish_reason"] = json!("");
        let body = heard(model, &body).await;
        assert!(body["choices"][0]["message"]["content"].is_null(), "{model}: {body}");
        assert_eq!(body["choices"][0]["finish_reason"], "tool_calls", "{model}: {body}");
    }
}

#[tokio::test]
async fn usage_that_does_not_add_up_and_tiers_nobody_knows_are_set_right() {
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 32,
        "completion_tokens_details": {"reasoning_tokens": 20}});
    let message = json!({"role": "assistant", "content": "four"});
    let body = heard("xai/grok-4", &answer(message.clone(), json!({"usage": usage}))).await;
    assert_eq!(body["usage"]["completion_tokens"], 27, "{body}");
    for (tier, said) in [("on_demand", "auto"), ("flex", "flex")] {
        let body = heard("groq/x", &answer(message.clone(), json!({"service_tier": tier}))).await;
        assert_eq!(body["service_tier"], said, "{body}");
    }
}

#[tokio::test]
async fn sources_become_annotations() {
    let message = json!({"role": "assistant", "content": "See [1]."});
    let more = json!({"citations": ["https://a.example"], "usage":
        {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12, "citation_tokens": 40, "num_search_queries": 2}});
    let body = heard("perplexity/sonar", &answer(message, more)).await;
    let note = &body["choices"][0]["message"]["annotations"][0];
    assert_eq!(note["url_citation"]["url"], "https://a.example", "{body}");
}

#[tokio::test]
async fn an_error_inside_a_stream_ends_it_as_one() {
    let chunk = json!({"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "x",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": "fo"}, "finish_reason": null}]});
    let error = json!({"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "x",
        "error": {"code": 502, "message": "Provider disconnected"},
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]});
    for model in ["openrouter/x/y", "cometapi/x"] {
        let provider = FakeProvider::start().await;
        let gateway = gateway(&provider, model).await;
        provider.script(Matcher::any(), [Answer::sse(&format!("data: {chunk}\n\ndata: {error}\n\n"))]);
        let turn = json!([{"role": "user", "content": "hi"}]);
        let body = json!({"model": "m", "messages": turn, "stream": true});
        let frames = gateway.stream("/v1/chat/completions", &body).await;
        let told = frames.iter().filter_map(|frame| frame.json()).find(|data| !data["error"].is_null());
        let told = told.unwrap_or_else(|| unreachable!("{model}: no error in {frames:?}"));
        assert!(told["error"]["message"].as_str().unwrap().contains("Provider disconnected"), "{told}");
    }
}

#[tokio::test]
async fn a_stream_with_an_output_format_is_made_of_a_whole_answer() {
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider, "groq/openai/gpt-oss-120b").await;
    let message = json!({"role": "assistant", "content": "{\"a\":1}"});
    provider.script(Matcher::any(), [Answer::json(200, &answer(message, json!({})))]);
    let turn = json!([{"role": "user", "content": "hi"}]);
    let body =
        json!({"model": "m", "messages": turn, "stream": true, "response_format": {"type": "json_object"}});
    let frames = gateway.stream("/v1/chat/completions", &body).await;
    assert!(provider.requests()[0].json().get("stream").is_none());
    let text: String = frames
        .iter()
        .filter_map(|frame| frame.json()?["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(text, "{\"a\":1}");
    assert_eq!(frames.last().unwrap().data, "[DONE]");
}
