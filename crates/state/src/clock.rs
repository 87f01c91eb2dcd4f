//! Time as an argument, so that tests decide what time it is.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// What time it is: on the wall, which may jump, and since some fixed moment, which never goes back.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Wall clock time, in milliseconds since 1970.
    fn wall_ms(&self) -> i64;
    /// Time since a fixed moment, steady under changes of the wall clock.
    fn steady(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// Starts counting.
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> i64 {
        // A clock before 1970 is no clock.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn steady(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A clock that a test moves.
#[derive(Debug)]
pub struct ManualClock {
    wall_ms: AtomicI64,
    steady_ms: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `wall` and stands still.
    pub fn at(wall: Timestamp) -> Self {
        Self { wall_ms: AtomicI64::new(wall.as_millisecond()), steady_ms: AtomicI64::new(0) }
    }

    /// Lets time pass, on the wall and off it.
    pub fn advance(&self, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
        self.steady_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the wall clock, as a time server or an operator does; no time passes.
    pub fn step_by_ms(&self, ms: i64) {
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.steady_ms.load(Ordering::SeqCst).unsigned_abs())
    }
}
