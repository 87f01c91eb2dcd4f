//! From a configuration to a gate: the only file that knows every crate.

use std::sync::Arc;

use anyhow::Context;

use faregate_catalog::Catalog;
use faregate_config::{DeploymentConfig, Diagnostic, Env, ServeEnv, Snapshot};
use faregate_gateway::gate::{Parts, Table, verify};
use faregate_store::Store;
use faregate_terms::Secret;
use faregate_upstream::{EnvView, Proxies, Upstream, UpstreamSettings};
use serde_json::Value;

use crate::answers;

/// Connections as the environment and the file want them.
///
/// # Errors
/// If a certificate file cannot be read or a proxy URL is none.
pub fn upstream(environment: &ServeEnv, snapshot: &Snapshot, workers: usize) -> anyhow::Result<Upstream> {
    let settings = connections(environment, snapshot, workers);
    Upstream::new(&settings).context("cannot set up connections to providers")
}

/// How connections are made.
pub(crate) fn connections(environment: &ServeEnv, snapshot: &Snapshot, workers: usize) -> UpstreamSettings {
    UpstreamSettings {
        ssl_verify: verify(environment.ssl_verify.as_ref().or(snapshot.litellm.ssl_verify.as_ref())),
        ca_file: environment.ssl_cert_file.clone(),
        proxies: Proxies {
            http: environment.http_proxy.clone(),
            https: environment.https_proxy.clone(),
            no: environment.no_proxy.clone(),
        },
        workers,
        ..UpstreamSettings::default()
    }
}

/// The environment as the data plane reads it.
pub fn view(env: &Env) -> EnvView {
    let env = env.clone();
    EnvView::new(move |name| env.get(name).map(str::to_owned))
}

/// Everything requests are routed by, and what is wrong with deployments and a cache that cannot serve. The
/// database, if it is there already, is for a cache that keeps vectors in it.
pub fn table(
    snapshot: &Snapshot,
    upstream: &Upstream,
    catalog: &Arc<Catalog>,
    master_key: Option<Secret>,
    store: Option<&Store>,
) -> (Table, Vec<Diagnostic>) {
    let (answers, finding) = answers::cache(snapshot, upstream, store);
    let parts = Parts {
        upstream: upstream.clone(),
        catalog: Arc::clone(catalog),
        env: view(&snapshot.env),
        master_key,
        answers,
    };
    let (table, skipped) = Table::new(&with_environment(snapshot), parts);
    (table, skipped.into_iter().map(|skipped| skipped.finding).chain(finding).collect())
}

/// What the file leaves open and the environment says.
fn with_environment(snapshot: &Snapshot) -> Snapshot {
    let (environment, _) = ServeEnv::read(&snapshot.env);
    let mut snapshot = snapshot.clone();
    let litellm = &mut snapshot.litellm;
    litellm.drop_params = litellm.drop_params.or(environment.drop_params);
    litellm.modify_params = litellm.modify_params.or(environment.modify_params);
    litellm.request_timeout = litellm.request_timeout.or(environment.request_timeout);
    let checks = &mut snapshot.general.checks;
    checks.interval = checks.interval.or(environment.check_interval);
    checks.timeout = environment.check_timeout;
    checks.prompt = environment.check_prompt;
    checks.max_tokens = environment.check_max_tokens;
    checks.max_tokens_reasoning = environment.check_max_tokens_reasoning;
    checks.drain_time = environment.graceful_shutdown_timeout;
    checks.drain_token = checks.drain_token.take().or(environment.drain_token);
    snapshot.deployments.iter_mut().for_each(read_routes);
    snapshot
}

/// Puts the routes of an auto router in the place of their file's name; a file that cannot be read is complained of
/// where they are used.
fn read_routes(deployment: &mut DeploymentConfig) {
    let settings = &mut deployment.params.settings;
    if settings.get("auto_router_config").is_some() {
        return;
    }
    let path = settings.get("auto_router_config_path").and_then(Value::as_str).map(str::to_owned);
    if let Some(text) = path.and_then(|path| std::fs::read_to_string(path).ok()) {
        settings.insert("auto_router_config".to_owned(), Value::String(text));
    }
}
