//! Tells people of budgets that run low, and of changes they asked to hear of.
//!
//! What was booked says whose budgets to look at; how they stand is read from the database, so that it does not
//! matter which replica booked it, or whether a message was lost. A lease per budget, event and period keeps an alert
//! from going out twice, also over replicas and restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use faregate_integrations::alerts::budget::{Event, Group, Names, Standing};
use faregate_integrations::alerts::{Alert, deliver};
use faregate_store::ledger::{EVERYBODY, PlaceKind, Subject, SubjectKind};
use faregate_store::{AccessGroupBudget, Budget, EndUserRecord, KeyRecord, StoreError, Tag, Usd, User};
use faregate_terms::{PicoUsd, Receipt, UtcMillis};
use tokio::sync::mpsc;

use super::Desk;
use crate::database::now;

/// Alerts that wait to be sent; when there are more, the newest are left out and the log says so.
const WAITING: usize = 256;
/// Keys and end users that wait to be looked at; whoever is left out is looked at when they spend again.
const MOST: usize = 10_000;
/// Between two looks at budgets.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an alert of a budget without a period is not sent again. Source: compat, `budget_alert_ttl`.
const AGAIN_AFTER: Duration = Duration::from_secs(86_400);

/// Where events are handed in. Never waits.
#[derive(Debug, Clone)]
pub struct Bell(mpsc::Sender<Work>);

/// The other end of a [`Bell`].
pub struct Heard(mpsc::Receiver<Work>);

#[derive(Debug)]
enum Work {
    /// Somebody spent.
    Spent(Spenders),
    /// Somebody changed something.
    Say(Alert),
}

#[derive(Debug, Default)]
struct Spenders {
    keys: BTreeSet<String>,
    end_users: BTreeSet<String>,
    tags: BTreeSet<String>,
    groups: BTreeSet<String>,
}

impl Spenders {
    fn of(receipts: &[Receipt]) -> Self {
        let mut spenders = Self::default();
        for account in receipts.iter().map(|receipt| &receipt.account) {
            spenders.keys.insert(account.api_key.clone());
            spenders.end_users.extend(account.end_user.clone());
            spenders.tags.extend(account.tags.iter().cloned());
            spenders.groups.extend(account.access_groups.iter().cloned());
        }
        spenders
    }

    fn count(&self) -> usize {
        self.keys.len() + self.end_users.len() + self.tags.len() + self.groups.len()
    }

    fn extend(&mut self, more: Self) {
        self.keys.extend(more.keys);
        self.end_users.extend(more.end_users);
        self.tags.extend(more.tags);
        self.groups.extend(more.groups);
    }
}

/// A bell and what hears it.
pub fn bell() -> (Bell, Heard) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Bell(sender), Heard(receiver))
}

impl Bell {
    /// Something was booked: budgets may have run low.
    pub fn spent(&self, receipts: &[Receipt]) {
        // A full queue means that looks are under way; the next booking asks again.
        let _ = self.0.try_send(Work::Spent(Spenders::of(receipts)));
    }

    /// Something happened that somebody should hear of.
    pub fn say(&self, alert: Alert) {
        let kind = alert.kind;
        if self.0.try_send(Work::Say(alert)).is_err() {
            tracing::warn!(kind, "too many alerts wait; this one is left out");
        }
    }
}

/// Runs until the end.
pub async fn run(desk: Desk, mut heard: Heard) {
    let mut waiting = Spenders::default();
    let mut told: BTreeMap<String, UtcMillis> = BTreeMap::new();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // Cancel-safe: a message that is not taken stays, and so does a tick.
        tokio::select! {
            work = heard.0.recv() => match work {
                Some(Work::Spent(more)) if waiting.count() < MOST => waiting.extend(more),
                Some(Work::Spent(_)) => {}
                Some(Work::Say(alert)) => drop(send(&desk, &alert).await),
                None => return,
            },
            _ = ticks.tick(), if waiting.count() > 0 => {
                let now = now();
                told.retain(|_, until| *until > now);
                let spenders = std::mem::take(&mut waiting);
                tokio::select! {
                    looked = look(&desk, &spenders, &mut told) => if let Err(error) = looked {
                        tracing::warn!(%error, "budgets cannot be looked at now; they are when more is spent");
                    },
                    () = desk.stop.cancelled() => return,
                }
            }
            () = desk.stop.cancelled() => return,
        }
    }
}

async fn send(desk: &Desk, alert: &Alert) -> bool {
    let snapshot = desk.snapshot.load_full();
    let clock = now().to_string();
    // `2026-01-31T12:00:00.000Z`
    let time = clock.get(11..19).unwrap_or_default();
    deliver(alert, &snapshot.general.alerts, &snapshot.env, &desk.web, time).await
}

/// How somebody stands, and when their period ends.
type Found = (Standing, Option<UtcMillis>);

async fn look(
    desk: &Desk,
    spenders: &Spenders,
    told: &mut BTreeMap<String, UtcMillis>,
) -> Result<(), StoreError> {
    let now = now();
    let mut found: BTreeMap<(Group, String), Found> = BTreeMap::new();
    let mut add = |all: Vec<Found>| {
        found.extend(all.into_iter().map(|one| ((one.0.group, one.0.id.clone()), one)));
    };
    for key in spenders.keys.iter().filter(|key| !key.is_empty()) {
        if let Some(record) = desk.store.key_record(key, now).await? {
            add(of_key(&record));
        }
    }
    for id in &spenders.end_users {
        if let Some(record) = desk.store.end_user_record(id).await? {
            add(of_end_user(&record));
        }
    }
    for name in &spenders.tags {
        add(of_tag(desk, name).await?.into_iter().collect());
    }
    for name in &spenders.groups {
        add(of_access_group(desk, name).await?.into_iter().collect());
    }
    add(of_everybody(desk).await?);
    for (standing, ends) in found.into_values() {
        for event in standing.events() {
            tell(desk, &standing, event, ends, told).await?;
        }
    }
    Ok(())
}

/// Sends an alert unless it was sent in this period.
async fn tell(
    desk: &Desk,
    standing: &Standing,
    event: Event,
    ends: Option<UtcMillis>,
    told: &mut BTreeMap<String, UtcMillis>,
) -> Result<(), StoreError> {
    let now = now();
    let wanted = desk.snapshot.load().general.alerts.budget_ttl;
    let after = |wait: Duration| now.plus_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
    let until = match (wanted, ends.filter(|ends| *ends > now)) {
        (Some(ttl), _) => after(ttl),
        (None, Some(ends)) => ends,
        (None, None) => after(AGAIN_AFTER),
    };
    let period = ends.map_or(0, UtcMillis::millis);
    let name = format!("alert:{:?}:{}:{}:{period}", standing.group, standing.id, event.word());
    if told.contains_key(&name) {
        return Ok(());
    }
    let holder = uuid::Uuid::new_v4().to_string();
    if !desk.store.acquire_lease(&name, &holder, now, until).await? {
        told.insert(name, until);
        return Ok(());
    }
    if send(desk, &standing.alert(event)).await {
        told.insert(name, until);
        return Ok(());
    }
    // Whoever books next tries again.
    desk.store.release_lease(&name, &holder).await
}

fn of_budget(group: Group, id: &str, spend: PicoUsd, budget: &Budget, names: &Names) -> Found {
    let standing = Standing {
        group,
        id: id.to_owned(),
        spend,
        max_budget: budget.max_budget.map(|max| max.0),
        soft_budget: budget.soft_budget.map(|soft| soft.0),
        names: names.clone(),
    };
    (standing, budget.budget_reset_at)
}

fn of_key(record: &KeyRecord) -> Vec<Found> {
    let KeyRecord { key, team, user, organization, project, spent, .. } = record;
    let names = Names {
        token: Some(key.token.clone()),
        key_alias: key.key_alias.clone(),
        user_id: key.user_id.clone(),
        user_email: user.as_ref().and_then(|user| user.user_email.clone()),
        team_id: key.team_id.clone(),
        team_alias: team.as_ref().and_then(|team| team.team_alias.clone()),
        organization_id: organization.as_ref().map(|it| it.organization_id.clone()),
        ..Names::default()
    };
    let mut own = record.key_budget.clone().unwrap_or_default();
    if key.max_budget.is_some() {
        (own.max_budget, own.budget_reset_at) = (key.max_budget, key.budget_reset_at);
    }
    let mut found = vec![of_budget(Group::Key, &key.token, spent.key, &own, &names)];
    if let Some(team) = team {
        let budget = Budget {
            max_budget: team.max_budget,
            soft_budget: team.soft_budget,
            budget_reset_at: team.budget_reset_at,
            ..Budget::default()
        };
        // Whose key it was that spent says nothing of the team.
        let names = Names { token: None, key_alias: None, user_id: None, user_email: None, ..names.clone() };
        found.push(of_budget(Group::Team, &team.team_id, spent.team, &budget, &names));
    }
    if let Some(user) = user.as_ref().filter(|_| team.is_none()) {
        let budget = Budget {
            max_budget: user.max_budget,
            budget_reset_at: user.budget_reset_at,
            ..Budget::default()
        };
        found.push(of_budget(Group::User, &user.user_id, spent.user, &budget, &names));
    }
    if let (Some(budget), Some(membership)) = (&record.membership_budget, &record.membership) {
        let id = format!("{}/{}", membership.user_id, membership.team_id);
        found.push(of_budget(Group::TeamMember, &id, spent.member, budget, &names));
    }
    let names = Names { organization_id: names.organization_id, ..Names::default() };
    if let (Some(budget), Some(organization)) = (&record.organization_budget, organization) {
        found.push(of_budget(
            Group::Organization,
            &organization.organization_id,
            spent.organization,
            budget,
            &names,
        ));
    }
    if let (Some(budget), Some(project)) = (&record.project_budget, project) {
        found.push(of_budget(Group::Project, &project.project_id, spent.project, budget, &names));
    }
    found
}

fn of_end_user(record: &EndUserRecord) -> Vec<Found> {
    let id = &record.end_user.user_id;
    let names = Names { customer_id: Some(id.clone()), ..Names::default() };
    record.budget.iter().map(|budget| of_budget(Group::EndUser, id, record.spent, budget, &names)).collect()
}

/// A tag's budget object, else what the configuration says.
async fn of_tag(desk: &Desk, name: &str) -> Result<Option<Found>, StoreError> {
    let id = desk.store.get::<Tag>(&[name]).await?.and_then(|tag| tag.budget_id);
    let budget = match id {
        Some(id) => desk.store.get::<Budget>(&[&id]).await?,
        None => None,
    };
    let snapshot = desk.snapshot.load_full();
    let configured = snapshot.litellm.spend.tag_budgets.get(name);
    let configured =
        || configured.map(|it| Budget { max_budget: it.max_budget.map(Usd), ..Budget::default() });
    let is_object = budget.is_some();
    let Some(budget) = budget.or_else(configured) else { return Ok(None) };
    let rules = desk.rules.load();
    let period = rules.places.budget(&rules, PlaceKind::Tag, name, now()).map(|(_, running)| running.period);
    let spent = match (is_object, period) {
        (false, Some(period)) => desk.store.spent_at(&period).await?,
        _ => spent(desk, SubjectKind::Tag, name).await?,
    };
    let names = Names { tag: Some(name.to_owned()), ..Names::default() };
    Ok(Some(of_budget(Group::Tag, name, spent, &budget, &names)))
}

async fn of_access_group(desk: &Desk, name: &str) -> Result<Option<Found>, StoreError> {
    let row = desk.store.get::<AccessGroupBudget>(&[name]).await?;
    let Some(id) = row.and_then(|row| row.budget_id) else { return Ok(None) };
    let Some(budget) = desk.store.get::<Budget>(&[&id]).await? else { return Ok(None) };
    let spent = spent(desk, SubjectKind::AccessGroup, name).await?;
    let names = Names { model_access_group: Some(name.to_owned()), ..Names::default() };
    Ok(Some(of_budget(Group::ModelAccessGroup, name, spent, &budget, &names)))
}

async fn spent(desk: &Desk, kind: SubjectKind, id: &str) -> Result<PicoUsd, StoreError> {
    let subject = Subject::of(kind, id);
    let found = desk.store.spent(std::slice::from_ref(&subject)).await?;
    Ok(found.get(&subject).map_or(PicoUsd::ZERO, |spent| spent.spend))
}

/// The budget of the whole installation.
async fn of_everybody(desk: &Desk) -> Result<Vec<Found>, StoreError> {
    let Some(max) = desk.snapshot.load().global_budget().max_budget else { return Ok(Vec::new()) };
    let ends = desk.store.get::<User>(&[EVERYBODY]).await?.and_then(|row| row.budget_reset_at);
    let standing = Standing {
        group: Group::Proxy,
        id: String::new(),
        spend: spent(desk, SubjectKind::User, EVERYBODY).await?,
        max_budget: Some(max),
        soft_budget: None,
        names: Names::default(),
    };
    Ok(vec![(standing, ends)])
}
