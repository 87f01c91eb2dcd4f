//! The half of the book that talks to the shared store.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Book;
use crate::limits::counter::Queued;
use crate::limits::lease::{Exchange, Kind, LEASE_TTL_MS, PARALLEL_TTL_MS, Statement};
use crate::limits::limit::Name;

impl Book {
    /// What the store has to hear, at most `most` statements; with `all`, also what could wait.
    pub fn statements(&self, most: usize, all: bool) -> Vec<Statement> {
        let now = self.now();
        let mut batch = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock();
            let shard = &mut *shard;
            for list in [&mut shard.hot, &mut shard.calm].into_iter().take(if all { 2 } else { 1 }) {
                while batch.len() < most
                    && let Some(name) = list.pop()
                {
                    let Some(counter) = shard.counters.get_mut(&name) else { continue };
                    if counter.share.as_ref().is_none_or(|share| share.queued == Queued::No) {
                        continue;
                    }
                    counter.turn_over(now);
                    let seq = self.seq.fetch_add(1, Ordering::AcqRel) + 1;
                    batch.extend(counter.statement(seq));
                }
            }
        }
        batch
    }

    /// True if there is something to state; with `all`, also if it could wait.
    pub fn unstated(&self, all: bool) -> bool {
        self.shards.iter().any(|shard| {
            let shard = shard.lock();
            !shard.hot.is_empty() || all && !shard.calm.is_empty()
        })
    }

    /// Takes the answers to a batch in and wakes who waited for them.
    pub fn answers(&self, batch: &[Statement], exchange: &Exchange, sent: Duration) {
        let now = self.now();
        self.void(now.heard, sent);
        for (statement, answer) in batch.iter().zip(&exchange.answers) {
            let mut shard = self.lock(&statement.name);
            let Some(counter) = shard.counters.get_mut(&statement.name) else { continue };
            if statement.leave {
                if counter.folded(statement) {
                    shard.counters.remove(&statement.name);
                }
                continue;
            }
            counter.answer(statement, answer, now, exchange.replicas);
            if let Some(wake) = &counter.wake {
                wake.notify_waiters();
            }
        }
        for name in &exchange.wanted {
            let mut shard = self.lock(name);
            let Some(counter) = shard.counters.get_mut(name) else { continue };
            let used = counter.spent + counter.held;
            let waits = counter.waiting > 0;
            if let Some(share) = &mut counter.share
                && !waits
                && (share.allowance > used || share.queued == Queued::Calm)
            {
                share.recalled = true;
                self.changed(&mut shard, name);
            }
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let took = now.steady.saturating_sub(sent);
        self.exchange_ms.store(millis(took), Ordering::Release);
        self.heard_ms.store(millis(sent), Ordering::Release);
        // A store that was late is away until it is in time again, so that requests do not wait for it each time;
        // and so is one that has only begun and gives no leases yet.
        let young = exchange.answers.iter().any(|answer| answer.young);
        self.away.store(young || took > self.settings.deadline, Ordering::Release);
        self.dead.store(false, Ordering::Release);
    }

    /// After a long silence the store may have given leases of this replica to others.
    fn void(&self, heard: Duration, sent: Duration) {
        let silent = i64::try_from(sent.saturating_sub(heard).as_millis()).unwrap_or(i64::MAX);
        if heard.is_zero() || silent <= PARALLEL_TTL_MS {
            return;
        }
        for shard in &self.shards {
            for counter in shard.lock().counters.values_mut() {
                if silent > LEASE_TTL_MS || counter.kind() == Kind::Parallel {
                    counter.give_up();
                }
            }
        }
    }

    /// Gives up all leases and has everything stated again: the store does not know this replica, so it may
    /// give the same leases to others.
    pub fn restate(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let names: Vec<Name> = shard.counters.keys().cloned().collect();
            for name in names {
                if let Some(counter) = shard.counters.get_mut(&name) {
                    counter.give_up();
                }
                self.changed(&mut shard, &name);
            }
        }
    }

    /// An exchange failed: what it stated is still to be stated.
    pub fn failed(&self, batch: &[Statement]) {
        self.away.store(true, Ordering::Release);
        self.dead.store(true, Ordering::Release);
        for statement in batch {
            let mut shard = self.lock(&statement.name);
            self.changed(&mut shard, &statement.name);
            if let Some(wake) = shard.counters.get(&statement.name).and_then(|counter| counter.wake.clone()) {
                wake.notify_waiters();
            }
        }
    }

    /// The store takes longer than requests wait.
    pub fn late(&self) {
        self.away.store(true, Ordering::Release);
    }

    /// True while the store does not answer in time.
    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Acquire)
    }
}
