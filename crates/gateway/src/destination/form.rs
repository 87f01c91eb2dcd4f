//! Which wire format a model speaks, at which address, under which name.

use faregate_catalog::{Dialect as Listed, ModelInfo, Operation, Provider, Quirk};
use faregate_config::DeploymentConfig;
use faregate_upstream::aws_region;
use faregate_wire::dialect::Dialect;

use super::build::{Builder, Unusable};
use super::{Shape, Via, address};

/// Azure's API version when nobody says otherwise. Source: compat, providers §4.
const AZURE_API_VERSION: &str = "2025-02-01-preview";
/// Vertex' location when nobody says otherwise.
const VERTEX_LOCATION: &str = "us-central1";

/// The wire format of a model and what belongs to it.
pub(super) struct Form {
    pub(super) dialect: Dialect,
    pub(super) shape: Shape,
    pub(super) model: String,
    pub(super) base: String,
    pub(super) region: Option<String>,
}

impl Builder<'_> {
    /// The form of `model` for calls by `via`.
    ///
    /// # Errors
    /// [`Unusable`], with the remedy.
    pub(super) fn form(
        &self,
        deployment: &DeploymentConfig,
        provider: &'static Provider,
        model: String,
        via: Via,
        info: Option<&ModelInfo>,
    ) -> Result<Form, Unusable> {
        let operation = via.operation();
        let of_chat = provider.dialect(Operation::Chat).filter(|_| !provider.completes_only());
        let of_texts = || provider.dialect(Operation::Completion).filter(|_| provider.completes_only());
        let listed = match operation {
            Operation::Chat => of_chat.or_else(of_texts),
            other => provider.dialect(other),
        };
        let listed = listed.ok_or_else(|| not_offered(provider, operation))?;
        let model = named_by_quirk(provider, model)?;
        if operation != Operation::Chat {
            return self.task_form(deployment, provider, listed, model, via, info);
        }
        let plain = |dialect: Dialect, model: String| -> Result<Form, Unusable> {
            let base = match address::dedicated(provider, &model) {
                Some(base) if deployment.params.api_base.is_none() => base,
                _ => self.base(deployment, provider)?,
            };
            Ok(Form { dialect, shape: Shape::Plain, model, base, region: None })
        };
        match listed {
            Listed::OpenaiChat => {
                if provider.has(Quirk::StripRegionFromModel) {
                    return self.mantle(deployment, provider, model, via, info);
                }
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

    /// The form of calls that are no chat: the same services at the same addresses, mostly.
    fn task_form(
        &self,
        deployment: &DeploymentConfig,
        provider: &'static Provider,
        listed: Listed,
        model: String,
        via: Via,
        info: Option<&ModelInfo>,
    ) -> Result<Form, Unusable> {
        let plain = |dialect, model| {
            let base = self.base(deployment, provider)?;
            Ok(Form { dialect, shape: Shape::Plain, model, base, region: None })
        };
        match listed {
            Listed::Openai if provider.has(Quirk::AzureFoundryPath) => {
                self.foundry(deployment, provider, model)
            }
            Listed::Openai => plain(Dialect::OpenAiChat, model),
            Listed::AzureOpenai => Ok(Form {
                dialect: Dialect::OpenAiChat,
                ..self.azure(deployment, provider, model, via, info)?
            }),
            Listed::Cohere => plain(Dialect::Cohere, model),
            Listed::Ollama => plain(Dialect::Ollama, model),
            Listed::Gemini if via == Via::Embedding => plain(Dialect::Gemini, model),
            Listed::Vertex if via == Via::Embedding => {
                let (location, base) = self.vertex_place(deployment, provider);
                let shape = Shape::Vertex { location, version: "v1" };
                Ok(Form { dialect: Dialect::Gemini, shape, model, base, region: None })
            }
            Listed::Bedrock if via == Via::Embedding => self.bedrock(deployment, provider, model),
            other => Err(Unusable::NotSupported(format!(
                "{} of provider `{}` is in the {other} format, which is not supported yet; see docs/providers.md",
                via.operation().word(),
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
        if let Some((kind @ ("agents" | "doc-intelligence"), _)) = model.split_once('/') {
            return Err(Unusable::NotSupported(format!(
                "{}/{kind}/...: this kind of Azure AI service is not supported yet; models are",
                provider.name
            )));
        }
        let model = model.strip_prefix("model_router/").map_or_else(|| model.clone(), str::to_owned);
        let base = self.base(deployment, provider)?;
        let shape = if base.contains("services.ai.azure.com") {
            let version = deployment.params.api_version.clone();
            Shape::AzureFoundry { api_version: version.unwrap_or_else(|| "2024-05-01-preview".to_owned()) }
        } else {
            Shape::Plain
        };
        Ok(Form { dialect: Dialect::OpenAiChat, shape, model, base, region: None })
    }

    /// Bedrock's OpenAI-compatible host: the region stands before the model's name or in the settings, and
    /// Claude speaks its own dialect there. Source: compat, providers §3, bedrock_mantle.
    fn mantle(
        &self,
        deployment: &DeploymentConfig,
        provider: &'static Provider,
        model: String,
        via: Via,
        info: Option<&ModelInfo>,
    ) -> Result<Form, Unusable> {
        let params = &deployment.params;
        let (in_name, name) = match model.split_once('/') {
            Some((region, name)) if is_region(region) => (Some(region.to_owned()), name.to_owned()),
            _ => (None, model),
        };
        let region = params
            .aws
            .region_name
            .clone()
            .or(in_name)
            .or_else(|| self.env.first(&["BEDROCK_MANTLE_REGION", "AWS_REGION_NAME", "AWS_REGION"]))
            .unwrap_or_else(|| "us-east-1".to_owned());
        let given = params
            .api_base
            .clone()
            .or_else(|| provider.base_url_env.iter().find_map(|name| self.env.get(name)));
        let listed = provider.base_url.unwrap_or_default().replace("{region}", &region);
        let base = given.unwrap_or_else(|| {
            // Some models are served under another root. Source: LiteLLM's price list, this flag.
            match info.and_then(|info| info.flag("use_openai_responses_path")) {
                Some(true) => listed.replace("/v1", "/openai/v1"),
                _ => listed,
            }
        });
        if name.starts_with("anthropic.") {
            let host = base.trim_end_matches('/').trim_end_matches("/v1");
            let base = format!("{host}/anthropic");
            return Ok(Form {
                dialect: Dialect::Anthropic,
                shape: Shape::Plain,
                model: name,
                base,
                region: Some(region),
            });
        }
        let (dialect, model) = openai_dialect(provider, &name, via, info);
        Ok(Form { dialect, shape: Shape::Plain, model, base, region: Some(region) })
    }

    /// Vertex serves many vendors; the model's name tells which. Source: compat, providers §4.2.
    fn vertex(
        &self,
        deployment: &DeploymentConfig,
        provider: &'static Provider,
        model: String,
    ) -> Result<Form, Unusable> {
        let (location, base) = self.vertex_place(deployment, provider);
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
        let model = model.strip_prefix("gemini/").map_or_else(|| model.clone(), str::to_owned);
        Ok(Form { dialect, shape: Shape::Vertex { location, version }, model, base, region: None })
    }

    /// Vertex' location and the address of its service there.
    fn vertex_place(&self, deployment: &DeploymentConfig, provider: &Provider) -> (String, String) {
        let params = &deployment.params;
        let configured = params.vertex.location.clone();
        let location = configured
            .or_else(|| self.env.first(&["VERTEXAI_LOCATION", "VERTEX_LOCATION"]))
            .unwrap_or_else(|| VERTEX_LOCATION.to_owned());
        let host = if location == "global" {
            "https://aiplatform.googleapis.com".to_owned()
        } else {
            format!("https://{location}-aiplatform.googleapis.com")
        };
        let given = params.api_base.clone();
        let base = given.or_else(|| provider.base_url_env.iter().find_map(|name| self.env.get(name)));
        (location, base.unwrap_or(host))
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
    let mode = info.and_then(|info| info.mode);
    // Models of chats do not complete texts; a model nobody knows may.
    let fits = via == Via::Completions && mode.is_none();
    let only_text = provider.completes_only() || mode == Some(faregate_catalog::Mode::Completion);
    if provider.completes() && (fits || only_text) {
        return (Dialect::OpenAiText, model.to_owned());
    }
    (Dialect::OpenAiChat, model.to_owned())
}

fn not_offered(provider: &Provider, operation: Operation) -> Unusable {
    let text =
        format!("provider `{}` does not serve {}; see docs/providers.md", provider.name, operation.word());
    Unusable::NotSupported(text)
}

/// The model's name as the provider's row spells it.
fn named_by_quirk(provider: &Provider, model: String) -> Result<String, Unusable> {
    for quirk in &provider.quirks {
        match quirk {
            Quirk::ModelPrefix(prefix) if !model.starts_with(prefix) && !model.contains('/') => {
                return Ok(format!("{prefix}{model}"));
            }
            Quirk::ClarifaiModelUrl if !model.starts_with("https://") => {
                let parts: Vec<&str> = model.split('.').collect();
                let [user, app, name] = parts.as_slice() else {
                    return Err(Unusable::Incomplete(format!(
                        "{}/{model}: name the model as user.app.model, e.g. openai.chat-completion.gpt-4o",
                        provider.name
                    )));
                };
                return Ok(format!("https://clarifai.com/{user}/{app}/models/{name}"));
            }
            _ => {}
        }
    }
    Ok(model)
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
