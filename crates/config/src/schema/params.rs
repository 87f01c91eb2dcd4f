//! `litellm_params`: how to reach one deployment, and what to send it.

use std::time::Duration;

use faregate_terms::Secret;
use serde_json::Value as Json;

use super::limits::{BudgetSettings, budget};
use crate::fields::{Fields, flag_of};
use crate::node::Value;
use crate::open_map::{Headers, OpenMap};
use crate::registry::{self, KeyStatus, Section};

/// `model_list[].litellm_params`. Absent keys are `None` or empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LitellmParams {
    /// `provider/model` as written; may hold one `*` for wildcard groups.
    pub model: String,
    /// `custom_llm_provider`: forces the provider, whatever `model` begins with.
    pub provider: Option<String>,
    /// Key for the provider; its own environment variable counts when absent.
    pub api_key: Option<Secret>,
    /// Further keys for the provider, tried in turns; with `api_key` in front.
    pub api_keys: Vec<Secret>,
    /// `api_base`, else `base_url`.
    pub api_base: Option<String>,
    /// Azure's API version.
    pub api_version: Option<String>,
    /// OpenAI organization. A list in the file becomes one deployment each.
    pub organization: Option<String>,
    /// Limit of a whole call that does not stream.
    pub timeout: Option<Duration>,
    /// Limit of a call that streams.
    pub stream_timeout: Option<Duration>,
    /// Share of the group's traffic under `simple-shuffle`; wins over `rpm`, which wins over `tpm`.
    pub weight: Option<f64>,
    /// Requests per minute the deployment may take.
    pub rpm: Option<u64>,
    /// Tokens per minute the deployment may take.
    pub tpm: Option<u64>,
    /// Lower values are tried first.
    pub order: Option<i64>,
    /// Groups that get a copy of each request which this deployment is to serve.
    pub silent_models: Vec<String>,
    /// Calls in flight the deployment may have.
    pub max_parallel_requests: Option<u64>,
    /// Retries of this deployment's calls, instead of the router's number.
    pub num_retries: Option<u64>,
    /// Retries inside one attempt.
    pub max_retries: Option<u64>,
    /// Pause after a failure, instead of the router's.
    pub cooldown_time: Option<Duration>,
    /// Tags for tag routing.
    pub tags: Vec<String>,
    /// What may be spent at this deployment.
    pub budget: BudgetSettings,
    /// Drop parameters the provider does not take; the module-wide setting when absent.
    pub drop_params: Option<bool>,
    /// Parameters to drop in any case; paths such as `tools[*].function.strict` reach inside.
    pub additional_drop_params: Vec<String>,
    /// Parameters to pass although they are marked as not taken.
    pub allowed_openai_params: Vec<String>,
    /// Headers added to the provider request (`extra_headers`, else `headers`).
    pub extra_headers: Headers,
    /// Members merged into the provider request's body.
    pub extra_body: OpenMap,
    /// OpenAI request parameters used when the client leaves them out.
    pub defaults: OpenMap,
    /// Name of the `credential_list` entry whose values fill what is missing here.
    pub credential: Option<String>,
    /// May be used by provider pass-through routes.
    pub use_in_pass_through: bool,
    /// Region for providers that have no region setting of their own.
    pub region_name: Option<String>,
    /// Entra ID credentials.
    pub azure: AzureParams,
    /// AWS credentials and Bedrock settings.
    pub aws: AwsParams,
    /// Google Cloud credentials.
    pub vertex: VertexParams,
    /// Custom prices; every number is a JSON string with its exact decimal text.
    pub prices: OpenMap,
    /// Known keys that steer the gateway and have no field here; never sent to the provider.
    pub settings: OpenMap,
    /// Keys of single providers and unknown keys; sent to the provider as request members.
    pub extra: OpenMap,
}

/// Entra ID (Azure AD) credentials of a deployment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AzureParams {
    /// A ready access token; may be an `oidc/...` reference.
    pub ad_token: Option<Secret>,
    /// Directory of the service principal.
    pub tenant_id: Option<String>,
    /// Service principal.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<Secret>,
    /// OAuth scope asked for; the cognitive services scope when absent.
    pub scope: Option<String>,
    /// For the username and password flow.
    pub username: Option<String>,
    /// For the username and password flow.
    pub password: Option<Secret>,
}

/// AWS credentials and Bedrock settings of a deployment; the keys of the same names with `aws_` in front.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AwsParams {
    /// Static access key.
    pub access_key_id: Option<Secret>,
    /// Its secret.
    pub secret_access_key: Option<Secret>,
    /// Token that goes with temporary keys.
    pub session_token: Option<Secret>,
    /// Region to call and to sign for.
    pub region_name: Option<String>,
    /// Session name for the assumed role.
    pub session_name: Option<String>,
    /// Profile of the shared configuration files.
    pub profile_name: Option<String>,
    /// Role to assume, possibly of another account.
    pub role_name: Option<String>,
    /// Web identity token: the token, a file path or an `oidc/...` reference.
    pub web_identity_token: Option<Secret>,
    /// STS endpoint to use for assuming roles.
    pub sts_endpoint: Option<String>,
    /// External id for the assumed role.
    pub external_id: Option<String>,
    /// Session tags for the assumed role, as (key, value).
    pub session_tags: Vec<(String, String)>,
    /// Bedrock runtime endpoint, instead of the region's.
    pub bedrock_runtime_endpoint: Option<String>,
    /// Bedrock project.
    pub bedrock_project_id: Option<String>,
    /// `model_id`: ARN of an inference profile or provisioned model to call instead of the model's name.
    pub model_id: Option<String>,
    /// `guardrailConfig` sent with Converse calls.
    pub guardrail_config: Option<Json>,
}

/// Google Cloud settings of a deployment; the keys of the same names with `vertex_` in front.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VertexParams {
    /// Project that is billed.
    pub project: Option<String>,
    /// Location such as `us-central1` or `global`.
    pub location: Option<String>,
    /// Path of a credentials file, or the JSON text itself (a mapping in the file becomes JSON text).
    pub credentials: Option<Secret>,
}

impl LitellmParams {
    /// Reads the section. `model` may be empty; the caller says so.
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let mut params = Self {
            model: fields.text("model").unwrap_or_default(),
            provider: fields.filled("custom_llm_provider"),
            api_key: fields.secret("api_key"),
            api_keys: fields.secrets("api_keys"),
            api_base: fields.filled("api_base").or_else(|| fields.filled("base_url")),
            api_version: fields.filled("api_version"),
            organization: fields.get("organization").and_then(crate::node::Node::scalar_text),
            timeout: fields.seconds("timeout"),
            stream_timeout: fields.seconds("stream_timeout"),
            weight: fields.amount("weight"),
            rpm: fields.count("rpm"),
            tpm: fields.count("tpm"),
            order: fields.number("order").map(|order| order as i64),
            silent_models: fields.texts("silent_model").unwrap_or_default(),
            max_parallel_requests: fields.count("max_parallel_requests"),
            num_retries: fields.count("num_retries"),
            max_retries: fields.count("max_retries"),
            cooldown_time: fields.seconds("cooldown_time"),
            tags: fields.texts("tags").unwrap_or_default(),
            budget: budget(fields),
            drop_params: fields.flag("drop_params"),
            additional_drop_params: fields.texts("additional_drop_params").unwrap_or_default(),
            allowed_openai_params: fields.texts("allowed_openai_params").unwrap_or_default(),
            extra_headers: fields
                .headers("extra_headers")
                .or_else(|| fields.headers("headers"))
                .unwrap_or_default(),
            extra_body: fields.open("extra_body").unwrap_or_default(),
            credential: fields.filled("litellm_credential_name"),
            use_in_pass_through: fields.flag("use_in_pass_through").unwrap_or_default(),
            region_name: fields.filled("region_name"),
            azure: AzureParams::read(fields),
            aws: AwsParams::read(fields),
            vertex: VertexParams::read(fields),
            ..Self::default()
        };
        params.sort_the_rest(fields);
        params
    }

    /// Puts every key without a field of its own where it belongs.
    fn sort_the_rest(&mut self, fields: &Fields<'_>) {
        for entry in fields.entries().iter().filter(|entry| !entry.node.is_null()) {
            let value = || entry.node.to_json();
            let name = entry.key.clone();
            if registry::is_price(&name) {
                self.prices.insert(name, entry.node.to_exact_json());
            } else if registry::is_request_parameter(&name) {
                self.defaults.insert(name, value());
            } else if TYPED.contains(&name.as_str()) {
                continue;
            } else {
                match registry::find(Section::LitellmParams, &name).map(|key| key.status) {
                    None | Some(KeyStatus::Forwarded) => self.extra.insert(name, value()),
                    Some(_) => self.settings.insert(name, value()),
                };
            }
        }
    }
}

/// Keys that have a field of their own in [`LitellmParams`].
const TYPED: &[&str] = &[
    "model",
    "custom_llm_provider",
    "api_key",
    "api_keys",
    "api_base",
    "base_url",
    "api_version",
    "organization",
    "timeout",
    "stream_timeout",
    "weight",
    "rpm",
    "tpm",
    "order",
    "silent_model",
    "max_parallel_requests",
    "num_retries",
    "max_retries",
    "cooldown_time",
    "tags",
    "max_budget",
    "budget_duration",
    "drop_params",
    "additional_drop_params",
    "allowed_openai_params",
    "extra_headers",
    "headers",
    "extra_body",
    "litellm_credential_name",
    "use_in_pass_through",
    "region_name",
    "azure_ad_token",
    "tenant_id",
    "client_id",
    "client_secret",
    "azure_scope",
    "azure_username",
    "azure_password",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_region_name",
    "aws_session_name",
    "aws_profile_name",
    "aws_role_name",
    "aws_web_identity_token",
    "aws_sts_endpoint",
    "aws_external_id",
    "aws_session_tags",
    "aws_bedrock_runtime_endpoint",
    "aws_bedrock_project_id",
    "model_id",
    "guardrailConfig",
    "vertex_project",
    "vertex_location",
    "vertex_credentials",
];

impl AzureParams {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            ad_token: fields.secret("azure_ad_token"),
            tenant_id: fields.filled("tenant_id"),
            client_id: fields.filled("client_id"),
            client_secret: fields.secret("client_secret"),
            scope: fields.filled("azure_scope"),
            username: fields.filled("azure_username"),
            password: fields.secret("azure_password"),
        }
    }
}

impl AwsParams {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            access_key_id: fields.secret("aws_access_key_id"),
            secret_access_key: fields.secret("aws_secret_access_key"),
            session_token: fields.secret("aws_session_token"),
            region_name: fields.filled("aws_region_name"),
            session_name: fields.filled("aws_session_name"),
            profile_name: fields.filled("aws_profile_name"),
            role_name: fields.filled("aws_role_name"),
            web_identity_token: fields.secret("aws_web_identity_token"),
            sts_endpoint: fields.filled("aws_sts_endpoint"),
            external_id: fields.filled("aws_external_id"),
            session_tags: session_tags(fields),
            bedrock_runtime_endpoint: fields.filled("aws_bedrock_runtime_endpoint"),
            bedrock_project_id: fields.filled("aws_bedrock_project_id"),
            model_id: fields.filled("model_id"),
            guardrail_config: fields.get("guardrailConfig").map(crate::node::Node::to_json),
        }
    }
}

/// A list of `{Key, Value}` as in the STS API.
fn session_tags(fields: &mut Fields<'_>) -> Vec<(String, String)> {
    let key = "aws_session_tags";
    let Some(node) = fields.get(key) else { return Vec::new() };
    let text = |tag: &crate::node::Node, name: &str| tag.get(name).and_then(crate::node::Node::scalar_text);
    let tags: Option<Vec<_>> = node
        .items()
        .and_then(|items| items.iter().map(|tag| Some((text(tag, "Key")?, text(tag, "Value")?))).collect());
    if tags.is_none() {
        fields.error(key, node, "expected a list of mappings with `Key` and `Value`");
    }
    tags.unwrap_or_default()
}

impl VertexParams {
    fn read(fields: &mut Fields<'_>) -> Self {
        let credentials = match fields.get("vertex_credentials") {
            Some(node) if matches!(node.value, Value::Map(_)) => {
                Some(Secret::new(node.to_json().to_string()))
            }
            // `false` is how some files say "no credentials".
            Some(node) if flag_of(node) == Some(false) => None,
            Some(_) => fields.secret("vertex_credentials"),
            None => None,
        };
        Self {
            project: fields.filled("vertex_project"),
            location: fields.filled("vertex_location"),
            credentials,
        }
    }
}
