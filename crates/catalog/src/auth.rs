//! How a provider wants its credential; the schemes themselves are carried out by `upstream`.

use serde::Deserialize;

/// The closed list of auth schemes a provider row may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// No credential is sent.
    None,
    /// `Authorization: Bearer <key>`.
    Bearer,
    /// As [`Auth::Bearer`]; nothing is sent when there is no key.
    BearerIfKey,
    /// `Authorization: Token <key>`.
    Token,
    /// `Authorization: Key <key>`.
    Key,
    /// `Authorization: Basic <base64>`.
    Basic,
    /// The key is a parameter of the query string.
    Query,
    /// The key itself in the named header.
    Header(&'static str),
    /// `x-api-key: <key>`; a key that starts with `sk-ant-oat` is an OAuth token and goes as Bearer.
    Anthropic,
    /// `api-key: <key>`, or Bearer with a Microsoft Entra ID token.
    Azure,
    /// `api-key: <key>` on Azure hosts, Bearer elsewhere.
    AzureFoundry,
    /// AWS Signature Version 4.
    AwsSigv4,
    /// Bearer when a Bedrock API key is given, else AWS Signature Version 4.
    AwsSigv4OrBearer,
    /// Bearer with a Google OAuth2 access token (service account, ADC, workload identity).
    GoogleOauth,
    /// Bearer with a Databricks personal access token, or one got by OAuth client credentials.
    Databricks,
    /// Bearer with a token from an interactive device login.
    DeviceFlow,
    /// Bearer with an IBM IAM token, or `ZenApiKey`.
    IbmIam,
    /// Bearer with a token from the provider's own client-credentials exchange.
    ClientCredentials,
    /// HTTP signature with RSA-SHA256 (Oracle Cloud).
    OciSignature,
    /// Bearer plus the header that says which kind of Snowflake token it is.
    Snowflake,
}

impl Auth {
    /// One short phrase for tables and messages.
    pub fn describe(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Bearer => "Bearer".to_owned(),
            Self::BearerIfKey => "Bearer (optional)".to_owned(),
            Self::Token => "Authorization: Token".to_owned(),
            Self::Key => "Authorization: Key".to_owned(),
            Self::Basic => "Basic".to_owned(),
            Self::Query => "query parameter".to_owned(),
            Self::Header(name) => format!("header {name}"),
            Self::Anthropic => "x-api-key, or Bearer for OAuth tokens".to_owned(),
            Self::Azure => "api-key, or Entra ID token".to_owned(),
            Self::AzureFoundry => "api-key on Azure hosts, else Bearer".to_owned(),
            Self::AwsSigv4 => "AWS SigV4".to_owned(),
            Self::AwsSigv4OrBearer => "AWS SigV4, or Bearer".to_owned(),
            Self::GoogleOauth => "Google OAuth2".to_owned(),
            Self::Databricks => "Bearer (PAT or OAuth)".to_owned(),
            Self::DeviceFlow => "device login".to_owned(),
            Self::IbmIam => "IBM IAM token".to_owned(),
            Self::ClientCredentials => "OAuth client credentials".to_owned(),
            Self::OciSignature => "OCI request signature".to_owned(),
            Self::Snowflake => "Snowflake token".to_owned(),
        }
    }
}
