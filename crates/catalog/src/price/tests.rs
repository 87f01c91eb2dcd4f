use super::*;

fn read(json: &str) -> Prices {
    Prices::from_json(json).expect(json)
}

fn price(text: &str) -> Option<Price> {
    Some(Price::parse(text).expect(text))
}

#[test]
fn prices_keep_every_digit_of_the_text() {
    let prices =
        read(r#"{"input_cost_per_token": 1.59263611e-07, "output_cost_per_token": "0.001333333333333"}"#);
    assert_eq!(prices.flat(PriceKind::InputToken), price("0.000000159263611"));
    assert_eq!(prices.flat(PriceKind::OutputToken), price("0.001333333333333"));
}

#[test]
fn a_misspelt_or_senseless_price_is_refused_by_name() {
    for (json, reason) in [
        (r#"{"input_cost_per_tokens": 1}"#, "did you mean `input_cost_per_token`?"),
        (r#"{"temperature": 1}"#, "`temperature` is not a price field"),
        (r#"{"input_cost_per_token": true}"#, "input_cost_per_token: `true` is not a decimal number"),
        (r#"{"input_cost_per_token": -1}"#, "cannot be negative"),
        (r#"{"tiered_pricing": {"range": 1}}"#, "tiered_pricing"),
        (r#"{"tiered_pricing": [{"range": [1]}]}"#, "a range has two ends"),
        (r#"{"off_peak_pricing": {"hours_utc": "25:00-26:00"}}"#, "HH:MM-HH:MM"),
        (r#"{"off_peak_pricing": {"weekday_timezone": "Europe/Berlin"}}"#, "daylight saving"),
    ] {
        let error = Prices::from_json(json).expect_err(json).to_string();
        assert!(error.contains(reason), "{json}: {error}");
    }
}

#[test]
fn a_null_price_says_nothing() {
    assert!(read(r#"{"input_cost_per_token": null, "tiered_pricing": null}"#).is_empty());
}

#[test]
fn own_token_prices_leave_the_list_but_inherit_cache_and_tool_prices() {
    let listed = read(
        r#"{"input_cost_per_token": 1, "input_cost_per_token_above_200k_tokens": 2, "output_cost_per_token": 3,
            "output_cost_per_reasoning_token": 9, "cache_read_input_token_cost": 0.1,
            "cache_creation_input_token_cost_above_1hr": 4, "input_cost_per_token_priority": 7,
            "search_context_cost_per_query": {"search_context_size_low": 1}}"#,
    );
    let own = read(r#"{"input_cost_per_token": "0.5", "output_cost_per_token": "0.6"}"#);
    let both = own.over(&listed);
    assert_eq!(both.flat(PriceKind::InputToken), price("0.5"));
    assert_eq!(both.flat(PriceKind::OutputToken), price("0.6"));
    assert_eq!(both.flat(PriceKind::CacheRead), price("0.1"));
    assert_eq!(both.flat(PriceKind::CacheWrite1h), price("4"));
    assert_eq!(both.flat(PriceKind::ReasoningToken), None);
    assert_eq!(both.of(PriceKind::InputToken).len(), 1, "no threshold and no tier of the list");
    assert!(both.search.is_some());

    let explicit_zero =
        read(r#"{"input_cost_per_token": 1, "cache_read_input_token_cost": 0}"#).over(&listed);
    assert_eq!(explicit_zero.flat(PriceKind::CacheRead), price("0"));
}

#[test]
fn other_own_prices_win_field_by_field() {
    let listed = read(
        r#"{"input_cost_per_token": 1, "input_cost_per_token_priority": 7, "output_cost_per_image": 2}"#,
    );
    let both = read(r#"{"output_cost_per_image": 3, "input_cost_per_token_priority": 8}"#).over(&listed);
    assert_eq!(both.flat(PriceKind::InputToken), price("1"));
    assert_eq!(both.flat(PriceKind::OutputImage), price("3"));
    let priority = PriceKey { kind: PriceKind::InputToken, above_k: 0, tier: ServiceTier::Priority };
    assert_eq!(both.get(priority), price("8"));
}

#[test]
fn own_tiers_replace_the_list_s_flat_prices() {
    let listed = read(r#"{"input_cost_per_token": 1, "output_cost_per_token": 2}"#);
    let both = read(r#"{"tiered_pricing": [{"range": [0, 1000], "input_cost_per_token": 5}]}"#).over(&listed);
    assert_eq!(both.tiers.len(), 1);
    assert_eq!(both.flat(PriceKind::InputToken), None);
}

const MONDAY: i64 = 1_794_787_200; // 2026-11-16 00:00 UTC
const HOUR: i64 = 3600;

#[test]
fn windows_include_their_start_exclude_their_end_and_may_wrap_midnight() {
    let peak = |hours: &str| {
        let json =
            format!(r#"{{"off_peak_pricing": {{"hours_utc": "{hours}", "input_cost_per_token": 1}}}}"#);
        read(&json).off_peak.expect("off-peak prices")
    };
    let day = peak("04:00-06:00");
    assert!(!day.covers(MONDAY + 4 * HOUR - 1));
    assert!(day.covers(MONDAY + 4 * HOUR));
    assert!(day.covers(MONDAY + 6 * HOUR - 1));
    assert!(!day.covers(MONDAY + 6 * HOUR));
    let night = peak("22:30-01:00");
    assert!(night.covers(MONDAY + 23 * HOUR) && night.covers(MONDAY) && !night.covers(MONDAY + HOUR));
    let evening = peak("10:00-00:00");
    assert!(evening.covers(MONDAY + 24 * HOUR - 1) && !evening.covers(MONDAY));
    assert!(peak("00:00-00:00").covers(MONDAY + 12 * HOUR), "equal ends are the whole day");
    assert!(peak("00:00-00:00").covers(-5), "also before 1970");
}

#[test]
fn weekdays_are_counted_in_the_stated_zone() {
    let saturday = |zone: &str| {
        read(&format!(
            r#"{{"off_peak_pricing": {{"weekday_timezone": "{zone}", "input_cost_per_token": 1,
                "windows": [{{"hours_utc": "00:00-00:00", "weekdays": [6]}}]}}}}"#
        ))
        .off_peak
        .expect("off-peak prices")
    };
    let friday_evening = MONDAY + 4 * 24 * HOUR + 17 * HOUR;
    assert!(saturday("Asia/Shanghai").covers(friday_evening));
    assert!(!saturday("UTC").covers(friday_evening));
    assert!(saturday("UTC").covers(MONDAY + 5 * 24 * HOUR));
}

#[test]
fn equal_prices_have_one_version_and_a_changed_digit_another() {
    let version = |json: &str| read(json).version();
    let one = version(r#"{"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06}"#);
    assert_eq!(one, version(r#"{"output_cost_per_token": "0.000002", "input_cost_per_token": "0.000001"}"#));
    assert_ne!(one, version(r#"{"input_cost_per_token": 1e-06, "output_cost_per_token": 2.1e-06}"#));
    assert_eq!(one.len(), 12);
}
