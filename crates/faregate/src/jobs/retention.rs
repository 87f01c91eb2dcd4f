//! Deletes what is older than it may become: in batches that hold nobody up for long, on one replica.

use std::time::Duration;

use faregate_config::{CleanupSettings, Env};
use faregate_state::limits::{BudgetDuration, Schedule};
use faregate_store::StoreError;
use jiff::Timestamp;
use tokio::time::Instant;

use super::Desk;
use crate::database::now;

/// How long a replica has this job.
const CLAIM: Duration = Duration::from_secs(600);
/// The lease that says that old rows were looked for lately, here or on another replica.
const DONE: &str = "retention-done";
/// Rows per statement and statements per run. Source: compat, config §4.2 and env §4.
const BATCH: u32 = 1_000;
const MOST_BATCHES: u32 = 500;
/// Receipts are known as booked for so long, which is longer than a journal waits.
const REMEMBER_SETTLED: i64 = 30 * 24 * 3600 * 1000;
/// Leases that ran out are kept for so long.
const REMEMBER_LEASES: i64 = 24 * 3600 * 1000;

/// What a run may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    /// Between two runs.
    every: Duration,
    batch: u32,
    batches: u32,
    /// A run takes this long at most.
    run: Duration,
    /// A statement takes this long at most.
    statement: Duration,
}

impl Bounds {
    /// The settings, else the environment, else LiteLLM's defaults. Zero counts as unset.
    fn of(settings: &CleanupSettings, env: &Env) -> Self {
        let variable = |name: &str| env.filled(name).and_then(|text| text.trim().parse::<u64>().ok());
        let count = |setting: Option<u64>, name: &str, usual: u32| {
            let given = setting.or_else(|| variable(name)).filter(|count| *count > 0);
            given.map_or(usual, |count| u32::try_from(count).unwrap_or(u32::MAX))
        };
        let time = |setting: &Option<String>, usual: u64| {
            let given = setting.as_deref().and_then(|text| length(text, Bare::Seconds));
            given.filter(|it| !it.is_zero()).unwrap_or(Duration::from_secs(usual))
        };
        Self {
            every: time(&settings.every, 86_400),
            batch: count(settings.batch, "SPEND_LOG_CLEANUP_BATCH_SIZE", BATCH),
            batches: count(settings.batches, "SPEND_LOG_RUN_LOOPS", MOST_BATCHES),
            run: time(&settings.run_budget, 300),
            statement: time(&settings.batch_timeout, 30),
        }
    }
}

/// Looks for old rows, if nobody has for a while.
pub async fn run(desk: Desk) {
    let Some(lead) = desk.leadership.lead("retention", CLAIM).await else { return };
    let snapshot = desk.snapshot.load_full();
    let database = &snapshot.general.database;
    let bounds = Bounds::of(&database.cleanup, &snapshot.env);
    let started = Instant::now();
    let goes_on = || lead.holds() && started.elapsed() < bounds.run;
    let settled = now().plus_millis(-REMEMBER_SETTLED);
    batches(&bounds, goes_on, || desk.store.forget_settled(settled, bounds.batch)).await;
    let leases = now().plus_millis(-REMEMBER_LEASES);
    batches(&bounds, goes_on, || desk.store.forget_leases(leases, bounds.batch)).await;
    if let Some(keep) = snapshot.general.checks.keep_for.as_deref().and_then(|text| length(text, Bare::Days))
    {
        let checks = now().plus_millis(-millis(keep));
        batches(&bounds, goes_on, || desk.store.delete_health_checks_before(checks, bounds.batch)).await;
    }
    let Some(keep) = database.keep_logs_for.as_deref().and_then(|text| length(text, Bare::Days)) else {
        return;
    };
    let holder = uuid::Uuid::new_v4().to_string();
    let again = now().plus_millis(millis(bounds.every));
    // Whoever gets the lease lets it run out: until then there is nothing to do for anybody.
    if !desk.store.acquire_lease(DONE, &holder, now(), again).await.unwrap_or(false) {
        return;
    }
    let logs = now().plus_millis(-millis(keep));
    let done = batches(&bounds, goes_on, || desk.store.delete_logs_before(logs, bounds.batch)).await;
    // What is left over is for the next tick, not for tomorrow.
    if !done && let Err(error) = desk.store.release_lease(DONE, &holder).await {
        tracing::debug!(%error, "old rows are looked for again when the lease has run out");
    }
}

/// Runs a statement until it finds fewer rows than it may take; false if there may be more.
async fn batches<F>(bounds: &Bounds, goes_on: impl Fn() -> bool, mut delete: impl FnMut() -> F) -> bool
where
    F: Future<Output = Result<u64, StoreError>>,
{
    for _ in 0..bounds.batches {
        if !goes_on() {
            return false;
        }
        match tokio::time::timeout(bounds.statement, delete()).await {
            Ok(Ok(count)) if count < u64::from(bounds.batch) => return true,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "old rows cannot be deleted now");
                return false;
            }
            Err(_) => {
                tracing::warn!("old rows are deleted too slowly; a smaller batch size helps");
                return false;
            }
        }
    }
    false
}

fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX / 4)
}

/// What a number without a unit counts.
#[derive(Clone, Copy)]
enum Bare {
    Days,
    Seconds,
}

/// How long a duration is: that of a month is the length of the next one.
fn length(duration: &str, bare: Bare) -> Option<Duration> {
    if let Ok(count) = duration.trim().parse::<u64>() {
        let unit = match bare {
            Bare::Days => 86_400,
            Bare::Seconds => 1,
        };
        return Some(Duration::from_secs(count.saturating_mul(unit)));
    }
    let parsed: BudgetDuration = duration.parse().ok()?;
    let count: u64 = duration.trim_end_matches(|c: char| c.is_alphabetic()).parse().ok()?;
    let unit = match duration.trim_start_matches(|c: char| c.is_ascii_digit()) {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => {
            let now = Timestamp::now();
            let seconds = Schedule::utc(parsed).next(now).as_second() - now.as_second();
            return u64::try_from(seconds).ok().map(Duration::from_secs);
        }
    };
    Some(Duration::from_secs(count.saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn settings_win_over_the_environment_and_zero_is_none() {
        let env: Env =
            [("SPEND_LOG_CLEANUP_BATCH_SIZE", "50"), ("SPEND_LOG_RUN_LOOPS", "7")].into_iter().collect();
        let settings = CleanupSettings {
            every: Some("2h".to_owned()),
            batch: Some(20),
            batches: Some(0),
            run_budget: Some("90".to_owned()),
            batch_timeout: None,
        };
        let bounds = Bounds::of(&settings, &env);
        assert_eq!((bounds.every, bounds.batch), (Duration::from_secs(7200), 20));
        assert_eq!((bounds.batches, bounds.run), (MOST_BATCHES, Duration::from_secs(90)));
        let bounds = Bounds::of(&CleanupSettings::default(), &env);
        assert_eq!((bounds.batch, bounds.batches, bounds.statement), (50, 7, Duration::from_secs(30)));
        assert_eq!(length("30", Bare::Days), Some(Duration::from_secs(30 * 86_400)));
        assert_eq!(length("soon", Bare::Days), None);
    }

    #[tokio::test]
    async fn batches_are_bounded_and_end_with_the_first_that_is_not_full() {
        let bounds =
            Bounds { batch: 10, batches: 3, ..Bounds::of(&CleanupSettings::default(), &Env::empty()) };
        for (counts, asked, done) in
            [(&[10, 4, 9][..], 2, true), (&[10, 10, 10, 10], 3, false), (&[0], 1, true)]
        {
            let at = Cell::new(0);
            let ended = batches(
                &bounds,
                || true,
                || {
                    at.set(at.get() + 1);
                    let count = counts[at.get() - 1];
                    async move { Ok(count) }
                },
            );
            assert_eq!((ended.await, at.get()), (done, asked), "{counts:?}");
        }
        let never = batches(&bounds, || false, || async { Ok(10) });
        assert!(!never.await, "whoever lost the job stops");
    }
}
