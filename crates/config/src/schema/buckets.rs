//! The buckets of `litellm_settings.cache_params`. Source: compat, config §2.1.

use faregate_terms::Secret;

use super::litellm::SslVerify;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;

/// A bucket of S3, or of what speaks like it. What is absent comes from AWS's own variables and files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct S3Settings {
    /// Its name; empty if none is named.
    pub bucket: String,
    /// Where it is.
    pub region: Option<String>,
    /// The server, when it is not Amazon's.
    pub endpoint: Option<String>,
    /// Whether Amazon's server is asked over TLS; true when absent.
    pub use_ssl: Option<bool>,
    /// Whether and against what the server's certificate is checked, if otherwise than everybody's.
    pub verify: Option<SslVerify>,
    /// Long-lived or temporary key.
    pub access_key_id: Option<String>,
    /// Belongs to `access_key_id`.
    pub secret_access_key: Option<Secret>,
    /// Belongs to `access_key_id` when that is temporary.
    pub session_token: Option<Secret>,
    /// In front of the name of every object.
    pub folder: Option<String>,
}

/// A bucket of Google Cloud Storage.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GcsSettings {
    /// Its name; `GCS_BUCKET_NAME` when absent.
    pub bucket: Option<String>,
    /// The server, when it is not Google's.
    pub endpoint: Option<String>,
    /// A key file; `GCS_PATH_SERVICE_ACCOUNT`, then Google's application default credentials when absent.
    pub service_account: Option<String>,
    /// In front of the name of every object.
    pub folder: Option<String>,
}

/// A container of Azure Blob Storage. Who asks is said by the `AZURE_*` variables.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AzureSettings {
    /// `https://<account>.blob.core.windows.net`; empty if none is named.
    pub account_url: String,
    /// Its name; empty if none is named.
    pub container: String,
}

impl S3Settings {
    pub(super) fn read(needed: bool, params: &mut Fields<'_>) -> Self {
        Self {
            bucket: required(needed, params, "s3_bucket_name", "name the bucket that keeps the answers"),
            region: params.filled("s3_region_name"),
            endpoint: params.filled("s3_endpoint_url"),
            use_ssl: params.flag("s3_use_ssl"),
            verify: params.filled("s3_verify").map(|text| SslVerify::parse(&text)),
            access_key_id: params.filled("s3_aws_access_key_id"),
            secret_access_key: params.secret("s3_aws_secret_access_key"),
            session_token: params.secret("s3_aws_session_token"),
            folder: params.filled("s3_path"),
        }
    }
}

impl GcsSettings {
    pub(super) fn read(params: &mut Fields<'_>) -> Self {
        Self {
            bucket: params.filled("gcs_bucket_name"),
            endpoint: params.filled("gcs_endpoint_url"),
            service_account: params.filled("gcs_path_service_account"),
            folder: params.filled("gcs_path"),
        }
    }
}

impl AzureSettings {
    pub(super) fn read(needed: bool, params: &mut Fields<'_>) -> Self {
        let account = "write it as https://<account>.blob.core.windows.net";
        let container = "name the container that keeps the answers";
        Self {
            account_url: required(needed, params, "azure_account_url", account),
            container: required(needed, params, "azure_blob_container", container),
        }
    }
}

/// The text of a key that the type cannot do without; empty, and an error, if it is missing.
pub(super) fn required(needed: bool, params: &mut Fields<'_>, key: &str, remedy: &str) -> String {
    let given = params.filled(key);
    if given.is_none() && needed {
        let kind = params.filled("type").unwrap_or_default();
        let message = format!("`type: {kind}` needs it");
        let found = Diagnostic::error(Some(&params.node.at), params.at(key), message);
        params.findings.push(found.remedy(remedy));
    }
    given.unwrap_or_default()
}
