//! One request, read as far as routing needs.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value};

use faregate_terms::CallId;
use faregate_wire::chat::ChatRequest;
use faregate_wire::dialect::{ClientCall, ClientDialect, Dialect};
use faregate_wire::envelope::{Envelope, Mark};

use crate::destination::Via;
use crate::refusal::Refusal;
use crate::routes::Found;
use crate::stage::seam::Resumption;
use crate::steering::Steering;
use crate::task::Task;

/// What came with a request besides its body.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Its id: the client's `x-litellm-call-id`, else a new one.
    pub id: CallId,
    /// The id it is booked by, if the client chose the other.
    pub own_id: Option<CallId>,
    /// When its head had been read.
    pub at: Instant,
    /// Its place in the route table.
    pub found: Found,
    /// Its headers.
    pub headers: HeaderMap,
    /// The query string.
    pub query: Option<String>,
    /// The peer's address.
    pub client_ip: Option<IpAddr>,
}

/// A request to a model: a chat of any dialect, or a [`Task`].
pub struct Call {
    /// What came with the body.
    pub arrival: Arc<Arrival>,
    /// The client's dialect.
    pub dialect: Dialect,
    /// Its codec.
    pub client: &'static dyn ClientDialect,
    /// The body, indexed.
    pub envelope: Envelope,
    /// The model name the client sent.
    pub model: String,
    /// True if the client wants a stream.
    pub stream: bool,
    /// True if the client wants the usage chunk of a chat-completions stream.
    pub include_usage: bool,
    /// Wishes addressed to the gateway.
    pub options: Options,
    /// Gemini's `alt=sse`.
    pub alt_sse: bool,
    /// What it asks for, if that is no chat. Its dialect is then that of its errors.
    pub task: Option<Task>,
    /// Set when it goes on from what another provider had sent.
    pub resumption: Option<Arc<Resumption>>,
    decoded: OnceLock<Result<Arc<ChatRequest>, Refusal>>,
}

/// Members and headers of a request that are meant for the gateway, not for the provider.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// Attempts after the first.
    pub num_retries: Option<u32>,
    /// For the whole answer.
    pub timeout: Option<Duration>,
    /// For the whole answer, as the caller's key or team prefers it.
    pub preferred_timeout: Option<Duration>,
    /// For the first byte of a stream.
    pub stream_timeout: Option<Duration>,
    /// Drop what the model does not take.
    pub drop_params: Option<bool>,
    /// Drop these as well.
    pub additional_drop_params: Vec<String>,
    /// Send these although the provider's row does not list them.
    pub allowed_openai_params: Vec<String>,
    /// Headers to add to the provider request.
    pub extra_headers: Vec<(String, String)>,
    /// Whom the request is booked on.
    pub labels: Labels,
    /// `cache`: wishes about the response cache, not read yet.
    pub cache: Option<Value>,
    /// `caching`: whether the response cache may be used at all.
    pub caching: Option<bool>,
    /// What it says about its own routing.
    pub steering: Option<Box<Steering>>,
}

/// What a client says about whom a request is for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Labels {
    /// The customer of the caller.
    pub end_user: Option<String>,
    /// Tags, in order, each once.
    pub tags: Vec<String>,
    /// The conversation.
    pub session: Option<String>,
}

/// What names of headers that are addressed to the gateway begin with.
const OUR_HEADERS: &str = "x-litellm-";

/// Members that are addressed to the gateway and never reach a provider. Source: compat, behaviour §5.
pub const GATEWAY_MEMBERS: &[&str] = &[
    "additional_drop_params",
    "allowed_model_region",
    "allowed_openai_params",
    "cache",
    "caching",
    "context_window_fallback_dict",
    "context_window_fallbacks",
    "content_policy_fallbacks",
    "custom_llm_provider",
    "disable_fallbacks",
    "disable_global_guardrails",
    "drop_params",
    "extra_headers",
    "fallbacks",
    "guardrails",
    "litellm_call_id",
    "litellm_metadata",
    "litellm_session_id",
    "litellm_trace_id",
    "max_fallbacks",
    "mid_stream_fallback",
    "mock_response",
    "mock_timeout",
    "mock_tool_calls",
    "mock_testing_content_policy_fallbacks",
    "mock_testing_context_fallbacks",
    "mock_testing_fallbacks",
    "mock_testing_rate_limit_error",
    "no-log",
    "num_retries",
    "priority",
    "prompt_id",
    "prompt_label",
    "prompt_variables",
    "prompt_version",
    "request_timeout",
    "stream_timeout",
    "tags",
    "timeout",
];

/// Members that would let a client steer our credentials elsewhere. Source: compat, behaviour §3.1.
pub const BANNED_MEMBERS: &[&str] = &[
    "api_base",
    "api_key",
    "aws_access_key_id",
    "aws_bedrock_runtime_endpoint",
    "aws_profile_name",
    "aws_role_name",
    "aws_secret_access_key",
    "aws_session_name",
    "aws_session_token",
    "aws_sts_endpoint",
    "aws_web_identity_token",
    "azure_ad_token",
    "base_url",
    "model_list",
    "user_config",
    "vertex_credentials",
    "vertex_location",
    "vertex_project",
];

impl Call {
    /// Puts a call together; the body is decoded in full only when somebody asks.
    #[expect(clippy::too_many_arguments, reason = "the parts of one value, each named at the only call site")]
    pub fn new(
        arrival: Arc<Arrival>,
        dialect: Dialect,
        client: &'static dyn ClientDialect,
        envelope: Envelope,
        model: String,
        stream: bool,
        include_usage: bool,
        options: Options,
        alt_sse: bool,
    ) -> Self {
        Self {
            arrival,
            dialect,
            client,
            envelope,
            model,
            stream,
            include_usage,
            options,
            alt_sse,
            task: None,
            resumption: None,
            decoded: OnceLock::new(),
        }
    }

    /// The same call with another body.
    pub fn with_envelope(&self, envelope: Envelope) -> Self {
        let same = Self::new(
            Arc::clone(&self.arrival),
            self.dialect,
            self.client,
            envelope,
            self.model.clone(),
            self.stream,
            self.include_usage,
            self.options.clone(),
            self.alt_sse,
        );
        Self { task: self.task.clone(), ..same }
    }

    /// The provider route that fits it best.
    pub fn via(&self) -> Via {
        match (&self.task, self.dialect) {
            (Some(Task::Embedding), _) => Via::Embedding,
            (Some(Task::Rerank), _) => Via::Rerank,
            (Some(Task::Transcription(_)), _) => Via::Transcription,
            (None, Dialect::OpenAiResponses) => Via::Responses,
            (None, Dialect::OpenAiText) => Via::Completions,
            (None, Dialect::Anthropic) => Via::Messages,
            (None, _) => Via::Chat,
        }
    }

    /// The same call for another group, with these members in place of its own.
    ///
    /// # Errors
    /// If the body cannot be indexed again, which bodies indexed before can.
    pub fn redirected(&self, group: &str, overrides: &Map<String, Value>) -> Result<Self, Refusal> {
        let mut call = if overrides.is_empty() {
            self.with_envelope(self.envelope.clone())
        } else {
            let sent = overrides.iter().filter(|(key, _)| !GATEWAY_MEMBERS.contains(&key.as_str()));
            let members: Vec<(&str, Vec<u8>)> =
                sent.map(|(key, value)| (key.as_str(), faregate_wire::json::write(value))).collect();
            let body =
                self.envelope.merged(members.iter().map(|(key, value)| (*key, value.as_slice())), true);
            self.with_envelope(Envelope::index(body)?)
        };
        group.clone_into(&mut call.model);
        call.resumption.clone_from(&self.resumption);
        if overrides.is_empty() || self.continues() {
            // A conversation continued from a stored one is not in the body.
            call.decoded = self.decoded.clone();
        }
        call.options.adopt(overrides);
        Ok(call)
    }

    /// The same call for another group, as a request of its own with nothing to say of its routing.
    pub fn copied(&self, arrival: Arc<Arrival>, group: &str) -> Self {
        let mut call = self.with_envelope(self.envelope.clone());
        call.arrival = arrival;
        group.clone_into(&mut call.model);
        call.options.steering = None;
        call.decoded = self.decoded.clone();
        call
    }

    /// True if the conversation is more than what the body holds.
    fn continues(&self) -> bool {
        self.dialect == Dialect::OpenAiResponses
            && (self.envelope.has("previous_response_id") || self.envelope.mentions(Mark::ItemReference))
    }

    /// The longest answer the client asks for, in tokens.
    pub fn max_output(&self) -> Option<u64> {
        if self.task.is_some() {
            return Some(0);
        }
        let direct = ["max_completion_tokens", "max_tokens", "max_output_tokens"];
        direct.iter().find_map(|name| self.envelope.get::<u64>(name)).or_else(|| {
            let nested = [("generationConfig", "maxOutputTokens"), ("inferenceConfig", "maxTokens")];
            nested.iter().find_map(|(outer, inner)| {
                self.envelope.get::<Value>(outer).and_then(|config| config.get(inner)?.as_u64())
            })
        })
    }

    /// The whole request in canonical form.
    ///
    /// # Errors
    /// The dialect's complaint about a member.
    pub fn request(&self) -> Result<Arc<ChatRequest>, Refusal> {
        self.decoded
            .get_or_init(|| {
                let call = ClientCall {
                    path_model: Some(&self.model),
                    path_stream: Some(self.stream),
                    alt_sse: self.alt_sse,
                };
                let mut request =
                    self.client.decode(self.envelope.body(), &call).map_err(Refusal::Invalid)?;
                if let Some(resumption) = &self.resumption {
                    resumption.extend(&mut request);
                }
                Ok(Arc::new(request))
            })
            .clone()
    }

    /// The same call, to go on from what its client has been told.
    ///
    /// # Errors
    /// As [`Call::request`].
    pub fn resumed(&self, resumption: Resumption) -> Result<Self, Refusal> {
        let mut request = (*self.request()?).clone();
        if let Some(earlier) = &self.resumption {
            earlier.retract(&mut request);
        }
        resumption.extend(&mut request);
        let mut call = self.with_envelope(self.envelope.clone());
        call.resumption = Some(Arc::new(resumption));
        call.decoded = OnceLock::from(Ok(Arc::new(request)));
        Ok(call)
    }

    /// Uses this request instead of decoding the body (a conversation continued from a stored one).
    pub fn preset(&self, request: Arc<ChatRequest>) {
        let _ = self.decoded.set(Ok(request));
    }
}

impl Options {
    /// Takes over what a fallback's own members say to the gateway.
    fn adopt(&mut self, overrides: &Map<String, Value>) {
        let seconds = |key: &str| {
            let seconds = overrides.get(key)?.as_f64().filter(|seconds| *seconds > 0.0)?;
            Duration::try_from_secs_f64(seconds).ok()
        };
        let retries = overrides.get("num_retries").and_then(Value::as_u64);
        self.num_retries = retries.and_then(|n| u32::try_from(n).ok()).or(self.num_retries);
        self.timeout = seconds("timeout").or(self.timeout);
        self.stream_timeout = seconds("stream_timeout").or(self.stream_timeout);
    }

    /// Reads the gateway's members and headers.
    pub fn read(envelope: &Envelope, headers: &HeaderMap) -> Self {
        let seconds = |key: &str| {
            envelope.get::<f64>(key).filter(|s| s.is_finite() && *s > 0.0).map(Duration::from_secs_f64)
        };
        // Most clients send none: then there is no need to look for each.
        let speaks_to_us = headers.keys().any(|name| name.as_str().starts_with(OUR_HEADERS));
        let header = |name: &str| {
            let value = speaks_to_us.then(|| headers.get(name)).flatten()?;
            value.to_str().ok()
        };
        let header_seconds = |name: &str| {
            header(name)
                .and_then(|text| text.parse::<f64>().ok())
                .filter(|s| s.is_finite() && *s > 0.0)
                .map(Duration::from_secs_f64)
        };
        let extra_headers = envelope
            .get::<Map<String, Value>>("extra_headers")
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())))
            .collect();
        Self {
            num_retries: header("x-litellm-num-retries")
                .and_then(|text| text.parse().ok())
                .or_else(|| envelope.get("num_retries")),
            timeout: header_seconds("x-litellm-timeout")
                .or_else(|| seconds("timeout"))
                .or_else(|| seconds("request_timeout")),
            preferred_timeout: None,
            stream_timeout: header_seconds("x-litellm-stream-timeout").or_else(|| seconds("stream_timeout")),
            drop_params: envelope.get("drop_params"),
            additional_drop_params: envelope.get("additional_drop_params").unwrap_or_default(),
            allowed_openai_params: envelope.get("allowed_openai_params").unwrap_or_default(),
            extra_headers,
            labels: Labels::read(envelope, header),
            cache: envelope.get("cache"),
            caching: envelope.get("caching"),
            steering: Steering::read(envelope),
        }
    }
}

/// The members of `metadata` and `litellm_metadata` that the gateway reads.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    tags: Option<Vec<String>>,
    user: Option<String>,
    user_id: Option<String>,
    session_id: Option<String>,
}

impl Labels {
    /// What headers alone say, where nobody reads the body.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Self {
        let header = |name: &str| {
            let text = headers.get(name)?.to_str().ok()?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        let first = |names: [&str; 2]| names.into_iter().find_map(header);
        let mut tags: Vec<String> = Vec::new();
        for tag in header("x-litellm-tags").unwrap_or_default().split(',').map(str::trim) {
            if !tag.is_empty() && !tags.iter().any(|known| known == tag) {
                tags.push(tag.to_owned());
            }
        }
        Self {
            end_user: first(["x-litellm-customer-id", "x-litellm-end-user-id"]),
            tags,
            session: first(["x-litellm-session-id", "x-litellm-trace-id"]),
        }
    }

    /// Source: compat, behaviour §4 and §5.
    fn read<'h>(envelope: &Envelope, header: impl Fn(&str) -> Option<&'h str>) -> Self {
        let header = |name: &str| {
            let text = header(name)?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        let member = |name: &str| envelope.get::<String>(name).filter(|text| !text.is_empty());
        let metadata: Metadata = envelope.get("metadata").unwrap_or_default();
        let ours: Metadata = envelope.get("litellm_metadata").unwrap_or_default();
        let listed = envelope.get::<Vec<String>>("tags").or_else(|| {
            let list = header("x-litellm-tags")?;
            Some(list.split(',').map(|tag| tag.trim().to_owned()).collect())
        });
        let mut tags = Vec::new();
        for tag in [listed, ours.tags, metadata.tags].into_iter().flatten().flatten() {
            if !tag.is_empty() && !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Self {
            end_user: header("x-litellm-customer-id")
                .or_else(|| header("x-litellm-end-user-id"))
                .or_else(|| member("user"))
                .or(ours.user)
                .or(metadata.user_id)
                .or_else(|| member("safety_identifier")),
            tags,
            session: header("x-litellm-session-id")
                .or_else(|| header("x-litellm-trace-id"))
                .or_else(|| member("litellm_session_id"))
                .or_else(|| member("litellm_trace_id"))
                .or(ours.session_id)
                .or(metadata.session_id),
        }
    }
}
