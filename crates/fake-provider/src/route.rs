//! Which dialect a path belongs to.

use http::Method;

use crate::dialect::Dialect;
use crate::dialect::anthropic::Anthropic;
use crate::dialect::openai_chat::OpenAiChat;

/// What a path stands for.
pub(crate) enum Route<'a> {
    /// A generation in this dialect; model and streaming as far as the path says.
    Generate {
        dialect: &'static dyn Dialect,
        model: Option<&'a str>,
        stream: Option<bool>,
    },
    /// A token count in this dialect.
    Count {
        dialect: &'static dyn Dialect,
        model: Option<&'a str>,
    },
    /// A list of models in OpenAI's shape.
    Models,
    Unknown,
}

pub(crate) fn route<'a>(method: &Method, path: &'a str) -> Route<'a> {
    if method == Method::GET {
        return if path.ends_with("/models") { Route::Models } else { Route::Unknown };
    }
    if path.ends_with("/chat/completions") {
        return generate(&OpenAiChat, deployment(path), None);
    }
    if path.ends_with("/messages/count_tokens") {
        return Route::Count { dialect: &Anthropic, model: None };
    }
    if path.ends_with("/messages") {
        return generate(&Anthropic, None, None);
    }
    Route::Unknown
}

fn generate<'a>(dialect: &'static dyn Dialect, model: Option<&'a str>, stream: Option<bool>) -> Route<'a> {
    Route::Generate { dialect, model, stream }
}

/// The deployment in Azure's `/openai/deployments/{deployment}/...`.
fn deployment(path: &str) -> Option<&str> {
    path.split_once("/openai/deployments/")?.1.split('/').next()
}
