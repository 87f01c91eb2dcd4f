//! Prices that depend on prompt size as a list of tiers, or on the time of day.

use faregate_terms::Price;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::kind::{PriceKey, PriceKind, ServiceTier};
use super::members::Members;
use super::{BadPrice, number};

/// One row of `tiered_pricing`: the prices of requests whose size lies in a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceTier {
    /// What the range counts.
    pub by: TierBasis,
    /// The size must be larger than this.
    pub over: u64,
    /// The size may be at most this.
    pub up_to: u64,
    /// The prices, by kind.
    pub prices: Vec<(PriceKind, Price)>,
}

/// What selects a row of `tiered_pricing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TierBasis {
    /// Prompt tokens (`range`).
    PromptTokens,
    /// Results asked of a search (`max_results_range`).
    SearchResults,
}

impl PriceTier {
    pub(crate) fn price(&self, kind: PriceKind) -> Option<Price> {
        self.prices.iter().find(|(known, _)| *known == kind).map(|(_, price)| *price)
    }
}

/// `off_peak_pricing`: prices that replace the usual ones inside weekly windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffPeak {
    windows: Vec<Window>,
    /// Seconds east of UTC of the zone in which weekdays are counted.
    weekday_offset: i64,
    /// The prices inside the windows, by kind.
    pub prices: Vec<(PriceKind, Price)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    /// (start, end) in minutes after midnight UTC; start inclusive, end exclusive.
    hours: Vec<(u32, u32)>,
    /// 1 = Monday; empty = every day.
    weekdays: Vec<u8>,
}

const DAY: i64 = 86_400;

impl OffPeak {
    /// True when the moment (seconds since 1970 UTC) lies in a window.
    pub fn covers(&self, unix_seconds: i64) -> bool {
        let minute = unix_seconds.rem_euclid(DAY) / 60;
        let day = (unix_seconds + self.weekday_offset).div_euclid(DAY);
        // 1970-01-01 was a Thursday, day 4 when Monday is 1.
        let weekday = (day + 3).rem_euclid(7) + 1;
        self.windows.iter().any(|window| {
            let on_day =
                window.weekdays.is_empty() || window.weekdays.iter().any(|d| i64::from(*d) == weekday);
            on_day && window.hours.iter().any(|span| within(*span, minute))
        })
    }

    pub(crate) fn price(&self, kind: PriceKind) -> Option<Price> {
        self.prices.iter().find(|(known, _)| *known == kind).map(|(_, price)| *price)
    }
}

/// Equal ends mean the whole day; an end before the start wraps midnight.
fn within((start, end): (u32, u32), minute: i64) -> bool {
    let (start, end) = (i64::from(start), i64::from(end));
    match start.cmp(&end) {
        std::cmp::Ordering::Equal => true,
        std::cmp::Ordering::Less => minute >= start && minute < end,
        std::cmp::Ordering::Greater => minute >= start || minute < end,
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct WindowText {
    hours_utc: OneOrMany,
    #[serde(default)]
    weekdays: Vec<u8>,
}

pub(super) fn read_tiers(raw: &RawValue) -> Result<Vec<PriceTier>, BadPrice> {
    let rows: Vec<Members<'_>> = structure("tiered_pricing", raw)?;
    rows.into_iter().map(|row| read_tier(&row)).collect()
}

fn read_tier(row: &Members<'_>) -> Result<PriceTier, BadPrice> {
    let mut tier =
        PriceTier { by: TierBasis::PromptTokens, over: 0, up_to: u64::MAX, prices: Vec::with_capacity(3) };
    for (field, raw) in row.iter() {
        match field {
            "range" | "max_results_range" => {
                let ends: Vec<&RawValue> = structure("tiered_pricing", raw)?;
                let [low, high] = ends[..] else {
                    return Err(BadPrice::shape("tiered_pricing", "a range has two ends"));
                };
                tier.over = whole(low)?;
                tier.up_to = whole(high)?;
                if field == "max_results_range" {
                    tier.by = TierBasis::SearchResults;
                }
            }
            _ => push_flat(&mut tier.prices, field, raw)?,
        }
    }
    Ok(tier)
}

pub(super) fn read_off_peak(raw: &RawValue) -> Result<OffPeak, BadPrice> {
    let row: Members<'_> = structure("off_peak_pricing", raw)?;
    let mut out = OffPeak { windows: Vec::new(), weekday_offset: 0, prices: Vec::with_capacity(3) };
    let mut flat = None;
    for (field, raw) in row.iter() {
        match field {
            "windows" => {
                let windows: Vec<WindowText> = structure("off_peak_pricing", raw)?;
                for window in windows {
                    out.windows.push(read_window(window.hours_utc, window.weekdays)?);
                }
            }
            "hours_utc" => flat = Some(structure::<OneOrMany>("off_peak_pricing", raw)?),
            "weekday_timezone" => out.weekday_offset = offset(structure("off_peak_pricing", raw)?)?,
            _ => push_flat(&mut out.prices, field, raw)?,
        }
    }
    if let Some(hours) = flat {
        out.windows.push(read_window(hours, Vec::new())?);
    }
    Ok(out)
}

fn read_window(hours: OneOrMany, weekdays: Vec<u8>) -> Result<Window, BadPrice> {
    let texts = match hours {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    };
    let hours = texts.iter().map(|text| span(text)).collect::<Option<Vec<_>>>();
    let hours = hours.ok_or_else(|| BadPrice::shape("off_peak_pricing", "hours are written HH:MM-HH:MM"))?;
    Ok(Window { hours, weekdays })
}

fn span(text: &str) -> Option<(u32, u32)> {
    let (start, end) = text.split_once('-')?;
    Some((minutes(start)?, minutes(end)?))
}

fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 24 && minutes < 60).then_some((hours * 60 + minutes) % 1440)
}

/// Zones without daylight saving only, so that no time-zone data is needed here.
fn offset(zone: &str) -> Result<i64, BadPrice> {
    match zone {
        "UTC" | "Etc/UTC" => Ok(0),
        "Asia/Shanghai" | "Asia/Hong_Kong" | "Asia/Singapore" => Ok(8 * 3600),
        "Asia/Tokyo" | "Asia/Seoul" => Ok(9 * 3600),
        _ => Err(BadPrice::shape("weekday_timezone", "only zones without daylight saving are known")),
    }
}

fn push_flat(prices: &mut Vec<(PriceKind, Price)>, field: &str, raw: &RawValue) -> Result<(), BadPrice> {
    match PriceKey::parse(field) {
        Some(PriceKey { kind, above_k: 0, tier: ServiceTier::Standard }) => {
            prices.push((kind, number(field, raw)?));
            Ok(())
        }
        // Fields that are no prices (labels, comments) may stand beside them.
        _ => Ok(()),
    }
}

fn whole(raw: &RawValue) -> Result<u64, BadPrice> {
    // Ends are written as floats (256000.0); read as exact decimals.
    let price = number("tiered_pricing", raw)?;
    u64::try_from(price.atto() / 1_000_000_000_000_000_000)
        .map_err(|_| BadPrice::shape("tiered_pricing", "a range end is out of range"))
}

fn structure<'a, T: Deserialize<'a>>(field: &str, raw: &'a RawValue) -> Result<T, BadPrice> {
    serde_json::from_str(raw.get()).map_err(|error| BadPrice::shape(field, &error.to_string()))
}
