//! The AWS event stream: binary frames with two checksums each.
//!
//! Source: AWS, "Amazon Transcribe event stream encoding" and the Smithy specification,
//! `application/vnd.amazon.eventstream`. The codec is `aws-smithy-eventstream`'s.

use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::{Buf, Bytes, BytesMut};

use super::{Frame, MAX_FRAME};

/// Cuts AWS event-stream bytes into messages, checking both checksums.
#[derive(Debug, Default)]
pub struct AwsFrames {
    buffer: BytesMut,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    event: Option<String>,
    exception: bool,
    payload: Bytes,
    raw: Bytes,
}

/// Bytes that are no AWS event stream: a wrong checksum, an impossible length, a bad header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad event-stream frame: {0}")]
pub struct BadFrame(pub String);

/// Length prefix, header length and prelude checksum.
const PRELUDE: usize = 12;

impl AwsFrames {
    /// A cutter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes in. False if a frame announces more than [`MAX_FRAME`] bytes.
    #[must_use]
    pub fn push(&mut self, chunk: &[u8]) -> bool {
        self.buffer.extend_from_slice(chunk);
        self.buffer.len() <= 2 * MAX_FRAME
    }

    /// The next complete message.
    ///
    /// # Errors
    /// [`BadFrame`]; the stream cannot be read on.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, BadFrame> {
        let Some(length) = self.frame_length()? else {
            return Ok(None);
        };
        if self.buffer.len() < length {
            return Ok(None);
        }
        let raw = self.buffer.split_to(length).freeze();
        let message = read_message_from(raw.clone()).map_err(|error| BadFrame(error.to_string()))?;
        let current = self.current.insert(Current::of(&message, raw));
        Ok(Some(Frame {
            event: current.event.as_deref(),
            data: &current.payload,
            exception: current.exception,
        }))
    }

    /// The bytes of the message handed out last, for forwarding.
    pub fn raw(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], |current| &current.raw)
    }

    /// True when everything pushed has been handed out.
    pub fn is_drained(&self) -> bool {
        self.buffer.is_empty()
    }

    fn frame_length(&self) -> Result<Option<usize>, BadFrame> {
        if self.buffer.len() < PRELUDE {
            return Ok(None);
        }
        let length = (&self.buffer[..4]).get_u32() as usize;
        if !(PRELUDE + 4..=MAX_FRAME).contains(&length) {
            return Err(BadFrame(format!("a frame of {length} bytes is announced")));
        }
        Ok(Some(length))
    }
}

impl Current {
    fn of(message: &Message, raw: Bytes) -> Self {
        let text = |name: &str| {
            let header = message.headers().iter().find(|header| header.name().as_str() == name)?;
            header.value().as_string().ok().map(|text| text.as_str().to_owned())
        };
        let kind = text(":message-type").unwrap_or_default();
        let exception = kind == "exception" || kind == "error";
        let event = match kind.as_str() {
            "exception" => text(":exception-type"),
            "error" => text(":error-code"),
            _ => text(":event-type"),
        };
        Self { event, exception, payload: message.payload().clone(), raw }
    }
}

/// Appends one message: an event, or an exception, with a JSON payload.
pub fn aws_frame(event: &str, exception: bool, payload: &[u8], out: &mut Vec<u8>) {
    let (kind, name) = if exception { ("exception", ":exception-type") } else { ("event", ":event-type") };
    let header =
        |name: &'static str, value: &str| Header::new(name, HeaderValue::String(value.to_owned().into()));
    let message = Message::new(Bytes::copy_from_slice(payload))
        .add_header(header(name, event))
        .add_header(header(":content-type", "application/json"))
        .add_header(header(":message-type", kind));
    let start = out.len();
    // Fails only for a header or payload beyond 4 GiB.
    if write_message_to(&message, out).is_err() {
        out.truncate(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u8> {
        let mut bytes = Vec::new();
        aws_frame("messageStart", false, br#"{"role":"assistant"}"#, &mut bytes);
        aws_frame("throttlingException", true, br#"{"message":"slow down"}"#, &mut bytes);
        bytes
    }

    #[test]
    fn messages_come_whole_wherever_they_are_cut() {
        let bytes = stream();
        for cut in 0..=bytes.len() {
            let (mut frames, mut seen) = (AwsFrames::new(), Vec::new());
            for piece in [&bytes[..cut], &bytes[cut..]] {
                assert!(frames.push(piece));
                while let Some(frame) = frames.next_frame().unwrap() {
                    seen.push((frame.event.unwrap().to_owned(), frame.exception, frame.data.to_vec()));
                }
            }
            assert!(frames.is_drained());
            assert_eq!(seen[0], ("messageStart".into(), false, br#"{"role":"assistant"}"#.to_vec()));
            assert_eq!(seen[1], ("throttlingException".into(), true, br#"{"message":"slow down"}"#.to_vec()));
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let bytes = stream();
        let first = (&bytes[..4]).get_u32() as usize;
        for position in 0..first {
            let mut broken = bytes[..first].to_vec();
            broken[position] ^= 1;
            let mut frames = AwsFrames::new();
            assert!(frames.push(&broken));
            let outcome = frames.next_frame();
            // A larger announced length just waits for bytes that never come.
            assert!(matches!(outcome, Err(_) | Ok(None)), "byte {position}: {outcome:?}");
        }
    }
}
