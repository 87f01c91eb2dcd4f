//! `faregate models`: what can be called.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use faregate_catalog::{Catalog, Operation, providers, resolve};
use faregate_config::{Env, Strictness, load};

/// Prints a config's models with their providers, or all providers.
///
/// # Errors
/// If the config is refused or nothing can be printed.
pub fn run(config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let Some(path) = config else {
        for provider in providers() {
            let chat = if provider.serves(Operation::Chat) { "chat" } else { "-" };
            writeln!(out, "{:<24} {:<5} {}", provider.name, chat, provider.key_env.join(", "))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let catalog = Catalog::built_in();
    let loaded = load(path, &Env::process(), Strictness::Lenient)?;
    for deployment in &loaded.snapshot.deployments {
        let params = &deployment.params;
        let found = resolve(&params.model, params.provider.as_deref(), params.api_base.as_deref(), &catalog);
        let provider = found.map_or_else(|_| "?".to_owned(), |found| found.provider.name.to_owned());
        writeln!(out, "{:<32} {:<16} {:<40} {}", deployment.group, provider, params.model, deployment.id)?;
    }
    Ok(ExitCode::SUCCESS)
}
