//! When budgets start again: durations, and their calendar.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

/// How often a budget starts again: `30s`, `30m`, `12h`, `1d`, `7d`, `2w`, `30d`, `1mo`, or one of the
/// words `hourly`, `daily`, `weekly`, `monthly`.
///
/// Source: compat, behaviour §11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BudgetDuration {
    count: u32,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Month,
}

/// Why a text is not a budget duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDuration {
    /// Not a positive whole number and a unit.
    #[error("`{0}` is not a duration; write a positive number and s, m, h, d, w or mo, e.g. `30d`")]
    Unreadable(String),
    /// More than one month.
    #[error("`{0}` is not supported: a budget can last one month (`1mo`), or a number of days")]
    Months(String),
    /// Longer than any calendar.
    #[error("`{0}` is too long; the longest duration is 36500 days")]
    TooLong(String),
}

const LONGEST_DAYS: u32 = 36_500;

impl FromStr for BudgetDuration {
    type Err = BadDuration;

    fn from_str(text: &str) -> Result<Self, BadDuration> {
        let short = match text.trim() {
            "hourly" => "1h",
            "daily" => "24h",
            "weekly" => "7d",
            "monthly" => "30d",
            other => other,
        };
        let unreadable = || BadDuration::Unreadable(text.to_owned());
        let digits = short.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = short.split_at(digits);
        let number: u32 = number.parse().map_err(|_| unreadable())?;
        let (count, unit, per_day) = match unit {
            "s" => (Some(number), Unit::Second, 86_400),
            "m" => (Some(number), Unit::Minute, 1_440),
            "h" => (Some(number), Unit::Hour, 24),
            "d" => (Some(number), Unit::Day, 1),
            "w" => (number.checked_mul(7), Unit::Day, 1),
            "mo" if number > 1 => return Err(BadDuration::Months(text.to_owned())),
            "mo" => (Some(number), Unit::Month, 1),
            _ => return Err(unreadable()),
        };
        match count {
            Some(0) => Err(unreadable()),
            Some(count) if count / per_day <= LONGEST_DAYS => Ok(Self { count, unit }),
            _ => Err(BadDuration::TooLong(text.to_owned())),
        }
    }
}

impl BudgetDuration {
    /// True if the calendar itself says where such periods lie: parts of a minute, an hour and a day, days, weeks and
    /// months.
    fn divides(self) -> bool {
        match self.unit {
            Unit::Second | Unit::Minute => 60 % self.count == 0,
            Unit::Hour => 24 % self.count == 0,
            Unit::Day => matches!(self.count, 1 | 7 | 30),
            Unit::Month => true,
        }
    }
}

impl fmt::Display for BudgetDuration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => "s",
            Unit::Minute => "m",
            Unit::Hour => "h",
            Unit::Day => "d",
            Unit::Month => "mo",
        };
        write!(out, "{}{unit}", self.count)
    }
}

/// From where periods are counted that do not divide the calendar, as `3d` or `45m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Anchor {
    /// From the day, hour or minute of the time that is asked about, as LiteLLM does: whoever asks keeps the answer.
    #[default]
    Asked,
    /// From one point for all, Monday, 1970-01-05: everybody gets the same answer at any time of a period.
    Fixed,
}

/// A duration placed on a calendar.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// How often.
    pub duration: BudgetDuration,
    /// `litellm_settings.timezone`; UTC unless set.
    pub zone: TimeZone,
    /// `litellm_settings.budget_reset_time`, for durations of days, weeks and months; midnight unless set.
    pub at: Time,
    /// Where the periods lie that the calendar does not say.
    pub anchor: Anchor,
}

/// A Monday.
const FIRST_DAY: Date = Date::constant(1970, 1, 5);

impl Schedule {
    /// A schedule in UTC that resets at midnight.
    pub fn utc(duration: BudgetDuration) -> Self {
        Self { duration, zone: TimeZone::UTC, at: Time::midnight(), anchor: Anchor::Asked }
    }

    /// The first reset after `now`: always later than `now`, aligned as in compat, behaviour §11.
    pub fn next(&self, now: Timestamp) -> Timestamp {
        let local = now.to_zoned(self.zone.clone());
        let next = match self.duration.unit {
            _ if self.anchor == Anchor::Fixed && !self.duration.divides() => self.next_from_first_day(&local),
            Unit::Second => self.next_second(&local),
            Unit::Minute => self.next_minute(&local),
            Unit::Hour => self.next_hour(&local),
            Unit::Day => self.next_day(&local),
            Unit::Month => self.next_month(&local),
        };
        // Only at the end of the calendar, or where a clock change swallowed the aligned time.
        match next {
            Some(next) if next > now => next,
            _ => now.checked_add(1.hour()).unwrap_or(Timestamp::MAX),
        }
    }

    fn count(&self) -> i64 {
        i64::from(self.duration.count)
    }

    fn next_second(&self, local: &Zoned) -> Option<Timestamp> {
        let base = Timestamp::from_second(local.timestamp().as_second() - i64::from(local.second())).ok()?;
        base.checked_add(multiple(local.second(), self.count()).seconds()).ok()
    }

    fn next_minute(&self, local: &Zoned) -> Option<Timestamp> {
        let into_hour = i64::from(local.minute()) * 60 + i64::from(local.second());
        let base = Timestamp::from_second(local.timestamp().as_second() - into_hour).ok()?;
        base.checked_add(multiple(local.minute(), self.count()).minutes()).ok()
    }

    fn next_hour(&self, local: &Zoned) -> Option<Timestamp> {
        let hour = multiple(local.hour(), self.count());
        let date = if hour >= 24 { local.date().tomorrow().ok()? } else { local.date() };
        let hour = i8::try_from(hour % 24).ok()?;
        self.zoned(date.at(hour, 0, 0, 0))
    }

    fn next_day(&self, local: &Zoned) -> Option<Timestamp> {
        let (today, passed) = (local.date(), local.time() >= self.at);
        let date = match self.duration.count {
            1 if !passed => today,
            1 => today.tomorrow().ok()?,
            7 if today.weekday() == Weekday::Monday && !passed => today,
            7 => today.nth_weekday(1, Weekday::Monday).ok()?,
            30 => return self.next_month(local),
            days => today.checked_add(i64::from(days).days()).ok()?,
        };
        self.zoned(date.to_datetime(self.at))
    }

    fn next_month(&self, local: &Zoned) -> Option<Timestamp> {
        let first = local.date().first_of_month();
        let waits = first == local.date() && local.time() < self.at;
        let date = if waits { first } else { first.checked_add(1.month()).ok()? };
        self.zoned(date.to_datetime(self.at))
    }

    fn next_from_first_day(&self, local: &Zoned) -> Option<Timestamp> {
        let unit = match self.duration.unit {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3_600,
            Unit::Day | Unit::Month => {
                let passed = local.time() >= self.at;
                let day = if passed { local.date() } else { local.date().yesterday().ok()? };
                let days = i64::from(day.since((jiff::Unit::Day, FIRST_DAY)).ok()?.get_days());
                let end = (days.div_euclid(self.count()) + 1) * self.count();
                return self.zoned(FIRST_DAY.checked_add(end.days()).ok()?.to_datetime(self.at));
            }
        };
        let first =
            FIRST_DAY.to_datetime(Time::midnight()).to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
        let length = self.count() * unit;
        let end = ((local.timestamp().as_second() - first).div_euclid(length) + 1) * length;
        Timestamp::from_second(first + end).ok()
    }

    fn zoned(&self, time: jiff::civil::DateTime) -> Option<Timestamp> {
        time.to_zoned(self.zone.clone()).ok().map(|zoned| zoned.timestamp())
    }
}

/// The first multiple of `step` above `current`.
fn multiple(current: i8, step: i64) -> i64 {
    (i64::from(current) / step + 1) * step
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn next(duration: &str, now: &str) -> String {
        Schedule::utc(duration.parse().unwrap()).next(now.parse().unwrap()).to_string()
    }

    #[test]
    fn budgets_start_again_on_the_calendar() {
        // 2026-11-21 is a Saturday.
        let now = "2026-11-21T10:20:40Z";
        for (duration, expected) in [
            ("1d", "2026-11-22T00:00:00Z"),
            ("daily", "2026-11-22T00:00:00Z"),
            ("24h", "2026-11-22T00:00:00Z"),
            ("7d", "2026-11-23T00:00:00Z"),
            ("1w", "2026-11-23T00:00:00Z"),
            ("weekly", "2026-11-23T00:00:00Z"),
            ("30d", "2026-12-01T00:00:00Z"),
            ("1mo", "2026-12-01T00:00:00Z"),
            ("monthly", "2026-12-01T00:00:00Z"),
            ("3d", "2026-11-24T00:00:00Z"),
            ("2w", "2026-12-05T00:00:00Z"),
            ("hourly", "2026-11-21T11:00:00Z"),
            ("4h", "2026-11-21T12:00:00Z"),
            ("15h", "2026-11-21T15:00:00Z"),
            ("30m", "2026-11-21T10:30:00Z"),
            ("90m", "2026-11-21T11:30:00Z"),
            ("30s", "2026-11-21T10:21:00Z"),
            ("45s", "2026-11-21T10:20:45Z"),
        ] {
            assert_eq!(next(duration, now), expected, "{duration}");
        }
        assert_eq!(next("5h", "2026-11-21T22:30:00Z"), "2026-11-22T01:00:00Z", "crossing midnight wraps");
        assert_eq!(next("7d", "2026-11-23T00:00:00Z"), "2026-11-30T00:00:00Z", "a Monday waits for the next");
        assert_eq!(next("1mo", "2026-12-01T00:00:00Z"), "2027-01-01T00:00:00Z");
    }

    #[test]
    fn zone_and_time_of_day_are_honoured() {
        let schedule = Schedule {
            duration: "1d".parse().unwrap(),
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            at: Time::constant(6, 30, 0, 0),
            anchor: Anchor::Asked,
        };
        let next = |now: &str| schedule.next(now.parse().unwrap()).to_string();
        assert_eq!(next("2026-07-01T03:00:00Z"), "2026-07-01T04:30:00Z");
        assert_eq!(next("2026-07-01T04:30:00Z"), "2026-07-02T04:30:00Z");
        assert_eq!(next("2026-12-01T12:00:00Z"), "2026-12-02T05:30:00Z");
        // The clocks go back on 2026-10-25 at 01:00Z; the reset stays at 06:30 local time.
        assert_eq!(next("2026-10-24T12:00:00Z"), "2026-10-25T05:30:00Z");
    }

    #[test]
    fn what_is_no_duration_is_refused_with_its_text() {
        for text in ["", "30", "d", "-1d", "0d", "1.5h", "1y", "99999999999s", "1 d"] {
            assert!(
                matches!(text.parse::<BudgetDuration>(), Err(BadDuration::Unreadable(t)) if t == text),
                "{text}"
            );
        }
        assert!(matches!("2mo".parse::<BudgetDuration>(), Err(BadDuration::Months(_))));
        assert!(matches!("999999999w".parse::<BudgetDuration>(), Err(BadDuration::TooLong(_))));
        assert!(matches!("40000d".parse::<BudgetDuration>(), Err(BadDuration::TooLong(_))));
    }

    #[test]
    fn periods_from_the_first_day_are_the_same_for_whoever_asks() {
        let next = |duration: &str, now: &str| {
            let schedule = Schedule { anchor: Anchor::Fixed, ..Schedule::utc(duration.parse().unwrap()) };
            schedule.next(now.parse().unwrap()).to_string()
        };
        // 2026-11-16 is a Monday, 20,769 days after the first one.
        for (duration, from, to, end) in [
            ("2w", "2026-11-09T00:00:00Z", "2026-11-22T23:59:59Z", "2026-11-23T00:00:00Z"),
            ("3d", "2026-11-19T00:00:00Z", "2026-11-21T23:59:59Z", "2026-11-22T00:00:00Z"),
            ("45m", "2026-11-21T10:30:00Z", "2026-11-21T11:14:59Z", "2026-11-21T11:15:00Z"),
            ("48h", "2026-11-19T00:00:00Z", "2026-11-20T23:59:59Z", "2026-11-21T00:00:00Z"),
            ("1d", "2026-11-21T00:00:00Z", "2026-11-21T23:59:59Z", "2026-11-22T00:00:00Z"),
            ("7d", "2026-11-16T00:00:00Z", "2026-11-22T23:59:59Z", "2026-11-23T00:00:00Z"),
            ("30d", "2026-11-01T00:00:00Z", "2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z"),
        ] {
            assert_eq!(next(duration, from), end, "{duration} from {from}");
            assert_eq!(next(duration, to), end, "{duration} from {to}");
        }
    }

    proptest! {
        /// A period that can be worked out at any time of it has one end, also where clocks change.
        #[test]
        fn any_time_of_a_period_knows_its_end(
            count in 1u32..100,
            unit in prop::sample::select(vec!["s", "m", "h", "d", "w"]),
            second in 1_700_000_000i64..1_900_000_000,
            part in 0f64..1.0,
            zone in prop::sample::select(vec!["UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"]),
        ) {
            let duration: BudgetDuration = format!("{count}{unit}").parse().unwrap();
            let zone = TimeZone::get(zone).unwrap();
            let schedule = Schedule { duration, zone, at: Time::constant(3, 0, 0, 0), anchor: Anchor::Fixed };
            let now = Timestamp::from_second(second).unwrap();
            let end = schedule.next(now);
            let later = second + ((end.as_second() - 1 - second) as f64 * part) as i64;
            prop_assert_eq!(schedule.next(Timestamp::from_second(later).unwrap()), end);
        }

        #[test]
        fn the_next_reset_is_always_ahead(
            count in 1u32..400,
            unit in prop::sample::select(vec!["s", "m", "h", "d", "w"]),
            second in 0i64..4_000_000_000,
            zone in prop::sample::select(vec!["UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"]),
        ) {
            let duration: BudgetDuration = format!("{count}{unit}").parse().unwrap();
            let schedule = Schedule { zone: TimeZone::get(zone).unwrap(), ..Schedule::utc(duration) };
            let now = Timestamp::from_second(second).unwrap();
            prop_assert!(schedule.next(now) > now);
        }
    }
}
