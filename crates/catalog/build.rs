//! Packs what would be a sixth of the binary as text: the model list, 2 MB that say the same in every line, and
//! OpenAI's vocabularies, 5 MB in base64.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::{env, fs, io};

use miniz_oxide::deflate::compress_to_vec;
use tiktoken_rs::CoreBPE;

const LIST: &str = "data/models.json";
/// As small as deflate gets; a build waits some seconds for it once.
const SMALLEST: u8 = 10;

fn main() -> io::Result<()> {
    writeln!(io::stdout(), "cargo::rerun-if-changed={LIST}")?;
    writeln!(io::stdout(), "cargo::rerun-if-changed=build.rs")?;
    let folder = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    let write = |name: &str, plain: &[u8]| {
        fs::write(Path::new(&folder).join(name).with_extension("deflate"), compress_to_vec(plain, SMALLEST))
    };
    write("models", &fs::read(LIST)?)?;
    write("o200k", &halves(&tokens(&tiktoken_rs::o200k_base().map_err(io::Error::other)?))?)?;
    write("cl100k", &halves(&tokens(&tiktoken_rs::cl100k_base().map_err(io::Error::other)?))?)
}

/// The tokens of a vocabulary by rank, without its special ones, which stand behind a gap.
fn tokens(vocabulary: &CoreBPE) -> Vec<Vec<u8>> {
    (0..).map_while(|rank| vocabulary.decode_bytes(&[rank]).ok()).collect()
}

/// A vocabulary as `src/tokens/vocabulary.rs` reads it: the 256 tokens of one byte, then for each other token
/// the ranks of two earlier ones that make it. The ranks are three bytes each and stand in six columns (low,
/// middle and high bytes of the left halves, then of the right ones): much smaller packed than in rows.
fn halves(tokens: &[Vec<u8>]) -> io::Result<Vec<u8>> {
    let (single, longer) = tokens.split_at(256.min(tokens.len()));
    if single.iter().any(|token| token.len() != 1) {
        return Err(io::Error::other("a vocabulary does not start with the single bytes"));
    }
    let mut known: HashMap<&[u8], usize> = single.iter().map(Vec::as_slice).zip(0..).collect();
    let mut pairs = Vec::with_capacity(longer.len());
    for (token, rank) in longer.iter().zip(256..) {
        let mut cuts = (1..token.len()).map(|at| token.split_at(at));
        let pair = cuts.find_map(|(left, right)| known.get(left).copied().zip(known.get(right).copied()));
        pairs.push(pair.ok_or_else(|| io::Error::other("a token is not made of two earlier ones"))?);
        known.insert(token, rank);
    }
    let (left, right): (Vec<usize>, Vec<usize>) = pairs.into_iter().unzip();
    let columns = [&left, &right].into_iter().flat_map(|half| [0, 8, 16].map(|shift| (half, shift)));
    let cells =
        columns.flat_map(|(half, shift)| half.iter().map(move |rank| (rank >> shift).to_le_bytes()[0]));
    Ok(single.concat().into_iter().chain(cells).collect())
}
