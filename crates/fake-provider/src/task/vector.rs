//! Vectors that are near each other where texts share words.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The length unless another is asked for.
const LENGTH: usize = 64;

/// The vectors of some texts.
pub(super) fn of_texts(texts: &[String], length: Option<usize>) -> Vec<Vec<f32>> {
    texts.iter().map(|text| of_text(text, length)).collect()
}

/// The vector of a text, of length 1: the sum of its words' own.
pub(super) fn of_text(text: &str, length: Option<usize>) -> Vec<f32> {
    let length = length.unwrap_or(LENGTH).clamp(1, 4096);
    let mut sum = vec![0.0_f32; length];
    for word in words(text) {
        for (place, value) in sum.iter_mut().zip(of_word(&word)) {
            *place += value;
        }
    }
    let norm = sum.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    sum.iter_mut().for_each(|value| *value /= norm);
    sum
}

/// Endless numbers that depend on the word alone.
fn of_word(word: &str) -> impl Iterator<Item = f32> {
    let word = word.to_owned();
    (0_u32..).flat_map(move |block| {
        let mut hash = Sha256::new();
        hash.update(&word);
        hash.update(block.to_le_bytes());
        hash.finalize().into_iter().map(|byte| f32::from(byte) / 127.5 - 1.0)
    })
}

fn words(text: &str) -> Vec<String> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The part of the query's words that a document has.
pub(super) fn overlap(query: &str, document: &str) -> f64 {
    let (query, document) = (words(query), words(document));
    let shared = query.iter().filter(|word| document.contains(word)).count();
    if query.is_empty() { 0.0 } else { shared as f64 / query.len() as f64 }
}

/// Tokens, at four letters each.
pub(super) fn tokens(texts: &[String]) -> usize {
    texts.iter().map(|text| text.len().div_ceil(4).max(1)).sum()
}

/// As base64 of little-endian floats.
pub(super) fn packed(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}
