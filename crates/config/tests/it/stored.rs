//! What the database adds to a file.

use std::fs;

use faregate_config::{Stored, Strictness, read_over};
use serde_json::{Map, Value, json};

fn sections(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

#[test]
fn stored_models_credentials_and_settings_join_those_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(
        &file,
        "model_list:\n  - model_name: of-file\n    litellm_params: {model: openai/a, litellm_credential_name: shared}\n\
         credential_list:\n  - credential_name: shared\n    credential_values: {api_key: from-file}\n\
         router_settings: {num_retries: 1, timeout: 5}\n",
    )
    .unwrap();
    let stored = Stored {
        models: vec![
            json!({"model_name": "of-db", "litellm_params": {"model": "openai/b", "api_key": "os.environ/B_KEY", "rpm": 7},
                   "model_info": {"id": "b", "db_model": true}}),
            json!({"model_name": "broken", "litellm_params": {"model": "openai/c", "rpm": "many"}, "model_info": {"id": "c"}}),
        ],
        credentials: vec![json!({"credential_name": "shared", "credential_values": {"api_key": "from-db"}})],
        sections: sections(json!({
            "router_settings": {"num_retries": 4},
            "environment_variables": {"FROM_DB": "yes"},
        })),
    };
    let env = [("B_KEY", "sk-b")].into_iter().collect();
    let reading = read_over(Some(&file), &stored, &env, Strictness::Strict);
    let snapshot = reading.snapshot.unwrap();
    let groups: Vec<&str> = snapshot.deployments.iter().map(|one| one.group.as_str()).collect();
    assert_eq!(groups, ["of-file", "of-db"]);
    assert_eq!(snapshot.deployments[0].params.api_key, Some("from-db".into()), "the stored credential wins");
    assert_eq!(snapshot.deployments[1].id.as_str(), "b");
    assert_eq!(snapshot.deployments[1].params.api_key, Some("sk-b".into()));
    assert_eq!(snapshot.router.num_retries, Some(4), "a stored setting wins");
    assert_eq!(snapshot.router.timeout.unwrap().as_secs(), 5, "the others stay");
    assert_eq!(snapshot.env.get("FROM_DB"), Some("yes"));
    let lines: Vec<String> = reading.findings.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("model `broken` is left out"), "{lines:?}");
    assert_eq!(reading.sources, [file]);
}

#[test]
fn a_database_alone_makes_a_configuration() {
    let stored = Stored {
        models: vec![
            json!({"model_name": "m", "litellm_params": {"model": "openai/m"}, "model_info": {"id": "1"}}),
        ],
        ..Stored::default()
    };
    let reading = read_over(None, &stored, &[("", ""); 0].into_iter().collect(), Strictness::Lenient);
    assert_eq!(reading.snapshot.unwrap().deployments.len(), 1);
    assert_eq!(reading.sources.len(), 0, "there is no file to watch");
}

#[test]
fn what_is_wrong_with_a_model_is_told_before_it_is_stored() {
    let env = [("", ""); 0].into_iter().collect();
    let wrong = json!({"model_name": "m", "litellm_params": {"model": "openai/m", "rpm": "many"}});
    let problems = Stored::default().problems_of(&wrong, &env);
    assert!(problems[0].path.ends_with("litellm_params.rpm"), "{problems:?}");
    let right = json!({"model_name": "m", "litellm_params": {"model": "openai/m", "rpm": "7"}});
    assert!(Stored::default().problems_of(&right, &env).is_empty());
}
