//! Where a JSON string ends, found 64 bytes at a time with the widest instructions the processor has.
//!
//! Prompts are full of escapes. Which quotes are escaped is worked out for all 64 bytes at once, without a branch for
//! each of them: mispredicted, those would cost more than looking at the bytes. Source: Langdale and Lemire, "Parsing
//! Gigabytes of JSON per Second", section 3.1.1.

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x16, u8x64};

use super::Bad;

/// Bytes looked at together.
const BLOCK: usize = 64;
/// The same at a string's beginning.
const SHORT: usize = 16;
/// What a string may hold only as an escape ends here. Source: RFC 8259, section 7.
const LAST_CONTROL: u8 = 0x1f;
/// Every other bit, the lowest one not set.
const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;

/// A string's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Where its closing quote is.
    pub at: usize,
    /// True if all before is ASCII.
    pub is_ascii: bool,
}

/// The end of the string in `json` whose first byte is at `start`.
///
/// # Errors
/// If it does not end, or holds a control character or what is no escape.
pub(super) fn end(json: &[u8], start: usize) -> Result<End, Bad> {
    let rest = json.get(start..).ok_or(Bad::Syntax)?;
    // Most strings are names and other short ones.
    if let Some(first) = rest.first_chunk::<SHORT>() {
        let (special, not_ascii) = short(first);
        let offset = special.trailing_zeros() as usize;
        if first.get(offset) == Some(&b'"') {
            return Ok(End { at: start + offset, is_ascii: not_ascii & ((1 << offset) - 1) == 0 });
        }
    }
    dispatch!(Level::new(), simd => long(simd, json, start))
}

/// One bit per byte: which are quotes, backslashes or control characters, and which are not ASCII.
fn short(block: &[u8; SHORT]) -> (u64, u64) {
    dispatch!(Level::baseline(), simd => {
        let bytes = u8x16::load_array_ref(simd, block);
        let special = bytes.simd_eq(b'"') | bytes.simd_eq(b'\\') | bytes.simd_le(LAST_CONTROL);
        (special.to_bitmask(), bytes.simd_gt(0x7f).to_bitmask())
    })
}

/// What the bytes of a block are, one bit for each.
struct Kinds {
    quotes: u64,
    backslashes: u64,
    controls: u64,
    not_ascii: u64,
}

/// As [`end`].
#[inline(always)]
fn long<S: Simd>(simd: S, json: &[u8], start: usize) -> Result<End, Bad> {
    let mut at = start;
    let (mut is_ascii, mut is_escaped) = (true, 0);
    while at < json.len() {
        let rest = &json[at..];
        // Beyond the end of the body control characters end every string that has not ended before.
        let mut last = [0; BLOCK];
        let block = match rest.first_chunk() {
            Some(block) => block,
            None => {
                last[..rest.len()].copy_from_slice(rest);
                &last
            }
        };
        let bytes = u8x64::load_array_ref(simd, block);
        let kinds = kinds(bytes);
        let escaped = escaped(kinds.backslashes, &mut is_escaped);
        let ends = kinds.quotes & !escaped;
        // The bytes before the first end; all if there is none.
        let inside = ends.wrapping_sub(1) & !ends;
        let mut bad = kinds.controls & inside;
        if escaped & inside != 0 {
            let (simple, unicode) = escapes(simd, bytes);
            bad |= escaped & inside & !(simple | unicode);
            let mut unicode = escaped & inside & unicode;
            while unicode != 0 {
                digits(json, at + unicode.trailing_zeros() as usize)?;
                unicode &= unicode - 1;
            }
        }
        if bad != 0 {
            return Err(Bad::Syntax);
        }
        is_ascii &= kinds.not_ascii & inside == 0;
        if ends != 0 {
            return Ok(End { at: at + ends.trailing_zeros() as usize, is_ascii });
        }
        at += BLOCK;
    }
    Err(Bad::Syntax)
}

#[inline(always)]
fn kinds<S: Simd>(bytes: u8x64<S>) -> Kinds {
    Kinds {
        quotes: bytes.simd_eq(b'"').to_bitmask(),
        backslashes: bytes.simd_eq(b'\\').to_bitmask(),
        controls: bytes.simd_le(LAST_CONTROL).to_bitmask(),
        not_ascii: bytes.simd_gt(0x7f).to_bitmask(),
    }
}

/// Which bytes come after a backslash that is not escaped itself. `is_escaped` is 1 if the first one does, and becomes
/// so if the first one of the next block does.
#[inline(always)]
fn escaped(backslashes: u64, is_escaped: &mut u64) -> u64 {
    if backslashes == 0 {
        return std::mem::take(is_escaped);
    }
    // Of a run of backslashes every other one escapes. A subtraction carries through each run, which tells the runs
    // that begin at even places from the others.
    let escaping = backslashes & !*is_escaped;
    let after = escaping << 1;
    let codes = (after | ODD).wrapping_sub(escaping) ^ ODD;
    let escaped = codes ^ (backslashes | *is_escaped);
    *is_escaped = (codes & backslashes) >> (u64::BITS - 1);
    escaped
}

/// Which bytes may follow a backslash alone, and which need four digits behind them.
#[inline(always)]
fn escapes<S: Simd>(simd: S, bytes: u8x64<S>) -> (u64, u64) {
    // By the upper half of a byte a bit, by its lower half the bits of the upper ones that go with it:
    // `"` 22, `/` 2f, `\` 5c, `b` 62, `f` 66, `n` 6e, `r` 72, `t` 74.
    const UPPER: [u8; 16] = [0, 0, 1, 0, 0, 2, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    const LOWER: [u8; 16] = [0, 0, 1 | 4 | 8, 0, 8, 0, 4, 0, 0, 0, 0, 0, 2, 0, 4, 1];
    let upper = u8x64::block_splat(u8x16::load_array(simd, UPPER)).swizzle_dyn_within_blocks(bytes >> 4);
    let lower = u8x64::block_splat(u8x16::load_array(simd, LOWER)).swizzle_dyn_within_blocks(bytes & 0x0f);
    (!(upper & lower).simd_eq(0).to_bitmask(), bytes.simd_eq(b'u').to_bitmask())
}

/// Four hexadecimal digits behind `at`.
fn digits(json: &[u8], at: usize) -> Result<(), Bad> {
    let digits = json.get(at + 1..at + 5).ok_or(Bad::Syntax)?;
    if digits.iter().all(u8::is_ascii_hexdigit) { Ok(()) } else { Err(Bad::Syntax) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As [`end`], byte by byte.
    fn plainly(json: &[u8], start: usize) -> Result<End, Bad> {
        let (mut at, mut is_ascii) = (start, true);
        loop {
            match json.get(at).ok_or(Bad::Syntax)? {
                b'"' => return Ok(End { at, is_ascii }),
                b'\\' => match json.get(at + 1) {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 1,
                    Some(b'u') => {
                        digits(json, at + 1)?;
                        at += 5;
                    }
                    _ => return Err(Bad::Syntax),
                },
                ..=LAST_CONTROL => return Err(Bad::Syntax),
                byte => is_ascii &= byte.is_ascii(),
            }
            at += 1;
        }
    }

    /// The widths of instructions that this processor has.
    fn levels() -> Vec<Level> {
        let widest = Level::new();
        #[cfg(target_arch = "x86_64")]
        let narrower = [
            widest.as_sse2().map(Level::Sse2),
            widest.as_sse4_2().map(Level::Sse4_2),
            widest.as_avx2().map(Level::Avx2),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let narrower = [Some(Level::baseline())];
        narrower.into_iter().flatten().chain([widest]).collect()
    }

    fn check(json: &[u8]) {
        let expected = plainly(json, 0);
        let text = String::from_utf8_lossy(json);
        assert_eq!(end(json, 0), expected, "{text:?}");
        for level in levels() {
            assert_eq!(dispatch!(level, simd => long(simd, json, 0)), expected, "{level:?} {text:?}");
        }
    }

    #[test]
    fn every_byte_is_an_escape_or_none() {
        for byte in 0..=u8::MAX {
            for padding in [0, 20, 62, 63, 64, 130] {
                let mut json = vec![b'x'; padding];
                json.extend([b'\\', byte]);
                json.extend(b"12aF and more\"");
                check(&json);
                // The byte by itself.
                json.remove(padding);
                check(&json);
            }
        }
    }

    #[test]
    fn runs_of_backslashes_escape_by_twos_wherever_they_begin() {
        for padding in 0..70 {
            for run in 0..140 {
                check(&["x".repeat(padding), "\\".repeat(run), "\"y\"".to_owned()].concat().into_bytes());
            }
        }
    }

    #[test]
    fn what_stands_behind_the_end_does_not_count() {
        check(b"plain\"\x00\x01\\x\xff and a good deal more behind it, so that there is a whole block of it");
        check(
            "a longer one, with an \\n escape\", \u{e9} \\q \x02 and a good deal more behind it".as_bytes(),
        );
    }

    proptest! {
        #[test]
        fn strings_end_where_they_do_byte_by_byte(pieces in prop::collection::vec(
            prop::sample::select(vec![&b"abcdefg"[..], b"thirty-one plain bytes of prose", b"x", b"\\\\", b"\\\"",
                b"\\n", b"\\u00e9", b"\\u12", b"\xc3\xa9", b"\"", b"\\", b"\n", b"\x7f", b"\xff", b" \\/ "]), 0..40)) {
            check(&pieces.concat());
        }

        #[test]
        fn arbitrary_bytes_do_too(json in prop::collection::vec(
            prop_oneof![Just(b'\\'), Just(b'"'), Just(b'n'), Just(b'u'), 0x20..=0x7eu8, any::<u8>()], 0..200)) {
            check(&json);
        }
    }
}
