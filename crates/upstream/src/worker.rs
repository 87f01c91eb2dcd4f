//! Which of the process's worker threads this is.

use std::cell::Cell;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// Declares the current thread to be worker `number`, counted from 1. Each worker has its own pool of
/// connections, so that a request and its provider's answer need no other thread. Threads that are no
/// workers share pool 0.
pub fn be_worker(number: usize) {
    NUMBER.set(number);
}

/// The current thread's number; 0 if it is no worker.
pub(crate) fn number() -> usize {
    NUMBER.get()
}
