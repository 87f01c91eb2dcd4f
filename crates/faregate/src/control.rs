//! Database, journal, shared state and jobs: what requests rest on, started before them and ended after them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use faregate_admin::Admin;
use faregate_catalog::Catalog;
use faregate_config::Snapshot;
use faregate_gateway::gate::{DatabaseStatus, Services};
use faregate_gateway::principals::Principals;
use faregate_journal::{Journal, JournalError, Recovery, Settings};
use faregate_state::clock::{Clock, SystemClock};
use faregate_state::limits::OutputEstimates;
use faregate_terms::Secret;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adapters::known_keys::KnownKeys;
use crate::adapters::principal::{Rules, StoreSource};
use crate::database;
use crate::jobs::{self, Desk, Left};
use crate::shared;

/// How long each step of the end may take: a database that hangs must not keep the process.
const END: Duration = Duration::from_secs(5);

/// Processes that may share a data directory, as during an upgrade.
const MOST_PROCESSES: usize = 64;

/// What outlives single requests and configurations.
pub struct Control {
    /// What jobs work with.
    pub desk: Desk,
    jobs: TaskTracker,
    /// What replicas share goes on until the last receipt is booked.
    sharing: TaskTracker,
    sharing_ends: CancellationToken,
}

impl Control {
    /// Starts everything; `stop` ends the jobs.
    ///
    /// # Errors
    /// With the remedy, if the database, the journal or the Redis settings cannot be used.
    pub async fn start(
        snapshot: &Snapshot,
        data_dir: &Path,
        stop: &CancellationToken,
    ) -> anyhow::Result<(Self, Services)> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let store = database::open(snapshot, data_dir).await?;
        let (journal, recovery, left) = journals(data_dir)?;
        let (sharing, sharing_ends) = (TaskTracker::new(), CancellationToken::new());
        let shared = shared::start(snapshot, &store, &clock, &sharing, &sharing_ends)?;
        if let Some(over) = shared.over {
            tracing::info!(over, "limits and changes are shared with other replicas");
        }
        let rules = Arc::new(ArcSwap::from_pointee(Rules::of(snapshot)));
        let known = Arc::new(KnownKeys::default());
        let source = StoreSource::new(
            store.clone(),
            Handle::current(),
            Arc::clone(&clock),
            Arc::clone(&rules),
            Arc::clone(&known),
        );
        let principals = Arc::new(Principals::new(Arc::new(source)));
        let desk = Desk {
            store,
            journal: journal.clone(),
            limits: shared.limits.clone(),
            principals: Arc::clone(&principals),
            known,
            invalidations: shared.invalidations,
            leadership: shared.leadership,
            rules,
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot.clone())),
            clock: Arc::clone(&clock),
            status: Arc::new(DatabaseStatus {
                answers: AtomicBool::new(true),
                optional: AtomicBool::new(snapshot.general.database.go_on_without),
            }),
            stop: stop.clone(),
        };
        jobs::prepare(&desk).await;
        let jobs = jobs::start(&desk, recovery, left);
        let services = Services {
            database: Some(desk.status.clone()),
            principals: Some(principals),
            journal: Some(journal),
            limits: shared.limits,
            cooldowns: shared.cooldowns,
            estimates: Arc::new(OutputEstimates::new()),
            clock,
        };
        Ok((Self { desk, jobs, sharing, sharing_ends }, services))
    }

    /// The management API over the same database. What it stores is announced by `ask`, and serves when that is
    /// answered.
    pub fn admin(
        &self,
        catalog: &Arc<Catalog>,
        master_key: Option<Secret>,
        ask: mpsc::Sender<oneshot::Sender<()>>,
    ) -> Admin {
        let apply = move || -> BoxFuture<'static, ()> {
            let ask = ask.clone();
            Box::pin(async move {
                let (told, served) = oneshot::channel();
                if ask.send(told).await.is_ok() {
                    // A reload that cannot be done has said so in the log.
                    let _ = tokio::time::timeout(END, served).await;
                }
            })
        };
        let admin = Admin::new(
            self.desk.store.clone(),
            self.desk.invalidations.clone(),
            Arc::clone(&self.desk.snapshot),
            Arc::clone(catalog),
            master_key,
            Arc::clone(&self.desk.clock),
        );
        admin.applying(Arc::new(apply))
    }

    /// Ends: books what is left, then lets go of everything. Call it when the last request is over.
    pub async fn end(self) {
        if tokio::time::timeout(END, self.jobs.wait()).await.is_err() {
            tracing::warn!("a job did not end in time");
        }
        jobs::settle::last(&self.desk).await;
        let journal = self.desk.journal.clone();
        let closed = tokio::task::spawn_blocking(move || journal.close());
        let _ = closed.await;
        self.sharing_ends.cancel();
        self.sharing.close();
        let parted = async {
            self.sharing.wait().await;
            self.desk.store.close().await;
        };
        if tokio::time::timeout(END, parted).await.is_err() {
            tracing::warn!("the database or the shared store did not let go in time");
        }
    }
}

/// A journal of this process's own, and those that earlier processes left with something in them.
fn journals(data_dir: &Path) -> anyhow::Result<(Journal, Recovery, Vec<Left>)> {
    let folder = |number: usize| data_dir.join("journal").join(number.to_string());
    let mut own = None;
    let mut left = Vec::new();
    for path in (0..MOST_PROCESSES).map(folder) {
        if own.is_some() && !path.exists() {
            break;
        }
        match Journal::open(&path, Settings::default()) {
            Ok((journal, recovery)) if own.is_none() => own = Some((journal, recovery)),
            Ok((journal, recovery)) => left.push(Left { folder: path, journal, recovery }),
            Err(JournalError::InUse(_)) => {}
            Err(error) => return Err(error).context("the journal of receipts cannot be opened"),
        }
    }
    let (journal, recovery) = own.context("too many processes share this data directory")?;
    Ok((journal, recovery, left))
}
