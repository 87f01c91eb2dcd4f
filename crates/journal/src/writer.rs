//! The two threads: one writes, one brings to the disk.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use faregate_terms::Receipt;

use crate::format::{self, Kind};
use crate::recover::{Found, path};
use crate::shared::{Item, Position, Rest, Shared, Signal, State};

/// How long an admission may wait for something more urgent to be written with.
const PATIENCE: Duration = Duration::from_millis(10);
/// A file that could not be written is tried again after so long.
const TRY_AGAIN: Duration = Duration::from_secs(1);

pub(crate) fn start(shared: &Arc<Shared>, found: &Found) -> io::Result<Vec<JoinHandle<()>>> {
    let mut writer = Writer {
        shared: Arc::clone(shared),
        file: None,
        next: found.next_segment,
        at: Position { segment: found.next_segment, offset: 0 },
        open: BTreeMap::new(),
        buffer: Vec::new(),
        retry_at: None,
    };
    // Carried over, so that older files can go when their receipts are settled.
    for call in &found.recovery.open {
        writer.open.insert(call.slot, serde_json::to_vec(&call.admission).unwrap_or_default());
    }
    writer.rotate()?;
    let syncing = Arc::clone(shared);
    Ok(vec![
        thread::Builder::new().name("journal".into()).spawn(move || writer.run())?,
        thread::Builder::new().name("journal-sync".into()).spawn(move || sync(&syncing))?,
    ])
}

struct Writer {
    shared: Arc<Shared>,
    file: Option<Arc<File>>,
    /// Number of the next file.
    next: u64,
    at: Position,
    /// Calls under way, as they were written.
    open: BTreeMap<u64, Vec<u8>>,
    buffer: Vec<u8>,
    retry_at: Option<Instant>,
}

/// What a group of writes ends with.
#[derive(Default)]
struct Group {
    receipts: Vec<(u64, Receipt)>,
    signals: Vec<Arc<Signal>>,
}

impl Writer {
    fn run(mut self) {
        loop {
            let (items, closed) = self.wait();
            if !items.is_empty() {
                self.write(items);
            }
            if closed {
                self.shared.closed.store(true, Ordering::SeqCst);
                // Taken so that the other thread is not between its look and its wait.
                drop(self.shared.dirty.lock());
                self.shared.sync.notify_one();
                self.shared.bell.notify_one();
                return;
            }
        }
    }

    /// Waits for work. After some it rests lightly for a while, so that admissions need not wake it.
    fn wait(&self) -> (Vec<Item>, bool) {
        let mut queue = self.shared.queue.lock();
        while !queue.urgent && !queue.closed {
            queue.rest = Rest::Light;
            let waited = self.shared.wake.wait_for(&mut queue, PATIENCE);
            if !waited.timed_out() {
                continue;
            }
            if !queue.items.is_empty() {
                break;
            }
            queue.rest = Rest::Deep;
            self.shared.wake.wait(&mut queue);
        }
        queue.rest = Rest::Awake;
        queue.urgent = false;
        (std::mem::take(&mut queue.items), queue.closed)
    }

    fn write(&mut self, items: Vec<Item>) {
        let mut group = Group::default();
        self.encode(items, &mut group);
        let start = self.at;
        let written = self.put();
        let mut state = self.shared.state.lock();
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
                        folder = %self.shared.folder.display(), %error,
                        "the journal cannot be written; receipts go to the database from memory until it can"
                    );
                }
                state.degraded = Some(error.to_string());
            }
        }
        let kept = state.degraded.is_none();
        remember(&self.shared, &mut state, group.receipts, kept.then_some(start));
        drop(state);
        group.signals.iter().for_each(|signal| signal.done());
        self.shared.bell.notify_one();
        if kept && self.at.offset >= self.shared.settings.segment_bytes {
            // A failure shows at the next write.
            let _ = self.rotate();
        }
    }

    /// A call that was admitted and settled in the same group needs no admission on file.
    fn encode(&mut self, items: Vec<Item>, group: &mut Group) {
        let over: HashSet<u64> = items
            .iter()
            .filter_map(|item| match item {
                Item::Settled(slot, ..) | Item::Void(slot) => Some(*slot),
                Item::Admitted(..) => None,
            })
            .collect();
        self.buffer.clear();
        for item in items {
            match item {
                Item::Admitted(slot, _) if over.contains(&slot) => {}
                Item::Admitted(slot, admission) => {
                    let payload = serde_json::to_vec(&admission).unwrap_or_default();
                    format::put(&mut self.buffer, Kind::Admitted, slot, &payload);
                    self.open.insert(slot, payload);
                }
                Item::Void(slot) => {
                    if self.open.remove(&slot).is_some() {
                        format::put(&mut self.buffer, Kind::Void, slot, &[]);
                    }
                }
                Item::Settled(slot, receipt, signal) => {
                    self.open.remove(&slot);
                    let payload = serde_json::to_vec(&receipt).unwrap_or_default();
                    format::put(&mut self.buffer, Kind::Settled, slot, &payload);
                    group.receipts.push((self.buffer.len() as u64, *receipt));
                    group.signals.push(signal);
                }
            }
        }
    }

    /// Writes the buffer; half a write is taken back.
    fn put(&mut self) -> io::Result<()> {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(io::Error::other("waiting before it is tried again"));
        }
        let outcome = self.put_now();
        self.retry_at = outcome.is_err().then(|| Instant::now() + TRY_AGAIN);
        outcome
    }

    fn put_now(&mut self) -> io::Result<()> {
        if self.file.is_none() || self.retry_at.is_some() {
            self.rotate()?;
        }
        let Some(file) = &self.file else { return Err(io::Error::other("there is no file")) };
        if let Err(error) = (&**file).write_all(&self.buffer) {
            let _ = file.set_len(self.at.offset);
            return Err(error);
        }
        self.at.offset += self.buffer.len() as u64;
        *self.shared.dirty.lock() = Some(Arc::clone(file));
        self.shared.sync.notify_one();
        Ok(())
    }

    /// Begins the next file with the calls under way.
    fn rotate(&mut self) -> io::Result<()> {
        let number = self.next;
        let name = path(&self.shared.folder, number);
        let file = OpenOptions::new().append(true).create(true).open(name)?;
        // What was written before there was room has to be written again.
        file.set_len(0)?;
        let mut carried = Vec::new();
        for (slot, payload) in &self.open {
            format::put(&mut carried, Kind::Admitted, *slot, payload);
        }
        (&file).write_all(&carried)?;
        self.file = Some(Arc::new(file));
        self.next = number + 1;
        self.at = Position { segment: number, offset: carried.len() as u64 };
        let mut state = self.shared.state.lock();
        state.segments.push_back((number, self.at.offset));
        Ok(())
    }
}

/// Keeps receipts for the reader. `start` is where their group begins in the file, if it is in one.
fn remember(shared: &Shared, state: &mut State, receipts: Vec<(u64, Receipt)>, start: Option<Position>) {
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
