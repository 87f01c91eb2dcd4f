//! Scripted deployments in made-up time, behind the real router.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use faregate_router::strategy::{Args, named};
use faregate_router::{
    BudgetRule, Checks, CooldownRule, Deployment, Dice, Facts, OwnRule, RetryBudget, RetryRule, Router,
    Seeded, Standing, Tally, Team, Verdict, Wish,
};
use faregate_terms::{Fault, FaultClass, PicoUsd};

/// How a deployment behaves.
#[derive(Clone)]
pub struct Script {
    pub deployment: Deployment,
    /// Seconds an answer takes, at a time.
    pub seconds: fn(f64) -> f64,
    /// How it fails at a time, if it does.
    pub fails: fn(f64) -> Option<FaultClass>,
    /// Failing calls are told so after this many seconds.
    pub fails_after: f64,
    /// Calls that time out do so after this many seconds.
    pub stalls_for: f64,
}

impl Script {
    pub fn new(id: &str, seconds: fn(f64) -> f64) -> Self {
        let deployment = Deployment::new("g", id);
        Self { deployment, seconds, fails: |_| None, fails_after: 0.05, stalls_for: 2.0 }
    }
}

/// What a simulation is asked.
pub struct Load {
    pub strategy: &'static str,
    pub args: Args,
    /// Requests per second.
    pub rate: f64,
    /// Seconds.
    pub length: f64,
    /// Tokens of each request.
    pub tokens: u64,
    pub retries: u32,
    /// Cooldowns are on.
    pub rests: bool,
}

impl Load {
    pub fn of(strategy: &'static str, rate: f64, length: f64) -> Self {
        Self { strategy, args: Args::default(), rate, length, tokens: 100, retries: 2, rests: true }
    }
}

/// One call to a deployment.
pub struct Call {
    pub at: f64,
    pub deployment: usize,
    pub failed: bool,
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    pub requests: usize,
    pub answered: usize,
    /// Requests nobody could take: all at their limits or at rest.
    pub refused: usize,
    pub calls: Vec<Call>,
    /// Most requests in flight at once, by deployment.
    pub most_in_flight: Vec<u64>,
    pub spent: f64,
    pub seconds: f64,
    /// The longest time until an answer began.
    pub longest_wait: f64,
    /// Retries the budget refused.
    pub retries_refused: usize,
}

impl Outcome {
    /// Calls to a deployment between two moments.
    pub fn between(&self, deployment: usize, from: f64, to: f64) -> usize {
        let within = |call: &&Call| call.deployment == deployment && call.at >= from && call.at < to;
        self.calls.iter().filter(within).count()
    }

    /// A deployment's part of all calls.
    pub fn share(&self, deployment: usize) -> f64 {
        self.between(deployment, 0.0, f64::MAX) as f64 / self.calls.len() as f64
    }

    /// Most calls to a deployment in one minute.
    pub fn most_per_minute(&self, deployment: usize) -> usize {
        let mut minutes: HashMap<i64, usize> = HashMap::new();
        for call in self.calls.iter().filter(|call| call.deployment == deployment) {
            *minutes.entry((call.at / 60.0) as i64).or_default() += 1;
        }
        minutes.into_values().max().unwrap_or_default()
    }
}

#[derive(Default, Clone)]
struct State {
    in_flight: u64,
    rests_until: f64,
    due: bool,
    minute: i64,
    requests: u64,
    tokens: u64,
    answers: u64,
    failures: u64,
    in_a_row: u64,
    latencies: VecDeque<f64>,
    failing: f64,
}

struct Now<'a> {
    at: f64,
    states: &'a [State],
    scripts: &'a [Script],
    minds_rates: bool,
    tokens: u64,
    is_pressed: bool,
}

impl Facts for Now<'_> {
    fn rests(&self, deployment: usize) -> bool {
        self.states[deployment].rests_until > self.at
    }

    fn is_on_trial(&self, _: usize) -> bool {
        // Failures are instant here, so a trial is over when it begins.
        false
    }

    fn is_spent(&self, _: usize) -> bool {
        false
    }

    fn is_full(&self, deployment: usize) -> bool {
        let (state, deployment) = (&self.states[deployment], &self.scripts[deployment].deployment);
        self.minds_rates
            && (deployment.rpm.is_some_and(|rpm| state.requests + 1 > rpm)
                || deployment.tpm.is_some_and(|tpm| state.tokens + self.tokens > tpm))
    }

    fn is_busy(&self, _: usize) -> bool {
        false
    }

    fn in_flight(&self, deployment: usize) -> u64 {
        self.states[deployment].in_flight
    }

    fn tokens(&self, deployment: usize) -> u64 {
        self.states[deployment].tokens
    }

    fn latency(&self, deployment: usize, _: bool) -> Option<f64> {
        let latencies = &self.states[deployment].latencies;
        (!latencies.is_empty()).then(|| latencies.iter().sum::<f64>() / latencies.len() as f64)
    }

    fn is_shaky(&self, deployment: usize) -> bool {
        self.states[deployment].failing > 0.1
    }

    fn is_pressed(&self) -> bool {
        self.is_pressed
    }
}

const COOLDOWN: CooldownRule = CooldownRule {
    is_on: true,
    time: Duration::from_secs(5),
    allowed_fails: None,
    policy: faregate_router::ByClass {
        bad_request: None,
        content_policy: None,
        authentication: None,
        not_found: None,
        timeout: None,
        rate_limit: None,
        internal: None,
        bad_gateway: None,
        unavailable: None,
        default: None,
    },
};

/// A moment, in microseconds, so that moments are ordered.
fn moment(at: f64) -> u64 {
    (at * 1e6) as u64
}

pub fn run(scripts: &[Script], load: &Load) -> Outcome {
    let entry = named(load.strategy).unwrap();
    let deployments: Vec<Deployment> = scripts.iter().map(|script| script.deployment.clone()).collect();
    let router = Router::new(deployments, HashMap::new(), (entry.make)(&load.args), Checks::default());
    let resolved = router.resolve("g", None, Team::Any).unwrap();
    let mut dice = Seeded::new(42);
    let mut states = vec![State::default(); scripts.len()];
    let mut outcome = Outcome { most_in_flight: vec![0; scripts.len()], ..Outcome::default() };
    // Answers on their way: when they end, at whose deployment, how long they took.
    let mut ends: BinaryHeap<Reverse<(u64, usize, u64)>> = BinaryHeap::new();
    let mut clock = 0.0;
    /// Borrows the states only for as long as it is looked at.
    fn now<'a>(at: f64, states: &'a [State], of: (&'a [Script], bool, u64, &RetryBudget)) -> Now<'a> {
        let is_pressed = of.3.is_pressed(Duration::from_secs_f64(at));
        Now { at, states, scripts: of.0, minds_rates: of.1, tokens: of.2, is_pressed }
    }
    let budget = RetryBudget::default();
    let of = (scripts, entry.minds_rates, load.tokens, &budget);
    loop {
        clock += -(1.0 - dice.roll()).ln() / load.rate;
        if clock >= load.length {
            return outcome;
        }
        while ends.peek().is_some_and(|Reverse((end, ..))| *end <= moment(clock)) {
            let Some(Reverse((_, deployment, took))) = ends.pop() else { break };
            let state = &mut states[deployment];
            state.in_flight -= 1;
            state.latencies.push_back(took as f64 / 1e6);
            if state.latencies.len() > load.args.max_latency_list_size {
                state.latencies.pop_front();
            }
        }
        outcome.requests += 1;
        let mut at = clock;
        for state in &mut states {
            turn(state, at);
        }
        let wish = Wish::default();
        let Ok(plan) = router.plan(&resolved, &wish, &now(at, &states, of), &mut dice) else {
            outcome.refused += 1;
            continue;
        };
        let rule = RetryRule { siblings: scripts.len(), retries: load.retries, ..RetryRule::default() };
        let mut walk = plan.walk(0);
        budget.request(Duration::from_secs_f64(at));
        let mut retried = 0;
        while let Some(index) = walk.step(&now(at, &states, of)) {
            if now(at, &states, of).is_full(index) {
                walk.leave_out(index);
                continue;
            }
            let (script, state) = (&scripts[index], &mut states[index]);
            state.requests += 1;
            state.tokens += load.tokens;
            let fault = (script.fails)(at);
            outcome.calls.push(Call { at, deployment: index, failed: fault.is_some() });
            let Some(class) = fault else {
                state.answers += 1;
                state.in_a_row = 0;
                state.failing -= state.failing / 16.0;
                outcome.longest_wait = outcome.longest_wait.max(at - clock);
                state.due = false;
                state.in_flight += 1;
                outcome.most_in_flight[index] = outcome.most_in_flight[index].max(state.in_flight);
                let took = (script.seconds)(at) * (0.8 + 0.4 * dice.roll());
                ends.push(Reverse((moment(at + took), index, moment(took))));
                outcome.seconds += at + took - clock;
                let price = script.deployment.price.unwrap_or(PicoUsd::ZERO).to_f64();
                outcome.spent += price * load.tokens as f64 / 1e6;
                outcome.answered += 1;
                break;
            };
            let fault = Fault::new(class, "scripted");
            state.failures += 1;
            state.in_a_row += 1;
            state.failing += (1.0 - state.failing) / 16.0;
            let (answers, failures, in_a_row) = (state.answers, state.failures, state.in_a_row);
            let tally = Tally {
                answers,
                failures,
                in_a_row,
                recent: failures,
                recent_of_class: failures,
                was_trial: state.due,
            };
            if let Some(rest) = COOLDOWN.judge(&OwnRule::default(), &fault, &tally).filter(|_| load.rests) {
                state.rests_until = at + rest.as_secs_f64();
                state.due = true;
            }
            at += if class == FaultClass::Timeout { script.stalls_for } else { script.fails_after };
            let is_anybody_well = walk.has_more(&now(at, &states, of));
            match rule.judge(&fault, Standing { retried, is_anybody_well }, dice.roll()) {
                Verdict::Retry(wait) => at += wait.as_secs_f64(),
                Verdict::GiveUp => break,
            }
            let is_change = walk.changes_for_the_better(&now(at, &states, of));
            if !budget.retry(&BudgetRule::default(), Duration::from_secs_f64(at), is_change) {
                outcome.retries_refused += 1;
                break;
            }
            retried += 1;
        }
    }
}

fn turn(state: &mut State, at: f64) {
    let minute = (at / 60.0) as i64;
    if state.minute != minute {
        let kept = State { minute, requests: 0, tokens: 0, answers: 0, failures: 0, ..state.clone() };
        *state = kept;
    }
}
