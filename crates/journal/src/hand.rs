//! Threads that write what they have put on record themselves.
//!
//! Waking another thread for each receipt, and being woken by it, costs more than writing one. A thread that has a
//! runtime of its own says [`lend`] once and [`before_rest`] whenever it is about to wait for events: all receipts of
//! the calls it has served since then go to the file in one write.

use std::cell::RefCell;
use std::sync::Arc;

use crate::shared::Shared;

thread_local! {
    static HAND: RefCell<Hand> = const { RefCell::new(Hand::No) };
}

enum Hand {
    /// The journal's own thread writes for this one.
    No,
    /// This one writes, and has put nothing on record since it did.
    Free,
    /// It has.
    Full(Arc<Shared>),
}

/// From now on this thread calls [`before_rest`] before it rests.
pub fn lend() {
    HAND.set(Hand::Free);
}

/// Writes what this thread has put on record.
pub fn before_rest() {
    let hand = HAND.with_borrow_mut(|hand| match hand {
        Hand::Full(_) => std::mem::replace(hand, Hand::Free),
        Hand::No | Hand::Free => Hand::No,
    });
    if let Hand::Full(shared) = hand {
        shared.write_own();
    }
}

/// True if this thread will write what it puts on record in `journal`.
pub(crate) fn takes(journal: &Arc<Shared>) -> bool {
    HAND.with_borrow_mut(|hand| match hand {
        Hand::No => false,
        Hand::Free => {
            *hand = Hand::Full(Arc::clone(journal));
            true
        }
        Hand::Full(other) => Arc::ptr_eq(other, journal),
    })
}
