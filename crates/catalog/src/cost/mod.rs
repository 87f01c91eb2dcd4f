//! From usage to dollars, exactly.
//!
//! Parts are summed at 1e-18 dollars and rounded once per request; the parts a [`Cost`] states add up to
//! its total to the last digit.

mod context;
mod rates;
mod units;

use faregate_terms::{PicoUsd, Price, Usage};
use serde::Serialize;

pub use context::{CostContext, DataRegion, ImageSize, Margin, Ratio, Resolution, SearchSize, Units};

use crate::price::{PriceKind, Prices, ServiceTier};
use rates::Rates;

/// What a request cost, and for what.
///
/// `input + output + cache_read + cache_creation + reasoning + tool == original` and
/// `original - discount + margin == total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Cost {
    /// What is booked.
    pub total: PicoUsd,
    /// Before discount and margin.
    pub original: PicoUsd,
    /// Fresh prompt tokens of any kind, citations, and other inputs billed by unit.
    pub input: PicoUsd,
    /// Generated tokens except reasoning, and other outputs billed by unit.
    pub output: PicoUsd,
    /// Prompt tokens read from a cache.
    pub cache_read: PicoUsd,
    /// Prompt tokens written to a cache.
    pub cache_creation: PicoUsd,
    /// Reasoning tokens.
    pub reasoning: PicoUsd,
    /// Built-in tools: web search, maps, code sessions.
    pub tool: PicoUsd,
    /// Taken off by the discount.
    pub discount: PicoUsd,
    /// Added by the margin.
    pub margin: PicoUsd,
    /// Names what was used, has no known price and is therefore not in the total.
    pub unpriced: Option<&'static str>,
}

/// Sums at price resolution, and whether anything could be priced.
#[derive(Debug, Default)]
struct Sums {
    input: Price,
    output: Price,
    cache_read: Price,
    cache_creation: Price,
    reasoning: Price,
    tool: Price,
    /// Something had a price.
    charged: bool,
    /// Something was used that has none.
    missing: bool,
    /// Tokens have a price, whether any were used or not.
    by_tokens: bool,
}

impl Sums {
    fn parts(&mut self) -> [&mut Price; 6] {
        [
            &mut self.input,
            &mut self.output,
            &mut self.cache_read,
            &mut self.cache_creation,
            &mut self.reasoning,
            &mut self.tool,
        ]
    }
}

/// The exact cost of `usage` at `prices`; `None` when something was used whose price is unknown.
///
/// What has no price does not make the rest unknown: a deployment that states only a price of output is billed
/// for output, as LiteLLM does, and tools without a price are free. Both are named in [`Cost::unpriced`].
pub fn cost(prices: &Prices, usage: &Usage, context: &CostContext<'_>) -> Option<Cost> {
    if prices.is_empty() {
        return None;
    }
    let tier = context
        .tier
        .or_else(|| usage.service_tier.as_deref().map(ServiceTier::from_word))
        .unwrap_or_default();
    let prompt = context.prompt_tokens.unwrap_or(usage.input);
    let rates = Rates::new(prices, context.provider, tier, prompt, context.unix_seconds);
    let mut sums = tokens(usage, &rates);
    multiply(&mut sums, prices, context);

    let other = units::charge(&units::UnitPrices { prices, tier }, usage, &context.units, sums.charged);
    let tools = units::tools(prices, usage, context);
    let charged = sums.charged || other.charged;
    if (sums.missing || other.missing) && !charged {
        return None;
    }
    // A model billed by units, of which none were counted: that is not the same as free.
    if !sums.by_tokens && !other.charged && !tools.charged {
        return None;
    }
    sums.input += other.input;
    sums.output += other.output;
    sums.tool = tools.amount;
    let unpriced = tools.unpriced.or(sums.missing.then_some("tokens of one kind"));
    Some(conclude(sums, unpriced, context))
}

/// Prices every token once: cached and written ones first, then the special kinds among the rest.
fn tokens(usage: &Usage, rates: &Rates<'_>) -> Sums {
    let (input, output) = (rates.input(), rates.output());
    let mut sums = Sums { by_tokens: input.is_some() || output.is_some(), ..Sums::default() };
    let (fresh_text, [audio, image, video]) =
        split(usage.input_fresh(), [usage.input_audio, usage.input_image, usage.input_video]);
    let (plain, [reasoning, output_audio, output_image]) =
        split(usage.output, [usage.reasoning, usage.output_audio, usage.output_image]);
    // Most requests have tokens of two kinds: the others' prices are not looked for.
    let mut charge = |part: fn(&mut Sums) -> &mut Price, count: u64, price: &dyn Fn() -> Option<Price>| {
        if count == 0 {
            return;
        }
        match price() {
            Some(price) => {
                *part(&mut sums) += price.times(count);
                sums.charged = true;
            }
            None => sums.missing = true,
        }
    };
    charge(|s| &mut s.input, fresh_text, &|| input);
    charge(|s| &mut s.input, audio, &|| rates.or(PriceKind::InputAudioToken, input));
    charge(|s| &mut s.input, image, &|| rates.or(PriceKind::InputImageToken, input));
    charge(|s| &mut s.input, video, &|| rates.or(PriceKind::InputVideoToken, input));
    charge(|s| &mut s.cache_read, usage.cache_read, &|| rates.cache_read());
    charge(|s| &mut s.cache_creation, usage.cache_write_5m, &|| rates.cache_write());
    charge(|s| &mut s.cache_creation, usage.cache_write_1h, &|| rates.cache_write_1h());
    charge(|s| &mut s.output, plain, &|| output);
    charge(|s| &mut s.reasoning, reasoning, &|| rates.reasoning());
    charge(|s| &mut s.output, output_audio, &|| rates.or(PriceKind::OutputAudioToken, output));
    charge(|s| &mut s.output, output_image, &|| rates.or(PriceKind::OutputImageToken, output));
    // Providers that do not price citations do not bill them.
    charge(|s| &mut s.input, usage.citation, &|| rates.or(PriceKind::CitationToken, Some(Price::ZERO)));
    sums
}

/// Takes the special kinds out of `total`, in order, never more than is left; returns what remains.
fn split(total: u64, kinds: [u64; 3]) -> (u64, [u64; 3]) {
    let mut left = total;
    let taken = kinds.map(|kind| {
        let part = kind.min(left);
        left -= part;
        part
    });
    (left, taken)
}

/// Geography, speed and regional factors, which apply to tokens only.
fn multiply(sums: &mut Sums, prices: &Prices, context: &CostContext<'_>) {
    let factors = &prices.multipliers;
    let named = factors.named.iter().filter(|(name, _)| context.factors.contains(&&**name)).map(|(_, f)| *f);
    let region = match context.data_region {
        Some(DataRegion::Eu) => factors.region_eu,
        Some(DataRegion::Us) => factors.region_us,
        None => None,
    };
    let endpoint = factors.regional_endpoint.filter(|_| context.regional_endpoint);
    for factor in named.chain(region).chain(endpoint) {
        let ratio = Ratio::of(factor);
        for part in sums.parts() {
            *part = ratio.of_price(*part);
        }
    }
}

/// Rounds once and distributes: the largest part takes what rounding of the parts lost or won.
fn conclude(mut sums: Sums, unpriced: Option<&'static str>, context: &CostContext<'_>) -> Cost {
    let exact = sums.parts().map(|part| *part);
    let original = exact.into_iter().sum::<Price>().to_pico();
    let mut parts = exact.map(Price::to_pico);
    let rest = original - parts.into_iter().sum();
    if let Some((largest, _)) = parts.iter_mut().zip(exact).max_by_key(|(_, price)| *price) {
        *largest += rest;
    }
    let [input, output, cache_read, cache_creation, reasoning, tool] = parts;
    let discount = context.discount.map_or(PicoUsd::ZERO, |ratio| ratio.of_amount(original));
    let discounted = original - discount;
    let margin =
        context.margin.map_or(PicoUsd::ZERO, |margin| margin.fraction.of_amount(discounted) + margin.fixed);
    Cost {
        total: discounted + margin,
        original,
        input,
        output,
        cache_read,
        cache_creation,
        reasoning,
        tool,
        discount,
        margin,
        unpriced,
    }
}

#[cfg(test)]
mod tests;
