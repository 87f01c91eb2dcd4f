//! Notices changes of the files a configuration is read from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::RwLock;
use tokio::sync::mpsc::{self, Receiver};

/// The files that count, and the folders they are in. Dropping it ends the watch.
pub struct Watch {
    watcher: Option<RecommendedWatcher>,
    names: Arc<RwLock<Vec<PathBuf>>>,
    folders: BTreeSet<PathBuf>,
}

impl Watch {
    /// Watches `sources`; the receiver has something when one of them may have changed.
    pub fn start<'a>(sources: impl IntoIterator<Item = &'a PathBuf>) -> (Self, Receiver<()>) {
        let (changed, changes) = mpsc::channel::<()>(1);
        let names: Arc<RwLock<Vec<PathBuf>>> = Arc::default();
        let known = Arc::clone(&names);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if !event.kind.is_access() && event.paths.iter().any(|path| concerns(path, &known.read())) {
                // A full channel means that a reload is due anyway.
                let _ = changed.try_send(());
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "config changes are not noticed; send SIGHUP"));
        let mut watch = Self { watcher: watcher.ok(), names, folders: BTreeSet::new() };
        watch.follow(sources);
        (watch, changes)
    }

    /// Watches `sources` instead; a folder that is watched stays so. True if some were not watched before: what
    /// happened to them since they were read was not noticed.
    pub fn follow<'a>(&mut self, sources: impl IntoIterator<Item = &'a PathBuf>) -> bool {
        // As named and as resolved: a link may be replaced as well as what it points to.
        let names: Vec<PathBuf> = sources
            .into_iter()
            .flat_map(|path| [std::path::absolute(path).ok(), path.canonicalize().ok()])
            .flatten()
            .collect();
        let folders = folders(&names);
        let before = std::mem::replace(&mut *self.names.write(), names.clone());
        let is_new = names.iter().any(|name| !before.contains(name));
        let Some(watcher) = &mut self.watcher else { return false };
        for folder in folders {
            if self.folders.contains(&folder) {
                continue;
            }
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.folders.insert(folder);
                }
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "config changes are not noticed; send SIGHUP");
                }
            }
        }
        is_new
    }
}

fn concerns(path: &Path, names: &[PathBuf]) -> bool {
    // Kubernetes swaps this link when a ConfigMap changes.
    path.ends_with("..data")
        || names.iter().any(|name| path == name || path.starts_with(name) || name.starts_with(path))
}

/// Folders are watched instead of files: editors and Kubernetes replace files by renaming.
fn folders(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    files
        .iter()
        .filter_map(|file| if file.is_dir() { Some(file.clone()) } else { file.parent().map(PathBuf::from) })
        .collect()
}
