//! Copies of requests to other groups: the client does not notice them, and they are on record.

use std::sync::Arc;

use faregate_config::Env;
use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_gateway::caller::{Caller, Subject};
use faregate_gateway::gate::Services;
use faregate_gateway::ports::{PrincipalSource, Then, Which};
use faregate_gateway::principals::Principals;
use faregate_state::limits::{Limit, Rule, Scope, ScopeKey, Window};
use faregate_terms::{Account, KeyHash, PicoUsd, Receipt};
use faregate_testkit::{Client, Gateway, Receipts};
use serde_json::{Value, json};

use super::{ask, called, chat, config, entry, metric};

/// The key, and what it may spend.
pub(super) struct One(pub(super) Vec<Limit>);

impl PrincipalSource for One {
    fn key(&self, _: KeyHash, then: Then<Caller>) {
        let account = Account { api_key: "k".into(), ..Account::default() };
        then(Ok(Some(Arc::new(Caller { account, limits: self.0.clone(), ..Caller::default() }))));
    }

    fn subject(&self, _: &Which, then: Then<Subject>) {
        then(Ok(None));
    }
}

/// Group `a`, at one cent per token of output, whose requests are copied to `silent`.
async fn gateway(provider: &FakeProvider, silent: Value, limits: Vec<Limit>) -> Gateway {
    let own = |group, model, silent: &Value| {
        let more = json!({"input_cost_per_token": 0, "output_cost_per_token": 0.01, "silent_model": silent});
        entry(provider, group, model, more)
    };
    let entries = [own("a", "up-a", &silent), own("b", "up-b", &json!("a")), own("c", "up-c", &json!([]))];
    let mut services = Services::alone();
    services.principals = Some(Arc::new(Principals::new(Arc::new(One(limits)))));
    let text = config(entries, json!({"num_retries": 0, "cooldown_time": 0}));
    Gateway::start_over(&text, &Env::empty(), services).await
}

fn client(gateway: &Gateway) -> Client {
    Client::new(gateway.url().trim_start_matches("http://").parse().unwrap(), "sk-one")
}

/// The next receipts: that of the client's request, and those of its copies by group.
async fn next(receipts: &mut Receipts, count: usize) -> (Arc<Receipt>, Vec<Arc<Receipt>>) {
    let mut own = None;
    let mut copies = Vec::new();
    for _ in 0..count {
        let receipt = receipts.next().await;
        match &receipt.log.metadata {
            Some(text) if text.contains("is_silent_experiment") => copies.push(receipt),
            _ => own = Some(receipt),
        }
    }
    copies.sort_by_key(|receipt| receipt.requested_model.clone());
    (own.unwrap(), copies)
}

#[tokio::test]
async fn a_copy_is_answered_in_the_background_and_booked_on_the_key() {
    for stream in [false, true] {
        let provider = FakeProvider::start().await;
        let gateway = gateway(&provider, json!(["b", "c"]), Vec::new()).await;
        let mut receipts = gateway.receipts();
        let reply = client(&gateway).post("/v1/chat/completions", &ask("a", json!({"stream": stream}))).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-litellm-model-id")), (200, Some("up-a")));
        let (own, copies) = next(&mut receipts, 3).await;
        let groups: Vec<_> = copies.iter().map(|copy| copy.model_group.as_ref().unwrap().as_str()).collect();
        assert_eq!(groups, ["b", "c"], "and none of `b` to `a`");
        for copy in &copies {
            assert_eq!((copy.account.api_key.as_str(), copy.stream), ("k", stream));
            assert!(copy.call_id != own.call_id && copy.cost > Some(PicoUsd::ZERO), "{copy:?}");
            let metadata: Value = serde_json::from_str(copy.log.metadata.as_deref().unwrap()).unwrap();
            assert_eq!(metadata["faregate_copy_of"], own.call_id.as_str());
        }
        assert_eq!(own.cost, copies[0].cost, "the client's request pays its own call alone");
        assert_eq!(own.attempts.len(), 1);
        let mut models = called(&provider);
        models.sort();
        assert_eq!(models, ["up-a", "up-b", "up-c"]);
        let sent: Value = serde_json::from_slice(&provider.requests()[0].body).unwrap();
        assert_eq!(sent["silent_model"], Value::Null, "the setting is not for providers");
    }
}

#[tokio::test]
async fn every_dialect_is_copied() {
    let messages = json!([{"role": "user", "content": "hi"}]);
    for (path, body) in [
        ("/v1/messages", json!({"model": "a", "max_tokens": 9, "messages": messages})),
        ("/v1/responses", json!({"model": "a", "input": "hi"})),
    ] {
        let provider = FakeProvider::start().await;
        let gateway = gateway(&provider, json!("b"), Vec::new()).await;
        let mut receipts = gateway.receipts();
        assert_eq!(client(&gateway).post(path, &body).await.status, 200, "{path}");
        let (own, copies) = next(&mut receipts, 2).await;
        assert_eq!((copies[0].usage.output, &copies[0].route), (own.usage.output, &own.route), "{path}");
    }
}

#[tokio::test]
async fn a_copy_that_fails_or_hangs_is_not_the_clients() {
    for directive in ["status=500", "stall_after=0"] {
        let provider = FakeProvider::start().await;
        provider.always(Matcher::model("up-b"), Answer::directive(directive));
        let gateway = gateway(&provider, json!("b"), Vec::new()).await;
        assert_eq!(chat(&gateway, "a", json!({})).await.status, 200, "{directive}");
    }
}

#[tokio::test]
async fn only_so_many_copies_are_under_way() {
    let provider = FakeProvider::start().await;
    provider.always(Matcher::model("up-b"), Answer::directive("stall_after=0"));
    let gateway = gateway(&provider, json!("b"), Vec::new()).await;
    let asks = (0..70).map(|_| chat(&gateway, "a", json!({})));
    for reply in futures_util::future::join_all(asks).await {
        assert_eq!(reply.status, 200);
    }
    let left_out = [("model_group", "b"), ("outcome", "left_out")];
    assert_eq!(metric(&gateway, "faregate_copies_total", &left_out).await, [6.0]);
}

#[tokio::test]
async fn rates_are_for_what_clients_ask_and_budgets_pay_copies() {
    let key = || ScopeKey::of(Scope::Key, "k");
    let budget = Limit::budget(key(), PicoUsd::parse("1").unwrap(), PicoUsd::ZERO, Window::Endless);
    let limits = vec![Limit::requests(key(), 2), budget.with_rule(Rule::Within)];
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider, json!("b"), limits).await;
    let mut receipts = gateway.receipts();
    for expected in [200, 200, 429] {
        let reply = client(&gateway).post("/v1/chat/completions", &ask("a", json!({}))).await;
        assert_eq!(reply.status, expected, "{}", reply.text());
        if expected == 200 {
            let (own, copies) = next(&mut receipts, 2).await;
            assert!(own.cost > Some(PicoUsd::ZERO) && copies[0].cost == own.cost);
        }
    }
}

#[tokio::test]
async fn a_budget_that_is_used_up_pays_no_copy() {
    let key = ScopeKey::of(Scope::Key, "k");
    let budget = Limit::budget(key, PicoUsd::parse("0.03").unwrap(), PicoUsd::ZERO, Window::Endless);
    let provider = FakeProvider::start().await;
    let gateway = gateway(&provider, json!("b"), vec![budget.with_rule(Rule::Within)]).await;
    let mut receipts = gateway.receipts();
    // Each answer costs three cents: what one of both takes, the other has not.
    let reply = client(&gateway).post("/v1/chat/completions", &ask("a", json!({"max_tokens": 3}))).await;
    let (own, copies) = next(&mut receipts, 2).await;
    assert_eq!(reply.status, 200);
    assert_eq!((own.status, copies[0].status), (200, 422));
    assert_eq!(called(&provider), ["up-a"]);
}
