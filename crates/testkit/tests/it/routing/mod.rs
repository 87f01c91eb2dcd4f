//! Retries, fallbacks, cooldowns and strategies, as clients see them.

mod affinity;
mod attempts;
mod auto;
mod choice;
mod cooldowns;
mod explain;
mod fallbacks;
mod faults;
mod figures;
mod groups;
mod guard;
mod hedging;
mod keys;
mod limits;
mod mirror;
mod relay;
mod storm;

use faregate_config::Env;
use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_gateway::gate::Services;
use faregate_testkit::{Gateway, MASTER_KEY, Reply};
use serde_json::{Value, json};

/// One deployment: its group, the upstream model that tells it apart, and further settings of the entry.
fn entry(provider: &FakeProvider, group: &str, model: &str, more: Value) -> Value {
    let mut params = json!({
        "model": format!("openai/{model}"), "api_key": "sk-up", "api_base": format!("{}/v1", provider.url()),
    });
    let mut entry = json!({"model_name": group, "model_info": {"id": model}});
    for (key, value) in more.as_object().cloned().unwrap_or_default() {
        let place =
            if key == "model_info" { entry["model_info"].as_object_mut() } else { params.as_object_mut() };
        match value {
            Value::Object(members) if key == "model_info" => place.unwrap().extend(members),
            value => drop(place.unwrap().insert(key, value)),
        }
    }
    entry["litellm_params"] = params;
    entry
}

fn config(entries: impl IntoIterator<Item = Value>, router: Value) -> String {
    let list: Vec<Value> = entries.into_iter().collect();
    json!({
        "model_list": list,
        "router_settings": router,
        "litellm_settings": {"callbacks": ["prometheus"], "require_auth_for_metrics_endpoint": false},
        "general_settings": {"master_key": MASTER_KEY},
    })
    .to_string()
}

async fn start(entries: impl IntoIterator<Item = Value>, router: Value) -> Gateway {
    Gateway::start(&config(entries, router)).await
}

async fn start_over(entries: impl IntoIterator<Item = Value>, router: Value, services: Services) -> Gateway {
    Gateway::start_over(&config(entries, router), &Env::empty(), services).await
}

fn fails(provider: &FakeProvider, model: &str, status: u16) {
    provider.always(Matcher::model(model), Answer::status(status));
}

fn ask(group: &str, more: Value) -> Value {
    let mut body = json!({"model": group, "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    body
}

async fn chat(gateway: &Gateway, group: &str, more: Value) -> Reply {
    gateway.post("/v1/chat/completions", &ask(group, more)).await
}

fn number(reply: &Reply, header: &str) -> Option<u64> {
    reply.header(header)?.parse().ok()
}

/// Upstream models in the order they were called.
fn called(provider: &FakeProvider) -> Vec<String> {
    let model =
        |body: &[u8]| serde_json::from_slice::<Value>(body).ok()?["model"].as_str().map(str::to_owned);
    provider.requests().iter().filter_map(|request| model(&request.body)).collect()
}

/// The values of a metric's series that have all these labels.
async fn metric(gateway: &Gateway, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
    let text = gateway.get("/metrics").await;
    let text = String::from_utf8(text.body.to_vec()).unwrap();
    let marks: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    text.lines()
        .filter(|line| line.starts_with(name) && marks.iter().all(|mark| line.contains(mark)))
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect()
}
