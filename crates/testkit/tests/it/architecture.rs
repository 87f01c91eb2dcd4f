//! Dependencies point down: every crate's direct dependencies on others of the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Who may know whom. A new line or a new name here is a decision about the architecture; see
/// docs/architecture.md.
const ALLOWED: &[(&str, &[&str])] = &[
    ("faregate-terms", &[]),
    ("faregate-wire", &["faregate-terms"]),
    ("faregate-catalog", &["faregate-terms"]),
    ("faregate-router", &["faregate-terms"]),
    ("faregate-state", &["faregate-terms"]),
    ("faregate-store", &["faregate-terms"]),
    ("faregate-upstream", &["faregate-terms"]),
    ("faregate-config", &["faregate-terms"]),
    (
        "faregate-gateway",
        &[
            "faregate-catalog",
            "faregate-config",
            "faregate-journal",
            "faregate-router",
            "faregate-state",
            "faregate-terms",
            "faregate-upstream",
            "faregate-wire",
        ],
    ),
    ("faregate-integrations", &["faregate-config", "faregate-state", "faregate-terms", "faregate-upstream"]),
    ("faregate-journal", &["faregate-terms"]),
    ("faregate-fake-provider", &[]),
    (
        "faregate-admin",
        &[
            "faregate-catalog",
            "faregate-config",
            "faregate-integrations",
            "faregate-router",
            "faregate-state",
            "faregate-store",
            "faregate-terms",
        ],
    ),
    (
        "faregate",
        &[
            "faregate-admin",
            "faregate-catalog",
            "faregate-config",
            "faregate-fake-provider",
            "faregate-gateway",
            "faregate-integrations",
            "faregate-journal",
            "faregate-state",
            "faregate-store",
            "faregate-terms",
            "faregate-upstream",
        ],
    ),
];

/// What only some crates may use.
const FENCES: &[(&str, &[&str])] = &[
    ("clap", &["faregate", "faregate-fake-provider", "faregate-loadgen"]),
    ("granit-parser", &["faregate-config"]),
    ("hyper-rustls", &["faregate-upstream"]),
    ("tikv-jemallocator", &["faregate"]),
    ("notify", &["faregate"]),
    ("redis", &["faregate-state"]),
    ("sqlx", &["faregate-store", "faregate-testkit"]),
];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter().map(|package| {
        let normal = package["dependencies"].as_array().unwrap().iter().filter(|one| one["kind"].is_null());
        let names = normal.map(|one| one["name"].as_str().unwrap().to_owned()).collect();
        (package["name"].as_str().unwrap().to_owned(), names)
    });
    packages.collect()
}

#[test]
fn crates_know_only_what_the_layout_lets_them_know() {
    let packages = dependencies();
    for (name, allowed) in ALLOWED {
        let within: Vec<&str> = packages[*name]
            .iter()
            .map(String::as_str)
            .filter(|dependency| packages.contains_key(*dependency))
            .collect();
        assert_eq!(&within, allowed, "{name}");
    }
    let listed: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    for name in
        packages.keys().filter(|name| !matches!(name.as_str(), "faregate-testkit" | "faregate-loadgen"))
    {
        assert!(listed.contains(name.as_str()), "{name} has no line in the table");
    }
}

#[test]
fn fenced_libraries_stay_behind_their_fence() {
    for (name, dependencies) in dependencies() {
        for (library, holders) in FENCES {
            let fits = !dependencies.contains(*library) || holders.contains(&name.as_str());
            assert!(fits, "{name} must not use {library}");
        }
    }
}
