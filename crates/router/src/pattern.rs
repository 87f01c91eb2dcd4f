//! Wildcard model names.

use std::cmp::Reverse;

/// A name with `*` for any text, also none. Anchored at the start only, as LiteLLM's are: `gpt-*-x`
/// matches `gpt-4-x` and `gpt-4-xl` alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    pieces: Vec<String>,
    length: usize,
}

impl Pattern {
    /// Reads a name; `None` if it has no `*`.
    pub(crate) fn of(name: &str) -> Option<Self> {
        name.contains('*')
            .then(|| Self { pieces: name.split('*').map(str::to_owned).collect(), length: name.len() })
    }

    /// Longest first, then fewest wildcards.
    pub(crate) fn specificity(&self) -> (Reverse<usize>, usize) {
        (Reverse(self.length), self.pieces.len())
    }

    /// The texts that the wildcards stand for, if `name` matches.
    pub(crate) fn capture(&self, name: &str) -> Option<Vec<String>> {
        let (first, rest) = self.pieces.split_first()?;
        let mut tail = name.strip_prefix(first.as_str())?;
        let mut captures = Vec::with_capacity(rest.len());
        for (index, piece) in rest.iter().enumerate() {
            let is_last = index + 1 == rest.len();
            if piece.is_empty() && is_last {
                captures.push(tail.to_owned());
                tail = "";
            } else {
                let at = tail.find(piece.as_str())?;
                captures.push(tail[..at].to_owned());
                tail = &tail[at + piece.len()..];
            }
        }
        Some(captures)
    }
}

/// Puts the captured texts in the place of the `*`s of an upstream model name.
pub(crate) fn fill(upstream: &str, captures: &[String]) -> String {
    let mut captures = captures.iter();
    let mut out = String::with_capacity(upstream.len() + 16);
    for (index, piece) in upstream.split('*').enumerate() {
        if index > 0 {
            out.push_str(captures.next().map_or("", String::as_str));
        }
        out.push_str(piece);
    }
    out
}
