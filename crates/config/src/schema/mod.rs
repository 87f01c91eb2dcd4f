//! The typed shape of a configuration, one file per section.

mod alerting;
mod buckets;
mod cache;
pub(crate) mod credential;
mod database;
mod deployment;
pub(crate) mod fallback;
mod general;
mod health;
mod limits;
mod litellm;
mod model_info;
mod params;
pub(crate) mod pass_through;
mod people;
mod redis;
mod router;
mod routing_groups;
mod semantic;
mod thrift;

pub use alerting::{AlertDestination, AlertSettings, CHANGE_ALERTS};
pub use buckets::{AzureSettings, GcsSettings, S3Settings};
pub use cache::{CacheKind, CacheSettings, Isolation};
pub use credential::Credential;
pub use database::{CleanupSettings, DatabaseSettings};
pub use deployment::DeploymentConfig;
pub use fallback::{FallbackTarget, Fallbacks, GroupAlias};
pub use general::{Authentication, GeneralSettings};
pub use health::{CheckSettings, OwnCheck};
pub use limits::{BudgetSettings, GeneralLimits, RouterLimits, SpendSettings, TokenRate};
pub use litellm::{LitellmSettings, SslVerify};
pub use model_info::ModelInfo;
pub use params::{AwsParams, AzureParams, LitellmParams, VertexParams};
pub use pass_through::{PassThroughEndpoint, PassThroughMethod, PassThroughSettings};
pub(crate) use people::sso_variables;
pub use people::{PeopleDefaults, PeopleRules, SelfServe, UiAccess};
pub use redis::RedisConfig;
pub use router::{RouterSettings, Strategy};
pub use routing_groups::RoutingGroup;
pub use semantic::{IndexKind, QdrantSettings, Quantization, SemanticScope, SemanticSettings};
pub use thrift::{HedgeAfter, HedgeSettings, RetryBudgetSettings, StreamGuardSettings};

pub(crate) use deployment::read_model_list;
