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
        self.civil().date().to_string()
    }

    /// As SQL writes it: `2026-01-31 12:00:00.123`. Texts of this form sort by time.
    pub fn sql(self) -> String {
        let civil = self.civil();
        format!(
            "{} {:02}:{:02}:{:02}.{:03}",
            civil.date(),
            civil.hour(),
            civil.minute(),
            civil.second(),
            civil.millisecond()
        )
    }

    fn civil(self) -> civil::DateTime {
        Timestamp::from_millisecond(self.0).unwrap_or_default().to_zoned(TimeZone::UTC).datetime()
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
        write!(out, "{}Z", self.sql().replacen(' ', "T", 1))
    }
}

impl Serialize for UtcMillis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UtcMillis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
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
