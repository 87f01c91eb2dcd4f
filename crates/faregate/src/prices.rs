//! The price list: built in, with the operator's file or URL in front of it.
//!
//! A file is read at the start and at each reload. A URL is fetched beside everything else: until it has
//! answered the built-in list counts, and after a failed refresh the last good one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use http::{HeaderMap, Method, Uri};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use faregate_admin::{PriceList, Reread};
use faregate_catalog::{Catalog, Sanity};
use faregate_config::ServeEnv;
use faregate_upstream::{Auth, Outgoing, Payload, Timeouts, Upstream};

use crate::database::now;

/// The largest list that is fetched, bytes.
const MAX_LIST: usize = 64 * 1024 * 1024;
/// A fetch takes this long at most.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two fetches.
const REFRESH: Duration = Duration::from_secs(6 * 60 * 60);
/// The same after a failure.
const RETRY: Duration = Duration::from_secs(10 * 60);

/// Where prices come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The list of the release.
    BuiltIn,
    /// A file in front of it.
    File(PathBuf),
    /// A list that is fetched.
    Url(Uri),
}

impl Source {
    /// The source that the environment names.
    ///
    /// # Errors
    /// If it names a URL that is none.
    pub fn of(environment: &ServeEnv) -> anyhow::Result<Self> {
        let named = environment.model_cost_map_url.as_deref().filter(|_| !environment.local_model_cost_map);
        Ok(match named {
            None => Self::BuiltIn,
            Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
                Self::Url(url.parse().context("LITELLM_MODEL_COST_MAP_URL is no URL")?)
            }
            Some(path) => Self::File(PathBuf::from(path.strip_prefix("file://").unwrap_or(path))),
        })
    }

    /// The list that can be had at once.
    ///
    /// # Errors
    /// If a file was named and cannot be used.
    pub fn at_hand(&self) -> anyhow::Result<Catalog> {
        match self {
            Self::BuiltIn | Self::Url(_) => Ok(Catalog::built_in()),
            Self::File(path) => from_file(path),
        }
    }

    /// What serves at first, as the control plane shows it.
    pub fn list(&self, catalog: &Arc<Catalog>, environment: &ServeEnv) -> PriceList {
        let place = match self {
            Self::BuiltIn => None,
            Self::File(path) => Some(path.display().to_string()),
            // What comes after the path may be a secret.
            Self::Url(url) => Some(url.to_string().split('?').next().unwrap_or_default().to_owned()),
        };
        let list = PriceList::new(Arc::clone(catalog), place, environment.local_model_cost_map);
        if self.file().is_some() {
            list.put(Arc::clone(catalog), now());
        }
        list
    }

    /// The list as it is now where it is kept.
    ///
    /// # Errors
    /// When it is kept nowhere, or cannot be read or used.
    pub async fn again(&self, upstream: &Upstream) -> anyhow::Result<Catalog> {
        match self {
            Self::BuiltIn => bail!("only the list of the release is in use; set LITELLM_MODEL_COST_MAP_URL"),
            Self::File(path) => from_file(path),
            Self::Url(url) => tokio::time::timeout(DEADLINE, fetch(url, upstream))
                .await
                .unwrap_or_else(|_| bail!("no answer within {} seconds", DEADLINE.as_secs())),
        }
    }

    /// The file, if it is one.
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::BuiltIn | Self::Url(_) => None,
        }
    }
}

fn from_file(path: &Path) -> anyhow::Result<Catalog> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Catalog::with_overrides(&text, Sanity::NONE)
        .with_context(|| format!("{} is no usable model list", path.display()))
}

/// Somebody who waits for the list to be read again.
pub type Waiting = oneshot::Sender<Result<(), String>>;

/// Asks for the list to be read again, and waits until it serves.
pub fn rereading(ask: mpsc::Sender<Waiting>) -> Reread {
    Arc::new(move || {
        let ask = ask.clone();
        Box::pin(async move {
            let (told, served) = oneshot::channel();
            if ask.send(told).await.is_err() {
                return Err("the gateway is ending".to_owned());
            }
            served.await.unwrap_or_else(|_| Err("the gateway is ending".to_owned()))
        })
    })
}

/// A list that is fetched by a task of its own.
pub struct Fetched {
    lists: watch::Receiver<Option<Arc<Catalog>>>,
    again: Arc<Notify>,
}

impl Fetched {
    /// Fetches now, and then at intervals, until `stop`. Nothing is fetched unless the source is a URL.
    pub fn start(source: &Source, upstream: &Upstream, stop: CancellationToken) -> Self {
        let (sender, lists) = watch::channel(None);
        let again = Arc::new(Notify::new());
        if let Source::Url(_) = source {
            let (source, upstream, again) = (source.clone(), upstream.clone(), Arc::clone(&again));
            tokio::spawn(async move {
                // Cancel-safe: a fetch that is given up leaves nothing behind.
                tokio::select! {
                    () = keep(&source, &upstream, &again, &sender) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
        Self { lists, again }
    }

    /// Fetches again, now.
    pub fn refresh(&self) {
        self.again.notify_one();
    }

    /// The next list; never resolves when none comes any more. Cancel-safe.
    pub async fn next(&mut self) -> Arc<Catalog> {
        while self.lists.changed().await.is_ok() {
            if let Some(list) = self.lists.borrow_and_update().clone() {
                return list;
            }
        }
        std::future::pending().await
    }
}

async fn keep(
    source: &Source,
    upstream: &Upstream,
    again: &Notify,
    lists: &watch::Sender<Option<Arc<Catalog>>>,
) {
    let mut said = None;
    loop {
        let outcome = source.again(upstream).await;
        let pause = match outcome {
            Ok(list) => {
                tracing::info!(models = list.len(), "the model list was fetched");
                lists.send_replace(Some(Arc::new(list)));
                said = None;
                REFRESH
            }
            Err(error) => {
                let reason = format!("{error:#}");
                // The same failure is said once, however long it lasts.
                if said.as_deref() != Some(reason.as_str()) {
                    tracing::warn!(%reason, "the model list was not fetched; the one at hand stays in use");
                    said = Some(reason);
                }
                RETRY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = again.notified() => {}
        }
    }
}

async fn fetch(url: &Uri, upstream: &Upstream) -> anyhow::Result<Catalog> {
    let request = Outgoing {
        method: Method::GET,
        url: url.clone(),
        headers: HeaderMap::new(),
        body: Payload::default(),
        auth: &Auth::NONE,
        timeouts: Timeouts { total: Some(DEADLINE), ..Timeouts::default() },
    };
    let answer = upstream.send(request).await?;
    anyhow::ensure!(answer.status.is_success(), "the server answered {}", answer.status);
    let body = answer.body.collect(MAX_LIST).await?;
    Ok(Catalog::with_overrides(&body, Sanity::DOWNLOAD)?)
}
