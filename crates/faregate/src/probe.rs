//! `faregate health`, `--health` and `--test`: is a gateway alive, does it answer. The image holds no shell and no curl.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;
use tokio::task::JoinSet;

use faregate_config::{Env, ServeEnv};
use faregate_terms::Secret;
use faregate_upstream::{Auth, Outgoing, Payload, Timeouts, Upstream, UpstreamSettings, Verify};

use crate::flags::{Client, Serve};

/// A model may take this long to answer a test.
const TEST_LIMIT: Duration = Duration::from_secs(600);
/// Answers are cut off here, bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Asks `url` for its liveliness.
///
/// # Errors
/// If it does not answer 200 within five seconds.
pub fn run(url: &str) -> anyhow::Result<ExitCode> {
    let limit = Duration::from_secs(5);
    runtime()?.block_on(async {
        ask(&client()?, &format!("{}/health/liveliness", url.trim_end_matches('/')), None, limit)
            .await
            .map(|_| ExitCode::SUCCESS)
    })
}

/// Does what LiteLLM's --health, --test and --test_async do, at the address that the flags name.
///
/// # Errors
/// If the gateway does not answer 200.
pub fn of_flags(client: &Client, flags: &Serve) -> anyhow::Result<ExitCode> {
    let (env, _) = Env::process().with_dotenv(std::path::Path::new("."));
    let (environment, _) = ServeEnv::read(&env);
    let url =
        client.test.clone().filter(|url| !url.is_empty()).unwrap_or_else(|| address(flags, &environment));
    if client.health {
        run(&url)?;
        writeln!(std::io::stdout(), "{url} is alive")?;
        return Ok(ExitCode::SUCCESS);
    }
    let key = key(flags, &environment)?;
    let model = flags.single.model.as_deref().unwrap_or("demo");
    let body = json!({"model": model, "messages": [{"role": "user", "content": "This is a test request."}]});
    let (url, body) = (format!("{}/v1/chat/completions", url.trim_end_matches('/')), body.to_string());
    let count = if client.test_async { client.num_requests } else { 1 };
    runtime()?.block_on(async {
        let upstream = self::client()?;
        let mut calls = JoinSet::new();
        for _ in 0..count {
            let (upstream, url, key, body) = (upstream.clone(), url.clone(), key.clone(), body.clone());
            calls.spawn(async move { ask(&upstream, &url, Some((&key, body)), TEST_LIMIT).await });
        }
        let started = Instant::now();
        while let Some(answer) = calls.join_next().await {
            let text = answer??;
            if count == 1 {
                writeln!(std::io::stdout(), "{text}")?;
            }
        }
        if count > 1 {
            writeln!(
                std::io::stdout(),
                "{count} requests answered in {:.3} s",
                started.elapsed().as_secs_f64()
            )?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn client() -> anyhow::Result<Upstream> {
    // The gateway's own certificate names the service, not the loopback address asked here.
    let settings = UpstreamSettings { ssl_verify: Verify::Off, ..UpstreamSettings::default() };
    Ok(Upstream::new(&settings)?)
}

/// Where a gateway with the same flags listens.
fn address(flags: &Serve, environment: &ServeEnv) -> String {
    let host = flags.host.clone().or_else(|| environment.host.clone()).unwrap_or_default();
    let host = match host.as_str() {
        "" | "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        six if six.contains(':') => format!("[{six}]"),
        _ => host,
    };
    let scheme = if flags.ssl_certfile_path.is_some() || environment.ssl_certfile.is_some() {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{host}:{}", flags.port.or(environment.port).unwrap_or(4000))
}

/// The environment's master key, else the one that was made.
fn key(flags: &Serve, environment: &ServeEnv) -> anyhow::Result<Secret> {
    if let Some(key) = &environment.master_key {
        return Ok(key.clone());
    }
    let folder = flags.data_dir.as_deref().or(environment.data_dir.as_deref());
    let file = folder.context("set LITELLM_MASTER_KEY to the key to test with")?.join("master_key");
    std::fs::read_to_string(&file).map(|text| Secret::from(text.trim())).with_context(|| {
        format!("set LITELLM_MASTER_KEY to the key to test with; there is none in {}", file.display())
    })
}

/// The body of a 200 to a GET, or to a POST of JSON with a key.
async fn ask(
    upstream: &Upstream,
    url: &str,
    post: Option<(&Secret, String)>,
    limit: Duration,
) -> anyhow::Result<String> {
    let mut headers = HeaderMap::new();
    let (method, body) = match post {
        None => (Method::GET, Payload::default()),
        Some((key, body)) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {}", key.expose()))?);
            (Method::POST, Payload::from(Bytes::from(body)))
        }
    };
    let request = Outgoing {
        method,
        url: url.parse().with_context(|| format!("{url} is no URL"))?,
        headers,
        body,
        auth: &Auth::NONE,
        timeouts: Timeouts { total: Some(limit), ..Timeouts::default() },
    };
    let answer = upstream.send(request).await.context("the gateway does not answer")?;
    let status = answer.status;
    let body = answer.body.collect(MAX_ANSWER).await?;
    let text = String::from_utf8_lossy(&body).into_owned();
    ensure!(status.is_success(), "the gateway answered {status}: {text}");
    Ok(text)
}
