//! LiteLLM's `config.yaml` and environment, as a typed snapshot with source positions.
//!
//! [`load`] reads a file and everything it includes into an immutable [`Snapshot`], or refuses it with all
//! findings at once. Nothing here connects, serves or decides; the environment comes in as an [`Env`], and
//! [`Env::process`] is the only place in the project that reads the real one. What every key means and
//! whether it is honoured stands in `data/keys.txt`. Start reading at `snapshot.rs`.

mod deployment_id;
mod diagnostic;
mod dotenv;
mod env;
mod fields;
mod fingerprints;
mod node;
mod open_map;
mod position;
mod reference;
mod registry;
mod report;
mod scalar;
mod schema;
mod serve_env;
mod snapshot;
mod sources;
mod stored;
mod substitute;
mod yaml;

pub use diagnostic::{Diagnostic, Severity};
pub use env::Env;
pub use fingerprints::Fingerprints;
pub use open_map::{Headers, OpenMap};
pub use position::Position;
pub use reference::reference_markdown;
pub use registry::{Key, KeyStatus, known_keys};
pub use report::{KeyReport, Strictness, render};
pub use schema::{
    AlertDestination, AlertSettings, Authentication, AwsParams, AzureParams, AzureSettings, BudgetSettings,
    CHANGE_ALERTS, CacheKind, CacheSettings, CheckSettings, CleanupSettings, Credential, DatabaseSettings,
    DeploymentConfig, FallbackTarget, Fallbacks, GcsSettings, GeneralLimits, GeneralSettings, GroupAlias,
    HedgeAfter, HedgeSettings, IndexKind, Isolation, LitellmParams, LitellmSettings, ModelInfo, OwnCheck,
    PassThroughEndpoint, PassThroughMethod, PassThroughSettings, PeopleDefaults, PeopleRules, QdrantSettings,
    Quantization, RedisConfig, RetryBudgetSettings, RouterLimits, RouterSettings, RoutingGroup, S3Settings,
    SelfServe, SemanticScope, SemanticSettings, SpendSettings, SslVerify, Strategy, StreamGuardSettings,
    TokenRate, UiAccess, VertexParams,
};
pub use serve_env::{LogLevel, ServeEnv};
pub use snapshot::{Loaded, Reading, Refused, Snapshot, load, read, read_over, read_text, report};
pub use stored::{STORED_SECTIONS, Stored, deployment_of};
