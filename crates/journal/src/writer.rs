//! Writing, in groups: by the threads that serve, before they rest, and by one of the journal's own for everybody
//! else. Another thread brings the file to the disk.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Admission;
use crate::format::{self, Kind};
use crate::recover::{Found, path};
use crate::shared::{Group, Position, Rest, Shared, State};

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
            writer.open.insert(call.slot, format::packed(&call.admission));
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
        if queue.group.len() > 0 || shared.young.load(Ordering::Relaxed) > 0 {
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
    /// What is being written.
    pub group: Group,
    retry_at: Option<Instant>,
}

impl Writer {
    pub(crate) fn new(found: &Found) -> Self {
        Self {
            file: None,
            next: found.next_segment,
            at: Position { segment: found.next_segment, offset: 0 },
            young: BTreeMap::new(),
            open: BTreeMap::new(),
            group: Group::default(),
            retry_at: None,
        }
    }

    /// Writes the group and the calls that have come of age; with `all`, those that have not as well. `own` says that
    /// a thread does it which has more to do: it leaves the beginning of a file to the journal's.
    pub(crate) fn write(&mut self, shared: &Shared, all: bool, own: bool) {
        // Receipts come first: their bytes are looked at again if they cannot be written.
        let receipts = self.group.frames.len();
        self.encode(all);
        shared.young.store(self.young.len(), Ordering::Relaxed);
        if !self.group.frames.is_empty() {
            let written = self.put(shared);
            self.written(shared, written, receipts);
            self.turn_over(shared, own);
        }
        for (_, signal) in self.group.settled.drain(..) {
            signal.done();
        }
        self.group.clear();
    }

    /// Says what came of it.
    fn written(&mut self, shared: &Shared, written: io::Result<()>, receipts: usize) {
        let mut state = shared.state.lock();
        let is_news = !self.group.settled.is_empty();
        if is_news {
            state.since.get_or_insert_with(Instant::now);
        }
        match written {
            Ok(()) => {
                state.degraded = None;
                state.end = self.at;
                state.filed += self.group.settled.len() as u64;
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
                keep(shared, &mut state, &self.group.frames[..receipts]);
            }
        }
        drop(state);
        if is_news {
            shared.bell.notify_one();
        }
    }

    /// Begins the next file if this one is full.
    fn turn_over(&mut self, shared: &Shared, own: bool) {
        if self.retry_at.is_some() || self.at.offset < shared.settings.segment_bytes {
            return;
        }
        if own {
            shared.delegated.store(true, Ordering::Relaxed);
        } else {
            // A failure shows at the next write.
            let _ = self.rotate(shared);
        }
    }

    /// Completes the group's frames. A call that is over before it came of age needs no admission on file.
    fn encode(&mut self, all: bool) {
        let Self { young, open, group, .. } = self;
        young.extend(group.begun.drain(..).map(|(slot, at, admission)| (slot, (at, admission))));
        // True if it is on file that the call had begun.
        let mut ends = |slot: &u64| young.remove(slot).is_none() && open.remove(slot).is_some();
        for (slot, _) in &group.settled {
            ends(slot);
        }
        for slot in &group.void {
            if ends(slot) {
                format::put_bytes(&mut group.frames, Kind::Void, *slot, &[]);
            }
        }
        let begun = Instant::now().checked_sub(PATIENCE);
        while let Some(first) = young.first_entry() {
            if !all && begun.is_none_or(|begun| first.get().0 > begun) {
                break;
            }
            let (slot, (_, admission)) = first.remove_entry();
            let payload = format::packed(&admission);
            format::put_bytes(&mut group.frames, Kind::Admitted, slot, &payload);
            open.insert(slot, payload);
        }
    }

    /// Writes the frames; half a write is taken back.
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
        if let Err(error) = (&**file).write_all(&self.group.frames) {
            let _ = file.set_len(self.at.offset);
            return Err(error);
        }
        shared.delegated.store(since.elapsed() > SLOW, Ordering::Relaxed);
        self.at.offset += self.group.frames.len() as u64;
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

/// Keeps the receipts among `frames`, which are in no file, for the reader, as far as they fit.
fn keep(shared: &Shared, state: &mut State, frames: &[u8]) {
    let mut at = 0;
    while let Some(frame) = format::next(frames, at) {
        at = frame.end;
        if frame.kind != Kind::Settled {
            continue;
        }
        if state.unfiled.len() >= shared.settings.most_unfiled {
            state.unfiled.pop_front();
            state.lost += 1;
        }
        state.unfiled.push_back(frame.payload.into());
    }
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
