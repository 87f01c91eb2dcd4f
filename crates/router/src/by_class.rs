//! Numbers per class of fault: `retry_policy`, `allowed_fails_policy`.

use faregate_terms::FaultClass;

/// A number for each class of fault that the configuration can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByClass {
    /// `BadRequestError`.
    pub bad_request: Option<u32>,
    /// `ContentPolicyViolationError`; else as a bad request.
    pub content_policy: Option<u32>,
    /// `AuthenticationError`.
    pub authentication: Option<u32>,
    /// `NotFoundError`.
    pub not_found: Option<u32>,
    /// `TimeoutError`.
    pub timeout: Option<u32>,
    /// `RateLimitError`.
    pub rate_limit: Option<u32>,
    /// `InternalServerError`; also for connections that fail.
    pub internal: Option<u32>,
    /// `BadGatewayError`.
    pub bad_gateway: Option<u32>,
    /// `ServiceUnavailableError`.
    pub unavailable: Option<u32>,
    /// `Default`: every other class.
    pub default: Option<u32>,
}

impl ByClass {
    /// Reads names such as `RateLimitErrorRetries`, of which `suffix` is `Retries`; others are left out.
    pub fn read<'a>(entries: impl IntoIterator<Item = (&'a str, u64)>, suffix: &str) -> Self {
        let mut made = Self::default();
        for (name, number) in entries {
            let slot = match name.strip_suffix(suffix) {
                Some("BadRequestError") => &mut made.bad_request,
                Some("ContentPolicyViolationError") => &mut made.content_policy,
                Some("AuthenticationError") => &mut made.authentication,
                Some("NotFoundError") => &mut made.not_found,
                Some("TimeoutError") => &mut made.timeout,
                Some("RateLimitError") => &mut made.rate_limit,
                Some("InternalServerError") => &mut made.internal,
                Some("BadGatewayError") => &mut made.bad_gateway,
                Some("ServiceUnavailableError") => &mut made.unavailable,
                Some("Default") => &mut made.default,
                _ => continue,
            };
            *slot = Some(u32::try_from(number).unwrap_or(u32::MAX));
        }
        made
    }

    /// True if it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The number for a class, if there is one.
    pub fn of(&self, class: FaultClass) -> Option<u32> {
        let own = match class {
            FaultClass::BadRequest | FaultClass::UnsupportedParams | FaultClass::ContextWindow => {
                self.bad_request
            }
            FaultClass::ContentPolicy => self.content_policy.or(self.bad_request),
            FaultClass::Authentication => self.authentication,
            FaultClass::NotFound => self.not_found,
            FaultClass::Timeout => self.timeout,
            FaultClass::RateLimit => self.rate_limit,
            FaultClass::Internal | FaultClass::Connection => self.internal,
            FaultClass::BadGateway => self.bad_gateway,
            FaultClass::Unavailable => self.unavailable,
            FaultClass::PaymentRequired
            | FaultClass::PermissionDenied
            | FaultClass::Unprocessable
            | FaultClass::Other(_) => None,
        };
        own.or(self.default)
    }
}
