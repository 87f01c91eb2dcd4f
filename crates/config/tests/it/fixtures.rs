//! Files others wrote.

use std::fs;
use std::time::Duration;

use faregate_config::{Diagnostic, Strategy, Strictness, load};
use faregate_terms::{ModelGroup, Secret};

use crate::{fixture, full_env};

#[test]
fn every_example_of_the_field_loads() {
    let mut count = 0;
    for entry in fs::read_dir(fixture("seeds")).unwrap() {
        let mut path = entry.unwrap().path();
        if path.is_dir() {
            path.push("config.yml");
        }
        let loaded = load(&path, &full_env(), Strictness::Strict)
            .unwrap_or_else(|refused| panic!("{}: {refused}", path.display()));
        let lines: Vec<String> = loaded.warnings.iter().map(Diagnostic::to_string).collect();
        assert!(lines.is_empty(), "{lines:?}");
        count += 1;
    }
    assert_eq!(count, 16);
}

#[test]
fn the_settings_of_the_examples_arrive() {
    let load =
        |name: &str| load(&fixture("seeds").join(name), &full_env(), Strictness::Strict).unwrap().snapshot;

    let access = load("access_control.yaml");
    assert_eq!(access.master_key(), Some(Secret::from("sk-master-key-here")));
    assert_eq!(access.general.authentication.api_key_header.as_deref(), Some("Authorization"));
    assert_eq!(access.deployments[0].metadata["team"], "engineering");
    assert_eq!(access.deployments[0].metadata["max_requests_per_minute"], 100);

    let balanced = load("load_balancing.yaml");
    assert_eq!(balanced.router.strategy, Strategy::LeastBusy);
    assert_eq!(balanced.router.num_retries, Some(3));
    assert_eq!(balanced.router.timeout, Some(Duration::from_secs(30)));
    let fallbacks = &balanced.fallbacks.general[&ModelGroup::from("gpt-4")];
    assert_eq!(fallbacks[0].group.as_str(), "gpt-4-fallback");
    assert_eq!(balanced.deployments.iter().filter_map(|one| one.params.rpm).collect::<Vec<_>>(), [100, 200]);

    let folder = load("models_folder/config.yml");
    let groups: Vec<&str> = folder.deployments.iter().map(|one| one.group.as_str()).collect();
    assert_eq!(groups, ["gpt-4o", "claude-3"]);
    assert_eq!(folder.deployments[0].params.api_key, Some(Secret::from("sk-value-of-OPENAI_API_KEY")));
    assert_eq!(folder.sources.len(), 4, "two models files, their folder and the file itself");
}

#[test]
fn deployment_ids_are_those_of_litellm() {
    let env =
        [("ID_MODEL", "openai/gpt-4o-mini"), ("ID_RPM", "100"), ("ID_FLAG", "True")].into_iter().collect();
    let loaded = load(&fixture("ids/config.yaml"), &env, Strictness::Lenient).unwrap();
    let deployments = loaded.snapshot.deployments.iter().filter(|one| !one.id.as_str().ends_with("-2"));
    let ours: Vec<String> = deployments.map(|one| format!("{}\t{}", one.group, one.id)).collect();
    let theirs = fs::read_to_string(fixture("ids/ids.txt")).unwrap();
    assert_eq!(ours, theirs.lines().collect::<Vec<_>>());
}

#[test]
fn the_reference_page_is_up_to_date() {
    let page = fixture("../../../../docs/reference/config.md");
    assert!(
        fs::read_to_string(page).unwrap() == faregate_config::reference_markdown(),
        "run `cargo run -q -p faregate-config --example reference > docs/reference/config.md`"
    );
}
