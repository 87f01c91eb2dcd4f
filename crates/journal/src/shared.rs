//! What the threads of a journal share.

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use faregate_terms::Receipt;
use futures_util::task::AtomicWaker;
use parking_lot::{Condvar, Mutex};

use crate::recover::Found;
use crate::writer::Writer;
use crate::{Admission, Settings, hand};

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
    /// With the moment it began.
    Admitted(u64, Instant, Box<Admission>),
    Settled(u64, Box<Receipt>, Arc<Signal>),
    Void(u64),
}

/// How the writing thread waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Rest {
    /// It does not: it looks at the queue before it rests again.
    #[default]
    Awake,
    /// For a while, and only what somebody waits for wakes it. An admission nobody waits for.
    Light,
    /// Until there is anything at all that the pushing thread does not see to itself.
    Deep,
}

/// Items that a thread which writes for itself leaves waiting while it has more to do.
const MOST_WAITING: usize = 128;

#[derive(Default)]
pub(crate) struct Queue {
    pub items: Vec<Item>,
    /// True if there is more than admissions.
    pub urgent: bool,
    pub rest: Rest,
    pub closed: bool,
}

impl Queue {
    fn take(&mut self) -> Vec<Item> {
        self.urgent = false;
        std::mem::take(&mut self.items)
    }

    /// Adds an item; true if the writing thread has to be woken for it. `own` says that the thread which adds it
    /// will see to what is urgent.
    fn add(&mut self, item: Item, own: bool) -> bool {
        let is_urgent = !matches!(item, Item::Admitted(..));
        self.urgent |= is_urgent;
        self.items.push(item);
        let wakes = match self.rest {
            Rest::Awake => false,
            Rest::Light => is_urgent && !own,
            // Whoever sees to it later may have been kept from it: somebody must look after young calls.
            Rest::Deep => !(is_urgent && own),
        };
        if wakes {
            self.rest = Rest::Awake;
        }
        wakes
    }
}

/// A receipt for the reader; `None` if it is in no file.
pub(crate) type Recent = (Option<Position>, Box<Receipt>, Instant);

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
    /// Locked before the queue and the state.
    pub writer: Mutex<Writer>,
    /// Calls that are under way and not on file yet.
    pub young: AtomicUsize,
    /// True if the last write took so long that the journal's own thread must do the next.
    pub slow: AtomicBool,
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
            writer: Mutex::new(Writer::new(found)),
            young: AtomicUsize::new(0),
            slow: AtomicBool::new(false),
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

    pub fn push(self: &Arc<Self>, item: Item) {
        let own = !self.slow.load(Ordering::Relaxed) && hand::takes(self);
        let mut queue = self.queue.lock();
        let wakes = queue.add(item, own);
        let many = own && queue.items.len() >= MOST_WAITING;
        drop(queue);
        if wakes {
            self.wake.notify_one();
        }
        if many {
            self.write_own();
        }
    }

    /// Writes what is queued; with `all`, also that calls have only just begun.
    pub fn write(&self, all: bool) {
        let mut writer = self.writer.lock();
        // Taken under the writer's lock, so that groups are written in order.
        let items = self.queue.lock().take();
        writer.write(self, items, all);
    }

    /// Writes what is queued, unless somebody is at it: whoever that is looks again afterwards. Does not wait for a
    /// disk that is slow, but leaves it to the journal's thread.
    pub fn write_own(&self) {
        while self.queue.lock().urgent {
            if self.slow.load(Ordering::Relaxed) {
                self.wake.notify_one();
                return;
            }
            let Some(mut writer) = self.writer.try_lock() else { return };
            let items = self.queue.lock().take();
            writer.write(self, items, false);
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
