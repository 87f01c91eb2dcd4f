//! Settings stored in the database.

use faregate_terms::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Record;
use crate::schema::{Table, settings};

/// One section of settings that overrides the config file. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigRow {
    pub param_name: String,
    pub param_value: Value,
    pub last_run_at: Option<UtcMillis>,
    pub reload_revision: i64,
}

impl Record for ConfigRow {
    const TABLE: &'static Table = &settings::CONFIG;
}

/// Single sign-on settings, one row `sso_config`. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SsoConfig {
    pub id: Option<String>,
    pub sso_settings: Value,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
}

impl Record for SsoConfig {
    const TABLE: &'static Table = &settings::SSO_CONFIG;
}

/// Cache settings, one row `cache_config`. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheConfig {
    pub id: Option<String>,
    pub cache_settings: Value,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
}

impl Record for CacheConfig {
    const TABLE: &'static Table = &settings::CACHE_CONFIG;
}

/// Flags of the UI, one row `ui_settings`. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UiSettings {
    pub id: Option<String>,
    pub ui_settings: Value,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
}

impl Record for UiSettings {
    const TABLE: &'static Table = &settings::UI_SETTINGS;
}

/// Other stored settings, by kind. Members are the columns of its table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigOverride {
    pub config_type: String,
    pub config_value: Value,
    /// When it was made; filled in on insert.
    pub created_at: Option<UtcMillis>,
    /// When it last changed; kept by the store.
    pub updated_at: Option<UtcMillis>,
}

impl Record for ConfigOverride {
    const TABLE: &'static Table = &settings::CONFIG_OVERRIDES;
}
