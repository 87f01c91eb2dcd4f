//! `faregate`: from flags to a running gateway, and its end.

use std::io::Write;
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use faregate_config::{Env, ServeEnv, Snapshot, Strictness};
use faregate_gateway::gate::Gate;
use faregate_gateway::metrics::DEFAULT_BUCKETS;

use crate::cli::Serve;
use crate::demo::Demo;
use crate::listen::{self, Front};
use crate::master_key::{self, Rules};
use crate::reload::Reloader;
use crate::workers::Workers;
use crate::{assemble, check, data_dir, logging};

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
    let config = flags.config.clone().or(environment.config_file);
    let strictness = if flags.strict_config { Strictness::Strict } else { Strictness::Lenient };
    let (snapshot, demo) = match &config {
        Some(path) => (read(path, &env, strictness)?, None),
        None => {
            let demo = Demo::start().await?;
            (demo.snapshot(&env), Some(demo))
        }
    };
    // The file's own environment_variables count from here on.
    let (environment, _) = ServeEnv::read(&snapshot.env);
    let _log = logging::start(&flags, &environment, &snapshot).context("the log cannot be started")?;
    for finding in dotenv_findings.iter().chain(&findings) {
        tracing::warn!("{finding}");
    }
    for flag in flags.ignored.given() {
        tracing::warn!("{flag} is accepted without effect");
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
    let catalog = Arc::new(assemble::catalog(&environment, &upstream).await?);
    let (table, skipped) = assemble::table(&snapshot, &upstream, &catalog, master_key.clone());
    skipped.iter().for_each(|finding| tracing::warn!("{finding}"));
    let buckets = snapshot.litellm.prometheus_latency_buckets.as_deref().unwrap_or(&DEFAULT_BUCKETS);
    let gate = Arc::new(Gate::new(table, buckets));

    let acceptor = acceptor(&flags, &environment)?;
    let listener = listen::bind(&host, port).await?;
    let address = listener.local_addr()?;
    let scheme = if acceptor.is_some() { "https" } else { "http" };

    // Signals and file changes count from the moment that the address is said.
    let stop = CancellationToken::new();
    let reloading = config
        .map(|path| {
            let reloader = Reloader {
                path,
                env,
                strictness,
                gate: Arc::clone(&gate),
                upstream,
                catalog,
                master_key,
                loopback,
            };
            reloader.prepare(&snapshot.sources, stop.clone()).map(tokio::spawn)
        })
        .transpose()?;
    let end = end_signal()?;
    let ended = stop.clone();
    let signals = tokio::spawn(async move {
        end.await;
        ended.cancel();
    });
    tracing::info!(target: "faregate::listen", "listening on {scheme}://{address}");
    let front = Front {
        root_path: environment.server_root_path.clone().unwrap_or_default().trim_end_matches('/').to_owned(),
        cors_origins: environment.cors_origins.clone().unwrap_or_default(),
        cors_credentials: environment.cors_allow_credentials.unwrap_or(false),
    };
    let drain = environment.graceful_shutdown_timeout.unwrap_or(DEFAULT_DRAIN);
    listen::serve(listener, workers, gate, front, acceptor, stop, drain).await;
    signals.await?;
    if let Some(reloading) = reloading {
        reloading.await?;
    }
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

/// Resolves when the operator ends us; signals count from the call on.
fn end_signal() -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot receive SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot receive SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("shutting down");
    })
}
