//! PostgreSQL or Redis gone, or silent, under load: no request fails for it, and no record is missing afterwards.
//!
//! An outage lasts two seconds here; `FAREGATE_OUTAGE_SECONDS=60 cargo test -p faregate --test it outage` makes it as long
//! as real ones.

use std::collections::HashSet;
use std::net::ToSocketAddrs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use faregate_store::{ListQuery, Settings, SpendLog, Store};
use faregate_testkit::line::{Line, State};
use faregate_testkit::postgres::Database;
use faregate_testkit::redis::RedisServer;
use serde_json::json;
use tempfile::tempdir;

use crate::process::{Running, faregate};

const MASTER: &str = "sk-outage-master-key-0123456789";

/// A line to the server of a URL, and the URL that leads over it.
pub async fn line(url: &str) -> (Line, String) {
    let (head, rest) = url.split_once("://").unwrap();
    let authority = rest.split(['/', '?']).next().unwrap();
    let server = authority.rsplit('@').next().unwrap();
    let line = Line::to(server.to_socket_addrs().unwrap().next().unwrap()).await;
    let through = rest.replacen(server, &line.address.to_string(), 1);
    (line, format!("{head}://{through}"))
}

pub fn outage() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "how long this test takes; the gateway does not read it")]
    let seconds = std::env::var("FAREGATE_OUTAGE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// Sends requests from several clients while `meanwhile` goes on; how many, and the ids of the calls.
fn under_load(running: &Running, keys: &[String], meanwhile: impl FnOnce()) -> Vec<String> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = keys
            .iter()
            .map(|key| {
                let over = &over;
                scope.spawn(move || {
                    let mut calls = Vec::new();
                    while !over.load(Ordering::SeqCst) {
                        let answer = running.chat("demo", key);
                        assert_eq!(answer.status, 200, "{}", answer.body);
                        calls.push(answer.header("x-litellm-call-id").unwrap());
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    calls
                })
            })
            .collect();
        meanwhile();
        over.store(true, Ordering::SeqCst);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

/// Waits until every call has its row, and checks that it has one only.
async fn booked(database: &Database, calls: &[String]) {
    let store = Store::connect(&Settings::from_url("TEST", &database.url()).unwrap()).await.unwrap();
    let since = Instant::now();
    loop {
        let all = ListQuery::new().page(1, 1_000_000).uncounted();
        let rows = store.list::<SpendLog>(&all).await.unwrap().rows;
        let booked: HashSet<&str> = rows.iter().filter_map(|row| row.litellm_call_id.as_deref()).collect();
        let missing = calls.iter().filter(|call| !booked.contains(call.as_str())).count();
        if missing == 0 {
            assert_eq!(rows.len(), calls.len(), "one row each");
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{missing} of {} have no row", calls.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    store.close().await;
}

async fn survives(of_redis: bool, state: State) {
    let (database, redis) = (Database::create().await, RedisServer::start());
    let (to_database, database_url) = line(&database.url()).await;
    let (to_redis, redis_url) = line(&redis.url()).await;
    let folder = tempdir().unwrap();
    let mut command = faregate(folder.path(), &[]);
    command.env("DATABASE_URL", &database_url).env("LITELLM_MASTER_KEY", MASTER).env("REDIS_URL", &redis_url);
    let running = Running::of(command);
    let body = json!({"max_budget": 1000, "rpm_limit": 100_000, "max_parallel_requests": 100}).to_string();
    let keys: Vec<String> = (0..4)
        .map(|_| {
            let made = running.call("POST", "/key/generate", MASTER, body.as_bytes()).json();
            made["key"].as_str().unwrap().to_owned()
        })
        .collect();
    let mut calls: Vec<String> = Vec::new();
    for key in &keys {
        let answer = running.chat("demo", key);
        assert_eq!(answer.status, 200, "{}", answer.body);
        calls.push(answer.header("x-litellm-call-id").unwrap());
    }
    let gone = if of_redis { &to_redis } else { &to_database };
    calls.extend(under_load(&running, &keys, || {
        std::thread::sleep(Duration::from_millis(500));
        gone.set(state);
        std::thread::sleep(outage());
        gone.set(State::Up);
        std::thread::sleep(Duration::from_millis(500));
    }));
    assert!(calls.len() > 50, "{} calls", calls.len());
    booked(&database, &calls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_down_stops_nobody_and_loses_nothing() {
    survives(false, State::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_stops_nobody_and_loses_nothing() {
    survives(false, State::Hung).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_down_stops_nobody_and_loses_nothing() {
    survives(true, State::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_stops_nobody_and_loses_nothing() {
    survives(true, State::Hung).await;
}
