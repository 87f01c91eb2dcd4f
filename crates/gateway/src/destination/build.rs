//! Puts a destination together from a deployment's settings, the provider's row and the model catalogue.

use std::collections::HashSet;
use std::sync::OnceLock;
use std::time::Duration;

use faregate_catalog::{
    Auth as Scheme, Catalog, ModelInfo, Operation, Prices, Provider, Quirk, ReasoningEffort, resolve,
};
use faregate_config::{DeploymentConfig, OpenMap};
use faregate_upstream::{AuthSpec, EnvView, Upstream, aws_region};
use faregate_wire::chat::ChatRequest;
use faregate_wire::dialect::{Abilities, ClientCall, Dialect};
use faregate_wire::json;
use parking_lot::RwLock;
use serde_json::Value;

use super::form::Form;
use super::{BETA_HEADER, Destination, Via, auth, family, mend, quirks};
use crate::stage::params::ParamRules;

/// Parameters that offer tools.
const TOOL_PARAMS: [&str; 5] = ["tools", "tool_choice", "functions", "function_call", "parallel_tool_calls"];

/// Anthropic takes the tokens of its own sign-in only with this beta. Source: LiteLLM,
/// `ANTHROPIC_OAUTH_BETA_HEADER`.
const OAUTH_BETA: &str = "oauth-2025-04-20";

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
        let (mut quirks, rewrites) = quirks::of(provider, &form.model, info.as_deref());
        // A price the operator sets counts more than the provider's word.
        quirks.cost_in_body &= deployment.prices().is_empty();
        let mends = match form.dialect {
            Dialect::OpenAiChat | Dialect::OpenAiResponses if via.operation() == Operation::Chat => {
                mend::of(provider, &form.model, info.as_deref())
            }
            _ => Vec::new(),
        };
        let abilities = abilities(&form, deployment, info.as_deref());
        let rules = self.rules(deployment, provider, &form.model, info.as_deref(), &mut quirks);
        let credential = |own| {
            let spec = auth::spec(provider, params, own, &form.base, form.region.as_deref(), self.env)?;
            let is_bearer = matches!(spec, AuthSpec::Bearer(_));
            let made = self.upstream.authenticator(spec, self.env);
            Ok((made.map_err(|error| Unusable::Incomplete(error.to_string()))?, is_bearer))
        };
        let mut keys = auth::keys(params).cloned();
        let (authenticator, is_bearer) = credential(keys.next())?;
        let spare =
            keys.map(|key| credential(Some(key)).map(|(made, _)| made)).collect::<Result<_, Unusable>>()?;
        let mut headers = self.headers(deployment, provider);
        if provider.auth == Scheme::Anthropic && is_bearer {
            headers.push((BETA_HEADER.to_owned(), OAUTH_BETA.to_owned()));
        }
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
            spare,
            keyring: None,
            params: rules,
            headers,
            defaults: defaults(&params.defaults),
            timeout: params.timeout.unwrap_or(self.timeout),
            stream_timeout: params.stream_timeout.or(self.stream_timeout),
            price_version: prices.as_ref().map(|prices| prices.version().into()),
            prices,
            shape: form.shape,
            quirks,
            mends,
            abilities,
            may_modify: self.modify_params,
            extra_body: extra_body(deployment),
            rewrites,
            project: self.project(deployment),
            labels: OnceLock::new(),
            urls: RwLock::default(),
            model: form.model,
            named: model.to_owned(),
            info,
        })
    }

    /// The destination for what a model is there for: chat if it can, else what it can.
    ///
    /// # Errors
    /// Why it cannot chat, if it can do nothing.
    pub fn main(&self, deployment: &DeploymentConfig, model: &str) -> Result<Destination, Unusable> {
        self.destination(deployment, model, Via::Chat).or_else(|unusable| {
            let mut beside = Via::BESIDE_CHAT.into_iter();
            beside.find_map(|via| self.destination(deployment, model, via).ok()).ok_or(unusable)
        })
    }

    /// The base URL: the deployment's, the environment's, the row's.
    pub(super) fn base(
        &self,
        deployment: &DeploymentConfig,
        provider: &Provider,
    ) -> Result<String, Unusable> {
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
                Quirk::GradientPath => {
                    let root = base.trim_end_matches('/');
                    let is_serverless = Some(root) == provider.base_url;
                    base = format!("{root}{}", if is_serverless { "/v1" } else { "/api/v1" });
                }
                _ => {}
            }
        }
        Ok(base)
    }

    /// Where a provider of another chat format serves Anthropic messages natively.
    pub(super) fn messages_base(
        &self,
        deployment: &DeploymentConfig,
        provider: &Provider,
    ) -> Result<String, Unusable> {
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
                Quirk::ToolsByCatalog => {
                    // Only what the list says in so many words is held against a model.
                    let denies = |flag: &str| info.is_some_and(|info| info.flag(flag) == Some(false));
                    if denies("supports_function_calling") {
                        unsupported.extend(TOOL_PARAMS);
                    }
                    if denies("supports_response_schema") {
                        unsupported.insert("response_format");
                    }
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

fn abilities(form: &Form, deployment: &DeploymentConfig, info: Option<&ModelInfo>) -> Abilities {
    let own = |name: &str| deployment.info.supports.iter().find(|(key, _)| key == name).map(|(_, has)| *has);
    let flag = |name: &str| own(name).or_else(|| info.and_then(|info| info.flag(name)));
    let is = |name: &str| flag(name).unwrap_or(false);
    let max = deployment
        .info
        .max_output_tokens
        .or_else(|| info.and_then(|info| info.max_output_tokens.or(info.max_tokens)));
    // What Bedrock makes of a model's efforts.
    let ceiling = info.and_then(|info| info.json("bedrock_output_config_effort_ceiling"));
    let ceiling = ceiling.as_ref().and_then(Value::as_str);
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
        always_thinks: is("thinking_always_on"),
        xhigh_effort: flag("supports_xhigh_reasoning_effort").map(|has| has && ceiling != Some("high")),
        max_effort: flag("supports_max_reasoning_effort")
            .map(|has| has && ceiling.is_none_or(|top| top == "max")),
        sampling: flag("supports_sampling_params"),
        forced_tools: flag("supports_forced_tool_use"),
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
