//! Money at the edge: a JSON number and a `double precision` column outside, exact inside.

use std::fmt;

use faregate_terms::PicoUsd;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount as LiteLLM's columns and JSON hold it: a floating-point number of dollars.
///
/// Reading takes the shortest decimal that names the number, so `0.1` becomes exactly ten cents; writing
/// gives the number nearest to the exact amount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usd(pub PicoUsd);

impl Usd {
    /// The amount that `dollars` is the nearest number to; `None` for what is not a number.
    pub fn from_f64(dollars: f64) -> Option<Self> {
        // `Display` of a float is its shortest decimal; no exponent, so nothing is lost on the way.
        dollars.is_finite().then(|| PicoUsd::parse(&dollars.to_string()).ok().map(Self)).flatten()
    }
}

impl From<PicoUsd> for Usd {
    fn from(amount: PicoUsd) -> Self {
        Self(amount)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.to_f64())
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Dollars)
    }
}

struct Dollars;

impl Visitor<'_> for Dollars {
    type Value = Usd;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an amount in dollars")
    }

    fn visit_f64<E: Error>(self, dollars: f64) -> Result<Usd, E> {
        Usd::from_f64(dollars).ok_or_else(|| E::custom("not an amount in dollars"))
    }

    fn visit_i64<E: Error>(self, dollars: i64) -> Result<Usd, E> {
        self.visit_str(&dollars.to_string())
    }

    fn visit_u64<E: Error>(self, dollars: u64) -> Result<Usd, E> {
        self.visit_str(&dollars.to_string())
    }

    fn visit_str<E: Error>(self, dollars: &str) -> Result<Usd, E> {
        PicoUsd::parse(dollars).map(Usd).map_err(E::custom)
    }
}

/// Pico-dollars of one dollar.
const PICO: i128 = 1_000_000_000_000;

/// An exact amount as two integer columns: whole dollars, rounded down, and the rest in pico-dollars.
pub(crate) fn split(amount: PicoUsd) -> (i64, i64) {
    let pico = amount.pico();
    let whole = i64::try_from(pico.div_euclid(PICO)).unwrap_or(if pico < 0 { i64::MIN } else { i64::MAX });
    (whole, i64::try_from(pico.rem_euclid(PICO)).unwrap_or_default())
}

/// The amount two integer columns hold.
pub(crate) fn join(usd: i64, pico: i64) -> PicoUsd {
    PicoUsd::from_pico(i128::from(usd).saturating_mul(PICO).saturating_add(i128::from(pico)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_dollars_becomes_the_amount_people_mean() {
        for (json, pico) in
            [("0.1", 100_000_000_000), ("12345.678", 12_345_678_000_000_000), ("1e-12", 1), ("3", 3 * PICO)]
        {
            let amount: Usd = serde_json::from_str(json).unwrap();
            assert_eq!(amount.0.pico(), pico, "{json}");
            assert_eq!(serde_json::to_string(&amount).unwrap().parse::<f64>(), json.parse::<f64>(), "{json}");
        }
    }

    #[test]
    fn two_integers_hold_any_amount() {
        for pico in [0, 1, -1, PICO, -PICO - 1, i128::from(i64::MAX) * 1000] {
            let (usd, rest) = split(PicoUsd::from_pico(pico));
            assert!((0..PICO).contains(&i128::from(rest)));
            assert_eq!(join(usd, rest).pico(), pico);
        }
    }
}
