//! The schemes by which providers accept a request, one file each; [`AuthSpec`] is the registry.
//!
//! A new scheme is a file here, a variant of [`AuthSpec`] and a line in `Auth::new`.

mod aws;
mod entra;
mod error;
mod google;
mod header;
mod oauth;
mod query;
mod subject;
mod token;

use std::sync::{Arc, Weak};

use faregate_terms::Secret;
use http::request;
use parking_lot::Mutex;

pub use aws::{AwsSpec, aws_region};
pub use entra::EntraSpec;
pub use error::{AuthError, AuthProblem};
pub use google::{CLOUD_PLATFORM, GoogleCredentials};

use crate::client::Transport;
use crate::env::EnvView;
use crate::payload::Payload;
use aws::Aws;
use entra::Entra;
use google::Google;
use header::Header;
use query::Query;

/// What a deployment authenticates with. Nothing is checked against a provider until it is used.
#[derive(Debug, Clone, PartialEq)]
pub enum AuthSpec {
    /// No credential.
    None,
    /// `authorization: Bearer <key>`.
    Bearer(Secret),
    /// A header of any name with the secret as its whole value: `x-api-key`, `api-key`, `x-goog-api-key`,
    /// `xi-api-key`; or `authorization` with a value such as `Token <key>` or `Key <key>`.
    Header {
        /// The header's name, in any case.
        name: String,
        /// Its whole value.
        secret: Secret,
    },
    /// A query parameter, such as Google's `key`.
    Query {
        /// The parameter's name.
        name: String,
        /// Its value, not encoded.
        secret: Secret,
    },
    /// A Microsoft Entra ID (Azure AD) token.
    AzureEntra(EntraSpec),
    /// A Google access token.
    Google {
        /// Whose.
        credentials: GoogleCredentials,
        /// For what; none means [`CLOUD_PLATFORM`].
        scopes: Vec<String>,
    },
    /// AWS Signature Version 4; or, for Bedrock with `AWS_BEARER_TOKEN_BEDROCK` set and no credential of its
    /// own, that key as a bearer.
    Aws(AwsSpec),
}

/// Applies one credential to requests; renews it where it expires. Kept per deployment.
#[derive(Debug)]
pub struct Auth(Scheme);

#[derive(Debug)]
enum Scheme {
    None,
    Header(Header),
    Query(Query),
    Entra(Entra),
    Google(Google),
    Aws(Box<Aws>),
}

impl Auth {
    /// Applies nothing.
    pub const NONE: Self = Self(Scheme::None);

    fn new(spec: &AuthSpec, env: &EnvView, transport: &Transport) -> Result<Self, AuthError> {
        Ok(Self(match spec {
            AuthSpec::None => Scheme::None,
            AuthSpec::Bearer(key) => Scheme::Header(Header::bearer(key)?),
            AuthSpec::Header { name, secret } => Scheme::Header(Header::new(name, secret)?),
            AuthSpec::Query { name, secret } => Scheme::Query(Query::new(name, secret)),
            AuthSpec::AzureEntra(spec) => Scheme::Entra(Entra::new(spec.clone(), env, transport)),
            AuthSpec::Google { credentials, scopes } => {
                Scheme::Google(Google::new(credentials.clone(), scopes, env, transport))
            }
            AuthSpec::Aws(spec) => match spec.bearer_key(env) {
                Some(key) => Scheme::Header(Header::bearer(&key)?),
                None => Scheme::Aws(Box::new(Aws::new(spec.clone(), env, transport))),
            },
        }))
    }

    /// Makes the request acceptable to its provider. `parts` and `body` must be final: some schemes sign them.
    /// May fetch or renew a token first; callers that come meanwhile wait for the same one.
    pub async fn apply(&self, parts: &mut request::Parts, body: &Payload) -> Result<(), AuthError> {
        match &self.0 {
            Scheme::None => Ok(()),
            Scheme::Header(header) => {
                header.apply(parts);
                Ok(())
            }
            Scheme::Query(query) => query.apply(parts),
            // Boxed, since every request would carry the room that fetching a token takes.
            Scheme::Entra(entra) => Box::pin(entra.apply(parts)).await,
            Scheme::Google(google) => Box::pin(google.apply(parts)).await,
            Scheme::Aws(aws) => Box::pin(aws.apply(parts, &body.whole())).await,
        }
    }

    /// The Google project that the credential names (or, on Google's own machines, the machine's), for
    /// deployments that set none; `None` for every other scheme. Asked once, then remembered.
    pub async fn project_id(&self) -> Result<Option<String>, AuthError> {
        match &self.0 {
            Scheme::Google(google) => Box::pin(google.project_id()).await,
            _ => Ok(None),
        }
    }
}

/// The authenticators in use, so that deployments with the same credential share its token.
#[derive(Debug, Default)]
pub(crate) struct Authenticators(Mutex<Vec<Known>>);

#[derive(Debug)]
struct Known {
    spec: AuthSpec,
    env: EnvView,
    auth: Weak<Auth>,
}

impl Authenticators {
    pub(crate) fn get(
        &self,
        spec: AuthSpec,
        env: &EnvView,
        transport: &Transport,
    ) -> Result<Arc<Auth>, AuthError> {
        let mut all = self.0.lock();
        all.retain(|known| known.auth.strong_count() > 0);
        let same = all.iter().find(|known| known.spec == spec && known.env == *env);
        if let Some(auth) = same.and_then(|known| known.auth.upgrade()) {
            return Ok(auth);
        }
        let auth = Arc::new(Auth::new(&spec, env, transport)?);
        all.push(Known { spec, env: env.clone(), auth: Arc::downgrade(&auth) });
        Ok(auth)
    }
}
