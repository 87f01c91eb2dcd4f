//! The control plane: everything that is not a model call. Keys, teams, people, budgets, spend.
//!
//! One table, [`routes::all`], says for each route its method, path, who may call it, what it takes and what it
//! is for. The router, the gate before each handler, the validation of bodies and queries, the OpenAPI document
//! and the role test are all made from it.
//!
//! To add an endpoint: write the handler in the file of its area (`async fn name(call: Call) -> Outcome`), add
//! its line to that file's `ROUTES` with its fields, and name the file in [`routes::all`] if it is new. The
//! gate says which roles get in at all; what a handler narrows further (own team, own key) it asks of
//! [`access`]. Handlers that change something call [`Admin::changed`] (replicas) and [`Admin::audit`].

pub mod access;
mod access_group_budgets;
mod access_groups;
mod activity;
mod activity_lines;
mod addresses;
pub mod answers;
mod audit;
mod budgets;
mod cache_activity;
mod cache_settings;
mod callbacks;
mod columns;
mod credentials;
mod customers;
mod error;
mod estimate;
mod fields;
mod form;
mod health;
mod keys;
mod login;
mod model_hub;
mod model_metrics;
mod models;
mod notice;
mod openapi;
mod organizations;
mod own_account;
mod page;
mod pass_through;
mod passwords;
mod people;
mod price_list;
mod projects;
mod provider_budgets;
mod public;
pub mod roles;
pub mod routes;
mod routing;
mod search;
mod settings;
pub mod shape;
mod spend;
mod spend_reports;
mod sso;
pub mod stored;
mod tags;
mod teams;
mod tighten;
mod ui;
mod unified_groups;
mod users;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use faregate_config::Snapshot;
use faregate_state::clock::Clock;
use faregate_state::invalidate::{Invalidations, Subject};
use faregate_state::limits::{BudgetDuration, Schedule};
use faregate_store::{AuditLog, Record, Store, StoreError};
use faregate_terms::{Secret, UtcMillis};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use moka::sync::Cache;
use serde_json::Value;

pub use error::AdminError;
pub use faregate_integrations::web::Web;
pub use keys::policy::{KeyGeneration, KeyPolicy, PersonalKeys, TeamKeys};
pub use notice::Tell;
pub use openapi::{Other, document};
pub use page::reference;
pub use price_list::{PriceList, REREAD, Reread, scheduled};
use roles::{Caller, Gate};
use routes::{Answer, Call, Found, Router};

/// What handlers work with.
pub struct Admin {
    /// The database.
    pub store: Store,
    /// Tells replicas of changes.
    pub invalidations: Invalidations,
    /// The configuration that serves.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Prices.
    pub prices: Arc<PriceList>,
    /// The admin key of the start; `None` lets everybody in who reaches the address.
    pub master_key: Option<Secret>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    router: Router,
    apply: Option<Apply>,
    /// Routes that others serve.
    others: Vec<Other>,
    tell: Option<Tell>,
    web: Option<Web>,
    /// Has prices read again.
    reread: Option<Reread>,
    /// Wrong passwords of late, by name.
    wrong_passwords: Cache<String, u32>,
}

/// Puts what is stored into service and is done when it serves.
pub type Apply = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

impl Admin {
    /// A control plane over `store`.
    pub fn new(
        store: Store,
        invalidations: Invalidations,
        snapshot: Arc<ArcSwap<Snapshot>>,
        prices: Arc<PriceList>,
        master_key: Option<Secret>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let wrong_passwords =
            Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(300)).build();
        Self {
            store,
            invalidations,
            snapshot,
            prices,
            master_key,
            clock,
            router: Router::new(),
            apply: None,
            others: Vec::new(),
            tell: None,
            web: None,
            reread: None,
            wrong_passwords,
        }
    }

    /// The document describes these too.
    #[must_use]
    pub fn describing(mut self, others: Vec<Other>) -> Self {
        self.others = others;
        self
    }

    /// Routes that others serve.
    pub(crate) fn others(&self) -> &[Other] {
        &self.others
    }

    /// Stored models and settings are put into service by `apply`.
    #[must_use]
    pub fn applying(mut self, apply: Apply) -> Self {
        self.apply = Some(apply);
        self
    }

    /// Changes that somebody asked to hear of are handed to `tell`.
    #[must_use]
    pub fn telling(mut self, tell: Tell) -> Self {
        self.tell = Some(tell);
        self
    }

    /// Identity providers are asked through `web`.
    #[must_use]
    pub fn asking(mut self, web: Web) -> Self {
        self.web = Some(web);
        self
    }

    /// Prices are read again by `reread`.
    #[must_use]
    pub fn rereading(mut self, reread: Reread) -> Self {
        self.reread = Some(reread);
        self
    }

    /// Puts stored models and settings into service here; other replicas hear of them by [`Self::changed`].
    pub(crate) async fn apply(&self) {
        if let Some(apply) = &self.apply {
            apply().await;
        }
    }

    /// True if `path` is a route of the control plane, whatever the method.
    pub fn knows(&self, path: &str) -> bool {
        self.router.knows(path)
    }

    /// True if the control plane serves this method of this path.
    pub fn serves(&self, method: &Method, path: &str) -> bool {
        matches!(self.router.find(method, path), Found::Route(..))
    }

    /// True if a path is a route of the gateway's own, of either plane. Those whose patterns end in the middle of a
    /// part are not known here.
    pub(crate) fn has_route(&self, path: &str) -> bool {
        self.knows(path) || self.others.iter().any(|other| other.paths.contains(&path))
    }

    /// True if a call is for everybody, without a key.
    pub fn is_open(&self, method: &Method, path: &str) -> bool {
        matches!(self.router.find(method, path), Found::Route(route, _) if route.gate == Gate::Public)
    }

    /// Serves one request.
    pub async fn serve(
        self: &Arc<Self>,
        method: &Method,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Response<Bytes> {
        let outcome = self.answer(method, path, query, headers, body).await;
        let answer = outcome.unwrap_or_else(|error| {
            if error.status >= 500 {
                tracing::warn!(%method, path, error = %error.message, "a management call failed");
            }
            error.answer()
        });
        respond(answer)
    }

    async fn answer(
        self: &Arc<Self>,
        method: &Method,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Answer, AdminError> {
        let (route, parameters) = match self.router.find(method, path) {
            Found::Route(route, parameters) => (route, parameters),
            Found::WrongMethod(allowed) => return Err(AdminError::wrong_method(&allowed)),
            Found::Nothing => return Err(AdminError::unknown_path()),
        };
        let caller = roles::authenticate(self, route, headers).await?;
        let call = Call::read(self, route, caller, parameters, query, headers, &body)?;
        (route.handler)(call).await
    }

    /// The time on the wall.
    pub fn now(&self) -> UtcMillis {
        UtcMillis::from_millis(self.clock.wall_ms())
    }

    /// Tells every replica that something is not what it was.
    pub fn changed(&self, subject: Subject, id: &str) {
        self.invalidations.publish(subject, id);
    }

    /// The end of the budget period that begins now.
    ///
    /// # Errors
    /// 400 naming `field`, if the text is no duration.
    pub fn period_end(&self, field: &str, duration: &str) -> Result<UtcMillis, AdminError> {
        let parsed: BudgetDuration =
            duration.parse().map_err(|error| AdminError::invalid(field, format!("{field}: {error}")))?;
        let spend = self.snapshot.load();
        let spend = &spend.litellm.spend;
        let zone = spend.timezone.as_deref().and_then(|name| TimeZone::get(name).ok());
        let at = spend.reset_time.as_deref().and_then(|text| text.parse().ok());
        let mut schedule = Schedule::utc(parsed);
        schedule.zone = zone.unwrap_or(TimeZone::UTC);
        schedule.at = at.unwrap_or(schedule.at);
        let now = Timestamp::from_millisecond(self.now().millis()).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(UtcMillis::from_millis(schedule.next(now).as_millisecond()))
    }

    /// Writes down a change, if `store_audit_logs` is on, and tells whoever asked to hear of it. Secrets are masked.
    pub async fn audit(&self, call: &Call, action: &str, table: &str, id: &str, before: Value, after: Value) {
        notice::of_change(call, action, table, if after.is_null() { &before } else { &after });
        let snapshot = self.snapshot.load();
        if !snapshot.litellm.spend.audit && !snapshot.general.database.audit {
            return;
        }
        let entry = AuditLog {
            id: uuid::Uuid::now_v7().to_string(),
            updated_at: Some(self.now()),
            changed_by: call.changed_by(),
            changed_by_api_key: call.caller.key_hash().to_owned(),
            action: action.to_owned(),
            table_name: table.to_owned(),
            object_id: id.to_owned(),
            before_value: columns::masked(before),
            updated_values: columns::masked(after),
        };
        if let Err(error) = self.store.insert(&entry, self.now()).await {
            tracing::error!(%error, table, id, "a change could not be written to the audit log");
        }
    }

    /// The row with this key.
    ///
    /// # Errors
    /// 404 in these words, if there is none.
    pub(crate) async fn row<T: Record>(
        &self,
        key: &[&str],
        missing: impl FnOnce() -> String,
    ) -> Result<T, AdminError> {
        self.store.get::<T>(key).await?.ok_or_else(|| AdminError::not_found(missing()))
    }
}

fn respond(answer: Answer) -> Response<Bytes> {
    let mut response = Response::new(answer.body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = HeaderValue::from_static(answer.kind);
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response.headers_mut().extend(answer.headers);
    response
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        match &error {
            // What the database says of its keys is for the log.
            StoreError::Exists { table, .. } => {
                tracing::debug!(%error, "a row exists already");
                Self::invalid("", format!("{table}: an entry with this id or name exists already"))
            }
            StoreError::Reference { table, .. } => {
                tracing::debug!(%error, "a row refers to nothing, or is referred to");
                Self::invalid("", format!("{table}: refers to what does not exist, or is still referred to"))
            }
            StoreError::BadValue { column, .. } | StoreError::NoColumn { column, .. } => {
                Self::invalid(column, error.to_string())
            }
            _ if error.is_unavailable() => {
                tracing::warn!(%error, "the database cannot be asked");
                Self::new(503, "no_db_connection", "The database cannot be reached; try again later")
            }
            _ => {
                tracing::error!(%error, "the database refused a statement");
                Self::new(500, "internal_server_error", "Internal server error; the log says more")
            }
        }
    }
}

/// What a handler gives.
pub type Outcome = Result<Answer, AdminError>;

/// Who asks, for handlers.
pub type Who = Caller;
