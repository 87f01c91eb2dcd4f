//! Routes of an operator's own, as clients and operators meet them.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use faregate_fake_provider::{Answer as Scripted, FakeProvider, Matcher, Options};
use faregate_testkit::postgres::Database;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::process::{Answer, Running, faregate};
use crate::upstream::{Upstream, read_until};

const MASTER: &str = "sk-passing-master-key-0123456789";
const ENDPOINTS: &str = "/config/pass_through_endpoint";

async fn provider() -> FakeProvider {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    FakeProvider::start_with(Options { address, log_capacity: 100 }).await.unwrap()
}

fn start(folder: &Path, config: &str) -> Running {
    let file = folder.join("config.yaml");
    fs::write(&file, config).unwrap();
    let mut command = faregate(folder, &["--config", file.to_str().unwrap()]);
    command.env("LITELLM_MASTER_KEY", MASTER).env("TARGET_KEY", "of-the-operator-wxyz");
    Running::of(command)
}

/// A gateway with these routes, and a database that adds to them.
fn with_routes(routes: &str) -> (TempDir, Running) {
    let folder = tempdir().unwrap();
    let config = format!(
        "general_settings:\n  store_model_in_db: true\n  proxy_batch_write_at: 1\n  pass_through_endpoints:\n{routes}"
    );
    let running = start(folder.path(), &config);
    (folder, running)
}

fn post(running: &Running, path: &str, body: &Value) -> Answer {
    running.call("POST", path, MASTER, body.to_string().as_bytes())
}

fn done(running: &Running, path: &str, body: &Value) -> Value {
    let answer = post(running, path, body);
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

fn key(running: &Running, body: &Value) -> String {
    done(running, "/key/generate", body)["key"].as_str().unwrap().to_owned()
}

/// Sends a request without a key.
fn open(running: &Running, line: &str, more: &str) -> Answer {
    let mut stream = TcpStream::connect(&running.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
        .write_all(format!("{line} HTTP/1.1\r\nhost: test\r\n{more}connection: close\r\n\r\n").as_bytes())
        .unwrap();
    Answer::read(stream)
}

/// The row of a request in the request log, once it is booked.
fn logged(running: &Running, call_id: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let rows = running.call("GET", "/spend/logs?summarize=false", MASTER, b"").json();
        if let Some(row) =
            rows.as_array().and_then(|rows| rows.iter().find(|row| row["request_id"] == call_id))
        {
            return row.clone();
        }
        assert!(Instant::now() < deadline, "{call_id} is not in {rows}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reaches_the_target_with_the_operators_key_and_never_with_the_clients() {
    let provider = provider().await;
    provider.always(Matcher::path("/up"), Scripted::json(201, &json!({"ok": true})));
    let (_folder, running) = with_routes(&format!(
        "  - path: /mine\n    target: {}/up?own=1\n    include_subpath: true\n    forward_headers: true\n\
         \x20   merge_query_params: true\n    methods: [GET, POST]\n    cost_per_request: 0.0125\n\
         \x20   headers: {{Authorization: Bearer os.environ/TARGET_KEY}}\n",
        provider.url()
    ));
    let key = key(&running, &json!({"allowed_passthrough_routes": ["/mine"]}));
    let more = "content-length: 5\r\nx-litellm-api-key: ".to_owned()
        + &key
        + "\r\nx-trace: t1\r\ncookie: token=c\r\n";
    let answer = Answer::read(running.begin(
        "POST /mine/a/../b%2Fc?q=1&own=2",
        "sk-in-the-other-header",
        &more,
        b"hello",
    ));
    assert_eq!((answer.status, answer.json()), (201, json!({"ok": true})), "{}", answer.head);
    assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(answer.header("x-litellm-response-cost").as_deref(), Some("0.0125"));
    let call_id = answer.header("x-litellm-call-id").unwrap();

    let received = provider.requests().pop().unwrap();
    assert_eq!((received.path.as_str(), received.query.as_str()), ("/up/b%2Fc", "q=1&own=2"));
    assert_eq!((received.method.as_str(), &received.body[..]), ("POST", &b"hello"[..]));
    assert_eq!(
        received.header("authorization"),
        Some("Bearer ...wxyz"),
        "masked by the log, and the operator's"
    );
    assert_eq!(received.header("x-trace"), Some("t1"));
    for name in ["x-litellm-api-key", "cookie", "connection"] {
        assert_eq!(received.header(name), None, "{name}");
    }
    let text = format!("{received:?}");
    assert!(!text.contains(&key) && !text.contains("sk-in-the-other"), "{text}");

    let row = logged(&running, &call_id);
    assert_eq!(
        (&row["call_type"], &row["spend"]),
        (&json!("pass_through_endpoint"), &json!(0.0125)),
        "{row}"
    );
    assert_eq!((&row["model"], &row["status"]), (&json!("unknown"), &json!("success")), "{row}");
    assert_eq!(row["api_base"], format!("{}/up", provider.url()), "without its query");
    let info = running.call("GET", &format!("/key/info?key={key}"), MASTER, b"").json();
    assert_eq!(info["info"]["spend"], 0.0125, "{info}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_get_through_who_may() {
    let provider = provider().await;
    provider.always(Matcher::path("/up"), Scripted::json(200, &json!({"ok": true})));
    let url = provider.url();
    let (_folder, running) = with_routes(&format!(
        "  - {{path: /mine, target: '{url}/up', include_subpath: true, methods: [GET]}}\n\
         \x20 - {{path: /open, target: '{url}/up', auth: false}}\n\
         \x20 - {{path: /named, target: '{url}/up', headers: {{litellm_user_api_key: X-My-Key}}}}\n\
         \x20 - {{path: /v1/models, target: '{url}/up'}}\n"
    ));
    let status = |path: &str, key: &str| running.call("GET", path, key, b"").status;
    let (granted, bare) =
        (key(&running, &json!({"allowed_passthrough_routes": ["/mine"]})), key(&running, &json!({})));
    assert_eq!(
        (status("/mine", MASTER), status("/mine", &granted), status("/mine/x", &granted)),
        (200, 200, 200)
    );
    let refused = running.call("GET", "/mine", &bare, b"");
    assert_eq!((refused.status, refused.json()["error"]["code"].clone()), (403, json!("403")));
    assert!(refused.message().contains("allowed_passthrough_routes"), "{}", refused.body);
    let unknown = running.call("GET", "/mine", "sk-nobody-knows-this-key", b"");
    assert_eq!((unknown.status, &unknown.json()["error"]["type"]), (401, &json!("token_not_found_in_db")));
    assert_eq!(open(&running, "GET /mine", "").status, 401);
    let wrong = running.call("POST", "/mine", MASTER, b"");
    assert_eq!((wrong.status, wrong.header("allow").as_deref()), (405, Some("get")));

    let team = json!({"team_id": "t", "allowed_passthrough_routes": ["/mine"], "denied_passthrough_routes": ["/mine/admin"]});
    done(&running, "/team/new", &team);
    let of_team = key(&running, &json!({"team_id": "t"}));
    assert_eq!((status("/mine/x", &of_team), status("/mine/%61dmin/x", &of_team)), (200, 403));
    let bound = key(
        &running,
        &json!({"allowed_routes": ["/v1/chat/completions"], "allowed_passthrough_routes": ["/mine"]}),
    );
    assert_eq!(status("/mine", &bound), 403);

    assert_eq!(open(&running, "GET /open", "").status, 200);
    assert_eq!(open(&running, "GET /named", &format!("x-my-key: {MASTER}\r\n")).status, 200);
    assert_eq!(open(&running, "GET /mine", &format!("x-my-key: {MASTER}\r\n")).status, 401);
    let before = provider.requests().len();
    assert_eq!(
        (status("/v1/models", MASTER), status("/mine/a%2F..%2F..", MASTER), status("/mined", MASTER)),
        (200, 400, 404)
    );
    assert_eq!(provider.requests().len(), before, "none of these is passed on");
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_and_rates_hold_and_errors_of_the_target_cost_nothing() {
    let provider = provider().await;
    provider.always(Matcher::path("/good"), Scripted::json(200, &json!({})));
    provider.always(Matcher::path("/bad"), Scripted::json(418, &json!({"teapot": true})));
    let url = provider.url();
    let (_folder, running) = with_routes(&format!(
        "  - {{path: /good, target: '{url}/good', cost_per_request: 0.5}}\n\
         \x20 - {{path: /bad, target: '{url}/bad', cost_per_request: 0.5}}\n\
         \x20 - {{path: /free, target: '{url}/good'}}\n"
    ));
    let grant = json!(["/good", "/bad", "/free"]);
    let limited = |limits: Value| {
        let mut body = json!({"allowed_passthrough_routes": grant});
        body.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
        key(&running, &body)
    };
    let spender = limited(json!({"max_budget": 0.5}));
    let bad = running.call("GET", "/bad", &spender, b"");
    assert_eq!((bad.status, bad.json()), (418, json!({"teapot": true})), "as the target said it");
    assert_eq!(bad.header("x-litellm-response-cost").as_deref(), Some("0"));
    assert_eq!(running.call("GET", "/good", &spender, b"").status, 200);
    for path in ["/good", "/free"] {
        let over = running.call("GET", path, &spender, b"");
        assert_eq!((over.status, &over.json()["error"]["type"]), (422, &json!("budget_exceeded")), "{path}");
    }
    let row = logged(&running, &bad.header("x-litellm-call-id").unwrap());
    assert_eq!((&row["spend"], &row["status"]), (&json!(0.0), &json!("failure")), "{row}");

    let hasty = limited(json!({"rpm_limit": 1}));
    assert_eq!(running.call("GET", "/free", &hasty, b"").status, 200);
    assert_eq!(running.call("GET", "/free", &hasty, b"").status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_go_through_piece_by_piece_both_ways() {
    let upstream = Upstream::start();
    let (_folder, running) = with_routes(&format!(
        "  - {{path: /mine, target: '{}/up', cost_per_request: 0.5}}\n",
        upstream.url()
    ));
    // Half of the request's body is at the target before the client sends the rest.
    let mut client = running.begin("POST /mine", MASTER, "transfer-encoding: chunked\r\n", b"5\r\nfirst\r\n");
    let mut target = upstream.connection();
    let head = read_until(&mut target, "first").to_ascii_lowercase();
    assert!(head.contains("transfer-encoding: chunked") && head.starts_with("post /up http/1.1"), "{head}");
    client.write_all(b"4\r\nlast\r\n0\r\n\r\n").unwrap();
    read_until(&mut target, "0\r\n\r\n");
    // Half of the answer is at the client before the target sends the rest.
    target
        .write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .unwrap();
    target.write_all(b"9\r\ndata: 1\n\n\r\n").unwrap();
    let head = read_until(&mut client, "data: 1\n\n").to_ascii_lowercase();
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    target.write_all(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n").unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("data: 2\n\n") && rest.ends_with("0\r\n\r\n"), "{rest}");

    // Bytes are bytes, and their length is told.
    let mut client = running.begin("GET /mine", MASTER, "", b"");
    let mut target = upstream.request();
    target
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-encoding: gzip\r\n\r\n\x1f\x8b\x00\xff")
        .unwrap();
    let mut whole = Vec::new();
    client.read_to_end(&mut whole).unwrap();
    assert!(whole.ends_with(b"\r\n\r\n\x1f\x8b\x00\xff"), "{whole:?}");
    let head = String::from_utf8_lossy(&whole).to_ascii_lowercase();
    assert!(head.contains("content-length: 4") && head.contains("content-encoding: gzip"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_away_late_or_breaks_off_is_told_of_and_a_client_that_leaves_lets_it_go() {
    let gone = Upstream::start().url();
    let upstream = Upstream::start();
    let url = upstream.url();
    let (_folder, running) = with_routes(&format!(
        "  - {{path: /away, target: '{gone}'}}\n\
         \x20 - {{path: /late, target: '{url}', timeout: 0.2}}\n\
         \x20 - {{path: /mine, target: '{url}', cost_per_request: 0.5}}\n"
    ));
    let away = running.call("GET", "/away", MASTER, b"");
    assert_eq!((away.status, away.json()["error"]["code"].clone()), (502, json!("502")));
    assert!(away.message().contains("connection refused"), "{}", away.body);
    let late = running.call("GET", "/late", MASTER, b"");
    assert_eq!(late.status, 504);
    assert!(late.message().contains("did not begin to answer within 0.2s"), "{}", late.body);
    drop(upstream.connection());

    for head in ["content-length: 9", "transfer-encoding: chunked"] {
        let mut client = running.begin("GET /mine", MASTER, "", b"");
        let mut target = upstream.request();
        target.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n4\r\nhalf\r\n").as_bytes()).unwrap();
        drop(target);
        let mut got = Vec::new();
        let _ = client.read_to_end(&mut got);
        let text = String::from_utf8_lossy(&got);
        assert!(
            text.contains("half") && !text.ends_with("0\r\n\r\n"),
            "a part is not taken for the whole: {text}"
        );
    }

    let client = running.begin("GET /mine", MASTER, "x-litellm-call-id: leaver\r\n", b"");
    let mut target = upstream.request();
    drop(client);
    let mut nothing = [0; 1];
    assert_eq!(target.read(&mut nothing).unwrap_or(0), 0, "the target's connection is closed");
    let row = logged(&running, "leaver");
    assert_eq!(row["spend"], 0.5, "the target may have done its work: {row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_route_serves_at_once_and_after_a_restart_until_it_is_deleted() {
    let provider = provider().await;
    provider.always(Matcher::path("/one"), Scripted::json(200, &json!({"at": 1})));
    provider.always(Matcher::path("/two"), Scripted::json(200, &json!({"at": 2})));
    let url = provider.url();
    let (folder, running) = with_routes(&format!("  - {{path: /file, target: '{url}/one'}}\n"));
    let get = |running: &Running, path: &str| running.call("GET", path, MASTER, b"");
    assert_eq!(get(&running, "/stored").status, 404);
    let body = json!({
        "path": "/stored", "target": format!("{url}/one"), "headers": {"x-token": "a-secret-for-the-target"},
        "methods": ["GET"],
    });
    let made = done(&running, ENDPOINTS, &body);
    let id = made["endpoints"][0]["id"].as_str().unwrap().to_owned();
    assert!(!made.to_string().contains("a-secret-for-the-target"), "{made}");
    assert_eq!(
        get(&running, "/stored").json(),
        json!({"at": 1}),
        "the answer to the call means that it serves"
    );
    assert_eq!(provider.requests().pop().unwrap().header("x-token"), Some("a-secret-for-the-target"));

    for (body, status, words) in [
        (json!({"path": "/stored", "target": url}), 400, "serves `/stored` with the same methods already"),
        (json!({"path": "/key/info", "target": url}), 400, "a route of the gateway's own"),
        (json!({"path": "x", "target": url}), 400, "path: must begin with `/`"),
        (json!({"path": "/x", "target": "file:///etc/passwd"}), 400, "target: must be a URL"),
        (json!({"path": "/x"}), 422, "target: Field required"),
        (json!({"path": "/x", "target": url, "id": id}), 400, "exists already"),
    ] {
        let answer = post(&running, ENDPOINTS, &body);
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert!(answer.body.contains(words), "{body}: {}", answer.body);
    }

    drop(running);
    let config = fs::read_to_string(folder.path().join("config.yaml")).unwrap();
    let running = start(folder.path(), &config);
    assert_eq!((get(&running, "/stored").status, get(&running, "/file").status), (200, 200));
    let listed = get(&running, ENDPOINTS).json();
    let list: Vec<_> = listed["endpoints"].as_array().unwrap().iter().collect();
    assert_eq!((&list[0]["path"], &list[0]["is_from_config"]), (&json!("/file"), &json!(true)), "{listed}");
    assert_eq!(
        (&list[1]["path"], &list[1]["is_from_config"]),
        (&json!("/stored"), &json!(false)),
        "{listed}"
    );

    // What was shown comes back and stands for what is stored.
    let change = json!({"target": format!("{url}/two"), "methods": ["POST"], "headers": list[1]["headers"]});
    done(&running, &format!("{ENDPOINTS}/{id}"), &change);
    assert_eq!(get(&running, "/stored").status, 405);
    assert_eq!(post(&running, "/stored", &json!({})).json(), json!({"at": 2}));
    assert_eq!(provider.requests().pop().unwrap().header("x-token"), Some("a-secret-for-the-target"));
    assert_eq!(post(&running, &format!("{ENDPOINTS}/nobody"), &json!({"auth": true})).status, 404);

    let gone = running.call("DELETE", &format!("{ENDPOINTS}?endpoint_id={id}"), MASTER, b"");
    assert_eq!(gone.status, 200, "{}", gone.body);
    assert_eq!((post(&running, "/stored", &json!({})).status, get(&running, "/file").status), (404, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_stores_the_others_serve() {
    let (provider, database) = (provider().await, Database::create().await);
    provider.always(Matcher::path("/up"), Scripted::json(200, &json!({})));
    let replica = |folder: &Path| {
        let mut command = faregate(folder, &[]);
        command.env("DATABASE_URL", database.url()).env("LITELLM_MASTER_KEY", MASTER);
        Running::of(command)
    };
    let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
    let (a, b) = (replica(one.path()), replica(two.path()));
    done(&a, ENDPOINTS, &json!({"path": "/shared", "target": format!("{}/up", provider.url())}));
    let deadline = Instant::now() + Duration::from_secs(20);
    while b.call("GET", "/shared", MASTER, b"").status != 200 {
        assert!(Instant::now() < deadline, "the other replica does not serve it");
        std::thread::sleep(Duration::from_millis(50));
    }
}
