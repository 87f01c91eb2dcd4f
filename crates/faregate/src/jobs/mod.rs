//! What runs beside requests. Each job is a function in a file of its own; [`start`] is their list.

pub mod alerts;
mod check_health;
mod recover;
mod reset_budgets;
mod retention;
pub mod settle;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use faregate_config::Snapshot;
use faregate_gateway::gate::{DatabaseStatus, Gate};
use faregate_gateway::principals::Principals;
use faregate_integrations::web::Web;
use faregate_journal::{Journal, Recovery};
use faregate_state::clock::Clock;
use faregate_state::invalidate::{Change, Invalidations};
use faregate_state::lease::Leadership;
use faregate_state::limits::Limits;
use faregate_store::Store;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adapters::known_keys::KnownKeys;
use crate::adapters::principal::Rules;

/// What jobs work with.
#[derive(Clone)]
pub struct Desk {
    /// The database.
    pub store: Store,
    /// Receipts.
    pub journal: Journal,
    /// Counters.
    pub limits: Limits,
    /// What requests know of keys.
    pub principals: Arc<Principals>,
    /// Which keys there are.
    pub known: Arc<KnownKeys>,
    /// Tells replicas of changes.
    pub invalidations: Invalidations,
    /// Who runs what must run once.
    pub leadership: Leadership,
    /// How budgets reset.
    pub rules: Arc<ArcSwap<Rules>>,
    /// Who may not write the request log, and so on.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Whether the database answers.
    pub status: Arc<DatabaseStatus>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where alerts are handed in.
    pub bell: alerts::Bell,
    /// The door out, for what is no model call.
    pub web: Web,
    /// Ends the jobs.
    pub stop: CancellationToken,
    /// Where processes of the data directory have their journals.
    pub journals: PathBuf,
}

/// A journal that an earlier process left with something in it.
pub struct Left {
    /// Where it is.
    pub folder: PathBuf,
    /// The journal.
    pub journal: Journal,
    /// What was found in it.
    pub recovery: Recovery,
}

/// What must be true before the first request: the whole installation's budget has its row.
pub async fn prepare(desk: &Desk) {
    if let Err(error) = reset_budgets::keep_global(desk).await {
        tracing::warn!(%error, "the budget of the whole installation cannot be kept in the database now");
    }
}

/// Starts every job. The tracker ends when all have ended after `stop`. What comes with it ends when all that earlier
/// processes left is booked.
pub fn start(
    desk: &Desk,
    recovery: Recovery,
    left: Vec<Left>,
    heard: alerts::Heard,
) -> (TaskTracker, impl Future<Output = ()> + use<>) {
    let tracker = TaskTracker::new();
    let opened = recover::settle_open(&desk.journal, &recovery);
    let (first, booked) = oneshot::channel();
    let taken_over = tracker.spawn(recover::take_over(desk.clone(), left));
    tracker.spawn(settle::run(desk.clone(), opened, first));
    tracker.spawn(hear(desk.clone()));
    tracker.spawn(alerts::run(desk.clone(), heard));
    tracker.spawn(every("ping", Duration::from_secs(2), desk.clone(), ping));
    tracker.spawn(every("sweep", Duration::from_secs(30), desk.clone(), sweep));
    tracker.spawn(every("reset-budgets", Duration::from_secs(10), desk.clone(), reset_budgets::run));
    tracker.spawn(every("take-over", Duration::from_secs(5), desk.clone(), recover::of_the_dead));
    tracker.spawn(every("list-keys", Duration::from_secs(600), desk.clone(), list_keys));
    tracker.spawn(every("retention", Duration::from_secs(60), desk.clone(), retention::run));
    tracker.close();
    let caught_up = async move {
        // Either may have been stopped.
        let _ = booked.await;
        let _ = taken_over.await;
    };
    (tracker, caught_up)
}

/// Starts the jobs that work with the gate.
pub fn attend(desk: &Desk, gate: &Arc<Gate>, tracker: &TaskTracker) {
    tracker.spawn(check_health::record(desk.clone(), Arc::clone(gate)));
    tracker.spawn(check_health::run(desk.clone(), Arc::clone(gate)));
}

/// What waited for a database that was away at the start.
pub async fn caught_up(desk: &Desk, gate: &Arc<Gate>, tracker: &TaskTracker) {
    prepare(desk).await;
    list_keys(desk.clone()).await;
    desk.principals.forget(&Change::Everything);
    attend(desk, gate, tracker);
}

/// Drops what requests remember of what has changed.
async fn hear(desk: Desk) {
    let mut changes = desk.invalidations.subscribe();
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(change) => {
                    if desk.known.hear(&change) {
                        list_keys(desk.clone()).await;
                    }
                    desk.principals.forget(&change);
                }
                None => return,
            },
            () = desk.stop.cancelled() => return,
        }
    }
}

/// Reads which keys there are. Until that succeeds every key is looked up.
async fn list_keys(desk: Desk) {
    match desk.store.key_hashes().await {
        Ok(hashes) => desk.known.add(hashes),
        Err(error) => tracing::warn!(%error, "the keys cannot be listed; every key is looked up"),
    }
}

/// How long the database may take for a sign of life.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

async fn ping(desk: Desk) {
    let answers = matches!(tokio::time::timeout(PING_TIMEOUT, desk.store.ping()).await, Ok(Ok(())));
    if desk.status.answers.swap(answers, Ordering::Relaxed) != answers {
        if answers {
            tracing::info!("the database answers again");
        } else {
            tracing::error!("the database does not answer; receipts wait in the journal, known keys go on");
        }
    }
}

async fn sweep(desk: Desk) {
    desk.limits.sweep();
}

/// Runs a job again and again until the end.
async fn every<F>(name: &'static str, interval: Duration, desk: Desk, job: fn(Desk) -> F)
where
    F: Future<Output = ()> + Send,
{
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = desk.stop.cancelled() => return,
        }
        tracing::trace!(name, "job");
        tokio::select! {
            () = job(desk.clone()) => {}
            () = desk.stop.cancelled() => return,
        }
    }
}
