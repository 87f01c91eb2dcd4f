//! OpenAI's vocabularies, as small as they get; `build.rs` packs them and says in which form.

use std::sync::LazyLock;

use miniz_oxide::inflate::decompress_to_vec;
use tiktoken_rs::{CoreBPE, O200K_BASE_PAT_STR};

/// How text is cut before its pieces become tokens. Source: OpenAI's tiktoken 0.14, `cl100k_base`.
const CL100K_PATTERN: &str = concat!(
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|",
    r"\s++$|\s*[\r\n]|\s+(?!\S)|\s"
);
/// Tokens of one byte, which stand first in every vocabulary.
const SINGLE: usize = 256;

static O200K: LazyLock<Option<CoreBPE>> =
    LazyLock::new(|| unpack(include_bytes!(concat!(env!("OUT_DIR"), "/o200k.deflate")), O200K_BASE_PAT_STR));
static CL100K: LazyLock<Option<CoreBPE>> =
    LazyLock::new(|| unpack(include_bytes!(concat!(env!("OUT_DIR"), "/cl100k.deflate")), CL100K_PATTERN));

/// OpenAI's vocabularies that are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vocabulary {
    O200k,
    Cl100k,
}

impl Vocabulary {
    /// Unpacked at the first call. There is none only if the build packed something else than it should; a
    /// test holds every token to OpenAI's.
    pub fn encoder(self) -> Option<&'static CoreBPE> {
        match self {
            Self::O200k => O200K.as_ref(),
            Self::Cl100k => CL100K.as_ref(),
        }
    }
}

fn unpack(packed: &[u8], pattern: &str) -> Option<CoreBPE> {
    let plain = decompress_to_vec(packed).ok()?;
    let ranks = tokens(&plain)?.into_iter().zip(0..).collect();
    // Special tokens are left out: texts of clients are counted as ordinary text.
    CoreBPE::new(ranks, std::iter::empty().collect(), pattern).ok()
}

/// The tokens by rank: single bytes, then each as the ranks of its two halves, in six columns.
fn tokens(plain: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (single, cells) = plain.split_at_checked(SINGLE)?;
    let count = cells.len() / 6;
    let rank = |half: usize, at: usize| {
        let cell = |column: usize| cells.get((half * 3 + column) * count + at).copied().map(usize::from);
        Some(cell(0)? | cell(1)? << 8 | cell(2)? << 16)
    };
    let mut tokens: Vec<Vec<u8>> = Vec::with_capacity(SINGLE + count);
    tokens.extend(single.iter().map(|&byte| vec![byte]));
    for at in 0..count {
        let token = [tokens.get(rank(0, at)?)?.as_slice(), tokens.get(rank(1, at)?)?].concat();
        tokens.push(token);
    }
    Some(tokens)
}
