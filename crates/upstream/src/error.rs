//! What can go wrong between us and a provider's answer.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use faregate_terms::{Fault, FaultClass};

use crate::auth::AuthError;

/// No answer, or no end of it. Names the host; never a credential, a path or a query.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// No connection. The request was not sent.
    #[error("cannot connect to {host}: {cause}")]
    Connect {
        /// Host and port.
        host: String,
        /// Which step failed.
        cause: ConnectCause,
    },
    /// Something took longer than the caller allows.
    #[error("{host} did not {wait} within {}s", after.as_secs_f64())]
    Timeout {
        /// Host and port.
        host: String,
        /// What was waited for.
        wait: Wait,
        /// The limit that was reached.
        after: Duration,
    },
    /// The connection broke after the request was (partly) sent.
    #[error("the connection to {host} broke: {detail}")]
    Broken {
        /// Host and port.
        host: String,
        /// The transport's own words.
        detail: String,
    },
    /// The answer's body is larger than the caller accepts.
    #[error("the answer of {host} is larger than {limit} bytes")]
    TooLarge {
        /// Host and port.
        host: String,
        /// The caller's limit, in bytes.
        limit: usize,
    },
    /// The URL or a header cannot be sent.
    #[error("{0}")]
    Unsendable(String),
    /// The request could not be given its credential.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

/// The step of connecting that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectCause {
    /// The name has no address.
    #[error("the name does not resolve ({0})")]
    Dns(String),
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// The TLS handshake or the certificate check failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The forward proxy refused or did not understand.
    #[error("proxy: {0}")]
    Proxy(String),
    /// Anything else the operating system says.
    #[error("{0}")]
    Other(String),
}

/// What a request was waiting for when its time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wait {
    /// A connection.
    #[error("accept a connection")]
    Connect,
    /// The head of the answer.
    #[error("begin to answer")]
    FirstByte,
    /// The next piece of the body.
    #[error("continue its answer")]
    Idle,
    /// The whole answer.
    #[error("finish its answer")]
    Total,
}

impl SendError {
    /// The class the router decides by.
    pub fn class(&self) -> FaultClass {
        match self {
            Self::Connect { .. } | Self::Broken { .. } => FaultClass::Connection,
            Self::Timeout { .. } => FaultClass::Timeout,
            Self::TooLarge { .. } => FaultClass::BadGateway,
            Self::Unsendable(_) => FaultClass::BadRequest,
            Self::Auth(error) => error.class(),
        }
    }

    /// Whether the provider cannot have seen the request, so that sending it again costs nothing twice.
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Unsendable(_) | Self::Auth(_) => true,
            Self::Timeout { wait, .. } => *wait == Wait::Connect,
            Self::Broken { .. } | Self::TooLarge { .. } => false,
        }
    }
}

impl From<SendError> for Fault {
    fn from(error: SendError) -> Self {
        Fault::new(error.class(), error.to_string())
    }
}

/// The settings do not make a client.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file of certificate authorities cannot be read.
    #[error("cannot read the certificate authorities in {}: {detail}", path.display())]
    CaFile {
        /// The file named by `ssl_verify` or `SSL_CERT_FILE`.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// A proxy URL is not one; its text may hold a password and is not shown.
    #[error(
        "{0} is not a proxy URL; write it as http://host:port, https://host:port or http://user:password@host:port"
    )]
    Proxy(&'static str),
    /// The TLS library refuses.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The resolver refuses its configuration.
    #[error("name resolution cannot be set up: {0}")]
    Dns(String),
}

/// Looks for an error of type `T` in the chain of causes, also inside `io::Error`s, whose own `source`
/// skips the error they wrap.
pub(crate) fn find_cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<T>() {
            return Some(found);
        }
        next = match current.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => current.source(),
        };
    }
    None
}

/// The words of the innermost cause, which are the ones that help.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut current = error;
    loop {
        let inner = match current.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => current.source(),
        };
        match inner {
            Some(inner) => current = inner,
            None => return current.to_string(),
        }
    }
}
