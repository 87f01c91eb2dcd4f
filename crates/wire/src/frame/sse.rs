//! Server-sent events, as the HTML standard defines them.

use memchr::memchr2;

use super::{Frame, MAX_FRAME};

/// Cuts `text/event-stream` bytes into events.
///
/// Accepts LF, CRLF and CR line ends in any mix, comments, any chunk boundary, and several `data:` lines
/// per event (joined by LF). Source: WHATWG HTML, "Server-sent events", event stream interpretation.
#[derive(Debug, Default)]
pub struct SseFrames {
    buffer: Vec<u8>,
    /// Where the first frame not yet handed out begins.
    start: usize,
    /// Where the first line not yet seen in full begins.
    line: usize,
    /// Where scanning for the line's end resumes.
    scan: usize,
    joined: Vec<u8>,
}

/// One event with the bytes it came from.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

impl SseFrames {
    /// A cutter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes in. False if a frame grows beyond [`MAX_FRAME`]: give the stream up.
    #[must_use]
    pub fn push(&mut self, chunk: &[u8]) -> bool {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.line -= self.start;
            self.scan -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(chunk);
        self.buffer.len() <= MAX_FRAME
    }

    /// The next complete event that has data. Comments and events without data are passed over.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        loop {
            let span = self.next_span(false)?;
            if has_data(&self.buffer[span.start..span.end]) {
                return Some(Self::parse(&self.buffer[span.start..span.end], &mut self.joined));
            }
        }
    }

    /// The bytes of the next complete block, its blank line included: an event, or comments alone.
    pub fn next_raw(&mut self) -> Option<&[u8]> {
        let span = self.next_span(false)?;
        Some(&self.buffer[span.start..span.end])
    }

    /// What is left when the input ends: an event whose blank line never came.
    pub fn rest(&mut self) -> Option<Frame<'_>> {
        let span = self.next_span(true)?;
        let raw = &self.buffer[span.start..span.end];
        has_data(raw).then(|| Self::parse(raw, &mut self.joined))
    }

    /// True when everything pushed has been handed out.
    pub fn is_drained(&self) -> bool {
        self.start == self.buffer.len()
    }

    fn next_span(&mut self, at_end: bool) -> Option<Span> {
        loop {
            let Some((line_end, next_line)) = self.line_end(at_end) else {
                if at_end && self.start < self.buffer.len() {
                    let span = Span { start: self.start, end: self.buffer.len() };
                    (self.start, self.line, self.scan) = (span.end, span.end, span.end);
                    return Some(span);
                }
                return None;
            };
            let (is_blank, frame_is_empty) = (line_end == self.line, self.line == self.start);
            (self.line, self.scan) = (next_line, next_line);
            if is_blank && frame_is_empty {
                self.start = next_line;
            } else if is_blank {
                let span = Span { start: self.start, end: next_line };
                self.start = next_line;
                return Some(span);
            }
        }
    }

    /// End of the current line and start of the next, if the line is complete.
    fn line_end(&mut self, at_end: bool) -> Option<(usize, usize)> {
        let Some(offset) = memchr2(b'\n', b'\r', &self.buffer[self.scan..]) else {
            self.scan = self.buffer.len();
            return None;
        };
        let end = self.scan + offset;
        if self.buffer[end] == b'\n' {
            return Some((end, end + 1));
        }
        match self.buffer.get(end + 1) {
            Some(b'\n') => Some((end, end + 2)),
            Some(_) => Some((end, end + 1)),
            None if at_end => Some((end, end + 1)),
            None => {
                // CR is the last byte so far: only the next one tells CR from CRLF.
                self.scan = end;
                None
            }
        }
    }

    fn parse<'a>(raw: &'a [u8], joined: &'a mut Vec<u8>) -> Frame<'a> {
        let mut event = None;
        let mut first: Option<&'a [u8]> = None;
        let mut several = false;
        for line in lines(raw) {
            match field(line) {
                Some((b"event", value)) => event = std::str::from_utf8(value).ok(),
                Some((b"data", value)) => match first {
                    None => first = Some(value),
                    Some(head) => {
                        if !several {
                            joined.clear();
                            joined.extend_from_slice(head);
                            several = true;
                        }
                        joined.push(b'\n');
                        joined.extend_from_slice(value);
                    }
                },
                _ => {}
            }
        }
        let data = if several { joined.as_slice() } else { first.unwrap_or_default() };
        Frame { event, data, exception: false }
    }
}

fn lines(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    raw.split(|byte| matches!(byte, b'\n' | b'\r'))
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let value = &line[colon + 1..];
    Some((&line[..colon], value.strip_prefix(b" ").unwrap_or(value)))
}

fn has_data(raw: &[u8]) -> bool {
    lines(raw).any(|line| line.starts_with(b"data:"))
}

/// Appends an unnamed event with one line of data.
pub fn sse_data(data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

/// Appends a named event with one line of data.
pub fn sse_event(event: &str, data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(event.as_bytes());
    out.push(b'\n');
    sse_data(data, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &[u8] = b": hello\n\nevent: a\ndata: one\n\ndata:two\r\ndata: lines\r\n\r\nid: 7\n\n\n\
        data: {\"x\":\"\xc3\xa9\"}\r\revent: b\r\ndata: [DONE]\n\n";

    fn collect(cuts: &[usize]) -> Vec<(Option<String>, Vec<u8>)> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (STREAM.len() + 1)).collect();
        cuts.sort_unstable();
        let (mut frames, mut seen, mut at) = (SseFrames::new(), Vec::new(), 0);
        for cut in cuts.into_iter().chain([STREAM.len()]) {
            assert!(frames.push(&STREAM[at..cut]));
            at = cut;
            while let Some(frame) = frames.next_frame() {
                seen.push((frame.event.map(str::to_owned), frame.data.to_vec()));
            }
        }
        seen
    }

    #[test]
    fn line_ends_comments_and_joined_data_are_read_as_the_standard_says() {
        let expected: Vec<(Option<String>, Vec<u8>)> = vec![
            (Some("a".into()), b"one".to_vec()),
            (None, b"two\nlines".to_vec()),
            (None, "{\"x\":\"é\"}".as_bytes().to_vec()),
            (Some("b".into()), b"[DONE]".to_vec()),
        ];
        assert_eq!(collect(&[]), expected);
    }

    #[test]
    fn every_single_cut_gives_the_same_events() {
        for cut in 0..=STREAM.len() {
            assert_eq!(collect(&[cut]), collect(&[]), "cut at {cut}");
        }
    }

    #[test]
    fn an_unfinished_event_is_the_rest() {
        let mut frames = SseFrames::new();
        assert!(frames.push(b"data: a\n\ndata: b"));
        assert_eq!(frames.next_frame().map(|f| f.data.to_vec()), Some(b"a".to_vec()));
        assert!(frames.next_frame().is_none());
        assert_eq!(frames.rest().map(|f| f.data.to_vec()), Some(b"b".to_vec()));
        assert!(frames.is_drained());
    }

    #[test]
    fn raw_blocks_put_together_are_the_stream() {
        let mut frames = SseFrames::new();
        assert!(frames.push(STREAM));
        let mut all = Vec::new();
        while let Some(raw) = frames.next_raw() {
            all.extend_from_slice(raw);
        }
        // The stray blank line between two blocks carries nothing.
        assert_eq!(all.len() + 1, STREAM.len());
    }

    proptest! {
        /// Wherever the network cuts a stream, the same events come out.
        #[test]
        fn framing_ignores_chunk_boundaries(cuts in proptest::collection::vec(0usize..200, 0..12)) {
            prop_assert_eq!(collect(&cuts), collect(&[]));
        }

        #[test]
        fn arbitrary_bytes_never_break_the_cutter(chunks in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..40), 0..10)) {
            let mut frames = SseFrames::new();
            for chunk in &chunks {
                prop_assert!(frames.push(chunk));
                while frames.next_frame().is_some() {}
            }
            frames.rest();
            prop_assert!(frames.is_drained());
        }
    }
}
