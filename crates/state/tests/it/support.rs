//! What the tests here share.

use std::sync::Arc;

use faregate_state::clock::ManualClock;
use faregate_state::limits::{
    Denied, Estimate, Hold, Limit, Limits, Rule, Scope, ScopeKey, Settings, Window,
};
use faregate_terms::PicoUsd;
use futures_util::FutureExt;

pub fn usd(dollars: i128) -> PicoUsd {
    PicoUsd::from_pico(dollars * 1_000_000_000_000)
}

/// Noon of a Saturday.
pub fn noon() -> jiff::Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

pub fn alone() -> (Limits, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(noon()));
    (Limits::alone(Settings::default(), clock.clone()), clock)
}

/// Reserves where no answer has to be waited for.
pub fn reserve(limits: &Limits, over: &[Limit], estimate: &Estimate) -> Result<Hold, Box<Denied>> {
    limits.reserve(over, estimate, "call".into()).now_or_never().unwrap()
}

pub fn strict(scope: Scope, max: PicoUsd) -> Limit {
    Limit::budget(ScopeKey::of(scope, "one"), max, PicoUsd::ZERO, Window::Endless).with_rule(Rule::Within)
}

pub fn budget(scope: Scope, max: PicoUsd) -> Limit {
    Limit::budget(ScopeKey::of(scope, "one"), max, PicoUsd::ZERO, Window::Endless)
}
