//! Probes on a port and a thread of their own: `SEPARATE_HEALTH_APP`. They answer when every thread that serves
//! requests is busy, so that a loaded process is not taken for a dead one.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use faregate_gateway::body::Body;
use faregate_gateway::gate::Gate;
use faregate_gateway::operation::health;
use faregate_gateway::routes::{Lookup, Operation, find};
use faregate_gateway::stage::deliver::respond;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Probes at the same time.
const MOST: usize = 256;
/// Others wait here.
const BACKLOG: u32 = 128;
/// A prober that does not finish its request, or says nothing more, is dropped.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Waiting when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers probes on `address` until `stop`; tells where it listens.
///
/// # Errors
/// If the address cannot be listened on, or there is no thread to be had.
pub fn start(address: SocketAddr, gate: Arc<Gate>, stop: CancellationToken) -> anyhow::Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        listen(address).with_context(|| {
            format!("probes cannot be answered on {address}; set SEPARATE_HEALTH_PORT to a free port")
        })?
    };
    let address = listener.local_addr()?;
    thread::Builder::new()
        .name("faregate-health".to_owned())
        .spawn(move || runtime.block_on(serve(listener, gate, stop)))
        .context("no thread for probes")?;
    Ok(address)
}

/// During an upgrade the next process listens beside this one.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn serve(listener: TcpListener, gate: Arc<Gate>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // More than that at once are no probes.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let gate = Arc::clone(&gate);
        tokio::spawn(async move {
            let _place = place;
            connection(stream, gate).await;
        });
    }
}

async fn connection(stream: TcpStream, gate: Arc<Gate>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&gate, &request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a probe's connection ended");
    }
}

fn answer(gate: &Gate, request: &Request<Incoming>) -> Response<Body> {
    match find(request.method(), request.uri().path()) {
        Lookup::Found(found) if found.operation == Operation::Liveliness => health::liveliness(gate),
        Lookup::Found(found) if found.operation == Operation::Readiness => {
            health::readiness(gate, &gate.table.load())
        }
        Lookup::Found(found) if found.operation == Operation::ProbeOptions => health::options(),
        _ => respond(StatusCode::NOT_FOUND, HeaderMap::new(), Body::full(Bytes::new())),
    }
}
