//! Killed at random moments under load, and started again: whoever got a whole answer has exactly one row, nothing is
//! booked twice, totals are the sum of the rows.
//!
//! Ten rounds here; `scripts/crash.sh` makes a hundred.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, SystemTime};

use faregate_fake_provider::{FakeProvider, Options};
use faregate_store::{ListQuery, Settings, SpendLog, Store};
use serde_json::json;
use tempfile::tempdir;

use crate::process::{Running, faregate};

const MASTER: &str = "sk-crash-master-key-0123456789";
const CLIENTS: usize = 8;

fn rounds() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "how long this test takes; the gateway does not read it")]
    let asked = std::env::var("FAREGATE_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(10)
}

fn start(folder: &Path) -> Running {
    let mut command = faregate(folder, &["--config", "config.yaml"]);
    command.env("LITELLM_MASTER_KEY", MASTER);
    Running::of(command)
}

/// What came before the connection ended, however it ended.
fn read(mut stream: TcpStream) -> String {
    let (mut bytes, mut piece) = (Vec::new(), [0; 16 * 1024]);
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        bytes.extend_from_slice(&piece[..read]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The id of the call if its answer is whole.
fn whole(text: &str, streamed: bool) -> Option<String> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let line = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let is_whole = if streamed {
        // The last chunk of the body: whoever has it has all.
        body.contains("data: [DONE]") && body.ends_with("0\r\n\r\n")
    } else {
        line("content-length")?.parse() == Ok(body.len())
    };
    is_whole.then(|| line("x-litellm-call-id")).flatten()
}

/// Asks until the gateway is gone.
fn client(running: &Running, key: &str, number: usize) -> Vec<String> {
    let mut received = Vec::new();
    for turn in 0.. {
        let streamed = (turn + number).is_multiple_of(2);
        let body = json!({
            "model": "m", "stream": streamed, "messages": [{"role": "user", "content": "hello"}],
        })
        .to_string();
        let more = format!("content-length: {}\r\n", body.len());
        let Some(stream) = running.try_begin("POST /v1/chat/completions", key, &more, body.as_bytes()) else {
            break;
        };
        received.extend(whole(&read(stream), streamed));
    }
    received
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_under_load_loses_no_record_and_doubles_none() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let provider = FakeProvider::start_with(Options { address, log_capacity: 0 }).await.unwrap();
    let folder = tempdir().unwrap();
    let config = format!(
        "model_list:\n  - model_name: m\n    litellm_params: {{model: openai/fake-one, api_base: '{}/v1', api_key: k, \
         input_cost_per_token: 0.000003, output_cost_per_token: 0.000007}}\n",
        provider.url()
    );
    fs::write(folder.path().join("config.yaml"), config).unwrap();
    let mut running = start(folder.path());
    let made = running.call("POST", "/key/generate", MASTER, br#"{"max_budget": 100000}"#).json();
    let key = made["key"].as_str().unwrap().to_owned();
    let mut received: Vec<String> = Vec::new();
    for _ in 0..rounds() {
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
        let moment = Duration::from_millis(u64::from(nanos / 1000 % 400) + 20);
        received.extend(std::thread::scope(|scope| {
            let (running, key) = (&running, &key);
            let clients: Vec<_> =
                (0..CLIENTS).map(|number| scope.spawn(move || client(running, key, number))).collect();
            std::thread::sleep(moment);
            running.signal("KILL");
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
        }));
        running.ended();
        running = start(folder.path());
    }
    // Books what is left before it ends.
    running.signal("TERM");
    assert_eq!(running.ended(), Some(0));
    assert!(received.len() > 100, "{} answers", received.len());

    let store = Store::connect(&Settings::sqlite(folder.path().join("data/faregate.db"))).await.unwrap();
    let all = ListQuery::new().page(1, 10_000_000).uncounted();
    let rows = store.list::<SpendLog>(&all).await.unwrap().rows;
    let mut found: BTreeMap<&str, u32> = BTreeMap::new();
    for row in &rows {
        *found.entry(row.litellm_call_id.as_deref().unwrap()).or_default() += 1;
    }
    for call in &received {
        assert_eq!(found.get(call.as_str()), Some(&1), "{call}");
    }
    assert!(found.values().all(|count| *count == 1), "nothing is booked twice");
    let diagnosis = store.diagnose().await.unwrap();
    assert!(diagnosis.is_healthy(), "{diagnosis:?}");
    store.close().await;
}
