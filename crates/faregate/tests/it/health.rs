//! Health checks in the background over replicas, and probes that answer whatever else is busy.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use faregate::workers::Workers;
use faregate::{assemble, listen, probe_port};
use faregate_catalog::Catalog;
use faregate_config::{ServeEnv, Snapshot};
use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_gateway::gate::{Gate, Services};
use faregate_gateway::metrics::DEFAULT_BUCKETS;
use faregate_testkit::postgres::Database;
use serde_json::{Value, json};
use tempfile::tempdir;
use tokio_util::sync::CancellationToken;

use crate::process::{Answer as Reply, Running, faregate};

const MASTER: &str = "sk-health-master-key-0123456789";
/// Reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(30);

fn config(provider: &FakeProvider, interval: f64) -> String {
    let entry = |model: &str| {
        json!({
            "model_name": "a",
            "litellm_params": {
                "model": format!("openai/{model}"), "api_key": "sk-up", "api_base": format!("{}/v1", provider.url()),
            },
            "model_info": {"id": model},
        })
    };
    json!({
        "model_list": [entry("well"), entry("sick")],
        "general_settings": {
            "background_health_checks": true, "enable_health_check_routing": true, "health_check_interval": interval,
        },
    })
    .to_string()
}

fn replica(folder: &Path, database: &Database, config: &str) -> Running {
    fs::write(folder.join("config.yaml"), config).unwrap();
    let mut command = faregate(folder, &["--config", "config.yaml"]);
    command.env("DATABASE_URL", database.url()).env("LITELLM_MASTER_KEY", MASTER);
    Running::of(command)
}

fn get(running: &Running, path: &str) -> Value {
    let answer = running.call("GET", path, MASTER, b"");
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_checks_and_all_know_what_it_found() {
    let (database, provider) = (Database::create().await, FakeProvider::start().await);
    provider.always(Matcher::model("sick"), Answer::status(500));
    let config = config(&provider, 3600.0);
    let folders = [tempdir().unwrap(), tempdir().unwrap()];
    let [a, b] = folders.each_ref().map(|folder| replica(folder.path(), &database, &config));
    let counts = |running: &Running| {
        let health = get(running, "/health");
        (health["healthy_count"].as_u64().unwrap(), health["unhealthy_count"].as_u64().unwrap())
    };
    for running in [&a, &b] {
        until("the result of the checks", || counts(running) == (1, 1));
    }
    assert_eq!(provider.requests().len(), 2, "one call for each deployment, by one replica");
    for running in [&a, &b] {
        let body = json!({"model": "a", "messages": [{"role": "user", "content": "hi"}]}).to_string();
        until("the end of requests to the sick one", || {
            let answer = running.call("POST", "/route/explain", MASTER, body.as_bytes());
            answer.json()["plan"] == json!([["well"]])
        });
    }
    until("rows", || get(&a, "/health/latest")["total_models"] == 2);
    let latest = get(&b, "/health/latest")["latest_health_checks"].clone();
    assert_eq!(latest["well"]["status"], "healthy");
    assert_eq!(
        (latest["sick"]["status"].as_str(), latest["sick"]["unhealthy_count"].as_i64()),
        (Some("unhealthy"), Some(1))
    );
    let history = get(&a, "/health/history?status_filter=unhealthy&limit=5");
    assert_eq!(
        (history["total_records"].as_u64(), history["limit"].as_u64()),
        (Some(1), Some(5)),
        "{history}"
    );
    assert_eq!(history["health_checks"][0]["model_id"], "sick");
    // Who starts later asks nobody: it is known.
    let late = tempdir().unwrap();
    let c = replica(late.path(), &database, &config);
    until("what the others found", || counts(&c) == (1, 1));
    assert_eq!(provider.requests().len(), 2);
    assert_eq!(get(&c, "/health/shared-status")["shared_health_check_enabled"], true);
    // What checks cost is on the books, under a name that reports can leave out.
    until("receipts of the checks", || {
        let logs = get(&a, "/spend/logs?summarize=false");
        let rows = logs.as_array().map(Vec::as_slice).unwrap_or_default();
        rows.iter().filter(|row| row["api_key"] == "litellm-internal-health-check").count() == 2
    });
    for path in ["/spend/logs/v2", "/spend/logs/ui"] {
        let rows = |more: &str| get(&a, &format!("{path}?page_size=100{more}"))["total"].clone();
        assert_eq!((rows(""), rows("&exclude_internal_health_checks=true")), (json!(2), json!(0)), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_is_well_again_comes_back() {
    let (database, provider) = (Database::create().await, FakeProvider::start().await);
    provider.always(Matcher::model("sick"), Answer::status(500));
    let folder = tempdir().unwrap();
    let running = replica(folder.path(), &database, &config(&provider, 0.5));
    let count = || get(&running, "/health")["healthy_count"].as_u64().unwrap();
    until("the first checks", || count() == 1);
    provider.reset();
    until("the recovery", || count() == 2);
    let body = json!({"model": "a", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    until("its requests", || {
        let answer = running.call("POST", "/route/explain", MASTER, body.as_bytes());
        answer.json()["plan"][0].as_array().is_some_and(|plan| plan.len() == 2)
    });
}

fn ask(address: SocketAddr, path: &str) -> Option<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").as_bytes())
        .ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    Some(Reply::read(bytes.as_slice()))
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_answer_on_their_own_port_while_nothing_else_does() {
    let snapshot = Snapshot::default();
    let (environment, _) = ServeEnv::read(&snapshot.env);
    let upstream = assemble::upstream(&environment, &snapshot, 1).unwrap();
    let (table, _) = assemble::table(&snapshot, &upstream, &Arc::new(Catalog::built_in()), None, None);
    let gate = Arc::new(Gate::new(table, &DEFAULT_BUCKETS, Services::alone()));
    let workers = Workers::start(2).unwrap();
    let runtimes: Vec<_> = workers.runtimes().collect();
    let listener = listen::bind("127.0.0.1", 0).await.unwrap();
    let main = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let probes = probe_port::start(([127, 0, 0, 1], 0).into(), Arc::clone(&gate), stop.clone()).unwrap();
    let front = listen::Front::default();
    let serving = listen::serve(
        listener,
        workers,
        Arc::clone(&gate),
        front,
        None,
        stop.clone(),
        Duration::from_secs(5),
    );
    let serving = tokio::spawn(serving);
    let over = Arc::new(AtomicBool::new(false));
    let asked = tokio::task::spawn_blocking(move || {
        assert_eq!(ask(main, "/health/liveliness").unwrap().status, 200);
        let busy = Arc::clone(&over);
        for runtime in runtimes {
            let busy = Arc::clone(&busy);
            runtime.spawn(async move {
                // Holds the thread, as work without end would.
                while !busy.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let mut slowest = Duration::ZERO;
        for round in 0..50 {
            for path in ["/health/liveliness", "/health/readiness"] {
                let since = Instant::now();
                let answer = ask(probes, path).unwrap();
                assert_eq!(answer.status, 200, "{round} {path}");
                slowest = slowest.max(since.elapsed());
            }
        }
        println!("the slowest of 100 probes took {slowest:?}");
        // A probe that had waited for the busy threads would wait still.
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
        assert_eq!(ask(probes, "/v1/models").unwrap().status, 404);
        let mut stuck = TcpStream::connect(main).unwrap();
        stuck.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        stuck.write_all(b"GET /health/liveliness HTTP/1.1\r\nhost: t\r\n\r\n").unwrap();
        assert!(stuck.read(&mut [0]).is_err(), "the main port is saturated");
        gate.ending.store(true, Ordering::SeqCst);
        let answer = ask(probes, "/health/liveliness").unwrap();
        assert_eq!((answer.status, answer.json()), (503, json!({"status": "shutting_down"})));
        over.store(true, Ordering::SeqCst);
    });
    asked.await.unwrap();
    stop.cancel();
    serving.await.unwrap();
}

#[test]
fn the_port_of_probes_is_a_variable_of_the_environment() {
    let folder = tempdir().unwrap();
    let mut command = faregate(folder.path(), &[]);
    command.env("SEPARATE_HEALTH_APP", "1").env("SEPARATE_HEALTH_PORT", "0");
    let running = Running::of(command);
    let line = running.greeting.iter().find(|line| line.contains("probes are answered on")).unwrap();
    let address = line.split("http://").nth(1).unwrap().split_whitespace().next().unwrap();
    assert_eq!(ask(address.parse().unwrap(), "/health/readiness").unwrap().json()["db"], "connected");
}

#[test]
fn probes_say_how_they_may_be_asked() {
    let folder = tempdir().unwrap();
    let running = Running::start(folder.path(), &[]);
    for path in ["/health/readiness", "/health/liveliness", "/health/liveness"] {
        let answer = running.call("OPTIONS", path, "", b"");
        assert_eq!((answer.status, answer.header("allow").as_deref()), (200, Some("get, options")), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_asked_for_is_stored_with_who_asked() {
    let provider = FakeProvider::start().await;
    let folder = tempdir().unwrap();
    let mut config: Value = serde_json::from_str(&config(&provider, 3600.0)).unwrap();
    config["general_settings"] = json!({});
    fs::write(folder.path().join("config.yaml"), config.to_string()).unwrap();
    let mut command = faregate(folder.path(), &["--config", "config.yaml"]);
    command.env("LITELLM_MASTER_KEY", MASTER);
    let running = Running::of(command);
    for _ in 0..2 {
        assert_eq!(get(&running, "/health?model_id=well")["healthy_count"], 1);
    }
    // In the file of the data directory as in PostgreSQL: every one of them, and the newest of each.
    until("both rows", || get(&running, "/health/history?model=a")["total_records"] == 2);
    assert_eq!(
        get(&running, "/health/history?limit=1&offset=1")["health_checks"].as_array().unwrap().len(),
        1
    );
    let latest = get(&running, "/health/latest");
    assert_eq!(
        (latest["total_models"].as_u64(), &latest["latest_health_checks"]["well"]["checked_by"]),
        (Some(1), &json!("litellm_proxy_master_key"))
    );
}
