//! What the tests of several codecs share.

use crate::chat::{ChatResponse, Event, Folder};
use crate::dialect::{Abilities, Flavor, Framing, Quirks, StreamDecoder, StreamEnd, Target};
use crate::frame::{AwsFrames, NdJsonFrames, SseFrames};

/// A target of which nothing is known but its names.
pub(crate) fn target<'a>(provider: &'a str, model: &'a str, quirks: &'a Quirks) -> Target<'a> {
    let (flavor, abilities) = (Flavor::Plain, Abilities::default());
    Target { provider, model, flavor, abilities, quirks, may_modify: false, betas: Vec::new() }
}

/// Reads a stream that arrives in `chunks`; one that cannot be read fails the test.
pub(crate) fn read(
    framing: Framing,
    chunks: &[&[u8]],
    mut decoder: Box<dyn StreamDecoder>,
) -> (Vec<Event>, StreamEnd) {
    let mut events = Vec::new();
    match framing {
        Framing::AwsEventStream => {
            let mut frames = AwsFrames::new();
            for chunk in chunks {
                assert!(frames.push(chunk));
                while let Some(frame) = frames.next_frame().unwrap() {
                    decoder.frame(frame, &mut events).unwrap();
                }
            }
        }
        Framing::NdJson => {
            let mut frames = NdJsonFrames::new();
            for chunk in chunks {
                assert!(frames.push(chunk));
                while let Some(frame) = frames.next_frame() {
                    decoder.frame(frame, &mut events).unwrap();
                }
            }
        }
        Framing::Sse | Framing::Whole => {
            let mut frames = SseFrames::new();
            for chunk in chunks {
                assert!(frames.push(chunk));
                while let Some(frame) = frames.next_frame() {
                    decoder.frame(frame, &mut events).unwrap();
                }
            }
        }
    }
    let end = decoder.end(&mut events);
    (events, end)
}

/// The whole answer that `events` make.
pub(crate) fn folded(events: &[Event]) -> ChatResponse {
    let mut folder = Folder::new();
    events.iter().for_each(|event| folder.add(event));
    folder.finish()
}
