//! Wall-clock moments, as databases and logs hold them.

use std::fmt;

use jiff::{Timestamp, civil, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in UTC, to the millisecond: what a `timestamp(3)` column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UtcMillis(i64);

/// A text that names no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a date and time; write for example 2026-01-31T12:00:00Z")]
pub struct BadTime(String);

impl UtcMillis {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This much later; saturates.
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Reads `2026-01-31`, `2026-01-31 12:00:00.123` (UTC) or RFC 3339 with any offset.
    pub fn parse(text: &str) -> Result<Self, BadTime> {
        let trimmed = text.trim();
        let moment = trimmed.parse::<Timestamp>().ok().or_else(|| {
            let local = trimmed.parse::<civil::DateTime>().ok();
            let local = local.or_else(|| trimmed.parse::<civil::Date>().ok().map(civil::DateTime::from));
            local.and_then(|local| local.to_zoned(TimeZone::UTC).ok()).map(|zoned| zoned.timestamp())
        });
        moment.map(|moment| Self(moment.as_millisecond())).ok_or_else(|| BadTime(text.to_owned()))
    }

    /// The calendar day in UTC, `2026-01-31`.
    pub fn day(self) -> String {
        self.text(b' ').as_str().get(..10).unwrap_or_default().to_owned()
    }

    /// As SQL writes it: `2026-01-31 12:00:00.123`. Texts of this form sort by time.
    pub fn sql(self) -> String {
        self.text(b' ').as_str().to_owned()
    }

    /// `2026-01-31`, the separator, `12:00:00.123`. Every row has several: written digit by digit.
    fn text(self, separator: u8) -> Text {
        let civil = self.civil();
        let mut text = Text { bytes: *b"0000-00-00 00:00:00.000", at: 0 };
        // Nobody was served before the year 0, which is where a clock that fails ends up at worst.
        text.digits(civil.year().unsigned_abs(), 4);
        text.digits(civil.month().unsigned_abs().into(), 2);
        text.digits(civil.day().unsigned_abs().into(), 2);
        text.bytes[10] = separator;
        text.digits(civil.hour().unsigned_abs().into(), 2);
        text.digits(civil.minute().unsigned_abs().into(), 2);
        text.digits(civil.second().unsigned_abs().into(), 2);
        text.digits(civil.millisecond().unsigned_abs(), 3);
        text
    }

    fn civil(self) -> civil::DateTime {
        Timestamp::from_millisecond(self.0).unwrap_or_default().to_zoned(TimeZone::UTC).datetime()
    }
}

/// A moment being written.
struct Text {
    bytes: [u8; 23],
    at: usize,
}

impl Text {
    /// Writes `value` with `width` digits, and passes over what separates them from the next.
    fn digits(&mut self, value: u16, width: usize) {
        let mut left = value;
        for place in (self.at..self.at + width).rev() {
            self.bytes[place] = b'0' + (left % 10) as u8;
            left /= 10;
        }
        self.at += width + 1;
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }
}

impl From<Timestamp> for UtcMillis {
    fn from(moment: Timestamp) -> Self {
        Self(moment.as_millisecond())
    }
}

impl fmt::Display for UtcMillis {
    /// RFC 3339 with milliseconds: `2026-01-31T12:00:00.123Z`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.text(b'T').as_str())?;
        out.write_str("Z")
    }
}

impl Serialize for UtcMillis {
    /// RFC 3339; where only programs read, as milliseconds.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for UtcMillis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return i64::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_what_it_writes_and_what_people_write() {
        let moment = UtcMillis::from_millis(1_769_860_800_123);
        assert_eq!(moment.sql(), "2026-01-31 12:00:00.123");
        assert_eq!(moment.to_string(), "2026-01-31T12:00:00.123Z");
        assert_eq!(moment.day(), "2026-01-31");
        for text in ["2026-01-31 12:00:00.123", "2026-01-31T12:00:00.123Z", "2026-01-31T14:00:00.123+02:00"] {
            assert_eq!(UtcMillis::parse(text), Ok(moment), "{text}");
        }
        assert_eq!(UtcMillis::parse("2026-01-31").unwrap().sql(), "2026-01-31 00:00:00.000");
        assert!(UtcMillis::parse("soon").is_err());
    }
}
