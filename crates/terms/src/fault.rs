//! What went wrong with one call to a provider, in words every dialect and the router share.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The kind of a fault, after LiteLLM's exception classes; decides retry, cooldown and client status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultClass {
    /// The provider refuses the request as it stands (400).
    BadRequest,
    /// The request cannot be expressed in the provider's dialect and dropping is not allowed (400).
    UnsupportedParams,
    /// The prompt does not fit the model (400).
    ContextWindow,
    /// The provider's own filter refused (400).
    ContentPolicy,
    /// The provider does not accept our credential (401).
    Authentication,
    /// The account behind our credential has no money (402).
    PaymentRequired,
    /// Our credential may not do this (403).
    PermissionDenied,
    /// No such model or resource at the provider (404).
    NotFound,
    /// No answer in time (408).
    Timeout,
    /// Well-formed but not processable (422).
    Unprocessable,
    /// Too many requests or tokens (429).
    RateLimit,
    /// The provider failed (500).
    Internal,
    /// No connection, or it broke (500, as LiteLLM's APIConnectionError).
    Connection,
    /// The provider's front end got no answer (502), or we could not read the one we got.
    BadGateway,
    /// The provider is overloaded or down (503, 529).
    Unavailable,
    /// A status with no class of its own.
    Other(u16),
}

impl FaultClass {
    /// The class of a provider's HTTP status, before its body is looked at.
    pub fn of_status(status: u16) -> Self {
        match status {
            400 => Self::BadRequest,
            401 => Self::Authentication,
            402 => Self::PaymentRequired,
            403 => Self::PermissionDenied,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            413 | 415 => Self::BadRequest,
            422 => Self::Unprocessable,
            429 => Self::RateLimit,
            500 => Self::Internal,
            502 => Self::BadGateway,
            503 | 529 => Self::Unavailable,
            other => Self::Other(other),
        }
    }

    /// The HTTP status a client gets.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest | Self::UnsupportedParams | Self::ContextWindow | Self::ContentPolicy => 400,
            Self::Authentication => 401,
            Self::PaymentRequired => 402,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::Timeout => 408,
            Self::Unprocessable => 422,
            Self::RateLimit => 429,
            Self::Internal | Self::Connection => 500,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
            Self::Other(status) => status,
        }
    }

    /// LiteLLM's name of the exception, used in messages and in the `exception_class` metric label.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequestError",
            Self::UnsupportedParams => "UnsupportedParamsError",
            Self::ContextWindow => "ContextWindowExceededError",
            Self::ContentPolicy => "ContentPolicyViolationError",
            Self::Authentication => "AuthenticationError",
            Self::PaymentRequired => "PaymentRequiredError",
            Self::PermissionDenied => "PermissionDeniedError",
            Self::NotFound => "NotFoundError",
            Self::Timeout => "Timeout",
            Self::Unprocessable => "UnprocessableEntityError",
            Self::RateLimit => "RateLimitError",
            Self::Internal => "InternalServerError",
            Self::Connection => "APIConnectionError",
            Self::BadGateway => "BadGatewayError",
            Self::Unavailable => "ServiceUnavailableError",
            Self::Other(_) => "APIError",
        }
    }
}

/// One failed call to a provider. Never holds a credential.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind of failure; decided by the codec that read the answer.
    pub class: FaultClass,
    /// The provider's own message, or ours when there was no answer.
    pub message: String,
    /// The provider's own HTTP status; absent when there was no answer.
    pub upstream_status: Option<u16>,
    /// The provider's own code word, e.g. `context_length_exceeded`; clients branch on it.
    pub code: Option<String>,
    /// The provider's own error type, e.g. `overloaded_error`.
    pub kind: Option<String>,
    /// The request member the provider complains about.
    pub param: Option<String>,
    /// How long the provider asks us to wait.
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// A fault of our own making, with no answer from the provider.
    pub fn new(class: FaultClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            upstream_status: None,
            code: None,
            kind: None,
            param: None,
            retry_after: None,
        }
    }
}
