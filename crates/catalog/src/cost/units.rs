//! What is billed by anything but tokens: seconds, images, pages, queries, searches.

use std::time::Duration;

use faregate_terms::{Price, Usage};

use super::context::{CostContext, ImageSize, Resolution, SearchSize, Units};
use super::rates::tier_row;
use crate::price::{PriceKind, Prices, TierBasis};

#[derive(Default)]
pub(super) struct Charges {
    pub input: Price,
    pub output: Price,
    pub charged: bool,
    pub missing: bool,
}

impl Charges {
    fn count(&mut self, side: Side, count: u64, price: Option<Price>) {
        if count > 0 {
            self.add(side, price.map(|price| price.times(count)));
        }
    }

    fn time(&mut self, side: Side, time: Duration, price: Option<Price>) {
        if !time.is_zero() {
            let micros = i128::try_from(time.as_micros()).unwrap_or(i128::MAX);
            self.add(side, price.map(|price| price.scaled(micros, 1_000_000)));
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

#[derive(Clone, Copy)]
enum Side {
    Input,
    Output,
}

/// Charges the units of a request. `by_tokens` says that its tokens were priced already: then seconds and
/// images that those tokens stand for are not billed again.
pub(super) fn charge(prices: &Prices, usage: &Usage, units: &Units, by_tokens: bool) -> Charges {
    use PriceKind as K;
    let mut sum = Charges::default();
    // A fee per call exists for a few models only; its absence says nothing.
    if prices.flat(K::Request).is_some() {
        sum.count(Side::Input, units.requests, prices.flat(K::Request));
    }
    if !by_tokens {
        sum.count(Side::Input, units.input_characters, prices.flat(K::InputCharacter));
        if prices.flat(K::OutputCharacter).is_some() || prices.flat(K::InputCharacter).is_none() {
            sum.count(Side::Output, units.output_characters, prices.flat(K::OutputCharacter));
        }
        let (side, price) = processing(prices);
        sum.time(side, units.seconds, price);
    }
    sum.time(Side::Input, units.input_audio, prices.flat(K::InputAudioSecond));
    sum.time(Side::Input, units.input_video, video_input(prices, units.input_video));
    sum.time(Side::Output, units.video, video_output(prices, units.resolution));
    if usage.input_image == 0 {
        sum.count(Side::Input, units.input_images, prices.flat(K::InputImage));
    }
    let image_tokens = usage.output_image > 0 || (by_tokens && prices.flat(K::OutputImageToken).is_some());
    if !image_tokens {
        images(prices, units, &mut sum);
    }
    sum.count(Side::Input, units.input_pixels, prices.flat(K::InputPixel));
    sum.count(Side::Input, units.queries, query(prices, units.max_results));
    sum.count(Side::Input, units.pages, prices.flat(K::OcrPage));
    sum.count(Side::Input, units.annotated_pages, prices.flat(K::AnnotationPage));
    sum.count(Side::Input, units.credits, prices.flat(K::OcrCredit));
    sum.count(Side::Input, units.text_messages, prices.flat(K::TextMessage));
    sum
}

/// Lists give one price per second of processing, on either side, sometimes the same on both: it is
/// billed once.
fn processing(prices: &Prices) -> (Side, Option<Price>) {
    let candidates = [
        (Side::Input, prices.flat(PriceKind::ProvisionedSecond)),
        (Side::Input, prices.flat(PriceKind::InputSecond)),
        (Side::Output, prices.flat(PriceKind::OutputSecond)),
    ];
    let real = candidates.into_iter().find(|(_, price)| price.is_some_and(|price| price > Price::ZERO));
    real.or_else(|| candidates.into_iter().find(|(_, price)| price.is_some())).unwrap_or((Side::Input, None))
}

fn video_input(prices: &Prices, length: Duration) -> Option<Price> {
    let by_length = if length > Duration::from_secs(15) {
        prices.flat(PriceKind::InputVideoSecondAbove15s)
    } else {
        None
    };
    let above_8s =
        || prices.flat(PriceKind::InputVideoSecondAbove8s).filter(|_| length > Duration::from_secs(8));
    by_length.or_else(above_8s).or_else(|| prices.flat(PriceKind::InputVideoSecond))
}

fn video_output(prices: &Prices, resolution: Option<Resolution>) -> Option<Price> {
    let kind = resolution.map(|resolution| match resolution {
        Resolution::P480 => PriceKind::OutputSecond480p,
        Resolution::P720 => PriceKind::OutputSecond720p,
        Resolution::P768 => PriceKind::OutputSecond768p,
        Resolution::P1080 => PriceKind::OutputSecond1080p,
        Resolution::K2 => PriceKind::OutputSecond2k,
        Resolution::K4 => PriceKind::OutputSecond4k,
    });
    kind.and_then(|kind| prices.flat(kind))
        .or_else(|| prices.flat(PriceKind::OutputVideoSecond))
        .or_else(|| prices.flat(PriceKind::OutputSecond))
}

/// Generated images are priced each, by size where the list says so, else by pixel.
fn images(prices: &Prices, units: &Units, sum: &mut Charges) {
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
        .and_then(|kind| prices.flat(kind))
        .or_else(|| prices.flat(PriceKind::OutputImage))
        .or_else(|| prices.flat(PriceKind::InputImage));
    let per_pixel = prices.flat(PriceKind::OutputPixel).or_else(|| prices.flat(PriceKind::InputPixel));
    if each.is_none() && units.output_pixels > 0 && per_pixel.is_some() {
        sum.count(Side::Output, units.output_pixels, per_pixel);
    } else {
        sum.count(Side::Output, units.images, each);
    }
}

fn query(prices: &Prices, max_results: u64) -> Option<Price> {
    tier_row(&prices.tiers, TierBasis::SearchResults, max_results)
        .and_then(|row| row.price(PriceKind::Query))
        .or_else(|| prices.flat(PriceKind::Query))
}

/// Adds built-in tools to `sum`; returns the name of one that was used but has no price.
pub(super) fn tools(
    prices: &Prices,
    usage: &Usage,
    context: &CostContext<'_>,
    sum: &mut Price,
) -> Option<&'static str> {
    let used = [
        ("web search", searches(prices, usage, context.provider), search_price(prices, context.search_size)),
        ("maps grounding", context.units.maps_queries, prices.flat(PriceKind::MapsQuery)),
        ("code interpreter", context.units.code_sessions, prices.flat(PriceKind::CodeInterpreterSession)),
    ];
    let mut unpriced = None;
    for (name, count, price) in used {
        match price {
            Some(price) => *sum += price.times(count),
            None if count > 0 => unpriced = Some(name),
            None => {}
        }
    }
    unpriced
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
