//! The price of each kind of token under the terms of one request.
//!
//! Order of rules (data README §4): tiered pricing if present, else service tier and thresholds; then
//! off-peak; then what is missing falls back to a neighbouring kind.

use faregate_terms::Price;

use crate::price::{OffPeak, PriceKey, PriceKind, PriceTier, Prices, ServiceTier, TierBasis};

pub(super) struct Rates<'a> {
    prices: &'a Prices,
    provider: &'a str,
    tier: ServiceTier,
    prompt: u64,
    row: Option<&'a PriceTier>,
    off_peak: Option<&'a OffPeak>,
}

impl<'a> Rates<'a> {
    pub(super) fn new(
        prices: &'a Prices,
        provider: &'a str,
        tier: ServiceTier,
        prompt: u64,
        unix_seconds: i64,
    ) -> Self {
        Self {
            prices,
            provider,
            tier,
            prompt,
            row: tier_row(&prices.tiers, TierBasis::PromptTokens, prompt),
            off_peak: prices.off_peak.as_ref().filter(|peak| peak.covers(unix_seconds)),
        }
    }

    pub(super) fn input(&self) -> Option<Price> {
        self.listed(PriceKind::InputToken)
    }

    pub(super) fn output(&self) -> Option<Price> {
        // Image models may price their only kind of output by its own field.
        self.listed(PriceKind::OutputToken).or_else(|| self.listed(PriceKind::OutputImageToken))
    }

    /// `kind`, or `otherwise` when the list has no price for it.
    pub(super) fn or(&self, kind: PriceKind, otherwise: Option<Price>) -> Option<Price> {
        self.listed(kind).or(otherwise)
    }

    pub(super) fn cache_read(&self) -> Option<Price> {
        [PriceKind::CacheRead, PriceKind::CacheHit, PriceKind::CacheReadExplicit]
            .into_iter()
            .find_map(|kind| self.listed(kind))
            .or_else(|| {
                let input = self.input()?;
                // Fireworks bills cached prompt tokens at half price unless a model says otherwise.
                Some(if self.provider == "fireworks_ai" { input.scaled(1, 2) } else { input })
            })
    }

    pub(super) fn cache_write(&self) -> Option<Price> {
        self.listed(PriceKind::CacheWrite).or_else(|| self.input())
    }

    pub(super) fn cache_write_1h(&self) -> Option<Price> {
        self.listed(PriceKind::CacheWrite1h).or_else(|| self.cache_write())
    }

    /// Reasoning price of the tier, else its output price, else the model's own.
    pub(super) fn reasoning(&self) -> Option<Price> {
        if let Some(row) = self.row {
            let own = row.price(PriceKind::ReasoningToken).or_else(|| row.price(PriceKind::OutputToken));
            if own.is_some() {
                return self.halved_for_batch(own);
            }
        }
        if self.tier != ServiceTier::Standard {
            let own = self
                .on_tier(PriceKind::ReasoningToken, self.tier)
                .or_else(|| self.on_tier(PriceKind::OutputToken, self.tier));
            if own.is_some() {
                return own;
            }
        }
        self.listed(PriceKind::ReasoningToken).or_else(|| self.output())
    }

    /// What the list says of `kind` under these terms, without fallback to another kind.
    fn listed(&self, kind: PriceKind) -> Option<Price> {
        match self.tier {
            ServiceTier::Standard => self.standard(kind),
            ServiceTier::Batch if self.row.is_none() => {
                self.on_tier(kind, ServiceTier::Batch).or_else(|| self.batch_from_standard(kind))
            }
            ServiceTier::Batch => self.halved_for_batch(self.standard(kind)),
            _ if self.row.is_some() => self.standard(kind),
            tier => self.off_peak_price(kind).or_else(|| self.on_tier_or_standard(kind, tier)),
        }
    }

    fn standard(&self, kind: PriceKind) -> Option<Price> {
        if let Some(price) = self.off_peak_price(kind) {
            return Some(price);
        }
        let Some(row) = self.row else {
            return self.on_tier_or_standard(kind, ServiceTier::Standard);
        };
        row.price(kind).or_else(|| match kind {
            // In a tier these follow the tier's input price, not the model's flat one.
            PriceKind::CacheRead
            | PriceKind::CacheWrite
            | PriceKind::CacheWrite1h
            | PriceKind::CacheHit
            | PriceKind::CacheReadExplicit => None,
            _ => self.on_tier_or_standard(kind, ServiceTier::Standard),
        })
    }

    fn off_peak_price(&self, kind: PriceKind) -> Option<Price> {
        self.off_peak.and_then(|peak| peak.price(kind))
    }

    /// The price with exactly this tier in its name: of the highest threshold crossed, else the flat one.
    fn on_tier(&self, kind: PriceKind, tier: ServiceTier) -> Option<Price> {
        self.pick(kind, |key| key.tier == tier)
    }

    /// As [`Self::on_tier`]; at each threshold the standard price stands in for a missing tier price.
    fn on_tier_or_standard(&self, kind: PriceKind, tier: ServiceTier) -> Option<Price> {
        self.pick(kind, |key| key.tier == tier || key.tier == ServiceTier::Standard)
    }

    /// Highest crossed threshold first; at the same threshold a named tier before standard.
    fn pick(&self, kind: PriceKind, fits: impl Fn(&PriceKey) -> bool) -> Option<Price> {
        self.prices
            .of(kind)
            .iter()
            .rev()
            .find(|(key, _)| fits(key) && self.crosses(key.above_k))
            .map(|(_, price)| *price)
    }

    fn crosses(&self, above_k: u32) -> bool {
        let threshold = u64::from(above_k) * 1000;
        // xAI bills the long-context price from the threshold on, all others above it.
        above_k == 0 || self.prompt > threshold || (self.provider == "xai" && self.prompt == threshold)
    }

    /// The batch price of a kind that has none: half the standard price when the model has no batch prices
    /// at all, else the standard one. One-hour writes are halved with the five-minute ones: lists give the
    /// batch price of the latter only.
    fn batch_from_standard(&self, kind: PriceKind) -> Option<Price> {
        let has = |kind| self.prices.get(PriceKey { kind, above_k: 0, tier: ServiceTier::Batch }).is_some();
        let halved_write = kind == PriceKind::CacheWrite1h && has(PriceKind::CacheWrite);
        let standard = self.standard(kind);
        if (has(PriceKind::InputToken) || has(PriceKind::OutputToken)) && !halved_write {
            standard
        } else {
            self.halved_for_batch(standard)
        }
    }

    fn halved_for_batch(&self, price: Option<Price>) -> Option<Price> {
        if self.tier == ServiceTier::Batch { price.map(|price| price.scaled(1, 2)) } else { price }
    }
}

/// The row for this size; sizes beyond the last row take the last.
pub(super) fn tier_row(rows: &[PriceTier], by: TierBasis, size: u64) -> Option<&PriceTier> {
    let mut fitting = rows.iter().filter(|row| row.by == by);
    // A size of 0 lies below every exclusive lower end; it costs what the first row says.
    let size = size.max(1);
    fitting.clone().find(|row| row.over < size && size <= row.up_to).or_else(|| fitting.next_back())
}
