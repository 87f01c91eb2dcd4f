//! Providers, models, prices and what an answer costs: data and pure functions.
//!
//! Never reads a file, a clock, the network or the environment: callers bring bytes and moments. The data
//! is in `data/`, written by `scripts/make_catalog.py`. Start with [`resolve()`] (model string → provider
//! row), [`Catalog::find`] (→ limits, capabilities, prices) and [`cost()`] (usage → exact dollars).

mod auth;
mod catalog;
mod cost;
mod dialect;
mod docs;
mod lookup;
mod model;
mod pattern;
mod price;
mod provider;
mod quirk;
mod resolve;
pub mod tokens;

pub use auth::Auth;
pub use catalog::{BadList, Catalog, Sanity};
pub use cost::{
    Cost, CostContext, DataRegion, ImageSize, Margin, Ratio, Resolution, SearchSize, Units, cost,
};
pub use dialect::{Dialect, Operation};
pub use docs::providers_markdown;
pub use model::{BadEntry, Mode, ModelInfo};
pub use price::{
    BadPrice, Multipliers, OffPeak, PriceKey, PriceKind, PriceTier, Prices, SearchPrices, ServiceTier,
    TierBasis, is_price_field,
};
pub use provider::{Provider, ReasoningEffort, Tier, param_baseline, provider, providers};
pub use quirk::{BaseFrom, ModelDrop, Quirk, Replacement, StaticHeader};
pub use resolve::{Resolved, UnknownProvider, resolve};
