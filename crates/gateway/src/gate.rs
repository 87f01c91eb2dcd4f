//! Everything a request may touch.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use parking_lot::RwLock;

use faregate_catalog::{Catalog, resolve};
use faregate_config::{Credential, DeploymentConfig, Diagnostic, Severity, Snapshot, SslVerify, TokenRate};
use faregate_journal::Journal;
use faregate_router::{Checks, Router, Seeded, strategy};
use faregate_state::affinity::Affinity;
use faregate_state::clock::{Clock, SystemClock};
use faregate_state::cooldown::Cooldowns;
use faregate_state::figures::Figures;
use faregate_state::limits::{Limit, Limits, OutputEstimates, Scope, ScopeKey, TokenKind};
use faregate_terms::{DeploymentId, Secret};
use faregate_upstream::{EnvView, Upstream};
use faregate_wire::dialect::Dialect;

use crate::answers::Answers;
use crate::auto_router::AutoRouter;
use crate::checkup::{self, Checkups};
use crate::destination::{Builder, Destination, Unusable, Via, keys};
use crate::health::{Care, GroupRecord, Health, Keyring, Vitals};
use crate::metrics::{DeploymentLabels, Metrics};
use crate::pass_through;
use crate::principals::Principals;
use crate::refusal::Refusal;
use crate::routing::{self, Routing};
use crate::sessions::Sessions;
use crate::stage::identify::{Credentials, OnlyHeader};
use crate::stage::mirror::Copies;
use crate::stage::settle::Settler;

/// Attempts after the first when nobody says otherwise. Source: compat, behaviour §9.
const DEFAULT_RETRIES: u32 = 2;
/// Source: compat, `REQUEST_TIMEOUT`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(6000);
/// Source: compat, `anthropic_sse_ping_interval_seconds`.
const ANTHROPIC_PING: Duration = Duration::from_secs(15);
/// Comment frames that keep proxies from giving a silent stream up.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);
/// The largest request body when nobody says otherwise.
const DEFAULT_MAX_BODY: usize = 64 * 1024 * 1024;
/// Status of budget refusals. Source: compat, `budget_exceeded_status_code`.
const BUDGET_STATUS: u16 = 422;
/// Upstream models of a wildcard deployment kept resolved.
const MOST_RESOLVED: usize = 2048;

/// The data plane: built once, its table swapped on reload.
pub struct Gate {
    /// What the configuration says.
    pub table: ArcSwap<Table>,
    /// Counters and histograms.
    pub metrics: Arc<Metrics>,
    /// Turns finished requests into receipts.
    pub settler: Arc<Settler>,
    /// How deployments are doing.
    pub health: Arc<Health>,
    /// Stored OpenAI responses.
    pub sessions: Sessions,
    /// What outlives a configuration.
    pub services: Services,
    /// Copies of requests under way.
    pub(crate) copies: Copies,
    /// Set when the process, or whoever drains it, wants no further requests.
    pub ending: AtomicBool,
    /// Requests refused since more connections were open than may be.
    pub turned_away: AtomicU64,
    /// Where chance starts, if a test fixed it; 0 otherwise.
    seed: AtomicU64,
}

/// What requests share beyond one configuration.
pub struct Services {
    /// Knows virtual keys; `None` where there is no store.
    pub principals: Option<Arc<Principals>>,
    /// Keeps receipts; `None` where nobody books them.
    pub journal: Option<Journal>,
    /// Whether the database answers; `None` where there is none.
    pub database: Option<Arc<DatabaseStatus>>,
    /// Budgets and rates.
    pub limits: Limits,
    /// How long answers usually get.
    pub estimates: Arc<OutputEstimates>,
    /// Deployments that rest.
    pub cooldowns: Cooldowns,
    /// Keys of deployments that rest.
    pub key_rests: Cooldowns,
    /// Which deployment served what.
    pub affinity: Affinity,
    /// What deployments do, on other replicas as well.
    pub figures: Figures,
    /// What health checks found.
    pub checkups: Checkups,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Whether the database answers, as somebody else finds out.
#[derive(Debug)]
pub struct DatabaseStatus {
    /// It did when it was last asked.
    pub answers: AtomicBool,
    /// The gateway counts as ready without it: `allow_requests_on_db_unavailable`.
    pub optional: AtomicBool,
}

impl Services {
    /// No store, and limits of this replica alone.
    pub fn alone() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Self {
            principals: None,
            journal: None,
            database: None,
            limits: Limits::alone(limit_settings(), Arc::clone(&clock)),
            estimates: Arc::new(OutputEstimates::new()),
            cooldowns: Cooldowns::alone(Arc::clone(&clock)),
            key_rests: Cooldowns::alone(Arc::clone(&clock)),
            affinity: Affinity::alone(Arc::clone(&clock)),
            figures: Figures::alone(Arc::clone(&clock)),
            checkups: Checkups::alone(Arc::clone(&clock)),
            clock,
        }
    }
}

/// How long a request waits for those under way to use less than they hold, before its budget refuses it.
const BUDGET_PATIENCE: Duration = Duration::from_secs(10);

/// Bounds of limits, as the data plane wants them.
pub fn limit_settings() -> faregate_state::limits::Settings {
    faregate_state::limits::Settings { patience: BUDGET_PATIENCE, ..Default::default() }
}

/// One configuration, ready for use. Requests in flight keep the one they began with.
pub struct Table {
    /// Names → deployments.
    pub router: Router,
    /// The deployments, by the router's indexes.
    pub deployments: Vec<Deployment>,
    /// `litellm_settings.model_alias_map`.
    pub model_aliases: BTreeMap<String, String>,
    /// Groups all of whose deployments this version has no code for, and why.
    pub unsupported: BTreeMap<String, String>,
    /// How requests are routed.
    pub routing: Routing,
    /// How deployments are checked.
    pub checks: checkup::Rules,
    /// The rest.
    pub settings: Settings,
    /// Who may call.
    pub credentials: Credentials,
    /// Connections.
    pub upstream: Upstream,
    /// Prices and capabilities.
    pub catalog: Arc<Catalog>,
    /// The environment.
    pub env: EnvView,
    /// Rates of the whole installation.
    pub global_limits: Vec<Limit>,
    /// Limits of a group's own, by its name.
    pub group_limits: HashMap<String, Vec<Limit>, RandomState>,
    /// The response cache; `None` if it is off.
    pub answers: Option<Arc<Answers>>,
    /// Routes of an operator's own.
    pub pass_through: pass_through::Routes,
    /// Groups that choose another one by what is asked, by name.
    pub auto_routers: HashMap<String, AutoRouter>,
    /// Provider credentials that have a name.
    pub named_credentials: Vec<Credential>,
    /// Access groups of each model group.
    access_groups: HashMap<String, Vec<String>, RandomState>,
    /// True if a deployment has limits of its own: where none has, none is looked at for them.
    pub(crate) has_own_limits: bool,
    /// How deployments are looked after that have nothing of their own.
    usual_care: Arc<Care>,
    /// The deployments' records, taken when the first request asks.
    seats: OnceLock<Vec<Arc<Vitals>>>,
    /// The groups' records, taken likewise.
    groups: OnceLock<Vec<Arc<GroupRecord>>>,
}

/// Settings of the request path.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Attempts after the first.
    pub num_retries: u32,
    /// Shortest wait before a retry.
    pub retry_after: Duration,
    /// `None`: ask providers for usage, and show it to clients that asked. `true`: show it to all.
    pub always_include_stream_usage: Option<bool>,
    /// Send the client's `x-*` headers on.
    pub forward_client_headers: bool,
    /// Drop parameters a provider does not take.
    pub drop_params: bool,
    /// Mend requests a provider would refuse.
    pub modify_params: bool,
    /// For a whole answer.
    pub timeout: Duration,
    /// For the first byte of a stream.
    pub stream_timeout: Option<Duration>,
    /// Largest request body, bytes.
    pub max_body: usize,
    /// The client's address is the first of `x-forwarded-for`.
    pub forwarded_for: bool,
    /// Names of callbacks, for those who ask what is configured.
    pub callbacks: Vec<String>,
    /// Groups that anybody may know of.
    pub public_groups: Vec<String>,
    /// Links that are shown beside them, by title.
    pub public_links: serde_json::Value,
    /// `/metrics` exists.
    pub prometheus: bool,
    /// `/metrics` needs a key.
    pub metrics_need_key: bool,
    /// Between two pings of an Anthropic stream.
    pub anthropic_ping: Duration,
    /// Between two comment frames of other streams.
    pub keepalive: Option<Duration>,
    /// Status of budget refusals.
    pub budget_status: u16,
    /// True if the whole installation has a budget.
    pub has_global_budget: bool,
    /// What is said is written to the request log; `true`: with prompts and answers left out.
    pub transcripts: Option<bool>,
}

/// `general_settings.store_prompts_in_spend_logs`, or the environment's.
fn stores_prompts(snapshot: &Snapshot) -> bool {
    let asked = snapshot.env.filled("STORE_PROMPTS_IN_SPEND_LOGS");
    snapshot.general.database.store_prompts || asked.is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

impl Settings {
    /// How long a stream of `dialect` may be silent before a sign of life.
    pub fn heartbeat(&self, dialect: Dialect) -> Option<Duration> {
        let interval = match dialect {
            Dialect::Anthropic => self.anthropic_ping,
            _ => self.keepalive.unwrap_or(DEFAULT_HEARTBEAT),
        };
        (!interval.is_zero()).then_some(interval)
    }

    fn of(snapshot: &Snapshot) -> Self {
        let (router, litellm, general) = (&snapshot.router, &snapshot.litellm, &snapshot.general);
        let count = |value: Option<u64>| value.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        Self {
            num_retries: count(router.num_retries.or(litellm.num_retries)).unwrap_or(DEFAULT_RETRIES),
            retry_after: router.retry_after.unwrap_or_default(),
            always_include_stream_usage: general.always_include_stream_usage.then_some(true),
            forward_client_headers: general.forward_client_headers_to_llm_api,
            drop_params: litellm.drop_params.unwrap_or(false),
            modify_params: litellm.modify_params.unwrap_or(false),
            timeout: router.timeout.or(litellm.request_timeout).unwrap_or(DEFAULT_TIMEOUT),
            stream_timeout: router.stream_timeout,
            max_body: general
                .max_request_size_mb
                .filter(|mb| mb.is_finite() && *mb > 0.0)
                .map_or(DEFAULT_MAX_BODY, |mb| (mb * 1024.0 * 1024.0) as usize),
            forwarded_for: general.use_x_forwarded_for,
            callbacks: litellm.callbacks.clone(),
            public_groups: litellm.public_model_groups.clone(),
            public_links: serde_json::Value::Object(litellm.public_links.0.clone()),
            prometheus: litellm.has_callback("prometheus"),
            metrics_need_key: litellm.require_auth_for_metrics_endpoint.unwrap_or(true),
            anthropic_ping: litellm.anthropic_sse_ping_interval.unwrap_or(ANTHROPIC_PING),
            keepalive: litellm.sse_keepalive_interval,
            budget_status: litellm.spend.exceeded_status.unwrap_or(BUDGET_STATUS),
            has_global_budget: snapshot.global_budget().max_budget.is_some(),
            transcripts: stores_prompts(snapshot).then_some(snapshot.litellm.turn_off_message_logging),
        }
    }
}

/// Destinations by the upstream model's name.
type ByModel = HashMap<String, Arc<Destination>, RandomState>;

/// A deployment and what has been resolved of it.
pub struct Deployment {
    /// Its settings.
    pub config: DeploymentConfig,
    /// Its upstream model string; may hold `*`.
    pub upstream_model: String,
    /// Limits of its own.
    pub limits: Vec<Limit>,
    /// How it is looked after.
    pub care: Arc<Care>,
    /// How its keys are doing, if it has several.
    pub keyring: Option<Arc<Keyring>>,
    labels: OnceLock<Arc<DeploymentLabels>>,
    resolved: RwLock<HashMap<Via, ByModel, RandomState>>,
}

impl Deployment {
    fn new(config: &DeploymentConfig, care: &Arc<Care>) -> Self {
        let keys: Vec<_> = keys(&config.params).map(|key| key_name(&config.id, key.expose())).collect();
        Self {
            config: config.clone(),
            upstream_model: config.params.model.clone(),
            limits: Vec::new(),
            care: Arc::clone(care),
            keyring: (keys.len() > 1).then(|| Arc::new(Keyring::new(keys))),
            labels: OnceLock::new(),
            resolved: RwLock::default(),
        }
    }

    /// What tells it apart in metrics.
    pub fn labels(&self, destination: &Destination) -> &Arc<DeploymentLabels> {
        self.labels.get_or_init(|| Arc::new(DeploymentLabels::of(destination)))
    }

    /// The destination for what a model is there for: chat if it can, else what it can.
    ///
    /// # Errors
    /// As [`Deployment::destination`].
    pub fn main_destination(&self, model: &str, table: &Table) -> Result<Arc<Destination>, Refusal> {
        let chat = self.destination(model, Via::Chat, table);
        let beside = || Via::BESIDE_CHAT.into_iter().find_map(|via| self.destination(model, via, table).ok());
        chat.or_else(|refusal| beside().ok_or(refusal))
    }

    /// The destination for one upstream model string.
    ///
    /// # Errors
    /// 400 or 501 with the remedy, if the model leads nowhere.
    pub fn destination(&self, model: &str, via: Via, table: &Table) -> Result<Arc<Destination>, Refusal> {
        if let Some(found) = self.resolved.read().get(&via).and_then(|of_via| of_via.get(model)) {
            return Ok(Arc::clone(found));
        }
        let made =
            table.builder().destination(&self.config, model, via).map_err(|unusable| match unusable {
                Unusable::NotSupported(why) => Refusal::NotImplemented(why),
                Unusable::UnknownProvider(why) | Unusable::Incomplete(why) => {
                    Refusal::Invalid(faregate_wire::dialect::BadRequest::new("model", why))
                }
            })?;
        let made = Arc::new(Destination { keyring: self.keyring.clone(), ..made });
        let mut resolved = self.resolved.write();
        let of_via = resolved.entry(via).or_default();
        if of_via.len() >= MOST_RESOLVED {
            of_via.clear();
        }
        of_via.insert(model.to_owned(), Arc::clone(&made));
        Ok(made)
    }
}

/// What replicas call a key of a deployment; another key in its place is another name.
fn key_name(deployment: &DeploymentId, key: &str) -> DeploymentId {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    DeploymentId::from(format!("{deployment}#{:016x}", hasher.finish()))
}

/// What a table is made from, besides the configuration.
pub struct Parts {
    /// Connections.
    pub upstream: Upstream,
    /// Prices and capabilities.
    pub catalog: Arc<Catalog>,
    /// The environment.
    pub env: EnvView,
    /// The admin key; `None` lets everybody in.
    pub master_key: Option<Secret>,
    /// The response cache; `None` if it is off.
    pub answers: Option<Arc<Answers>>,
}

/// A deployment, or a route of an operator's own, that cannot serve, and why.
#[derive(Debug, Clone)]
pub struct Skipped {
    /// Where, what and the remedy: an error, or a warning if the rest of the configuration is fine
    /// without it.
    pub finding: Diagnostic,
    /// Its public name, or its path.
    pub group: String,
}

impl Table {
    /// Builds the table; deployments that cannot serve are left out and named.
    pub fn new(snapshot: &Snapshot, parts: Parts) -> (Self, Vec<Skipped>) {
        let mut table = Self {
            router: Router::new(
                Vec::new(),
                HashMap::new(),
                Box::new(strategy::SimpleShuffle),
                Checks::default(),
            ),
            deployments: Vec::new(),
            model_aliases: snapshot.litellm.model_alias_map.clone(),
            unsupported: BTreeMap::new(),
            routing: Routing::of(snapshot),
            checks: checkup::Rules::of(snapshot),
            settings: Settings::of(snapshot),
            credentials: credentials(snapshot, parts.master_key),
            upstream: parts.upstream,
            catalog: parts.catalog,
            env: parts.env,
            global_limits: global_limits(snapshot),
            group_limits: group_limits(snapshot),
            answers: parts.answers,
            pass_through: pass_through::Routes::default(),
            auto_routers: HashMap::new(),
            named_credentials: snapshot.credentials.clone(),
            access_groups: access_groups(snapshot),
            has_own_limits: false,
            usual_care: Arc::new(routing::care(snapshot)),
            seats: OnceLock::new(),
            groups: OnceLock::new(),
        };
        let care = Arc::clone(&table.usual_care);
        let mut skipped = Vec::new();
        table.pass_through = pass_through::Routes::of(snapshot, &mut skipped);
        for config in &snapshot.deployments {
            if let Some(outcome) = AutoRouter::of(config) {
                match outcome {
                    Ok(router) => drop(table.auto_routers.insert(config.group.to_string(), router)),
                    Err(reason) => skipped.push(Skipped {
                        finding: config.finding(Severity::Error, "litellm_params", reason),
                        group: config.group.to_string(),
                    }),
                }
                continue;
            }
            let deployment = Deployment::new(config, &care);
            let fixed = !config.params.model.contains('*');
            let outcome =
                if fixed { table.builder().main(config, &config.params.model).map(drop) } else { Ok(()) };
            match outcome {
                Ok(()) => table.deployments.push(deployment),
                Err(reason) => {
                    table.unsupported.insert(config.group.to_string(), reason.to_string());
                    let severity = match reason {
                        Unusable::NotSupported(_) => Severity::Warning,
                        Unusable::UnknownProvider(_) | Unusable::Incomplete(_) => Severity::Error,
                    };
                    let finding = config.finding(severity, "litellm_params.model", reason.to_string());
                    skipped.push(Skipped { finding, group: config.group.to_string() });
                }
            }
        }
        routing::look_after(&mut table.deployments, &care, snapshot);
        table.has_own_limits = table.deployments.iter().any(|deployment| !deployment.limits.is_empty());
        table.router = routing::router(&table, snapshot);
        (table, skipped)
    }

    /// A deployment that no request is routed to.
    pub fn aside(&self, config: &DeploymentConfig) -> Deployment {
        Deployment::new(config, &self.usual_care)
    }

    /// The deployments' records, by the router's indexes.
    pub fn vitals(&self, health: &Health) -> &[Arc<Vitals>] {
        self.seats.get_or_init(|| health.seat(&self.deployments))
    }

    /// The groups' records, by [`faregate_router::Members::group`].
    pub fn groups(&self, health: &Health) -> &[Arc<GroupRecord>] {
        self.groups.get_or_init(|| health.groups(&self.router))
    }

    /// What chooses a group for `model`, if that is what the name stands for.
    pub fn auto_router(&self, model: &str) -> Option<&AutoRouter> {
        self.auto_routers.get(self.model_aliases.get(model).map_or(model, String::as_str))
    }

    /// Access groups that `model` belongs to.
    pub fn access_groups(&self, model: &str) -> &[String] {
        self.access_groups.get(model).map_or(&[], Vec::as_slice)
    }

    /// What destinations are made with.
    pub fn builder(&self) -> Builder<'_> {
        Builder {
            upstream: &self.upstream,
            catalog: &self.catalog,
            env: &self.env,
            drop_params: self.settings.drop_params,
            modify_params: self.settings.modify_params,
            timeout: self.settings.timeout,
            stream_timeout: self.settings.stream_timeout,
        }
    }

    /// `name` with its inferred provider in front, for names that have none.
    pub fn prefixed(&self, name: &str) -> Option<String> {
        if !self.router.members(name).is_empty() {
            return None;
        }
        let found = resolve(name, None, None, &self.catalog).ok()?;
        (found.model == name).then(|| format!("{}/{name}", found.provider.name))
    }
}

/// Rates and parallel requests of the whole installation. Its budget is known by the store.
fn global_limits(snapshot: &Snapshot) -> Vec<Limit> {
    let (general, router) = (&snapshot.general.limits, &snapshot.router.limits);
    // Requests in flight on one replica are counted apart from those on all.
    let own = || ScopeKey::of(Scope::Global, format!("replica {}", *REPLICA));
    let limits = [
        router.rpm.map(|most| Limit::requests(ScopeKey::global(), most)),
        router.tpm.map(|most| Limit::tokens(ScopeKey::global(), token_kind(general.token_rate), most)),
        general.global_max_parallel_requests.map(|most| Limit::parallel(ScopeKey::global(), most)),
        general.max_parallel_requests.map(|most| Limit::parallel(own(), most)),
    ];
    limits.into_iter().flatten().collect()
}

/// Tells this process from other replicas.
static REPLICA: LazyLock<uuid::Uuid> = LazyLock::new(uuid::Uuid::new_v4);

/// The tokens that `token_rate_limit_type` names.
pub fn token_kind(rate: TokenRate) -> TokenKind {
    match rate {
        TokenRate::Total => TokenKind::Total,
        TokenRate::Input => TokenKind::Input,
        TokenRate::Output => TokenKind::Output,
    }
}

/// Limits that the configuration gives a group: `metadata.max_requests_per_minute` of its models.
fn group_limits(snapshot: &Snapshot) -> HashMap<String, Vec<Limit>, RandomState> {
    let mut limits: HashMap<String, Vec<Limit>, RandomState> = HashMap::default();
    for deployment in &snapshot.deployments {
        let group = deployment.group.as_str();
        if let Some(most) = deployment.max_requests_per_minute()
            && !limits.contains_key(group)
        {
            let limit = Limit::requests(ScopeKey::of(Scope::Model, group), most);
            limits.entry(group.to_owned()).or_default().push(limit);
        }
    }
    limits
}

fn access_groups(snapshot: &Snapshot) -> HashMap<String, Vec<String>, RandomState> {
    let mut groups: HashMap<String, Vec<String>, RandomState> = HashMap::default();
    for deployment in &snapshot.deployments {
        let of_model = groups.entry(deployment.group.to_string()).or_default();
        for group in &deployment.info.access_groups {
            if !of_model.contains(group) {
                of_model.push(group.clone());
            }
        }
    }
    groups
}

fn credentials(snapshot: &Snapshot, master_key: Option<Secret>) -> Credentials {
    let general = &snapshot.general;
    let strict = general
        .litellm_key_header_name
        .as_ref()
        .map(|name| OnlyHeader { name: name.to_ascii_lowercase(), bearer_required: true });
    let lenient = general
        .authentication
        .api_key_header
        .as_ref()
        .map(|name| name.to_ascii_lowercase())
        .filter(|name| name != "authorization")
        .map(|name| OnlyHeader { name, bearer_required: false });
    Credentials { master_key, only_header: strict.or(lenient), addresses: general.allowed_ips.clone() }
}

impl Gate {
    /// A gate that serves `table`.
    pub fn new(table: Table, buckets: &[f64], services: Services) -> Self {
        let metrics = Arc::new(Metrics::new(buckets));
        let health = Health::new(&services, Arc::clone(&metrics));
        Self {
            settler: Arc::new(Settler::new(Arc::clone(&metrics), &services)),
            health: Arc::new(health),
            services,
            metrics,
            table: ArcSwap::from_pointee(table),
            sessions: Sessions::default(),
            copies: Copies::default(),
            ending: AtomicBool::new(false),
            turned_away: AtomicU64::new(0),
            seed: AtomicU64::new(0),
        }
    }

    /// Makes chance the same for every request from now on, for tests.
    pub fn fix_dice(&self, seed: u64) {
        self.seed.store(seed, Ordering::Relaxed);
    }

    /// Chance for one request.
    pub(crate) fn dice(&self) -> Seeded {
        match self.seed.load(Ordering::Relaxed) {
            0 => {}
            fixed => return Seeded::new(fixed),
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Seeded::new(now as u64)
    }
}

/// How `ssl_verify` maps to the client's setting.
pub fn verify(setting: Option<&SslVerify>) -> faregate_upstream::Verify {
    match setting {
        None | Some(SslVerify::On) => faregate_upstream::Verify::On,
        Some(SslVerify::Off) => faregate_upstream::Verify::Off,
        Some(SslVerify::Roots(path)) => faregate_upstream::Verify::Bundle(path.clone()),
    }
}
