use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{Catalog, PriceKey};

fn prices(json: &str) -> Prices {
    Prices::from_json(json).expect("good prices")
}

fn usd(text: &str) -> PicoUsd {
    PicoUsd::parse(text).expect("an amount")
}

fn number(context: &Value, name: &str) -> u64 {
    context["units"][name].as_u64().unwrap_or(0)
}

fn units(context: &Value) -> Units {
    Units {
        seconds: Duration::from_millis(number(context, "milliseconds")),
        video: Duration::from_secs(number(context, "video_seconds")),
        input_video: Duration::from_secs(number(context, "input_video_seconds")),
        resolution: match context["units"]["resolution"].as_str() {
            Some("1080p") => Some(Resolution::P1080),
            Some("720p") => Some(Resolution::P720),
            _ => None,
        },
        image_size: context["units"]["image_size"].as_str().map(|size| {
            assert_eq!(size, "4K");
            ImageSize::K4
        }),
        input_characters: number(context, "input_characters"),
        images: number(context, "images"),
        input_images: number(context, "input_images"),
        input_pixels: number(context, "input_pixels"),
        queries: number(context, "queries"),
        max_results: number(context, "max_results"),
        pages: number(context, "pages"),
        annotated_pages: number(context, "annotated_pages"),
        credits: number(context, "credits"),
        text_messages: number(context, "text_messages"),
        code_sessions: number(context, "code_sessions"),
        maps_queries: number(context, "maps_queries"),
        ..Units::default()
    }
}

/// Expected values: scripts/make_cost_cases.py, which multiplies fields chosen by hand with Python decimals.
#[test]
fn published_models_cost_what_was_computed_by_hand() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../../tests/fixtures/costs.json")).expect("the fixture reads");
    let catalog = Catalog::built_in();
    let mut models = std::collections::BTreeSet::new();
    for case in &cases {
        let key = case["model"].as_str().expect("a key");
        models.insert(key);
        let usage: Usage = serde_json::from_value(case["usage"].clone()).expect("usage");
        let context = &case["context"];
        let factors: Vec<&str> =
            context["factors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let circumstances = CostContext {
            provider: case["provider"].as_str().expect("a provider"),
            tier: context["tier"].as_str().map(ServiceTier::from_word),
            unix_seconds: context["unix_seconds"].as_i64().unwrap_or(0),
            factors: &factors,
            data_region: context["data_region"].as_str().map(|_| DataRegion::Eu),
            regional_endpoint: context["regional_endpoint"] == true,
            search_size: match context["search_size"].as_str() {
                Some("low") => SearchSize::Low,
                Some("high") => SearchSize::High,
                _ => SearchSize::Medium,
            },
            units: units(context),
            ..CostContext::default()
        };
        let info = catalog.entry(key).unwrap_or_else(|| panic!("{key} is in the list"));
        let cost = cost(&info.prices, &usage, &circumstances).unwrap_or_else(|| panic!("{key} has a price"));
        assert_eq!(cost.total.to_string(), case["total"], "total of {case}");
        let parts = [
            ("input", cost.input),
            ("output", cost.output),
            ("cache_read", cost.cache_read),
            ("cache_creation", cost.cache_creation),
            ("reasoning", cost.reasoning),
            ("tool", cost.tool),
        ];
        for (name, amount) in parts {
            let expected = case["parts"][name].as_str().unwrap_or("0");
            assert_eq!(amount.to_string(), expected, "{name} of {case}");
        }
        assert_eq!(cost.unpriced, None, "{case}");
    }
    assert!(models.len() >= 40, "only {} models", models.len());
}

#[test]
fn an_unknown_price_is_none_and_an_explicit_zero_is_zero() {
    let used = Usage { input: 10, output: 5, ..Usage::default() };
    let context = CostContext::default();
    assert_eq!(cost(&Prices::default(), &used, &context), None);
    let nothing_known = Usage { output: 0, ..used.clone() };
    assert_eq!(cost(&prices(r#"{"output_cost_per_token": 1e-6}"#), &nothing_known, &context), None);
    for (json, total) in
        [(r#"{"input_cost_per_token": 1e-6}"#, "0.00001"), (r#"{"output_cost_per_token": 1e-6}"#, "0.000005")]
    {
        let partly = cost(&prices(json), &used, &context).unwrap();
        assert_eq!((partly.total.to_string().as_str(), partly.unpriced), (total, Some("tokens of one kind")));
    }
    let free = prices(r#"{"input_cost_per_token": 0, "output_cost_per_token": 0.0}"#);
    assert_eq!(cost(&free, &used, &context).map(|cost| cost.total), Some(PicoUsd::ZERO));
    // Billed by something that was not counted: unknown, not free.
    let per_image = prices(r#"{"output_cost_per_image": 0.04}"#);
    assert_eq!(cost(&per_image, &used, &context), None);
    let missing_image =
        CostContext { units: Units { images: 1, ..Units::default() }, ..CostContext::default() };
    assert_eq!(cost(&prices(r#"{"ocr_cost_per_page": 1}"#), &Usage::default(), &missing_image), None);
}

#[test]
fn a_tool_without_a_price_is_named_and_the_rest_is_booked() {
    let used = Usage { input: 10, output: 5, web_searches: 1, ..Usage::default() };
    let both = prices(r#"{"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}"#);
    let cost = cost(&both, &used, &CostContext::default()).expect("known");
    assert_eq!((cost.total, cost.unpriced), (usd("0.00002"), Some("web search")));
}

#[test]
fn the_provider_s_own_word_for_the_tier_counts_unless_the_caller_says_otherwise() {
    let listed = prices(
        r#"{"input_cost_per_token": 1, "input_cost_per_token_priority": 3, "input_cost_per_token_flex": "0.5"}"#,
    );
    let used = Usage { input: 1, service_tier: Some("priority".into()), ..Usage::default() };
    let total = |tier| {
        let context = CostContext { tier, ..CostContext::default() };
        cost(&listed, &used, &context).map(|cost| cost.total)
    };
    assert_eq!(total(None), Some(usd("3")));
    assert_eq!(total(Some(ServiceTier::Flex)), Some(usd("0.5")));
    assert_eq!(total(Some(ServiceTier::Standard)), Some(usd("1")));
}

#[test]
fn discount_comes_before_margin_and_both_are_stated() {
    let listed = prices(r#"{"input_cost_per_token": "0.001"}"#);
    let used = Usage { input: 1000, ..Usage::default() };
    let context = CostContext {
        discount: Ratio::parse("0.05").ok(),
        margin: Some(Margin { fraction: Ratio::parse("0.1").expect("a ratio"), fixed: usd("0.002") }),
        ..CostContext::default()
    };
    let cost = cost(&listed, &used, &context).expect("known");
    assert_eq!(cost.original, usd("1"));
    assert_eq!(cost.discount, usd("0.05"));
    assert_eq!(cost.margin, usd("0.097"));
    assert_eq!(cost.total, usd("1.047"));
}

#[test]
fn no_token_is_billed_twice_when_kinds_overlap() {
    let listed = prices(
        r#"{"input_cost_per_token": 1, "input_cost_per_audio_token": 5, "cache_read_input_token_cost": 0}"#,
    );
    // All audio came from the cache.
    let used = Usage { input: 10, cache_read: 10, input_audio: 4, ..Usage::default() };
    assert_eq!(cost(&listed, &used, &CostContext::default()).map(|cost| cost.total), Some(PicoUsd::ZERO));
}

#[test]
fn sub_pico_prices_are_summed_before_rounding() {
    let listed = prices(r#"{"input_cost_per_token": 1.25e-13, "output_cost_per_token": 1.25e-13}"#);
    let used = Usage { input: 4, output: 4, ..Usage::default() };
    let cost = cost(&listed, &used, &CostContext::default()).expect("known");
    assert_eq!(cost.total, PicoUsd::from_pico(1));
    assert_eq!(cost.input + cost.output, cost.total);
}

#[test]
fn large_amounts_survive_factors() {
    let listed = prices(r#"{"input_cost_per_token": 0.01, "regional_endpoint_uplift_multiplier": 1.1}"#);
    let used = Usage { input: 10_000_000_000, ..Usage::default() };
    let context = CostContext { regional_endpoint: true, ..CostContext::default() };
    assert_eq!(cost(&listed, &used, &context).map(|cost| cost.total), Some(usd("110000000")));
}

fn any_usage() -> impl Strategy<Value = Usage> {
    (
        0u64..900_000,
        0u64..400_000,
        0u64..100_000,
        0u64..100_000,
        0u64..1000,
        0u64..200_000,
        0u64..200_000,
        0u64..9,
    )
        .prop_map(|(fresh, read, write, hour, audio, output, reasoning, searches)| Usage {
            input: fresh + read + write + hour,
            cache_read: read,
            cache_write_5m: write,
            cache_write_1h: hour,
            input_audio: audio.min(fresh),
            output: output + reasoning,
            reasoning,
            web_searches: searches,
            ..Usage::default()
        })
}

fn any_model() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "gpt-5.5",
        "gpt-4o",
        "claude-haiku-5-5",
        "claude-opus-5",
        "gemini/gemini-2.5-flash",
        "gemini-2.5-pro",
        "dashscope/qwen3-max",
        "deepseek-v4-pro",
        "volcengine/doubao-seed-2-1-lite-260915",
        "xai/grok-4.20-0309-non-reasoning",
    ])
}

fn any_tier() -> impl Strategy<Value = ServiceTier> {
    prop::sample::select(vec![
        ServiceTier::Standard,
        ServiceTier::Priority,
        ServiceTier::Flex,
        ServiceTier::Batch,
        ServiceTier::Ultrafast,
    ])
}

proptest! {
    #[test]
    fn parts_sum_to_the_total(
        model in any_model(), usage in any_usage(), tier in any_tier(), at in 0i64..4_000_000_000,
        percent in 0u32..100,
    ) {
        let info = Catalog::built_in().entry(model).expect("listed");
        let context = CostContext {
            provider: info.provider_name().expect("a provider"),
            tier: Some(tier),
            unix_seconds: at,
            factors: &["us", "fast"],
            data_region: Some(DataRegion::Eu),
            regional_endpoint: true,
            discount: Ratio::parse(&format!("0.{percent:02}")).ok(),
            margin: Some(Margin { fraction: Ratio::parse("0.333").expect("a ratio"), fixed: usd("0.000001") }),
            ..CostContext::default()
        };
        let cost = cost(&info.prices, &usage, &context).expect("priced");
        let parts =
            [cost.input, cost.output, cost.cache_read, cost.cache_creation, cost.reasoning, cost.tool];
        prop_assert_eq!(parts.into_iter().sum::<PicoUsd>(), cost.original);
        prop_assert_eq!(cost.original - cost.discount + cost.margin, cost.total);
        prop_assert!(parts.iter().all(|part| *part >= PicoUsd::ZERO));
    }

    /// More of anything never costs less, on the same side of every threshold.
    #[test]
    fn cost_is_monotone(model in any_model(), usage in any_usage(), more in any_usage(), tier in any_tier()) {
        let info = Catalog::built_in().entry(model).expect("listed");
        let context = CostContext { tier: Some(tier), prompt_tokens: Some(usage.input), ..CostContext::default() };
        let sum = added(&usage, &more);
        let (small, large) = (cost(&info.prices, &usage, &context), cost(&info.prices, &sum, &context));
        prop_assert!(small.expect("priced").total <= large.expect("priced").total);
    }

    /// Two requests on the same side of every threshold cost what their union costs.
    #[test]
    fn cost_is_additive(model in any_model(), one in any_usage(), two in any_usage(), tier in any_tier()) {
        let info = Catalog::built_in().entry(model).expect("listed");
        let context = CostContext { tier: Some(tier), prompt_tokens: Some(1000), ..CostContext::default() };
        let of = |usage: &Usage| cost(&info.prices, usage, &context).expect("priced").total.pico();
        // Each of the three is rounded once: at most half a pico-dollar each.
        prop_assert!((of(&one) + of(&two) - of(&added(&one, &two))).abs() <= 1);
    }

    /// Under standard terms a prompt one token longer than the threshold pays the long price throughout.
    #[test]
    fn a_threshold_price_applies_to_the_whole_request(above in 1u64..200_000) {
        let listed = prices(r#"{"input_cost_per_token": 1e-6, "input_cost_per_token_above_200k_tokens": 3e-6}"#);
        let of = |input| {
            let used = Usage { input, ..Usage::default() };
            cost(&listed, &used, &CostContext::default()).expect("priced").total.pico()
        };
        prop_assert_eq!(of(200_000 + above), i128::from(200_000 + above) * 3_000_000);
        prop_assert_eq!(of(200_001 - above.min(200_000)), i128::from(200_001 - above.min(200_000)) * 1_000_000);
    }

    #[test]
    fn whatever_the_units_nothing_panics(
        counts in prop::collection::vec(any::<u64>(), 6), length in any::<u32>(), key in 0usize..4240,
    ) {
        let catalog = Catalog::built_in();
        let name = catalog.keys().nth(key).expect("a key").to_owned();
        let info = catalog.entry(&name).expect("listed");
        let usage = Usage {
            input: counts[0], cache_read: counts[1], output: counts[2], reasoning: counts[3],
            web_searches: counts[4], ..Usage::default()
        };
        let units = Units {
            images: counts[5], seconds: Duration::from_millis(length.into()), ..Units::default()
        };
        let context = CostContext { units, ..CostContext::default() };
        let _ = cost(&info.prices, &usage, &context);
    }
}

fn added(one: &Usage, two: &Usage) -> Usage {
    Usage {
        input: one.input + two.input,
        cache_read: one.cache_read + two.cache_read,
        cache_write_5m: one.cache_write_5m + two.cache_write_5m,
        cache_write_1h: one.cache_write_1h + two.cache_write_1h,
        input_audio: one.input_audio + two.input_audio,
        output: one.output + two.output,
        reasoning: one.reasoning + two.reasoning,
        web_searches: one.web_searches + two.web_searches,
        ..Usage::default()
    }
}

#[test]
fn price_keys_come_apart_into_kind_threshold_and_tier() {
    let key =
        PriceKey::parse("cache_creation_input_token_cost_above_1hr_above_200k_tokens").expect("a price");
    assert_eq!((key.kind, key.above_k, key.tier), (PriceKind::CacheWrite1h, 200, ServiceTier::Standard));
    let key = PriceKey::parse("input_cost_per_token_above_272k_tokens_priority").expect("a price");
    assert_eq!((key.kind, key.above_k, key.tier), (PriceKind::InputToken, 272, ServiceTier::Priority));
    let key = PriceKey::parse("input_cost_per_video_per_second_above_15s_interval").expect("a price");
    assert_eq!(key, PriceKey::flat(PriceKind::InputVideoSecondAbove15s));
    assert_eq!(PriceKey::parse("input_cost_per_tokn"), None);
}
