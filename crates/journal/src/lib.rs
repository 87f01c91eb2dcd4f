//! The append-only log of receipts: what a client has received in full is on record when the process is killed.
//!
//! [`Journal::admit`] notes that a call is under way and keeps a place for its receipt, so that
//! [`Slot::settle`] never waits and never fails; the [`Ticket`] it gives is done when the receipt has been
//! written to the file. A thread that serves many calls writes what they have put on record before it rests
//! ([`hand`]), all of it at once and without waking anybody; for other threads one of the journal's own does. Another
//! brings the file to the disk every few milliseconds. A [`Reader`] hands receipts on, in order, and remembers how far
//! it came. What was under way when a process died is found by [`Journal::open`].
//!
//! Files in, files out: nothing here knows databases, requests or a clock on the wall. A disk that is full costs
//! safety, not requests: receipts then go to the reader from memory, and [`Journal::health`] says so.

mod format;
pub mod hand;
mod reader;
mod recover;
mod shared;
mod writer;

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use faregate_terms::{Account, CallId, DeploymentId, PicoUsd, ProviderName, Receipt, UtcMillis};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use format::Kind;
pub use reader::Reader;
pub use shared::{Health, Position, Ticket};
use shared::{Item, Shared, Signal};

/// How a journal behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A file is closed and the next begun at this size, bytes.
    pub segment_bytes: u64,
    /// Between two times that the file is brought to the disk.
    pub sync_every: Duration,
    /// Calls under way at most.
    pub most_open: usize,
    /// Receipts kept in memory while there is no file to write them to.
    pub most_unfiled: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: 16 * 1024 * 1024,
            sync_every: Duration::from_millis(10),
            most_open: 262_144,
            most_unfiled: 50_000,
        }
    }
}

/// A call under way: what its receipt needs if the process dies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Admission {
    /// The call.
    pub call_id: Option<CallId>,
    /// The id it is booked by, if that is another.
    pub receipt_id: Option<CallId>,
    /// When it came.
    pub started: UtcMillis,
    /// What the client called.
    pub route: String,
    /// The model name the client sent.
    pub requested_model: String,
    /// Whom it is booked on.
    pub account: Account,
    /// What it is expected to cost.
    pub expected_cost: PicoUsd,
    /// The provider it goes to first, if that has a budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderName>,
    /// The deployment it goes to first, if that has a budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
}

/// What an earlier process left behind.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Calls that were under way; settle each with [`Journal::settle_open`].
    pub open: Vec<OpenCall>,
    /// Receipts not yet acknowledged; the reader begins with them.
    pub receipts: u64,
    /// Bytes that belonged to no whole frame: a torn end, or damage.
    pub lost_bytes: u64,
}

/// A call that was under way when an earlier process died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCall {
    slot: u64,
    /// What is known of it.
    pub admission: Admission,
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error("{0} is in use by another process; each needs a data directory of its own")]
    InUse(PathBuf),
    /// The directory or a file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
}

/// Times that a folder may be taken away while it is being locked.
const LOCK_TRIES: u32 = 8;

/// Locks a folder, made if it is not there. Whoever has emptied it may be removing it at the same moment: a lock
/// on what is no longer there is none.
fn lock(folder: &Path) -> Result<fs::File, JournalError> {
    let io = |error| JournalError::Io { path: folder.to_owned(), error };
    let path = folder.join("lock");
    let mut tries = 0;
    loop {
        tries += 1;
        let tried = fs::create_dir_all(folder).and_then(|()| fs::File::create(&path));
        let file = match tried {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && tries < LOCK_TRIES => continue,
            Err(error) => return Err(io(error)),
        };
        if file.try_lock().is_err() {
            return Err(JournalError::InUse(folder.to_owned()));
        }
        let ours = file.metadata().map_err(io)?.ino();
        match fs::metadata(&path) {
            Ok(there) if there.ino() == ours => return Ok(file),
            _ if tries < LOCK_TRIES => {}
            _ => return Err(JournalError::InUse(folder.to_owned())),
        }
    }
}

/// As many calls are under way as the journal has places for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests are under way")]
pub struct Full;

/// The log. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    slots: Arc<AtomicU64>,
    open: Arc<AtomicUsize>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// A place for one receipt. Dropped without one, it says that nothing came of the call.
pub struct Slot {
    journal: Journal,
    number: u64,
    settled: bool,
}

impl Journal {
    /// Opens the log in `folder`, which is made if there is none.
    ///
    /// # Errors
    /// If another process has it, or it cannot be written.
    pub fn open(folder: &Path, settings: Settings) -> Result<(Self, Recovery), JournalError> {
        let io = |error| JournalError::Io { path: folder.to_owned(), error };
        let lock = lock(folder)?;
        let found = recover::recover(folder)?;
        let most_open = settings.most_open;
        let shared = Arc::new(Shared::new(folder.to_owned(), settings, &found, lock));
        let threads = writer::start(&shared, &found).map_err(io)?;
        let journal = Self {
            shared,
            slots: Arc::new(AtomicU64::new(found.next_slot)),
            open: Arc::new(AtomicUsize::new(0)),
            threads: Arc::new(Mutex::new(threads)),
        };
        debug_assert!(most_open > 0, "a journal without places admits nothing");
        Ok((journal, found.recovery))
    }

    /// Notes that a call is under way and keeps a place for its receipt.
    ///
    /// # Errors
    /// If there is no place left.
    pub fn admit(&self, admission: Admission) -> Result<Slot, Full> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.shared.settings.most_open {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Full);
        }
        let number = self.slots.fetch_add(1, Ordering::Relaxed);
        self.shared.push(Item::Admitted(number, Box::new(admission)));
        Ok(Slot { journal: self.clone(), number, settled: false })
    }

    /// Puts a receipt on record for a call that an earlier process left open.
    pub fn settle_open(&self, open: &OpenCall, receipt: &Receipt) -> Ticket {
        self.record(open.slot, receipt)
    }

    /// The place to read receipts from. One at a time.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// How it is.
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Writes and brings to the disk what there is, and ends the threads. What comes later is lost.
    pub fn close(&self) {
        self.shared.close();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            let _ = thread.join();
        }
        self.shared.lock.lock().take();
    }

    fn record(&self, slot: u64, receipt: &Receipt) -> Ticket {
        let signal = Arc::new(Signal::default());
        // Taken out, as pushing may write, and writing wakes whoever waits.
        let mut frame = FRAME.take();
        format::put(&mut frame, Kind::Settled, slot, |out| format::pack(out, receipt));
        self.shared.push(Item::Settled(slot, &frame, Arc::clone(&signal)));
        frame.clear();
        frame.shrink_to(shared::ROOM);
        FRAME.set(frame);
        Ticket::new(signal)
    }
}

thread_local! {
    /// Room for the receipt that is being put on record.
    static FRAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Slot {
    /// Puts the call's receipt on record. Never waits, never fails.
    pub fn settle(mut self, receipt: &Receipt) -> Ticket {
        self.settled = true;
        self.journal.record(self.number, receipt)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.journal.open.fetch_sub(1, Ordering::Relaxed);
        if !self.settled {
            self.journal.shared.push(Item::Void(self.number));
        }
    }
}
