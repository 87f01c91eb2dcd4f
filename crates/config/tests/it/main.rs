//! Files in, snapshots and findings out.

#![expect(clippy::unwrap_used, reason = "a failing set-up is a failing test")]

mod errors;
mod fixtures;
mod includes;
mod keys;
mod pass_through;
mod snapshot;
mod stored;
mod torn;

use std::fs;
use std::path::Path;

use faregate_config::{Env, Loaded, Reading, Strictness, load, read};

/// An environment in which every variable the fixtures name is set.
fn full_env() -> Env {
    [
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "AZURE_API_KEY",
        "AZURE_API_BASE",
        "LITELLM_MASTER_KEY",
        "DATABASE_URL",
        "REDIS_HOST",
        "REDIS_PASSWORD",
        "GOOGLE_CLIENT_ID",
        "GOOGLE_CLIENT_SECRET",
        "VAULT_TOKEN",
    ]
    .map(|name| (name, format!("sk-value-of-{name}")))
    .into_iter()
    .collect()
}

/// Reads `text` as the file `config.yaml` of an otherwise empty folder. Findings name it without the folder.
fn read_text(text: &str, env: &Env, strictness: Strictness) -> (Reading, Vec<String>) {
    read_files(&[("config.yaml", text.as_bytes())], env, strictness)
}

/// The same with several files; the first is read.
fn read_files(files: &[(&str, &[u8])], env: &Env, strictness: Strictness) -> (Reading, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let reading = read(&folder.path().join(files[0].0), env, strictness);
    let base = format!("{}/", folder.path().display());
    let lines = reading.findings.iter().map(|found| found.to_string().replace(&base, "")).collect();
    (reading, lines)
}

/// The findings of one file.
fn findings(text: &str) -> Vec<String> {
    read_text(text, &full_env(), Strictness::Lenient).1
}

/// A file that must load.
fn loaded(text: &str, env: &Env) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    fs::write(&path, text).unwrap();
    load(&path, env, Strictness::Lenient).unwrap()
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}
