//! What a provider codec is told about where a request goes.

use crate::chat::Effort;

/// Where a request goes, as far as a codec must know.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// Provider name, e.g. `openai`, `groq`.
    pub provider: &'a str,
    /// The upstream's model name, prefix removed.
    pub model: &'a str,
    /// The shape of the URL.
    pub flavor: Flavor<'a>,
    /// What the model can do.
    pub abilities: Abilities,
    /// How the provider departs from its dialect.
    pub quirks: &'a Quirks,
    /// True if invalid requests may be mended (`modify_params`): dummy messages, dropped content.
    pub may_modify: bool,
    /// Anthropic's beta features to switch on, in the target's words; see [`super::ProviderDialect::betas`].
    pub betas: Vec<String>,
}

/// The shape of the URL, where one dialect is served in several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor<'a> {
    /// The dialect's own.
    Plain,
    /// Azure OpenAI: `/openai/deployments/{model}/...?api-version=`.
    Azure {
        /// Value of `api-version`.
        api_version: &'a str,
    },
    /// Azure OpenAI's v1 surface: `/openai/v1/...`, model in the body.
    AzureV1 {
        /// Value of `api-version` when one must be sent (`preview`, `latest`).
        api_version: Option<&'a str>,
    },
    /// Azure AI Foundry: `/models/chat/completions?api-version=`.
    AzureFoundry {
        /// Value of `api-version`.
        api_version: &'a str,
    },
    /// Vertex AI: `/v1/projects/{project}/locations/{location}/publishers/...` or `endpoints/...`.
    Vertex {
        /// Google Cloud project.
        project: &'a str,
        /// Region or `global`.
        location: &'a str,
        /// `v1` or `v1beta1`.
        version: &'a str,
    },
    /// Bedrock InvokeModel with the vendor's own body (Anthropic): `/model/{id}/invoke`.
    BedrockInvoke,
}

/// What a model can do. `None` means unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Upper bound of generated tokens; fills a mandatory `max_tokens` the client left out.
    pub max_output_tokens: Option<u64>,
    /// Takes a JSON schema natively (else a forced tool stands in where the dialect has no other way).
    pub json_schema: Option<bool>,
    /// Reasons at all.
    pub reasoning: Option<bool>,
    /// Takes Anthropic's `thinking: {type: adaptive}`.
    pub adaptive_thinking: bool,
    /// Takes Anthropic's `output_config.effort`.
    pub effort_config: bool,
    /// Still takes `thinking.budget_tokens` although adaptive is preferred.
    pub legacy_thinking: bool,
    /// Thinks whatever it is told, and refuses to be told not to.
    pub always_thinks: bool,
    /// Takes the effort `xhigh`.
    pub xhigh_effort: Option<bool>,
    /// Takes the effort `max`.
    pub max_effort: Option<bool>,
    /// Takes temperature and the like.
    pub sampling: Option<bool>,
    /// Takes a tool choice that forces a call.
    pub forced_tools: Option<bool>,
    /// Takes pictures.
    pub vision: Option<bool>,
    /// Takes a system role.
    pub system_messages: Option<bool>,
    /// Takes tools.
    pub tools: Option<bool>,
}

impl Abilities {
    /// The highest effort up to `wish` that the model takes.
    pub fn effort(&self, wish: Effort, losses: &mut Losses) -> Effort {
        let fits = match wish {
            Effort::Max if self.max_effort == Some(true) => Effort::Max,
            Effort::Max | Effort::Xhigh if self.xhigh_effort == Some(true) => Effort::Xhigh,
            Effort::Max | Effort::Xhigh => Effort::High,
            ref other => other.clone(),
        };
        if fits != wish {
            losses.note("reasoning.effort");
        }
        fits
    }
}

/// How a provider departs from its dialect. Made from the catalog's rows; all off for a faithful one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quirks {
    /// Top-level parameters sent under another name: (OpenAI's, theirs).
    pub rename: Vec<(String, String)>,
    /// Text-only content lists become plain strings.
    pub flatten_content: bool,
    /// Content lists become plain strings even if that loses pictures (an error without `may_modify`).
    pub text_only_content: bool,
    /// `cache_control` marks stay in messages and tools.
    pub keep_cache_control: bool,
    /// `strict` is removed from tools.
    pub drop_tool_strict: bool,
    /// `additionalProperties` is removed from tool schemas.
    pub drop_additional_properties: bool,
    /// `$ref` and `$defs` are resolved in tool schemas.
    pub inline_schema_refs: bool,
    /// `name` is removed from messages (tool messages keep it if `keep_tool_name`).
    pub drop_message_name: bool,
    /// Tool messages keep `name` although others lose it.
    pub keep_tool_name: bool,
    /// `tool_choice: required` is written with this word, e.g. `any`.
    pub required_word: Option<String>,
    /// Null members of assistant messages are left out.
    pub drop_null_members: bool,
    /// Assistant messages carry `reasoning_content` back to the provider.
    pub send_reasoning: bool,
    /// Assistant turns without reasoning get a blank `reasoning_content` while thinking is on.
    pub fill_reasoning: bool,
    /// Reasoning is asked for by `thinking: {type}` instead of `reasoning_effort`.
    pub thinking_switch: bool,
    /// Upper bound of `temperature`, decimal text.
    pub temperature_max: Option<String>,
    /// Lower bound of `temperature` when `n` > 1, decimal text.
    pub temperature_min_with_n: Option<String>,
    /// `store: false` is always sent.
    pub force_store_false: bool,
    /// Streams must not ask for usage: `stream_options` is refused.
    pub no_stream_options: bool,
    /// Members always added to the body: (name, JSON text).
    pub always_send: Vec<(String, String)>,
    /// A JSON schema is not understood: a forced tool stands in for it.
    pub schema_by_tool: bool,
    /// Service tiers that OpenAI does not have are reported as `auto`.
    pub unknown_tier_as_auto: bool,
    /// The body of an answer says in `cost` what it costs, and that counts.
    pub cost_in_body: bool,
    /// Developer messages are sent with the system role.
    pub developer_as_system: bool,
    /// `max_tokens` is sent as `max_completion_tokens` (OpenAI reasoning families).
    pub max_completion_tokens: bool,
    /// `max_completion_tokens` is understood (else `max_tokens` is sent).
    pub knows_max_completion_tokens: bool,
}

/// What a translation could not carry, by name; ends in a debug header and in the receipt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses(Vec<String>);

impl Losses {
    /// Remembers one loss, once. Names are stable: `sampling.top_k`, `tool.strict`, `message.name`, ...
    pub fn note(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.0.contains(&what) {
            self.0.push(what);
        }
    }

    /// Remembers those of another part of the work.
    pub fn absorb(&mut self, others: Self) {
        others.0.into_iter().for_each(|what| self.note(what));
    }

    /// The losses, in the order met.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The losses, in the order met.
    pub fn into_names(self) -> Vec<String> {
        self.0
    }
}
