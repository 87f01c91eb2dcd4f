//! A value and when it ends, for places that keep bytes and know no time.

use bytes::Bytes;

/// First bytes of everything kept.
pub(super) const MARK: [u8; 4] = *b"fgc1";
/// Mark, end in milliseconds since 1970, and a checksum of the value.
pub(super) const HEAD: usize = 4 + 8 + 4;

/// The value with its end.
pub fn wrap(value: &[u8], ends_ms: i64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + value.len());
    bytes.extend_from_slice(&MARK);
    bytes.extend_from_slice(&ends_ms.to_le_bytes());
    bytes.extend_from_slice(&checksum(value).to_le_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// The value; `None` if it is over, damaged, or nothing of ours.
pub fn unwrap(bytes: &Bytes, now_ms: i64) -> Option<Bytes> {
    let end = ends_at(bytes)?;
    let whole = checksum(&bytes[HEAD..]).to_le_bytes() == bytes[HEAD - 4..HEAD];
    (whole && end > now_ms).then(|| bytes.slice(HEAD..))
}

/// When a value ends, in milliseconds since 1970; `None` if it is nothing of ours.
pub(super) fn ends_at(bytes: &[u8]) -> Option<i64> {
    let rest = bytes.strip_prefix(&MARK).filter(|_| bytes.len() >= HEAD)?;
    rest.first_chunk().map(|end| i64::from_le_bytes(*end))
}

fn checksum(value: &[u8]) -> u32 {
    crc32fast::hash(value)
}
