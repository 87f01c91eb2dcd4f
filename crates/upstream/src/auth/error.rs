//! Why a request could not be given its credential.

use faregate_terms::FaultClass;

use crate::error::SendError;

/// The request has no credential, hence was not sent. The message says what to do, and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AuthError {
    /// What kind of problem.
    pub problem: AuthProblem,
    /// What happened and the remedy.
    pub message: String,
}

/// Kinds of [`AuthError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthProblem {
    /// No credential was found where we looked.
    Missing,
    /// A credential was found and cannot be used as it stands.
    Malformed,
    /// The token service does not accept the credential.
    Refused,
    /// The token service cannot be reached, or answers nonsense.
    Unreachable,
    /// The token service took too long.
    TimedOut,
}

impl AuthError {
    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Self { problem: AuthProblem::Missing, message: message.into() }
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self { problem: AuthProblem::Malformed, message: message.into() }
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self { problem: AuthProblem::Refused, message: message.into() }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self { problem: AuthProblem::Unreachable, message: message.into() }
    }

    /// `service` is what we wanted the token from, in words.
    pub(crate) fn unsent(service: &str, error: &SendError) -> Self {
        let problem = match error.class() {
            FaultClass::Timeout => AuthProblem::TimedOut,
            _ => AuthProblem::Unreachable,
        };
        Self { problem, message: format!("no credential from {service}: {error}") }
    }

    /// The token service answered 2xx, but not with what it is documented to answer.
    pub(crate) fn nonsense(service: &str) -> Self {
        Self::unavailable(format!("no credential from {service}: its answer cannot be read"))
    }

    /// The class the router decides by: a credential problem is not cured by asking again at once.
    pub fn class(&self) -> FaultClass {
        match self.problem {
            AuthProblem::Missing | AuthProblem::Malformed | AuthProblem::Refused => {
                FaultClass::Authentication
            }
            AuthProblem::Unreachable => FaultClass::Connection,
            AuthProblem::TimedOut => FaultClass::Timeout,
        }
    }
}
