//! What the operator says of new keys.

use std::sync::Arc;

use faregate_config::Snapshot;
use faregate_store::ConfigRow;
use serde_json::{Value, json};

use crate::world::World;

async fn world_with(settings: Value) -> World {
    let world = World::new().await;
    let mut snapshot = Snapshot::clone(&world.admin.snapshot.load());
    snapshot.litellm.key_rules.0 = settings.as_object().cloned().unwrap();
    world.admin.snapshot.store(Arc::new(snapshot));
    world
}

#[tokio::test]
async fn no_key_has_more_than_the_upper_bounds_and_each_has_at_most_them() {
    let world = world_with(json!({"upperbound_key_generate_params": {
        "max_budget": 10, "budget_duration": "30d", "duration": "90d", "rpm_limit": "100",
    }}))
    .await;
    let made = world.post("master", "/key/generate", json!({})).await.ok();
    assert_eq!((&made["max_budget"], &made["rpm_limit"]), (&json!(10.0), &json!(100)));
    assert!(made["expires"].is_string() && made["budget_duration"] == "30d", "{made}");
    let key = made["key"].as_str().unwrap();
    for (field, value) in [
        ("max_budget", json!(11)),
        ("rpm_limit", json!(101)),
        ("duration", json!("91d")),
        ("duration", json!("-1")),
        ("budget_duration", json!("60d")),
    ] {
        let over = format!("{field} is over max limit set in config");
        if field != "duration" || value != "-1" {
            let got = world.post("solo", "/key/generate", json!({ field: value.clone() })).await;
            got.refused(400, &over);
        }
        let got = world.post("master", "/key/update", json!({"key": key, field: value.clone()})).await;
        got.refused(400, &over);
        let got = world.post("master", "/key/regenerate", json!({"key": key, field: value})).await;
        got.refused(400, &over);
    }
    let within = json!({"max_budget": 10, "duration": "90d", "budget_duration": "1d"});
    world.post("solo", "/key/generate", within).await.ok();
    world.post("master", "/key/update", json!({"key": key, "key_alias": "x"})).await.ok();
}

#[tokio::test]
async fn a_new_key_takes_the_defaults_for_what_it_does_not_ask() {
    let world = world_with(json!({"default_key_generate_params": {
        "max_budget": 3, "models": ["a"], "metadata": {"from": "config"}, "duration": "1d",
        "allowed_routes": ["/chat/completions"],
    }}))
    .await;
    let made = world.post("solo", "/key/generate", json!({})).await.ok();
    assert_eq!((&made["max_budget"], &made["models"]), (&json!(3.0), &json!(["a"])));
    assert_eq!(made["metadata"], json!({"from": "config"}));
    assert_eq!(made["allowed_routes"], json!(["/chat/completions"]));
    let asked = json!({"max_budget": 4, "models": ["b"], "metadata": {"own": 1}, "key_type": "llm_api"});
    let made = world.post("solo", "/key/generate", asked).await.ok();
    assert_eq!((&made["max_budget"], &made["models"]), (&json!(4.0), &json!(["b"])));
    assert_eq!(made["metadata"], json!({"own": 1}));
    assert_eq!(made["allowed_routes"], json!(["llm_api_routes"]));
}

#[tokio::test]
async fn the_operator_says_who_makes_keys_and_what_they_must_name() {
    let world = world_with(json!({"key_generation_settings": {
        "team_key_generation": {"allowed_team_member_roles": ["admin"], "required_params": ["tags"]},
        "personal_key_generation": {"allowed_user_roles": ["proxy_admin"]},
    }}))
    .await;
    let grant = json!({"team_id": "mine", "team_member_permissions": ["/key/generate"]});
    world.post("lead", "/team/permissions_update", grant).await.ok();
    world.post("solo", "/key/generate", json!({})).await.refused(400, "Personal key creation");
    world.post("root", "/key/generate", json!({})).await.ok();
    let tagged = json!({"team_id": "mine", "tags": ["a"]});
    world.post("member", "/key/generate", tagged.clone()).await.refused(400, "allowed_team_member_roles");
    let got = world.post("lead", "/key/generate", json!({"team_id": "mine"})).await;
    got.refused(400, "Required param tags not in data");
    world.post("lead", "/key/generate", tagged).await.ok();
    world.post("root", "/key/generate", json!({"team_id": "mine"})).await.ok();
}

#[tokio::test]
async fn what_is_stored_in_the_database_wins_over_the_file() {
    let world = world_with(json!({
        "upperbound_key_generate_params": {"max_budget": 10},
        "default_key_generate_params": {"rpm_limit": 7},
    }))
    .await;
    let mut row = ConfigRow {
        param_name: "litellm_settings".to_owned(),
        param_value: json!({"upperbound_key_generate_params": {"max_budget": 20}, "drop_params": true}),
        ..ConfigRow::default()
    };
    world.admin.store.put(&row, world.admin.now()).await.unwrap();
    let made = world.post("master", "/key/generate", json!({"max_budget": 15})).await.ok();
    assert_eq!(made["rpm_limit"], 7);
    // A bound that cannot be read is not left out.
    row.param_value = json!({"upperbound_key_generate_params": {"max_budget": "os.environ/SECRET"}});
    world.admin.store.put(&row, world.admin.now()).await.unwrap();
    let got = world.post("master", "/key/generate", json!({"max_budget": 15})).await;
    got.refused(500, "upperbound_key_generate_params.max_budget");
}
