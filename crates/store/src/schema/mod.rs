//! The tables, as data: one description serves migration, typed rows, backup and doctor.
//!
//! Names, types and defaults are LiteLLM's (schema of release 1.106.2), so that a database made by it is
//! adopted in place and one made here looks the same to SQL that people already run. Tables of our own
//! start with `faregate_`.

pub mod access;
pub mod daily;
pub mod identity;
pub mod ledger;
pub mod own;
pub mod settings;

/// One table.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// As in the database; always quoted.
    pub name: &'static str,
    /// In the order of creation.
    pub columns: &'static [Column],
    /// The primary key.
    pub primary: &'static [&'static str],
    /// Further unique keys.
    pub unique: &'static [&'static [&'static str]],
    /// Plain indexes.
    pub indexes: &'static [&'static [&'static str]],
    /// Column, the table and column it points to, and what happens when that row goes.
    pub foreign: &'static [(&'static str, &'static str, &'static str, OnDelete)],
}

/// What a foreign key does when its row goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDelete {
    /// Prisma's rule: refuse if the column is required, else set it to null.
    Default,
    /// The row goes too.
    Cascade,
}

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// As in the database; always quoted.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be null.
    pub null: bool,
    /// What the database fills in.
    pub default: Fill,
}

/// What a column holds. In PostgreSQL / in SQLite:
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `text`.
    Text,
    /// `double precision`.
    Float,
    /// `integer`, 32 bits.
    Int,
    /// `bigint`.
    Big,
    /// `boolean`; 0 or 1 in SQLite.
    Flag,
    /// `timestamp(3)` in UTC; text in the same form in SQLite.
    Time,
    /// `jsonb`; text in SQLite.
    Json,
    /// `text[]`; the text of a JSON array in SQLite.
    List,
    /// An integer the database counts up.
    Serial,
}

/// A column's default in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// None.
    Nothing,
    /// The time of the insert.
    Now,
    /// A literal; quoted as the kind asks.
    Literal(&'static str),
    /// The empty list.
    EmptyList,
}

impl Column {
    const fn of(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, null: false, default: Fill::Nothing }
    }

    const fn null(mut self) -> Self {
        self.null = true;
        self
    }

    const fn now(mut self) -> Self {
        self.default = Fill::Now;
        self
    }

    const fn or(mut self, literal: &'static str) -> Self {
        self.default = Fill::Literal(literal);
        self
    }

    const fn empty(mut self) -> Self {
        self.default = Fill::EmptyList;
        self
    }
}

macro_rules! kinds {
    ($($name:ident $kind:ident),*) => {$(
        const fn $name(name: &'static str) -> Column {
            Column::of(name, Kind::$kind)
        }
    )*};
}

kinds!(text Text, float Float, int Int, big Big, flag Flag, time Time, json Json, list List, serial Serial);

impl Table {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// True for LiteLLM's tables, false for our own.
    pub fn is_litellm(&self) -> bool {
        self.name.starts_with("LiteLLM_")
    }
}

/// Every table, in an order that satisfies foreign keys.
pub const TABLES: &[&Table] = &[
    &access::BUDGET,
    &access::OBJECT_PERMISSION,
    &identity::MODEL_ALIASES,
    &identity::ORGANIZATION,
    &identity::USER,
    &identity::TEAM,
    &identity::PROJECT,
    &identity::VERIFICATION_TOKEN,
    &identity::DELETED_VERIFICATION_TOKEN,
    &identity::DEPRECATED_VERIFICATION_TOKEN,
    &identity::DELETED_TEAM,
    &identity::TEAM_MEMBERSHIP,
    &identity::ORGANIZATION_MEMBERSHIP,
    &identity::END_USER,
    &access::TAG,
    &access::MODEL_ACCESS_GROUP_BUDGET,
    &access::BUDGET_WINDOW_SPEND,
    &access::ACCESS_GROUP,
    &access::INVITATION_LINK,
    &access::JWT_KEY_MAPPING,
    &access::USER_NOTIFICATIONS,
    &settings::PROXY_MODEL,
    &settings::CREDENTIALS,
    &settings::CONFIG,
    &settings::SSO_CONFIG,
    &settings::CACHE_CONFIG,
    &settings::UI_SETTINGS,
    &settings::CONFIG_OVERRIDES,
    &settings::GUARDRAILS,
    &settings::MANAGED_VECTOR_STORES,
    &settings::MCP_SERVER,
    &settings::HEALTH_CHECK,
    &ledger::SPEND_LOGS,
    &ledger::ERROR_LOGS,
    &ledger::AUDIT_LOG,
    &daily::USER,
    &daily::TEAM,
    &daily::TAG,
    &daily::ORGANIZATION,
    &daily::END_USER,
    &daily::AGENT,
    &daily::GLOBAL,
    &own::MIGRATIONS,
    &own::SPEND_TOTALS,
    &own::SETTLED,
    &own::LEASES,
    &own::SHARED_COUNTERS,
    &own::SHARED_REPLICAS,
    &own::SHARED_LOG,
];

/// The table of this name.
pub fn find(name: &str) -> Option<&'static Table> {
    TABLES.iter().copied().find(|table| table.name == name)
}
