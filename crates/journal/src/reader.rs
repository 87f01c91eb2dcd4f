//! Hands receipts on, in order, and remembers how far it came.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use faregate_terms::Receipt;

use crate::format::{self, Kind, Unreadable};
use crate::recover::{keep_progress, path};
use crate::shared::{Position, Shared};

/// Bytes read from a file at once, a batch or so; more if a frame is longer.
const PIECE: usize = 2 * 1024 * 1024;

/// Reads receipts. Those that are not acknowledged are read again after a restart.
pub struct Reader {
    shared: Arc<Shared>,
    next: Position,
    /// The furthest that has been handed out.
    furthest: Position,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let next = shared.state.lock().acknowledged;
        Self { shared, next, furthest: next }
    }

    /// Waits until there is something to read, or the journal is closed.
    pub async fn ready(&self) {
        loop {
            let rung = self.shared.bell.notified();
            {
                let state = self.shared.state.lock();
                let closed = self.shared.closed.load(Ordering::SeqCst);
                if !state.unfiled.is_empty() || state.filed > 0 || closed {
                    return;
                }
            }
            rung.await;
        }
    }

    /// The next receipts, at most `most`; empty if there are none now.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn next_batch(&mut self, most: usize) -> io::Result<Vec<Receipt>> {
        // What is in no file is the most at risk.
        let unfiled = self.unfiled(most);
        if !unfiled.is_empty() {
            return Ok(self.hand(unfiled));
        }
        let end = self.shared.state.lock().end;
        let batch = self.read_files(end, most)?;
        let mut state = self.shared.state.lock();
        state.filed = state.filed.saturating_sub(batch.len() as u64);
        if self.next >= state.end {
            // Also what could not be read has been had.
            state.filed = 0;
            state.since = state.since.filter(|_| !state.unfiled.is_empty());
        }
        drop(state);
        Ok(self.hand(batch))
    }

    /// Receipts that are in no file, at most `most`.
    fn unfiled(&self, most: usize) -> Vec<Receipt> {
        let mut state = self.shared.state.lock();
        let count = most.min(state.unfiled.len());
        let payloads: Vec<_> = state.unfiled.drain(..count).collect();
        drop(state);
        payloads.iter().filter_map(|payload| self.receipt(payload)).collect()
    }

    /// Everything handed out so far is settled: it is never read again, and files that hold nothing else go.
    ///
    /// # Errors
    /// If the progress cannot be written; then some may be read twice after a restart.
    pub fn acknowledge(&mut self) -> io::Result<()> {
        self.shared.handed.store(0, Ordering::Relaxed);
        if self.furthest == Position::default() {
            return Ok(());
        }
        let mut state = self.shared.state.lock();
        state.acknowledged = self.furthest;
        let mut gone = Vec::new();
        while let Some((segment, _)) = state.segments.front().filter(|(one, _)| *one < self.furthest.segment)
        {
            gone.push(*segment);
            state.segments.pop_front();
        }
        drop(state);
        keep_progress(&self.shared.folder, self.furthest)?;
        for segment in gone {
            // A file that stays is read again at the next start, and found to be settled.
            let _ = fs::remove_file(path(&self.shared.folder, segment));
        }
        Ok(())
    }

    fn hand(&mut self, batch: Vec<Receipt>) -> Vec<Receipt> {
        self.furthest = self.next;
        self.shared.handed.fetch_add(batch.len() as u64, Ordering::Relaxed);
        batch
    }

    /// Receipts between `next` and `until` that are in files only.
    fn read_files(&mut self, until: Position, most: usize) -> io::Result<Vec<Receipt>> {
        let mut batch = Vec::new();
        while batch.len() < most && self.next < until {
            let segments: Vec<(u64, u64)> = self.shared.state.lock().segments.iter().copied().collect();
            let here = segments.iter().find(|(segment, _)| *segment == self.next.segment);
            let length = here.map_or(0, |(_, length)| *length);
            if self.next.offset >= length {
                let later = segments.iter().find(|(segment, _)| *segment > self.next.segment);
                let Some((segment, _)) = later else { break };
                self.next = Position { segment: *segment, offset: 0 };
                continue;
            }
            self.read_piece(length, until, most, &mut batch)?;
        }
        Ok(batch)
    }

    fn read_piece(
        &mut self,
        length: u64,
        until: Position,
        most: usize,
        batch: &mut Vec<Receipt>,
    ) -> io::Result<()> {
        let mut size = PIECE as u64;
        loop {
            let rest = length - self.next.offset;
            let mut bytes = Vec::with_capacity(usize::try_from(size.min(rest)).unwrap_or_default());
            let mut file = fs::File::open(path(&self.shared.folder, self.next.segment))?;
            file.seek(SeekFrom::Start(self.next.offset))?;
            file.take(size.min(rest)).read_to_end(&mut bytes)?;
            let start = self.next.offset;
            let mut at = 0;
            while batch.len() < most && self.next < until {
                let Some(frame) = format::next(&bytes, at) else { break };
                at = frame.end;
                self.next.offset = start + at as u64;
                if frame.kind == Kind::Settled {
                    batch.extend(self.receipt(frame.payload));
                }
            }
            if at > 0 {
                return Ok(());
            }
            if size >= rest {
                // Damage up to the end of the file.
                self.next.offset = length;
                return Ok(());
            }
            size *= 4;
        }
    }

    fn receipt(&self, payload: &[u8]) -> Option<Receipt> {
        format::unpack(payload).inspect_err(|error| self.set_aside(payload, error)).ok()
    }

    /// A receipt that cannot be understood must not hold up the others, nor be forgotten.
    fn set_aside(&self, payload: &[u8], error: &Unreadable) {
        let name = format!("{:016x}-{}.bad", self.next.segment, self.next.offset);
        let kept = fs::write(self.shared.folder.join(&name), payload);
        tracing::error!(%error, file = %name, kept = kept.is_ok(), "a receipt cannot be read; it is set aside");
    }
}
