//! Bytes of a segment.
//!
//! A segment is a file named by its number, sixteen hex digits and `.journal`, and holds frames one after the
//! other. A frame is
//!
//! | bytes | what |
//! |---|---|
//! | 4 | the mark `FGJ1` |
//! | 1 | kind: 1 admitted, 2 settled, 3 void |
//! | 8 | slot, little endian: which call of this journal it is about |
//! | 4 | length of the payload, little endian |
//! | 4 | CRC-32 (IEEE) of kind, slot, length and payload |
//! | n | payload: MessagePack of an [`Admission`](crate::Admission) or a receipt; nothing when void |
//!
//! MessagePack with the names of members, because a journal written by an older version is read by a newer one. Before
//! it was JSON, which is still read: its `{` is nothing that a MessagePack map begins with. A frame that is torn or
//! damaged is skipped by searching for the next mark whose checksum holds.

use std::convert::Infallible;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The beginning of a frame.
const MARK: &[u8; 4] = b"FGJ1";
/// Bytes before the payload.
pub(crate) const HEAD: usize = 21;
/// No payload is longer; a length beyond it is damage.
const LONGEST: usize = 64 * 1024 * 1024;

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Admitted = 1,
    Settled = 2,
    Void = 3,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Admitted, Self::Settled, Self::Void].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub kind: Kind,
    pub slot: u64,
    pub payload: &'a [u8],
    /// Where the next frame begins.
    pub end: usize,
    /// Bytes that belong to no frame, before this one.
    pub skipped: usize,
}

/// Why a payload says nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Packed(#[from] rmp_serde::decode::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Appends what `said` is as a payload.
pub(crate) fn pack(out: &mut Vec<u8>, said: &impl Serialize) -> Result<(), rmp_serde::encode::Error> {
    rmp_serde::encode::write_named(out, said)
}

/// The same by itself; empty if it cannot be said.
pub(crate) fn packed(said: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    if pack(&mut out, said).is_err() {
        out.clear();
    }
    out
}

/// Reads a payload.
pub(crate) fn unpack<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Unreadable> {
    Ok(match payload.first() {
        Some(b'{') => serde_json::from_slice(payload)?,
        _ => rmp_serde::from_slice(payload)?,
    })
}

/// Appends a frame with the payload that `fill` writes; one that fails leaves an empty payload.
pub(crate) fn put<E>(
    out: &mut Vec<u8>,
    kind: Kind,
    slot: u64,
    fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) {
    let start = out.len();
    out.extend_from_slice(MARK);
    out.push(kind as u8);
    out.extend_from_slice(&slot.to_le_bytes());
    // Length and checksum follow when they are known.
    out.resize(start + HEAD, 0);
    if fill(out).is_err() {
        out.truncate(start + HEAD);
    }
    let (head, payload) = out[start..].split_at_mut(HEAD);
    let length = (payload.len() as u32).to_le_bytes();
    let sum = checksum(kind as u8, slot, &length, payload);
    head[HEAD - 8..HEAD - 4].copy_from_slice(&length);
    head[HEAD - 4..].copy_from_slice(&sum.to_le_bytes());
}

/// Appends a frame with this payload.
pub(crate) fn put_bytes(out: &mut Vec<u8>, kind: Kind, slot: u64, payload: &[u8]) {
    put(out, kind, slot, |out| {
        out.extend_from_slice(payload);
        Ok::<(), Infallible>(())
    });
}

fn checksum(kind: u8, slot: u64, length: &[u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&slot.to_le_bytes());
    hasher.update(length);
    hasher.update(payload);
    hasher.finalize()
}

/// The first whole frame at or after `from`; `None` if there is none.
pub(crate) fn next(bytes: &[u8], from: usize) -> Option<Frame<'_>> {
    let mut at = from;
    while at + HEAD <= bytes.len() {
        if let Some(frame) = frame_at(bytes, at) {
            return Some(Frame { skipped: at - from, ..frame });
        }
        at += 1;
    }
    None
}

fn frame_at(bytes: &[u8], at: usize) -> Option<Frame<'_>> {
    let (head, rest) = bytes[at..].split_at_checked(HEAD)?;
    let (mark, head) = head.split_first_chunk::<4>()?;
    if mark != MARK {
        return None;
    }
    let (kind, head) = head.split_first()?;
    let (slot, head) = head.split_first_chunk::<8>()?;
    let (length, head) = head.split_first_chunk::<4>()?;
    let sum = u32::from_le_bytes(*head.first_chunk::<4>()?);
    let slot = u64::from_le_bytes(*slot);
    let size = u32::from_le_bytes(*length) as usize;
    let payload = (size <= LONGEST).then(|| rest.get(..size)).flatten()?;
    let whole = checksum(*kind, slot, length, payload) == sum;
    Some(Frame { kind: Kind::of(*kind)?, slot, payload, end: at + HEAD + size, skipped: 0 }).filter(|_| whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(frame) = next(bytes, at) {
            found.push((frame.slot, frame.payload.to_vec()));
            at = frame.end;
        }
        found
    }

    fn written(payloads: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (slot, payload) in payloads.iter().enumerate() {
            put_bytes(&mut bytes, Kind::Settled, slot as u64, payload);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    proptest! {
        #[test]
        fn a_journal_cut_anywhere_keeps_exactly_the_frames_before_the_cut(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..8),
            cut in any::<proptest::sample::Index>(),
        ) {
            let (bytes, ends) = written(&payloads);
            let cut = cut.index(bytes.len() + 1);
            let whole = ends.iter().filter(|end| **end <= cut).count();
            prop_assert_eq!(all(&bytes[..cut]).len(), whole);
        }

        #[test]
        fn damage_costs_only_the_frame_it_is_in(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..8),
            at in any::<proptest::sample::Index>(),
            flip in 1u8..,
        ) {
            let (mut bytes, ends) = written(&payloads);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let hit = ends.iter().position(|end| at < *end).unwrap() as u64;
            let slots: Vec<u64> = all(&bytes).into_iter().map(|(slot, _)| slot).collect();
            let expected: Vec<u64> = (0..payloads.len() as u64).filter(|slot| *slot != hit).collect();
            prop_assert_eq!(slots, expected);
        }
    }
}
