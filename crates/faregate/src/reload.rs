//! A changed configuration is checked first, then swapped in; a broken one changes nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use faregate_catalog::Catalog;
use faregate_config::{Env, Strictness};
use faregate_gateway::gate::Gate;
use faregate_terms::Secret;
use faregate_upstream::Upstream;

use crate::assemble;
use crate::check::check;
use crate::master_key::{self, Rules};

/// Editors write a file in several steps; what follows within this time belongs together.
const SETTLE: Duration = Duration::from_millis(200);

/// What a reload keeps.
pub struct Reloader {
    /// The file.
    pub path: PathBuf,
    /// The environment the process began with.
    pub env: Env,
    /// How unknown keys count.
    pub strictness: Strictness,
    /// What serves.
    pub gate: Arc<Gate>,
    /// Connections.
    pub upstream: Upstream,
    /// Prices.
    pub catalog: Arc<Catalog>,
    /// The admin key of the start; a file that names another changes it.
    pub master_key: Option<Secret>,
    /// The listener can be reached from this machine only.
    pub loopback: bool,
}

impl Reloader {
    /// Reloads on SIGHUP and when a source file changes, until `stop`. Both count from this call on;
    /// they are acted upon by the future.
    ///
    /// # Errors
    /// If signals cannot be received.
    pub fn prepare(
        self,
        sources: &[PathBuf],
        stop: CancellationToken,
    ) -> anyhow::Result<impl Future<Output = ()> + Send + use<>> {
        let mut hangup = signal(SignalKind::hangup())?;
        let (changed, mut changes) = mpsc::channel::<()>(1);
        // As named and as resolved: a link may be replaced as well as what it points to.
        let watched: Vec<PathBuf> = sources
            .iter()
            .flat_map(|path| [std::path::absolute(path).ok(), path.canonicalize().ok()])
            .flatten()
            .collect();
        let names = watched.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let relevant = !event.kind.is_access()
                && event.paths.iter().any(|path| {
                    // Kubernetes swaps this link when a ConfigMap changes.
                    path.ends_with("..data")
                        || names
                            .iter()
                            .any(|name| path == name || path.starts_with(name) || name.starts_with(path))
                });
            if relevant {
                // A full channel means that a reload is due anyway.
                let _ = changed.try_send(());
            }
        });
        // Kept until the end: dropping it ends the watch.
        let watcher = match watcher {
            Ok(mut watcher) => {
                for folder in folders(&watched) {
                    if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
                        tracing::warn!(folder = %folder.display(), %error, "config changes are not noticed; send SIGHUP");
                    }
                }
                Some(watcher)
            }
            Err(error) => {
                tracing::warn!(%error, "config changes are not noticed; send SIGHUP");
                None
            }
        };
        Ok(async move {
            let _watcher = watcher;
            loop {
                tokio::select! {
                    _ = hangup.recv() => {}
                    Some(()) = changes.recv() => {
                        tokio::time::sleep(SETTLE).await;
                        while changes.try_recv().is_ok() {}
                    }
                    () = stop.cancelled() => return,
                }
                self.reload();
            }
        })
    }

    fn reload(&self) {
        let checked = match check(&self.path, &self.env, self.strictness) {
            Ok(checked) => checked,
            Err(error) => {
                tracing::error!(error = %format!("{error:#}"), "the new config cannot be used; the old one stays");
                return;
            }
        };
        for finding in &checked.findings {
            if finding.is_error() {
                tracing::error!("{finding}");
            } else {
                tracing::warn!("{finding}");
            }
        }
        let usable = checked.is_usable();
        let Some(snapshot) = checked.reading.snapshot.filter(|_| usable) else {
            tracing::error!("the new config has errors; the old one stays");
            return;
        };
        let given = snapshot.master_key().or_else(|| self.master_key.clone());
        let master_key = match master_key::permitted(given, Rules::of(&snapshot, self.loopback)) {
            Ok(master_key) => master_key,
            Err(error) => {
                tracing::error!("{error}; the old config stays");
                return;
            }
        };
        let (table, _) = assemble::table(&snapshot, &self.upstream, &self.catalog, master_key);
        let deployments = table.deployments.len();
        self.gate.table.store(Arc::new(table));
        tracing::info!(deployments, "config reloaded");
    }
}

/// Folders are watched instead of files: editors and Kubernetes replace files by renaming.
fn folders(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = files
        .iter()
        .filter_map(|file| if file.is_dir() { Some(file.clone()) } else { file.parent().map(PathBuf::from) })
        .collect();
    folders.sort();
    folders.dedup();
    folders
}
