//! The body of a request.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// A body in pieces that are sent one behind the other, so that a large one of which a few bytes were
/// changed need not be copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload(VecDeque<Bytes>);

impl Payload {
    /// All of it in one piece; copies unless there is only one.
    pub fn whole(&self) -> Bytes {
        if let (Some(only), 1) = (self.0.front(), self.0.len()) {
            return only.clone();
        }
        let mut whole = BytesMut::with_capacity(self.remaining());
        self.0.iter().for_each(|piece| whole.extend_from_slice(piece));
        whole.freeze()
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.remaining()
    }

    /// True if there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::from(vec![bytes])
    }
}

impl From<Vec<Bytes>> for Payload {
    fn from(mut pieces: Vec<Bytes>) -> Self {
        pieces.retain(|piece| !piece.is_empty());
        Self(pieces.into())
    }
}

impl Buf for Payload {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.len().min(self.0.len());
        for (slice, piece) in slices.iter_mut().zip(&self.0) {
            *slice = IoSlice::new(piece);
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let Some(front) = self.0.front_mut() else { return };
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_as_one_body_wherever_a_write_stops() {
        let pieces = || vec![Bytes::from_static(b"abc"), Bytes::new(), Bytes::from_static(b"defg")];
        assert_eq!(Payload::from(pieces()).whole(), "abcdefg");
        for stop in 0..=7 {
            let mut payload = Payload::from(pieces());
            let mut slices = [IoSlice::new(&[]); 4];
            assert_eq!(payload.chunks_vectored(&mut slices), 2);
            payload.advance(stop);
            assert_eq!(payload.whole(), "abcdefg"[stop..]);
            assert_eq!(payload.len(), 7 - stop);
        }
    }
}
