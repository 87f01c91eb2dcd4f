//! Reads what an earlier process left behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::format::{self, Kind};
use crate::shared::Position;
use crate::{Admission, JournalError, OpenCall, Recovery};

/// Where a reader's progress is kept.
const PROGRESS: &str = "acknowledged";

/// What there was.
pub(crate) struct Found {
    pub recovery: Recovery,
    pub next_slot: u64,
    pub end: Position,
    pub acknowledged: Position,
    pub segments: Vec<(u64, u64)>,
    pub next_segment: u64,
}

/// The file of a segment.
pub(crate) fn path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:016x}.journal"))
}

pub(crate) fn recover(folder: &Path) -> Result<Found, JournalError> {
    let acknowledged = progress(folder);
    let mut found = Found {
        recovery: Recovery::default(),
        next_slot: 1,
        end: acknowledged,
        acknowledged,
        segments: Vec::new(),
        next_segment: acknowledged.segment + 1,
    };
    let mut open: BTreeMap<u64, Admission> = BTreeMap::new();
    for segment in numbers(folder)? {
        let path = path(folder, segment);
        let bytes = fs::read(&path).map_err(|error| JournalError::Io { path, error })?;
        scan(segment, &bytes, &mut found, &mut open);
        found.segments.push((segment, bytes.len() as u64));
        found.end = Position { segment, offset: bytes.len() as u64 }.max(acknowledged);
        found.next_segment = found.next_segment.max(segment + 1);
    }
    found.recovery.open = open.into_iter().map(|(slot, admission)| OpenCall { slot, admission }).collect();
    Ok(found)
}

fn scan(segment: u64, bytes: &[u8], found: &mut Found, open: &mut BTreeMap<u64, Admission>) {
    let mut at = 0;
    while let Some(frame) = format::next(bytes, at) {
        found.recovery.lost_bytes += frame.skipped as u64;
        found.next_slot = found.next_slot.max(frame.slot + 1);
        at = frame.end;
        match frame.kind {
            Kind::Admitted => {
                open.insert(frame.slot, format::unpack(frame.payload).unwrap_or_default());
            }
            Kind::Void => {
                open.remove(&frame.slot);
            }
            Kind::Settled => {
                open.remove(&frame.slot);
                let end = Position { segment, offset: at as u64 };
                found.recovery.receipts += u64::from(end > found.acknowledged);
            }
        }
    }
    found.recovery.lost_bytes += (bytes.len() - at) as u64;
}

/// Numbers of the segments there are, in order.
fn numbers(folder: &Path) -> Result<Vec<u64>, JournalError> {
    let io = |error| JournalError::Io { path: folder.to_owned(), error };
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".journal"));
        numbers.extend(number.and_then(|digits| u64::from_str_radix(digits, 16).ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// How far a reader came. Damage means reading again, which the database's own memory makes harmless.
fn progress(folder: &Path) -> Position {
    let text = fs::read_to_string(folder.join(PROGRESS)).unwrap_or_default();
    let read = || {
        let (segment, offset) = text.trim().split_once(' ')?;
        Some(Position { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
    };
    read().unwrap_or_default()
}

/// Remembers how far a reader came.
pub(crate) fn keep_progress(folder: &Path, position: Position) -> std::io::Result<()> {
    let (new, old) = (folder.join("acknowledged.new"), folder.join(PROGRESS));
    fs::write(&new, format!("{} {}\n", position.segment, position.offset))?;
    fs::rename(new, old)
}
