//! A JSON document per line.

use super::{Frame, MAX_FRAME};

/// Cuts newline-delimited JSON into documents. Blank lines are passed over.
#[derive(Debug, Default)]
pub struct NdJsonFrames {
    buffer: Vec<u8>,
    start: usize,
    scan: usize,
}

impl NdJsonFrames {
    /// A cutter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes in. False if a line grows beyond [`MAX_FRAME`]: give the stream up.
    #[must_use]
    pub fn push(&mut self, chunk: &[u8]) -> bool {
        self.buffer.drain(..self.start);
        self.scan -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(chunk);
        self.buffer.len() <= MAX_FRAME
    }

    /// The next complete line.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        loop {
            let Some(offset) = memchr::memchr(b'\n', &self.buffer[self.scan..]) else {
                self.scan = self.buffer.len();
                return None;
            };
            let (start, end) = (self.start, self.scan + offset);
            (self.start, self.scan) = (end + 1, end + 1);
            if !self.buffer[start..end].trim_ascii().is_empty() {
                return Some(Frame::data(self.buffer[start..end].trim_ascii()));
            }
        }
    }

    /// What is left when the input ends: a last line without its line end.
    pub fn rest(&mut self) -> Option<Frame<'_>> {
        let start = self.start;
        (self.start, self.scan) = (self.buffer.len(), self.buffer.len());
        let line = self.buffer[start..].trim_ascii();
        (!line.is_empty()).then(|| Frame::data(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_wherever_they_are_cut() {
        let stream = b"{\"a\":1}\r\n\n{\"b\":2}\n{\"c\":3}";
        for cut in 0..=stream.len() {
            let (mut frames, mut seen) = (NdJsonFrames::new(), Vec::new());
            for piece in [&stream[..cut], &stream[cut..]] {
                assert!(frames.push(piece));
                while let Some(frame) = frames.next_frame() {
                    seen.push(frame.data.to_vec());
                }
            }
            seen.extend(frames.rest().map(|frame| frame.data.to_vec()));
            assert_eq!(seen, [b"{\"a\":1}".to_vec(), b"{\"b\":2}".to_vec(), b"{\"c\":3}".to_vec()], "{cut}");
        }
    }
}
