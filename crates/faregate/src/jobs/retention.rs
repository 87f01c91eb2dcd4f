//! Deletes what is older than it may become.

use std::time::Duration;

use faregate_state::limits::{BudgetDuration, Schedule};
use faregate_terms::UtcMillis;
use jiff::Timestamp;

use super::Desk;
use crate::database::now;

/// How long a replica has this job.
const CLAIM: Duration = Duration::from_secs(600);
/// Rows per statement. Source: compat, `maximum_spend_logs_cleanup_batch_size`.
const BATCH: u32 = 1_000;
/// Statements per run. Source: compat, `_cleanup_max_batches`.
const MOST_BATCHES: usize = 500;
/// Receipts are known as booked for so long, which is longer than a journal waits.
const REMEMBER_SETTLED: i64 = 30 * 24 * 3600 * 1000;

/// Deletes old rows in small batches, on one replica.
pub async fn run(desk: Desk) {
    let Some(lead) = desk.leadership.lead("retention", CLAIM).await else { return };
    let settled_before = now().plus_millis(-REMEMBER_SETTLED);
    let keep = desk.snapshot.load().general.database.keep_logs_for.clone();
    let logs_before = keep.and_then(|duration| before(&duration));
    for _ in 0..MOST_BATCHES {
        if !lead.holds() {
            return;
        }
        let forgotten = desk.store.forget_settled(settled_before, BATCH).await;
        let deleted = match logs_before {
            Some(before) => desk.store.delete_logs_before(before, BATCH).await,
            None => Ok(0),
        };
        match (forgotten, deleted) {
            (Ok(0), Ok(0)) => return,
            (Ok(_), Ok(_)) => {}
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "old rows cannot be deleted now");
                return;
            }
        }
    }
}

/// So long ago: the length of a duration is that of the next period of it.
fn before(duration: &str) -> Option<UtcMillis> {
    let parsed: BudgetDuration = duration.parse().ok()?;
    let count: i64 = duration.trim_end_matches(|c: char| c.is_alphabetic()).parse().ok()?;
    let unit = match duration.trim_start_matches(|c: char| c.is_ascii_digit()) {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => {
            let now = Timestamp::now();
            let length = Schedule::utc(parsed).next(now).as_second() - now.as_second();
            return Some(self::now().plus_millis(-1000 * length));
        }
    };
    Some(now().plus_millis(-1000 * count.saturating_mul(unit)))
}
