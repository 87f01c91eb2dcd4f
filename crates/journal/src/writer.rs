//! Writing, in groups: by the threads that serve, before they rest, and by one of the journal's own for everybody
//! else. Another thread brings the file to the disk.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use faregate_terms::Receipt;

use crate::Admission;
use crate::format::{self, Kind};
use crate::recover::{Found, path};
use crate::shared::{Item, Position, Rest, Shared, Signal, State};

/// How long a call may be under way before it is on file that it is: most are over sooner, or take seconds.
const PATIENCE: Duration = Duration::from_millis(10);
/// A file that could not be written is tried again after so long.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// A write that takes longer is none that those who serve should wait for.
const SLOW: Duration = Duration::from_millis(5);

pub(crate) fn start(shared: &Arc<Shared>, found: &Found) -> io::Result<Vec<JoinHandle<()>>> {
    {
        let mut writer = shared.writer.lock();
        // Carried over, so that older files can go when their receipts are settled.
        for call in &found.recovery.open {
            writer.open.insert(call.slot, serde_json::to_vec(&call.admission).unwrap_or_default());
        }
        writer.rotate(shared)?;
    }
    let (writing, syncing) = (Arc::clone(shared), Arc::clone(shared));
    Ok(vec![
        thread::Builder::new().name("journal".into()).spawn(move || run(&writing))?,
        thread::Builder::new().name("journal-sync".into()).spawn(move || sync(&syncing))?,
    ])
}

/// Writes what nobody else does, until the journal is closed.
fn run(shared: &Shared) {
    loop {
        let closed = wait(shared);
        shared.write(closed);
        if closed {
            shared.closed.store(true, Ordering::SeqCst);
            // Taken so that the other thread is not between its look and its wait.
            drop(shared.dirty.lock());
            shared.sync.notify_one();
            shared.bell.notify_one();
            return;
        }
    }
}

/// Waits for work; true if the journal is being closed. While calls are young it looks after them, so that
/// admissions need not wake it.
fn wait(shared: &Shared) -> bool {
    let mut queue = shared.queue.lock();
    while !queue.urgent && !queue.closed {
        queue.rest = Rest::Light;
        let waited = shared.wake.wait_for(&mut queue, PATIENCE);
        if !waited.timed_out() {
            continue;
        }
        if !queue.items.is_empty() || shared.young.load(Ordering::Relaxed) > 0 {
            break;
        }
        queue.rest = Rest::Deep;
        shared.wake.wait(&mut queue);
    }
    queue.rest = Rest::Awake;
    queue.closed
}

/// The file, and what is on it.
pub(crate) struct Writer {
    file: Option<Arc<File>>,
    /// Number of the next file.
    next: u64,
    at: Position,
    /// Calls that have only just begun, and when: not on file yet.
    young: BTreeMap<u64, (Instant, Box<Admission>)>,
    /// Calls under way, as they were written.
    open: BTreeMap<u64, Vec<u8>>,
    buffer: Vec<u8>,
    retry_at: Option<Instant>,
}

/// What a group of writes ends with.
#[derive(Default)]
struct Group {
    receipts: Vec<(u64, Box<Receipt>)>,
    signals: Vec<Arc<Signal>>,
}

impl Writer {
    pub(crate) fn new(found: &Found) -> Self {
        Self {
            file: None,
            next: found.next_segment,
            at: Position { segment: found.next_segment, offset: 0 },
            young: BTreeMap::new(),
            open: BTreeMap::new(),
            buffer: Vec::new(),
            retry_at: None,
        }
    }

    /// Writes `items` and the calls that have come of age; with `all`, those that have not as well.
    pub(crate) fn write(&mut self, shared: &Shared, items: Vec<Item>, all: bool) {
        let mut group = Group::default();
        self.encode(items, &mut group);
        self.encode_aged(all);
        shared.young.store(self.young.len(), Ordering::Relaxed);
        if self.buffer.is_empty() {
            return;
        }
        let start = self.at;
        let written = self.put(shared);
        let mut state = shared.state.lock();
        match written {
            Ok(()) => {
                state.degraded = None;
                state.end = self.at;
                if let Some(last) = state.segments.back_mut() {
                    last.1 = self.at.offset;
                }
            }
            Err(error) => {
                if state.degraded.is_none() {
                    tracing::error!(
                        folder = %shared.folder.display(), %error,
                        "the journal cannot be written; receipts go to the database from memory until it can"
                    );
                }
                state.degraded = Some(error.to_string());
            }
        }
        let kept = state.degraded.is_none();
        let is_news = !group.receipts.is_empty();
        remember(shared, &mut state, group.receipts, kept.then_some(start));
        drop(state);
        group.signals.iter().for_each(|signal| signal.done());
        if is_news {
            shared.bell.notify_one();
        }
        if kept && self.at.offset >= shared.settings.segment_bytes {
            // A failure shows at the next write.
            let _ = self.rotate(shared);
        }
    }

    /// A call that is over before it came of age needs no admission on file.
    fn encode(&mut self, items: Vec<Item>, group: &mut Group) {
        self.buffer.clear();
        for item in items {
            match item {
                Item::Admitted(slot, at, admission) => {
                    self.young.insert(slot, (at, admission));
                }
                Item::Void(slot) => {
                    if self.ends(slot) {
                        format::put(&mut self.buffer, Kind::Void, slot, |_| Ok(()));
                    }
                }
                Item::Settled(slot, receipt, signal) => {
                    self.ends(slot);
                    format::put(&mut self.buffer, Kind::Settled, slot, |out| {
                        serde_json::to_writer(out, &receipt)
                    });
                    group.receipts.push((self.buffer.len() as u64, receipt));
                    group.signals.push(signal);
                }
            }
        }
    }

    /// A call is over; true if it is on file that it had begun.
    fn ends(&mut self, slot: u64) -> bool {
        self.young.remove(&slot).is_none() && self.open.remove(&slot).is_some()
    }

    fn encode_aged(&mut self, all: bool) {
        let Some(begun) = Instant::now().checked_sub(PATIENCE) else { return };
        while let Some(first) = self.young.first_entry() {
            if !all && first.get().0 > begun {
                break;
            }
            let (slot, (_, admission)) = first.remove_entry();
            let payload = serde_json::to_vec(&admission).unwrap_or_default();
            format::put_bytes(&mut self.buffer, Kind::Admitted, slot, &payload);
            self.open.insert(slot, payload);
        }
    }

    /// Writes the buffer; half a write is taken back.
    fn put(&mut self, shared: &Shared) -> io::Result<()> {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(io::Error::other("waiting before it is tried again"));
        }
        let outcome = self.put_now(shared);
        self.retry_at = outcome.is_err().then(|| Instant::now() + TRY_AGAIN);
        outcome
    }

    fn put_now(&mut self, shared: &Shared) -> io::Result<()> {
        if self.file.is_none() || self.retry_at.is_some() {
            self.rotate(shared)?;
        }
        let Some(file) = &self.file else { return Err(io::Error::other("there is no file")) };
        let since = Instant::now();
        if let Err(error) = (&**file).write_all(&self.buffer) {
            let _ = file.set_len(self.at.offset);
            return Err(error);
        }
        shared.slow.store(since.elapsed() > SLOW, Ordering::Relaxed);
        self.at.offset += self.buffer.len() as u64;
        let was_clean = shared.dirty.lock().replace(Arc::clone(file)).is_none();
        if was_clean {
            shared.sync.notify_one();
        }
        Ok(())
    }

    /// Begins the next file with the calls under way.
    fn rotate(&mut self, shared: &Shared) -> io::Result<()> {
        let number = self.next;
        let name = path(&shared.folder, number);
        let file = OpenOptions::new().append(true).create(true).open(name)?;
        // What was written before there was room has to be written again.
        file.set_len(0)?;
        let mut carried = Vec::new();
        for (slot, payload) in &self.open {
            format::put_bytes(&mut carried, Kind::Admitted, *slot, payload);
        }
        (&file).write_all(&carried)?;
        self.file = Some(Arc::new(file));
        self.next = number + 1;
        self.at = Position { segment: number, offset: carried.len() as u64 };
        let mut state = shared.state.lock();
        state.segments.push_back((number, self.at.offset));
        Ok(())
    }
}

/// Keeps receipts for the reader. `start` is where their group begins in the file, if it is in one.
fn remember(shared: &Shared, state: &mut State, receipts: Vec<(u64, Box<Receipt>)>, start: Option<Position>) {
    let now = Instant::now();
    for (end, receipt) in receipts {
        let position = start.map(|start| Position { offset: start.offset + end, ..start });
        state.recent.push_back((position, receipt, now));
    }
    if state.recent.len() <= shared.settings.most_recent {
        return;
    }
    // The reader is far behind: it reads the files from here on. What is in no file stays, as far as it fits.
    let (filed, unfiled): (Vec<_>, Vec<_>) =
        state.recent.drain(..).partition(|(position, ..)| position.is_some());
    state.backlog += filed.len() as u64;
    state.base = filed.iter().filter_map(|(position, ..)| *position).max().unwrap_or(state.base);
    let excess = unfiled.len().saturating_sub(shared.settings.most_recent);
    state.lost += excess as u64;
    state.recent.extend(unfiled.into_iter().skip(excess));
}

fn sync(shared: &Shared) {
    loop {
        let file = {
            let mut dirty = shared.dirty.lock();
            while dirty.is_none() && !shared.closed.load(Ordering::SeqCst) {
                shared.sync.wait_for(&mut dirty, Duration::from_secs(1));
            }
            dirty.take()
        };
        match file {
            Some(file) => {
                if let Err(error) = file.sync_data() {
                    tracing::error!(%error, "the journal cannot be brought to the disk");
                }
            }
            None => return,
        }
        if !shared.closed.load(Ordering::SeqCst) {
            thread::sleep(shared.settings.sync_every);
        }
    }
}
