//! The background half of shared limits: states what changed, takes the answers in.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::book::Book;
use super::lease::{Exchange, SharedCounters, Statement, StoreError};

/// Statements in one exchange.
const BATCH: usize = 512;
/// Pause between exchanges while somebody waits: lets statements gather.
const GATHER: Duration = Duration::from_millis(2);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Ticks between statements of counters that can wait.
const CALM_TICKS: u32 = 10;
/// Ticks between sweeps of idle counters.
const SWEEP_TICKS: u32 = 300;

/// Keeps one replica's counters and the shared store together. Start [`LeaseKeeper::run`] once, as a task that is
/// awaited at shutdown.
pub struct LeaseKeeper {
    book: Arc<Book>,
    store: Arc<dyn SharedCounters>,
    replica: String,
}

impl LeaseKeeper {
    pub(super) fn new(book: Arc<Book>, store: Arc<dyn SharedCounters>) -> Self {
        Self { book, store, replica: uuid::Uuid::new_v4().simple().to_string() }
    }

    /// Runs until `stop`, then states everything a last time and gives all leases back.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = self.book.settings.tick;
        let mut ticks = 0u32;
        loop {
            let failing = pause > self.book.settings.tick;
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.book.urgent.notified(), if !failing => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(pause) => ticks = ticks.wrapping_add(1),
            }
            let all = ticks.is_multiple_of(CALM_TICKS);
            let done = self.round(all).await;
            pause = if done { self.book.settings.tick } else { (pause * 2).min(LONGEST_PAUSE) };
            if done && self.book.unstated(all) {
                // More than one batch.
                self.book.urgent.notify_one();
            }
            if ticks.is_multiple_of(SWEEP_TICKS) {
                self.book.sweep(self.book.settings.idle);
            }
        }
        if timeout(self.book.settings.timeout, self.leave()).await.is_err() {
            tracing::warn!("the shared store of limits did not hear all of this replica's last words");
        }
    }

    /// Gives everything back that nobody uses.
    async fn leave(&self) {
        loop {
            // Again each time: what was stated in the meantime stays another round.
            self.book.sweep(Duration::ZERO);
            if !self.book.unstated(true) || !self.round(true).await {
                return;
            }
        }
    }

    /// One exchange. False if it failed.
    async fn round(&self, all: bool) -> bool {
        let batch = self.book.statements(BATCH, all);
        let sent = self.book.now().steady;
        match self.exchange(&batch).await {
            Ok(exchange) if exchange.answers.len() == batch.len() => {
                if !exchange.known {
                    self.book.restate();
                }
                self.book.answers(&batch, &exchange, sent);
                true
            }
            Ok(_) => {
                tracing::warn!("the shared store of limits left statements without an answer");
                self.book.failed(&batch);
                false
            }
            Err(error) => {
                if !self.book.is_away() {
                    tracing::warn!(%error, "limits are decided by this replica alone until the store answers");
                }
                self.book.failed(&batch);
                false
            }
        }
    }

    async fn exchange(&self, batch: &[Statement]) -> Result<Exchange, StoreError> {
        let settings = &self.book.settings;
        let mut exchange = self.store.exchange(&self.replica, batch);
        if let Ok(done) = timeout(settings.deadline, &mut exchange).await {
            return done;
        }
        self.book.late();
        match timeout(settings.timeout, exchange).await {
            Ok(done) => done,
            Err(_) => Err(StoreError(format!("no answer within {:?}", settings.timeout))),
        }
    }
}
