//! Database, journal, shared state and jobs: what requests rest on, started before them and ended after them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use faregate_admin::{Admin, PriceList};
use faregate_config::Snapshot;
use faregate_gateway::gate::{DatabaseStatus, Gate, Services};
use faregate_gateway::health;
use faregate_gateway::principals::Principals;
use faregate_integrations::web::Web;
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
use crate::document;
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
    /// The database answered at the start.
    is_there: bool,
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
        web: Web,
        stop: &CancellationToken,
    ) -> anyhow::Result<(Self, Services)> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let (store, is_there) = database::open(snapshot, data_dir).await?;
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
        let (bell, heard) = jobs::alerts::bell();
        let desk = Desk {
            bell,
            web,
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
                answers: AtomicBool::new(is_there),
                optional: AtomicBool::new(snapshot.general.database.go_on_without),
            }),
            stop: stop.clone(),
            journals: data_dir.join(JOURNALS),
        };
        if is_there {
            jobs::prepare(&desk).await;
        }
        let (jobs, caught_up) = jobs::start(&desk, recovery, left, heard);
        // What earlier processes left counts in budgets from the first request on.
        if is_there && tokio::time::timeout(CATCH_UP, caught_up).await.is_err() {
            tracing::warn!(
                "what earlier processes left is still being booked; budgets may not know of it yet"
            );
        }
        let services = Services {
            database: Some(desk.status.clone()),
            principals: Some(principals),
            journal: (!snapshot.general.database.no_booking).then_some(journal),
            limits: shared.limits,
            cooldowns: shared.cooldowns,
            key_rests: shared.key_rests,
            affinity: shared.affinity,
            figures: shared.figures,
            checkups: shared.checkups,
            estimates: Arc::new(OutputEstimates::new()),
            clock,
        };
        Ok((Self { desk, jobs, is_there, sharing, sharing_ends }, services))
    }

    /// Starts the jobs that work with the gate; `ask` has what is stored taken up, once the database is there.
    pub fn attend(&self, gate: &Arc<Gate>, ask: &mpsc::Sender<oneshot::Sender<()>>) {
        self.sharing.spawn(health::share(Arc::clone(gate), self.sharing_ends.clone()));
        if self.is_there {
            jobs::attend(&self.desk, gate, &self.jobs);
            return;
        }
        let (desk, gate, ask, jobs) = (self.desk.clone(), Arc::clone(gate), ask.clone(), self.jobs.clone());
        self.jobs.spawn(async move {
            let snapshot = desk.snapshot.load_full();
            if !database::catch_up(&snapshot, &desk.store, &desk.stop).await {
                return;
            }
            desk.status.answers.store(true, Ordering::Relaxed);
            tracing::info!("the database answers; keys, models and settings of it count from now on");
            jobs::caught_up(&desk, &gate, &jobs).await;
            // Whoever reloads may be gone, at the end.
            let _ = ask.send(oneshot::channel().0).await;
        });
    }

    /// True if the database answered at the start.
    pub fn has_database(&self) -> bool {
        self.is_there
    }

    /// The management API over the same database. What it stores is announced by `ask`, and serves when that is
    /// answered.
    pub fn admin(
        &self,
        prices: &Arc<PriceList>,
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
            Arc::clone(prices),
            master_key,
            Arc::clone(&self.desk.clock),
        );
        let bell = self.desk.bell.clone();
        admin
            .applying(Arc::new(apply))
            .describing(document::model_calls())
            .telling(Arc::new(move |alert| bell.say(alert)))
            .asking(Arc::clone(&self.desk.web))
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

/// Where journals are, one folder for each process.
const JOURNALS: &str = "journal";
/// How long a start waits for the booking of what earlier processes left.
const CATCH_UP: Duration = Duration::from_secs(5);

/// The folders that processes may have.
pub(crate) fn folders(journals: &Path) -> impl Iterator<Item = PathBuf> {
    (0..MOST_PROCESSES).map(|number| journals.join(number.to_string()))
}

/// A journal of this process's own, and those that earlier processes left with something in them.
fn journals(data_dir: &Path) -> anyhow::Result<(Journal, Recovery, Vec<Left>)> {
    let mut own = None;
    let mut left = Vec::new();
    for path in folders(&data_dir.join(JOURNALS)) {
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
