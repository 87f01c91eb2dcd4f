//! Other groups, after a group has had its chance. Source: compat, behaviour §9.

use std::collections::HashSet;
use std::sync::Arc;

use faregate_router::Dice;
use faregate_terms::FaultClass;

use crate::call::Call;
use crate::gate::Table;
use crate::metrics::Outcome;
use crate::refusal::Refusal;
use crate::stage::admit::Admitted;
use crate::stage::attempt::group;
use crate::stage::identify::Principal;
use crate::stage::plan::{Planned, Replanned, plan};
use crate::stage::send::Answer;
use crate::stage::tour::Tour;
use crate::stage::{access, reserve};
use crate::steering::{Chains, Own, Target};

/// True if another group may do better.
pub(super) fn helps(failed: &Refusal) -> bool {
    matches!(
        failed,
        Refusal::Upstream { .. }
            | Refusal::NoDeployment(_)
            | Refusal::CrossedBudget(_)
            | Refusal::NoTaggedDeployment { .. }
            | Refusal::NoRegion { .. }
            | Refusal::UnsupportedParams { .. }
            | Refusal::Unsupported(_)
    )
}

/// Tries what is left of the group, then other groups, each once.
///
/// # Errors
/// `failed`, the group's own failure, telling what else was tried.
pub(super) async fn fall_back(
    tour: &Tour<'_>,
    call: Arc<Call>,
    planned: &Planned,
    failed: Refusal,
    admitted: &mut Admitted,
    dice: &mut (dyn Dice + Send),
) -> Result<(Arc<Call>, Answer), Refusal> {
    let (table, asked) = (tour.table, Arc::clone(&call));
    let steering = asked.options.steering.as_deref();
    let own_group = planned.resolved.group.clone();
    let own_destination = admitted.meter.destination.clone();
    let most = steering.and_then(|it| it.max_fallbacks).unwrap_or(table.routing.max_fallbacks);
    let is_wanted = steering.is_none_or(|steering| !steering.no_fallbacks);
    let mut tried = Tried::of(&[&asked.model, own_group.as_str()]);
    let mut made = 0;
    // The failure of the group tried last, which decides what comes next.
    let mut why = failed.clone();
    if is_wanted {
        match levels(tour, &call, planned, &why, most, &mut made, admitted, dice).await {
            Ok(answer) => return Ok((call, answer)),
            Err(Some(last)) => why = last,
            Err(None) => {}
        }
    }
    let mut waiting: Vec<Target> = Vec::new();
    if is_wanted {
        line_up(
            &mut waiting,
            chain(table, &asked, &admitted.principal, &asked.model, own_group.as_str(), &why),
        );
    }
    let mut list: Vec<String> = waiting.iter().rev().map(|target| target.group.clone()).collect();
    let mut last_words = None;
    while let Some(target) = waiting.pop() {
        if made >= most || tour.left().is_some_and(|left| left.is_zero()) {
            break;
        }
        if !tried.is_new(&target) || !may_use(table, admitted, &target) {
            continue;
        }
        made += 1;
        let next = match redirect(tour, &asked, &target, admitted, dice).await {
            Ok(next) => next,
            Err(refused) => {
                admitted.fell_back(&failed, &target.group, Outcome::Failed);
                last_words = Some(refused);
                continue;
            }
        };
        admitted.meter.group = Some(next.planned.resolved.group.clone());
        admitted.meter.fallbacks = made;
        let outcome = group(tour, &next.call, &next.planned, 0, None, admitted, dice).await;
        let outcome = match outcome {
            Err(refused) => {
                levels(tour, &next.call, &next.planned, &refused, most, &mut made, admitted, dice)
                    .await
                    .map_err(|later| later.unwrap_or(refused))
            }
            answered => answered,
        };
        match outcome {
            Ok(answer) => {
                admitted.fell_back(&failed, &target.group, Outcome::Answered);
                admitted.meter.fallbacks = made;
                return Ok((next.call, answer));
            }
            Err(refused) => {
                admitted.fell_back(&failed, &target.group, Outcome::Failed);
                let names = (target.group.as_str(), next.planned.resolved.group.as_str());
                let more = chain(table, &asked, &admitted.principal, names.0, names.1, &refused);
                line_up(&mut waiting, more.filter(|_| helps(&refused)));
                for target in waiting.iter().rev() {
                    if !list.contains(&target.group) {
                        list.push(target.group.clone());
                    }
                }
                last_words = Some(refused);
            }
        }
    }
    admitted.meter.group = Some(own_group);
    admitted.meter.destination = own_destination;
    admitted.meter.fallbacks = made;
    Err(if table.routing.tells { failed.telling(&asked.model, &list, last_words.as_ref()) } else { failed })
}

/// The higher orders of a group, one after the other. `Err(None)` if there was none to try.
#[expect(clippy::too_many_arguments, reason = "the state of one walk, which has two call sites")]
async fn levels(
    tour: &Tour<'_>,
    call: &Arc<Call>,
    planned: &Planned,
    why: &Refusal,
    most: usize,
    made: &mut usize,
    admitted: &mut Admitted,
    dice: &mut (dyn Dice + Send),
) -> Result<Answer, Option<Refusal>> {
    let count = planned.plan.as_ref().map_or(0, faregate_router::Plan::levels);
    let is_special = matches!(class(why), Some(FaultClass::ContextWindow | FaultClass::ContentPolicy));
    let mut last = None;
    for level in 1..count {
        if *made >= most || is_special || !helps(last.as_ref().unwrap_or(why)) {
            break;
        }
        *made += 1;
        admitted.meter.fallbacks = *made;
        match group(tour, call, planned, level, None, admitted, dice).await {
            Ok(answer) => return Ok(answer),
            Err(refused) => last = Some(refused),
        }
    }
    Err(last)
}

/// Makes the call one for the target's group: planned, and held in the limits that group has.
async fn redirect(
    tour: &Tour<'_>,
    asked: &Arc<Call>,
    target: &Target,
    admitted: &mut Admitted,
    dice: &mut (dyn Dice + Send),
) -> Result<Replanned, Refusal> {
    let call = Arc::new(asked.redirected(&target.group, &target.overrides)?);
    let planned = plan(tour.gate, tour.table, &call, admitted.asker(), dice).await?;
    if let Err(refused) = &planned.plan {
        return Err(refused.clone());
    }
    reserve::again(tour.gate, tour.table, &call, &planned, admitted).await?;
    Ok(Replanned { call, planned })
}

fn class(refusal: &Refusal) -> Option<FaultClass> {
    match refusal {
        Refusal::Upstream { fault, .. } => Some(fault.class),
        _ => None,
    }
}

/// The groups to try after `group`, which the client may have called `name`, failed so: by the request, else its
/// key or team, else the configuration.
fn chain(
    table: &Table,
    call: &Call,
    principal: &Principal,
    name: &str,
    group: &str,
    why: &Refusal,
) -> Option<Arc<[Target]>> {
    chain_after(table, call, principal, name, group, class(why))
}

/// The same by the class of a provider's failure.
pub(crate) fn chain_after(
    table: &Table,
    call: &Call,
    principal: &Principal,
    name: &str,
    group: &str,
    class: Option<FaultClass>,
) -> Option<Arc<[Target]>> {
    let book = &table.routing.fallbacks;
    let preferences = principal.preferences();
    let own = [
        call.options.steering.as_deref().map(|steering| &steering.fallbacks),
        preferences.map(|preferences| &preferences.fallbacks),
    ];
    let own = || own.into_iter().flatten();
    if let Some(list) = own().find_map(|own| own.list.as_ref()) {
        return Some(Arc::clone(list));
    }
    let of = |pick: fn(&Own) -> Option<&Chains>, configured: &Chains| {
        let chains = own().find_map(pick).unwrap_or(configured);
        (!chains.is_empty()).then(|| look_up(table, chains, name, group))
    };
    let special = match class {
        Some(FaultClass::ContextWindow) => of(|own| own.context_window.as_ref(), &book.context_window),
        Some(FaultClass::ContentPolicy) => of(|own| own.content_policy.as_ref(), &book.content_policy),
        _ => None,
    };
    // Where there are groups for such a failure, the others are not for it.
    special.unwrap_or_else(|| of(|own| own.general.as_ref(), &book.general).flatten())
}

/// By the name, the group, both without their provider, or with the one they imply.
fn look_up(table: &Table, chains: &Chains, name: &str, group: &str) -> Option<Arc<[Target]>> {
    let stripped = |name: &'_ str| -> Option<String> {
        let (provider, rest) = name.split_once('/')?;
        faregate_catalog::provider(provider).map(|_| rest.to_owned())
    };
    let implied = |name: &str| -> Option<String> {
        if name.contains('/') || !chains.has_suffix(name) {
            return None;
        }
        let found = faregate_catalog::resolve(name, None, None, &table.catalog).ok()?;
        Some(format!("{}/{name}", found.provider.name))
    };
    let others = [stripped(name), stripped(group), implied(name), implied(group)];
    let others = others.iter().flatten().map(String::as_str);
    chains.of([name, group].into_iter().chain(others))
}

/// Puts a chain in front of what waits.
fn line_up(waiting: &mut Vec<Target>, chain: Option<Arc<[Target]>>) {
    waiting.extend(chain.iter().flat_map(|chain| chain.iter()).rev().cloned());
}

/// Fallbacks of the configuration are the operator's choice; those of clients have been checked.
fn may_use(table: &Table, admitted: &Admitted, target: &Target) -> bool {
    !table.routing.checks_fallbacks || access::sees(table, &admitted.principal, &target.group)
}

/// What has been tried: a group counts once for each set of members it is tried with.
struct Tried(HashSet<String>);

impl Tried {
    fn of(names: &[&str]) -> Self {
        Self(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn is_new(&mut self, target: &Target) -> bool {
        if target.overrides.is_empty() {
            return self.0.insert(target.group.clone());
        }
        let members = faregate_wire::json::write(&*target.overrides);
        self.0.insert(format!("{} {}", target.group, String::from_utf8_lossy(&members)))
    }
}

/// Refuses fallbacks of a client's own to groups it may not use, and members it may not set.
///
/// # Errors
/// 403 and 401.
pub(crate) fn check_groups(table: &Table, call: &Call, principal: &Principal) -> Result<(), Refusal> {
    let Some(steering) = call.options.steering.as_deref() else { return Ok(()) };
    if let Some(member) = steering.banned() {
        return Err(Refusal::BannedMember(member.to_owned()));
    }
    steering.groups().try_for_each(|group| access::model(table, principal, group))
}
