//! Rows of the database → callers and limits, in the form the request path asks about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use faregate_config::{BudgetSettings, Snapshot};
use faregate_gateway::caller::{Blocked, Caller, Grant, Granter, ModelLimit, Permits, ShownLimits, Subject};
use faregate_gateway::gate::token_kind;
use faregate_gateway::ports::{Outcome, PrincipalSource, Then, Unavailable, Which};
use faregate_gateway::steering::Preferences;
use faregate_state::clock::Clock;
use faregate_state::limits::{
    Anchor, BudgetDuration, Limit, Rule, Schedule, Scope, ScopeKey, TokenKind, Window,
};
use faregate_store::ledger::{EVERYBODY, PlaceKind, Subject as Booked, SubjectKind};
use faregate_store::{
    AccessGroupBudget, Budget, EndUserRecord, KeyRecord, Store, StoreError, Tag, Usd, User, VirtualKey,
};
use faregate_terms::{Account, KeyHash, PicoUsd, UtcMillis};
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use tokio::runtime::Handle;

use crate::adapters::access_groups::GroupModels;
use crate::adapters::budget_windows::WindowSpend;
use crate::adapters::known_keys::KnownKeys;
use crate::adapters::model_budgets::{self, ModelSpend};
use crate::adapters::pass_through;
use crate::adapters::places::{self, Places};

/// Asks the database, on the runtime of the jobs, so that its connections have one home.
pub struct StoreSource {
    store: Store,
    runtime: Handle,
    clock: Arc<dyn Clock>,
    rules: Arc<ArcSwap<Rules>>,
    known: Arc<KnownKeys>,
}

/// What the configuration says about limits.
#[derive(Debug, Clone)]
pub struct Rules {
    strict: bool,
    tokens: TokenKind,
    user_budget_for_team_keys: bool,
    zone: TimeZone,
    reset_time: Time,
    global: BudgetSettings,
    end_user: Option<PicoUsd>,
    end_user_budget: Option<String>,
    tags: BTreeMap<String, BudgetSettings>,
    pub(crate) places: Places,
}

impl Rules {
    /// Reads them.
    pub fn of(snapshot: &Snapshot) -> Self {
        let (limits, spend) = (&snapshot.general.limits, &snapshot.litellm.spend);
        Self {
            strict: limits.strict_budgets,
            tokens: token_kind(limits.token_rate),
            user_budget_for_team_keys: limits.user_budget_for_team_keys,
            zone: zone(spend.timezone.as_deref()),
            reset_time: reset_time(spend.reset_time.as_deref()),
            global: snapshot.global_budget().clone(),
            end_user: spend.end_user_budget,
            end_user_budget: spend.end_user_budget_id.clone(),
            tags: spend.tag_budgets.clone(),
            places: Places::of(snapshot),
        }
    }

    /// When budgets of this length start again.
    pub fn schedule(&self, duration: &str) -> Option<Schedule> {
        let duration: BudgetDuration = duration.parse().ok()?;
        Some(Schedule { duration, zone: self.zone.clone(), at: self.reset_time, anchor: Anchor::Asked })
    }

    /// The period that is running at `now` where no row says so: when it ends, and what counters make of that. One
    /// that never ends if there is no duration.
    pub(super) fn running(&self, duration: Option<&str>, now: UtcMillis) -> (Option<UtcMillis>, Window) {
        let schedule = duration.and_then(|duration| self.schedule(duration));
        let Some(schedule) = schedule.map(|it| Schedule { anchor: Anchor::Fixed, ..it }) else {
            return (None, Window::Endless);
        };
        let ends = schedule.next(timestamp(now));
        let window = Window::Calendar { ends, schedule: Arc::new(schedule) };
        (Some(UtcMillis::from_millis(ends.as_millisecond())), window)
    }

    /// The end of the period after the one that ended at `last`.
    pub fn next_reset(&self, duration: &str, now: UtcMillis) -> Option<UtcMillis> {
        let next = self.schedule(duration)?.next(timestamp(now));
        Some(UtcMillis::from_millis(next.as_millisecond()))
    }

    pub(super) fn window(&self, duration: Option<&str>, ends: Option<UtcMillis>, now: UtcMillis) -> Window {
        let Some(schedule) = duration.and_then(|duration| self.schedule(duration)) else {
            return Window::Endless;
        };
        let ends = ends.map_or_else(|| schedule.next(timestamp(now)), timestamp);
        Window::Calendar { ends, schedule: Arc::new(schedule) }
    }

    /// The budget object of end users who have none of their own.
    pub fn end_user_budget(&self) -> Option<&str> {
        self.end_user_budget.as_deref()
    }

    /// True if a user's budget is for requests of this team: a user's budget is for keys of one's own. Source: compat,
    /// behaviour §2 step 7.
    pub(super) fn counts_users(&self, team: Option<&str>) -> bool {
        team.is_none() || self.user_budget_for_team_keys
    }

    pub(super) fn budget(&self, scope: ScopeKey, max: PicoUsd, spent: PicoUsd, window: Window) -> Limit {
        let rule = if self.strict { Rule::Within } else { Rule::Below };
        Limit::budget(scope, max, spent, window).with_rule(rule)
    }
}

/// An unknown zone is UTC, as with LiteLLM.
fn zone(name: Option<&str>) -> TimeZone {
    let Some(name) = name else { return TimeZone::UTC };
    TimeZone::get(name).unwrap_or_else(|_| {
        tracing::warn!(name, "litellm_settings.timezone is no zone this machine knows; budgets reset in UTC");
        TimeZone::UTC
    })
}

fn reset_time(text: Option<&str>) -> Time {
    text.and_then(|text| text.parse().ok()).unwrap_or(Time::midnight())
}

fn timestamp(time: UtcMillis) -> Timestamp {
    Timestamp::from_millisecond(time.millis()).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl StoreSource {
    /// A source over `store`.
    pub fn new(
        store: Store,
        runtime: Handle,
        clock: Arc<dyn Clock>,
        rules: Arc<ArcSwap<Rules>>,
        known: Arc<KnownKeys>,
    ) -> Self {
        Self { store, runtime, clock, rules, known }
    }

    fn now(&self) -> UtcMillis {
        UtcMillis::from_millis(self.clock.wall_ms())
    }
}

impl PrincipalSource for StoreSource {
    fn key(&self, hash: KeyHash, then: Then<Caller>) {
        if !self.known.worth_asking(&hash, Instant::now()) {
            return then(Ok(None));
        }
        let (store, rules, now) = (self.store.clone(), self.rules.load_full(), self.now());
        let known = Arc::clone(&self.known);
        self.runtime.spawn(async move {
            let build = Build { rules: &rules, now };
            let found = build.key(&store, &hash.to_string()).await;
            if matches!(found, Ok(Some(_))) {
                known.found(&hash);
            }
            then(answer(found));
        });
    }

    fn subject(&self, which: &Which, then: Then<Subject>) {
        let (store, rules, now) = (self.store.clone(), self.rules.load_full(), self.now());
        let which = which.clone();
        self.runtime.spawn(async move {
            let build = Build { rules: &rules, now };
            then(answer(build.subject(&store, &which).await));
        });
    }
}

fn answer<T>(found: Result<Option<T>, StoreError>) -> Outcome<T> {
    match found {
        Ok(found) => Ok(found.map(Arc::new)),
        Err(error) => {
            tracing::warn!(%error, "the database cannot be asked");
            Err(Unavailable(error.to_string()))
        }
    }
}

/// Whoever has limits of the usual kinds.
#[derive(Default)]
struct Bounds<'a> {
    max_budget: Option<PicoUsd>,
    spent: PicoUsd,
    duration: Option<&'a str>,
    ends: Option<UtcMillis>,
    rpm: Option<i64>,
    tpm: Option<i64>,
    parallel: Option<i64>,
}

impl<'a> Bounds<'a> {
    fn of_budget(budget: &'a Budget, spent: PicoUsd, now: UtcMillis) -> Self {
        let raised = budget.temp_budget_expiry.is_some_and(|expiry| expiry > now);
        let more = budget.temp_budget_increase.filter(|_| raised).map_or(PicoUsd::ZERO, |more| more.0);
        Self {
            max_budget: budget.max_budget.map(|max| max.0 + more),
            spent,
            duration: budget.budget_duration.as_deref(),
            ends: budget.budget_reset_at,
            rpm: budget.rpm_limit,
            tpm: budget.tpm_limit,
            parallel: budget.max_parallel_requests,
        }
    }
}

/// Puts callers together.
struct Build<'a> {
    rules: &'a Rules,
    now: UtcMillis,
}

impl Build<'_> {
    async fn key(&self, store: &Store, hash: &str) -> Result<Option<Caller>, StoreError> {
        let Some(record) = store.key_record(hash, self.now).await? else { return Ok(None) };
        let windows = WindowSpend::of(store, &record).await?;
        let groups = GroupModels::of(store, &record).await?;
        let models = ModelSpend::of(store, self.rules, &record, self.now).await?;
        Ok(Some(self.caller(record, &windows, &groups, &models)))
    }

    fn caller(
        &self,
        record: KeyRecord,
        windows: &WindowSpend,
        groups: &GroupModels,
        models: &ModelSpend,
    ) -> Caller {
        let mut limits = Vec::new();
        let mut model_limits = Vec::new();
        self.of_key(&record, &mut limits, &mut model_limits);
        self.of_others(&record, &mut limits, &mut model_limits);
        models.limit(self.rules, &record, self.now, &mut model_limits);
        windows.limit(self.rules, &record, self.now, &mut limits);
        let KeyRecord { key, team, user, organization, project, .. } = &record;
        let max_budget = key.max_budget.or(record.key_budget.as_ref().and_then(|budget| budget.max_budget));
        Caller {
            shown: key.key_name.clone().unwrap_or_else(|| "sk-...".to_owned()),
            is_admin: user.as_ref().is_some_and(|user| user.user_role.as_deref() == Some("proxy_admin"))
                && key.team_id.is_none(),
            blocked: blocked(&record),
            expires: key.expires,
            grants: grants(&record, groups),
            aliases: aliases(&record),
            routes: key.allowed_routes.clone(),
            pass_through: pass_through::routes(&record),
            limits,
            model_limits,
            shown_limits: ShownLimits {
                tpm: key.tpm_limit,
                rpm: key.rpm_limit,
                max_budget: max_budget.map(|max| max.0),
            },
            spent: record.spent.key,
            region: region(&record),
            // A key's settings replace its team's as a whole. Source: compat, behaviour §5.
            preferences: Preferences::read(&key.router_settings)
                .or_else(|| Preferences::read(&team.as_ref()?.router_settings)),
            permits: Permits {
                mock_response: [Some(&key.metadata), team.as_ref().map(|team| &team.metadata)]
                    .into_iter()
                    .flatten()
                    .any(|metadata| metadata["allow_client_mock_response"] == Value::Bool(true)),
            },
            account: Account {
                api_key: key.token.clone(),
                key_alias: key.key_alias.clone(),
                user: key.user_id.clone(),
                team: key.team_id.clone(),
                team_alias: team.as_ref().and_then(|team| team.team_alias.clone()),
                organization: organization.as_ref().map(|it| it.organization_id.clone()),
                project: key.project_id.clone(),
                project_alias: project.as_ref().and_then(|project| project.project_alias.clone()),
                agent: key.agent_id.clone(),
                tags: tags(&record),
                ..Account::default()
            },
        }
    }

    fn of_key(&self, record: &KeyRecord, limits: &mut Vec<Limit>, model_limits: &mut Vec<ModelLimit>) {
        let (key, budget) = (&record.key, record.key_budget.as_ref());
        let own = |field: fn(&Budget) -> Option<i64>| budget.and_then(field);
        let from_budget = key.max_budget.is_none();
        let (duration, ends) = if from_budget {
            (budget.and_then(|it| it.budget_duration.as_deref()), budget.and_then(|it| it.budget_reset_at))
        } else {
            (key.budget_duration.as_deref(), key.budget_reset_at)
        };
        let max = key.max_budget.or(budget.and_then(|budget| budget.max_budget));
        let bounds = Bounds {
            max_budget: max.map(|max| max.0 + self.raised(&key.metadata)),
            spent: record.spent.key,
            duration,
            ends,
            rpm: key.rpm_limit.or(own(|it| it.rpm_limit)),
            tpm: key.tpm_limit.or(own(|it| it.tpm_limit)),
            parallel: key.max_parallel_requests.or(own(|it| it.max_parallel_requests)),
        };
        let scope = ScopeKey::of(Scope::Key, key.token.as_str());
        self.bound(&scope, &bounds, reset_by_hand(&key.metadata), limits);
        self.model_rates(&scope, &key.metadata, model_limits);
    }

    fn of_others(&self, record: &KeyRecord, limits: &mut Vec<Limit>, model_limits: &mut Vec<ModelLimit>) {
        let spent = &record.spent;
        if let Some(team) = &record.team {
            let bounds = Bounds {
                max_budget: team.max_budget.map(|max| max.0),
                spent: spent.team,
                duration: team.budget_duration.as_deref(),
                ends: team.budget_reset_at,
                rpm: team.rpm_limit,
                tpm: team.tpm_limit,
                parallel: team.max_parallel_requests,
            };
            let scope = ScopeKey::of(Scope::Team, team.team_id.as_str());
            self.bound(&scope, &bounds, reset_by_hand(&team.metadata), limits);
            self.model_rates(&scope, &team.metadata, model_limits);
        }
        if let Some(user) = &record.user {
            self.of_user(user, record, limits, model_limits);
        }
        if let (Some(budget), Some(membership)) = (&record.membership_budget, &record.membership) {
            let scope = ScopeKey::member(&membership.user_id, &membership.team_id);
            self.bound(&scope, &Bounds::of_budget(budget, spent.member, self.now), None, limits);
        }
        if let (Some(budget), Some(organization)) = (&record.organization_budget, &record.organization) {
            let scope = ScopeKey::of(Scope::Organization, organization.organization_id.as_str());
            self.bound(&scope, &Bounds::of_budget(budget, spent.organization, self.now), None, limits);
        }
        if let (Some(budget), Some(project)) = (&record.project_budget, &record.project) {
            let scope = ScopeKey::of(Scope::Project, project.project_id.as_str());
            self.bound(&scope, &Bounds::of_budget(budget, spent.project, self.now), None, limits);
        }
    }

    fn of_user(
        &self,
        user: &User,
        record: &KeyRecord,
        limits: &mut Vec<Limit>,
        model_limits: &mut Vec<ModelLimit>,
    ) {
        let budgeted = self.rules.counts_users(record.key.team_id.as_deref());
        let bounds = Bounds {
            max_budget: user.max_budget.filter(|_| budgeted).map(|max| max.0),
            spent: record.spent.user,
            duration: user.budget_duration.as_deref(),
            ends: user.budget_reset_at,
            rpm: user.rpm_limit,
            tpm: user.tpm_limit,
            parallel: user.max_parallel_requests,
        };
        let scope = ScopeKey::of(Scope::User, user.user_id.as_str());
        self.bound(&scope, &bounds, reset_by_hand(&user.metadata), limits);
        if budgeted {
            self.model_rates(&scope, &user.metadata, model_limits);
        }
    }

    fn bound(
        &self,
        scope: &ScopeKey,
        bounds: &Bounds<'_>,
        reset: Option<UtcMillis>,
        limits: &mut Vec<Limit>,
    ) {
        if let Some(max) = bounds.max_budget {
            let window = self.rules.window(bounds.duration, bounds.ends, self.now);
            let mut limit = self.rules.budget(scope.clone(), max, bounds.spent, window);
            if let Some(reset) = reset {
                limit = limit.reset_at(timestamp(reset));
            }
            limits.push(limit);
        }
        limits.extend(count(bounds.rpm).map(|most| Limit::requests(scope.clone(), most)));
        limits.extend(count(bounds.tpm).map(|most| Limit::tokens(scope.clone(), self.rules.tokens, most)));
        limits.extend(count(bounds.parallel).map(|most| Limit::parallel(scope.clone(), most)));
    }

    /// `model_rpm_limit` and `model_tpm_limit` of the metadata.
    fn model_rates(&self, scope: &ScopeKey, metadata: &Value, limits: &mut Vec<ModelLimit>) {
        let per_model = |model: &str| ScopeKey::per_model(scope.scope, Arc::clone(&scope.id), model);
        let none = Map::new();
        for (model, most) in metadata["model_rpm_limit"].as_object().unwrap_or(&none) {
            if let Some(most) = most.as_u64() {
                limits.push(model_limit(model, Limit::requests(per_model(model), most)));
            }
        }
        for (model, most) in metadata["model_tpm_limit"].as_object().unwrap_or(&none) {
            if let Some(most) = most.as_u64() {
                limits.push(model_limit(model, Limit::tokens(per_model(model), self.rules.tokens, most)));
            }
        }
    }

    /// `temp_budget_increase` of a key, while it lasts.
    fn raised(&self, metadata: &Value) -> PicoUsd {
        let until = metadata["temp_budget_expiry"].as_str().and_then(|text| UtcMillis::parse(text).ok());
        if until.is_none_or(|until| until <= self.now) {
            return PicoUsd::ZERO;
        }
        metadata["temp_budget_increase"].as_f64().and_then(Usd::from_f64).map_or(PicoUsd::ZERO, |more| more.0)
    }

    async fn subject(&self, store: &Store, which: &Which) -> Result<Option<Subject>, StoreError> {
        match which {
            Which::Global => self.global(store).await.map(Some),
            Which::EndUser(id) => self.end_user(store, id).await,
            Which::Tag(name) => self.tag(store, name).await,
            Which::AccessGroup(name) => self.access_group(store, name).await,
            Which::Provider(name) => {
                places::subject(self.rules, store, PlaceKind::Provider, name, self.now).await
            }
            Which::Deployment(id) => {
                places::subject(self.rules, store, PlaceKind::Deployment, id, self.now).await
            }
        }
    }

    async fn global(&self, store: &Store) -> Result<Subject, StoreError> {
        let budget = &self.rules.global;
        let Some(max) = budget.max_budget else { return Ok(Subject::default()) };
        let everybody: Option<User> = store.get(&[EVERYBODY]).await?;
        let spent = spent(store, SubjectKind::User, EVERYBODY).await?;
        let bounds = Bounds {
            max_budget: Some(max),
            spent,
            duration: budget.duration.as_deref(),
            ends: everybody.and_then(|row| row.budget_reset_at),
            ..Bounds::default()
        };
        let mut subject = Subject::default();
        self.bound(&ScopeKey::global(), &bounds, None, &mut subject.limits);
        Ok(subject)
    }

    async fn end_user(&self, store: &Store, id: &str) -> Result<Option<Subject>, StoreError> {
        let record = store.end_user_record(id).await?;
        let known_spent = record.as_ref().map(|record| record.spent);
        let own = record.as_ref().and_then(|record| record.budget.clone());
        let budget = match (own, &self.rules.end_user_budget) {
            (Some(budget), _) => Some(budget),
            (None, Some(default)) => store.get::<Budget>(&[default]).await?,
            (None, None) => None,
        };
        let spent = match known_spent {
            Some(spent) => spent,
            None if budget.is_some() || self.rules.end_user.is_some() => {
                spent(store, SubjectKind::EndUser, id).await?
            }
            None => return Ok(None),
        };
        let scope = ScopeKey::of(Scope::EndUser, id);
        let mut subject = Subject::default();
        match (&budget, self.rules.end_user) {
            (Some(budget), _) => {
                let bounds = Bounds::of_budget(budget, spent, self.now);
                self.bound(&scope, &bounds, None, &mut subject.limits);
                let limits =
                    model_budgets::of_end_user(self.rules, store, id, &budget.model_max_budget, self.now);
                subject.model_limits = limits.await?;
            }
            (None, Some(max)) => {
                let bounds = Bounds { max_budget: Some(max), spent, ..Bounds::default() };
                self.bound(&scope, &bounds, None, &mut subject.limits);
            }
            (None, None) => {}
        }
        if let Some(EndUserRecord { end_user, .. }) = record {
            subject.blocked = end_user.blocked;
            subject.region = end_user.allowed_model_region.filter(|region| !region.is_empty());
            subject.grant = grant(Granter::EndUser, &end_user.models);
        }
        Ok(Some(subject))
    }

    async fn tag(&self, store: &Store, name: &str) -> Result<Option<Subject>, StoreError> {
        let row: Option<Tag> = store.get(&[name]).await?;
        let budget = match row.as_ref().and_then(|tag| tag.budget_id.as_deref()) {
            Some(id) => store.get::<Budget>(&[id]).await?,
            None => None,
        };
        let settings = self.rules.tags.get(name);
        if budget.is_none()
            && let Some(subject) = places::subject(self.rules, store, PlaceKind::Tag, name, self.now).await?
        {
            return Ok(Some(subject));
        }
        if budget.is_none() && settings.is_none() {
            return Ok(None);
        }
        let spent = spent(store, SubjectKind::Tag, name).await?;
        let bounds = match (&budget, settings) {
            (Some(budget), _) => Bounds::of_budget(budget, spent, self.now),
            (None, settings) => Bounds {
                max_budget: settings.and_then(|settings| settings.max_budget),
                spent,
                ..Bounds::default()
            },
        };
        let mut subject = Subject::default();
        self.bound(&ScopeKey::of(Scope::Tag, name), &bounds, None, &mut subject.limits);
        Ok(Some(subject))
    }

    async fn access_group(&self, store: &Store, name: &str) -> Result<Option<Subject>, StoreError> {
        let row: Option<AccessGroupBudget> = store.get(&[name]).await?;
        let Some(id) = row.and_then(|row| row.budget_id) else { return Ok(None) };
        let Some(budget) = store.get::<Budget>(&[&id]).await? else { return Ok(None) };
        let spent = spent(store, SubjectKind::AccessGroup, name).await?;
        let mut subject = Subject::default();
        let bounds = Bounds::of_budget(&budget, spent, self.now);
        self.bound(&ScopeKey::of(Scope::AccessGroup, name), &bounds, None, &mut subject.limits);
        Ok(Some(subject))
    }
}

async fn spent(store: &Store, kind: SubjectKind, id: &str) -> Result<PicoUsd, StoreError> {
    let subject = Booked::of(kind, id);
    let found = store.spent(std::slice::from_ref(&subject)).await?;
    Ok(found.get(&subject).map_or(PicoUsd::ZERO, |spent| spent.spend))
}

pub(super) fn model_limit(model: &str, limit: Limit) -> ModelLimit {
    ModelLimit { model: model.to_owned(), limit }
}

fn count(limit: Option<i64>) -> Option<u64> {
    limit.and_then(|limit| u64::try_from(limit).ok())
}

/// When an operator set the spend back: [`RESET_BY_HAND`] of the metadata.
fn reset_by_hand(metadata: &Value) -> Option<UtcMillis> {
    UtcMillis::parse(metadata[RESET_BY_HAND].as_str()?).ok()
}

/// Where the time of a reset by hand is kept, so that counters in memory follow.
pub const RESET_BY_HAND: &str = "faregate_spend_reset_at";

fn blocked(record: &KeyRecord) -> Option<Blocked> {
    let deactivated = |user: &&User| user.metadata["scim_active"] == Value::Bool(false);
    if record.key.blocked == Some(true) {
        return Some(Blocked::Key);
    }
    if let Some(team) = record.team.as_ref().filter(|team| team.blocked) {
        return Some(Blocked::Team(team.team_id.clone()));
    }
    if let Some(project) = record.project.as_ref().filter(|project| project.blocked) {
        return Some(Blocked::Project(project.project_id.clone()));
    }
    record.user.as_ref().filter(deactivated).map(|user| Blocked::User(user.user_id.clone()))
}

fn grant(whose: Granter, models: &[String]) -> Option<Grant> {
    (!models.is_empty()).then(|| Grant { whose, models: models.to_vec() })
}

/// The lists that must all allow a model. Source: compat, behaviour §2 step 7.
fn grants(record: &KeyRecord, groups: &GroupModels) -> Vec<Grant> {
    let key = &record.key;
    // The team's own list is asked anyway.
    let by_team = key.models.iter().any(|model| model == "all-team-models") && record.team.is_some();
    let mut grants: Vec<Grant> = Vec::new();
    let with = |grant: Option<Grant>, more: &[String]| {
        grant.map(|mut grant| {
            grant.models.extend_from_slice(more);
            grant
        })
    };
    grants.extend(with(grant(Granter::Key, &key.models).filter(|_| !by_team), &groups.key));
    grants
        .extend(with(record.team.as_ref().and_then(|team| grant(Granter::Team, &team.models)), &groups.team));
    let personal = record.user.as_ref().filter(|_| record.team.is_none());
    grants.extend(personal.and_then(|user| grant(Granter::User, &user.models)));
    grants.extend(record.organization.as_ref().and_then(|it| grant(Granter::Organization, &it.models)));
    grants.extend(record.project.as_ref().and_then(|project| grant(Granter::Project, &project.models)));
    grants
}

fn aliases(record: &KeyRecord) -> BTreeMap<String, String> {
    let team = record.team_aliases.as_ref().map(|aliases| &aliases.aliases);
    let maps = [team, Some(&record.key.aliases)].into_iter().flatten().filter_map(Value::as_object);
    let pairs = maps.flatten().filter_map(|(name, target)| Some((name.clone(), target.as_str()?.to_owned())));
    pairs.collect()
}

/// Where data may go, as the metadata of the organization, team, project or key says, the widest first: nobody may
/// widen what somebody above has promised.
fn region(record: &KeyRecord) -> Option<Box<str>> {
    let organization = record.organization.as_ref().map(|organization| &organization.metadata);
    let team = record.team.as_ref().map(|team| &team.metadata);
    let project = record.project.as_ref().map(|project| &project.metadata);
    let all = [organization, team, project, Some(&record.key.metadata)];
    let said =
        |metadata: &'_ Value| metadata["data_residency"].as_str().map(|region| region.trim().to_owned());
    all.into_iter().flatten().filter_map(said).find(|region| !region.is_empty()).map(Box::from)
}

fn tags(record: &KeyRecord) -> Vec<String> {
    let VirtualKey { metadata, .. } = &record.key;
    let team = record.team.as_ref().map(|team| &team.metadata);
    let project = record.project.as_ref().map(|project| &project.metadata);
    let mut tags: Vec<String> = Vec::new();
    for metadata in [Some(metadata), team, project].into_iter().flatten() {
        for tag in metadata["tags"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !tags.iter().any(|known| known == tag) {
                tags.push(tag.to_owned());
            }
        }
    }
    tags
}
