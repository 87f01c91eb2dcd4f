//! A new process takes the listening socket over from the old one, and no client notices; the same for reloads.
//!
//! Few and small here; `FAREGATE_UPGRADES=20 FAREGATE_STREAMS=500 FAREGATE_RELOADS=1000 cargo test -p faregate --test it
//! upgrades` makes it as many as promised.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use serde_json::json;
use tempfile::tempdir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::process::{Running, faregate};

const MASTER: &str = "sk-upgrades-master-key-0123456789";

fn number(name: &str, usual: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how much this test does; the gateway does not read it")]
    let asked = std::env::var(name).ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(usual)
}

fn config(provider: &FakeProvider, alias: &str) -> String {
    json!({
        "model_list": [{
            "model_name": "m",
            "litellm_params": {"model": "openai/fake", "api_key": "sk-up", "api_base": format!("{}/v1", provider.url())},
        }],
        "router_settings": {"model_group_alias": {alias: "m"}},
        "general_settings": {"master_key": MASTER},
    })
    .to_string()
}

fn command(folder: &Path) -> Command {
    let mut command = faregate(folder, &["--config", "config.yaml"]);
    command.env("GRACEFUL_SHUTDOWN_TIMEOUT", "120").env("LITELLM_LOG", "INFO");
    command
}

/// One chat on a connection of its own; what is wrong with it, if anything is.
async fn chat(address: &str, stream: bool) -> Result<(), String> {
    let body = json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hello"}]})
        .to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {MASTER}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let told = |step: &str, error: std::io::Error| format!("{step}: {error}");
    let mut socket = TcpStream::connect(address).await.map_err(|error| told("connect", error))?;
    socket.write_all(head.as_bytes()).await.map_err(|error| told("head", error))?;
    socket.write_all(body.as_bytes()).await.map_err(|error| told("body", error))?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.map_err(|error| told("answer", error))?;
    let text = String::from_utf8_lossy(&bytes);
    let is_whole = if stream {
        text.contains("data: [DONE]") && text.ends_with("0\r\n\r\n")
    } else {
        text.contains("\"usage\"")
    };
    if text.starts_with("HTTP/1.1 200") && is_whole { Ok(()) } else { Err(format!("not whole: {text:?}")) }
}

/// Clients that ask again and again until told, some for streams. Returns how many answers they had.
struct Clients {
    tasks: JoinSet<Result<(), String>>,
    over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
}

impl Clients {
    fn start(address: &str, number: u64, streamed: impl Fn(u64) -> bool) -> Self {
        let (over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for client in 0..number {
            let (address, over, answers) = (address.to_owned(), Arc::clone(&over), Arc::clone(&answers));
            let stream = streamed(client);
            tasks.spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    chat(&address, stream).await?;
                    answers.fetch_add(1, Ordering::SeqCst);
                }
                Ok(())
            });
        }
        Self { tasks, over, answers }
    }

    async fn some(&self, more: u64) {
        let wanted = self.answers.load(Ordering::SeqCst) + more;
        while self.answers.load(Ordering::SeqCst) < wanted && !self.tasks.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(mut self) -> u64 {
        self.over.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            assert_eq!(ended.unwrap(), Ok(()));
        }
        self.answers.load(Ordering::SeqCst)
    }
}

/// A provider whose streams take their time.
async fn provider() -> FakeProvider {
    let provider = FakeProvider::start().await;
    provider
        .always(Matcher::body("\"stream\":true"), Answer::directive("scenario=text tokens=20 delay_ms=40"));
    provider
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_cut_no_stream_and_refuse_no_connection() {
    let provider = provider().await;
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("config.yaml"), config(&provider, "n")).unwrap();
    let start = || {
        let mut command = command(folder.path());
        command.env("FAREGATE_HANDOVER", "true");
        Running::of(command)
    };
    let mut running = start();
    let address = running.address.clone();
    let streams = number("FAREGATE_STREAMS", 40);
    // Two more ask for short answers as fast as they come, so that connections are made at every moment.
    let clients = Clients::start(&address, streams + 2, |client| client < streams);
    clients.some(streams).await;
    for _ in 0..number("FAREGATE_UPGRADES", 3) {
        let next = start();
        assert_eq!(next.address, address, "the same socket");
        running.signal("TERM");
        assert_eq!(running.ended(), Some(0));
        running = next;
        clients.some(streams).await;
    }
    let answers = clients.end().await;
    println!("{answers} answers, none cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_systemd_passes_is_listened_on() {
    let provider = provider().await;
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("config.yaml"), config(&provider, "n")).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // As systemd does: the socket stays open here, and each process gets it as number 3.
    let start = || {
        let inner = command(folder.path());
        let mut shell = Command::new("sh");
        let program = inner.get_program().to_str().unwrap().to_owned();
        shell.args([
            "-c",
            "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" --config config.yaml \"$@\" 3<&0 </dev/null",
            &program,
        ]);
        shell.env_clear().current_dir(folder.path());
        shell.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.env("PATH", "/usr/bin:/bin");
        let socket = std::os::fd::OwnedFd::from(listener.try_clone().unwrap());
        Running::with_input(shell, socket.into())
    };
    let mut running = start();
    assert_eq!(running.address, address);
    let clients = Clients::start(&address, 8, |client| client < 6);
    clients.some(10).await;
    for _ in 0..2 {
        // Nobody takes connections for a moment: they wait in the queue.
        running.signal("TERM");
        assert_eq!(running.ended(), Some(0));
        running = start();
        clients.some(10).await;
    }
    clients.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_fail_no_request() {
    let provider = provider().await;
    let folder = tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, config(&provider, "n0")).unwrap();
    let mut running = Running::of(command(folder.path()));
    let clients = Clients::start(&running.address, 8, |client| client.is_multiple_of(2));
    let reloads = number("FAREGATE_RELOADS", 40);
    for round in 1..=reloads {
        let next = folder.path().join("next.yaml");
        fs::write(&next, config(&provider, &format!("n{round}"))).unwrap();
        fs::rename(&next, &file).unwrap();
        running.signal("HUP");
        running.line("config reloaded");
    }
    clients.some(20).await;
    let answers = clients.end().await;
    println!("{answers} answers over {reloads} reloads");
    let last = format!("n{reloads}");
    let mut names = running.call("GET", "/v1/models", MASTER, b"").body;
    while !names.contains(&format!("\"{last}\"")) {
        // The file is watched too: the last of the lines above may have told of the reload before the last.
        running.line("config reloaded");
        names = running.call("GET", "/v1/models", MASTER, b"").body;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_kept_are_told_to_close_when_the_process_ends() {
    let provider = provider().await;
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("config.yaml"), config(&provider, "n")).unwrap();
    let mut running = Running::of(command(folder.path()));
    let mut idle = TcpStream::connect(&running.address).await.unwrap();
    idle.write_all(b"GET /health/liveliness HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
    let mut piece = [0; 4096];
    assert!(idle.read(&mut piece).await.unwrap() > 0, "answered, and open");
    let mut second = TcpStream::connect(&running.address).await.unwrap();
    second.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    running.signal("TERM");
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "closed, with nothing more to say");
    // A frame's fourth byte is its type; 7 is GOAWAY. Source: RFC 9113 section 4.1 and 6.8.
    loop {
        let mut head = [0; 9];
        second.read_exact(&mut head).await.unwrap();
        let length = usize::from(head[0]) * 65536 + usize::from(head[1]) * 256 + usize::from(head[2]);
        second.read_exact(&mut vec![0; length]).await.unwrap();
        if head[3] == 7 {
            break;
        }
    }
    drop(second);
    assert_eq!(running.ended(), Some(0));
}
