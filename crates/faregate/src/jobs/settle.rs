//! Moves receipts from the journal to the database.

use std::time::Duration;

use faregate_journal::{Journal, Reader, Ticket};
use faregate_store::SettleOptions;
use faregate_store::ledger::{ModelBudgeted, ModelBudgets};
use faregate_terms::Receipt;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::oneshot;

use super::Desk;
use super::recover::WRITTEN;
use crate::adapters::model_budgets;
use crate::database::now;

/// Receipts per transaction.
const BATCH: usize = 2_000;
/// Between two writes when nobody says otherwise. LiteLLM waits ten seconds; dashboards like it sooner.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// First and longest wait while the database is away.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// How long the last receipts may take at the end; the others wait for the next start.
const LAST_TRIES: Duration = Duration::from_secs(10);

/// Runs until the end, and then until the journal is empty or the time for that is over. `first` is told once what the
/// journal held at the start, and what `opened` adds to it, is booked.
pub async fn run(desk: Desk, opened: Vec<Ticket>, first: oneshot::Sender<()>) {
    let mut reader = desk.journal.reader();
    // A reader that comes before the writer finds nothing.
    let _ = tokio::time::timeout(WRITTEN, join_all(opened)).await;
    if drain(&desk, &mut reader).await.is_none() {
        return;
    }
    // Nobody may be waiting any more.
    let _ = first.send(());
    loop {
        tokio::select! {
            () = reader.ready() => {}
            () = desk.stop.cancelled() => break,
        }
        if drain(&desk, &mut reader).await.is_none() {
            break;
        }
        let pause = desk.snapshot.load().general.database.write_every.unwrap_or(WRITE_EVERY);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = desk.stop.cancelled() => break,
        }
    }
}

/// Books what a journal holds; true if it is empty then.
pub async fn everything(desk: &Desk, journal: &Journal) -> bool {
    let mut reader = journal.reader();
    while let Ok(batch) = reader.next_batch(BATCH) {
        if batch.is_empty() {
            return true;
        }
        if !book(desk, &batch).await || reader.acknowledge().is_err() {
            return false;
        }
    }
    false
}

/// Books what is left when requests have ended.
pub async fn last(desk: &Desk) {
    let ended = tokio::time::timeout(LAST_TRIES, everything(desk, &desk.journal));
    if !ended.await.unwrap_or(false) {
        tracing::warn!("the database is slow; what is not booked waits in the journal for the next start");
    }
}

/// Books everything there is; `None` if the end came meanwhile. What comes while the last of it is written waits for the
/// next time: else a busy gateway would write small batches without end, beside the requests it serves.
async fn drain(desk: &Desk, reader: &mut Reader) -> Option<()> {
    loop {
        let batch = match reader.next_batch(BATCH) {
            Ok(batch) if batch.is_empty() => return Some(()),
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(%error, "the journal cannot be read");
                return Some(());
            }
        };
        let is_last = batch.len() < BATCH;
        let mut wait = BACK_OFF.0;
        loop {
            // What is not acknowledged is read again; a transaction that is dropped books nothing.
            tokio::select! {
                booked = book(desk, &batch) => if booked { break },
                () = desk.stop.cancelled() => return None,
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(BACK_OFF.1),
                () = desk.stop.cancelled() => return None,
            }
        }
        if let Err(error) = reader.acknowledge() {
            tracing::error!(%error, "the journal's progress cannot be kept; some receipts will be read twice");
        }
        if is_last {
            return Some(());
        }
    }
}

/// True if the batch is settled: booked, booked before, or refused for good.
async fn book(desk: &Desk, batch: &[Receipt]) -> bool {
    let rules = desk.rules.load_full();
    let periods = |receipt: &Receipt| rules.places.periods(&rules, receipt);
    let models = |of: ModelBudgeted, budgets: &Value, receipt: &Receipt| {
        model_budgets::periods(&rules, of, budgets, receipt)
    };
    let options = SettleOptions {
        request_log: !desk.snapshot.load().general.database.no_request_log,
        places: rules.places.any().then_some(&periods),
        models: Some(ModelBudgets { end_users: rules.end_user_budget(), periods_of: &models }),
    };
    match desk.store.settle(batch, options, now()).await {
        Ok(settlement) => {
            for (call, why) in &settlement.rejected {
                tracing::error!(%call, why, "the database does not take this receipt");
            }
            if settlement.booked > 0 && desk.snapshot.load().general.alerts.wants("budget_alerts") {
                desk.bell.spent(batch);
            }
            tracing::debug!(
                booked = settlement.booked,
                duplicates = settlement.duplicates,
                "receipts booked"
            );
            true
        }
        Err(error) => {
            tracing::warn!(%error, waiting = batch.len(), "receipts wait for the database");
            false
        }
    }
}
