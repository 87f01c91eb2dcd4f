//! How long a recording is: some providers bill seconds and do not say how many.

use std::io::Cursor;

use bytes::Bytes;
use lofty::config::{ParseOptions, ParsingMode};
use lofty::file::AudioFile;
use lofty::probe::Probe;

/// Bytes per second of speech where the file does not say: 32 kbit/s, less than any usual recording has, so that
/// a guess is never too cheap.
const BYTES_PER_SECOND: u64 = 4_000;

/// Milliseconds, and whether they are a guess from the file's size.
pub async fn length(file: &Bytes) -> (u64, bool) {
    let own = file.clone();
    // Beside the others: a file may be long, and a parser that gives up on it takes nobody along.
    match tokio::task::spawn_blocking(move || told(&own)).await {
        Ok(Some(millis)) => (millis, false),
        Ok(None) | Err(_) => ((file.len() as u64).saturating_mul(1000) / BYTES_PER_SECOND, true),
    }
}

/// What the file's own head says; `None` for formats without one that is known.
fn told(file: &Bytes) -> Option<u64> {
    let options =
        ParseOptions::new().read_tags(false).read_cover_art(false).parsing_mode(ParsingMode::Relaxed);
    let probe = Probe::new(Cursor::new(file)).guess_file_type().ok()?.options(options);
    let millis = u64::try_from(probe.read().ok()?.properties().duration().as_millis()).ok()?;
    (millis > 0).then_some(millis)
}

/// A recording of silence: RIFF WAVE, 16-bit PCM of 8000 samples a second.
pub fn silence(millis: u32) -> Bytes {
    let data = millis * 16;
    let mut out = Vec::new();
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(36 + data).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&16_u32.to_le_bytes());
    for word in [1_u16, 1] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&8000_u32.to_le_bytes());
    out.extend_from_slice(&16_000_u32.to_le_bytes());
    for word in [2_u16, 16] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(b"data");
    out.extend_from_slice(&data.to_le_bytes());
    out.resize(44 + data as usize, 0);
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_says_how_long_it_is() {
        assert_eq!(length(&silence(2500)).await, (2500, false));
    }

    #[tokio::test]
    async fn what_says_nothing_is_guessed_and_flagged() {
        assert_eq!(length(&Bytes::from(vec![1_u8; 8000])).await, (2000, true));
    }
}
