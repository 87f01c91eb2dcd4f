//! Anthropic's beta features on their way to each platform: the fake provider refuses what its caller has not
//! switched on, and what a cloud does not know.

use faregate_fake_provider::{FakeProvider, Received};
use faregate_testkit::{Gateway, config};
use serde_json::{Value, json};

const COMPUTER: &str = "computer-use-2025-01-24";

async fn gateway(fake: &FakeProvider) -> Gateway {
    let aws = |model: &str| {
        json!({"model": model, "aws_access_key_id": "AKIDFAKEPROVIDER",
            "aws_secret_access_key": "fake-secret-key", "aws_region_name": "us-east-1",
            "aws_bedrock_runtime_endpoint": fake.url()})
    };
    let own =
        |key: &str| json!({"model": "anthropic/claude-sonnet-4-5", "api_key": key, "api_base": fake.url()});
    let mut headed = own("sk-ant-up");
    headed["extra_headers"] = json!({"anthropic-beta": "context-1m-2025-08-07"});
    Gateway::start(&config::of([
        ("own", own("sk-ant-up")),
        ("signed-in", own("sk-ant-oat-up")),
        ("headed", headed),
        ("invoke", aws("bedrock/invoke/anthropic.claude-sonnet-4-5-20250929-v1:0")),
        ("converse", aws("bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0")),
    ]))
    .await
}

/// What the provider got for a call to `model`, which it must have answered.
async fn received(
    gateway: &Gateway,
    fake: &FakeProvider,
    path: &str,
    model: &str,
    members: &Value,
) -> Received {
    let mut body = json!({"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let reply = gateway.post(path, &body).await;
    assert_eq!(reply.status, 200, "{model}: {}", reply.json());
    fake.requests().pop().unwrap()
}

fn header(received: &Received) -> Vec<&str> {
    received.header("anthropic-beta").map(|list| list.split(',').collect()).unwrap_or_default()
}

#[tokio::test]
async fn a_feature_is_switched_on_for_clients_who_do_not_know_of_betas() {
    let fake = FakeProvider::start().await;
    let gateway = gateway(&fake).await;
    let tool = json!({"type": "computer_20250124", "name": "computer", "display_width_px": 1, "display_height_px": 1});
    let tools = json!({ "tools": [tool] });
    let own = received(&gateway, &fake, "/v1/messages", "own", &tools).await;
    assert_eq!(header(&own), [COMPUTER]);
    let invoke = received(&gateway, &fake, "/v1/messages", "invoke", &tools).await;
    assert_eq!((header(&invoke), &invoke.json()["anthropic_beta"]), (vec![], &json!([COMPUTER])));
    let servers = json!({"mcp_servers": [{"type": "url", "url": "https://mcp.example", "name": "m"}]});
    let own = received(&gateway, &fake, "/v1/messages", "own", &servers).await;
    assert_eq!(header(&own), ["mcp-client-2025-04-04"]);
}

#[tokio::test]
async fn betas_of_body_configuration_and_credential_travel_together() {
    let fake = FakeProvider::start().await;
    let gateway = gateway(&fake).await;
    let asked = json!({"anthropic_beta": ["context-management-2025-06-27", "made-up-2025-01-01"]});
    let own = received(&gateway, &fake, "/v1/messages", "headed", &asked).await;
    assert_eq!(
        header(&own),
        ["context-1m-2025-08-07", "context-management-2025-06-27", "made-up-2025-01-01"]
    );
    assert!(own.json().get("anthropic_beta").is_none(), "Anthropic's own API has no such member");
    let own = received(&gateway, &fake, "/v1/chat/completions", "headed", &json!({})).await;
    assert_eq!(header(&own), ["context-1m-2025-08-07"]);
    let own = received(&gateway, &fake, "/v1/messages", "signed-in", &json!({})).await;
    assert_eq!(header(&own), ["oauth-2025-04-20"]);
    let invoke = received(&gateway, &fake, "/v1/messages", "invoke", &asked).await;
    assert_eq!(invoke.json()["anthropic_beta"], json!(["context-management-2025-06-27"]));
}

#[tokio::test]
async fn what_a_cloud_does_not_know_is_left_out_and_told() {
    let fake = FakeProvider::start().await;
    let gateway = gateway(&fake).await;
    // As a coding agent sends them with every request.
    let clear = json!({"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]});
    let body = json!({"model": "invoke", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}],
        "anthropic_beta": ["claude-code-20250219", "interleaved-thinking-2025-05-14"], "context_management": clear});
    let reply = gateway.post("/v1/messages", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    let losses = reply.header("x-faregate-losses").unwrap_or_default().to_owned();
    assert!(losses.contains("beta.claude-code-20250219"), "{losses}");
    assert!(losses.contains("context_management.edits"), "{losses}");
    let got = fake.requests().pop().unwrap().json();
    let betas: Vec<&str> =
        got["anthropic_beta"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(betas, ["interleaved-thinking-2025-05-14", "context-management-2025-06-27"]);
    assert!(got.get("context_management").is_none());
    let converse =
        received(&gateway, &fake, "/v1/messages", "converse", &json!({"anthropic_beta": [COMPUTER]})).await;
    assert_eq!(converse.json()["additionalModelRequestFields"]["anthropic_beta"], json!([COMPUTER]));
}

#[tokio::test]
async fn tokens_are_counted_with_the_same_betas() {
    let fake = FakeProvider::start().await;
    let gateway = gateway(&fake).await;
    let body = json!({"model": "own", "messages": [{"role": "user", "content": "hi"}],
        "mcp_servers": [{"type": "url", "url": "https://mcp.example", "name": "m"}]});
    let reply = gateway.post("/v1/messages/count_tokens", &body).await;
    assert_eq!(reply.json()["litellm_count_source"], "provider", "{}", reply.json());
    assert_eq!(header(&fake.requests().pop().unwrap()), ["mcp-client-2025-04-04"]);
}
