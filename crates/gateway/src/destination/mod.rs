//! Where an attempt goes: everything about one deployment and one upstream model, resolved.
//!
//! Built once per deployment (per upstream model for wildcards), so that a request only reads it.

mod address;
mod auth;
mod build;
mod family;
mod form;
mod mend;
mod quirks;
mod rejected;

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Uri;
use memchr::memmem::Finder;
use parking_lot::RwLock;

use faregate_catalog::{CostContext, ModelInfo, Prices, Provider, Quirk, Units, cost};
use faregate_terms::{DeploymentId, Fault, FaultClass, PicoUsd, Usage};
use faregate_upstream::{Auth, Payload};
use faregate_wire::chat::ChatRequest;
use faregate_wire::dialect::{Abilities, BadRequest, Dialect, Flavor, ProviderDialect, Quirks, Target};
use faregate_wire::envelope::{Envelope, Mark, join};
use faregate_wire::json;
use serde_json::{Map, Value};

use crate::call::Call;
use crate::health::Keyring;
use crate::refusal::Refusal;
use crate::routes::Operation;
use crate::stage::labels::Labels;
use crate::stage::params::ParamRules;
use crate::stage::paths;

pub(crate) use auth::keys;
pub use build::{Builder, Unusable};

/// What an id holds that carries state. Source: compat, behaviour, tool call ids of Gemini.
static THOUGHT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("__thought__"));

/// The header that switches Anthropic's beta features on.
pub const BETA_HEADER: &str = "anthropic-beta";

/// Which of a provider's routes serves a call; some providers speak a client's dialect natively.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// The provider's chat route.
    Chat,
    /// OpenAI responses.
    Responses,
    /// Anthropic messages.
    Messages,
    /// OpenAI text completions.
    Completions,
    /// Embeddings.
    Embedding,
    /// Reranking.
    Rerank,
    /// Speech to text.
    Transcription,
}

impl Via {
    /// What is served, for providers that do not chat.
    pub const BESIDE_CHAT: [Self; 3] = [Self::Embedding, Self::Rerank, Self::Transcription];

    /// The operation in the providers' table.
    pub fn operation(self) -> faregate_catalog::Operation {
        use faregate_catalog::Operation as Listed;
        match self {
            Self::Chat | Self::Responses | Self::Messages | Self::Completions => Listed::Chat,
            Self::Embedding => Listed::Embedding,
            Self::Rerank => Listed::Rerank,
            Self::Transcription => Listed::Transcription,
        }
    }
}

/// Everything about one deployment and one upstream model.
pub struct Destination {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its provider.
    pub provider: &'static Provider,
    /// The upstream's model name, prefix removed.
    pub model: String,
    /// The same as the configuration spells it, with the provider's prefix.
    pub named: String,
    /// The wire format.
    pub dialect: Dialect,
    pub(crate) codec: &'static dyn ProviderDialect,
    /// Base URL without query.
    pub base: String,
    /// The credential.
    pub auth: Arc<Auth>,
    /// Those of further keys.
    pub(crate) spare: Vec<Arc<Auth>>,
    /// How the keys are doing, if there are several; shared by a deployment's destinations.
    pub(crate) keyring: Option<Arc<Keyring>>,
    /// Parameters it does not take.
    pub params: ParamRules,
    /// Headers added to each request.
    pub headers: Vec<(String, String)>,
    /// Request parameters for clients that give none.
    pub defaults: Option<Box<ChatRequest>>,
    /// For a whole answer, or between two pieces of a stream.
    pub timeout: Duration,
    /// For the first byte of a stream.
    pub stream_timeout: Option<Duration>,
    /// What the catalogue knows of the model.
    pub info: Option<Arc<ModelInfo>>,
    /// What it costs, if anybody knows.
    pub prices: Option<Prices>,
    /// Which prices those are, for the request log.
    pub price_version: Option<Arc<str>>,
    pub(crate) shape: Shape,
    pub(crate) quirks: Quirks,
    pub(crate) mends: Vec<mend::Mend>,
    pub(crate) abilities: Abilities,
    pub(crate) may_modify: bool,
    pub(crate) extra_body: Vec<(String, Vec<u8>)>,
    /// True if a body of the same dialect must be rewritten all the same.
    pub(crate) rewrites: bool,
    /// Google's project when the configuration names none: asked of the credential, once.
    pub(crate) project: OnceLock<String>,
    pub(crate) labels: OnceLock<Labels>,
    /// URLs by path, put together before.
    pub(crate) urls: RwLock<Vec<(String, Uri)>>,
}

/// The shape of the URL; owned form of [`Flavor`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    Plain,
    Azure { api_version: String },
    AzureV1 { api_version: Option<String> },
    AzureFoundry { api_version: String },
    Vertex { location: String, version: &'static str },
    BedrockInvoke,
}

impl fmt::Debug for Destination {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Destination")
            .field("deployment", &self.deployment)
            .field("provider", &self.provider.name)
            .field("model", &self.model)
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Destination {
    /// The provider's codec.
    pub fn codec(&self) -> &'static dyn ProviderDialect {
        self.codec
    }

    /// The credential that goes with a key, by its place.
    pub(crate) fn credential(&self, key: usize) -> &Auth {
        key.checked_sub(1).and_then(|place| self.spare.get(place)).unwrap_or(&self.auth)
    }

    /// Another key to call with, after a call with `key` failed so; `None` if it was not the key's fault, or if no
    /// other is well.
    pub(crate) fn other_key(&self, key: usize, fault: &Fault) -> Option<usize> {
        let other = self.keyring.as_ref()?.failed(key, fault)?;
        tracing::warn!(
            deployment = %self.deployment,
            key,
            class = fault.class.name(),
            "a key of a deployment is out; another takes its place"
        );
        Some(other)
    }

    /// What the codec is told.
    pub fn target(&self) -> Target<'_> {
        let flavor = match &self.shape {
            Shape::Plain => Flavor::Plain,
            Shape::Azure { api_version } => Flavor::Azure { api_version },
            Shape::AzureV1 { api_version } => Flavor::AzureV1 { api_version: api_version.as_deref() },
            Shape::AzureFoundry { api_version } => Flavor::AzureFoundry { api_version },
            Shape::Vertex { location, version } => {
                Flavor::Vertex { project: self.project.get().map_or("", String::as_str), location, version }
            }
            Shape::BedrockInvoke => Flavor::BedrockInvoke,
        };
        Target {
            provider: self.provider.name,
            model: &self.model,
            flavor,
            abilities: self.abilities.clone(),
            quirks: &self.quirks,
            may_modify: self.may_modify,
            betas: Vec::new(),
        }
    }

    /// Finds out what can only be asked over the network: Google's project, if nobody named it.
    ///
    /// # Errors
    /// If the credential cannot be used or names no project.
    pub async fn settle_project(&self) -> Result<(), Fault> {
        if !matches!(self.shape, Shape::Vertex { .. }) || self.project.get().is_some() {
            return Ok(());
        }
        let found = self
            .auth
            .project_id()
            .await
            .map_err(|error| Fault::new(FaultClass::Authentication, error.to_string()))?;
        let project = found.ok_or_else(|| {
            Fault::new(
                FaultClass::BadRequest,
                "no Google Cloud project is known; set litellm_params.vertex_project or VERTEXAI_PROJECT",
            )
        })?;
        let _ = self.project.set(project);
        Ok(())
    }

    /// True for the Anthropic wire format, wherever it is served.
    pub fn speaks_anthropic(&self) -> bool {
        self.dialect == Dialect::Anthropic
    }

    /// True if Anthropic's beta features can be switched on there.
    pub fn takes_betas(&self) -> bool {
        matches!(self.dialect, Dialect::Anthropic | Dialect::Bedrock)
    }

    /// The beta features that client and configuration ask for by header, each a list with commas.
    pub fn betas_asked<'a>(&'a self, call: &'a Call) -> Vec<&'a str> {
        if !self.takes_betas() {
            return Vec::new();
        }
        let sent = call.arrival.headers.get_all(BETA_HEADER).into_iter();
        let configured = self.headers.iter().chain(&call.options.extra_headers);
        let configured = configured.filter(|(name, _)| name.eq_ignore_ascii_case(BETA_HEADER));
        sent.filter_map(|value| value.to_str().ok())
            .chain(configured.map(|(_, value)| value.as_str()))
            .collect()
    }

    /// The absolute URL of `path` (with query) below the base.
    ///
    /// # Errors
    /// If the configured base does not make a URL.
    pub fn url(&self, path: &str) -> Result<Uri, Fault> {
        /// Paths of one destination are few, unless they name things.
        const MOST: usize = 8;
        if let Some((_, url)) = self.urls.read().iter().find(|(known, _)| known == path) {
            return Ok(url.clone());
        }
        let url = address::join(&self.base, path).map_err(|text| {
            Fault::new(FaultClass::BadRequest, format!("api_base does not make a URL: {text}"))
        })?;
        let mut urls = self.urls.write();
        if urls.len() < MOST {
            urls.push((path.to_owned(), url.clone()));
        }
        Ok(url)
    }

    /// What it says of itself in every answer.
    pub(crate) fn labels(&self) -> &Labels {
        self.labels.get_or_init(|| Labels::of(self))
    }

    /// An absolute URL the provider asks us to call next; only on the host we called in the first place,
    /// or a sibling of it, since our credential goes with the call.
    ///
    /// # Errors
    /// If it leads elsewhere.
    pub fn follow(&self, url: &str) -> Result<Uri, Fault> {
        let next: Uri = url.parse().map_err(|_| elsewhere())?;
        let base: Uri = self.base.parse().map_err(|_| elsewhere())?;
        let site = |uri: &Uri| uri.host().map(|host| address::site(host).to_owned());
        if site(&next) == site(&base) && next.scheme() == base.scheme() { Ok(next) } else { Err(elsewhere()) }
    }

    /// True if the client's body can go through as bytes.
    pub fn takes_bytes_of(&self, call: &Call, dropped: &[String]) -> bool {
        let same = call.dialect == self.dialect
            && !self.rewrites
            && call.resumption.is_none()
            && self.defaults.is_none()
            && !matches!(call.arrival.found.operation, Operation::Invoke | Operation::InvokeStream)
            && (call.dialect != Dialect::Gemini || !call.stream || call.alt_sse)
            && dropped.iter().all(|name| !call.envelope.has(name) || self.baseline_name(name).is_some());
        same && self.is_plain(call)
    }

    /// True if the body holds nothing that only a translation understands.
    fn is_plain(&self, call: &Call) -> bool {
        let envelope = &call.envelope;
        // Only conversations with calls can hold ids that carry state.
        let has_state = || {
            envelope.mentions(Mark::Sealed)
                || (envelope.mentions(Mark::Calls) && THOUGHT.find(envelope.body()).is_some())
        };
        match call.dialect {
            Dialect::OpenAiChat => {
                let renamed = self.quirks.rename.iter().any(|(ours, _)| envelope.has(ours));
                let old_limit = self.quirks.max_completion_tokens && envelope.has("max_tokens");
                let foreign = ["thinking", "reasoning", "top_k"].iter().any(|name| envelope.has(name));
                let hints = !self.quirks.keep_cache_control && envelope.mentions(Mark::CacheControl);
                let thoughts = [Mark::ThinkingBlocks, Mark::ReasoningContent, Mark::ProviderFields];
                let thoughts = thoughts.into_iter().any(|mark| envelope.mentions(mark));
                let is_plain = !(renamed || old_limit || foreign || hints || thoughts);
                is_plain && !has_state()
            }
            // State of another family, sealed for a client of this one, must not reach the provider.
            Dialect::OpenAiResponses => {
                !envelope.has("previous_response_id")
                    && !envelope.mentions(Mark::ItemReference)
                    && !has_state()
            }
            // Bedrock knows only some of the edits; a translation sorts them.
            Dialect::Anthropic if self.shape == Shape::BedrockInvoke => {
                !envelope.has("context_management") && !has_state()
            }
            _ => !has_state(),
        }
    }

    /// The static form of a parameter's name, if it is a top-level member that can be cut out.
    pub fn baseline_name(&self, name: &str) -> Option<&'static str> {
        faregate_catalog::param_baseline().iter().copied().find(|known| *known == name)
    }

    /// Refuses what the provider's row rules out and a rendered body no longer shows.
    ///
    /// # Errors
    /// 400 naming the parameters.
    pub fn check(&self, call: &Call) -> Result<(), Refusal> {
        let is_set = |name: &str| call.envelope.raw(name).is_some_and(|raw| raw != b"null");
        if self.provider.has(Quirk::ThinkingExcludesEffort)
            && call.dialect == Dialect::OpenAiChat
            && is_set("thinking")
            && is_set("reasoning_effort")
        {
            let text = format!(
                "provider `{}` takes `thinking` or `reasoning_effort`, not both in one request",
                self.provider.name
            );
            return Err(BadRequest::new("thinking", text).into());
        }
        Ok(())
    }

    /// True if `call` may lose what the model does not take.
    fn may_drop(&self, call: &Call) -> bool {
        call.options.drop_params.unwrap_or(self.params.drop)
    }

    /// What to leave out of `call` after the provider answered it with this error; empty if that would not
    /// help.
    pub fn rejected(&self, call: &Call, status: u16, answer: &[u8]) -> Vec<String> {
        if !matches!(status, 400 | 422) || !self.provider.has(Quirk::RetryWithoutRejectedParams) {
            return Vec::new();
        }
        rejected::paths(answer, self.may_drop(call))
    }

    /// A body the codec rendered as this provider wants it, without the members that `rejected` names.
    ///
    /// # Errors
    /// 400 for what the provider does not take and nobody allowed to drop.
    pub fn mended(&self, body: Vec<u8>, call: &Call, rejected: &[String]) -> Result<Vec<u8>, Refusal> {
        if self.mends.is_empty() && rejected.is_empty() {
            return Ok(body);
        }
        let thinking: Option<Value> = match call.dialect {
            Dialect::OpenAiChat => call.envelope.get("thinking"),
            _ => None,
        };
        let wish = mend::Wish {
            thinking: thinking.as_ref().filter(|thinking| thinking.is_object()),
            may_drop: self.may_drop(call),
            provider: self.provider.name,
            model: &self.model,
        };
        let mut members: Map<String, Value> = json::read(&body).map_err(|_| Refusal::Internal)?;
        for mend in &self.mends {
            mend.apply(&mut members, wish)?;
        }
        let mut body = Value::Object(members);
        let rejected: Vec<&str> = rejected.iter().map(String::as_str).collect();
        paths::remove(&mut body, &rejected);
        Ok(json::write(&body))
    }

    /// The body with the deployment's `extra_body` merged in.
    ///
    /// # Errors
    /// Only if the body is no JSON object, which our own codecs do not produce.
    pub fn with_extra_body(&self, body: Vec<Bytes>) -> Result<Payload, Refusal> {
        if self.extra_body.is_empty() {
            return Ok(body.into());
        }
        let members = self.extra_body.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        Ok(Envelope::index(join(body))?.merged(members, true).into())
    }

    /// What `usage` costs; `None` if nobody knows the price.
    pub fn cost(&self, usage: &Usage) -> Option<PicoUsd> {
        if usage.stated_cost.is_some() {
            return usage.stated_cost;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let context = CostContext {
            provider: self.provider.name,
            unix_seconds: i64::try_from(now).unwrap_or_default(),
            units: Units {
                queries: usage.queries,
                seconds: Duration::from_millis(usage.audio_ms),
                ..Units::default()
            },
            regional_endpoint: matches!(&self.shape, Shape::Vertex { location, .. } if location != "global"),
            ..CostContext::default()
        };
        cost(self.prices.as_ref()?, usage, &context).map(|cost| cost.total)
    }
}

fn elsewhere() -> Fault {
    Fault::new(FaultClass::BadGateway, "the provider's next address is on another site; it is not followed")
}
