//! `faregate`: from flags to a running gateway, and its end.

use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use http::HeaderValue;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use faregate_config::{Env, ServeEnv, Snapshot, Stored, Strictness};
use faregate_gateway::gate::Gate;
use faregate_gateway::metrics::DEFAULT_BUCKETS;

use crate::control::Control;
use crate::demo::Demo;
use crate::flags::{Overrides, Serve};
use crate::front_page::FrontPage;
use crate::listen::{self, Front};
use crate::master_key::{self, Rules};
use crate::prices::{self, Source};
use crate::reload::Reloader;
use crate::workers::Workers;
use crate::{answers, assemble, check, data_dir, handover, logging, probe_port, web};

/// Requests in flight get this long at shutdown when nobody says otherwise.
const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// Runs the server until a signal ends it.
///
/// # Errors
/// Why it cannot start, with the remedy.
pub fn run(flags: Serve) -> anyhow::Result<ExitCode> {
    // Connections are served by threads of their own; this runtime accepts them and does the jobs.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .max_blocking_threads(8)
        .thread_name("faregate")
        .build()?;
    let served = runtime.block_on(serve(flags));
    runtime.shutdown_timeout(Duration::from_secs(1));
    served.map(|()| ExitCode::SUCCESS)
}

async fn serve(flags: Serve) -> anyhow::Result<()> {
    let (env, dotenv_findings) = Env::process().with_dotenv(Path::new("."));
    let (environment, findings) = ServeEnv::read(&env);
    let config = flags.config_or(environment.config_file);
    let strictness = if flags.strict_config { Strictness::Strict } else { Strictness::Lenient };
    let overrides = Overrides::of(&flags);
    let (mut snapshot, demo) = match (&config, flags.single.snapshot(&env)) {
        (Some(path), _) => (read(path, &env, strictness)?, None),
        (None, Some(single)) => (single, None),
        (None, None) => {
            let demo = Demo::start().await?;
            (demo.snapshot(&env), Some(demo))
        }
    };
    let base = snapshot.clone();
    overrides.apply(&mut snapshot);
    // The file's own environment_variables count from here on.
    let (environment, _) = ServeEnv::read(&snapshot.env);
    let _log = logging::start(&flags, &environment, &snapshot).context("the log cannot be started")?;
    for finding in dotenv_findings.iter().chain(&findings) {
        tracing::warn!("{finding}");
    }
    for (name, instead) in flags.ignored.given(&snapshot.env) {
        let reason = if instead.is_empty() { String::new() } else { format!(": {instead}") };
        tracing::warn!("{name} is accepted without effect{reason}");
    }
    let default_host = if config.is_some() { "0.0.0.0" } else { "127.0.0.1" };
    let host =
        flags.host.clone().or_else(|| environment.host.clone()).unwrap_or_else(|| default_host.to_owned());
    let port = flags.port.or(environment.port).unwrap_or(4000);
    let data_dir = data_dir::open(flags.data_dir.as_deref(), environment.data_dir.as_deref())?;
    let loopback = is_loopback(&host);
    let rules = Rules::of(&snapshot, loopback);
    let master_key = master_key::settle(snapshot.master_key(), rules, &data_dir)?;
    if master_key.is_none() {
        tracing::warn!("no master key: everybody who reaches this address may use every model");
    }
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workers = Workers::start(cores).context("cannot start the threads that serve connections")?;
    let upstream = assemble::upstream(&environment, &snapshot, cores)?;
    let prices = Source::of(&environment)?;
    let catalog = Arc::new(prices.at_hand()?);
    let (mut table, skipped) = assemble::table(&snapshot, &upstream, &catalog, master_key.clone(), None);
    if let Some(finding) = skipped.iter().find(|_| flags.single.model.is_some()) {
        bail!("--model cannot be served: {}", finding.message);
    }
    skipped.iter().for_each(|finding| tracing::warn!("{finding}"));
    if flags.skip_server_startup {
        tracing::info!("ready, and ended as --skip_server_startup asks");
        return Ok(());
    }
    let buckets = snapshot.litellm.prometheus_latency_buckets.as_deref().unwrap_or(&DEFAULT_BUCKETS);
    let stop = CancellationToken::new();
    let (control, services) = Control::start(&snapshot, &data_dir, web::web(&upstream), &stop).await?;
    if answers::needs_database(&snapshot) {
        (table.answers, _) = answers::cache(&snapshot, &upstream, Some(&control.desk.store));
    }
    let gate = Arc::new(Gate::new(table, buckets, services));
    let (ask, asked) = mpsc::channel(16);
    control.attend(&gate, &ask);
    let list = Arc::new(prices.list(&catalog, &environment));
    let (again, again_asked) = mpsc::channel(16);
    let admin = control.admin(&list, master_key.clone(), ask);
    let admin = Arc::new(admin.rereading(prices::rereading(again)));
    workers.runtimes().for_each(|runtime| gate.metrics.count_tasks_of(runtime));

    let acceptor = acceptor(&flags, &environment)?;
    let handover = environment.handover.then_some(data_dir.as_path());
    let listener = listen::open(&host, port, handover).await?;
    let address = listener.local_addr()?;
    let probes = CancellationToken::new();
    if let Some(port) = environment.health_port {
        let at = SocketAddr::new(address.ip(), port);
        // Of two processes during an upgrade, the one that goes on is asked.
        let until = if handover.is_some() { stop.clone() } else { probes.clone() };
        let at = probe_port::start(at, Arc::clone(&gate), until)?;
        tracing::info!(target: "faregate::listen", "probes are answered on http://{at} as well");
    }
    let scheme = if acceptor.is_some() { "https" } else { "http" };

    // Signals and file changes count from the moment that the address is said.
    let mut reloader = Reloader {
        path: config,
        env,
        strictness,
        overrides,
        gate: Arc::clone(&gate),
        snapshot,
        upstream,
        prices,
        catalog,
        list,
        again_asked,
        master_key,
        loopback,
        desk: control.desk.clone(),
        base,
        stored: Stored::default(),
        asked,
    };
    if control.has_database() {
        reloader.take_stored().await;
    }
    let reloading = tokio::spawn(reloader.prepare(stop.clone())?);
    let offering = match handover {
        Some(data_dir) => {
            Some(tokio::spawn(handover::offer(&listener, data_dir, &host, port, stop.clone())?))
        }
        None => None,
    };
    let cut = CancellationToken::new();
    let signals = tokio::spawn(end_signals(stop.clone(), cut.clone())?);
    tracing::info!(target: "faregate::listen", "listening on {scheme}://{address}");
    let mut front = front(&flags, &environment, cut)?;
    front.admin = Some((admin, Handle::current()));
    let drain = environment.graceful_shutdown_timeout.unwrap_or(DEFAULT_DRAIN);
    listen::serve(listener, workers, gate, front, acceptor, stop, drain).await;
    signals.abort();
    reloading.await?;
    if let Some(offering) = offering {
        offering.await?;
    }
    control.end().await;
    probes.cancel();
    drop(demo);
    tracing::info!("stopped");
    Ok(())
}

/// Reads a configuration for use; shows all findings at once.
fn read(path: &Path, env: &Env, strictness: Strictness) -> anyhow::Result<Snapshot> {
    let checked = check::check(path, env, strictness)?;
    let usable = checked.is_usable();
    // The log's form depends on the file, so this goes out as it is.
    std::io::stderr().write_all(checked.lines().as_bytes())?;
    match checked.reading.snapshot {
        Some(snapshot) if usable => Ok(snapshot),
        _ => bail!("{} cannot be used; mend what is said above", path.display()),
    }
}

fn acceptor(flags: &Serve, environment: &ServeEnv) -> anyhow::Result<Option<tokio_rustls::TlsAcceptor>> {
    let certificate = flags.ssl_certfile_path.as_deref().or(environment.ssl_certfile.as_deref());
    let key = flags.ssl_keyfile_path.as_deref().or(environment.ssl_keyfile.as_deref());
    match (certificate, key) {
        (Some(certificate), Some(key)) => listen::tls(certificate, key).map(Some),
        (None, None) => Ok(None),
        _ => bail!("TLS needs both --ssl_certfile_path and --ssl_keyfile_path"),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn front(flags: &Serve, environment: &ServeEnv, cut: CancellationToken) -> anyhow::Result<Front> {
    let redirect = environment.root_redirect_url.as_deref().map(HeaderValue::from_str).transpose();
    Ok(Front {
        root_path: environment.server_root_path.clone().unwrap_or_default().trim_end_matches('/').to_owned(),
        cors_origins: environment.cors_origins.clone().unwrap_or_default(),
        cors_credentials: environment.cors_allow_credentials.unwrap_or(false),
        keepalive: flags
            .keepalive_timeout
            .map(|seconds| Duration::from_secs(seconds.into()))
            .or(environment.keepalive_timeout),
        limit: flags.limit_concurrency.or(environment.limit_concurrency),
        page: match redirect.context("ROOT_REDIRECT_URL cannot be sent as a header")? {
            Some(target) => FrontPage::Redirect(target),
            None if environment.no_docs => FrontPage::None,
            None => FrontPage::Reference,
        },
        cut,
        admin: None,
    })
}

/// Ends the server at the operator's first signal and its drain at the second; signals count from the
/// call on.
fn end_signals(
    stop: CancellationToken,
    cut: CancellationToken,
) -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot receive SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot receive SIGINT")?;
    Ok(async move {
        for (token, words) in [(stop, "shutting down; a second signal ends at once"), (cut, "ending at once")]
        {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("{words}");
            token.cancel();
        }
    })
}
