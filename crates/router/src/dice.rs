//! Chance as an argument, so that tests are exact.

/// A source of chance.
pub trait Dice {
    /// A number in `0.0..1.0`.
    fn roll(&mut self) -> f64;
}

/// A small, fast generator (SplitMix64); good enough to spread traffic, useless for secrets.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// Starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl Dice for Seeded {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        // The top 53 bits fill a double's mantissa exactly.
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
