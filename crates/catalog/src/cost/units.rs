//! What is billed by anything but tokens: seconds, images, pages, queries, searches.

use std::time::Duration;

use faregate_terms::{Price, Usage};

use super::context::{CostContext, ImageSize, Resolution, SearchSize, Units};
use super::rates::tier_row;
use crate::price::{PriceKey, PriceKind, Prices, ServiceTier, TierBasis};

#[derive(Default)]
pub(super) struct Charges {
    pub input: Price,
    pub output: Price,
    pub charged: bool,
    pub missing: bool,
}

impl Charges {
    /// What was not used has no price looked for: that is almost everything in almost every request.
    fn count(&mut self, side: Side, count: u64, price: impl FnOnce() -> Option<Price>) {
        if count > 0 {
            self.add(side, price().map(|price| price.times(count)));
        }
    }

    fn time(&mut self, side: Side, time: Duration, price: impl FnOnce() -> Option<Price>) {
        if !time.is_zero() {
            let micros = i128::try_from(time.as_micros()).unwrap_or(i128::MAX);
            self.add(side, price().map(|price| price.scaled(micros, 1_000_000)));
        }
    }

    fn add(&mut self, side: Side, amount: Option<Price>) {
        let Some(amount) = amount else {
            self.missing = true;
            return;
        };
        self.charged = true;
        match side {
            Side::Input => self.input += amount,
            Side::Output => self.output += amount,
        }
    }
}

/// Unit prices on the terms of the request: batch prices where the list has them, else half.
pub(super) struct UnitPrices<'a> {
    pub prices: &'a Prices,
    pub tier: ServiceTier,
}

impl UnitPrices<'_> {
    fn of(&self, kind: PriceKind) -> Option<Price> {
        let flat = self.prices.flat(kind);
        match self.tier {
            ServiceTier::Batch => {
                let batch = PriceKey { kind, above_k: 0, tier: ServiceTier::Batch };
                self.prices.get(batch).or_else(|| flat.map(|price| price.scaled(1, 2)))
            }
            _ => flat,
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Input,
    Output,
}

/// Charges the units of a request. `by_tokens` says that its tokens were priced already: then seconds and
/// images that those tokens stand for are not billed again.
pub(super) fn charge(prices: &UnitPrices<'_>, usage: &Usage, units: &Units, by_tokens: bool) -> Charges {
    use PriceKind as K;
    let mut sum = Charges::default();
    // A fee per call exists for a few models only; its absence says nothing.
    if let Some(price) = prices.of(K::Request) {
        sum.count(Side::Input, units.requests, || Some(price));
    }
    if !by_tokens {
        sum.count(Side::Input, units.input_characters, || prices.of(K::InputCharacter));
        // Speech is billed by what is read; few lists price what is spoken as well.
        if let Some(price) = prices.of(K::OutputCharacter) {
            sum.count(Side::Output, units.output_characters, || Some(price));
        }
        let (side, price) = processing(prices);
        sum.time(side, units.seconds, || price);
    }
    sum.time(Side::Input, units.input_audio, || prices.of(K::InputAudioSecond));
    sum.time(Side::Input, units.input_video, || video_input(prices, units.input_video));
    sum.time(Side::Output, units.video, || video_output(prices, units.resolution));
    if usage.input_image == 0 {
        sum.count(Side::Input, units.input_images, || prices.of(K::InputImage));
    }
    if units.images > 0 || units.output_pixels > 0 {
        let by_image_tokens = by_tokens && prices.of(K::OutputImageToken).is_some();
        if usage.output_image == 0 && !by_image_tokens {
            images(prices, units, &mut sum);
        }
    }
    sum.count(Side::Input, units.input_pixels, || prices.of(K::InputPixel));
    sum.count(Side::Input, units.queries, || query(prices, units.max_results));
    sum.count(Side::Input, units.pages, || prices.of(K::OcrPage));
    sum.count(Side::Input, units.annotated_pages, || prices.of(K::AnnotationPage));
    sum.count(Side::Input, units.credits, || prices.of(K::OcrCredit));
    sum.count(Side::Input, units.text_messages, || prices.of(K::TextMessage));
    sum
}

/// Lists give one price per second of processing, on either side, sometimes the same on both: it is
/// billed once.
fn processing(prices: &UnitPrices<'_>) -> (Side, Option<Price>) {
    let candidates = [
        (Side::Input, prices.of(PriceKind::ProvisionedSecond)),
        (Side::Input, prices.of(PriceKind::InputSecond)),
        (Side::Output, prices.of(PriceKind::OutputSecond)),
    ];
    let real = candidates.into_iter().find(|(_, price)| price.is_some_and(|price| price > Price::ZERO));
    real.or_else(|| candidates.into_iter().find(|(_, price)| price.is_some())).unwrap_or((Side::Input, None))
}

fn video_input(prices: &UnitPrices<'_>, length: Duration) -> Option<Price> {
    let by_length =
        if length > Duration::from_secs(15) { prices.of(PriceKind::InputVideoSecondAbove15s) } else { None };
    let above_8s =
        || prices.of(PriceKind::InputVideoSecondAbove8s).filter(|_| length > Duration::from_secs(8));
    by_length.or_else(above_8s).or_else(|| prices.of(PriceKind::InputVideoSecond))
}

fn video_output(prices: &UnitPrices<'_>, resolution: Option<Resolution>) -> Option<Price> {
    let kind = resolution.map(|resolution| match resolution {
        Resolution::P480 => PriceKind::OutputSecond480p,
        Resolution::P720 => PriceKind::OutputSecond720p,
        Resolution::P768 => PriceKind::OutputSecond768p,
        Resolution::P1080 => PriceKind::OutputSecond1080p,
        Resolution::K2 => PriceKind::OutputSecond2k,
        Resolution::K4 => PriceKind::OutputSecond4k,
    });
    kind.and_then(|kind| prices.of(kind))
        .or_else(|| prices.of(PriceKind::OutputVideoSecond))
        .or_else(|| prices.of(PriceKind::OutputSecond))
}

/// Generated images are priced each, by size where the list says so, else by pixel.
fn images(prices: &UnitPrices<'_>, units: &Units, sum: &mut Charges) {
    let kind = units.image_size.map(|size| match size {
        ImageSize::Px512 => PriceKind::OutputImage512,
        ImageSize::Px1024 => PriceKind::OutputImage1024,
        ImageSize::Px1536 => PriceKind::OutputImage1536,
        ImageSize::HalfK => PriceKind::OutputImageHalfK,
        ImageSize::K1 => PriceKind::OutputImage1K,
        ImageSize::K2 => PriceKind::OutputImage2K,
        ImageSize::K4 => PriceKind::OutputImage4K,
    });
    // Rows keyed by size or quality state the price of an image they make as `input_cost_per_image`.
    let each = kind
        .and_then(|kind| prices.of(kind))
        .or_else(|| prices.of(PriceKind::OutputImage))
        .or_else(|| prices.of(PriceKind::InputImage));
    let per_pixel = prices.of(PriceKind::OutputPixel).or_else(|| prices.of(PriceKind::InputPixel));
    if each.is_none() && units.output_pixels > 0 && per_pixel.is_some() {
        sum.count(Side::Output, units.output_pixels, || per_pixel);
    } else {
        sum.count(Side::Output, units.images, || each);
    }
}

fn query(prices: &UnitPrices<'_>, max_results: u64) -> Option<Price> {
    tier_row(&prices.prices.tiers, TierBasis::SearchResults, max_results)
        .and_then(|row| row.price(PriceKind::Query))
        .or_else(|| prices.of(PriceKind::Query))
}

/// The built-in tools of a request.
#[derive(Default)]
pub(super) struct Tools {
    pub amount: Price,
    pub charged: bool,
    /// One that was used but has no price.
    pub unpriced: Option<&'static str>,
}

pub(super) fn tools(prices: &Prices, usage: &Usage, context: &CostContext<'_>) -> Tools {
    type Priced<'a> = (&'static str, u64, &'a dyn Fn() -> Option<Price>);
    let used: [Priced<'_>; 3] = [
        ("web search", searches(prices, usage, context.provider), &|| {
            search_price(prices, context.search_size)
        }),
        ("maps grounding", context.units.maps_queries, &|| prices.flat(PriceKind::MapsQuery)),
        ("code interpreter", context.units.code_sessions, &|| prices.flat(PriceKind::CodeInterpreterSession)),
    ];
    let mut tools = Tools::default();
    for (name, count, price) in used.into_iter().filter(|(_, count, _)| *count > 0) {
        match price() {
            Some(price) => {
                tools.amount += price.times(count);
                tools.charged = true;
            }
            None => tools.unpriced = Some(name),
        }
    }
    tools
}

/// Google bills a grounded request once, whatever it searched, unless the model's entry says that each
/// search is billed; other providers bill each search.
fn searches(prices: &Prices, usage: &Usage, provider: &str) -> u64 {
    let google = matches!(provider, "gemini" | "vertex_ai" | "vertex_ai_beta");
    if google && !prices.search_per_query { usage.web_searches.min(1) } else { usage.web_searches }
}

fn search_price(prices: &Prices, size: SearchSize) -> Option<Price> {
    let search = prices.search?;
    match size {
        SearchSize::Low => search.low,
        SearchSize::Medium => search.medium,
        SearchSize::High => search.high,
    }
}
