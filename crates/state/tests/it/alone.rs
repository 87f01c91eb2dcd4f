//! One replica that shares with nobody.

use std::sync::Arc;
use std::time::Duration;

use faregate_state::clock::{ManualClock, SystemClock};
use faregate_state::limits::{
    Abandon, Actual, Cause, Estimate, Limit, Limits, Meter, Rule, SCOPES, Schedule, Scope, ScopeKey,
    Settings, TokenKind, Window,
};
use faregate_terms::PicoUsd;
use futures_util::FutureExt;

use crate::support::{alone, budget, noon, reserve, strict, usd};

fn cost(dollars: i128) -> Actual {
    Actual { cost: usd(dollars), ..Actual::default() }
}

#[test]
fn a_strict_budget_admits_what_fits_and_nothing_more() {
    for (spent, held, asks, admitted) in
        [(0, 0, 100, true), (0, 40, 60, true), (60, 0, 41, false), (60, 40, 1, false)]
    {
        let (limits, _) = alone();
        let limit = strict(Scope::Key, usd(100));
        limits.book(std::slice::from_ref(&limit), &cost(spent));
        let held_back = reserve(&limits, std::slice::from_ref(&limit), &Estimate::exact(usd(held))).unwrap();
        let outcome = reserve(&limits, &[limit], &Estimate::exact(usd(asks)));
        assert_eq!(outcome.is_ok(), admitted, "spent {spent}, held {held}, asks {asks}");
        drop(held_back);
    }
}

#[test]
fn the_default_rule_admits_while_anything_is_left() {
    let (limits, _) = alone();
    let limit = [budget(Scope::Key, usd(10))];
    reserve(&limits, &limit, &Estimate::exact(usd(9))).unwrap().settle(&cost(9));
    let last = reserve(&limits, &limit, &Estimate::exact(usd(5))).unwrap();
    let denied = reserve(&limits, &limit, &Estimate::exact(usd(1))).unwrap_err();
    assert_eq!((denied.standing.spent, denied.standing.held), (usd(9).pico(), usd(5).pico()));
    assert_eq!(denied.standing.remaining(), 0);
    assert_eq!((denied.cause, denied.retry_after), (Cause::Over, None));
    let text = "Key=one is over its budget: spent 9, held by requests in flight 5, limit 10";
    assert_eq!(denied.to_string(), text);
    last.settle(&cost(0));
    assert!(reserve(&limits, &limit, &Estimate::exact(usd(1))).is_ok());
}

#[test]
fn a_request_held_in_one_scope_and_refused_in_another_leaves_no_trace() {
    let (limits, _) = alone();
    let all = [
        strict(Scope::Team, usd(5)),
        strict(Scope::Key, usd(100)),
        Limit::requests(ScopeKey::of(Scope::Key, "one"), 10),
    ];
    let denied = reserve(&limits, &all, &Estimate::exact(usd(6))).unwrap_err();
    assert_eq!(denied.standing.limit.scope().scope, Scope::Team);
    for limit in &all {
        let standing = limits.standing(limit);
        assert_eq!((standing.spent, standing.held), (0, 0), "{:?}", limit.scope());
    }
}

#[test]
fn every_scope_is_counted_refused_and_named() {
    for row in SCOPES {
        let (limits, clock) = alone();
        let scope = ScopeKey::of(row.scope, "one");
        let limit = [Limit::requests(scope.clone(), 2)];
        let (first, second) =
            (reserve(&limits, &limit, &Estimate::default()), reserve(&limits, &limit, &Estimate::default()));
        assert!(first.is_ok() && second.is_ok(), "{}", row.word);
        let denied = reserve(&limits, &limit, &Estimate::default()).unwrap_err();
        assert_eq!(denied.standing.limit.scope().word(), row.word);
        assert_eq!(denied.retry_after, Some(Duration::from_secs(60)));
        let elsewhere = [Limit::requests(ScopeKey::of(row.scope, "other"), 2)];
        assert!(reserve(&limits, &elsewhere, &Estimate::default()).is_ok(), "{}", row.word);
        clock.advance(Duration::from_secs(60));
        assert!(reserve(&limits, &limit, &Estimate::default()).is_ok(), "{} after its window", row.word);
    }
}

#[test]
fn budgets_are_reported_before_rates_and_keys_before_teams() {
    let (limits, _) = alone();
    let key = ScopeKey::of(Scope::Key, "one");
    let all = [
        Limit::requests(key, 0),
        strict(Scope::Team, usd(0)),
        strict(Scope::Key, usd(0)),
        strict(Scope::Global, usd(0)),
    ];
    let denied = reserve(&limits, &all, &Estimate::exact(usd(1))).unwrap_err();
    assert_eq!(
        (denied.standing.limit.scope().scope, denied.standing.limit.meter()),
        (Scope::Key, Meter::Budget)
    );
}

#[test]
fn tokens_are_held_by_estimate_and_corrected_by_use() {
    for (kind, held, used) in
        [(TokenKind::Total, 150, 70), (TokenKind::Input, 100, 60), (TokenKind::Output, 50, 10)]
    {
        let (limits, clock) = alone();
        let limit = Limit::tokens(ScopeKey::of(Scope::Key, "one"), kind, 200);
        let estimate = Estimate { input_tokens: 100, output_tokens: 50, ..Estimate::default() };
        let hold = reserve(&limits, std::slice::from_ref(&limit), &estimate).unwrap();
        assert_eq!(limits.standing(&limit).spent, held);
        let late = reserve(&limits, std::slice::from_ref(&limit), &Estimate::default()).unwrap();
        hold.settle(&Actual { input_tokens: 60, output_tokens: 10, ..Actual::default() });
        assert_eq!(limits.standing(&limit).spent, used);
        clock.advance(Duration::from_secs(61));
        late.settle(&Actual { input_tokens: 60, output_tokens: 60, ..Actual::default() });
        assert_eq!(limits.standing(&limit).spent, 0, "what was counted in a window ends with it");
    }
}

#[test]
fn parallel_slots_come_back_however_a_request_ends() {
    let (limits, clock) = alone();
    let limit = [Limit::parallel(ScopeKey::of(Scope::Model, "one"), 2)];
    let first = reserve(&limits, &limit, &Estimate::default()).unwrap();
    let second = reserve(&limits, &limit, &Estimate::default()).unwrap();
    clock.advance(Duration::from_secs(3_600));
    assert!(reserve(&limits, &limit, &Estimate::default()).is_err(), "slots do not expire under a request");
    drop(first);
    let _third = reserve(&limits, &limit, &Estimate::default()).unwrap();
    second.settle(&Actual::default());
    assert!(reserve(&limits, &limit, &Estimate::default()).is_ok());
}

#[test]
fn a_hold_grows_with_its_stream_until_the_budget_ends() {
    let (limits, _) = alone();
    let all = [strict(Scope::Key, usd(10)), budget(Scope::Team, usd(1))];
    let mut hold = reserve(&limits, &all, &Estimate::exact(usd(4))).unwrap();
    assert_eq!(hold.affordable(), Some(usd(6)));
    hold.top_up(usd(5)).now_or_never().unwrap().unwrap();
    let denied = hold.top_up(usd(2)).now_or_never().unwrap().unwrap_err();
    assert_eq!(denied.standing.limit.scope().scope, Scope::Key);
    assert_eq!(hold.raise(usd(2)), usd(1));
    assert_eq!((hold.cost(), hold.affordable()), (usd(10), Some(usd(0))));
    hold.settle(&cost(7));
    for limit in &all {
        let standing = limits.standing(limit);
        assert_eq!((standing.spent, standing.held), (usd(7).pico(), 0), "{:?}", limit.scope());
    }
}

#[test]
fn a_strict_budget_admits_with_what_is_left_if_that_is_enough_to_start() {
    let (limits, _) = alone();
    let limit = [strict(Scope::Key, usd(10))];
    let huge = Estimate { likely: usd(64), least: usd(1), ..Estimate::default() };
    assert_eq!(reserve(&limits, &limit, &huge).unwrap().cost(), usd(10));
    reserve(&limits, &limit, &Estimate::exact(usd(9))).unwrap().settle(&cost(9));
    let last = reserve(&limits, &limit, &huge).unwrap();
    assert_eq!(last.cost(), usd(1));
    assert!(reserve(&limits, &limit, &huge).is_err());
}

#[test]
fn a_dropped_hold_is_released_or_booked_as_it_says() {
    for (abandon, spent) in [(Abandon::Release, usd(0)), (Abandon::Book, usd(3))] {
        let (limits, _) = alone();
        let limit = budget(Scope::Key, usd(10));
        let mut hold = reserve(&limits, std::slice::from_ref(&limit), &Estimate::exact(usd(3))).unwrap();
        hold.on_drop(abandon);
        drop(hold);
        let standing = limits.standing(&limit);
        assert_eq!((standing.spent, standing.held), (spent.pico(), 0), "{abandon:?}");
    }
}

fn daily(ends: jiff::Timestamp, spent: PicoUsd) -> Limit {
    let schedule = Arc::new(Schedule::utc("1d".parse().unwrap()));
    let window = Window::Calendar { ends, schedule };
    Limit::budget(ScopeKey::of(Scope::Key, "one"), usd(10), spent, window).with_rule(Rule::Within)
}

#[test]
fn a_budget_starts_at_the_spend_on_record_and_again_at_its_reset() {
    let (limits, clock) = alone();
    let midnight = "2026-11-22T00:00:00Z".parse().unwrap();
    let limit = [daily(midnight, usd(8))];
    let hold = reserve(&limits, &limit, &Estimate::exact(usd(2))).unwrap();
    let denied = reserve(&limits, &limit, &Estimate::exact(usd(1))).unwrap_err();
    assert_eq!((denied.standing.spent, denied.standing.resets_at), (usd(8).pico(), Some(midnight)));
    clock.advance(Duration::from_secs(12 * 3_600));
    // The request in flight goes on holding; what it costs counts where it ends.
    assert!(reserve(&limits, &limit, &Estimate::exact(usd(9))).is_err());
    assert!(reserve(&limits, &limit, &Estimate::exact(usd(8))).is_ok());
    hold.settle(&cost(2));
    assert_eq!(limits.standing(&limit[0]).spent, usd(2).pico());
}

#[test]
fn a_clock_that_steps_does_not_open_a_window_twice() {
    let (limits, clock) = alone();
    let limit = [
        daily("2026-11-22T00:00:00Z".parse().unwrap(), usd(0)),
        Limit::requests(ScopeKey::of(Scope::Key, "one"), 100),
    ];
    let spend = |dollars| {
        reserve(&limits, &limit, &Estimate::exact(usd(dollars))).map(|hold| hold.settle(&cost(dollars)))
    };
    assert!(spend(10).is_ok() && spend(1).is_err());
    clock.step_by_ms(13 * 3_600_000);
    assert!(spend(10).is_ok() && spend(1).is_err(), "a new day");
    clock.step_by_ms(-13 * 3_600_000);
    assert!(spend(1).is_err(), "back to yesterday is no new window");
    clock.step_by_ms(13 * 3_600_000);
    assert!(spend(1).is_err(), "and neither is today again");
    clock.step_by_ms(-400 * 86_400_000);
    assert!(spend(1).is_err());
    assert_eq!(limits.standing(&limit[1]).spent, 2, "rates do not look at the wall clock");
}

#[test]
fn a_changed_limit_and_a_reset_by_hand_count_at_once() {
    let (limits, _) = alone();
    let key = || ScopeKey::of(Scope::Key, "one");
    let at = |max: i128| Limit::budget(key(), usd(max), usd(0), Window::Endless);
    reserve(&limits, &[at(5)], &Estimate::exact(usd(5))).unwrap().settle(&cost(5));
    assert!(reserve(&limits, &[at(5)], &Estimate::exact(usd(1))).is_err());
    assert!(reserve(&limits, &[at(6)], &Estimate::exact(usd(1))).is_ok());
    assert!(reserve(&limits, &[at(4)], &Estimate::exact(usd(1))).is_err());
    let reset = at(4).reset_at(noon());
    assert!(reserve(&limits, std::slice::from_ref(&reset), &Estimate::exact(usd(1))).is_ok());
    assert_eq!(limits.standing(&reset).spent, 0);
}

#[test]
fn idle_counters_are_forgotten_and_memory_is_bounded() {
    let clock = Arc::new(ManualClock::at(noon()));
    let settings = Settings { capacity: 6_400, ..Settings::default() };
    let limits = Limits::alone(settings, clock.clone());
    let held = reserve(&limits, &[strict(Scope::Key, usd(1))], &Estimate::exact(usd(1))).unwrap();
    for n in 0..50_000 {
        let limit = [Limit::requests(ScopeKey::of(Scope::EndUser, format!("u{n}")), 5)];
        reserve(&limits, &limit, &Estimate::default()).unwrap();
    }
    assert!(limits.counters() <= 6_400 + 64, "{}", limits.counters());
    assert_eq!(limits.standing(&strict(Scope::Key, usd(1))).held, usd(1).pico(), "a counter in use stays");
    drop(held);
    clock.advance(Duration::from_secs(601));
    limits.sweep();
    assert_eq!(limits.counters(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_use_a_strict_budget_for_a_hundred_to_the_last_cent() {
    let limits = Limits::alone(Settings::default(), Arc::new(SystemClock::new()));
    let team = strict(Scope::Team, usd(100));
    let calls = (0..1_000).map(|n| {
        let (limits, team) = (limits.clone(), team.clone());
        tokio::spawn(async move {
            let key =
                Limit::budget(ScopeKey::of(Scope::Key, format!("k{n}")), usd(50), usd(0), Window::Endless);
            let hold = limits.reserve(&[key, team], &Estimate::exact(usd(1)), "call".into()).await.ok()?;
            tokio::task::yield_now().await;
            hold.settle(&cost(1));
            Some(())
        })
    });
    let mut admitted = 0;
    for call in calls.collect::<Vec<_>>() {
        admitted += usize::from(call.await.unwrap().is_some());
    }
    assert_eq!(admitted, 100);
    assert_eq!(limits.standing(&team).spent, usd(100).pico());
}

#[tokio::test]
async fn with_patience_overestimates_refuse_nobody_who_can_be_paid() {
    let settings = Settings { patience: Duration::from_secs(20), ..Settings::default() };
    let limits = Limits::alone(settings, Arc::new(SystemClock::new()));
    let team = strict(Scope::Team, usd(100));
    // Each holds five dollars and costs one: a client with max_tokens of 64,000.
    let estimate = Estimate { likely: usd(5), least: usd(1), ..Estimate::default() };
    let calls = (0..300).map(|_| {
        let (limits, team) = (limits.clone(), [team.clone()]);
        tokio::spawn(async move {
            let hold = limits.reserve(&team, &estimate, "call".into()).await.ok()?;
            tokio::task::yield_now().await;
            hold.settle(&cost(1));
            Some(())
        })
    });
    let mut admitted = 0;
    for call in calls.collect::<Vec<_>>() {
        admitted += usize::from(call.await.unwrap().is_some());
    }
    assert_eq!(admitted, 100);
}
