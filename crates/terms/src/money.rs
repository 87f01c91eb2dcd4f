//! Exact money. Nothing here is a float; text is parsed digit by digit.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// US dollars in units of 1e-12. Sums are exact; becomes a JSON number only at the API edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct PicoUsd(i128);

/// A price: US dollars per unit (token, second, image, ...) in units of 1e-18.
///
/// Six digits finer than [`PicoUsd`], so that a price such as 1.25e-13 per token survives until it is
/// multiplied by a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Price(i128);

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAmount {
    /// Not a decimal number, with or without exponent.
    #[error("`{0}` is not a decimal number")]
    NotANumber(String),
    /// Larger than any sum of money this system can hold.
    #[error("`{0}` is out of range")]
    OutOfRange(String),
}

const PICO_DIGITS: i32 = 12;
const PRICE_DIGITS: i32 = 18;
const PRICE_PER_PICO: i128 = 1_000_000;

impl PicoUsd {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// An amount given in pico-dollars (1e-12 USD).
    pub const fn from_pico(pico: i128) -> Self {
        Self(pico)
    }

    /// The amount in pico-dollars (1e-12 USD).
    pub const fn pico(self) -> i128 {
        self.0
    }

    /// Reads decimal text in dollars, e.g. `0.25`, `1e-6`; digits beyond 1e-12 are rounded half to even.
    pub fn parse(text: &str) -> Result<Self, BadAmount> {
        decimal(text, PICO_DIGITS).map(Self)
    }

    /// The nearest double, for JSON numbers at the API edge only.
    pub fn to_f64(self) -> f64 {
        /// Whole numbers up to here are doubles.
        const EXACT: u64 = 1 << 53;
        match i64::try_from(self.0) {
            // Two exact doubles give the nearest one when divided, as does parsing the exact decimal text.
            Ok(pico) if pico.unsigned_abs() <= EXACT => pico as f64 / 1e12,
            _ => self.text().as_str().parse().unwrap_or(f64::NAN),
        }
    }

    /// Plain decimal dollars without exponent or trailing zeros, e.g. `0.000015`, without an allocation.
    pub fn text(self) -> DecimalText {
        DecimalText::of(self.0, PICO_DIGITS.unsigned_abs())
    }

    /// Multiplies by the exact ratio `numerator / denominator`, rounding half to even. A zero
    /// denominator leaves the amount unchanged.
    pub fn scaled(self, numerator: i128, denominator: i128) -> Self {
        if denominator == 0 {
            return self;
        }
        Self(div_half_even(self.0.saturating_mul(numerator), denominator))
    }
}

impl Price {
    /// Free of charge.
    pub const ZERO: Self = Self(0);

    /// Reads decimal text in dollars per unit, e.g. `1.5e-07`; digits beyond 1e-18 are rounded half to even.
    pub fn parse(text: &str) -> Result<Self, BadAmount> {
        decimal(text, PRICE_DIGITS).map(Self)
    }

    /// A price given in 1e-18 USD per unit.
    pub const fn from_atto(atto: i128) -> Self {
        Self(atto)
    }

    /// The price in 1e-18 USD per unit.
    pub const fn atto(self) -> i128 {
        self.0
    }

    /// The cost of `units`, still in price resolution so that parts can be summed before rounding once.
    pub fn times(self, units: u64) -> Self {
        Self(self.0.saturating_mul(i128::from(units)))
    }

    /// Multiplies by the exact ratio `numerator / denominator`, rounding half to even.
    pub fn scaled(self, numerator: i128, denominator: i128) -> Self {
        if denominator == 0 {
            return self;
        }
        Self(div_half_even(self.0.saturating_mul(numerator), denominator))
    }

    /// Rounds to whole pico-dollars, half to even.
    pub fn to_pico(self) -> PicoUsd {
        if self.0 == 0 {
            return PicoUsd::ZERO;
        }
        PicoUsd(div_half_even(self.0, PRICE_PER_PICO))
    }

    /// The nearest double, for JSON numbers at the API edge only.
    pub fn to_f64(self) -> f64 {
        self.text().as_str().parse().unwrap_or(f64::NAN)
    }

    /// Plain decimal dollars, as [`PicoUsd::text`].
    pub fn text(self) -> DecimalText {
        DecimalText::of(self.0, PRICE_DIGITS.unsigned_abs())
    }
}

fn div_half_even(value: i128, by: i128) -> i128 {
    // Almost all amounts are short, and long division is slow.
    if let (Ok(value), Ok(by)) = (i64::try_from(value), i64::try_from(by))
        && value != i64::MIN
    {
        let (quotient, rest) = (value / by, value % by);
        let away = if (value < 0) == (by < 0) { 1 } else { -1 };
        let (twice, whole) = (u128::from(rest.unsigned_abs()) * 2, u128::from(by.unsigned_abs()));
        let step = twice > whole || (twice == whole && quotient % 2 != 0);
        return i128::from(quotient) + if step { away } else { 0 };
    }
    let (quotient, rest) = (value / by, value % by);
    let twice = rest.unsigned_abs().saturating_mul(2);
    let away = if (value < 0) == (by < 0) { 1 } else { -1 };
    match twice.cmp(&by.unsigned_abs()) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + away,
        std::cmp::Ordering::Equal => quotient + if quotient % 2 == 0 { 0 } else { away },
    }
}

/// Parses `[-]digits[.digits][e[+-]digits]` into an integer scaled by `10^scale`.
fn decimal(text: &str, scale: i32) -> Result<i128, BadAmount> {
    let bad = || BadAmount::NotANumber(text.to_owned());
    let huge = || BadAmount::OutOfRange(text.to_owned());
    let trimmed = text.trim();
    let (negative, unsigned) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| bad())?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(bad());
    }
    let mut value: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        if !digit.is_ascii_digit() {
            return Err(bad());
        }
        value =
            value.checked_mul(10).and_then(|v| v.checked_add(i128::from(digit - b'0'))).ok_or_else(huge)?;
    }
    let fraction_digits = i32::try_from(fraction.len()).map_err(|_| huge())?;
    let shift = scale.saturating_add(exponent).saturating_sub(fraction_digits);
    let magnitude = if value == 0 {
        0
    } else if shift >= 0 {
        10i128
            .checked_pow(shift.unsigned_abs())
            .and_then(|factor| value.checked_mul(factor))
            .ok_or_else(huge)?
    } else {
        10i128.checked_pow(shift.unsigned_abs()).map_or(0, |factor| div_half_even(value, factor))
    };
    Ok(if negative { -magnitude } else { magnitude })
}

/// An amount as decimal text.
#[derive(Debug, Clone, Copy)]
pub struct DecimalText {
    bytes: [u8; Self::MOST],
    start: usize,
    end: usize,
}

impl DecimalText {
    /// Sign, 39 digits of an `i128`, point, and the zero before it.
    const MOST: usize = 42;

    /// `value / 10^digits`, exactly, for at most 18 digits. Written from its end to its beginning.
    fn of(value: i128, digits: u32) -> Self {
        let mut text = Self { bytes: [0; Self::MOST], start: Self::MOST, end: Self::MOST };
        let left = value.unsigned_abs();
        match u64::try_from(left) {
            Ok(short) => text.short(short, digits),
            Err(_) => text.long(left, digits as usize),
        }
        if value < 0 {
            text.push(b'-');
        }
        text
    }

    /// Almost all amounts are short, and long division is slow.
    fn short(&mut self, left: u64, digits: u32) {
        let one = 10_u64.pow(digits);
        let (mut whole, mut fraction) = (left / one, left % one);
        if fraction > 0 {
            let mut places = digits;
            // Zeros at the end of a fraction say nothing.
            while fraction.is_multiple_of(10) {
                fraction /= 10;
                places -= 1;
            }
            for _ in 0..places {
                self.push(b'0' + (fraction % 10) as u8);
                fraction /= 10;
            }
            self.push(b'.');
        }
        loop {
            self.push(b'0' + (whole % 10) as u8);
            whole /= 10;
            if whole == 0 {
                return;
            }
        }
    }

    fn long(&mut self, mut left: u128, digits: usize) {
        let mut place = 0;
        while place <= digits || left > 0 {
            let digit = (left % 10) as u8;
            left /= 10;
            if place == digits && self.end > self.start {
                self.push(b'.');
            }
            if place >= digits || digit != 0 || self.end > self.start {
                self.push(b'0' + digit);
            }
            place += 1;
        }
    }

    fn push(&mut self, byte: u8) {
        self.start -= 1;
        self.bytes[self.start] = byte;
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.start..self.end]).unwrap_or_default()
    }
}

impl fmt::Display for PicoUsd {
    /// Plain decimal dollars without exponent or trailing zeros, e.g. `0.000015`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.text().as_str())
    }
}

impl fmt::Display for Price {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.text().as_str())
    }
}

impl Add for PicoUsd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for PicoUsd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for PicoUsd {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for PicoUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl Add for Price {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Price {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Price {
    fn sum<I: Iterator<Item = Self>>(prices: I) -> Self {
        prices.fold(Self::ZERO, Add::add)
    }
}

impl Serialize for PicoUsd {
    /// As decimal text, so that no reader rounds it by accident; where only programs read, as whole pico-dollars if
    /// 64 bits hold them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(self.0) {
            Ok(pico) if !serializer.is_human_readable() => serializer.serialize_i64(pico),
            _ => serializer.serialize_str(self.text().as_str()),
        }
    }
}

impl<'de> Deserialize<'de> for PicoUsd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return deserializer.deserialize_any(Amount);
        }
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Reads what only programs read: whole pico-dollars, or text in dollars.
struct Amount;

impl Visitor<'_> for Amount {
    type Value = PicoUsd;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an amount: pico-dollars, or US dollars as text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PicoUsd, E> {
        PicoUsd::parse(text).map_err(E::custom)
    }

    fn visit_i64<E>(self, pico: i64) -> Result<PicoUsd, E> {
        Ok(PicoUsd(pico.into()))
    }

    fn visit_u64<E>(self, pico: u64) -> Result<PicoUsd, E> {
        Ok(PicoUsd(pico.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prices_are_read_to_the_last_digit() {
        for (text, atto) in [
            ("1.5e-07", 150_000_000_000),
            ("0.00000015", 150_000_000_000),
            ("1e-18", 1),
            ("0", 0),
            ("0.0", 0),
            ("3", 3_000_000_000_000_000_000),
            ("-2.5E-6", -2_500_000_000_000),
            ("1.25e-13", 125_000),
        ] {
            assert_eq!(Price::parse(text), Ok(Price(atto)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_refused_with_its_text() {
        for text in ["", "abc", "1.2.3", "0x10", "1e", "--1", "."] {
            assert!(matches!(PicoUsd::parse(text), Err(BadAmount::NotANumber(t)) if t == text), "{text}");
        }
        assert!(matches!(PicoUsd::parse("1e40"), Err(BadAmount::OutOfRange(_))));
    }

    #[test]
    fn rounding_is_half_to_even_and_happens_once() {
        assert_eq!(Price(1_500_000).to_pico(), PicoUsd(2));
        assert_eq!(Price(2_500_000).to_pico(), PicoUsd(2));
        assert_eq!(Price(-1_500_000).to_pico(), PicoUsd(-2));
        assert_eq!((Price(500_000).times(3)).to_pico(), PicoUsd(2));
        assert_eq!(PicoUsd(10).scaled(1, 4), PicoUsd(2));
    }

    #[test]
    fn amounts_are_written_plainly_whatever_their_size() {
        for (pico, text) in [
            (0, "0"),
            (1, "0.000000000001"),
            (-15_000_000, "-0.000015"),
            (10_000_000_000_000, "10"),
            (1_234_500_000_000, "1.2345"),
            (i128::MAX, "170141183460469231731687303.715884105727"),
            (i128::MIN, "-170141183460469231731687303.715884105728"),
        ] {
            assert_eq!(PicoUsd(pico).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn short_and_long_division_round_alike(value in -1_000_000i64..1_000_000, by in 1i64..1_000) {
            // The same ratio, once within 64 bits and once beyond them.
            let far = i128::from(i64::MAX);
            let (value, by) = (i128::from(value), i128::from(by));
            prop_assert_eq!(div_half_even(value, by), div_half_even(value * far, by * far));
        }

        #[test]
        fn text_and_amount_round_trip(pico in -1_000_000_000_000_000_000i128..1_000_000_000_000_000_000) {
            prop_assert_eq!(PicoUsd::parse(&PicoUsd(pico).to_string()), Ok(PicoUsd(pico)));
        }
    }
}
