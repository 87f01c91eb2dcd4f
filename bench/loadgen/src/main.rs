//! Sends one body many times to one URL, checks every answer, prints one JSON report.
//!
//! Closed loop: each connection sends its next request when it has its answer. Open loop (`--rate`): requests
//! are due at a constant rate whatever the answers do, and latency counts from when a request was due, so that
//! a stall is charged to every request it delayed. One thread; start at [`load::run`].

mod answer;
mod load;
mod report;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Parser;

/// Load with checked answers, for benchmarks of OpenAI-compatible endpoints.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where to send, e.g. http://127.0.0.1:4000/v1/chat/completions
    #[arg(long)]
    url: http::Uri,
    /// Bearer key
    #[arg(long, default_value = "sk-none")]
    key: String,
    /// File with the JSON body
    #[arg(long)]
    body: PathBuf,
    /// Text that every answer must hold
    #[arg(long)]
    expect: String,
    /// Expect a stream of at least this many events, ended by [DONE]
    #[arg(long)]
    events: Option<u64>,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Requests to send and measure
    #[arg(long, default_value_t = 1000)]
    requests: u64,
    /// Requests per second; without it the loop is closed
    #[arg(long)]
    rate: Option<f64>,
    /// US dollars per million input and output tokens: the cost header must be exactly what usage says
    #[arg(long, value_names = ["INPUT", "OUTPUT"], num_args = 2)]
    price: Option<Vec<f64>>,
    /// Seconds after which one request counts as failed
    #[arg(long, default_value_t = 60)]
    timeout: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let body = std::fs::read(&args.body).with_context(|| format!("cannot read {}", args.body.display()))?;
    let job = load::Job {
        url: args.url,
        key: args.key,
        body: Bytes::from(body),
        expected: answer::Expected { text: args.expect, events: args.events },
        price: args.price.and_then(|price| Some((*price.first()?, *price.get(1)?))),
        connections: args.connections,
        requests: args.requests,
        interval: args.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
        timeout: Duration::from_secs(args.timeout),
    };
    let report = load::run(job).await?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &report.summary())?;
    writeln!(out)?;
    Ok(())
}
