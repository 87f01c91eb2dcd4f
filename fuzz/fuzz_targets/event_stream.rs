//! AWS event streams: arbitrary bytes never hurt, and what we wrote we can read, wherever it is cut.
#![no_main]

use faregate_wire::frame::{AwsFrames, aws_frame};
use libfuzzer_sys::fuzz_target;

fn drain(frames: &mut AwsFrames, out: &mut Vec<Vec<u8>>) -> bool {
    loop {
        match frames.next_frame() {
            Ok(Some(frame)) => out.push(frame.data.to_vec()),
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let mut frames = AwsFrames::new();
    let mut seen = Vec::new();
    if frames.push(input) {
        drain(&mut frames, &mut seen);
    }

    let Some((size, payload)) = input.split_first() else { return };
    let mut written = Vec::new();
    aws_frame("contentBlockDelta", false, payload, &mut written);
    aws_frame("messageStop", false, b"{}", &mut written);
    let (mut frames, mut read) = (AwsFrames::new(), Vec::new());
    for piece in written.chunks(usize::from(*size) + 1) {
        assert!(frames.push(piece));
        assert!(drain(&mut frames, &mut read));
    }
    assert_eq!(read, [payload.to_vec(), b"{}".to_vec()]);
    assert!(frames.is_drained());
});
