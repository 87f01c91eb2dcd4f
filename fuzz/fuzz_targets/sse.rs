//! Server-sent events: the same frames come out wherever the bytes are cut.
#![no_main]

use faregate_wire::frame::SseFrames;
use libfuzzer_sys::fuzz_target;

type Owned = (Option<String>, Vec<u8>);

fn drain(frames: &mut SseFrames, out: &mut Vec<Owned>) {
    while let Some(frame) = frames.next_frame() {
        out.push((frame.event.map(str::to_owned), frame.data.to_vec()));
    }
}

/// All frames of `pieces`, each pushed on its own.
fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Owned> {
    let (mut cutter, mut out) = (SseFrames::new(), Vec::new());
    for piece in pieces {
        if !cutter.push(piece) {
            break;
        }
        drain(&mut cutter, &mut out);
    }
    if let Some(frame) = cutter.rest() {
        out.push((frame.event.map(str::to_owned), frame.data.to_vec()));
    }
    out
}

fuzz_target!(|input: &[u8]| {
    let Some((size, stream)) = input.split_first() else { return };
    let whole = frames(std::iter::once(stream));
    let pieces = frames(stream.chunks(usize::from(*size % 16) + 1));
    assert_eq!(whole, pieces);
});
