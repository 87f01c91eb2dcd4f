//! A group whose deployments are sometimes slow, with and without second calls, in made-up time.

use std::time::Duration;

use faregate_router::{After, Dice, HedgeRule, Hedges, Seeded};

const REQUESTS: usize = 20_000;
const RULE: HedgeRule = HedgeRule { after: After::Quantile(0.95), max_extra_spend: 0.05 };
/// What the prompt and the answer of a request cost.
const COSTS: (u64, u64) = (600, 400);

/// What came of it.
pub struct Hedged {
    /// Seconds to the first token that 99 % of requests stay within: without second calls, and with.
    pub p99: (f64, f64),
    /// What losing calls cost, as a part of what answers cost.
    pub extra: f64,
}

/// Mostly fast; three in a hundred are not.
fn first_token(dice: &mut Seeded) -> f64 {
    let is_slow = dice.roll() < 0.03;
    (if is_slow { 4.0 } else { 0.2 }) * (0.8 + 0.4 * dice.roll())
}

fn p99(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
}

pub fn run() -> Hedged {
    let (hedges, mut dice) = (Hedges::default(), Seeded::new(5));
    let (mut plain, mut hedged, mut lost) = (Vec::new(), Vec::new(), 0);
    let took = |seconds: f64| hedges.took(true, Duration::from_secs_f64(seconds));
    for request in 0..REQUESTS {
        let now = Duration::from_millis(request as u64 * 50);
        let first = first_token(&mut dice);
        plain.push(first);
        let after = hedges.after(&RULE, true).map(|after| after.as_secs_f64());
        let seconds = match after.filter(|after| first > *after) {
            Some(after) if hedges.may(&RULE, now, Some(COSTS.0)) => {
                lost += COSTS.0;
                let second = first_token(&mut dice);
                let end = first.min(after + second);
                // As the gateway does: the first counts for as long as it lasted, the second if it won.
                took(end);
                if end < first {
                    took(second);
                }
                end
            }
            _ => {
                took(first);
                first
            }
        };
        hedged.push(seconds);
        hedges.answered(now, Some(COSTS.0 + COSTS.1));
    }
    let answers = REQUESTS as u64 * (COSTS.0 + COSTS.1);
    Hedged { p99: (p99(plain), p99(hedged)), extra: lost as f64 / answers as f64 }
}
