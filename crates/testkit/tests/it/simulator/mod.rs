//! What each strategy promises over time, on scripted deployments in made-up time.
//!
//! The figures go to `docs/routing.md` (`UPDATE_DOCS=1 cargo test -p faregate-testkit simulator`).

mod hedge;
mod world;

use faregate_router::strategy::Args;
use faregate_router::{Deployment, Dice, Seeded};
use faregate_terms::{FaultClass, PicoUsd};

use crate::page::block;
use world::{Load, Outcome, Script, run};

/// One line of the page.
type Row = (&'static str, &'static str, String);

fn steady(id: &str) -> Script {
    Script::new(id, |_| 1.0)
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

fn with(script: Script, change: impl FnOnce(&mut Deployment)) -> Script {
    let mut script = script;
    change(&mut script.deployment);
    script
}

fn shuffle() -> Row {
    let weights = [7.0, 2.0, 1.0];
    let scripts = weights.map(|weight| with(steady("d"), |it| it.weight = Some(weight)));
    let outcome = run(&scripts, &Load::of("simple-shuffle", 20.0, 1000.0));
    for (index, weight) in weights.iter().enumerate() {
        assert!((outcome.share(index) - weight / 10.0).abs() < 0.01, "{}", outcome.share(index));
    }
    let shares = [0, 1, 2].map(|index| percent(outcome.share(index)));
    ("simple-shuffle", "weights 7 : 2 : 1", shares.join(", "))
}

fn least_busy() -> Row {
    let scripts = [Script::new("fast", |_| 0.5), Script::new("slow", |_| 2.0)];
    let outcome = run(&scripts, &Load::of("least-busy", 20.0, 500.0));
    assert_eq!(outcome.answered, outcome.requests);
    let most = &outcome.most_in_flight;
    assert!(most[0].abs_diff(most[1]) <= 1, "{most:?}");
    assert!((0.77..0.83).contains(&outcome.share(0)), "{}", outcome.share(0));
    let text =
        format!("{} to the faster; at most {} and {} in flight", percent(outcome.share(0)), most[0], most[1]);
    ("least-busy", "one deployment four times as fast as the other", text)
}

fn usage() -> Row {
    let limited = |rpm, tpm| with(steady("d"), |it| (it.rpm, it.tpm) = (rpm, tpm));
    let scripts = [limited(Some(60), None), limited(None, Some(9_000)), limited(Some(200), Some(12_000))];
    for strategy in
        ["usage-based-routing", "usage-based-routing-v2", "latency-based-routing", "cost-based-routing"]
    {
        let outcome = run(&scripts, &Load::of(strategy, 10.0, 1200.0));
        let most = [0, 1, 2].map(|index| outcome.most_per_minute(index));
        assert_eq!(most, [60, 90, 120], "{strategy}: all of each limit is used, and no more");
        assert_eq!(outcome.answered + outcome.refused, outcome.requests);
    }
    let outcome = run(&[steady("a"), steady("b")], &Load::of("usage-based-routing", 10.0, 600.0));
    assert!((outcome.share(0) - 0.5).abs() < 0.01, "{}", outcome.share(0));
    let text = "60, 90 and 120 requests in the busiest minute, which is each limit to the last".to_owned();
    ("usage-based-routing", "twice the demand that rpm 60, tpm 9000, tpm 12000 (at 100 tokens) allow", text)
}

fn latency() -> Row {
    // The fastest becomes the slowest half way.
    let scripts = [
        Script::new("fast", |at| if at < 300.0 { 0.3 } else { 3.0 }),
        Script::new("middle", |_| 0.6),
        Script::new("slow", |_| 1.2),
    ];
    let outcome = run(&scripts, &Load::of("latency-based-routing", 10.0, 600.0));
    let before = outcome.between(0, 20.0, 300.0) as f64
        / (0..3).map(|it| outcome.between(it, 20.0, 300.0)).sum::<usize>() as f64;
    let after = outcome.between(1, 320.0, 600.0) as f64
        / (0..3).map(|it| outcome.between(it, 320.0, 600.0)).sum::<usize>() as f64;
    assert!(before > 0.99 && after > 0.99, "{before} {after}");
    let shuffled = run(&scripts, &Load::of("simple-shuffle", 10.0, 600.0));
    let mean = |outcome: &Outcome| outcome.seconds / outcome.answered as f64;
    assert!(mean(&outcome) < mean(&shuffled) / 2.0, "{} {}", mean(&outcome), mean(&shuffled));
    let args = Args { lowest_latency_buffer: 0.5, ..Args::default() };
    let near = [Script::new("a", |_| 1.0), Script::new("b", |_| 1.1), Script::new("c", |_| 3.0)];
    let shared = run(&near, &Load { args, ..Load::of("latency-based-routing", 10.0, 600.0) });
    assert!((shared.share(0) - 0.5).abs() < 0.05 && shared.share(2) < 0.02, "{}", shared.share(0));
    let text = format!(
        "{} to the fastest before, {} after; mean answer {:.2} s, shuffled {:.2} s",
        percent(before),
        percent(after),
        mean(&outcome),
        mean(&shuffled)
    );
    ("latency-based-routing", "0.3, 0.6 and 1.2 s; the first slows down to 3 s half way", text)
}

fn cost() -> Row {
    let priced = |rpm, usd: i128| {
        with(steady("d"), |it| (it.rpm, it.price) = (rpm, Some(PicoUsd::from_pico(usd * 1_000_000_000_000))))
    };
    let scripts = [priced(None, 10), priced(Some(300), 2)];
    let outcome = run(&scripts, &Load::of("cost-based-routing", 8.0, 600.0));
    let shuffled = run(&scripts, &Load::of("least-busy", 8.0, 600.0));
    assert_eq!(outcome.most_per_minute(1), 300);
    assert_eq!(outcome.answered, outcome.requests);
    let saved = 1.0 - outcome.spent / shuffled.spent;
    assert!(saved > 0.08, "{saved}");
    let text = format!(
        "{} to the cheaper, all it may take; {} cheaper than evenly",
        percent(outcome.share(1)),
        percent(saved)
    );
    ("cost-based-routing", "10 and 2 dollars a million tokens, the cheaper with rpm 300 of 480", text)
}

fn outage() -> Row {
    let dead = |at: f64| (100.0..160.0).contains(&at).then_some(FaultClass::Connection);
    let mut scripts = [steady("a"), steady("b")];
    scripts[0].fails = dead;
    let outcome = run(&scripts, &Load::of("simple-shuffle", 20.0, 300.0));
    assert_eq!(outcome.answered, outcome.requests, "nobody noticed");
    let wasted = outcome.calls.iter().filter(|call| call.failed).count();
    assert!(wasted < 80, "{wasted} calls to a dead deployment in a minute of 1200 requests");
    let back = outcome
        .calls
        .iter()
        .find(|call| call.deployment == 0 && call.at >= 160.0)
        .map(|call| call.at - 160.0);
    let back = back.unwrap();
    assert!(back < 6.0, "{back}");
    let text = format!(
        "all {} requests answered; {wasted} calls wasted on the dead one; in use again {back:.1} s after",
        outcome.requests
    );
    ("any", "one of two deployments is gone for a minute, 20 requests per second", text)
}

fn rate_limited() -> Row {
    let limited = |at: f64| ((at as u64 % 60) >= 30).then_some(FaultClass::RateLimit);
    let mut scripts = [steady("a"), steady("b")];
    scripts[0].fails = limited;
    let outcome = run(&scripts, &Load::of("simple-shuffle", 20.0, 600.0));
    assert_eq!(outcome.answered, outcome.requests);
    let calls = outcome.calls.len() as f64 / outcome.requests as f64;
    assert!(calls < 1.01, "{calls}");
    (
        "any",
        "one of two answers 429 in the second half of each minute",
        format!("{calls:.3} calls per request"),
    )
}

/// Three of ten calls fail, one is never answered.
fn unwell(at: f64) -> Option<FaultClass> {
    match Seeded::new(at.to_bits()).roll() {
        roll if roll < 0.3 => Some(FaultClass::Internal),
        roll if roll < 0.4 => Some(FaultClass::Timeout),
        _ => None,
    }
}

fn unwell_pair() -> Row {
    let mut scripts = [steady("a"), steady("b"), steady("c")];
    (scripts[0].fails, scripts[1].fails) = (unwell, unwell);
    let outcome = run(&scripts, &Load::of("simple-shuffle", 100.0, 200.0));
    assert!(outcome.requests > 19_000, "{}", outcome.requests);
    let missed = outcome.requests - outcome.answered;
    assert!(missed * 10_000 <= outcome.requests, "{missed}");
    assert!(outcome.longest_wait < 5.0, "two stalls at most: {}", outcome.longest_wait);
    let calls = outcome.calls.len() as f64 / outcome.requests as f64;
    assert!(calls <= 1.3, "{calls}");
    let text =
        format!("all but {missed} of {} answered, with {calls:.2} calls per request", outcome.requests);
    ("any", "two of three fail 30 % and stall 10 % of their calls", text)
}

/// Nobody answers well: retries stay within their budget.
fn storm() -> Row {
    let mut scripts = [steady("a"), steady("b"), steady("c")];
    for script in &mut scripts {
        script.fails = |at| (Seeded::new(at.to_bits()).roll() < 0.4).then_some(FaultClass::Unavailable);
    }
    let load = Load { retries: 5, rests: false, ..Load::of("simple-shuffle", 100.0, 200.0) };
    let outcome = run(&scripts, &load);
    let calls = outcome.calls.len() as f64 / outcome.requests as f64;
    assert!(calls <= 1.3 && outcome.retries_refused > 0, "{calls}");
    let text = format!("{calls:.2} calls per request, whatever `num_retries` allows");
    ("any, no cooldowns", "all three fail 40 % of their calls, 5 retries each", text)
}

fn hedged() -> Row {
    let hedge::Hedged { p99, extra } = hedge::run();
    assert!(p99.1 <= p99.0 / 2.0, "{p99:?}");
    assert!(extra <= 0.05, "{extra}");
    let text = format!(
        "p99 to the first token {:.2} s instead of {:.2} s, for {} more spend",
        p99.1,
        p99.0,
        percent(extra)
    );
    ("any, hedged after p95", "first tokens after 0.2 s, three of a hundred after 4 s", text)
}

#[test]
fn each_strategy_keeps_its_promise() {
    let rows = [
        shuffle(),
        least_busy(),
        usage(),
        latency(),
        cost(),
        outage(),
        rate_limited(),
        unwell_pair(),
        storm(),
        hedged(),
    ];
    let mut table = String::from("| Strategy | Deployments | What came of it |\n|---|---|---|\n");
    for (strategy, deployments, result) in rows {
        table.push_str(&format!("| {strategy} | {deployments} | {result} |\n"));
    }
    block("simulation", &table);
}
