//! Requests that wait for a place at a deployment: the most urgent first, of those the one that came first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Requests that wait at most; further ones do not.
const MOST_WAITING: usize = 10_000;
/// Between two looks at deployments whose places other replicas fill as well.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Those that wait.
#[derive(Debug, Default)]
pub struct Queue {
    turns: Mutex<BTreeMap<Turn, Arc<Notify>>>,
    /// How many there are, without the lock.
    waiting: AtomicUsize,
    number: AtomicU64,
}

/// A place in the queue; the smallest is called first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    priority: i64,
    since: Instant,
    number: u64,
}

/// One that waits; leaves the queue when dropped.
struct Waiting<'a> {
    queue: &'a Queue,
    turn: Turn,
    called: Arc<Notify>,
}

impl Queue {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits until it is the turn of a request that has been waiting `since` then, at most until `end`; false if there
    /// is no more waiting. Smaller numbers of `priority` are called before larger ones.
    pub async fn turn(&self, priority: i64, since: Instant, end: Instant) -> bool {
        let now = Instant::now();
        let place = match self.enter(priority, since) {
            Some(place) if now < end => place,
            _ => return false,
        };
        let look = end.min(now + LOOK_AGAIN);
        // Whether called or not, the caller looks for itself.
        let _ = tokio::time::timeout_at(look.into(), place.called.notified()).await;
        true
    }

    /// A place is free: calls the next one.
    pub fn call(&self) {
        if self.waiting.load(Ordering::Acquire) > 0
            && let Some((_, called)) = self.turns.lock().pop_first()
        {
            called.notify_one();
        }
    }

    fn enter(&self, priority: i64, since: Instant) -> Option<Waiting<'_>> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let turn = Turn { priority, since, number };
        let called = Arc::new(Notify::new());
        let mut turns = self.turns.lock();
        if self.waiting.load(Ordering::Acquire) >= MOST_WAITING {
            return None;
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        turns.insert(turn, Arc::clone(&called));
        Some(Waiting { queue: self, turn, called })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.queue.turns.lock().remove(&self.turn);
        self.queue.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_most_urgent_is_called_first_and_of_those_the_oldest() {
        let queue = Arc::new(Queue::default());
        let (start, order) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
        let end = start + Duration::from_secs(60);
        let mut tasks = Vec::new();
        for (name, priority, age) in [("late", 0, 1), ("early", 0, 5), ("urgent", -1, 0), ("patient", 9, 9)] {
            let (queue, order) = (Arc::clone(&queue), Arc::clone(&order));
            let since = start + Duration::from_secs(10) - Duration::from_secs(age);
            tasks.push(tokio::spawn(async move {
                assert!(queue.turn(priority, since, end).await);
                order.lock().push(name);
            }));
        }
        while queue.waiting() < tasks.len() {
            tokio::task::yield_now().await;
        }
        for left in (0..tasks.len()).rev() {
            queue.call();
            while queue.waiting() > left {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(*order.lock(), ["urgent", "early", "late", "patient"]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_beyond_the_end_and_who_leaves_is_forgotten() {
        let queue = Queue::default();
        let now = Instant::now();
        assert!(!queue.turn(0, now, now).await);
        drop(queue.enter(0, now));
        assert_eq!(queue.waiting(), 0);
        queue.call();
    }
}
