//! AWS: Signature Version 4, with credentials from wherever AWS's own tools find them.
//!
//! The chain is written here, since the SDK's own (`aws-config`) reads the process environment itself, brings
//! a second HTTP stack and a hundred crates. Sources: AWS SDKs and Tools Reference Guide, "Standardized
//! credential providers"; LiteLLM's `aws_*` parameters.

mod chain;
mod machine;
mod profile;
mod sign;
mod sts;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use faregate_terms::Secret;
use http::request;
use jiff::Timestamp;
use serde::Deserialize;

use super::AuthError;
use super::token::{Lease, TokenCache};
use crate::client::Transport;
use crate::env::EnvView;

/// LiteLLM's, for a deployment that names no region anywhere.
const DEFAULT_REGION: &str = "us-west-2";

/// Which AWS identity signs, for which service.
///
/// A spec that names no credential of its own (keys, profile, role or web identity) takes LiteLLM's upper-case
/// variables (`AWS_PROFILE_NAME`, `AWS_ROLE_NAME`, `AWS_SESSION_NAME`, `AWS_WEB_IDENTITY_TOKEN`), then AWS's
/// own chain: environment keys, web identity file, profile, container, instance.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AwsSpec {
    /// The signing name: `bedrock`, `sagemaker`, …
    pub service: String,
    /// Where; see [`aws_region`] for what is used when it is absent.
    pub region: Option<String>,
    /// Long-lived or temporary key.
    pub access_key_id: Option<String>,
    /// Belongs to `access_key_id`.
    pub secret_access_key: Option<Secret>,
    /// Belongs to `access_key_id` when that is temporary.
    pub session_token: Option<Secret>,
    /// A profile of `~/.aws/config` or `~/.aws/credentials`.
    pub profile: Option<String>,
    /// The ARN of a role to assume, in this account or another.
    pub role_name: Option<String>,
    /// How the session shows up in the role's audit trail.
    pub session_name: Option<String>,
    /// Agreed with the owner of a role in another account.
    pub external_id: Option<String>,
    /// Tags of the assumed session.
    pub session_tags: Vec<(String, String)>,
    /// A token to assume `role_name` with: `oidc/…`, an absolute path, or the token itself.
    pub web_identity_token: Option<Secret>,
    /// The base URL of the security token service, for private endpoints.
    pub sts_endpoint: Option<String>,
}

impl AwsSpec {
    /// Bedrock's API key, for a spec without a credential of its own.
    pub(super) fn bearer_key(&self, env: &EnvView) -> Option<Secret> {
        let for_bedrock = self.service.starts_with("bedrock");
        if for_bedrock && !self.names_a_credential() {
            env.get("AWS_BEARER_TOKEN_BEDROCK").map(Secret::from)
        } else {
            None
        }
    }

    fn names_a_credential(&self) -> bool {
        self.access_key_id.is_some()
            || self.profile.is_some()
            || self.role_name.is_some()
            || self.web_identity_token.is_some()
    }

    /// With LiteLLM's variables in place of what is absent.
    fn filled(mut self, env: &EnvView) -> Self {
        if !self.names_a_credential() {
            self.profile = env.get("AWS_PROFILE_NAME");
            self.role_name = env.get("AWS_ROLE_NAME");
            self.web_identity_token = env.get("AWS_WEB_IDENTITY_TOKEN").map(Secret::from);
        }
        self.session_name =
            self.session_name.or_else(|| env.first(&["AWS_SESSION_NAME", "AWS_ROLE_SESSION_NAME"]));
        self.external_id = self.external_id.or_else(|| env.get("AWS_EXTERNAL_ID"));
        self.sts_endpoint =
            self.sts_endpoint.or_else(|| env.first(&["AWS_STS_ENDPOINT", "AWS_ENDPOINT_URL_STS"]));
        self
    }
}

/// The region of a deployment: its own, else `AWS_REGION_NAME`, `AWS_REGION`, `AWS_DEFAULT_REGION`, else
/// `us-west-2`, as LiteLLM does. Callers look into the model id before they ask.
pub fn aws_region(explicit: Option<&str>, env: &EnvView) -> String {
    explicit
        .filter(|region| !region.is_empty())
        .map(str::to_owned)
        .or_else(|| env.first(&["AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"]))
        .unwrap_or_else(|| DEFAULT_REGION.to_owned())
}

/// What signs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Keys {
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Option<Secret>,
}

impl Keys {
    /// For as long as nobody says otherwise.
    fn lasting(self) -> Lease<Self> {
        Lease { value: self, lifetime: None }
    }
}

/// Keys as the metadata services and `credential_process` write them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IssuedKeys {
    access_key_id: String,
    secret_access_key: Secret,
    #[serde(alias = "SessionToken")]
    token: Option<Secret>,
    expiration: Option<Timestamp>,
}

impl IssuedKeys {
    /// `service` is who issued them.
    fn parse(json: &[u8], service: &str) -> Result<Lease<Keys>, AuthError> {
        let issued: Self = serde_json::from_slice(json).map_err(|_| AuthError::nonsense(service))?;
        let lifetime = issued.expiration.map(remaining);
        let keys = Keys {
            access_key_id: issued.access_key_id,
            secret_access_key: issued.secret_access_key,
            session_token: issued.token,
        };
        Ok(Lease { value: keys, lifetime })
    }
}

/// From now; zero when it is over.
fn remaining(until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default()
}

/// The scheme: fetches and keeps the keys, signs each request.
#[derive(Debug)]
pub(super) struct Aws {
    spec: AwsSpec,
    region: String,
    env: EnvView,
    transport: Transport,
    cache: TokenCache<Keys>,
}

impl Aws {
    pub(super) fn new(spec: AwsSpec, env: &EnvView, transport: &Transport) -> Self {
        Self {
            region: aws_region(spec.region.as_deref(), env),
            spec: spec.filled(env),
            env: env.clone(),
            transport: transport.clone(),
            cache: TokenCache::default(),
        }
    }

    pub(super) async fn apply(&self, parts: &mut request::Parts, body: &Bytes) -> Result<(), AuthError> {
        let keys = self.cache.get(|| self.fetch()).await?;
        let signer = sign::Signer { keys: &keys, region: &self.region, service: &self.spec.service };
        signer.sign(parts, body, SystemTime::now())
    }
}
