//! From a provider row and a deployment's settings to a credential.

use faregate_catalog::{Auth as Scheme, Provider, Quirk};
use faregate_config::LitellmParams;
use faregate_terms::Secret;
use faregate_upstream::{AuthSpec, AwsSpec, EntraSpec, EnvView, GoogleCredentials};

use super::build::Unusable;

/// The credential of a deployment: its own key or settings first, then the provider's environment variables.
///
/// # Errors
/// If the provider needs a scheme this version does not have, or a key nobody gave.
pub(super) fn spec(
    provider: &Provider,
    params: &LitellmParams,
    own_key: Option<Secret>,
    base: &str,
    region: Option<&str>,
    env: &EnvView,
) -> Result<AuthSpec, Unusable> {
    // The environment's key belongs to the provider, not to whoever answers at another address.
    let is_foreign = provider.has(Quirk::NoEnvKeyWithCustomBase) && params.api_base.is_some();
    let env_key = || {
        let names = provider.key_env.iter().filter(|_| !is_foreign);
        names.into_iter().find_map(|name| env.get(name)).map(Secret::new)
    };
    let default_key = || provider.default_key.map(Secret::from);
    // A deployment that answers by itself needs no account.
    let mocked = params.settings.get("mock_response").is_some_and(|value| !value.is_null());
    let no_key = || mocked.then(|| Secret::from("mocked"));
    let key = || own_key.clone().or_else(env_key).or_else(default_key).or_else(no_key);
    let needed =
        || key().ok_or_else(|| if is_foreign { foreign_base(provider) } else { missing_key(provider) });
    let header = |name: &str, secret: Secret| AuthSpec::Header { name: name.to_owned(), secret };
    let worded =
        |word: &str, key: &Secret| header("authorization", Secret::new(format!("{word} {}", key.expose())));
    Ok(match provider.auth {
        Scheme::None => AuthSpec::None,
        Scheme::Bearer | Scheme::Databricks | Scheme::Snowflake | Scheme::DeviceFlow => {
            AuthSpec::Bearer(needed()?)
        }
        Scheme::BearerIfKey => key().map_or(AuthSpec::None, AuthSpec::Bearer),
        Scheme::Token => worded("Token", &needed()?),
        Scheme::Key => worded("Key", &needed()?),
        Scheme::Basic => worded("Basic", &needed()?),
        Scheme::Query => AuthSpec::Query { name: "key".to_owned(), secret: needed()? },
        Scheme::Header(name) => header(name, needed()?),
        Scheme::Anthropic => {
            let key = needed()?;
            if key.expose().starts_with("sk-ant-oat") {
                AuthSpec::Bearer(key)
            } else {
                header("x-api-key", key)
            }
        }
        Scheme::Azure => match own_key.or_else(|| entra_absent(params).then(env_key).flatten()) {
            Some(key) => header("api-key", key),
            None => AuthSpec::AzureEntra(entra(params)),
        },
        Scheme::AzureFoundry => {
            let key = needed()?;
            let on_azure = ["azure.com", "azure.us", "azure.cn"].iter().any(|host| base.contains(host));
            if on_azure { header("api-key", key) } else { AuthSpec::Bearer(key) }
        }
        Scheme::AwsSigv4 | Scheme::AwsSigv4OrBearer => match own_key.or_else(|| bearer(provider, env)) {
            Some(key) => AuthSpec::Bearer(key),
            None => AuthSpec::Aws(aws(params, region)),
        },
        Scheme::GoogleOauth => AuthSpec::Google { credentials: google(params, env), scopes: Vec::new() },
        Scheme::IbmIam | Scheme::ClientCredentials | Scheme::OciSignature => {
            return Err(Unusable::NotSupported(format!(
                "the auth scheme of provider `{}` ({}) is not supported yet",
                provider.name,
                provider.auth.describe()
            )));
        }
    })
}

/// The keys of a deployment's own, in the order in which they are used.
pub(crate) fn keys(params: &LitellmParams) -> impl Iterator<Item = &Secret> {
    params.api_key.iter().chain(&params.api_keys)
}

/// A provider's own bearer key; AWS's variables are read by the signer.
fn bearer(provider: &Provider, env: &EnvView) -> Option<Secret> {
    let names = provider.key_env.iter().filter(|name| !name.starts_with("AWS_"));
    names.into_iter().find_map(|name| env.get(name)).map(Secret::new)
}

fn foreign_base(provider: &Provider) -> Unusable {
    Unusable::Incomplete(format!(
        "no API key for provider `{}` at an address of your own; set litellm_params.api_key: the \
         environment's key is only sent to the provider itself",
        provider.name
    ))
}

fn missing_key(provider: &Provider) -> Unusable {
    let names = provider.key_env.join(" or ");
    let remedy = if names.is_empty() {
        "set litellm_params.api_key".to_owned()
    } else {
        format!("set litellm_params.api_key or the environment variable {names}")
    };
    Unusable::Incomplete(format!("no API key for provider `{}`; {remedy}", provider.name))
}

fn entra_absent(params: &LitellmParams) -> bool {
    let azure = &params.azure;
    azure.ad_token.is_none() && azure.tenant_id.is_none() && azure.username.is_none()
}

fn entra(params: &LitellmParams) -> EntraSpec {
    let azure = &params.azure;
    EntraSpec {
        token: azure.ad_token.clone(),
        tenant_id: azure.tenant_id.clone(),
        client_id: azure.client_id.clone(),
        client_secret: azure.client_secret.clone(),
        username: azure.username.clone(),
        password: azure.password.clone(),
        scope: azure.scope.clone(),
        authority: None,
    }
}

fn aws(params: &LitellmParams, region: Option<&str>) -> AwsSpec {
    let aws = &params.aws;
    AwsSpec {
        service: "bedrock".to_owned(),
        region: region.map(str::to_owned),
        access_key_id: aws.access_key_id.as_ref().map(|id| id.expose().to_owned()),
        secret_access_key: aws.secret_access_key.clone(),
        session_token: aws.session_token.clone(),
        profile: aws.profile_name.clone(),
        role_name: aws.role_name.clone(),
        session_name: aws.session_name.clone(),
        external_id: aws.external_id.clone(),
        session_tags: aws.session_tags.clone(),
        web_identity_token: aws.web_identity_token.clone(),
        sts_endpoint: aws.sts_endpoint.clone(),
    }
}

fn google(params: &LitellmParams, env: &EnvView) -> GoogleCredentials {
    let own = params.vertex.credentials.as_ref().map(|text| text.expose().to_owned());
    match own.or_else(|| env.first(&["VERTEXAI_CREDENTIALS"])) {
        Some(text) => GoogleCredentials::parse(&text),
        None => GoogleCredentials::Default,
    }
}
