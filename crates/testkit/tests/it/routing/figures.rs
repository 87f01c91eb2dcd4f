//! What another replica does with the deployments counts here as well.

use std::sync::Arc;
use std::time::{Duration, Instant};

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_gateway::gate::Services;
use faregate_state::feed::MemoryLog;
use faregate_state::figures::Figures;
use faregate_testkit::Gateway;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{ask, called, chat, config, entry, start_over};

/// The figures that a gateway shares over `log`, until the token ends.
fn services(log: &Arc<MemoryLog>) -> (Services, CancellationToken) {
    let (alone, stop) = (Services::alone(), CancellationToken::new());
    let (figures, run) = Figures::shared(log.clone(), alone.clock.clone(), stop.clone());
    tokio::spawn(run);
    (Services { figures, ..alone }, stop)
}

/// Waits until these deployments' latencies are known, and no other's; a second is the rule, the rest is for busy machines.
async fn known(gateway: &Gateway, expected: &[&str]) {
    let since = Instant::now();
    loop {
        let says = gateway.post("/route/explain", &ask("a", json!({}))).await.json();
        let rows = says["candidates"].as_array().unwrap().iter();
        let known = rows.filter(|row| row["latency_seconds"].is_number());
        if known.map(|row| row["deployment"].as_str().unwrap()).eq(expected.iter().copied()) {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(8), "{says}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_replica_need_not_find_out_itself_who_is_slow() {
    let provider = FakeProvider::start().await;
    provider.always(Matcher::model("slow"), Answer::directive("first_byte_ms=150"));
    let entries = ["slow", "fast"].map(|model| entry(&provider, "a", model, json!({})));
    let router = json!({"routing_strategy": "latency-based-routing"});
    let log = Arc::new(MemoryLog::default());
    let ((here, here_ends), (there, _there_ends)) = (services(&log), services(&log));
    let here = start_over(entries.clone(), router.clone(), here).await;
    let there = start_over(entries.clone(), router.clone(), there).await;
    known(&there, &[]).await;
    for model in ["slow", "fast"] {
        assert_eq!(chat(&here, model, json!({})).await.status, 200);
    }
    known(&there, &["slow", "fast"]).await;
    // A record outlives a reload, with what others said.
    there.swap(&config(entries, router));
    for _ in 0..6 {
        assert_eq!(chat(&there, "a", json!({})).await.status, 200);
    }
    assert_eq!(called(&provider)[2..], ["fast"; 6]);
    here_ends.cancel();
    // What it found out itself stays.
    known(&there, &["fast"]).await;
}
