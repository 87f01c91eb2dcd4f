//! Thought signatures as Gemini clients carry them.
//!
//! The member is bytes in base64, and SDKs decode it: state of another family is wrapped so that it passes
//! for such. Signatures of Gemini itself go through as they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine::DecodePaddingMode};

use crate::chat::{Family, Signature};
use crate::opaque;

/// Base64 in either alphabet after [`standard`] has been applied; padding is not insisted on.
const LOOSE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Marks state that is all there is of a reasoning part.
const REDACTED: &str = "redacted:";

/// The signature a Gemini client gets.
pub(super) fn seal(signature: &Signature, redacted: bool) -> String {
    if signature.family == Family::Gemini && !redacted {
        return signature.data.clone();
    }
    let sealed = opaque::seal(signature, Family::Gemini);
    let mark = if redacted { REDACTED } else { "" };
    STANDARD.encode(format!("{mark}{sealed}"))
}

/// What a Gemini client sent back, and whether it is of a redacted part.
pub(super) fn open(text: &str) -> (Signature, bool) {
    let plain = LOOSE.decode(standard(text)).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(plain) = plain {
        if let Some(sealed) = plain.strip_prefix(REDACTED) {
            return (opaque::open(sealed, Family::Gemini), true);
        }
        let signature = opaque::open(&plain, Family::Gemini);
        if signature.family != Family::Gemini {
            return (signature, false);
        }
    }
    (Signature { family: Family::Gemini, data: text.to_owned() }, false)
}

/// Base64 text in the standard alphabet with padding; SDKs write the URL-safe one.
pub(super) fn standard(text: &str) -> String {
    let mut out: String = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    while !out.len().is_multiple_of(4) {
        out.push('=');
    }
    out
}
