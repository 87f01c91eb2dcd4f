//! Model name → the deployments to try, in order.

use std::sync::Arc;
use std::time::Duration;

use faregate_router::{Dice, Excluded, Nobody, Plan, Resolved, Team, Wish};
use faregate_terms::{Account, DeploymentId, Fault, FaultClass};

use crate::call::Call;
use crate::gate::{Gate, Table};
use crate::health::{self, Kinship, Now};
use crate::operation::count;
use crate::ports::Which;
use crate::refusal::{Nowhere, Refusal};
use crate::stage::admit::BYTES_PER_TOKEN;
use crate::stage::identify::Principal;
use crate::stage::kinship::Bonds;
use crate::stage::params;
use crate::stage::places::Budgets;
use crate::stage::reserve;

/// What a request may try.
pub struct Planned {
    /// What the name means.
    pub resolved: Resolved,
    /// The deployments in order, or why none can be asked now: other groups still may.
    pub plan: Result<Plan, Refusal>,
    /// Tokens the request is expected to use, where somebody minds.
    pub expected: Expected,
    /// What it shares with other requests, where somebody minds.
    pub bonds: Bonds,
    /// What may be spent at its deployments, where that has an end.
    pub budgets: Budgets,
    /// Why it goes to the deployment that served one of those, if it does.
    pub kinship: Option<Kinship>,
}

/// Tokens a request is expected to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expected {
    /// Of its prompt.
    pub input: u64,
    /// Of its answer.
    pub output: u64,
}

impl Expected {
    /// Nothing where nobody minds.
    pub fn of(gate: &Gate, table: &Table, call: &Call, resolved: &Resolved, asker: Asker<'_>) -> Self {
        if table.routing.minds_rates {
            reserve::expected(gate, call, resolved.group.as_str(), asker)
        } else {
            Self::default()
        }
    }

    /// Both.
    pub fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// The same, but no more than a deployment of so many tokens per minute could ever give.
    pub fn within(self, tpm: Option<u64>) -> Self {
        let most = tpm.map_or(u64::MAX, |tpm| tpm.saturating_sub(self.input));
        Self { output: self.output.min(most), ..self }
    }
}

impl Planned {
    /// The deployment tried first.
    pub fn first(&self) -> Option<usize> {
        self.plan.as_ref().ok()?.all().first().copied()
    }
}

/// Who asks, as far as routing minds.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// The caller.
    pub principal: &'a Principal,
    /// Whom the request is booked on.
    pub account: &'a Account,
    /// Bytes of the request.
    pub input_bytes: u64,
}

/// What a request asks of a deployment, owned.
pub struct Wanted {
    region: Option<String>,
    input_tokens: u64,
    unfit: Vec<usize>,
    /// What the first of those would say.
    unfit_because: Option<Refusal>,
}

impl Wanted {
    /// Looks at the request as closely as the checks that are on need it.
    ///
    /// # Errors
    /// If the body has to be read for that and cannot be.
    pub async fn of(
        gate: &Gate,
        table: &Table,
        call: &Call,
        resolved: &Resolved,
        asker: Asker<'_>,
    ) -> Result<Self, Refusal> {
        let region = region(gate, call, asker).await;
        let input_tokens = prompt(table, call, resolved, asker).await?;
        let mut wanted = Self { region, input_tokens, unfit: Vec::new(), unfit_because: None };
        if table.router.checks().pre_call && call.task.is_none() {
            wanted.check_params(table, call, resolved);
        }
        Ok(wanted)
    }

    /// Finds the deployments that refuse a parameter of the call.
    fn check_params(&mut self, table: &Table, call: &Call, resolved: &Resolved) {
        for &index in resolved.members.iter() {
            let deployment = &table.deployments[index];
            let model = resolved.upstream_model(&deployment.upstream_model);
            // One that leads nowhere says so when it is called.
            let Ok(destination) = deployment.destination(&model, call.via(), table) else { continue };
            let (rules, provider) = (&destination.params, destination.provider.name);
            if let Err(refusal) = params::to_drop(call, rules, provider, &destination.model) {
                self.unfit.push(index);
                self.unfit_because.get_or_insert(refusal);
            }
        }
    }

    /// The same for the router.
    pub fn wish<'a>(&'a self, call: &Call, asker: Asker<'a>) -> Wish<'a> {
        Wish {
            stream: call.stream,
            input_tokens: self.input_tokens,
            tags: &asker.account.tags,
            region: self.region.as_deref(),
            team: team(asker.principal),
            unfit: &self.unfit,
        }
    }
}

/// Finds the deployments for the call's model and orders them.
///
/// # Errors
/// 400 if nothing serves the model.
pub async fn plan(
    gate: &Gate,
    table: &Table,
    call: &Call,
    asker: Asker<'_>,
    dice: &mut (dyn Dice + Send),
) -> Result<Planned, Refusal> {
    let team = team(asker.principal);
    let resolved = resolve(table, call.arrival.found.route, &call.model, team)?;
    let expected = Expected::of(gate, table, call, &resolved, asker);
    let wanted = Wanted::of(gate, table, call, &resolved, asker).await?;
    let wish = wanted.wish(call, asker);
    let budgets = Budgets::of(gate, table, call, &resolved).await;
    let now = Now::of(&gate.health, table, &resolved.members, &budgets, expected.total());
    let mut plan = match table.router.plan(&resolved, &wish, &now, dice) {
        Ok(plan) => Ok(plan),
        Err(nobody) if nobody.all(Excluded::Team) => {
            return Err(unknown(table, call.arrival.found.route, &call.model));
        }
        Err(nobody) => Err(match &wanted.unfit_because {
            Some(because) if nobody.all(Excluded::Params) => because.clone(),
            _ => refusal(gate, table, &call.model, &wish, &nobody, &budgets),
        }),
    };
    let bonding = &table.routing.bonding;
    let (mut bonds, mut kinship) = (Bonds::new(), None);
    if !bonding.is_off() {
        bonds = bonding.of(call, table.router.names()[resolved.members.group].as_str(), asker);
        kinship = plan.as_mut().ok().and_then(|plan| {
            let index = |id: &DeploymentId| plan.index_of(id, &table.router, &now);
            let (kinship, index) = health::find(&gate.health.affinity, &bonds, index)?;
            plan.put_first(index, kinship.word());
            Some(kinship)
        });
    }
    Ok(Planned { resolved, plan, expected, bonds, budgets, kinship })
}

/// The only region the request may be served in: the key's data residency, the end user's, else what the request asks
/// for.
async fn region(gate: &Gate, call: &Call, asker: Asker<'_>) -> Option<String> {
    if let Some(region) = asker.principal.caller().and_then(|caller| caller.region.as_deref()) {
        return Some(region.to_owned());
    }
    if let (Some(principals), Some(id)) = (&gate.services.principals, &asker.account.end_user)
        && let Ok(Some(subject)) = principals.subject(&Which::EndUser(id.as_str().into())).await
        && subject.region.is_some()
    {
        return subject.region.clone();
    }
    call.options.steering.as_deref()?.region.clone()
}

/// What a model name means.
///
/// # Errors
/// 400 if nothing serves the model.
pub fn resolve(table: &Table, route: &'static str, model: &str, team: Team<'_>) -> Result<Resolved, Refusal> {
    let known = table.model_aliases.get(model).map_or(model, String::as_str);
    let prefixed = table.prefixed(known);
    table.router.resolve(known, prefixed.as_deref(), team).map_err(|_| unknown(table, route, known))
}

fn unknown(table: &Table, route: &'static str, model: &str) -> Refusal {
    match table.unsupported.get(model) {
        Some(why) => Refusal::NotImplemented(why.clone()),
        None => Refusal::UnknownModel { route, model: model.to_owned() },
    }
}

/// Whose deployments a caller may use.
pub(crate) fn team(principal: &Principal) -> Team<'_> {
    match principal.caller() {
        None => Team::Any,
        Some(caller) if caller.is_admin => Team::Any,
        Some(caller) => caller.account.team.as_deref().map_or(Team::None, Team::Of),
    }
}

/// The tokens of the prompt, as exactly as it matters: a token has a byte at least.
async fn prompt(table: &Table, call: &Call, resolved: &Resolved, asker: Asker<'_>) -> Result<u64, Refusal> {
    let bytes = asker.input_bytes;
    let rough = bytes / BYTES_PER_TOKEN;
    if !table.router.checks().pre_call || call.task.is_some() {
        return Ok(rough);
    }
    let windows = resolved.members.iter().map(|&index| table.router.deployments()[index].window());
    if windows.min().unwrap_or(u64::MAX) >= bytes {
        return Ok(rough);
    }
    let model =
        resolved.members.first().map_or("", |&index| table.deployments[index].upstream_model.as_str());
    count::counted(model, call.request()?).await
}

/// What the client is told when nobody can be asked. Source: compat, behaviour §3.1.
fn refusal(
    gate: &Gate,
    table: &Table,
    model: &str,
    wish: &Wish<'_>,
    nobody: &Nobody,
    budgets: &Budgets,
) -> Refusal {
    let is = |reason| nobody.by(reason).next().is_some();
    if nobody.all(Excluded::Tags) {
        return Refusal::NoTaggedDeployment { model: model.to_owned(), tags: wish.tags.to_vec() };
    }
    if !is(Excluded::Rests) && !is(Excluded::Full) {
        if is(Excluded::Budget) {
            return budgets.crossed(table, nobody.by(Excluded::Budget), &gate.services.limits);
        }
        if is(Excluded::Window) {
            let deployments = table.router.deployments();
            let most = nobody.by(Excluded::Window).map(|index| deployments[index].window()).max();
            let message = format!(
                "the prompt has {} tokens, the largest context window of `{model}` takes {}",
                wish.input_tokens,
                most.unwrap_or_default()
            );
            return Refusal::upstream(Fault::new(FaultClass::ContextWindow, message), "");
        }
        if let (true, Some(region)) = (is(Excluded::Region), wish.region) {
            return Refusal::NoRegion { model: model.to_owned(), region: region.to_owned() };
        }
    }
    nowhere(gate, table, model, nobody.by(Excluded::Rests), nobody.all(Excluded::Rests))
}

/// 429: everybody rests or is full.
pub(super) fn nowhere(
    gate: &Gate,
    table: &Table,
    model: &str,
    resting: impl Iterator<Item = usize>,
    all_rest: bool,
) -> Refusal {
    let mut shortest = None;
    let mut list = Vec::new();
    let now = gate.settler.now();
    for index in resting {
        let id = &table.deployments[index].config.id;
        let Some(rest) = gate.health.cooldowns().resting(id) else { continue };
        let left = u64::try_from(rest.until.as_millisecond() - now.millis()).unwrap_or_default();
        let left = Duration::from_millis(left);
        shortest = Some(shortest.map_or(left, |known: Duration| known.min(left)));
        list.push(format!("{id} ({}, {:.1} s left)", rest.reason, left.as_secs_f64()));
    }
    Refusal::NoDeployment(Box::new(Nowhere {
        model: model.to_owned(),
        retry_after: shortest.unwrap_or(WINDOW),
        all_rest,
        pre_call: table.router.checks().pre_call,
        resting: list,
    }))
}

/// When deployments are full, the next minute helps.
const WINDOW: Duration = Duration::from_secs(60);

/// A call for another group than the client named, planned.
pub(super) struct Replanned {
    /// The call.
    pub call: Arc<Call>,
    /// What it may try.
    pub planned: Planned,
}
