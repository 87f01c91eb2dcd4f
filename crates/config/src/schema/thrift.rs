//! `router_settings.retry_budget`, `.hedging` and `.stream_guard`: which calls requests may make beyond one.

use std::collections::BTreeMap;
use std::time::Duration;

use faregate_terms::ModelGroup;

use crate::fields::Fields;

/// `router_settings.retry_budget`: how many retries the requests of a group may make together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RetryBudgetSettings {
    /// False for as many as each request may.
    pub enabled: Option<bool>,
    /// Retries for each request.
    pub ratio: Option<f64>,
    /// Retries per second that are always allowed.
    pub least_per_second: Option<f64>,
}

impl RetryBudgetSettings {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            enabled: fields.flag("enabled"),
            ratio: fields.amount("ratio"),
            least_per_second: fields.amount("min_per_second"),
        }
    }
}

/// How long the first call of a hedged request is waited for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HedgeAfter {
    /// As long as this percentage of the group's requests takes.
    Percentile(f64),
    /// This long.
    Time(Duration),
}

/// One entry of `router_settings.hedging`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HedgeSettings {
    /// How long the first call is waited for.
    pub after: HedgeAfter,
    /// Spend on calls that lose, as a part of the spend on answers.
    pub max_extra_spend: Option<f64>,
}

/// One entry of `router_settings.stream_guard`: how a stream must begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreamGuardSettings {
    /// So many tokens must come.
    pub tokens: Option<u64>,
    /// In this time, after the first one.
    pub within: Option<Duration>,
}

/// `router_settings.stream_guard`, by group.
pub(super) fn stream_guard(fields: &mut Fields<'_>) -> BTreeMap<ModelGroup, StreamGuardSettings> {
    let Some(mut groups) = fields.child("stream_guard") else { return BTreeMap::new() };
    let mut read = BTreeMap::new();
    for entry in groups.entries() {
        let Some(mut group) = groups.child(&entry.key) else { continue };
        let guard = StreamGuardSettings { tokens: group.count("tokens"), within: group.seconds("within") };
        read.insert(ModelGroup::from(entry.key.as_str()), guard);
    }
    read
}

/// `router_settings.hedging`, by group.
pub(super) fn hedging(fields: &mut Fields<'_>) -> BTreeMap<ModelGroup, HedgeSettings> {
    let Some(mut groups) = fields.child("hedging") else { return BTreeMap::new() };
    let entries = groups.entries();
    let mut read = BTreeMap::new();
    for entry in entries {
        let Some(mut group) = groups.child(&entry.key) else { continue };
        let max_extra_spend = group.amount("max_extra_spend");
        let after = match group.get("after") {
            None => Some(HedgeAfter::Percentile(95.0)),
            Some(_) => after(&mut group),
        };
        if let Some(after) = after {
            read.insert(ModelGroup::from(entry.key.as_str()), HedgeSettings { after, max_extra_spend });
        }
    }
    read
}

/// `p95`, or a number of seconds.
fn after(group: &mut Fields<'_>) -> Option<HedgeAfter> {
    let node = group.get("after")?;
    let text = node.scalar_text().unwrap_or_default();
    if let Some(percentile) = text.strip_prefix('p').and_then(|number| number.parse::<f64>().ok())
        && percentile > 0.0
        && percentile < 100.0
    {
        return Some(HedgeAfter::Percentile(percentile));
    }
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    if seconds.is_none() {
        group.error("after", node, "expected a percentile such as `p95`, or a number of seconds");
    }
    seconds.map(HedgeAfter::Time)
}
