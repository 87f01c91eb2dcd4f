//! Signatures of reasoning and fingerprints for ids: deterministic, so that no state is needed to verify them.
//!
//! Not cryptography: the fake only has to notice a signature that was lost, moved or changed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

fn fnv(seed: u64, text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// 24 lower-case hex characters.
pub(crate) fn fingerprint(text: &str) -> String {
    format!("{:016x}{:08x}", fnv(1, text), fnv(2, text) as u32)
}

/// The signature of `text` by `family`, in base64 as providers write it.
pub(crate) fn seal(family: &str, text: &str) -> String {
    let bytes: Vec<u8> =
        (0..6).flat_map(|round| fnv(round + 17, &format!("{family}|{text}")).to_be_bytes()).collect();
    STANDARD.encode(bytes)
}

/// Whether `signature` is the one [`seal`] gave out for `text`.
pub(crate) fn genuine(family: &str, text: &str, signature: &str) -> bool {
    seal(family, text) == signature
}

/// JSON text with sorted members, so that a value that only changed their order is still the same.
pub(crate) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut pairs: Vec<String> = members
                .iter()
                .map(|(name, inner)| format!("{}:{}", Value::from(name.as_str()), canonical(inner)))
                .collect();
            pairs.sort();
            format!("{{{}}}", pairs.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Null => "{}".into(),
        other => other.to_string(),
    }
}
