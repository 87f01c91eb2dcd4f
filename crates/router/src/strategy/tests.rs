//! Each strategy's rule on a small scene; its promise over time is tested in the simulator, `tests/`.

use std::collections::HashMap;

use faregate_terms::PicoUsd;

use super::*;
use crate::{Checks, Deployment, Facts, Router, Seeded, Team, Wish};

/// Figures per deployment.
#[derive(Default)]
struct Figures {
    in_flight: Vec<u64>,
    tokens: Vec<u64>,
    seconds: Vec<Option<f64>>,
    on_trial: Vec<usize>,
}

impl Facts for Figures {
    fn rests(&self, _: usize) -> bool {
        false
    }

    fn is_on_trial(&self, deployment: usize) -> bool {
        self.on_trial.contains(&deployment)
    }

    fn is_full(&self, _: usize) -> bool {
        false
    }

    fn is_spent(&self, _: usize) -> bool {
        false
    }

    fn is_busy(&self, _: usize) -> bool {
        false
    }

    fn in_flight(&self, deployment: usize) -> u64 {
        self.in_flight.get(deployment).copied().unwrap_or_default()
    }

    fn tokens(&self, deployment: usize) -> u64 {
        self.tokens.get(deployment).copied().unwrap_or_default()
    }

    fn latency(&self, deployment: usize, _: bool) -> Option<f64> {
        self.seconds.get(deployment).copied().flatten()
    }

    fn is_shaky(&self, _: usize) -> bool {
        false
    }

    fn is_pressed(&self) -> bool {
        false
    }
}

fn orders(name: &str, args: &Args, prices: &[Option<i128>], facts: &Figures) -> Vec<Vec<usize>> {
    let deployment = |(index, price): (usize, &Option<i128>)| Deployment {
        price: price.map(PicoUsd::from_pico),
        ..Deployment::new("g", index.to_string())
    };
    let deployments = prices.iter().enumerate().map(deployment).collect();
    let strategy = (named(name).unwrap().make)(args);
    let router = Router::new(deployments, HashMap::new(), strategy, Checks::default());
    let found = router.resolve("g", None, Team::Any).unwrap();
    let mut seen: Vec<Vec<usize>> = Vec::new();
    for seed in 0..50 {
        let plan = router.plan(&found, &Wish::default(), facts, &mut Seeded::new(seed)).unwrap();
        if !seen.contains(&plan.all().to_vec()) {
            seen.push(plan.all().to_vec());
        }
    }
    seen.sort();
    seen
}

#[test]
fn the_least_busy_comes_first_and_equals_take_turns() {
    let facts = Figures { in_flight: vec![2, 0, 1, 1], ..Figures::default() };
    assert_eq!(orders("least-busy", &Args::default(), &[None; 4], &facts), [[1, 2, 3, 0], [1, 3, 2, 0]]);
}

#[test]
fn the_least_used_comes_first() {
    let facts = Figures { tokens: vec![500, 20, 0], ..Figures::default() };
    for name in ["usage-based-routing", "usage-based-routing-v2"] {
        assert_eq!(orders(name, &Args::default(), &[None; 3], &facts), [[2, 1, 0]], "{name}");
    }
}

#[test]
fn the_cheapest_comes_first_and_the_unpriced_last() {
    let prices = [Some(9), None, Some(1)];
    assert_eq!(orders("cost-based-routing", &Args::default(), &prices, &Figures::default()), [[2, 0, 1]]);
}

#[test]
fn the_fastest_comes_first_and_those_within_the_buffer_share() {
    let facts = Figures { seconds: vec![Some(1.4), Some(1.0), Some(3.0)], ..Figures::default() };
    let args = Args::default();
    assert_eq!(orders("latency-based-routing", &args, &[None; 3], &facts), [[1, 0, 2]]);
    let args = Args { lowest_latency_buffer: 0.5, ..args };
    assert_eq!(orders("latency-based-routing", &args, &[None; 3], &facts), [[0, 1, 2], [1, 0, 2]]);
    let facts = Figures { seconds: vec![Some(1.0), None], ..Figures::default() };
    assert_eq!(orders("latency-based-routing", &args, &[None; 2], &facts), [[1, 0]], "get to know it");
}

#[test]
fn a_deployment_on_trial_is_nobodys_first_choice() {
    let facts = Figures { in_flight: vec![0, 7], on_trial: vec![0], ..Figures::default() };
    assert_eq!(orders("least-busy", &Args::default(), &[None; 2], &facts), [[1, 0]]);
}
