//! How many tokens a text is.
//!
//! OpenAI's models are counted with their own vocabularies, which are part of the binary and are unpacked
//! at the first count (some 50 to 200 ms and 25 to 50 MB each, which stay): count on a thread that may
//! block, and never where [`estimate`] will do. Other vendors keep their vocabularies to themselves; their
//! texts are counted with OpenAI's and scaled, see [`Counter::is_exact`].

use tiktoken_rs::tokenizer::{Tokenizer, get_tokenizer};

use self::vocabulary::Vocabulary;

mod vocabulary;

/// Longer texts are counted in pieces of this many bytes: the time of a count stays proportional to the
/// text, whatever is in it, and each cut costs one token of accuracy at most.
const PIECE: usize = 64 * 1024;
/// Bytes per token of plain English, for estimates. Source: OpenAI, "What are tokens and how to count them".
const BYTES_PER_TOKEN: u64 = 4;

/// Counts the tokens of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    vocabulary: Vocabulary,
    /// Tokens of the model for 100 tokens of the vocabulary.
    percent: u64,
    is_exact: bool,
}

impl Counter {
    /// The counter of a model; provider prefixes and names of fine-tuned models are understood.
    pub fn of(model: &str) -> Self {
        let name = model.rsplit('/').next().unwrap_or(model);
        let exact = |vocabulary| Self { vocabulary, percent: 100, is_exact: true };
        match get_tokenizer(name) {
            Some(Tokenizer::O200kBase | Tokenizer::O200kHarmony) => exact(Vocabulary::O200k),
            Some(Tokenizer::Cl100kBase) => exact(Vocabulary::Cl100k),
            // Withdrawn models; their vocabularies are not worth a megabyte each.
            Some(_) => Self { is_exact: false, ..exact(Vocabulary::Cl100k) },
            None => Self { vocabulary: Vocabulary::O200k, percent: percent(name), is_exact: false },
        }
    }

    /// True if the model's own vocabulary is used. Otherwise prose and code come out within about 20 %,
    /// other scripts further off.
    pub fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// The tokens of `text`. Blocks: see the module's text.
    pub fn count(&self, text: &str) -> u64 {
        if text.is_empty() {
            return 0;
        }
        let Some(encoder) = self.vocabulary.encoder() else {
            return u64::try_from(text.len()).unwrap_or(u64::MAX).div_ceil(BYTES_PER_TOKEN);
        };
        let mut tokens = 0_u64;
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cut(rest));
            tokens += u64::try_from(encoder.encode_ordinary(piece).len()).unwrap_or(u64::MAX);
            rest = after;
        }
        (tokens * self.percent).div_ceil(100)
    }
}

/// The tokens of `text` for `model`. Blocks: see the module's text.
pub fn count(model: &str, text: &str) -> u64 {
    Counter::of(model).count(text)
}

/// The text of some tokens of OpenAI's embedding models; `None` if one of them is none. Blocks: see the module's text.
pub fn text(tokens: &[u32]) -> Option<String> {
    Vocabulary::Cl100k.encoder()?.decode(tokens).ok()
}

/// The tokens of a text of so many bytes, without a look at it; for answers nobody kept.
pub fn estimate(model: &str, bytes: u64) -> u64 {
    bytes.saturating_mul(Counter::of(model).percent).div_ceil(100 * BYTES_PER_TOKEN)
}

/// How other vendors' vocabularies compare with OpenAI's. Claude's makes more tokens of the same text: 16 %
/// for English prose, 30 % for code. Source: "Same text, different costs" (VentureBeat, May 2025).
fn percent(name: &str) -> u64 {
    if name.contains("claude") { 120 } else { 100 }
}

/// Where to cut: behind the whole text if it is short, else before the last blank of a piece.
fn cut(text: &str) -> usize {
    if text.len() <= PIECE {
        return text.len();
    }
    let end = text.floor_char_boundary(PIECE);
    let blank = text[..end].rfind(char::is_whitespace).filter(|&at| at > PIECE / 2);
    blank.unwrap_or(end)
}

#[cfg(test)]
mod tests;
