//! Which credential, in which order.

use std::path::Path;

use faregate_terms::Secret;

use super::profile::{self, Base, Profiles};
use super::sts::{AssumeRole, Sts};
use super::{Aws, Keys, machine};
use crate::auth::AuthError;
use crate::auth::subject::SubjectToken;
use crate::auth::token::Lease;
use crate::env::EnvView;

const SESSION_NAME: &str = "faregate";

impl Aws {
    /// What the spec names, else the ambient chain.
    pub(super) async fn fetch(&self) -> Result<Lease<Keys>, AuthError> {
        let spec = &self.spec;
        let Some(role) = &spec.role_name else {
            return match &spec.web_identity_token {
                Some(_) => Err(AuthError::missing(
                    "aws_web_identity_token needs aws_role_name: the role it may assume",
                )),
                None => self.own_or_ambient().await,
            };
        };
        if let Some(token) = &spec.web_identity_token {
            let token = SubjectToken::parse(token.expose()).read(&self.env, &self.transport).await?;
            return self.sts().assume_with_token(role, self.session_name(), &token).await;
        }
        let base = self.own_or_ambient().await?;
        // A pod whose service account already is this role need not, and usually may not, assume it again.
        if self.names_no_key() && self.env.get("AWS_ROLE_ARN").as_ref() == Some(role) {
            return Ok(base);
        }
        let wish = AssumeRole {
            role,
            session_name: self.session_name(),
            external_id: spec.external_id.as_deref(),
            tags: &spec.session_tags,
        };
        self.sts().assume(&base.value, &wish).await
    }

    fn names_no_key(&self) -> bool {
        self.spec.access_key_id.is_none() && self.spec.profile.is_none()
    }

    fn session_name(&self) -> &str {
        self.spec.session_name.as_deref().unwrap_or(SESSION_NAME)
    }

    fn sts(&self) -> Sts<'_> {
        Sts { transport: &self.transport, region: &self.region, endpoint: self.spec.sts_endpoint.as_deref() }
    }

    async fn own_or_ambient(&self) -> Result<Lease<Keys>, AuthError> {
        let spec = &self.spec;
        if let Some(profile) = &spec.profile {
            let profiles = Profiles::read(&self.env).await;
            return self.follow_profile(&profiles, profile).await;
        }
        match (&spec.access_key_id, &spec.secret_access_key) {
            (Some(id), Some(secret)) => Ok(Keys {
                access_key_id: id.clone(),
                secret_access_key: secret.clone(),
                session_token: spec.session_token.clone(),
            }
            .lasting()),
            (Some(_), None) => {
                Err(AuthError::missing("aws_access_key_id is set and aws_secret_access_key is not"))
            }
            (None, _) => self.ambient().await,
        }
    }

    /// What AWS's own tools try when nothing is said, in their order.
    async fn ambient(&self) -> Result<Lease<Keys>, AuthError> {
        let env = &self.env;
        if let Some(keys) = environment_keys(env) {
            return Ok(keys.lasting());
        }
        if let (Some(file), Some(role)) = (env.get("AWS_WEB_IDENTITY_TOKEN_FILE"), env.get("AWS_ROLE_ARN")) {
            return self.with_token_file(&role, self.session_name(), Path::new(&file)).await;
        }
        let profiles = Profiles::read(env).await;
        let named = env.first(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]);
        if let Some(name) = &named {
            return self.follow_profile(&profiles, name).await;
        }
        if profiles.has_credential(profile::DEFAULT) {
            return self.follow_profile(&profiles, profile::DEFAULT).await;
        }
        if let Some(found) = machine::container(env, &self.transport).await? {
            return Ok(found);
        }
        machine::instance(env, &self.transport).await
    }

    async fn with_token_file(
        &self,
        role: &str,
        session: &str,
        file: &Path,
    ) -> Result<Lease<Keys>, AuthError> {
        let token = SubjectToken::File(file.to_owned()).read(&self.env, &self.transport).await?;
        self.sts().assume_with_token(role, session, &token).await
    }

    /// The keys a profile ends in, then each role on the way back to it.
    async fn follow_profile(&self, profiles: &Profiles, name: &str) -> Result<Lease<Keys>, AuthError> {
        let plan = profiles.plan(name)?;
        let mut lease = match plan.base {
            Base::Keys(keys) => keys.lasting(),
            Base::WebIdentity { role, session, file } => {
                self.with_token_file(&role, session.as_deref().unwrap_or(SESSION_NAME), &file).await?
            }
            Base::Process(command) => machine::process(&command).await?,
            Base::Environment => environment_keys(&self.env).map(Keys::lasting).ok_or_else(|| {
                AuthError::missing(format!(
                    "AWS profile `{name}` takes its keys from the environment, and AWS_ACCESS_KEY_ID or \
                     AWS_SECRET_ACCESS_KEY is not set"
                ))
            })?,
            Base::Container => machine::container(&self.env, &self.transport).await?.ok_or_else(|| {
                AuthError::missing(format!(
                    "AWS profile `{name}` takes its keys from the container, and this is none"
                ))
            })?,
            Base::Instance => machine::instance(&self.env, &self.transport).await?,
        };
        for step in plan.roles {
            let wish = AssumeRole {
                role: &step.role,
                session_name: step.session.as_deref().unwrap_or(self.session_name()),
                external_id: step.external_id.as_deref(),
                tags: &[],
            };
            lease = self.sts().assume(&lease.value, &wish).await?;
        }
        Ok(lease)
    }
}

fn environment_keys(env: &EnvView) -> Option<Keys> {
    Some(Keys {
        access_key_id: env.get("AWS_ACCESS_KEY_ID")?,
        secret_access_key: env.get("AWS_SECRET_ACCESS_KEY")?.into(),
        session_token: env.get("AWS_SESSION_TOKEN").map(Secret::from),
    })
}
