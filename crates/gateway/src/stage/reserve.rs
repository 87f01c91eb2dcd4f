//! Holds what a request is expected to use in every limit that applies to it, all at once or not at all.

use std::sync::Arc;

use faregate_state::limits::{Cause, Denied, Estimate, Limit, Meter, Rule, Scope, ScopeKey};
use faregate_terms::{CallId, PicoUsd, Usage};
use jiff::tz::TimeZone;

use crate::call::Call;
use crate::caller::Caller;
use crate::destination::Destination;
use crate::gate::{Gate, Table};
use crate::ports::Which;
use crate::refusal::{Limited, Refusal};
use crate::stage::admit::{Admitted, Held};
use crate::stage::identify::Principal;
use crate::stage::places::is_place;
use crate::stage::plan::{Asker, Expected, Planned};

/// Output with which an answer begins to make sense, in tokens.
const FIRST_SLICE: u64 = 64;
/// The longest answer of a model whose limit nobody knows, in tokens.
const LONGEST_ANSWER: u64 = 128_000;
/// Bytes of a request per token of it: few, as a budget that must hold counts on it.
const BYTES_PER_TOKEN: u64 = 3;
/// Whose answers stand for those of a key that has had none.
pub(crate) const ANYBODY: &str = "";
/// A request may take so much of what is left, unasked, to be spared top-ups; near the end the part is small.
const MODEST: i128 = 8;

/// What a request may cost, before it is made.
#[derive(Debug, Clone, Copy)]
pub struct Forecast {
    /// Of the whole prompt.
    pub input_cost: PicoUsd,
    /// Of one more token of output.
    pub per_token: PicoUsd,
    /// The longest answer, in tokens.
    pub longest: u64,
    /// What is held for it.
    pub estimate: Estimate,
}

impl Forecast {
    /// What the longest answer costs.
    fn most(&self) -> PicoUsd {
        self.up_to(self.longest)
    }

    fn up_to(&self, tokens: u64) -> PicoUsd {
        self.input_cost + PicoUsd::from_pico(self.per_token.pico().saturating_mul(i128::from(tokens)))
    }

    /// The longest answer that `money` pays; `None` if output is free.
    fn longest_for(&self, money: PicoUsd) -> Option<u64> {
        let each = self.per_token.pico();
        let rest = money.pico().saturating_sub(self.input_cost.pico()).max(0);
        (each > 0).then(|| u64::try_from(rest / each).unwrap_or(u64::MAX))
    }
}

/// Where the first attempt would go, which is what a hold is sized for.
fn first_destination(table: &Table, call: &Call, planned: &Planned) -> Option<Arc<Destination>> {
    let deployment = table.deployments.get(planned.first()?)?;
    let model = planned.resolved.upstream_model(&deployment.upstream_model);
    deployment.destination(&model, call.via(), table).ok()
}

/// Reserves; `admitted` then holds it until it is settled.
///
/// # Errors
/// 422 or the configured status for budgets, 429 for rates, naming the first limit that does not admit it.
pub async fn reserve(
    gate: &Gate,
    table: &Table,
    call: &Call,
    planned: &Planned,
    admitted: &mut Admitted,
) -> Result<(), Refusal> {
    let destination = first_destination(table, call, planned);
    hold_for(gate, table, call, planned, planned.first(), destination.as_deref(), admitted).await.map(drop)
}

/// Reserves for another group in place of the client's own. The request itself counts once in each rate.
///
/// # Errors
/// As [`reserve`].
pub(super) async fn again(
    gate: &Gate,
    table: &Table,
    call: &Call,
    planned: &Planned,
    admitted: &mut Admitted,
) -> Result<(), Refusal> {
    let destination = first_destination(table, call, planned);
    let_go(admitted);
    hold_for(gate, table, call, planned, planned.first(), destination.as_deref(), admitted).await.map(drop)
}

/// Makes the hold fit another deployment of the same group, which may cost more, or have a budget of its own.
/// False if that has no room.
///
/// # Errors
/// As [`reserve`].
pub(super) async fn refit(
    gate: &Gate,
    table: &Table,
    call: &Call,
    planned: &Planned,
    leg: (usize, &Destination),
    admitted: &mut Admitted,
) -> Result<bool, Refusal> {
    let (index, destination) = leg;
    if admitted.is_held_at(planned.budgets.of_deployment(index)) {
        let Some(held) = &admitted.held else { return Ok(true) };
        let next = forecast(gate, call, planned, admitted, Some(destination));
        if next.input_cost <= held.forecast.input_cost && next.per_token <= held.forecast.per_token {
            return Ok(true);
        }
    }
    let_go(admitted);
    hold_for(gate, table, call, planned, Some(index), Some(destination), admitted).await
}

/// Holds for a deployment. Where its budget, or its provider's, has no room, that is false, and only the caller's
/// limits are held: another deployment may still have.
async fn hold_for(
    gate: &Gate,
    table: &Table,
    call: &Call,
    planned: &Planned,
    index: Option<usize>,
    destination: Option<&Destination>,
    admitted: &mut Admitted,
) -> Result<bool, Refusal> {
    let groups = table.access_groups(planned.resolved.group.as_str());
    if admitted.meter.account.access_groups != groups {
        // It is booked on those whose budgets it is held in.
        admitted.meter.account.access_groups = groups.to_vec();
    }
    let places = index.map_or(&[][..], |index| planned.budgets.of_deployment(index));
    let mut denied = hold(gate, table, call, planned, places, destination, admitted).await?;
    let has_room = !denied.as_ref().is_some_and(|denied| is_place(denied.standing.limit.scope().scope));
    if !has_room {
        denied = hold(gate, table, call, planned, &[], destination, admitted).await?;
    }
    match denied {
        None => Ok(has_room),
        Some(denied) => Err(Refusal::Limited(Box::new(limited(&denied, &admitted.principal, table)))),
    }
}

/// Lets go of what is held, but for rates of requests, which have counted it.
fn let_go(admitted: &mut Admitted) {
    let Some(held) = admitted.held.take() else { return };
    let rates = held.hold.limits().filter(|limit| limit.meter() == Meter::Requests).cloned();
    admitted.counted.extend(rates);
}

/// Holds all limits but those that have counted the request already; tells which denies it.
async fn hold(
    gate: &Gate,
    table: &Table,
    call: &Call,
    planned: &Planned,
    places: &[Limit],
    destination: Option<&Destination>,
    admitted: &mut Admitted,
) -> Result<Option<Box<Denied>>, Refusal> {
    let mut limits = gather(gate, table, Some(planned.resolved.group.as_str()), admitted).await?;
    limits.extend_from_slice(places);
    limits.retain(|limit| !admitted.counted.iter().any(|known| known.name() == limit.name()));
    if admitted.meter.copy_of.is_some() || admitted.meter.is_ours {
        // Rates are for what clients ask; what else is made of it they pay.
        limits.retain(|limit| limit.meter() == Meter::Budget);
    }
    if limits.is_empty() {
        return Ok(None);
    }
    let forecast = forecast(gate, call, planned, admitted, destination);
    if forecast.per_token <= PicoUsd::ZERO && forecast.input_cost <= PicoUsd::ZERO {
        // What costs nothing passes every budget. Source: compat, behaviour §2 step 6.
        let priced = destination.is_some_and(|destination| destination.prices.is_some());
        limits.retain(|limit| !priced || limit.meter() != Meter::Budget);
    }
    let estimate = modest(gate, &limits, forecast.estimate);
    let call_id = || call.arrival.id.clone();
    let mut held = gate.services.limits.reserve(&limits, &estimate, call_id()).await;
    if held.as_ref().is_err_and(|denied| denied.standing.limit.meter() == Meter::Budget) {
        // What is left does not pay for what is usual, but it may pay for this.
        let estimate = Estimate { least: forecast.up_to(1), ..estimate };
        held = gate.services.limits.reserve(&limits, &estimate, call_id()).await;
    }
    match held {
        Ok(hold) => {
            let mut held = Held { places: places.to_vec(), ..Held::new(hold, forecast) };
            held.bound(call.stream);
            admitted.held = Some(held);
            Ok(None)
        }
        Err(denied) => Ok(Some(denied)),
    }
}

/// Counts an answer that costs nothing, as the cache's do: as a request, in rates of requests and in what is in
/// flight. Budgets and rates of tokens are not asked.
///
/// # Errors
/// 429, and what else may refuse the caller.
pub async fn count(
    gate: &Gate,
    table: &Table,
    model: &str,
    call_id: CallId,
    admitted: &mut Admitted,
) -> Result<(), Refusal> {
    let mut limits = gather(gate, table, Some(model), admitted).await?;
    limits.retain(|limit| matches!(limit.meter(), Meter::Requests | Meter::Parallel));
    fixed(gate, table, &limits, PicoUsd::ZERO, call_id, admitted).await
}

/// Holds a request that calls no model, and what it is known to cost, in every limit of whoever makes it. One that
/// costs nothing is refused by a spent budget as well: nobody has said that its target works for nothing.
///
/// # Errors
/// As [`reserve`].
pub async fn flat(gate: &Gate, table: &Table, cost: PicoUsd, admitted: &mut Admitted) -> Result<(), Refusal> {
    let limits = gather(gate, table, None, admitted).await?;
    let call_id = admitted.meter.arrival.id.clone();
    fixed(gate, table, &limits, cost, call_id, admitted).await
}

/// Holds what a request costs for certain.
async fn fixed(
    gate: &Gate,
    table: &Table,
    limits: &[Limit],
    cost: PicoUsd,
    call_id: CallId,
    admitted: &mut Admitted,
) -> Result<(), Refusal> {
    if limits.is_empty() {
        return Ok(());
    }
    let estimate = Estimate::exact(cost);
    let forecast = Forecast { input_cost: cost, per_token: PicoUsd::ZERO, longest: 0, estimate };
    match gate.services.limits.reserve(limits, &estimate, call_id).await {
        Ok(hold) => {
            admitted.held = Some(Held::new(hold, forecast));
            Ok(())
        }
        Err(denied) => Err(Refusal::Limited(Box::new(limited(&denied, &admitted.principal, table)))),
    }
}

/// The tokens a call is expected to use.
pub(super) fn expected(gate: &Gate, call: &Call, group: &str, asker: Asker<'_>) -> Expected {
    let input = asker.input_bytes.div_ceil(BYTES_PER_TOKEN);
    let most = call.max_output().unwrap_or(LONGEST_ANSWER);
    Expected { input, output: usual(gate, asker.principal, group, most) }
}

/// How long answers of this group usually get for this caller, in tokens.
fn usual(gate: &Gate, principal: &Principal, group: &str, longest: u64) -> u64 {
    let (key, estimates) = (principal.label(), &gate.services.estimates);
    // A key that is new to a model is taken to want what others want of it.
    let learned = estimates.seen(key, group).or_else(|| estimates.seen(ANYBODY, group));
    learned.map_or_else(|| estimates.expect(key, group, Some(longest)), |it| it.clamp(1, longest.max(1)))
}

/// The estimate, but of a budget that must hold no more than a modest part of what is left: others need some.
fn modest(gate: &Gate, limits: &[Limit], estimate: Estimate) -> Estimate {
    let strict = limits.iter().filter(|limit| limit.meter() == Meter::Budget && limit.rule() == Rule::Within);
    let left = strict.map(|limit| gate.services.limits.standing(limit).remaining()).min();
    let Some(left) = left else { return estimate };
    let likely = estimate.likely.min(PicoUsd::from_pico(left / MODEST)).max(estimate.least);
    Estimate { likely, ..estimate }
}

/// Every limit that applies; those of models only where there is one.
async fn gather(
    gate: &Gate,
    table: &Table,
    model: Option<&str>,
    admitted: &Admitted,
) -> Result<Vec<Limit>, Refusal> {
    let mut limits = Vec::new();
    if let Some(caller) = admitted.principal.caller() {
        limits.extend(caller.limits.iter().cloned());
        limits.extend(of_model(&caller.model_limits, model));
    }
    limits.extend(table.global_limits.iter().cloned());
    limits.extend(model.and_then(|model| table.group_limits.get(model)).into_iter().flatten().cloned());
    let Some(principals) = &gate.services.principals else { return Ok(limits) };
    let account = &admitted.meter.account;
    let whom = table.settings.has_global_budget.then_some(Which::Global).into_iter();
    let whom = whom.chain(account.end_user.as_deref().map(|id| Which::EndUser(id.into())));
    let whom = whom.chain(account.tags.iter().map(|tag| Which::Tag(tag.as_str().into())));
    let groups = model.map_or(&[][..], |model| table.access_groups(model)).iter();
    let whom = whom.chain(groups.map(|group| Which::AccessGroup(group.as_str().into())));
    for which in whom {
        // An end user or tag that cannot be asked about must not stop a key that is known.
        let Ok(Some(subject)) = principals.subject(&which).await else { continue };
        if subject.blocked
            && let Which::EndUser(id) = &which
        {
            return Err(Refusal::Blocked(crate::caller::Blocked::User(id.to_string())));
        }
        if let (Some(grant), Some(model)) = (&subject.grant, model)
            && !grant.allows(model, table.access_groups(model))
        {
            return Err(Refusal::ModelDenied { whose: grant.whose, model: model.to_owned() });
        }
        limits.extend(subject.limits.iter().cloned());
        limits.extend(of_model(&subject.model_limits, model));
    }
    Ok(limits)
}

fn of_model<'a>(
    limits: &'a [crate::caller::ModelLimit],
    model: Option<&'a str>,
) -> impl Iterator<Item = Limit> + 'a {
    let counts = move |limit: &&crate::caller::ModelLimit| model.is_some_and(|model| limit.counts(model));
    limits.iter().filter(counts).map(|limit| limit.limit.clone())
}

fn forecast(
    gate: &Gate,
    call: &Call,
    planned: &Planned,
    admitted: &Admitted,
    destination: Option<&Destination>,
) -> Forecast {
    let info = destination.and_then(|destination| destination.info.as_deref());
    let window = info.and_then(|info| info.max_input_tokens).unwrap_or(u64::MAX);
    let input = admitted.meter.input_bytes.div_ceil(BYTES_PER_TOKEN).min(window);
    let most = info.and_then(|info| info.max_output_tokens).unwrap_or(LONGEST_ANSWER);
    let longest = call.max_output().map_or(most, |asked| asked.min(most));
    let expected = usual(gate, &admitted.principal, planned.resolved.group.as_str(), longest);
    let cost = |output: u64| {
        let usage = Usage { input, output, ..Usage::default() };
        destination.and_then(|destination| destination.cost(&usage)).unwrap_or(PicoUsd::ZERO)
    };
    let input_cost = cost(0);
    let per_token = PicoUsd::from_pico((cost(1000).pico() - input_cost.pico()) / 1000);
    let mut forecast = Forecast { input_cost, per_token, longest, estimate: Estimate::default() };
    forecast.estimate = Estimate {
        likely: forecast.up_to(expected),
        least: forecast.up_to(FIRST_SLICE.min(longest).min(expected)),
        input_tokens: input,
        output_tokens: expected,
    };
    forecast
}

impl Held {
    /// True if `destination` charges no more for a token of output than what is held was worked out with.
    pub(super) fn covers(&self, destination: &Destination) -> bool {
        let output = 1_000;
        let usage = Usage { output, ..Usage::default() };
        let cost = destination.cost(&usage).unwrap_or(PicoUsd::ZERO).pico();
        cost <= self.forecast.per_token.pico().saturating_mul(i128::from(output))
    }

    /// Decides how long the answer may get under budgets that must hold: as long as asked if that is a modest
    /// part of what is left, else what is held pays, or, for a stream, what it may come to hold.
    fn bound(&mut self, stream: bool) {
        let Some(left) = self.hold.affordable() else { return };
        let most = self.forecast.most();
        let missing = PicoUsd::from_pico((most.pico() - self.hold.cost().pico()).max(0));
        let modest = PicoUsd::from_pico(left.pico() / MODEST);
        let grown = self.hold.raise(missing.min(modest));
        if grown >= missing {
            return;
        }
        // What is not held yet others may take. A stream can be ended in time if it is a slice ahead of what
        // arrives at once; what is shorter, or comes whole, must be paid for before it is asked for.
        let is_ahead = self.pays(FIRST_SLICE);
        self.is_watched = stream && is_ahead;
        let left = PicoUsd::from_pico(if self.is_watched { left.pico() - grown.pico() } else { 0 });
        self.longest = self.forecast.longest_for(self.hold.cost() + left);
    }
}

/// What the client is told of a limit. Source: compat, behaviour §3.1.
fn limited(denied: &Denied, principal: &Principal, table: &Table) -> Limited {
    let standing = &denied.standing;
    let scope = standing.limit.scope();
    if denied.cause == Cause::StoreAway {
        return Limited {
            status: 503,
            kind: "internal_server_error",
            class: "ServiceUnavailableError",
            message: denied.to_string(),
            retry_after: denied.retry_after,
            headers: Vec::new(),
        };
    }
    let resets = standing.resets_at.map(|at| at.to_zoned(TimeZone::UTC).strftime("%F %T UTC").to_string());
    if standing.limit.meter() == Meter::Budget {
        return Limited {
            status: table.settings.budget_status,
            kind: "budget_exceeded",
            class: "BudgetExceededError",
            message: over_budget(denied, scope, principal.caller(), resets.as_deref()),
            retry_after: None,
            // Official SDKs would try again what no retry can mend.
            headers: vec![("x-should-retry", "false".to_owned())],
        };
    }
    let word = standing.limit.meter().word();
    let value = if scope.id.is_empty() { "all".to_owned() } else { scope_value(scope) };
    let mut message = format!(
        "Rate limit exceeded for {}: {value}. Limit type: {word}. Current limit: {}, Remaining: {}.",
        scope.word(),
        standing.amount(),
        standing.remaining(),
    );
    let mut headers = vec![("rate_limit_type", word.to_owned())];
    if let Some(resets) = resets {
        message.push_str(&format!(" Limit resets at: {resets}"));
        headers.push(("reset_at", resets));
    }
    Limited {
        status: 429,
        kind: "throttling_error",
        class: "RateLimitError",
        message,
        retry_after: denied.retry_after,
        headers,
    }
}

fn scope_value(scope: &ScopeKey) -> String {
    match &scope.model {
        Some(model) => format!("{}:{model}", scope.id),
        None => scope.id.to_string(),
    }
}

fn over_budget(denied: &Denied, scope: &ScopeKey, caller: Option<&Caller>, resets: Option<&str>) -> String {
    let standing = &denied.standing;
    let usd = |pico: i128| PicoUsd::from_pico(pico).to_string();
    let (spent, max) = (usd(standing.spent), usd(standing.amount()));
    let title = scope.scope.row().title;
    let mut message = match scope.scope {
        Scope::Global => format!("Budget has been exceeded! Current cost: {spent}, Max budget: {max}"),
        Scope::User | Scope::EndUser => {
            format!("ExceededBudget: {title}={} over budget. Spend={spent}, Budget={max}", scope.id)
        }
        Scope::Key => {
            let alias = caller.and_then(|caller| caller.account.key_alias.as_deref()).unwrap_or_default();
            let shown = caller.map_or("", |caller| &caller.shown);
            format!(
                "Budget has been exceeded! Key={alias} ({shown}) Current cost: {spent}, Max budget: {max}"
            )
        }
        _ => {
            format!("Budget has been exceeded! {title}={} Current cost: {spent}, Max budget: {max}", scope.id)
        }
    };
    if let Some(model) = &scope.model {
        message.push_str(&format!(", model: {model}"));
    }
    if standing.held > 0 {
        message.push_str(&format!(", held by requests in flight: {}", usd(standing.held)));
    }
    if let Some(resets) = resets {
        message.push_str(&format!(". The budget starts again at {resets}"));
    }
    message
}
