//! How much output to expect: learned per key and model, so that holds are tight.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

const SHARDS: usize = 32;
/// Pairs of key and model remembered per shard.
const CAPACITY: usize = 4096;
/// Output expected of a pair never seen, in tokens; a hold grows with the stream if it is too small.
const PRIOR: u32 = 256;

type Shard = HashMap<u64, u32, RandomState>;

/// An upper estimate of output tokens per subject and model.
///
/// Follows the upper part of what was seen (rises at once, falls slowly), plus a quarter for luck. A wrong
/// estimate costs nothing but a top-up or a hold that was larger than needed for a while.
#[derive(Debug)]
pub struct OutputEstimates {
    shards: Box<[Mutex<Shard>]>,
    seed: RandomState,
}

impl Default for OutputEstimates {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), seed: RandomState::default() }
    }
}

impl OutputEstimates {
    /// Nothing learned yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tokens to expect at most, usually, and never more than `max_tokens`.
    pub fn expect(&self, subject: &str, model: &str, max_tokens: Option<u64>) -> u64 {
        let (shard, key) = self.place(subject, model);
        let seen = shard.lock().get(&key).copied().unwrap_or(PRIOR);
        let expected = u64::from(seen) + u64::from(seen) / 4;
        max_tokens.map_or(expected, |most| expected.min(most))
    }

    /// What was learned of a pair, in tokens; nothing if it has not been seen.
    pub fn seen(&self, subject: &str, model: &str) -> Option<u64> {
        let (shard, key) = self.place(subject, model);
        let seen = shard.lock().get(&key).copied()?;
        Some(u64::from(seen) + u64::from(seen) / 4)
    }

    /// Learns from an answer.
    pub fn learn(&self, subject: &str, model: &str, output_tokens: u64) {
        let (shard, key) = self.place(subject, model);
        let got = u32::try_from(output_tokens).unwrap_or(u32::MAX);
        let mut shard = shard.lock();
        if shard.len() >= CAPACITY && !shard.contains_key(&key) {
            // Cheap and rare; what is forgotten is learned again.
            shard.clear();
        }
        shard.entry(key).and_modify(|seen| *seen = follow(*seen, got)).or_insert(got);
    }

    fn place(&self, subject: &str, model: &str) -> (&Mutex<Shard>, u64) {
        let key = self.seed.hash_one((subject, model));
        (&self.shards[key as usize % SHARDS], key)
    }
}

/// Half way up at once, a sixteenth of the way down.
fn follow(seen: u32, got: u32) -> u32 {
    if got > seen { seen + (got - seen).div_ceil(2) } else { seen - (seen - got) / 16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_never_passes_max_tokens() {
        let estimates = OutputEstimates::new();
        estimates.learn("key", "model", 5_000);
        assert_eq!(estimates.expect("key", "model", Some(100)), 100);
        assert_eq!(estimates.expect("key", "model", None), 6_250);
    }

    #[test]
    fn a_huge_max_tokens_does_not_inflate_the_estimate() {
        let estimates = OutputEstimates::new();
        assert!(estimates.expect("new", "model", Some(64_000)) <= 512);
        for _ in 0..200 {
            estimates.learn("agent", "model", 120);
        }
        let expected = estimates.expect("agent", "model", Some(64_000));
        assert!((120..=200).contains(&expected), "{expected}");
    }

    #[test]
    fn most_answers_stay_below_the_estimate() {
        let estimates = OutputEstimates::new();
        let mut below = 0;
        for round in 0..1_000u64 {
            let got = 50 + (round * 7919) % 300;
            if round >= 100 && got <= estimates.expect("key", "model", None) {
                below += 1;
            }
            estimates.learn("key", "model", got);
        }
        assert!(below > 800, "{below} of 900");
    }

    #[test]
    fn subjects_and_models_learn_apart() {
        let estimates = OutputEstimates::new();
        estimates.learn("a", "m", 10_000);
        assert_eq!(estimates.expect("b", "m", None), estimates.expect("a", "n", None));
    }
}
