//! What admission and settlement cost with 100,000 keys: `cargo bench -p faregate-state`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has failed")]

use std::sync::Arc;

use divan::{AllocProfiler, Bencher};
use faregate_state::clock::SystemClock;
use faregate_state::limits::{
    Actual, Estimate, Limit, Limits, Rule, Schedule, Scope, ScopeKey, Settings, TokenKind, Window,
};
use faregate_terms::{CallId, PicoUsd};
use futures_util::FutureExt;

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const KEYS: usize = 100_000;

fn main() {
    divan::main();
}

/// What a key in a team of an organization is checked against.
fn limits_of(key: usize) -> Vec<Limit> {
    let (team, organization) = (key / 100, key / 10_000);
    let key = || ScopeKey::of(Scope::Key, format!("{key:064x}"));
    let team = || ScopeKey::of(Scope::Team, format!("team-{team}"));
    let organization = || ScopeKey::of(Scope::Organization, format!("organization-{organization}"));
    let schedule = Arc::new(Schedule::utc("30d".parse().unwrap()));
    let window = || Window::Calendar {
        ends: "2999-01-01T00:00:00Z".parse().unwrap(),
        schedule: Arc::clone(&schedule),
    };
    let budget = |scope| Limit::budget(scope, PicoUsd::parse("1000000").unwrap(), PicoUsd::ZERO, window());
    vec![
        budget(key()).with_rule(Rule::Within),
        budget(team()),
        budget(organization()),
        budget(ScopeKey::global()),
        Limit::requests(key(), u64::MAX),
        Limit::tokens(key(), TokenKind::Total, u64::MAX),
        Limit::requests(team(), u64::MAX),
        Limit::parallel(key(), 1_000),
    ]
}

fn warm() -> (Limits, Vec<Vec<Limit>>) {
    let limits = Limits::alone(Settings::default(), Arc::new(SystemClock::new()));
    let keys: Vec<Vec<Limit>> = (0..KEYS).map(limits_of).collect();
    for over in &keys {
        request(&limits, over, &"warm".into());
    }
    (limits, keys)
}

fn request(limits: &Limits, over: &[Limit], call: &CallId) {
    let estimate = Estimate {
        likely: PicoUsd::from_pico(5_000_000),
        least: PicoUsd::from_pico(1_000_000),
        input_tokens: 100,
        output_tokens: 200,
    };
    let hold = limits.reserve(over, &estimate, call.clone()).now_or_never().unwrap().unwrap();
    hold.settle(&Actual { cost: PicoUsd::from_pico(4_000_000), input_tokens: 100, output_tokens: 150 });
}

/// Reserve in eight limits and settle.
#[divan::bench(threads = [1, 2])]
fn reserve_and_settle(bencher: Bencher<'_, '_>) {
    let (limits, keys) = warm();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let call: CallId = "call".into();
    bencher.bench(|| {
        let at = next.fetch_add(7_919, std::sync::atomic::Ordering::Relaxed) % KEYS;
        request(&limits, &keys[at], &call);
    });
}

/// One slice more for a stream.
#[divan::bench]
fn raise(bencher: Bencher<'_, '_>) {
    let (limits, keys) = warm();
    let mut hold =
        limits.reserve(&keys[0], &Estimate::default(), "call".into()).now_or_never().unwrap().unwrap();
    bencher.bench_local(|| hold.raise(PicoUsd::from_pico(1)));
}
