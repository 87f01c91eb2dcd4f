//! What a provider refuses with; each dialect renders it in its own words, status and headers.

/// The kind of an upstream error, the same for every dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request is malformed (400).
    Invalid,
    /// A member the provider does not know (400).
    UnknownParam,
    /// The credential is missing or wrong (401).
    Authentication,
    /// The account has no money (402, or what the dialect uses for it).
    Payment,
    /// The credential may not do this (403).
    Permission,
    /// No such model or resource (404).
    NotFound,
    /// The provider gave up waiting (408).
    Timeout,
    /// The request is too large in bytes (413).
    TooLarge,
    /// Well-formed but not processable (422).
    Unprocessable,
    /// Too many requests or tokens (429).
    RateLimit,
    /// The prompt does not fit the model (400).
    Context,
    /// The provider's filter refused the prompt (400).
    Policy,
    /// The provider failed (500).
    Internal,
    /// The provider's front end got no answer (502).
    BadGateway,
    /// The provider is overloaded (503; Anthropic says 529).
    Unavailable,
}

impl Class {
    /// The class a bare status stands for; unknown 4xx are `Invalid`, unknown 5xx `Internal`.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Authentication,
            402 => Self::Payment,
            403 => Self::Permission,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            413 => Self::TooLarge,
            422 => Self::Unprocessable,
            429 => Self::RateLimit,
            502 => Self::BadGateway,
            503 | 529 => Self::Unavailable,
            500.. => Self::Internal,
            _ => Self::Invalid,
        }
    }

    /// The HTTP status most providers use for this class.
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid | Self::UnknownParam | Self::Context | Self::Policy => 400,
            Self::Authentication => 401,
            Self::Payment => 402,
            Self::Permission => 403,
            Self::NotFound => 404,
            Self::Timeout => 408,
            Self::TooLarge => 413,
            Self::Unprocessable => 422,
            Self::RateLimit => 429,
            Self::Internal => 500,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
        }
    }
}

/// One refusal, before a dialect puts it in its own shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub class: Class,
    /// A status in place of the dialect's own for this class.
    pub status: Option<u16>,
    /// A message in place of the dialect's own text for this class.
    pub message: Option<String>,
    /// The member complained about, for dialects that name it.
    pub param: Option<String>,
    /// Seconds for the `retry-after` header.
    pub retry_after: Option<u64>,
}

impl Failure {
    /// A refusal with the dialect's own status and text.
    pub fn new(class: Class) -> Self {
        Self { class, status: None, message: None, param: None, retry_after: None }
    }

    /// A refusal with exactly this status.
    pub fn of_status(status: u16) -> Self {
        Self { status: Some(status), ..Self::new(Class::of_status(status)) }
    }

    /// A malformed request, in the provider's words.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..Self::new(Class::Invalid) }
    }

    /// A malformed request whose error names the member at fault.
    pub(crate) fn invalid_param(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::invalid(message) }
    }

    /// A member that the provider does not know.
    pub(crate) fn unknown_param(param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::new(Class::UnknownParam) }
    }

    /// The text to show: the scripted one, else the dialect's.
    pub(crate) fn text(&self, own: impl FnOnce() -> String) -> String {
        self.message.clone().unwrap_or_else(own)
    }
}
