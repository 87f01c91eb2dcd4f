//! What the threads of a journal share.

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

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
    /// Waiting to be written.
    pub queued: usize,
    /// Receipts written and not acknowledged.
    pub unacknowledged: u64,
    /// Since when there are any that have not been read; nothing if there is none.
    pub lag: Option<Duration>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Why nothing can be written, if so: receipts are then kept in memory only.
    pub degraded: Option<String>,
    /// Receipts that could be kept nowhere.
    pub lost: u64,
}

/// Work for whoever writes.
pub(crate) enum Item<'a> {
    /// A call has begun.
    Admitted(u64, Box<Admission>),
    /// A call is over, with the frame of its receipt.
    Settled(u64, &'a [u8], Arc<Signal>),
    /// Nothing came of a call.
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

/// Receipts that a thread which writes for itself leaves waiting while it has more to do.
const MOST_WAITING: usize = 64;

#[derive(Default)]
pub(crate) struct Queue {
    pub group: Group,
    /// True if there is more than admissions.
    pub urgent: bool,
    pub rest: Rest,
    pub closed: bool,
}

/// Bytes that a buffer keeps when it is empty: receipts that carry their prompts may have been large.
pub(crate) const ROOM: usize = 1024 * 1024;

/// What is written at once.
#[derive(Default)]
pub(crate) struct Group {
    /// Frames of receipts.
    pub frames: Vec<u8>,
    /// The calls they are of, and who waits for them to be written.
    pub settled: Vec<(u64, Arc<Signal>)>,
    /// Calls of which nothing came.
    pub void: Vec<u64>,
    /// Calls that have begun, and when.
    pub begun: Vec<(u64, Instant, Box<Admission>)>,
}

impl Group {
    pub fn len(&self) -> usize {
        self.settled.len() + self.void.len() + self.begun.len()
    }

    /// Makes it empty, but keeps its room.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.frames.shrink_to(ROOM);
        self.settled.clear();
        self.void.clear();
        self.begun.clear();
    }
}

impl Queue {
    /// Gives what there is for `empty`.
    fn take(&mut self, empty: &mut Group) {
        self.urgent = false;
        std::mem::swap(&mut self.group, empty);
    }

    /// Adds an item; true if the writing thread has to be woken for it. `own` says that the thread which adds it
    /// will see to what is urgent.
    fn add(&mut self, item: Item<'_>, own: bool) -> bool {
        let is_urgent = !matches!(item, Item::Admitted(..));
        self.urgent |= is_urgent;
        match item {
            Item::Admitted(slot, admission) => self.group.begun.push((slot, Instant::now(), admission)),
            Item::Void(slot) => self.group.void.push(slot),
            Item::Settled(slot, frame, signal) => {
                self.group.frames.extend_from_slice(frame);
                self.group.settled.push((slot, signal));
            }
        }
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

pub(crate) struct State {
    /// Receipts that are in no file, in order.
    pub unfiled: VecDeque<Box<[u8]>>,
    /// End of what has been written.
    pub end: Position,
    /// Up to here everything has been acknowledged.
    pub acknowledged: Position,
    /// Receipts in files that the reader has not had.
    pub filed: u64,
    /// Since when there are any that it has not had.
    pub since: Option<Instant>,
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
    /// True if the journal's own thread must do the next write: the last took long, or the file is full.
    pub delegated: AtomicBool,
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
            delegated: AtomicBool::new(false),
            state: Mutex::new(State {
                unfiled: VecDeque::new(),
                end: found.end,
                acknowledged: found.acknowledged,
                filed: found.recovery.receipts,
                since: (found.recovery.receipts > 0).then(Instant::now),
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

    pub fn push(self: &Arc<Self>, item: Item<'_>) {
        let own = !self.delegated.load(Ordering::Relaxed) && hand::takes(self);
        let mut queue = self.queue.lock();
        let wakes = queue.add(item, own);
        let many = own && queue.group.settled.len() >= MOST_WAITING;
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
        self.write_with(&mut self.writer.lock(), all, false);
    }

    /// Writes what is queued, unless somebody is at it: whoever that is looks again afterwards. Does not wait for a
    /// disk that is slow, but leaves it to the journal's thread.
    pub fn write_own(&self) {
        while self.queue.lock().urgent {
            if self.delegated.load(Ordering::Relaxed) {
                self.wake.notify_one();
                return;
            }
            let Some(mut writer) = self.writer.try_lock() else { return };
            self.write_with(&mut writer, false, true);
        }
    }

    fn write_with(&self, writer: &mut Writer, all: bool, own: bool) {
        // Taken under the writer's lock, so that groups are written in order.
        self.queue.lock().take(&mut writer.group);
        writer.write(self, all, own);
    }

    pub fn close(&self) {
        self.queue.lock().closed = true;
        self.wake.notify_one();
    }

    pub fn health(&self) -> Health {
        let queued = self.queue.lock().group.len();
        let state = self.state.lock();
        Health {
            queued,
            unacknowledged: state.filed + state.unfiled.len() as u64 + self.handed.load(Ordering::Relaxed),
            lag: state.since.map(|since| since.elapsed()),
            bytes: state.segments.iter().map(|(_, length)| length).sum(),
            degraded: state.degraded.clone(),
            lost: state.lost,
        }
    }
}
