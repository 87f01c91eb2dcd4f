//! Which dialect a path belongs to.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::dialect::Dialect;
use crate::dialect::anthropic::Anthropic;
use crate::dialect::bedrock::{Converse, Invoke};
use crate::dialect::cohere::Cohere;
use crate::dialect::gemini::Gemini;
use crate::dialect::ollama::Ollama;
use crate::dialect::openai_chat::OpenAiChat;
use crate::dialect::openai_responses::OpenAiResponses;
use crate::dialect::openai_text::OpenAiText;
use crate::dialect::replicate::{Replicate, Wish, wish};
use crate::task::Kind;

/// What a path stands for.
pub(crate) enum Route<'a> {
    /// A generation in this dialect; model and streaming as far as the path says.
    Generate {
        dialect: &'static dyn Dialect,
        model: Option<Cow<'a, str>>,
        stream: Option<bool>,
    },
    /// A token count in this dialect.
    Count {
        dialect: &'static dyn Dialect,
        model: Option<Cow<'a, str>>,
    },
    /// What is no generation.
    Task(Kind, Option<Cow<'a, str>>),
    /// A stored response: id and what follows it.
    StoredResponse(&'a str),
    /// A new prediction of this model.
    Predict(Option<Cow<'a, str>>),
    /// An existing prediction.
    Prediction(Wish, &'a str),
    /// A list of models in OpenAI's shape.
    Models,
    /// Ollama's list of models.
    Tags,
    /// AWS STS.
    Sts,
    /// AWS instance metadata.
    Imds,
    /// Google's OAuth token endpoint.
    GoogleToken,
    /// Google's metadata server.
    GoogleMetadata,
    /// Azure AD's token endpoint.
    AzureToken,
    Unknown,
}

pub(crate) fn route<'a>(method: &Method, path: &'a str) -> Route<'a> {
    // Most frequent first: the benchmark's path is decided by one comparison.
    if path.ends_with("/chat/completions") {
        return generate(&OpenAiChat, deployment(path), None);
    }
    if path.starts_with("/latest/") {
        return Route::Imds;
    }
    if let Some((wish, id)) = wish(method, path) {
        return Route::Prediction(wish, id);
    }
    if let Some((_, rest)) = path.split_once("/responses/") {
        return Route::StoredResponse(rest);
    }
    if method == Method::GET {
        return match path {
            "/api/tags" => Route::Tags,
            _ if path.starts_with("/computeMetadata/") && path.ends_with("/token") => Route::GoogleMetadata,
            _ if path.ends_with("/models") => Route::Models,
            _ => Route::Unknown,
        };
    }
    post(path)
}

fn post(path: &str) -> Route<'_> {
    match path {
        "/" => return Route::Sts,
        "/token" => return Route::GoogleToken,
        "/api/chat" | "/api/generate" => return generate(&Ollama, None, None),
        "/v2/chat" => return generate(&Cohere, None, None),
        "/v2/embed" => return Route::Task(Kind::CohereEmbed, None),
        "/v2/rerank" => return Route::Task(Kind::Rerank { is_cohere: true }, None),
        "/api/embed" => return Route::Task(Kind::OllamaEmbed, None),
        _ => {}
    }
    if path.ends_with("/oauth2/v2.0/token") {
        return Route::AzureToken;
    }
    if path.ends_with("/messages/count_tokens") {
        return Route::Count { dialect: &Anthropic, model: None };
    }
    if path.ends_with("/messages") {
        return generate(&Anthropic, None, None);
    }
    let suffixes = [
        ("/embeddings", Kind::OpenAiEmbeddings),
        ("/rerank", Kind::Rerank { is_cohere: false }),
        ("/audio/transcriptions", Kind::Transcription),
    ];
    if let Some((_, kind)) = suffixes.into_iter().find(|(suffix, _)| path.ends_with(suffix)) {
        return Route::Task(kind, deployment(path).map(decoded));
    }
    if path.ends_with("/completions") {
        return generate(&OpenAiText, deployment(path), None);
    }
    if path.ends_with("/responses") {
        return generate(&OpenAiResponses, deployment(path), None);
    }
    if let Some(rest) = path.strip_suffix("/predictions") {
        let model = rest.split_once("/v1/models/").map(|(_, model)| decoded(model));
        return Route::Predict(model);
    }
    if let Some(rest) = path.strip_prefix("/model/") {
        return bedrock(rest);
    }
    google(path)
}

fn generate<'a>(dialect: &'static dyn Dialect, model: Option<&'a str>, stream: Option<bool>) -> Route<'a> {
    Route::Generate { dialect, model: model.map(decoded), stream }
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// The deployment in Azure's `/openai/deployments/{deployment}/...`.
fn deployment(path: &str) -> Option<&str> {
    path.split_once("/openai/deployments/")?.1.split('/').next()
}

/// `{model}/{action}`; the model may be an ARN, whose slashes are encoded.
fn bedrock(rest: &str) -> Route<'_> {
    let Some((model, action)) = rest.rsplit_once('/') else { return Route::Unknown };
    match action {
        "converse" => generate(&Converse, Some(model), Some(false)),
        "converse-stream" => generate(&Converse, Some(model), Some(true)),
        "invoke" if model.contains("titan") => Route::Task(Kind::Titan, Some(decoded(model))),
        "invoke" if model.contains("cohere") => Route::Task(Kind::BedrockCohere, Some(decoded(model))),
        "invoke" => generate(&Invoke::Bedrock, Some(model), Some(false)),
        "invoke-with-response-stream" => generate(&Invoke::Bedrock, Some(model), Some(true)),
        _ => Route::Unknown,
    }
}

/// `.../models/{model}:{action}` of the Gemini API and of Vertex AI's publishers.
fn google(path: &str) -> Route<'_> {
    let Some((place, action)) = path.rsplit_once(':') else { return Route::Unknown };
    let Some((_, model)) = place.rsplit_once("/models/") else { return Route::Unknown };
    let streams = Some(action.starts_with("stream"));
    match action {
        "generateContent" | "streamGenerateContent" => generate(&Gemini, Some(model), streams),
        "batchEmbedContents" => Route::Task(Kind::GeminiBatch, Some(decoded(model))),
        "predict" => Route::Task(Kind::VertexPredict, Some(decoded(model))),
        "countTokens" => Route::Count { dialect: &Gemini, model: Some(decoded(model)) },
        "rawPredict" | "streamRawPredict" if place.contains("/publishers/anthropic/") => {
            generate(&Invoke::Vertex, Some(model), streams)
        }
        // Mistral and others speak OpenAI's format there.
        "rawPredict" | "streamRawPredict" => generate(&OpenAiChat, Some(model), streams),
        _ => Route::Unknown,
    }
}

/// The dialect that errors of predictions are written in.
pub(crate) const PREDICTIONS: &dyn Dialect = &Replicate;
