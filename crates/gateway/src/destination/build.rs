//! Puts a destination together from a deployment's settings, the provider's row and the model catalogue.

use std::collections::HashSet;
use std::sync::OnceLock;
use std::time::Duration;

use faregate_catalog::{
    Catalog, Dialect as Listed, ModelInfo, Operation, Prices, Provider, Quirk, ReasoningEffort, resolve,
};
use faregate_config::{DeploymentConfig, OpenMap};
use faregate_upstream::{EnvView, Upstream, aws_region};
use faregate_wire::chat::ChatRequest;
use faregate_wire::dialect::{Abilities, ClientCall, Dialect};
use faregate_wire::json;
use parking_lot::RwLock;
use serde_json::Value;

use super::{Destination, Shape, Via, auth, family, quirks};
use crate::stage::params::ParamRules;

/// Azure's API version when nobody says otherwise. Source: compat, providers §4.
const AZURE_API_VERSION: &str = "2025-02-01-preview";
/// Vertex' location when nobody says otherwise.
const VERTEX_LOCATION: &str = "us-central1";

/// Why a deployment cannot serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The model string leads to no provider.
    #[error("{0}")]
    UnknownProvider(String),
    /// This version has no code for it.
    #[error("{0}")]
    NotSupported(String),
    /// Something is missing or wrong in its settings.
    #[error("{0}")]
    Incomplete(String),
}

/// What all destinations of one configuration share.
pub struct Builder<'a> {
    /// Connections and credentials.
    pub upstream: &'a Upstream,
    /// Prices and capabilities.
    pub catalog: &'a Catalog,
    /// The environment.
    pub env: &'a EnvView,
    /// `litellm_settings.drop_params`.
    pub drop_params: bool,
    /// `litellm_settings.modify_params`.
    pub modify_params: bool,
    /// For a whole answer, unless the deployment says otherwise.
    pub timeout: Duration,
    /// For the first byte of a stream, unless the deployment says otherwise.
    pub stream_timeout: Option<Duration>,
}

/// The wire format of a model and what belongs to it.
struct Form {
    dialect: Dialect,
    shape: Shape,
    model: String,
    base: String,
    region: Option<String>,
}

impl Builder<'_> {
    /// The destination of `deployment` for the upstream model string `model` (`provider/model`).
    ///
    /// # Errors
    /// [`Unusable`], with the remedy.
    pub fn destination(
        &self,
        deployment: &DeploymentConfig,
        model: &str,
        via: Via,
    ) -> Result<Destination, Unusable> {
        let params = &deployment.params;
        let found = resolve(model, params.provider.as_deref(), params.api_base.as_deref(), self.catalog)
            .map_err(|unknown| Unusable::UnknownProvider(unknown.to_string()))?;
        let provider = found.provider;
        let base_model = deployment.info.base_model.as_deref();
        let info = base_model
            .and_then(|base| self.catalog.entry(base).or_else(|| self.catalog.find(provider.name, base)))
            .or_else(|| self.catalog.find(provider.name, &found.model));
        let form = self.form(deployment, provider, found.model, via, info.as_deref())?;
        let (mut quirks, rewrites) = quirks::of(provider, &form.model);
        let abilities = abilities(&form, deployment, info.as_deref());
        let rules = self.rules(deployment, provider, &form.model, info.as_deref(), &mut quirks);
        let spec = auth::spec(provider, params, &form.base, form.region.as_deref(), self.env)?;
        let authenticator = self
            .upstream
            .authenticator(spec, self.env)
            .map_err(|error| Unusable::Incomplete(error.to_string()))?;
        let prices = prices(deployment, info.as_deref())?;
        let codec = form.dialect.provider().ok_or_else(|| {
            Unusable::NotSupported(format!(
                "provider `{}` needs the {} format for this model, which is not supported yet",
                provider.name,
                form.dialect.name()
            ))
        })?;
        Ok(Destination {
            deployment: deployment.id.clone(),
            provider,
            dialect: form.dialect,
            codec,
            base: form.base,
            auth: authenticator,
            params: rules,
            headers: self.headers(deployment, provider),
            defaults: defaults(&params.defaults),
            timeout: params.timeout.unwrap_or(self.timeout),
            stream_timeout: params.stream_timeout.or(self.stream_timeout),
            prices,
            shape: form.shape,
            quirks,
            abilities,
            may_modify: self.modify_params,
            extra_body: extra_body(deployment),
            rewrites,
            project: self.project(deployment),
            labels: OnceLock::new(),
            urls: RwLock::default(),
            model: form.model,
            info,
        })
    }

    fn form(
        &self,
        deployment: &DeploymentConfig,
        provider: &'static Provider,
        model: String,
        via: Via,
        info: Option<&ModelInfo>,
    ) -> Result<Form, Unusable> {
        let listed = provider.dialect(Operation::Chat).ok_or_else(|| not_chat(provider))?;
        let model = prefixed_by_quirk(provider, model);
        let plain = |dialect: Dialect, model: String| -> Result<Form, Unusable> {
            let base = self.base(deployment, provider)?;
            Ok(Form { dialect, shape: Shape::Plain, model, base, region: None })
        };
        match listed {
            Listed::OpenaiChat => {
                if provider.has(Quirk::AnthropicForClaude) && model.starts_with("claude") {
                    let base = self.base(deployment, provider)?;
                    let base = format!("{}/anthropic", base.trim_end_matches('/'));
                    return Ok(Form {
                        dialect: Dialect::Anthropic,
                        shape: Shape::Plain,
                        model,
                        base,
                        region: None,
                    });
                }
                if provider.has(Quirk::AzureFoundryPath) {
                    return self.foundry(deployment, provider, model);
                }
                if via == Via::Messages
                    && provider.dialect(Operation::Messages) == Some(Listed::Anthropic)
                    && Dialect::Anthropic.provider().is_some()
                {
                    let base = self.messages_base(deployment, provider)?;
                    return Ok(Form {
                        dialect: Dialect::Anthropic,
                        shape: Shape::Plain,
                        model,
                        base,
                        region: None,
                    });
                }
                let (dialect, model) = openai_dialect(provider, &model, via, info);
                plain(dialect, model)
            }
            Listed::Openai => {
                let (dialect, model) = openai_dialect(provider, &model, via, info);
                plain(dialect, model)
            }
            Listed::AzureOpenai => self.azure(deployment, provider, model, via, info),
            Listed::Anthropic => plain(Dialect::Anthropic, model),
            Listed::Gemini => plain(Dialect::Gemini, model),
            Listed::Cohere => plain(Dialect::Cohere, model),
            Listed::Ollama => plain(Dialect::Ollama, model),
            Listed::Replicate => plain(Dialect::Replicate, model),
            Listed::Vertex => self.vertex(deployment, provider, model),
            Listed::Bedrock => self.bedrock(deployment, provider, model),
            other => Err(Unusable::NotSupported(format!(
                "provider `{}` speaks the {other} format, which is not supported yet; see docs/providers.md",
                provider.name
            ))),
        }
    }

    fn azure(
        &self,
        deployment: &DeploymentConfig,
        provider: &'static Provider,
        model: String,
        via: Via,
        info: Option<&ModelInfo>,
    ) -> Result<Form, Unusable> {
        let version = deployment
            .params
            .api_version
            .clone()
            .or_else(|| self.env.get("AZURE_API_VERSION"))
            .unwrap_or_else(|| AZURE_API_VERSION.to_owned());
        let shape = match version.as_str() {
            "v1" => Shape::AzureV1 { api_version: None },
            "latest" | "preview" => Shape::AzureV1 { api_version: Some(version) },
            _ => Shape::Azure { api_version: version },
        };
        let (dialect, model) = openai_dialect(provider, &model, via, info);
        let cut = ["o_series/", "gpt5_series/"].iter().find_map(|prefix| model.strip_prefix(prefix));
        let model = cut.map_or_else(|| model.clone(), str::to_owned);
        Ok(Form { dialect, shape, model, base: self.base(deployment, provider)?, region: None })
    }

    fn foundry(
        &self,
        deployment: &DeploymentConfig,
        provider: &'static Provider,
        model: String,
    ) -> Result<Form, Unusable> {
        let base = self.base(deployment, provider)?;
        let shape = if base.contains("services.ai.azure.com") {
            let version = deployment.params.api_version.clone();
            Shape::AzureFoundry { api_version: version.unwrap_or_else(|| "2024-05-01-preview".to_owned()) }
        } else {
            Shape::Plain
        };
        Ok(Form { dialect: Dialect::OpenAiChat, shape, model, base, region: None })
    }

    /// Vertex serves many vendors; the model's name tells which. Source: compat, providers §4.2.
    fn vertex(
        &self,
        deployment: &DeploymentConfig,
        provider: &'static Provider,
        model: String,
    ) -> Result<Form, Unusable> {
        let location = deployment
            .params
            .vertex
            .location
            .clone()
            .or_else(|| self.env.first(&["VERTEXAI_LOCATION", "VERTEX_LOCATION"]))
            .unwrap_or_else(|| VERTEX_LOCATION.to_owned());
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| model.starts_with(prefix));
        let is_endpoint = !model.is_empty() && model.bytes().all(|byte| byte.is_ascii_digit());
        let (dialect, version) = if starts(&["claude"]) {
            (Dialect::Anthropic, "v1")
        } else if starts(&["jamba"]) {
            (Dialect::OpenAiChat, "v1beta1")
        } else if starts(&[
            "mistral",
            "codestral",
            "meta/",
            "deepseek-ai",
            "qwen",
            "openai/",
            "minimaxai/",
            "moonshotai/",
            "zai-org/",
            "google/gemma-",
        ]) {
            (Dialect::OpenAiChat, "v1")
        } else if starts(&["gemini"]) || is_endpoint {
            (Dialect::Gemini, if provider.name == "vertex_ai_beta" { "v1beta1" } else { "v1" })
        } else {
            return Err(Unusable::NotSupported(format!(
                "vertex_ai/{model}: this kind of Vertex model is not supported yet; Gemini, Claude, Mistral, \
                 Jamba and the open models of Model Garden's managed endpoints are"
            )));
        };
        let host = if location == "global" {
            "https://aiplatform.googleapis.com".to_owned()
        } else {
            format!("https://{location}-aiplatform.googleapis.com")
        };
        let base = deployment
            .params
            .api_base
            .clone()
            .or_else(|| provider.base_url_env.iter().find_map(|name| self.env.get(name)))
            .unwrap_or(host);
        let model = model.strip_prefix("gemini/").map_or_else(|| model.clone(), str::to_owned);
        Ok(Form { dialect, shape: Shape::Vertex { location, version }, model, base, region: None })
    }

    fn bedrock(
        &self,
        deployment: &DeploymentConfig,
        provider: &'static Provider,
        model: String,
    ) -> Result<Form, Unusable> {
        let aws = &deployment.params.aws;
        let (route, rest) = match model.split_once('/') {
            Some((route @ ("converse" | "invoke" | "converse_like"), rest)) => (route, rest),
            Some((route @ ("agent" | "agentcore" | "async_invoke" | "openai" | "mantle"), _)) => {
                return Err(Unusable::NotSupported(format!(
                    "bedrock/{route}/...: this Bedrock route is not supported yet; converse/ and invoke/ are"
                )));
            }
            _ => ("converse", model.as_str()),
        };
        let (in_name, name) = match rest.split_once('/') {
            Some((region, name)) if is_region(region) => (Some(region), name),
            _ => (None, rest),
        };
        let region = aws_region(aws.region_name.as_deref().or(in_name), self.env);
        let shape = if route == "invoke" {
            if !name.contains("anthropic") {
                return Err(Unusable::NotSupported(format!(
                    "bedrock/invoke/{name}: InvokeModel bodies of this vendor are not supported yet; leave \
                     `invoke/` out to use Converse"
                )));
            }
            Shape::BedrockInvoke
        } else {
            Shape::Plain
        };
        let dialect = if route == "invoke" { Dialect::Anthropic } else { Dialect::Bedrock };
        let base = deployment
            .params
            .api_base
            .clone()
            .or_else(|| aws.bedrock_runtime_endpoint.clone())
            .or_else(|| provider.base_url_env.iter().find_map(|name| self.env.get(name)))
            .unwrap_or_else(|| format!("https://bedrock-runtime.{region}.amazonaws.com"));
        let model = aws.model_id.clone().unwrap_or_else(|| name.to_owned());
        Ok(Form { dialect, shape, model, base, region: Some(region) })
    }

    /// The base URL: the deployment's, the environment's, the row's.
    fn base(&self, deployment: &DeploymentConfig, provider: &Provider) -> Result<String, Unusable> {
        let given = deployment
            .params
            .api_base
            .clone()
            .or_else(|| provider.base_url_env.iter().find_map(|name| self.env.get(name)));
        let mut base = match (given, provider.base_url) {
            (Some(base), _) => base,
            (None, Some(base)) => self.filled(base, deployment, provider)?,
            (None, None) => {
                let names = provider.base_url_env.join(" or ");
                let or_env = if names.is_empty() {
                    String::new()
                } else {
                    format!(" or the environment variable {names}")
                };
                return Err(Unusable::Incomplete(format!(
                    "provider `{}` has no fixed address; set litellm_params.api_base{or_env}",
                    provider.name
                )));
            }
        };
        for quirk in &provider.quirks {
            match quirk {
                Quirk::EnsureBaseSuffix(suffix)
                    if !base.trim_end_matches('/').ends_with(suffix.trim_end_matches('/')) =>
                {
                    base = format!("{}{suffix}", base.trim_end_matches('/'));
                }
                Quirk::ReplaceBaseSuffix(change) if base.trim_end_matches('/').ends_with(change.from) => {
                    let kept = base.trim_end_matches('/').trim_end_matches(change.from);
                    base = format!("{kept}{}", change.to);
                }
                Quirk::AppendPath(path) if !base.contains(path) => {
                    base = format!("{}{path}", base.trim_end_matches('/'));
                }
                _ => {}
            }
        }
        Ok(base)
    }

    /// Where a provider of another chat format serves Anthropic messages natively.
    fn messages_base(&self, deployment: &DeploymentConfig, provider: &Provider) -> Result<String, Unusable> {
        for quirk in &provider.quirks {
            if let (Quirk::MessagesBase(from), None) = (quirk, &deployment.params.api_base) {
                let set = from.env.and_then(|name| self.env.get(name));
                return Ok(set.unwrap_or_else(|| from.default.to_owned()));
            }
        }
        self.base(deployment, provider)
    }

    /// Fills `{region}` and `{account_id}` in a row's base URL.
    fn filled(
        &self,
        base: &str,
        deployment: &DeploymentConfig,
        provider: &Provider,
    ) -> Result<String, Unusable> {
        let mut base = base.to_owned();
        if base.contains("{region}") {
            let region = aws_region(deployment.params.aws.region_name.as_deref(), self.env);
            base = base.replace("{region}", &region);
        }
        for quirk in &provider.quirks {
            if let Quirk::AccountInBase(variable) = quirk {
                let account = self.env.get(variable).ok_or_else(|| {
                    Unusable::Incomplete(format!(
                        "provider `{}` needs the environment variable {variable}, or litellm_params.api_base",
                        provider.name
                    ))
                })?;
                base = base.replace("{account_id}", &account);
            }
        }
        if base.contains('{') {
            return Err(Unusable::Incomplete(format!(
                "provider `{}` needs its address spelled out: set litellm_params.api_base (like {base})",
                provider.name
            )));
        }
        Ok(base)
    }

    fn headers(&self, deployment: &DeploymentConfig, provider: &Provider) -> Vec<(String, String)> {
        let mut headers: Vec<(String, String)> = Vec::new();
        for quirk in &provider.quirks {
            match quirk {
                Quirk::StaticHeader(header) => {
                    let value = header
                        .env
                        .and_then(|name| self.env.get(name))
                        .or_else(|| header.default.map(str::to_owned));
                    headers.extend(value.map(|value| (header.name.to_owned(), value)));
                }
                Quirk::OrganizationHeader(variable) => {
                    let own = deployment.params.organization.clone();
                    let value = own.or_else(|| self.env.get(variable));
                    headers.extend(value.map(|value| ("openai-organization".to_owned(), value)));
                }
                _ => {}
            }
        }
        headers.extend(deployment.params.extra_headers.iter().cloned());
        headers
    }

    fn rules(
        &self,
        deployment: &DeploymentConfig,
        provider: &'static Provider,
        model: &str,
        info: Option<&ModelInfo>,
        quirks: &mut faregate_wire::dialect::Quirks,
    ) -> ParamRules {
        let params = &deployment.params;
        let mut unsupported: HashSet<&'static str> = provider.unsupported_params.iter().copied().collect();
        // A model nobody has listed is given the benefit of the doubt.
        let lacks = |capability: &str| {
            let own = deployment.info.supports.iter().find(|(name, _)| name == capability);
            own.map_or_else(|| info.is_some_and(|info| !info.supports(capability)), |(_, has)| !has)
        };
        for (param, capability) in &provider.conditional_params {
            if lacks(capability) {
                unsupported.insert(param);
            }
        }
        match provider.reasoning_effort {
            Some(ReasoningEffort::No) => {
                unsupported.insert("reasoning_effort");
            }
            Some(ReasoningEffort::Catalog) if lacks("supports_reasoning") => {
                unsupported.insert("reasoning_effort");
            }
            _ => {}
        }
        for quirk in &provider.quirks {
            match quirk {
                Quirk::DropForModels(drop) if drop.models.iter().any(|start| model.starts_with(start)) => {
                    unsupported.insert(drop.param);
                }
                Quirk::DropSilently(param) => {
                    unsupported.remove(param);
                }
                _ => {}
            }
        }
        let mut rules = ParamRules {
            temperature_fixed: false,
            drop: params.drop_params.unwrap_or(self.drop_params),
            additional_drop: params.additional_drop_params.clone(),
            allowed: params.allowed_openai_params.clone(),
            unsupported,
        };
        rules.additional_drop.extend(provider.quirks.iter().filter_map(|quirk| match quirk {
            Quirk::DropSilently(param) => Some((*param).to_owned()),
            _ => None,
        }));
        if provider.has(Quirk::OpenaiReasoningFamilies) {
            let none_effort = info.is_some_and(|info| info.supports("supports_none_reasoning_effort"));
            if let Some(family) = family::rules(model, none_effort) {
                rules.unsupported.extend(family.unsupported);
                rules.temperature_fixed = family.temperature_fixed;
                quirks.max_completion_tokens = family.max_completion_tokens;
            }
        }
        rules
    }

    fn project(&self, deployment: &DeploymentConfig) -> OnceLock<String> {
        let project = OnceLock::new();
        let own = deployment.params.vertex.project.clone();
        if let Some(name) = own.or_else(|| self.env.first(&["VERTEXAI_PROJECT", "VERTEX_PROJECT"])) {
            let _ = project.set(name);
        }
        project
    }
}

/// Native responses where the provider has them and the client speaks them, or the model knows nothing else.
fn openai_dialect(provider: &Provider, model: &str, via: Via, info: Option<&ModelInfo>) -> (Dialect, String) {
    if let Some(rest) = model.strip_prefix("responses/") {
        return (Dialect::OpenAiResponses, rest.to_owned());
    }
    let has_responses = provider.dialect(Operation::Responses) == Some(Listed::OpenaiResponses)
        && Dialect::OpenAiResponses.provider().is_some();
    let only_responses = info.is_some_and(|info| info.mode == Some(faregate_catalog::Mode::Responses));
    if has_responses && (via == Via::Responses || only_responses) {
        return (Dialect::OpenAiResponses, model.to_owned());
    }
    (Dialect::OpenAiChat, model.to_owned())
}

fn not_chat(provider: &Provider) -> Unusable {
    Unusable::NotSupported(format!("provider `{}` does not serve chat; see docs/providers.md", provider.name))
}

fn prefixed_by_quirk(provider: &Provider, model: String) -> String {
    for quirk in &provider.quirks {
        if let Quirk::ModelPrefix(prefix) = quirk
            && !model.starts_with(prefix)
            && !model.contains('/')
        {
            return format!("{prefix}{model}");
        }
    }
    model
}

fn is_region(text: &str) -> bool {
    let mut parts = text.split('-');
    let short = parts.next().is_some_and(|geo| geo.len() == 2 && geo.bytes().all(|b| b.is_ascii_lowercase()));
    short
        && text
            .rsplit('-')
            .next()
            .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()) && !last.is_empty())
}

fn abilities(form: &Form, deployment: &DeploymentConfig, info: Option<&ModelInfo>) -> Abilities {
    let own = |name: &str| deployment.info.supports.iter().find(|(key, _)| key == name).map(|(_, has)| *has);
    let flag = |name: &str| own(name).or_else(|| info.and_then(|info| info.flag(name)));
    let is = |name: &str| flag(name).unwrap_or(false);
    let max = deployment
        .info
        .max_output_tokens
        .or_else(|| info.and_then(|info| info.max_output_tokens.or(info.max_tokens)));
    let json_schema = match form.dialect {
        Dialect::Anthropic | Dialect::Bedrock => Some(is("supports_native_structured_output")),
        _ => flag("supports_response_schema"),
    };
    Abilities {
        max_output_tokens: max,
        json_schema,
        reasoning: flag("supports_reasoning"),
        adaptive_thinking: is("supports_adaptive_thinking"),
        effort_config: is("supports_output_config"),
        legacy_thinking: is("supports_legacy_thinking"),
        vision: flag("supports_vision"),
        system_messages: flag("supports_system_messages"),
        tools: flag("supports_function_calling"),
    }
}

/// The deployment's own prices completed from the catalogue's.
fn prices(deployment: &DeploymentConfig, info: Option<&ModelInfo>) -> Result<Option<Prices>, Unusable> {
    let own = deployment.prices();
    let listed = info.map(|info| &info.prices).filter(|prices| !prices.is_empty());
    if own.is_empty() {
        return Ok(listed.cloned());
    }
    let text = json::text(&own.0);
    let own =
        Prices::from_json(&text).map_err(|bad| Unusable::Incomplete(format!("litellm_params: {bad}")))?;
    Ok(Some(listed.map_or_else(|| own.clone(), |listed| own.over(listed))))
}

/// The deployment's default parameters as a request that says nothing else.
fn defaults(defaults: &OpenMap) -> Option<Box<ChatRequest>> {
    if defaults.is_empty() {
        return None;
    }
    let mut body = defaults.0.clone();
    for (member, value) in [("model", Value::from("-")), ("messages", Value::Array(Vec::new()))] {
        body.insert(member.to_owned(), value);
    }
    let client = Dialect::OpenAiChat.client()?;
    let mut request = client.decode(&json::write(&body), &ClientCall::default()).ok()?;
    request.stream = false;
    Some(Box::new(request))
}

/// `extra_body`, and keys unknown to the gateway, which LiteLLM forwards as well.
fn extra_body(deployment: &DeploymentConfig) -> Vec<(String, Vec<u8>)> {
    let params = &deployment.params;
    params
        .extra
        .iter()
        .chain(params.extra_body.iter())
        .map(|(key, value)| (key.clone(), json::write(value)))
        .collect()
}
