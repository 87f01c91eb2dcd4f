//! The connections and their pace.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::answer::{Answer, Expected, Usage};
use crate::report::Report;

/// Where the gateway says what an answer cost, in US dollars.
const COST: &str = "x-litellm-response-cost";

/// One run.
pub struct Job {
    pub url: Uri,
    pub key: String,
    pub body: Bytes,
    pub expected: Expected,
    /// US dollars per million input and output tokens, where the answer must state its cost.
    pub price: Option<(f64, f64)>,
    pub connections: usize,
    pub requests: u64,
    /// Time between two requests of an open loop; `None` closes the loop.
    pub interval: Option<Duration>,
    pub timeout: Duration,
}

struct Shared {
    job: Job,
    authority: String,
    start: Instant,
    next: Cell<u64>,
    in_flight: Cell<usize>,
    report: RefCell<Report>,
}

/// Sends `job.requests` requests over `job.connections` connections.
pub async fn run(job: Job) -> anyhow::Result<Report> {
    let authority = job.url.authority().context("the URL has no host")?.to_string();
    let connections = job.connections;
    let shared = Rc::new(Shared {
        job,
        authority,
        start: Instant::now(),
        next: Cell::new(0),
        in_flight: Cell::new(0),
        report: RefCell::new(Report::new()?),
    });
    let local = LocalSet::new();
    let workers: Vec<_> = (0..connections).map(|_| local.spawn_local(worker(Rc::clone(&shared)))).collect();
    local
        .run_until(async {
            for worker in workers {
                worker.await?;
            }
            anyhow::Ok(())
        })
        .await?;
    let shared = Rc::into_inner(shared).context("a worker outlived its run")?;
    let mut report = shared.report.into_inner();
    report.elapsed = shared.start.elapsed();
    Ok(report)
}

/// One connection: takes the next request number until there is none left.
async fn worker(shared: Rc<Shared>) {
    let mut connection = None;
    loop {
        let number = shared.next.get();
        if number >= shared.job.requests {
            return;
        }
        shared.next.set(number + 1);
        let due = match shared.job.interval {
            Some(interval) => shared.start + interval.mul_f64(number as f64),
            None => Instant::now(),
        };
        tokio::time::sleep_until(due).await;

        shared.in_flight.set(shared.in_flight.get() + 1);
        let result = tokio::time::timeout(shared.job.timeout, exchange(&shared, &mut connection)).await;
        let now = Instant::now();
        let mut report = shared.report.borrow_mut();
        report.peak_in_flight = report.peak_in_flight.max(shared.in_flight.get());
        shared.in_flight.set(shared.in_flight.get() - 1);
        match result {
            Ok(Ok((first_byte, events))) => report.success(first_byte - due, now - due, events),
            Ok(Err(reason)) => {
                connection = None;
                report.failure(reason);
            }
            Err(_) => {
                connection = None;
                report.failure("timeout".into());
            }
        }
    }
}

/// One request and its checked answer: when its first byte came, and how many events it had.
async fn exchange(
    shared: &Shared,
    connection: &mut Option<SendRequest<Full<Bytes>>>,
) -> Result<(Instant, u64), String> {
    let sender = match connection {
        Some(sender) if !sender.is_closed() => sender,
        _ => connection.insert(connect(&shared.authority).await?),
    };
    sender.ready().await.map_err(|error| format!("connection: {error}"))?;
    let response = sender.send_request(request(shared)?).await.map_err(|error| format!("send: {error}"))?;
    let status = response.status();
    let cost = response.headers().get(COST).and_then(|cost| cost.to_str().ok()?.parse::<f64>().ok());
    let mut body = response.into_body();
    let mut first_byte = None;
    let mut answer = Answer::new(shared.job.expected.events.is_some());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("body: {error}"))?;
        if let Some(data) = frame.data_ref() {
            first_byte.get_or_insert_with(Instant::now);
            answer.feed(data);
        }
    }
    if status != StatusCode::OK {
        return Err(format!("status {status}"));
    }
    let events = answer.events();
    let usage = answer.verdict(&shared.job.expected)?;
    if let (Some(price), Some(usage)) = (shared.job.price, usage) {
        charged(cost, usage, price)?;
    }
    Ok((first_byte.unwrap_or_else(Instant::now), events))
}

/// The stated cost is the usage at its price, to a thousandth of a billionth of a dollar.
fn charged(cost: Option<f64>, usage: Usage, (input, output): (f64, f64)) -> Result<(), &'static str> {
    let due = (usage.prompt_tokens as f64 * input + usage.completion_tokens as f64 * output) / 1e6;
    match cost {
        Some(cost) if (cost - due).abs() < 1e-12 => Ok(()),
        Some(_) => Err("wrong cost"),
        None => Err("no cost"),
    }
}

async fn connect(authority: &str) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = TcpStream::connect(authority).await.map_err(|error| format!("connect: {error}"))?;
    stream.set_nodelay(true).map_err(|error| format!("connect: {error}"))?;
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| format!("connect: {error}"))?;
    // Ends by itself when the sender is dropped; its errors reach the caller through the sender.
    tokio::task::spawn_local(connection);
    Ok(sender)
}

fn request(shared: &Shared) -> Result<Request<Full<Bytes>>, String> {
    let path = shared.job.url.path_and_query().map_or("/", |path| path.as_str());
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, &shared.authority)
        .header(CONTENT_TYPE, "application/json")
        .header(AUTHORIZATION, format!("Bearer {}", shared.job.key))
        .body(Full::new(shared.job.body.clone()))
        .map_err(|error| format!("request: {error}"))
}
