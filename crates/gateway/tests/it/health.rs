//! Asking deployments how they are.

use faregate_config::Env;
use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_testkit::{Client, Gateway, MASTER_KEY};
use serde_json::{Value, json};

fn entry(provider: &FakeProvider, group: &str, model: &str, info: Value) -> Value {
    let mut entry = json!({
        "model_name": group,
        "litellm_params": {
            "model": format!("openai/{model}"), "api_key": "sk-up-secret", "api_base": format!("{}/v1", provider.url()),
        },
        "model_info": {"id": model},
    });
    for (key, value) in info.as_object().cloned().unwrap_or_default() {
        entry["model_info"][key] = value;
    }
    entry
}

fn config(entries: &[Value], general: &Value) -> String {
    let mut general = general.clone();
    general["master_key"] = json!(MASTER_KEY);
    json!({"model_list": entries, "general_settings": general}).to_string()
}

async fn start(entries: &[Value], general: Value) -> Gateway {
    Gateway::start(&config(entries, &general)).await
}

fn ids(answer: &Value, list: &str) -> Vec<String> {
    let rows = answer[list].as_array().unwrap();
    rows.iter().map(|row| row["model_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_deployment_is_called_and_shown_without_its_key() {
    let provider = FakeProvider::start().await;
    provider.always(Matcher::model("sick"), Answer::status(500));
    let entries = [
        entry(&provider, "a", "well", json!({"health_check_max_tokens": 7})),
        entry(&provider, "b", "sick", json!({})),
        entry(&provider, "c", "painter", json!({"mode": "image_generation"})),
    ];
    let gateway = start(&entries, json!({})).await;
    let mut receipts = gateway.receipts();
    let answer = gateway.get("/health").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = answer.json();
    assert_eq!(ids(&shown, "healthy_endpoints"), ["well"]);
    assert_eq!(ids(&shown, "unhealthy_endpoints"), ["sick", "painter"]);
    assert_eq!((shown["healthy_count"].as_u64(), shown["unhealthy_count"].as_u64()), (Some(1), Some(2)));
    let unhealthy = &shown["unhealthy_endpoints"];
    assert_eq!(unhealthy[0]["exception_status"], 500);
    // Nobody pretends to have asked.
    assert_eq!(unhealthy[1]["exception_status"], 501);
    assert!(unhealthy[1]["error"].as_str().unwrap().contains("audio_transcription"), "{unhealthy}");
    assert!(!answer.text().contains("sk-up-secret"));
    let asked = provider.requests();
    assert_eq!(asked.len(), 2);
    let of_well = asked.iter().find(|it| String::from_utf8_lossy(&it.body).contains("well")).unwrap();
    let body: Value = serde_json::from_slice(&of_well.body).unwrap();
    assert_eq!(body["max_tokens"].as_u64().or_else(|| body["max_completion_tokens"].as_u64()), Some(7));
    for _ in 0..2 {
        let receipt = receipts.next().await;
        assert_eq!(receipt.account.api_key, "litellm-internal-health-check");
        assert_eq!(&*receipt.route, "/health");
    }
}

#[tokio::test]
async fn one_deployment_is_asked_by_name_or_id_and_its_failure_is_the_status() {
    let provider = FakeProvider::start().await;
    provider.always(Matcher::model("sick"), Answer::status(401));
    let entries = [entry(&provider, "a", "well", json!({})), entry(&provider, "b", "sick", json!({}))];
    let gateway = start(&entries, json!({})).await;
    for (query, status, calls) in
        [("model=a", 200, 1), ("model_id=well", 200, 1), ("model=b", 503, 1), ("model_id=sick", 503, 1)]
    {
        let before = provider.requests().len();
        let answer = gateway.get(&format!("/health?{query}")).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
        assert_eq!(provider.requests().len() - before, calls, "{query}");
    }
    assert_eq!(gateway.get("/health?model_id=nobody").await.status, 404);
    let health = gateway.get("/model_group/info?model_group=a").await.json()["data"][0].clone();
    assert_eq!(health["health_status"], "healthy");
    assert!(
        health["health_checked_at"].is_string() && health["health_response_time"].is_number(),
        "{health}"
    );
}

#[tokio::test]
async fn a_wildcard_is_checked_by_the_model_it_names_for_that() {
    let provider = FakeProvider::start().await;
    let entries = [
        entry(&provider, "wild/*", "*", json!({"health_check_model": "openai/small"})),
        entry(&provider, "tame/*", "*", json!({"id": "second"})),
    ];
    let gateway = start(&entries, json!({})).await;
    let shown = gateway.get("/health").await.json();
    assert_eq!(ids(&shown, "healthy_endpoints"), ["*"], "{shown}");
    let error = shown["unhealthy_endpoints"][0]["error"].as_str().unwrap();
    assert!(error.contains("health_check_model"), "{error}");
    let body: Value = serde_json::from_slice(&provider.requests()[0].body).unwrap();
    assert_eq!(body["model"], "small");
}

#[tokio::test]
async fn a_deployment_that_hangs_is_not_waited_for() {
    let provider = FakeProvider::start().await;
    provider.always(Matcher::model("slow"), Answer::directive("first_byte_ms=60000"));
    let gateway =
        start(&[entry(&provider, "a", "slow", json!({"health_check_timeout": 0.2}))], json!({})).await;
    let answer = gateway.get("/health?model=a").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.json()["unhealthy_endpoints"][0]["exception_status"], 408, "{}", answer.text());
}

#[tokio::test]
async fn a_deployment_that_fails_its_check_gets_no_requests_unless_all_of_its_group_do() {
    let provider = FakeProvider::start().await;
    provider.always(Matcher::model("sick"), Answer::status(500));
    let entries = [entry(&provider, "a", "well", json!({})), entry(&provider, "a", "sick", json!({}))];
    let general = json!({"background_health_checks": true, "enable_health_check_routing": true});
    let gateway = start(&entries, general).await;
    let gate = std::sync::Arc::clone(gateway.gate());
    let table = gate.table.load_full();
    let plan = async || {
        let body = json!({"model": "a", "messages": [{"role": "user", "content": "hi"}]});
        let mut plan: Vec<String> =
            serde_json::from_value(gateway.post("/route/explain", &body).await.json()["plan"][0].clone())
                .unwrap();
        plan.sort_unstable();
        plan
    };
    faregate_gateway::checkup::round(&gate, &table, &[0, 1], None).await;
    assert_eq!(plan().await, ["well"]);
    // What was found in the background is shown, not asked again.
    let asked = provider.requests().len();
    assert_eq!(ids(&gateway.get("/health").await.json(), "unhealthy_endpoints"), ["sick"]);
    assert_eq!(provider.requests().len(), asked);
    provider.always(Matcher::model("well"), Answer::status(500));
    faregate_gateway::checkup::round(&gate, &table, &[0, 1], None).await;
    assert_eq!(plan().await, ["sick", "well"]);
    // Lists may leave out what nobody can be sent to; it can be called all the same.
    let names = async |path: &str| gateway.get(path).await.json()["data"].as_array().unwrap().len();
    assert_eq!(names("/v1/models").await, 1);
    assert_eq!(names("/v1/models?healthy_only=true").await, 0);
    assert_eq!(names("/v1/model/info?healthy_only=true").await, 0);
}

#[tokio::test]
async fn a_model_is_tried_before_it_is_saved_and_its_secrets_stay_secret() {
    let provider = FakeProvider::start().await;
    let gateway = start(&[entry(&provider, "a", "well", json!({}))], json!({})).await;
    let params = |model: &str| json!({"model": format!("openai/{model}"), "api_key": "sk-new-secret", "api_base": format!("{}/v1", provider.url())});
    let trial = async |body: Value| {
        let answer = gateway.post("/health/test_connection", &body).await;
        assert!(!answer.text().contains("secret"), "{}", answer.text());
        (answer.status.as_u16(), answer.json())
    };
    let (status, answer) = trial(json!({"mode": "chat", "litellm_params": params("new")})).await;
    assert_eq!((status, answer["status"].as_str()), (200, Some("success")), "{answer}");
    provider.always(Matcher::model("broken"), Answer::status(401));
    let (_, answer) = trial(json!({"litellm_params": params("broken")})).await;
    assert_eq!(
        (answer["status"].as_str(), answer["result"]["exception_status"].as_u64()),
        (Some("error"), Some(401))
    );
    let (_, answer) = trial(json!({"litellm_params": {"model": "a"}})).await;
    assert_eq!(answer["status"], "success", "the configuration's own: {answer}");
    let (_, answer) = trial(json!({"mode": "image_generation", "litellm_params": params("new")})).await;
    assert_eq!(answer["result"]["exception_status"], 501, "{answer}");
    for (mode, path) in [
        ("embedding", "/embeddings"),
        ("audio_transcription", "/audio/transcriptions"),
        ("responses", "/responses"),
    ] {
        let (_, answer) = trial(json!({"mode": mode, "litellm_params": params("new")})).await;
        assert_eq!(answer["status"], "success", "{mode}: {answer}");
        assert!(provider.requests().last().unwrap().path.ends_with(path), "{mode}");
    }
    let reference =
        json!({"litellm_params": {"model": "openai/x", "api_key": "os.environ/LITELLM_MASTER_KEY"}});
    assert_eq!(trial(reference).await.0, 400);
    assert_eq!(trial(json!({"litellm_params": {}})).await.0, 400);
    let (status, answer) = trial(json!({"litellm_params": {"model": "openai/x", "rpm": "many"}})).await;
    assert!(status == 400 && answer.to_string().contains("rpm"), "{answer}");
}

#[tokio::test]
async fn what_is_for_administrators_is_for_nobody_else() {
    let provider = FakeProvider::start().await;
    let gateway = start(&[entry(&provider, "a", "well", json!({}))], json!({})).await;
    for path in ["/health/backlog", "/health/license", "/health/shared-status", "/health/readiness/details"] {
        assert_eq!(gateway.get(path).await.status, 200, "{path}");
        let stranger =
            Client::new(gateway.url().strip_prefix("http://").unwrap().parse().unwrap(), "sk-nobody");
        assert!(stranger.get(path).await.status.as_u16() >= 400, "{path}");
    }
    let details = gateway.get("/health/readiness/details").await.json();
    assert_eq!(
        (details["status"].as_str(), details["db"].as_str()),
        (Some("healthy"), Some("Not connected"))
    );
    assert_eq!(gateway.get("/health/services?service=slack").await.status, 501);
    assert_eq!(gateway.get("/health/services?service=pigeon").await.status, 400);
    assert_eq!(gateway.get("/health/license").await.json()["has_license"], false);
}

#[tokio::test]
async fn a_drain_needs_its_token_and_takes_the_process_out_of_rotation() {
    let provider = FakeProvider::start().await;
    let entries = [entry(&provider, "a", "well", json!({}))];
    let off = start(&entries, json!({})).await;
    assert_eq!(off.get("/health/drain").await.status, 404);
    let general = json!({"enable_drain_endpoint": true, "drain_endpoint_token": "tok-secret"});
    let gateway = Gateway::start_with(&config(&entries, &general), &Env::empty()).await;
    assert_eq!(gateway.get("/health/drain").await.status, 401);
    assert_eq!(gateway.get("/health/liveliness").await.status, 200);
    let answer = gateway.client().with("x-drain-token", "tok-secret").get("/health/drain").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["status"], "drained");
    for path in ["/health/liveliness", "/health/readiness"] {
        let answer = gateway.get(path).await;
        assert_eq!(answer.status, 503, "{path}");
        assert_eq!(answer.json(), json!({"status": "shutting_down"}), "{path}");
    }
}
