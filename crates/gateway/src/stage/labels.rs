//! The headers that describe an answer. Source: compat, behaviour §6.
//!
//! Names are parsed once for the process and what a destination says of itself once per destination, since
//! these headers go out with every answer.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::BytesMut;
use foldhash::fast::RandomState;
use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::RwLock;

use faregate_state::limits::{Meter, SCOPES, Scope, Standing, TokenKind};
use faregate_terms::PicoUsd;

use crate::call::Call;
use crate::destination::Destination;
use crate::stage::admit::Admitted;

pub(super) static CALL_ID: HeaderName = HeaderName::from_static("x-litellm-call-id");
pub(super) static VERSION: HeaderName = HeaderName::from_static("x-litellm-version");
pub(super) static COST: HeaderName = HeaderName::from_static("x-litellm-response-cost");
/// The cost before discount and margin.
pub(super) static COST_ORIGINAL: HeaderName = HeaderName::from_static("x-litellm-response-cost-original");
/// The key of an answer from the response cache.
pub(super) static CACHE_KEY: HeaderName = HeaderName::from_static("x-litellm-cache-key");
/// How much the question of a kept answer means the same. Source: compat, behaviour §7.
pub(super) static SIMILARITY: HeaderName = HeaderName::from_static("x-litellm-semantic-similarity");
/// US dollars that an answer from the response cache did not cost.
pub(super) static CACHE_SAVED: HeaderName = HeaderName::from_static("x-faregate-cache-saved");
static MODEL_ID: HeaderName = HeaderName::from_static("x-litellm-model-id");
static MODEL_NAME: HeaderName = HeaderName::from_static("x-litellm-model-name");
static API_BASE: HeaderName = HeaderName::from_static("x-litellm-model-api-base");
static GROUP: HeaderName = HeaderName::from_static("x-litellm-model-group");
static RETRIES: HeaderName = HeaderName::from_static("x-litellm-attempted-retries");
static MAX_RETRIES: HeaderName = HeaderName::from_static("x-litellm-max-retries");
static FALLBACKS: HeaderName = HeaderName::from_static("x-litellm-attempted-fallbacks");
static DURATION: HeaderName = HeaderName::from_static("x-litellm-response-duration-ms");
static OVERHEAD: HeaderName = HeaderName::from_static("x-litellm-overhead-duration-ms");
static LOSSES: HeaderName = HeaderName::from_static("x-faregate-losses");
static KEY_TPM: HeaderName = HeaderName::from_static("x-litellm-key-tpm-limit");
static KEY_RPM: HeaderName = HeaderName::from_static("x-litellm-key-rpm-limit");
static KEY_BUDGET: HeaderName = HeaderName::from_static("x-litellm-key-max-budget");
static KEY_SPEND: HeaderName = HeaderName::from_static("x-litellm-key-spend");
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The value of [`VERSION`].
pub(super) const OUR_VERSION: HeaderValue = HeaderValue::from_static(env!("CARGO_PKG_VERSION"));

/// What a destination says of itself in every answer.
#[derive(Debug)]
pub(crate) struct Labels {
    model_id: Option<HeaderValue>,
    model_name: Option<HeaderValue>,
    api_base: Option<HeaderValue>,
}

impl Labels {
    pub(crate) fn of(destination: &Destination) -> Self {
        Self {
            model_id: value(destination.deployment.as_str()),
            model_name: value(&destination.named),
            api_base: value(destination.base.split('?').next().unwrap_or_default()),
        }
    }
}

/// Values of headers being written, all in one piece of memory.
struct Values(BytesMut);

impl Values {
    /// Room for what is usually said.
    fn new() -> Self {
        Self(BytesMut::with_capacity(512))
    }

    /// Sets a header unless the value is empty or cannot be sent.
    fn put(&mut self, headers: &mut HeaderMap, name: &HeaderName, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
        let value = HeaderValue::from_maybe_shared(self.0.split().freeze());
        if let Some(value) = value.ok().filter(|value| !value.is_empty()) {
            headers.insert(name.clone(), value);
        }
    }

    fn number(&mut self, headers: &mut HeaderMap, name: &HeaderName, number: i128) {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.put(headers, name, itoa::Buffer::new().format(number));
    }
}

/// Headers about the answer and those of the provider.
pub(super) fn describe(call: &Call, admitted: &Admitted, upstream: &HeaderMap, out: &mut HeaderMap) {
    let meter = &admitted.meter;
    let mut values = Values::new();
    values.put(out, &CALL_ID, call.arrival.id.as_str());
    out.insert(VERSION.clone(), OUR_VERSION);
    if let Some(destination) = &meter.destination {
        let labels = destination.labels();
        for (name, label) in
            [(&MODEL_ID, &labels.model_id), (&MODEL_NAME, &labels.model_name), (&API_BASE, &labels.api_base)]
        {
            if let Some(label) = label {
                out.insert(name.clone(), label.clone());
            }
        }
    }
    if let Some(group) = &meter.group {
        values.put(out, &GROUP, group.as_str());
    }
    values.number(out, &RETRIES, meter.retries.into());
    if meter.retries > 0 {
        values.number(out, &MAX_RETRIES, meter.max_retries.into());
    }
    values.number(out, &FALLBACKS, meter.fallbacks as i128);
    let duration = admitted.elapsed();
    let waiting: Duration = meter.upstream_time;
    values.put(out, &DURATION, Milliseconds::of(duration).text());
    if !waiting.is_zero() {
        values.put(out, &OVERHEAD, Milliseconds::of(duration.saturating_sub(waiting)).text());
    }
    if !meter.losses.is_empty() {
        values.put(out, &LOSSES, &meter.losses.join(","));
    }
    limits(admitted, &mut values, out);
    forward(upstream, out);
}

/// Headers about an answer that is passed through; the target's own are there already.
pub(crate) fn describe_passed(admitted: &Admitted, out: &mut HeaderMap) {
    let meter = &admitted.meter;
    let mut values = Values::new();
    values.put(out, &CALL_ID, meter.arrival.id.as_str());
    out.insert(VERSION.clone(), OUR_VERSION);
    if let Some(target) = &meter.target {
        values.put(out, &API_BASE, target);
    }
    let (duration, waiting) = (admitted.elapsed(), meter.upstream_time);
    values.put(out, &DURATION, Milliseconds::of(duration).text());
    values.put(out, &OVERHEAD, Milliseconds::of(duration.saturating_sub(waiting)).text());
    if let Some(cost) = meter.cost.flatten() {
        values.put(out, &COST, cost.text().as_str());
    }
    limits(admitted, &mut values, out);
}

/// The key's limits, and how the rates that were asked stand.
fn limits(admitted: &Admitted, values: &mut Values, out: &mut HeaderMap) {
    if let Some(caller) = admitted.principal.caller() {
        let shown = &caller.shown_limits;
        let numbers = [(&KEY_TPM, shown.tpm), (&KEY_RPM, shown.rpm)];
        for (name, most) in numbers {
            if let Some(most) = most {
                values.number(out, name, most.into());
            }
        }
        if let Some(max) = shown.max_budget {
            values.put(out, &KEY_BUDGET, max.text().as_str());
        }
    }
    let Some(held) = &admitted.held else { return };
    for standing in held.hold.standings() {
        let (scope, meter) = (standing.limit.scope(), standing.limit.meter());
        if meter == Meter::Budget {
            if scope.scope == Scope::Key && scope.model.is_none() {
                // This request's own part, as far as it is known by now.
                let own = admitted.meter.cost.flatten().unwrap_or(PicoUsd::ZERO);
                values.put(out, &KEY_SPEND, (PicoUsd::from_pico(standing.spent) + own).text().as_str());
            }
            continue;
        }
        if let Some([limit, remaining]) = RATES.get(&(scope.word(), meter.word())) {
            for (name, value) in [(limit, standing.amount()), (remaining, standing.remaining())] {
                values.number(out, name, value);
            }
        }
        per_model(&standing, values, out);
    }
}

/// The headers of a rate and of what is left of it, by the words for whose and what it is.
static RATES: LazyLock<HashMap<(&str, &str), [HeaderName; 2], RandomState>> = LazyLock::new(|| {
    let meters = [Meter::Requests, Meter::Tokens(TokenKind::default()), Meter::Parallel].map(Meter::word);
    let words = SCOPES.iter().flat_map(|row| [row.word, row.per_model]);
    let named = words.flat_map(|word| meters.map(|what| (word, what))).filter_map(|(word, what)| {
        let name = |part: &str| HeaderName::try_from(format!("x-ratelimit-{word}-{part}-{what}")).ok();
        Some(((word, what), [name("limit")?, name("remaining")?]))
    });
    named.collect()
});

/// A key's limit for one model, as LiteLLM names it.
fn per_model(standing: &Standing, values: &mut Values, out: &mut HeaderMap) {
    let scope = standing.limit.scope();
    let (Scope::Key, Some(model)) = (scope.scope, &scope.model) else { return };
    let what = standing.limit.meter().word();
    let name = format!("x-litellm-key-remaining-{what}-{}", model.replace(['/', ':'], "-"));
    if let Ok(name) = HeaderName::try_from(name) {
        values.number(out, &name, standing.remaining());
    }
}

/// Sets a header unless the value is empty or cannot be sent.
pub(super) fn put(headers: &mut HeaderMap, name: &HeaderName, text: &str) {
    if let Some(value) = value(text) {
        headers.insert(name.clone(), value);
    }
}

fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok().filter(|value| !value.is_empty())
}

/// The provider's headers, marked as such; its rate limits also under their own names.
fn forward(upstream: &HeaderMap, out: &mut HeaderMap) {
    for (name, value) in upstream {
        if is_hidden(name) {
            continue;
        }
        if name.as_str().starts_with("x-ratelimit-") {
            out.insert(name.clone(), value.clone());
        }
        if let Some((_, ours)) = ANTHROPIC_RATES.iter().find(|(theirs, _)| name == theirs) {
            out.insert(ours.clone(), value.clone());
        }
        if let Some(name) = marked(name) {
            out.append(name, value.clone());
        }
    }
}

/// Anthropic's rate limits under the names OpenAI's clients read.
static ANTHROPIC_RATES: [(HeaderName, HeaderName); 4] = [
    (
        HeaderName::from_static("anthropic-ratelimit-requests-limit"),
        HeaderName::from_static("x-ratelimit-limit-requests"),
    ),
    (
        HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
        HeaderName::from_static("x-ratelimit-remaining-requests"),
    ),
    (
        HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
        HeaderName::from_static("x-ratelimit-limit-tokens"),
    ),
    (
        HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
        HeaderName::from_static("x-ratelimit-remaining-tokens"),
    ),
];

/// Hop-by-hop, length, encoding and cookie headers.
fn is_hidden(name: &HeaderName) -> bool {
    static HIDDEN: [HeaderName; 10] = [
        CONNECTION,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        SET_COOKIE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    HIDDEN.contains(name) || *name == KEEP_ALIVE
}

/// `llm_provider-` before the name of a provider's header. Providers send the same few names all the time.
fn marked(name: &HeaderName) -> Option<HeaderName> {
    static KNOWN: LazyLock<RwLock<HashMap<HeaderName, HeaderName, RandomState>>> =
        LazyLock::new(RwLock::default);
    /// A provider that makes names up must not fill our memory.
    const MOST: usize = 1024;
    if let Some(known) = KNOWN.read().get(name) {
        return Some(known.clone());
    }
    let made = HeaderName::try_from(format!("llm_provider-{name}")).ok()?;
    let mut known = KNOWN.write();
    if known.len() < MOST {
        known.insert(name.clone(), made.clone());
    }
    Some(made)
}

/// A duration as milliseconds with three decimals, written without an allocation.
struct Milliseconds {
    digits: [u8; 24],
    start: usize,
}

impl Milliseconds {
    fn of(duration: Duration) -> Self {
        let mut left = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let (mut digits, mut start) = ([0; 24], 24);
        // Three decimals, the point, and at least one digit before it.
        for place in 0.. {
            if place == 3 {
                start -= 1;
                digits[start] = b'.';
            }
            start -= 1;
            digits[start] = b'0' + u8::try_from(left % 10).unwrap_or_default();
            left /= 10;
            if place >= 3 && left == 0 {
                break;
            }
        }
        Self { digits, start }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.digits[self.start..]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_have_three_decimals() {
        for (micros, text) in [(0, "0.000"), (7, "0.007"), (1_000, "1.000"), (12_345_678, "12345.678")] {
            assert_eq!(Milliseconds::of(Duration::from_micros(micros)).text(), text);
        }
        assert_eq!(Milliseconds::of(Duration::MAX).text(), "18446744073709551.615");
    }

    #[test]
    fn every_rate_of_every_subject_has_its_headers() {
        for row in SCOPES {
            for meter in [Meter::Requests, Meter::Tokens(TokenKind::Input), Meter::Parallel] {
                let [limit, remaining] = &RATES[&(row.word, meter.word())];
                assert_eq!(limit.as_str(), format!("x-ratelimit-{}-limit-{}", row.word, meter.word()));
                assert!(remaining.as_str().contains("-remaining-"), "{remaining}");
            }
        }
    }

    #[test]
    fn a_providers_headers_come_marked_and_its_limits_twice() {
        let mut upstream = HeaderMap::new();
        for (name, value) in [
            ("x-request-id", "r1"),
            ("x-ratelimit-remaining-requests", "9"),
            ("set-cookie", "a=b"),
            ("content-length", "3"),
        ] {
            upstream.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut out = HeaderMap::new();
        forward(&upstream, &mut out);
        let names: Vec<&str> = out.keys().map(HeaderName::as_str).collect();
        assert_eq!(
            names,
            [
                "llm_provider-x-request-id",
                "x-ratelimit-remaining-requests",
                "llm_provider-x-ratelimit-remaining-requests"
            ]
        );
    }
}
