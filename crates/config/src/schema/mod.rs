//! The typed shape of a configuration, one file per section.

pub(crate) mod cache;
pub(crate) mod credential;
mod database;
mod deployment;
pub(crate) mod fallback;
mod general;
mod limits;
mod litellm;
mod model_info;
mod params;
mod redis;
mod router;

pub use cache::{CacheKind, CacheSettings, Isolation};
pub use credential::Credential;
pub use database::DatabaseSettings;
pub use deployment::DeploymentConfig;
pub use fallback::{FallbackTarget, Fallbacks, GroupAlias};
pub use general::{Authentication, GeneralSettings};
pub use limits::{BudgetSettings, GeneralLimits, RouterLimits, SpendSettings, TokenRate};
pub use litellm::{LitellmSettings, SslVerify};
pub use model_info::ModelInfo;
pub use params::{AwsParams, AzureParams, LitellmParams, VertexParams};
pub use redis::RedisConfig;
pub use router::{RouterSettings, Strategy};

pub(crate) use deployment::read_model_list;
