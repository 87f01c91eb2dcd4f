//! The prices of one model, read from decimal text and never through a float.

mod kind;
pub(crate) mod members;
mod schedule;

use faregate_terms::{BadAmount, Price};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

pub use kind::{PriceKey, PriceKind, ServiceTier};
pub use schedule::{OffPeak, PriceTier, TierBasis};

use members::Members;

/// Why a price field cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPrice {
    /// Not a decimal number.
    #[error("{field}: {reason}")]
    Number {
        /// The field.
        field: String,
        /// What is wrong with its text.
        reason: BadAmount,
    },
    /// Negative: a price is at least 0.
    #[error("{field}: a price cannot be negative")]
    Negative {
        /// The field.
        field: String,
    },
    /// Not the expected structure.
    #[error("{field}: {reason}")]
    Shape {
        /// The field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No price field has this name.
    #[error("`{field}` is not a price field{}", did_you_mean(*.nearest))]
    Unknown {
        /// The name as given.
        field: String,
        /// The known base name most like it.
        nearest: Option<&'static str>,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or(String::new(), |name| format!("; did you mean `{name}`?"))
}

impl BadPrice {
    fn shape(field: &str, reason: &str) -> Self {
        Self::Shape { field: field.to_owned(), reason: reason.to_owned() }
    }
}

/// Prices of a web search by the size of the context it fetches, per query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SearchPrices {
    /// `search_context_size_low`.
    pub low: Option<Price>,
    /// `search_context_size_medium`.
    pub medium: Option<Price>,
    /// `search_context_size_high`.
    pub high: Option<Price>,
}

/// Factors on all token prices, as exact decimals (1.1 is `Price` 1.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Multipliers {
    /// `provider_specific_entry`: by inference geography or speed, e.g. `us`, `fast`.
    pub named: Vec<(Box<str>, Price)>,
    /// `regional_processing_uplift_multiplier_eu`.
    pub region_eu: Option<Price>,
    /// `regional_processing_uplift_multiplier_us`.
    pub region_us: Option<Price>,
    /// `regional_endpoint_uplift_multiplier`.
    pub regional_endpoint: Option<Price>,
}

/// Everything the price list says about the cost of one model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prices {
    /// Sorted by key.
    table: Vec<(PriceKey, Price)>,
    /// `tiered_pricing`, in the order of the list.
    pub tiers: Vec<PriceTier>,
    /// `off_peak_pricing`.
    pub off_peak: Option<OffPeak>,
    /// `search_context_cost_per_query`.
    pub search: Option<SearchPrices>,
    /// True when each search is billed rather than each request that searched (`web_search_billing_unit`).
    pub search_per_query: bool,
    /// Factors on token prices.
    pub multipliers: Multipliers,
}

impl Prices {
    /// The price of exactly this field.
    pub fn get(&self, key: PriceKey) -> Option<Price> {
        self.table
            .binary_search_by(|(known, _)| known.cmp(&key))
            .ok()
            .and_then(|at| self.table.get(at))
            .map(|(_, price)| *price)
    }

    /// All prices of `kind`, sorted by threshold, then tier.
    pub(crate) fn of(&self, kind: PriceKind) -> &[(PriceKey, Price)] {
        let start = self.table.partition_point(|(key, _)| key.kind < kind);
        let end = self.table.partition_point(|(key, _)| key.kind <= kind);
        self.table.get(start..end).unwrap_or_default()
    }

    /// The price of `kind` without conditions.
    pub fn flat(&self, kind: PriceKind) -> Option<Price> {
        self.get(PriceKey::flat(kind))
    }

    /// Sets one price.
    pub fn set(&mut self, key: PriceKey, price: Price) {
        match self.table.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(at) => self.table[at].1 = price,
            Err(at) => self.table.insert(at, (key, price)),
        }
    }

    /// All plain prices, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (PriceKey, Price)> {
        self.table.iter().copied()
    }

    /// A short name for just these prices, to tell later which ones a cost was computed from: the beginning
    /// of the SHA-256 of everything they say, in hex.
    pub fn version(&self) -> String {
        let digest = Sha256::digest(format!("{self:?}"));
        digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }

    /// True when nothing is known about the cost.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty() && self.tiers.is_empty() && self.off_peak.is_none() && self.search.is_none()
    }

    /// Reads one member of a model entry or of a deployment's settings. `Ok(false)`: the member has
    /// nothing to do with prices.
    ///
    /// `value` is JSON text; numbers may also be written as strings, as YAML authors do.
    pub fn read(&mut self, field: &str, value: &RawValue) -> Result<bool, BadPrice> {
        if value.get() == "null" {
            return Ok(is_price_field(field));
        }
        match field {
            "tiered_pricing" => self.tiers = schedule::read_tiers(value)?,
            "off_peak_pricing" => self.off_peak = Some(schedule::read_off_peak(value)?),
            "search_context_cost_per_query" => self.search = Some(read_search(value)?),
            "web_search_billing_unit" => self.search_per_query = value.get() == "\"per_query\"",
            "regional_processing_uplift_multiplier_eu" => {
                self.multipliers.region_eu = Some(number(field, value)?);
            }
            "regional_processing_uplift_multiplier_us" => {
                self.multipliers.region_us = Some(number(field, value)?);
            }
            "regional_endpoint_uplift_multiplier" => {
                self.multipliers.regional_endpoint = Some(number(field, value)?);
            }
            "provider_specific_entry" => {
                let entry: Members<'_> = serde_json::from_str(value.get())
                    .map_err(|error| BadPrice::shape(field, &error.to_string()))?;
                // Other members of this bag are not factors (frame sizes, schema names).
                self.multipliers.named = entry
                    .iter()
                    .filter(|(name, _)| matches!(*name, "us" | "eu" | "fast"))
                    .map(|(name, raw)| Ok((Box::from(name), number(name, raw)?)))
                    .collect::<Result<_, BadPrice>>()?;
            }
            _ => match PriceKey::parse(field) {
                Some(key) => self.set(key, number(field, value)?),
                None => return Ok(false),
            },
        }
        Ok(true)
    }

    /// As [`Self::from_fields`], from the text of a JSON object.
    pub fn from_json(object: &str) -> Result<Self, BadPrice> {
        let members: Members<'_> =
            serde_json::from_str(object).map_err(|error| BadPrice::shape("prices", &error.to_string()))?;
        Self::from_fields(members.iter())
    }

    /// A deployment's own prices, each a field of the price list with its JSON value as text.
    ///
    /// Fails on a name that is no price field, so that a misspelt price is never silently free.
    pub fn from_fields<'a>(
        fields: impl IntoIterator<Item = (&'a str, &'a RawValue)>,
    ) -> Result<Self, BadPrice> {
        let mut prices = Self::default();
        for (field, value) in fields {
            if !prices.read(field, value)? {
                return Err(BadPrice::Unknown { field: field.to_owned(), nearest: nearest_field(field) });
            }
        }
        Ok(prices)
    }

    /// These prices of a deployment, completed from the `built_in` entry of its model.
    ///
    /// A deployment that states a token price has left the public price list: thresholds, tiers and
    /// off-peak prices of the list no longer apply, only what its own fields leave open is inherited
    /// (the other token price, cache prices and prices of tools). Other own prices just win over the
    /// list's, field by field.
    #[must_use]
    pub fn over(&self, built_in: &Self) -> Self {
        let own_deal = !self.tiers.is_empty()
            || [PriceKind::InputToken, PriceKind::OutputToken].iter().any(|kind| self.flat(*kind).is_some());
        let mut out = if own_deal { built_in.inheritable() } else { built_in.clone() };
        if !self.tiers.is_empty() {
            // The tiers carry their own input, output and, by default, cache prices.
            out.table.clear();
        }
        for (key, price) in &self.table {
            out.set(*key, *price);
        }
        if own_deal || !self.tiers.is_empty() {
            out.tiers.clone_from(&self.tiers);
        }
        if self.off_peak.is_some() {
            out.off_peak.clone_from(&self.off_peak);
        }
        if self.search.is_some() {
            out.search = self.search;
            out.search_per_query |= self.search_per_query;
        }
        let own = &self.multipliers;
        if own.region_eu.is_some() || own.region_us.is_some() || own.regional_endpoint.is_some() {
            out.multipliers = own.clone();
        }
        out
    }

    /// What a deployment with token prices of its own still takes from the list.
    fn inheritable(&self) -> Self {
        use PriceKind as K;
        let kept = [
            K::InputToken,
            K::OutputToken,
            K::CacheRead,
            K::CacheWrite,
            K::CacheWrite1h,
            K::CacheHit,
            K::CodeInterpreterSession,
            K::MapsQuery,
        ];
        Self {
            table: kept
                .iter()
                .map(|kind| PriceKey::flat(*kind))
                .filter_map(|key| self.get(key).map(|price| (key, price)))
                .collect(),
            search: self.search,
            search_per_query: self.search_per_query,
            ..Self::default()
        }
    }
}

/// True for the name of a price, a price structure or a price factor.
pub fn is_price_field(field: &str) -> bool {
    matches!(
        field,
        "tiered_pricing"
            | "off_peak_pricing"
            | "search_context_cost_per_query"
            | "web_search_billing_unit"
            | "regional_processing_uplift_multiplier_eu"
            | "regional_processing_uplift_multiplier_us"
            | "regional_endpoint_uplift_multiplier"
            | "provider_specific_entry"
    ) || PriceKey::parse(field).is_some()
}

fn nearest_field(field: &str) -> Option<&'static str> {
    PriceKind::fields()
        .map(|known| (strsim::damerau_levenshtein(known, field), known))
        .min()
        .filter(|(distance, _)| *distance <= 4)
        .map(|(_, known)| known)
}

fn read_search(value: &RawValue) -> Result<SearchPrices, BadPrice> {
    let field = "search_context_cost_per_query";
    let sizes: Members<'_> =
        serde_json::from_str(value.get()).map_err(|error| BadPrice::shape(field, &error.to_string()))?;
    let size = |name: &str| sizes.get(name).map(|raw| number(field, raw)).transpose();
    Ok(SearchPrices {
        low: size("search_context_size_low")?,
        medium: size("search_context_size_medium")?,
        high: size("search_context_size_high")?,
    })
}

/// Reads a non-negative decimal, bare or in quotes.
pub(crate) fn number(field: &str, raw: &RawValue) -> Result<Price, BadPrice> {
    let text = raw.get();
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let price = Price::parse(text).map_err(|reason| BadPrice::Number { field: field.to_owned(), reason })?;
    if price < Price::ZERO {
        return Err(BadPrice::Negative { field: field.to_owned() });
    }
    Ok(price)
}

#[cfg(test)]
mod tests;
