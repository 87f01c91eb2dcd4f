//! Random lives of holds against a model that is too simple to be wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use faregate_state::limits::{
    Abandon, Actual, Estimate, Hold, Limit, Meter, Rule, Schedule, Scope, ScopeKey, Window,
};
use faregate_terms::PicoUsd;
use futures_util::FutureExt;
use proptest::prelude::*;

use crate::support::{alone, noon, reserve};

#[derive(Debug, Clone)]
enum Step {
    Reserve { which: u8, likely: u16, least: u16 },
    TopUp { hold: usize, more: u16 },
    Raise { hold: usize, more: u16 },
    Settle { hold: usize, percent: u8 },
    Cancel { hold: usize, book: bool },
    Wait { seconds: u16 },
    ClockSet { seconds: i32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1u8..32, 0u16..400, 0u16..400).prop_map(|(which, a, b)| Step::Reserve { which, likely: a.max(b), least: a.min(b) }),
        2 => (0usize..8, 0u16..200).prop_map(|(hold, more)| Step::TopUp { hold, more }),
        1 => (0usize..8, 0u16..200).prop_map(|(hold, more)| Step::Raise { hold, more }),
        4 => (0usize..8, 0u8..=100).prop_map(|(hold, percent)| Step::Settle { hold, percent }),
        1 => (0usize..8, any::<bool>()).prop_map(|(hold, book)| Step::Cancel { hold, book }),
        1 => (0u16..90).prop_map(|seconds| Step::Wait { seconds }),
        1 => (-100_000i32..100_000).prop_map(|seconds| Step::ClockSet { seconds }),
    ];
    prop::collection::vec(step, 1..80)
}

/// Five limits; a bit of `which` chooses each.
fn five() -> Vec<Limit> {
    let scope = |scope| ScopeKey::of(scope, "one");
    let pico = PicoUsd::from_pico;
    let midnight: jiff::Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let schedule = Arc::new(Schedule::utc("1d".parse().unwrap()));
    let daily = Window::Calendar { ends: midnight, schedule };
    vec![
        Limit::budget(scope(Scope::Key), pico(1_000), pico(0), daily).with_rule(Rule::Within),
        Limit::budget(scope(Scope::Team), pico(1_500), pico(100), Window::Endless),
        Limit::budget(scope(Scope::User), pico(2_000), pico(0), Window::Endless).with_rule(Rule::Within),
        Limit::requests(scope(Scope::Key), 5),
        Limit::parallel(scope(Scope::Model), 3),
    ]
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Count {
    spent: i128,
    held: i128,
}

struct Model {
    counts: BTreeMap<usize, Count>,
    day_ends: i64,
    minute_ends: Option<u64>,
}

impl Model {
    fn new() -> Self {
        let mut counts: BTreeMap<usize, Count> = (0..5).map(|n| (n, Count::default())).collect();
        counts.insert(1, Count { spent: 100, held: 0 });
        Self { counts, day_ends: noon().as_second() + 43_200, minute_ends: None }
    }

    fn pass(&mut self, wall: i64, steady: u64) {
        if wall >= self.day_ends {
            self.counts.get_mut(&0).unwrap().spent = 0;
            self.day_ends = wall - wall.rem_euclid(86_400) + 86_400;
        }
        if self.minute_ends.is_some_and(|end| steady >= end) {
            self.counts.get_mut(&3).unwrap().spent = 0;
            self.minute_ends = None;
        }
    }

    /// What is held if all chosen limits admit.
    fn admit(&self, limits: &[Limit], chosen: &[usize], likely: i128, least: i128) -> Option<i128> {
        let mut held = likely;
        for index in chosen {
            let count = self.counts[index];
            let amount = [1_000, 1_500, 2_000, 5, 3][*index];
            let room = amount - count.spent - count.held;
            let strict = matches!(index, 0 | 2);
            match limits[*index].meter() {
                Meter::Budget if strict && room < least => return None,
                Meter::Budget if strict => held = held.min(room),
                Meter::Budget if room <= 0 => return None,
                Meter::Budget => {}
                _ if room < 1 => return None,
                _ => {}
            }
        }
        Some(held)
    }
}

struct Live {
    hold: Hold,
    chosen: Vec<usize>,
    held: i128,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// A counter is what was settled plus what live requests hold; strict limits are never passed; nobody is
    /// refused who fits; nobody is admitted who does not.
    #[test]
    fn counters_are_what_was_settled_plus_what_is_held(steps in steps()) {
        let (limits, clock) = alone();
        let all = five();
        let mut model = Model::new();
        // Windows begin when a counter is first seen.
        limits.book(&all[..3], &Actual::default());
        let mut live: Vec<Live> = Vec::new();
        let (mut wall, mut steady) = (noon().as_second(), 0u64);
        for step in steps {
            model.pass(wall, steady);
            match step {
                Step::Reserve { which, likely, least } => {
                    let chosen: Vec<usize> = (0..5).filter(|bit| which & (1 << bit) != 0).collect();
                    let over: Vec<Limit> = chosen.iter().map(|index| all[*index].clone()).collect();
                    let (likely, least) = (i128::from(likely), i128::from(least));
                    let pico = PicoUsd::from_pico;
                    let estimate = Estimate { likely: pico(likely), least: pico(least), ..Estimate::default() };
                    let outcome = reserve(&limits, &over, &estimate);
                    let expected = model.admit(&all, &chosen, likely, least);
                    prop_assert_eq!(outcome.as_ref().ok().map(|hold| hold.cost().pico()), expected);
                    if let (Ok(hold), Some(held)) = (outcome, expected) {
                        for index in &chosen {
                            let count = model.counts.get_mut(index).unwrap();
                            match index {
                                0..=2 => count.held += held,
                                3 => {
                                    count.spent += 1;
                                    model.minute_ends.get_or_insert(steady + 60);
                                }
                                _ => count.held += 1,
                            }
                        }
                        live.push(Live { hold, chosen, held });
                    }
                }
                Step::TopUp { hold, more } | Step::Raise { hold, more } if !live.is_empty() => {
                    let index = hold % live.len();
                    let one = &mut live[index];
                    let more = i128::from(more);
                    let rooms = one.chosen.iter().filter(|index| matches!(index, 0 | 2)).map(|index| {
                        let count = model.counts[index];
                        (if *index == 0 { 1_000 } else { 2_000 }) - count.spent - count.held
                    });
                    let room = rooms.min().unwrap_or(i128::MAX);
                    let grown = if matches!(step, Step::Raise { .. }) {
                        let grown = one.hold.raise(PicoUsd::from_pico(more)).pico();
                        prop_assert_eq!(grown, more.min(room.max(0)));
                        grown
                    } else {
                        let done = one.hold.top_up(PicoUsd::from_pico(more)).now_or_never().unwrap();
                        prop_assert_eq!(done.is_ok(), more <= room);
                        if done.is_ok() { more } else { 0 }
                    };
                    one.held += grown;
                    for index in one.chosen.iter().filter(|index| **index < 3) {
                        model.counts.get_mut(index).unwrap().held += grown;
                    }
                }
                Step::Settle { hold, percent } if !live.is_empty() => {
                    let one = live.swap_remove(hold % live.len());
                    let cost = one.held * i128::from(percent) / 100;
                    end(&mut model, &one, cost);
                    one.hold.settle(&Actual { cost: PicoUsd::from_pico(cost), ..Actual::default() });
                }
                Step::Cancel { hold, book } if !live.is_empty() => {
                    let mut one = live.swap_remove(hold % live.len());
                    end(&mut model, &one, if book { one.held } else { 0 });
                    one.hold.on_drop(if book { Abandon::Book } else { Abandon::Release });
                }
                Step::Wait { seconds } => {
                    clock.advance(Duration::from_secs(u64::from(seconds)));
                    wall += i64::from(seconds);
                    steady += u64::from(seconds);
                }
                Step::ClockSet { seconds } => {
                    clock.step_by_ms(i64::from(seconds) * 1_000);
                    wall += i64::from(seconds);
                }
                _ => {}
            }
            model.pass(wall, steady);
            for (index, limit) in all.iter().enumerate() {
                let standing = limits.standing(limit);
                let count = Count { spent: standing.spent, held: standing.held };
                prop_assert_eq!(count, model.counts[&index], "limit {}", index);
                let new_day = index == 0 && count.spent == 0;
                if matches!(index, 0 | 2) && !new_day {
                    prop_assert!(count.spent + count.held <= standing.amount());
                }
            }
        }
    }
}

fn end(model: &mut Model, one: &Live, cost: i128) {
    for index in &one.chosen {
        let count = model.counts.get_mut(index).unwrap();
        match index {
            0..=2 => {
                count.held -= one.held;
                count.spent += cost;
            }
            3 => {}
            _ => count.held -= 1,
        }
    }
}
