//! The closed list of ways in which a provider differs from its dialect.
//!
//! A row of `data/providers.json` names quirks; the codecs and the URL builder obey them. Texts that
//! stand for numbers (temperatures) keep their digits.

use serde::Deserialize;

/// Declares [`Quirk`] so that the doc line of a variant is also what [`Quirk::doc`] prints.
macro_rules! quirks {
    ($( #[doc = $doc:literal] $name:ident $(($inner:ty))? , )+) => {
        /// One named difference from a provider's dialect.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Quirk {
            $( #[doc = $doc] $name $(($inner))? , )+
        }

        impl Quirk {
            /// What it does, in one line.
            pub fn doc(&self) -> &'static str {
                match self { $( quirks!(@pattern $name $($inner)?) => $doc.trim_ascii(), )+ }
            }

            /// Its name, as the variant is called.
            pub fn name(&self) -> &'static str {
                match self { $( quirks!(@pattern $name $($inner)?) => stringify!($name), )+ }
            }
        }
    };
    (@pattern $name:ident) => { Self::$name };
    (@pattern $name:ident $inner:ty) => { Self::$name(_) };
}

quirks! {
    /// A content list of text parts only is joined into one string
    FlattenContentLists,
    /// A tool message's content list becomes a string (one text part) or JSON text
    FlattenToolContent,
    /// Chat messages are rendered into one prompt string for a completion endpoint
    FlattenChatToPrompt,
    /// `name` is removed from messages
    DropMessageName,
    /// `name` is kept on tool messages only
    NameOnToolMessagesOnly,
    /// Assistant turns with neither text nor tool calls are removed
    DropEmptyAssistant,
    /// Null members of assistant messages are removed
    DropNullAssistantFields,
    /// Reasoning text and thinking blocks of earlier turns are not sent
    DropReasoningInput,
    /// Signed thinking blocks of earlier turns are not sent
    DropThinkingBlocks,
    /// Assistant turns without reasoning get one space of it while the model thinks
    FillReasoningContent,
    /// Members that only the gateway uses are removed from messages
    StripInternalMessageFields,
    /// Cache markers on messages and tools are kept, not stripped
    KeepCacheControl,
    /// Cache markers move from the message into its content for model families that want them there
    CacheControlIntoContent,
    /// File parts that hold a video are sent as `video_url` parts
    VideoFilesToVideoUrl,
    /// File parts are refused with 400
    RefuseFileParts,
    /// `strict` is removed from tools
    DropToolStrict,
    /// `additionalProperties` is removed from tool schemas
    DropAdditionalProperties,
    /// `$ref` members are removed from tool schemas
    DropSchemaRefs,
    /// Tools that are not functions are removed
    DropNonFunctionTools,
    /// Custom tools are declared as functions
    CustomToolsToFunctions,
    /// A forced tool choice (`required` or a named tool) is sent as `any`
    ToolChoiceRequiredToAny,
    /// Tool choices other than `auto` and `none` are unsupported
    ToolChoiceAutoOrNone,
    /// A forced tool choice is replaced by a user message that asks for a tool
    ToolChoiceRequiredToPrompt,
    /// Tools and output formats are unsupported when the catalogue says so of the model
    ToolsByCatalog,
    /// `seed` is sent as `random_seed`
    SeedToRandomSeed,
    /// Temperatures above this are lowered to it
    TemperatureMax(&'static str),
    /// Temperatures below this are raised to it when n > 1
    TemperatureMinWithN(&'static str),
    /// Temperature is removed for reasoning models
    TemperatureDroppedWhenReasoning,
    /// For the named model a temperature of 0 is sent as the smallest positive number
    TemperatureNeverZero(&'static str),
    /// Parameter rules of OpenAI's o-series and gpt-5 families apply by model name
    OpenaiReasoningFamilies,
    /// Prefixes `o_series/` and `gpt5_series/` pick a rule set and are cut from the deployment name
    AzureFamilyPrefix,
    /// `thinking` keeps its `type` member only
    ThinkingKeepsTypeOnly,
    /// `reasoning_effort` becomes `thinking` (none: disabled, else enabled) and is not sent
    EffortToThinking,
    /// `reasoning_effort` and `thinking` become `thinking` of type enabled, disabled or adaptive
    EffortToThinkingType,
    /// A thinking budget is sent as `reasoning_effort`
    ThinkingBudgetToEffort,
    /// `reasoning_effort` none becomes `reasoning` {enabled: false}; other levels go by model
    EffortToReasoningObject,
    /// `reasoning_effort` max is sent as xhigh
    EffortMaxToXhigh,
    /// `thinking` together with `reasoning_effort` is refused with 400
    ThinkingExcludesEffort,
    /// `thinking` is sent as an extra member of the body
    ThinkingToExtraBody,
    /// For magistral models, effort or thinking adds the vendor's reasoning system prompt
    MagistralReasoningPrompt,
    /// With an output format the answer is fetched whole and streamed by the gateway
    ResponseFormatSimulatesStream,
    /// A JSON schema becomes a forced tool call on models without native support
    JsonSchemaByTool,
    /// `response_format` is kept only when its type is json_schema
    ResponseFormatJsonSchemaOnly,
    /// `response_format` {schema} is wrapped into {json_schema: {schema}}
    WrapJsonSchema,
    /// `guided_json`, `guided_grammar` and `guided_choice` become `response_format`
    GuidedToResponseFormat,
    /// The named parameter is accepted and not sent
    DropSilently(&'static str),
    /// A parameter is dropped for models whose name starts so
    DropForModels(ModelDrop),
    /// `stream_options` is not sent
    DropStreamOptions,
    /// Streams always ask for usage, unless the caller says no
    AlwaysIncludeUsage,
    /// `usage` {include: true} is added
    UsageInclude,
    /// `store` is sent as false on the Responses route
    ForceStoreFalse,
    /// `service_tier` becomes a completion window in `metadata`
    ServiceTierToCompletionWindow,
    /// A header is added: from the environment, else the default
    StaticHeader(StaticHeader),
    /// `OpenAI-Organization` is sent when this variable is set
    OrganizationHeader(&'static str),
    /// This path is inserted between the base and the operation's path
    AppendPath(&'static str),
    /// A base that does not end so gets this suffix
    EnsureBaseSuffix(&'static str),
    /// The base's suffix is replaced
    ReplaceBaseSuffix(Replacement),
    /// Bare model names get this prefix
    ModelPrefix(&'static str),
    /// Native Messages calls go to a base of their own
    MessagesBase(BaseFrom),
    /// The account id in the base comes from this variable
    AccountInBase(&'static str),
    /// The region in the base comes from the AWS region settings
    RegionInBase,
    /// A region prefix is cut from the model name
    StripRegionFromModel,
    /// An 8-character model id is a dedicated deployment with a host of its own
    BasetenDedicatedUrl,
    /// A `user.app.model` name becomes the model's URL
    ClarifaiModelUrl,
    /// Serverless and agent endpoints have different paths
    GradientPath,
    /// Foundry hosts take `/models/chat/completions` with an API version
    AzureFoundryPath,
    /// Claude models speak the Anthropic dialect on the same host
    AnthropicForClaude,
    /// A 422 that names extra fields is retried without them, at most twice
    RetryWithoutRejectedParams,
    /// The environment's key is not sent to a base the caller gave
    NoEnvKeyWithCustomBase,
    /// `reasoning` in messages and deltas is read as `reasoning_content`
    ReasoningFieldNormalise,
    /// Answer content lists are split into reasoning and text
    SplitContentLists,
    /// Empty answer content becomes null
    EmptyContentToNull,
    /// An error object inside a stream ends it as an error
    ErrorInStream,
    /// An empty finish reason with tool calls is read as tool_calls
    EmptyFinishToToolCalls,
    /// Reasoning tokens are added to the output when the totals do not add up
    FoldReasoningTokens,
    /// Service tiers that OpenAI does not know are reported as auto
    UnknownServiceTierToAuto,
    /// Citations become `url_citation` annotations
    CitationsToAnnotations,
    /// Citation tokens and search queries are read into usage
    CitationUsage,
    /// The answer states its cost, which is used
    CostInBody,
}

/// Which models lose which parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct ModelDrop {
    /// The parameter.
    pub param: &'static str,
    /// Starts of model names.
    #[serde(deserialize_with = "leaked")]
    pub models: &'static [&'static str],
}

/// A header sent with every call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct StaticHeader {
    /// Header name.
    pub name: &'static str,
    /// Variable that holds the value.
    #[serde(default)]
    pub env: Option<&'static str>,
    /// Value when the variable is unset.
    #[serde(default)]
    pub default: Option<&'static str>,
}

/// A text to be replaced by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Replacement {
    /// What is found.
    pub from: &'static str,
    /// What it becomes.
    pub to: &'static str,
}

/// A base URL of a single operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct BaseFrom {
    /// Variable that holds it.
    #[serde(default)]
    pub env: Option<&'static str>,
    /// Value when the variable is unset.
    pub default: &'static str,
}

/// The table is read once and lives as long as the process, so its few lists may too.
fn leaked<'de: 'static, D: serde::Deserializer<'de>>(from: D) -> Result<&'static [&'static str], D::Error> {
    Vec::<&'static str>::deserialize(from).map(|list| &*list.leak())
}
