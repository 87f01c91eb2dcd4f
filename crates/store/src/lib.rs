//! What outlives the process: keys, teams, budgets, settings, and a ledger that is never wrong.
//!
//! Tables and columns are LiteLLM's, on PostgreSQL or a SQLite file, so that an existing database is adopted
//! in place and the SQL people run keeps working; what is ours alone sits in tables of our own. Nothing here
//! knows HTTP, configuration or a clock: ids and times come from the caller.
//!
//! Start with [`Store::connect`] and [`Store::migrate`]; rows are read and written through [`Record`]s,
//! requests are booked by [`Store::settle`].

pub mod access;
pub mod audit;
mod backup;
pub mod budgets;
mod db;
mod doctor;
pub mod end_users;
mod error;
mod key_record;
pub mod keys;
mod leases;
pub mod ledger;
mod migrate;
pub mod models;
mod near;
pub mod organizations;
mod query;
mod record;
pub mod registry;
pub mod report;
pub mod schema;
pub mod seal;
mod settings;
mod shared;
pub mod stored_settings;
pub mod tags;
pub mod teams;
mod usd;
pub mod users;

pub use access::{AccessGroup, ObjectPermission};
pub use audit::AuditLog;
pub use budgets::{AccessGroupBudget, Budget, BudgetWindowSpend};
pub use db::Engine;
pub use doctor::{Diagnosis, Finding};
pub use end_users::EndUser;
pub use error::StoreError;
pub use key_record::{EndUserRecord, KeyRecord, SpentBy};
pub use keys::{DeletedKey, Deleter, DeprecatedKey, JwtKeyMapping, Rotation, VirtualKey};
pub use ledger::{SettleOptions, Settlement, SpendLog, Subject, SubjectKind};
pub use migrate::MigrationReport;
pub use models::{Credential, HealthCheck, ProxyModel};
pub use near::NearEntry;
pub use organizations::{Organization, OrganizationMembership, Project};
pub use query::{Filter, ListQuery, Order, Page};
pub use record::{Patch, Record};
pub use registry::{Guardrail, McpServer, VectorStore};
pub use settings::{PoolSettings, Settings};
pub use shared::{Exchanged, LogTail, SharedNotes, SharedState};
pub use stored_settings::{CacheConfig, ConfigOverride, ConfigRow, SsoConfig, UiSettings};
pub use tags::Tag;
pub use teams::{DeletedTeam, ModelAliases, Team, TeamMember, TeamMembership};
pub use usd::Usd;
pub use users::{Invitation, User, UserNotification};

/// A database. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) db: db::Db,
}

impl Store {
    /// Connects, and fails when the database cannot be reached. Call [`Store::migrate`] next.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when there is no answer.
    pub async fn connect(settings: &Settings) -> Result<Self, StoreError> {
        Ok(Self { db: db::Db::open(settings).await? })
    }

    /// The same for a database that may be away: the first question connects.
    ///
    /// # Errors
    /// If a database file cannot be opened.
    pub async fn connect_later(settings: &Settings) -> Result<Self, StoreError> {
        Ok(Self { db: db::Db::open_later(settings).await? })
    }

    /// Which engine answers.
    pub fn engine(&self) -> Engine {
        self.db.engine()
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// When it gives none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.db.fetch(self.db.sql("SELECT 1"), &[]).await.map(drop)
    }

    /// Closes every connection, after what runs on them has ended.
    pub async fn close(&self) {
        self.db.close().await;
    }
}
