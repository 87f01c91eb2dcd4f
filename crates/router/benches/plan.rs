//! What it costs to order the deployments of one request, by the size of its group, in a table of a thousand.

use std::collections::HashMap;

use divan::{AllocProfiler, Bencher};
use faregate_router::strategy::{Args, STRATEGIES};
use faregate_router::{Checks, Deployment, Resolved, Router, Seeded, Team, Unknown, Wish};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const SIZES: [usize; 4] = [1, 2, 10, 1000];

#[expect(clippy::expect_used, reason = "a benchmark without its group has failed")]
fn router(strategy: usize, group: usize) -> (Router, Resolved) {
    let deployment = |n: usize| Deployment::new(format!("g{}", n / group), n.to_string());
    let strategy = (STRATEGIES[strategy].make)(&Args::default());
    let deployments = (0..1000).map(deployment).collect();
    let router = Router::new(deployments, HashMap::new(), strategy, Checks::default());
    let resolved = router.resolve("g0", None, Team::Any);
    (router, resolved.expect("the first group has deployments"))
}

fn plan(bencher: Bencher<'_, '_>, strategy: usize, group: usize) {
    let (router, resolved) = router(strategy, group);
    let mut dice = Seeded::new(1);
    bencher.bench_local(|| router.plan(&resolved, &Wish::default(), &Unknown, &mut dice).is_ok());
}

#[divan::bench(args = SIZES)]
fn simple_shuffle(bencher: Bencher<'_, '_>, group: usize) {
    plan(bencher, 0, group);
}

#[divan::bench(args = SIZES)]
fn least_busy(bencher: Bencher<'_, '_>, group: usize) {
    plan(bencher, 1, group);
}

#[divan::bench(args = SIZES)]
fn latency_based(bencher: Bencher<'_, '_>, group: usize) {
    plan(bencher, 4, group);
}

#[divan::bench]
fn resolve(bencher: Bencher<'_, '_>) {
    let (router, _) = router(0, 10);
    bencher.bench_local(|| router.resolve("g50", None, Team::Any).is_ok());
}
