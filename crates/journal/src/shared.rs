//! What the threads of a journal share.

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use faregate_terms::Receipt;
use futures_util::task::AtomicWaker;
use parking_lot::{Condvar, Mutex};

use crate::recover::Found;
use crate::{Admission, Settings};

/// A place in the log, just after a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Number of the file.
    pub(crate) segment: u64,
    /// Byte in it.
    pub(crate) offset: u64,
}

/// Done when a receipt has been written, or cannot be.
#[derive(Debug)]
pub struct Ticket(Arc<Signal>);

#[derive(Debug, Default)]
pub(crate) struct Signal {
    done: AtomicBool,
    waker: AtomicWaker,
}

impl Signal {
    pub(crate) fn done(&self) {
        self.done.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Ticket {
    pub(crate) fn new(signal: Arc<Signal>) -> Self {
        Self(signal)
    }

    /// True if there is nothing to wait for any more.
    pub fn is_done(&self) -> bool {
        self.0.done.load(Ordering::Acquire)
    }
}

impl Future for Ticket {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_done() {
            return Poll::Ready(());
        }
        self.0.waker.register(cx.waker());
        if self.is_done() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// How a journal is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Waiting for the writing thread.
    pub queued: usize,
    /// Receipts written and not acknowledged.
    pub unacknowledged: u64,
    /// Since when the oldest of them waits; nothing if there is none.
    pub lag: Option<Duration>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Why nothing can be written, if so: receipts are then kept in memory only.
    pub degraded: Option<String>,
    /// Receipts that could be kept nowhere.
    pub lost: u64,
}

/// Work for the writing thread.
pub(crate) enum Item {
    Admitted(u64, Box<Admission>),
    Settled(u64, Box<Receipt>, Arc<Signal>),
    Void(u64),
}

/// How the writing thread waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Rest {
    /// It does not: it looks at the queue before it rests again.
    #[default]
    Awake,
    /// For a while, and only what somebody waits for wakes it. An admission nobody waits for: a gateway with
    /// something to do is not woken twice for each request.
    Light,
    /// Until there is anything at all.
    Deep,
}

#[derive(Default)]
pub(crate) struct Queue {
    pub items: Vec<Item>,
    /// True if there is more than admissions.
    pub urgent: bool,
    pub rest: Rest,
    pub closed: bool,
}

impl Queue {
    /// Adds an item; true if the writing thread has to be woken for it.
    fn add(&mut self, item: Item) -> bool {
        self.urgent |= !matches!(item, Item::Admitted(..));
        self.items.push(item);
        let wakes = match self.rest {
            Rest::Awake => false,
            Rest::Light => self.urgent,
            Rest::Deep => true,
        };
        if wakes {
            self.rest = Rest::Awake;
        }
        wakes
    }
}

/// A receipt for the reader; `None` if it is in no file.
pub(crate) type Recent = (Option<Position>, Receipt, Instant);

pub(crate) struct State {
    /// Receipts after `base`, in order.
    pub recent: VecDeque<Recent>,
    /// From here on receipts are in `recent`; before it they are in the files.
    pub base: Position,
    /// End of what has been written.
    pub end: Position,
    /// Up to here everything has been acknowledged.
    pub acknowledged: Position,
    /// Receipts in files before `base` that are not acknowledged.
    pub backlog: u64,
    /// Number and length of the files.
    pub segments: VecDeque<(u64, u64)>,
    pub degraded: Option<String>,
    pub lost: u64,
}

pub(crate) struct Shared {
    pub folder: PathBuf,
    pub settings: Settings,
    pub queue: Mutex<Queue>,
    pub wake: Condvar,
    pub state: Mutex<State>,
    /// Rung when there is something to read.
    pub bell: tokio::sync::Notify,
    /// The file to bring to the disk, when it has changed.
    pub dirty: Mutex<Option<Arc<File>>>,
    pub sync: Condvar,
    pub closed: AtomicBool,
    /// Receipts handed to a reader and not acknowledged.
    pub handed: AtomicU64,
    /// Keeps other processes out until the journal is closed.
    pub lock: Mutex<Option<File>>,
}

impl Shared {
    pub fn new(folder: PathBuf, settings: Settings, found: &Found, lock: File) -> Self {
        Self {
            folder,
            settings,
            queue: Mutex::default(),
            wake: Condvar::new(),
            state: Mutex::new(State {
                recent: VecDeque::new(),
                base: found.end,
                end: found.end,
                acknowledged: found.acknowledged,
                backlog: found.recovery.receipts,
                segments: found.segments.clone().into(),
                degraded: None,
                lost: 0,
            }),
            bell: tokio::sync::Notify::new(),
            dirty: Mutex::default(),
            sync: Condvar::new(),
            closed: AtomicBool::new(false),
            handed: AtomicU64::new(0),
            lock: Mutex::new(Some(lock)),
        }
    }

    pub fn push(&self, item: Item) {
        if self.queue.lock().add(item) {
            self.wake.notify_one();
        }
    }

    pub fn close(&self) {
        self.queue.lock().closed = true;
        self.wake.notify_one();
    }

    pub fn health(&self) -> Health {
        let queued = self.queue.lock().items.len();
        let state = self.state.lock();
        Health {
            queued,
            unacknowledged: state.backlog + state.recent.len() as u64 + self.handed.load(Ordering::Relaxed),
            lag: state.recent.front().map(|(_, _, since)| since.elapsed()),
            bytes: state.segments.iter().map(|(_, length)| length).sum(),
            degraded: state.degraded.clone(),
            lost: state.lost,
        }
    }
}
