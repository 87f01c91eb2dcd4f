//! Three whole gateways that share one Redis, or one PostgreSQL alone: what one lets rest all let rest, what one does with a
//! deployment all rank by, limits hold over the sum, budgets are used up and not passed, and a Redis that is away or slow is
//! nobody's trouble.
//!
//! An outage lasts two seconds here; `FAREGATE_OUTAGE_SECONDS=30` makes it as long as promised.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_store::{ListQuery, Settings, SpendLog, Store};
use faregate_testkit::line::{Line, State};
use faregate_testkit::postgres::Database;
use faregate_testkit::redis::RedisServer;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::outage::{line, outage};
use crate::process::{Answer as Reply, Running, faregate};

pub const MASTER: &str = "sk-cluster-master-key-0123456789";
/// A store that has only begun gives no leases for two seconds.
pub const BEGUN: Duration = Duration::from_millis(2_500);

fn replica(folder: &Path, config: &Value, database: &str, redis: Option<&str>) -> Running {
    fs::write(folder.join("config.yaml"), config.to_string()).unwrap();
    let mut command = faregate(folder, &["--config", "config.yaml"]);
    command.env("DATABASE_URL", database).env("LITELLM_MASTER_KEY", MASTER);
    if let Some(redis) = redis {
        command.env("REDIS_URL", redis);
    }
    Running::of(command)
}

pub fn replicas(
    count: usize,
    config: &Value,
    database: &str,
    redis: Option<&str>,
) -> Vec<(TempDir, Running)> {
    let one = |_| {
        let folder = tempdir().unwrap();
        let running = replica(folder.path(), config, database, redis);
        (folder, running)
    };
    (0..count).map(one).collect()
}

fn post(running: &Running, path: &str, body: &Value) -> Value {
    let answer = running.call("POST", path, MASTER, body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

fn entry(provider: &FakeProvider, group: &str, model: &str, more: &Value) -> Value {
    let mut params = json!({
        "model": format!("openai/{model}"), "api_key": "sk-up", "api_base": format!("{}/v1", provider.url()),
    });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"model_name": group, "litellm_params": params, "model_info": {"id": model}})
}

/// One chat; status, and how long it took.
async fn chat(address: &str, key: &str, more: &Value) -> (u16, String, Duration) {
    let mut body = json!({"model": "a", "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = body.to_string();
    let since = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let reply = Reply::read(bytes.as_slice());
    (reply.status, reply.body, since.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rest_on_one_of_three_is_honoured_by_all_within_a_second() {
    let (database, redis, provider) =
        (Database::create().await, RedisServer::start(), FakeProvider::start().await);
    provider.always(Matcher::model("tired"), Answer::status(429));
    let list = [entry(&provider, "a", "tired", &json!({})), entry(&provider, "a", "well", &json!({}))];
    let config = json!({"model_list": list, "router_settings": {"cooldown_time": 120}});
    let all = replicas(3, &config, &database.url(), Some(&redis.url()));
    let plan = |running: &Running| {
        let body = json!({"model": "a", "messages": [{"role": "user", "content": "hi"}]});
        post(running, "/route/explain", &body)["plan"].clone()
    };
    while plan(&all[0].1) != json!([["well"]]) {
        assert_eq!(all[0].1.chat("a", MASTER).status, 200, "the sibling answers");
    }
    let since = Instant::now();
    for (_, running) in &all[1..] {
        while plan(running) != json!([["well"]]) {
            // The promise is a second; a busy test machine gets some more before this fails.
            assert!(since.elapsed() < Duration::from_secs(5), "one has not heard of it");
        }
    }
    println!("all three knew after {:?}", since.elapsed());
    let before = provider.requests().len();
    for (_, running) in &all {
        assert_eq!(running.chat("a", MASTER).status, 200);
    }
    let called = provider.requests();
    assert!(called[before..].iter().all(|it| String::from_utf8_lossy(&it.body).contains("well")));
}

/// Asks again until it holds. The promise is a second; a busy test machine gets some more.
fn soon(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(5), "{what} has not been heard of");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_and_a_dead_key_of_one_are_known_to_the_other() {
    let (database, redis, provider) =
        (Database::create().await, RedisServer::start(), FakeProvider::start().await);
    let keys = json!({"api_keys": ["sk-up-2"]});
    let list = ["one", "two", "three", "four"].map(|model| entry(&provider, "a", model, &json!({})));
    let list = [&list[..], &[entry(&provider, "b", "keys", &keys)]].concat();
    let router = json!({"optional_pre_call_checks": ["session_affinity"], "num_retries": 0});
    let config = json!({"model_list": list, "router_settings": router});
    let all = replicas(2, &config, &database.url(), Some(&redis.url()));
    let (here, there) = (&all[0].1, &all[1].1);
    let body = |model: &str, more: Value| {
        let mut body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for session in 0..4 {
        let body = body("a", json!({"litellm_session_id": format!("s{session}")}));
        post(here, "/v1/chat/completions", &body);
        let home = post(here, "/route/explain", &body);
        assert_eq!(home["strategy"], "session_affinity", "{home}");
        soon("a session", || {
            let says = post(there, "/route/explain", &body);
            says["strategy"] == "session_affinity" && says["plan"][0][0] == home["plan"][0][0]
        });
    }
    provider.script(Matcher::model("keys"), [Answer::status(401)]);
    post(here, "/v1/chat/completions", &body("b", json!({})));
    soon("a dead key", || {
        post(there, "/route/explain", &body("b", json!({})))["candidates"][0]["keys_out"] == 1
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_does_with_a_deployment_the_other_ranks_by_until_it_is_gone() {
    let (database, redis, provider) =
        (Database::create().await, RedisServer::start(), FakeProvider::start().await);
    provider.always(Matcher::model("busy"), Answer::named("hang"));
    let list = [("a", "busy"), ("a", "idle"), ("b", "used"), ("b", "fresh")]
        .map(|(group, model)| entry(&provider, group, model, &json!({})));
    let by_use =
        json!({"group_name": "by-use", "models": ["b"], "routing_strategy": "usage-based-routing-v2"});
    let router = json!({"routing_strategy": "least-busy", "num_retries": 0, "routing_groups": [by_use]});
    let config = json!({"model_list": list, "router_settings": router});
    let mut all = replicas(2, &config, &database.url(), Some(&redis.url()));
    let ((_one, there), (_two, mut here)) = (all.pop().unwrap(), all.pop().unwrap());
    // The plan's first, and what is known of a deployment.
    let says = |group: &str, id: &str| {
        let body = json!({"model": group, "messages": [{"role": "user", "content": "hi"}]});
        let says = post(&there, "/route/explain", &body);
        let rows = says["candidates"].as_array().unwrap();
        let row = rows.iter().find(|row| row["deployment"] == id).unwrap().clone();
        (says["plan"][0][0].as_str().unwrap().to_owned(), row)
    };
    // Only this replica calls these two, by their ids.
    let hanging: Vec<_> = (0..3).map(|_| here.stream("busy", MASTER)).collect();
    soon("three calls in flight", || says("a", "busy").1["in_flight"] == 3);
    for _ in 0..4 {
        assert_eq!(says("a", "busy").0, "idle");
        let answer = there.chat("a", MASTER);
        assert_eq!((answer.status, answer.header("x-litellm-model-id")), (200, Some("idle".to_owned())));
    }
    soon("what was used and how long it took", || {
        // Again each time: a minute may turn.
        assert_eq!(here.chat("used", MASTER).status, 200);
        let (first, row) = says("b", "used");
        let is_known = row["tokens_this_minute"].as_u64() > Some(0) && row["latency_seconds"].is_number();
        is_known && first == "fresh"
    });
    here.signal("KILL");
    assert_eq!(here.ended(), None);
    let since = Instant::now();
    soon("the end of a replica", || {
        says("a", "busy").1["in_flight"] == 0 && says("b", "used").1["latency_seconds"].is_null()
    });
    println!("forgotten after {:?}", since.elapsed());
    drop(hanging);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployments_rate_holds_over_the_sum_of_three() {
    let (database, redis, provider) =
        (Database::create().await, RedisServer::start(), FakeProvider::start().await);
    let list = [entry(&provider, "a", "few", &json!({"rpm": 12}))];
    let config = json!({
        "model_list": list,
        "router_settings": {"routing_strategy": "usage-based-routing-v2", "num_retries": 0},
    });
    let all = replicas(3, &config, &database.url(), Some(&redis.url()));
    tokio::time::sleep(BEGUN).await;
    // All of it within one minute of the wall clock: the window must not turn meanwhile.
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() % 60;
    if seconds > 40 {
        tokio::time::sleep(Duration::from_secs(61 - seconds)).await;
    }
    let nothing = json!({});
    let asks = (0..36).map(|number| chat(&all[number % 3].1.address, MASTER, &nothing));
    let statuses: Vec<u16> = join_all(asks).await.into_iter().map(|(status, ..)| status).collect();
    let answered = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(provider.requests().len(), answered);
    assert!((1..=12).contains(&answered), "{answered} of at most 12: {statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
}

/// The time that 99 of 100 requests stay below.
fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[(times.len() * 99 / 100).min(times.len() - 1)]
}

/// Asks all replicas with several keys until told; every answer is a 200, and says how long it took.
async fn load(all: &[String], keys: &[String], over: &Arc<AtomicBool>) -> Vec<Duration> {
    let clients = (0..6).map(|client| {
        let (address, key, over) =
            (all[client % all.len()].clone(), keys[client % keys.len()].clone(), Arc::clone(over));
        tokio::spawn(async move {
            let mut times = Vec::new();
            while !over.load(Ordering::SeqCst) {
                let (status, body, took) = chat(&address, &key, &json!({})).await;
                assert_eq!(status, 200, "{body}");
                times.push(took);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            times
        })
    });
    join_all(clients).await.into_iter().flat_map(|client| client.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stops_or_answers_after_two_seconds_is_nobodys_trouble() {
    let (database, redis, provider) =
        (Database::create().await, RedisServer::start(), FakeProvider::start().await);
    let (to_redis, through): (Line, String) = line(&redis.url()).await;
    let list = [entry(&provider, "a", "one", &json!({})), entry(&provider, "a", "two", &json!({}))];
    let config = json!({"model_list": list});
    let all = replicas(3, &config, &database.url(), Some(&through));
    let limits = json!({"max_budget": 1000, "rpm_limit": 1_000_000, "max_parallel_requests": 1000});
    let keys: Vec<String> = (0..6)
        .map(|_| post(&all[0].1, "/key/generate", &limits)["key"].as_str().unwrap().to_owned())
        .collect();
    let addresses: Vec<String> = all.iter().map(|(_, running)| running.address.clone()).collect();
    tokio::time::sleep(BEGUN).await;
    let mut p = Vec::new();
    for state in [State::Up, State::Cut, State::Slow(Duration::from_secs(2)), State::Up] {
        to_redis.set(state);
        let over = Arc::new(AtomicBool::new(false));
        let timer = async {
            tokio::time::sleep(outage()).await;
            over.store(true, Ordering::SeqCst);
        };
        let (mut times, ()) = tokio::join!(load(&addresses, &keys, &over), timer);
        assert!(times.len() > 20, "{} requests while {state:?}", times.len());
        let slowest = p99(&mut times);
        println!("{state:?}: {} requests, p99 {slowest:?}", times.len());
        p.push(slowest);
    }
    // Whoever waited for Redis would wait for two seconds; a busy machine is slow before as well.
    let most = Duration::from_millis(1_500).max(p[0] * 4);
    assert!(p.iter().all(|p99| *p99 < most), "{p:?}");
}

/// A chat as SDKs make it: a store that does not answer in time is worth another try.
pub async fn settled(address: &str, key: &str, more: &Value) -> (u16, String) {
    let mut tries = 0;
    loop {
        let (status, body, _) = chat(address, key, more).await;
        if status != 503 || tries == 20 {
            return (status, body);
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// What the team's budget pays: a hundred answers of three cents.
const BUDGET: f64 = 3.0;

/// A thousand requests at once, of twenty keys of one team, over these replicas: answers given, and the sum of the rows.
async fn thousand(all: &[(TempDir, Running)], settings: &Settings, more: &Value) {
    let team = post(&all[0].1, "/team/new", &json!({"team_alias": "crowd", "max_budget": BUDGET}));
    let team = team["team_id"].as_str().unwrap().to_owned();
    let keys: Vec<String> = (0..20)
        .map(|_| {
            let made = post(&all[0].1, "/key/generate", &json!({"team_id": team}));
            made["key"].as_str().unwrap().to_owned()
        })
        .collect();
    let addresses: Vec<&str> = all.iter().map(|(_, running)| running.address.as_str()).collect();
    let asks = (0..1000)
        .map(|number| settled(addresses[number % addresses.len()], &keys[number % keys.len()], more));
    let mut answered = 0;
    for (status, body) in join_all(asks).await {
        match status {
            200 => answered += 1,
            _ => assert!(status == 422 && body.contains("budget_exceeded"), "{status}: {body}"),
        }
    }
    assert!(answered >= 97, "{answered} answers of the hundred that could be paid");
    // A true cost of three cents: nobody is refused while that is left.
    let store = Store::connect(settings).await.unwrap();
    let since = Instant::now();
    let spent = loop {
        let every = ListQuery::new().page(1, 100_000).uncounted();
        let rows = store.list::<SpendLog>(&every).await.unwrap().rows;
        let of_team = rows.iter().filter(|row| row.team_id.as_deref() == Some(&team));
        let paid: Vec<_> = of_team.filter(|row| row.spend.0.pico() > 0).collect();
        let sum: i128 = paid.iter().map(|row| row.spend.0.pico()).sum();
        let info = all[0].1.call("GET", &format!("/team/info?team_id={team}"), MASTER, b"").json();
        let total = info["team_info"]["spend"].as_f64().unwrap();
        if paid.len() == answered && (total - sum as f64 / 1e12).abs() < 1e-9 {
            break sum;
        }
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "{} rows, {answered} answers, total {total}",
            paid.len()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(spent <= (BUDGET * 1e12) as i128, "{spent} spent");
    assert!(spent as f64 >= 0.97 * BUDGET * 1e12, "{spent} spent of {BUDGET} dollars");
    let diagnosis = store.diagnose().await.unwrap();
    assert!(diagnosis.is_healthy(), "{diagnosis:?}");
    store.close().await;
}

/// What replicas share, and what keeps receipts.
#[derive(Clone, Copy, PartialEq)]
enum Over {
    Redis,
    Postgres,
    /// Counters in memory, receipts in the file of the data directory.
    Sqlite,
}

/// Longer answers than anybody gives: holds must not be made for them.
fn coding() -> Value {
    json!({"max_tokens": 64_000})
}

async fn exact(count: usize, over: Over, slow: Option<Duration>, more: &Value) {
    let provider = FakeProvider::start().await;
    // Every answer has three tokens, at a cent each.
    provider.always(Matcher::any(), Answer::text("one two three"));
    let prices = json!({"input_cost_per_token": 0, "output_cost_per_token": 0.01});
    let config = json!({
        "model_list": [entry(&provider, "a", "gpt-4o-fake-text", &prices)],
        "general_settings": {"strict_budgets": true},
    });
    if over == Over::Sqlite {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("config.yaml"), config.to_string()).unwrap();
        let mut command = faregate(folder.path(), &["--config", "config.yaml"]);
        command.env("LITELLM_MASTER_KEY", MASTER);
        let running = Running::of(command);
        let settings = Settings::sqlite(folder.path().join("data/faregate.db"));
        return thousand(&[(folder, running)], &settings, more).await;
    }
    let database = Database::create().await;
    let redis = (over == Over::Redis).then(RedisServer::start);
    let lines = match &redis {
        Some(redis) => Some(line(&redis.url()).await),
        None => None,
    };
    let through = lines.as_ref().map(|(_, url)| url.as_str());
    let all = replicas(count, &config, &database.url(), through);
    tokio::time::sleep(BEGUN).await;
    if let (Some(time), Some((line, _))) = (slow, &lines) {
        line.set(State::Slow(time));
    }
    thousand(&all, &Settings::from_url("TEST", &database.url()).unwrap(), more).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_gateway_over_redis_uses_a_strict_budget_for_a_hundred_exactly() {
    exact(1, Over::Redis, None, &coding()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_gateway_over_postgres_uses_a_strict_budget_for_a_hundred_exactly() {
    exact(1, Over::Postgres, None, &coding()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_gateway_of_its_own_uses_a_strict_budget_for_a_hundred_exactly() {
    exact(1, Over::Sqlite, None, &coding()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_over_redis_use_a_strict_budget_for_a_hundred_exactly() {
    exact(3, Over::Redis, None, &coding()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_over_postgres_use_a_strict_budget_for_a_hundred_exactly() {
    exact(3, Over::Postgres, None, &coding()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_over_a_redis_of_two_seconds_use_a_strict_budget_for_a_hundred_exactly() {
    exact(3, Over::Redis, Some(Duration::from_secs(2)), &coding()).await;
}
