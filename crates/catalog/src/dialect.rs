//! What providers do, and the wire formats they do it in.

use std::fmt;

use serde::Deserialize;

/// A kind of call a provider may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Chat, in whatever client dialect.
    Chat,
    /// Plain text completion.
    Completion,
    /// OpenAI Responses, natively.
    Responses,
    /// Anthropic Messages, natively.
    Messages,
    /// Gemini generateContent, natively.
    #[serde(rename = "generateContent")]
    GenerateContent,
    /// Counting tokens at the provider.
    CountTokens,
    /// Text, image or multimodal embeddings.
    Embedding,
    /// Image generation.
    Image,
    /// Image editing.
    ImageEdit,
    /// Image variations.
    ImageVariation,
    /// Speech to text.
    Transcription,
    /// Text to speech.
    Speech,
    /// Video generation.
    Videos,
    /// Reranking of documents.
    Rerank,
    /// Content moderation.
    Moderation,
    /// Text recognition in documents.
    Ocr,
    /// Web search.
    Search,
    /// Realtime sessions over WebSocket.
    Realtime,
    /// Batch jobs.
    Batches,
    /// File storage.
    Files,
    /// Fine-tuning jobs.
    FineTuning,
    /// OpenAI Assistants.
    Assistants,
    /// Vector stores.
    VectorStores,
    /// Code containers.
    Containers,
    /// Evaluations.
    Evals,
    /// Anthropic skills.
    Skills,
    /// Agents hosted by the provider.
    Agents,
    /// Agent-to-agent calls.
    A2a,
    /// Gemini interactions.
    Interactions,
    /// Decisions (typed answers).
    Decisions,
    /// Prompt templates kept elsewhere.
    PromptManagement,
    /// Virtual models that pick a deployment.
    Router,
    /// Calls forwarded without translation.
    Passthrough,
}

impl Operation {
    /// Whether this version of the gateway serves the operation at all.
    pub fn is_served(self) -> bool {
        matches!(
            self,
            Self::Chat
                | Self::Completion
                | Self::Responses
                | Self::Messages
                | Self::GenerateContent
                | Self::CountTokens
                | Self::Embedding
                | Self::Rerank
                | Self::Transcription
        )
    }

    /// The word used in data files and docs, e.g. `image_edit`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completion => "completion",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::GenerateContent => "generateContent",
            Self::CountTokens => "count_tokens",
            Self::Embedding => "embedding",
            Self::Image => "image",
            Self::ImageEdit => "image_edit",
            Self::ImageVariation => "image_variation",
            Self::Transcription => "transcription",
            Self::Speech => "speech",
            Self::Videos => "videos",
            Self::Rerank => "rerank",
            Self::Moderation => "moderation",
            Self::Ocr => "ocr",
            Self::Search => "search",
            Self::Realtime => "realtime",
            Self::Batches => "batches",
            Self::Files => "files",
            Self::FineTuning => "fine_tuning",
            Self::Assistants => "assistants",
            Self::VectorStores => "vector_stores",
            Self::Containers => "containers",
            Self::Evals => "evals",
            Self::Skills => "skills",
            Self::Agents => "agents",
            Self::A2a => "a2a",
            Self::Interactions => "interactions",
            Self::Decisions => "decisions",
            Self::PromptManagement => "prompt_management",
            Self::Router => "router",
            Self::Passthrough => "passthrough",
        }
    }
}

/// The wire format a provider speaks for one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// OpenAI chat completions: `{base}/chat/completions`.
    OpenaiChat,
    /// OpenAI responses: `{base}/responses`.
    OpenaiResponses,
    /// OpenAI's own shape of the operation at hand under the same base, e.g. `{base}/embeddings`.
    Openai,
    /// Azure OpenAI: deployment or `/openai/v1` URLs with an OpenAI body.
    AzureOpenai,
    /// Anthropic Messages.
    Anthropic,
    /// Gemini API (`generativelanguage`).
    Gemini,
    /// Vertex AI: Gemini and partner models by model name.
    Vertex,
    /// Amazon Bedrock: Converse, Invoke.
    Bedrock,
    /// Cohere v2.
    Cohere,
    /// Ollama's native API.
    Ollama,
    /// Replicate predictions.
    Replicate,
    /// No native route: served by translation through [`Operation::Chat`].
    Bridge,
    /// Forwarded as it is.
    Passthrough,
    /// Known, but this version has no code for it; carries the format's name.
    NotSupported(&'static str),
}

impl Dialect {
    /// False for formats that this version cannot speak.
    pub fn is_supported(self) -> bool {
        !matches!(self, Self::NotSupported(_))
    }
}

impl fmt::Display for Dialect {
    /// The word used in docs and messages, e.g. `openai_chat`; the bare name of an unsupported format.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::OpenaiChat => "openai_chat",
            Self::OpenaiResponses => "openai_responses",
            Self::Openai => "openai",
            Self::AzureOpenai => "azure_openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Vertex => "vertex",
            Self::Bedrock => "bedrock",
            Self::Cohere => "cohere",
            Self::Ollama => "ollama",
            Self::Replicate => "replicate",
            Self::Bridge => "bridge",
            Self::Passthrough => "passthrough",
            Self::NotSupported(name) => name,
        })
    }
}
