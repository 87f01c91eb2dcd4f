//! Groups that are too large to be looked at whole, and deployments that are not well.

use std::collections::HashSet;

use faregate_terms::PicoUsd;

use super::*;

/// Some deployments rest, some fail too often, and the group may be pressed.
#[derive(Default)]
struct State {
    resting: HashSet<usize>,
    full: HashSet<usize>,
    spent: HashSet<usize>,
    shaky: HashSet<usize>,
    pressed: bool,
    in_flight: Vec<u64>,
}

impl Facts for State {
    fn rests(&self, deployment: usize) -> bool {
        self.resting.contains(&deployment)
    }

    fn is_on_trial(&self, _: usize) -> bool {
        false
    }

    fn is_full(&self, deployment: usize) -> bool {
        self.full.contains(&deployment)
    }

    fn is_spent(&self, deployment: usize) -> bool {
        self.spent.contains(&deployment)
    }

    fn is_busy(&self, _: usize) -> bool {
        false
    }

    fn in_flight(&self, deployment: usize) -> u64 {
        self.in_flight.get(deployment).copied().unwrap_or_default()
    }

    fn tokens(&self, deployment: usize) -> u64 {
        self.in_flight(deployment)
    }

    fn latency(&self, deployment: usize, _: bool) -> Option<f64> {
        Some(self.in_flight(deployment) as f64 + 1.0)
    }

    fn is_shaky(&self, deployment: usize) -> bool {
        self.shaky.contains(&deployment)
    }

    fn is_pressed(&self) -> bool {
        self.pressed
    }
}

fn table(name: &str, count: usize, change: impl Fn(usize, &mut Deployment)) -> (Router, Resolved) {
    let made = |index: usize| {
        let mut made = deployment("g", &index.to_string());
        change(index, &mut made);
        made
    };
    let strategy = (strategy::named(name).unwrap().make)(&strategy::Args::default());
    let router = Router::new((0..count).map(made).collect(), HashMap::new(), strategy, Checks::default());
    let found = router.resolve("g", None, Team::Any).unwrap();
    (router, found)
}

fn plan(of: &(Router, Resolved), facts: &State, seed: u64) -> Plan {
    of.0.plan(&of.1, &Wish::default(), facts, &mut Seeded::new(seed)).unwrap()
}

#[test]
fn a_large_group_keeps_its_shares_without_being_looked_at_whole() {
    let weight = |index: usize| if index.is_multiple_of(10) { 9.0 } else { 1.0 };
    let of = table("simple-shuffle", 1000, |index, it| it.weight = Some(weight(index)));
    let facts = State { resting: (0..100).collect(), ..State::default() };
    let mut heavy = 0;
    for seed in 0..10_000 {
        let plan = plan(&of, &facts, seed);
        let first = plan.all()[0];
        assert!(plan.is_partial() && first >= 100, "{first} rests");
        heavy += usize::from(first.is_multiple_of(10));
    }
    // 90 of 900 with nine times the weight: exactly half.
    assert!((4_800..5_200).contains(&heavy), "{heavy}");
}

#[test]
fn the_best_of_a_large_group_come_first() {
    let busy: Vec<u64> = (0..1000).map(|index| if index % 20 == 7 { 0 } else { 5 }).collect();
    let facts = State { in_flight: busy, ..State::default() };
    for name in ["least-busy", "usage-based-routing", "latency-based-routing"] {
        let of = table(name, 1000, |_, _| {});
        let idle = (0..200).filter(|seed| plan(&of, &facts, *seed).all()[0] % 20 == 7).count();
        assert!(idle > 180, "{name}: {idle} of 200 found one of the twentieth that is idle");
        let different: HashSet<usize> = (0..200).map(|seed| plan(&of, &facts, seed).all()[0]).collect();
        assert!(different.len() > 30, "{name}: equals take turns");
    }
    let price = |index: usize| PicoUsd::from_pico(if index < 990 { 9 } else { 1 });
    let of = table("cost-based-routing", 1000, |index, it| it.price = Some(price(index)));
    let facts = State { resting: (990..995).collect(), ..State::default() };
    let first: HashSet<usize> = (0..200).map(|seed| plan(&of, &facts, seed).all()[0]).collect();
    assert_eq!(first, (995..1000).collect(), "the cheapest that are fit, in turns");
}

#[test]
fn one_that_is_left_of_a_large_group_is_found_and_the_others_after_the_best() {
    for strategy in strategy::STRATEGIES {
        let of = table(strategy.name, 500, |_, _| {});
        let facts = State { resting: (0..499).collect(), ..State::default() };
        assert_eq!(plan(&of, &facts, 3).all(), [499], "{}", strategy.name);
        let all = State::default();
        let plan = plan(&of, &all, 3);
        let mut walk = plan.walk(0);
        let mut seen = HashSet::new();
        for _ in 0..500 {
            let index = walk.step(&all).unwrap();
            seen.insert(index);
            walk.leave_out(index);
        }
        assert_eq!(seen.len(), 500, "{}", strategy.name);
        assert_eq!(walk.step(&all), None);
    }
}

#[test]
fn whose_budget_is_spent_is_left_out_of_small_groups_and_large_ones_and_the_reason_is_told() {
    for count in [3, 500] {
        let of = table("simple-shuffle", count, |_, _| {});
        let facts = State { spent: (0..count - 1).collect(), ..State::default() };
        assert_eq!(plan(&of, &facts, 3).all(), [count - 1], "of {count}");
        let all = State { spent: (0..count).collect(), ..State::default() };
        let nobody = of.0.plan(&of.1, &Wish::default(), &all, &mut Seeded::new(1)).unwrap_err();
        assert!(nobody.all(Excluded::Budget), "of {count}");
        assert_eq!(of.0.judged(&of.1, &Wish::default(), &facts)[0].1.map(Excluded::word), Some("budget"));
    }
}

#[test]
fn a_retry_goes_to_one_that_answers_and_under_pressure_the_first_call_as_well() {
    let of = table("simple-shuffle", 3, |_, _| {});
    let facts = State { shaky: HashSet::from([0, 1]), ..State::default() };
    let pressed = State { shaky: HashSet::from([0, 1]), pressed: true, ..State::default() };
    let mut shaky_first = 0;
    for seed in 0..100 {
        let plan_now = plan(&of, &facts, seed);
        let mut walk = plan_now.walk(0);
        let first = walk.step(&facts).unwrap();
        shaky_first += usize::from(first != 2);
        assert_eq!(walk.changes_for_the_better(&facts), first != 2);
        if first != 2 {
            assert_eq!(walk.step(&facts), Some(2));
        }
        assert!(!walk.changes_for_the_better(&facts), "both others fail too often");
        assert_eq!(plan(&of, &pressed, seed).all()[0], 2);
    }
    assert!(shaky_first > 40, "without pressure the strategy decides: {shaky_first}");
}
