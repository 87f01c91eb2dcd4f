//! What clients of LiteLLM rely on, against a recording of a running LiteLLM (`golden/record.py`).
//!
//! Differences are listed here with their reason and in docs/migrate-from-litellm.md; a listed difference
//! that is none any more fails its test.

use std::collections::BTreeSet;

use bytes::Bytes;
use faregate_fake_provider::FakeProvider;
use faregate_testkit::{Client, Gateway};
use http::Method;
use serde_json::{Value, json};

/// Headers of answers that we do not send, and why.
const HEADERS_LEFT_OUT: &[(&str, &str)] = &[
    ("x-litellm-callback-duration-ms", "callbacks run beside the request"),
    ("x-litellm-key-spend", "sent for keys with a budget"),
    ("x-litellm-response-cost-discount-amount", "always 0 without a discount"),
    ("x-litellm-response-cost-margin-amount", "always 0 without a margin"),
    ("x-litellm-response-cost-margin-percent", "always 0 without a margin"),
    ("x-litellm-response-cost-input", "the breakdown is not sent, only the total"),
    ("x-litellm-response-cost-output", "the breakdown is not sent, only the total"),
    ("x-litellm-response-cost-tool-usage", "the breakdown is not sent, only the total"),
];
/// The same for streams: nothing of the cost or the time upstream is known when headers go out.
const STREAM_HEADERS_LEFT_OUT: &[&str] =
    &["x-litellm-response-cost-original", "x-litellm-overhead-duration-ms"];

/// Families of metrics that dashboards read and this data plane makes: requests, latency, time to first
/// token, overhead, tokens, spend, deployments, requests in flight.
const FAMILIES: &[&str] = &[
    "litellm_proxy_total_requests_metric_total",
    "litellm_proxy_failed_requests_metric_total",
    "litellm_request_total_latency_metric_bucket",
    "litellm_llm_api_latency_metric_bucket",
    "litellm_llm_api_time_to_first_token_metric_bucket",
    "litellm_overhead_latency_metric_bucket",
    "litellm_spend_metric_total",
    "litellm_total_tokens_metric_total",
    "litellm_input_tokens_metric_total",
    "litellm_output_tokens_metric_total",
    "litellm_deployment_total_requests_total",
    "litellm_deployment_success_responses_total",
    "litellm_deployment_failure_responses_total",
    "litellm_deployment_latency_per_output_token_bucket",
    "litellm_in_flight_requests",
];

/// (client, group, upstream status) → (our status, our type), where LiteLLM answers otherwise.
type Otherwise = (&'static str, &'static str, u64, u64, &'static str);

/// Errors that LiteLLM reports with another status or type than the provider gave; here they keep both.
const ERRORS_OTHERWISE: &[Otherwise] = &[
    ("chat", "openai", 403, 403, "permission_error"),
    // LiteLLM answers 200 and `null`.
    ("chat", "openai", 422, 422, "invalid_request_error"),
    ("chat", "anthropic", 413, 413, "invalid_request_error"),
    ("chat", "anthropic", 503, 503, "internal_server_error"),
    // Gemini has no 422: its own word in the body, INVALID_ARGUMENT, stands for 400.
    ("chat", "gemini", 422, 400, "invalid_request_error"),
    ("chat", "gemini", 503, 503, "internal_server_error"),
    ("chat", "cohere", 400, 400, "invalid_request_error"),
    ("chat", "cohere", 413, 413, "invalid_request_error"),
    ("chat", "cohere", 422, 422, "invalid_request_error"),
    ("chat", "cohere", 503, 503, "internal_server_error"),
    // Anthropic's own words for these.
    ("messages", "anthropic", 413, 413, "request_too_large"),
    ("messages", "anthropic", 422, 422, "invalid_request_error"),
    ("messages", "anthropic", 503, 503, "overloaded_error"),
    ("messages", "openai", 422, 422, "invalid_request_error"),
    ("messages", "openai", 503, 503, "overloaded_error"),
];

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/litellm.json")).unwrap()
}

async fn gateway(provider: &FakeProvider) -> Gateway {
    let base = provider.url();
    let groups = [
        ("openai", json!({"model": "openai/gpt-4o", "api_key": "sk-up", "api_base": format!("{base}/v1")})),
        (
            "azure",
            json!({"model": "azure/gpt-4o", "api_key": "az-up", "api_base": base, "api_version": "2024-10-21"}),
        ),
        (
            "anthropic",
            json!({"model": "anthropic/claude-sonnet-4-5", "api_key": "sk-ant-up", "api_base": base}),
        ),
        ("gemini", json!({"model": "gemini/gemini-2.5-pro", "api_key": "AIza-up", "api_base": base})),
        ("cohere", json!({"model": "cohere_chat/command-a-03-2025", "api_key": "co-up", "api_base": base})),
        (
            "groq",
            json!({"model": "groq/llama-3.3-70b-versatile", "api_key": "gsk-up", "api_base": format!("{base}/openai/v1")}),
        ),
    ];
    let models: Vec<Value> = groups
        .into_iter()
        .map(|(name, params)| {
            json!({"model_name": name, "litellm_params": params, "model_info": {"id": format!("id-{name}")}})
        })
        .collect();
    let config = json!({
        "model_list": models,
        "litellm_settings": {"drop_params": true, "num_retries": 0, "callbacks": ["prometheus"]},
        "router_settings": {"disable_cooldowns": true},
        "general_settings": {"master_key": faregate_testkit::MASTER_KEY},
    });
    Gateway::start(&config.to_string()).await
}

fn request(client: &str, group: &str, text: &str) -> (&'static str, Value) {
    let turn = json!([{"role": "user", "content": text}]);
    match client {
        "chat" => ("/v1/chat/completions", json!({"model": group, "messages": turn})),
        "messages" => ("/v1/messages", json!({"model": group, "max_tokens": 50, "messages": turn})),
        _ => ("/v1/responses", json!({"model": group, "input": text})),
    }
}

fn words(list: &Value) -> BTreeSet<&str> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

#[tokio::test]
async fn answers_carry_the_headers_that_clients_read() {
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider).await;
    for case in golden()["answers"].as_array().unwrap() {
        let (client, group) = (case["client"].as_str().unwrap(), case["group"].as_str().unwrap());
        let (path, mut body) = request(client, group, "hello");
        body["stream"] = case["stream"].clone();
        let reply = gateway.post(path, &body).await;
        assert_eq!(reply.status, 200, "{case}");
        let sent: BTreeSet<&str> = reply.headers.keys().map(|name| name.as_str()).collect();
        let streamed = case["stream"] == true;
        let is_left_out = |name: &str| {
            HEADERS_LEFT_OUT.iter().any(|(left, _)| *left == name)
                || (streamed && STREAM_HEADERS_LEFT_OUT.contains(&name))
        };
        for name in words(&case["headers"]) {
            assert_eq!(sent.contains(name), !is_left_out(name), "{client} {group} {streamed}: {name}");
        }
    }
    let (path, body) = request("chat", "openai", "hello");
    let reply = gateway.post(path, &body).await;
    assert_eq!(reply.header("x-litellm-model-name"), Some("openai/gpt-4o"));
    assert_eq!(reply.header("x-litellm-model-id"), Some("id-openai"));
    let number = |name: &str| reply.header(name).unwrap().parse::<f64>().unwrap();
    assert!((number("x-litellm-response-cost") - 3.5e-5).abs() < 1e-15, "2 tokens in, 3 out");
    assert!(number("x-litellm-response-duration-ms") >= number("x-litellm-overhead-duration-ms"));
}

#[tokio::test]
async fn upstream_errors_keep_status_type_and_name() {
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider).await;
    let mut wrong = Vec::new();
    for case in golden()["errors"].as_array().unwrap() {
        let word = |name: &str| case[name].as_str().unwrap_or_default();
        let number = |name: &str| case[name].as_u64().unwrap();
        let (client, group, upstream) = (word("client"), word("group"), number("upstream"));
        let (path, body) = request(client, group, &format!("[[fake: status={upstream}]]"));
        let reply = gateway.post(path, &body).await;
        let (status, error) = (u64::from(reply.status.as_u16()), reply.json()["error"].clone());
        let kind = error["type"].as_str().unwrap_or_default();
        let listed = ERRORS_OTHERWISE
            .iter()
            .find(|(c, g, u, _, _)| *c == client && *g == group && *u == upstream)
            .map(|(_, _, _, status, kind)| (*status, *kind));
        let theirs = (number("status"), word("type"));
        if (status, kind) != listed.unwrap_or(theirs) || listed == Some(theirs) {
            wrong.push(format!("{client} {group} {upstream}: {status} {kind}, LiteLLM {theirs:?}"));
        }
        let message = error["message"].as_str().unwrap();
        let mut name = group.to_owned();
        name[..1].make_ascii_uppercase();
        let name = name.replace("Openai", "OpenAI").replace("Cohere", "Cohere_chat");
        assert!(message.contains(&format!("{name}Exception - ")), "{message}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn refusals_have_litellms_status_type_and_param() {
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider).await;
    for case in golden()["refusals"].as_array().unwrap() {
        let path = case["path"].as_str().unwrap();
        let body = match &case["body"] {
            Value::String(text) => Bytes::from(text.clone()),
            body => Bytes::from(body.to_string()),
        };
        let key = if case["key"] == true { faregate_testkit::MASTER_KEY } else { "" };
        let address = gateway.url().trim_start_matches("http://").parse().unwrap();
        let reply = Client::new(address, key).call(Method::POST, path, body).await;
        assert_eq!(u64::from(reply.status.as_u16()), case["status"].as_u64().unwrap(), "{case}");
        let error = &reply.json()["error"];
        // LiteLLM's own exceptions have no type here; ours all have the one shape.
        if !case["type"].is_null() {
            assert_eq!(error["type"], case["type"], "{case}");
        }
        if case["param"] == "None" {
            assert!(error["param"].is_null(), "the text None is a slip: {error}");
        } else if !case["param"].is_null() {
            assert_eq!(error["param"], case["param"], "{case}");
        }
        if !case["code"].is_null() {
            assert_eq!(error["code"], case["code"], "{case}");
        }
    }
}

#[tokio::test]
async fn lists_and_health_have_the_members_that_scripts_read() {
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider).await;
    for case in golden()["tables"].as_array().unwrap() {
        let path = case["path"].as_str().unwrap();
        let reply = gateway.get(path).await;
        assert_eq!(reply.status, 200, "{path}");
        if let Some(body) = case.get("body") {
            assert_eq!(reply.json(), *body, "{path}");
            continue;
        }
        let data = reply.json()["data"].as_array().unwrap().clone();
        assert_eq!(data.len() as u64, case["rows"].as_u64().unwrap(), "{path}");
        let keys: BTreeSet<&str> =
            data.iter().flat_map(|row| row.as_object().unwrap().keys().map(String::as_str)).collect();
        let missing: Vec<&str> = words(&case["keys"]).difference(&keys).copied().collect();
        assert!(missing.is_empty(), "{path}: {missing:?}");
    }
    let info = gateway.get("/v1/model/info").await.json();
    for row in info["data"].as_array().unwrap() {
        for key in ["input_cost_per_token", "max_input_tokens", "mode", "supports_vision", "key", "id"] {
            assert!(row["model_info"].get(key).is_some(), "{}: {key}", row["model_name"]);
        }
    }
    let models = gateway.get("/v1/models").await.json();
    assert_eq!(models["data"][0]["max_input_tokens"], 128_000);
    let nobody = gateway.get("/v1/model/info?litellm_model_id=nope").await;
    assert_eq!(nobody.status, 400);
    let raw = gateway.get("/utils/supported_openai_params?model=groq/llama-3.3-70b-versatile").await;
    assert_eq!(raw.status, 200, "no key is needed to ask: {}", raw.json());
}

#[tokio::test]
async fn tokens_are_counted_as_litellm_counts_them() {
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider).await;
    for case in golden()["counts"].as_array().unwrap() {
        let reply = gateway.post("/utils/token_counter", &case["body"]).await.json();
        let (ours, theirs) =
            (reply["total_tokens"].as_u64().unwrap(), case["total_tokens"].as_u64().unwrap());
        // Nobody knows how OpenAI writes tools into a prompt.
        let slack = if case["body"].get("tools").is_some() { 3 } else { 0 };
        assert!(ours.abs_diff(theirs) <= slack, "{case}: {ours}");
        assert_eq!(reply["count_source"], "local_estimate");
        assert_eq!(reply["tokenizer_type"], "openai_tokenizer");
    }
}

#[tokio::test]
async fn metrics_have_the_names_and_labels_of_dashboards_in_both_formats() {
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider).await;
    let mut receipts = gateway.receipts();
    for (text, stream) in [("hello", false), ("hello", true), ("[[fake: status=500]]", false)] {
        let (path, mut body) = request("chat", "openai", text);
        body["stream"] = json!(stream);
        gateway.post(path, &body).await;
        receipts.next().await;
    }
    let golden = golden();
    let reply = gateway.get("/metrics").await;
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    for family in FAMILIES {
        let sample = text
            .lines()
            .find(|line| line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .unwrap_or_else(|| panic!("{family} is missing"));
        let labels = sample.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
        let names: BTreeSet<&str> =
            labels.split("\",").filter_map(|pair| pair.split_once("=\"").map(|(name, _)| name)).collect();
        assert_eq!(names, words(&golden["metrics"][*family]), "{family}");
        let declared = family.trim_end_matches("_bucket");
        assert!(text.contains(&format!("# TYPE {declared} ")), "{declared} has no type line");
    }
    assert!(!text.contains("# EOF"));
}
