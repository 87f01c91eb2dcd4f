//! From a configuration to a gate: the only file that knows every crate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::{HeaderMap, Method};

use faregate_catalog::{Catalog, Sanity};
use faregate_config::{Diagnostic, Env, ServeEnv, Snapshot};
use faregate_gateway::gate::{Parts, Table, verify};
use faregate_terms::Secret;
use faregate_upstream::{Auth, EnvView, Outgoing, Payload, Proxies, Timeouts, Upstream, UpstreamSettings};

/// The largest price list that is fetched.
const MAX_LIST: usize = 64 * 1024 * 1024;

/// Connections as the environment and the file want them.
///
/// # Errors
/// If a certificate file cannot be read or a proxy URL is none.
pub fn upstream(environment: &ServeEnv, snapshot: &Snapshot, workers: usize) -> anyhow::Result<Upstream> {
    let settings = UpstreamSettings {
        ssl_verify: verify(environment.ssl_verify.as_ref().or(snapshot.litellm.ssl_verify.as_ref())),
        ca_file: environment.ssl_cert_file.clone(),
        proxies: Proxies {
            http: environment.http_proxy.clone(),
            https: environment.https_proxy.clone(),
            no: environment.no_proxy.clone(),
        },
        workers,
        ..UpstreamSettings::default()
    };
    Upstream::new(&settings).context("cannot set up connections to providers")
}

/// Prices and capabilities: the built-in list, with the operator's file or URL in front of it.
///
/// # Errors
/// If a file was named and cannot be used. A URL that cannot be fetched only costs a warning.
pub async fn catalog(environment: &ServeEnv, upstream: &Upstream) -> anyhow::Result<Catalog> {
    let Some(source) =
        environment.model_cost_map_url.as_deref().filter(|_| !environment.local_model_cost_map)
    else {
        return Ok(Catalog::built_in());
    };
    if !source.starts_with("http://") && !source.starts_with("https://") {
        let path = Path::new(source.strip_prefix("file://").unwrap_or(source));
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        return Catalog::with_overrides(&text, Sanity::NONE)
            .with_context(|| format!("{} is no usable model list", path.display()));
    }
    match fetch(source, upstream).await {
        Ok(catalog) => Ok(catalog),
        Err(error) => {
            tracing::warn!(error = %format!("{error:#}"), "the model list was not taken; the built-in one is used");
            Ok(Catalog::built_in())
        }
    }
}

async fn fetch(url: &str, upstream: &Upstream) -> anyhow::Result<Catalog> {
    let limit = Duration::from_secs(10);
    let request = Outgoing {
        method: Method::GET,
        url: url.parse().context("LITELLM_MODEL_COST_MAP_URL is no URL")?,
        headers: HeaderMap::new(),
        body: Payload::default(),
        auth: &Auth::NONE,
        timeouts: Timeouts { total: Some(limit), ..Timeouts::default() },
    };
    let answer = upstream.send(request).await?;
    anyhow::ensure!(answer.status.is_success(), "the server answered {}", answer.status);
    let body = answer.body.collect(MAX_LIST).await?;
    Ok(Catalog::with_overrides(&body, Sanity::DOWNLOAD)?)
}

/// The environment as the data plane reads it.
pub fn view(env: &Env) -> EnvView {
    let env = env.clone();
    EnvView::new(move |name| env.get(name).map(str::to_owned))
}

/// Everything requests are routed by, and what is wrong with deployments that cannot serve.
pub fn table(
    snapshot: &Snapshot,
    upstream: &Upstream,
    catalog: &Arc<Catalog>,
    master_key: Option<Secret>,
) -> (Table, Vec<Diagnostic>) {
    let parts = Parts {
        upstream: upstream.clone(),
        catalog: Arc::clone(catalog),
        env: view(&snapshot.env),
        master_key,
    };
    let (table, skipped) = Table::new(&with_environment(snapshot), parts);
    (table, skipped.into_iter().map(|skipped| skipped.finding).collect())
}

/// What the file leaves open and the environment says.
fn with_environment(snapshot: &Snapshot) -> Snapshot {
    let (environment, _) = ServeEnv::read(&snapshot.env);
    let mut snapshot = snapshot.clone();
    let litellm = &mut snapshot.litellm;
    litellm.drop_params = litellm.drop_params.or(environment.drop_params);
    litellm.modify_params = litellm.modify_params.or(environment.modify_params);
    litellm.request_timeout = litellm.request_timeout.or(environment.request_timeout);
    snapshot
}
