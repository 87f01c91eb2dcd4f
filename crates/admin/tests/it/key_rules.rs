//! Who may do what to keys, and set which of their fields.

use serde_json::{Value, json};

use crate::world::World;

/// Everything a holder might lift a limit of an admin-made key with.
fn liftings() -> Vec<(&'static str, Value)> {
    vec![
        ("spend", json!(0)),
        ("max_budget", json!(1e9)),
        ("max_budget", json!(null)),
        ("budget_duration", json!("1s")),
        ("budget_limits", json!([])),
        ("rpm_limit", json!(null)),
        ("tpm_limit", json!(null)),
        ("max_parallel_requests", json!(null)),
        ("models", json!([])),
        ("blocked", json!(false)),
        ("permissions", json!({"get_spend_routes": true})),
        ("allowed_routes", json!(["management_routes"])),
        ("temp_budget_increase", json!(100)),
        ("metadata", json!({"temp_budget_increase": 100})),
        ("user_id", json!("root")),
        ("user_id", json!(null)),
        ("user_id", json!("")),
    ]
}

const LIMITED: &str = r#"{"max_budget": 5, "budget_duration": "30d", "rpm_limit": 3, "tpm_limit": 100,
    "max_parallel_requests": 1, "models": ["a"], "blocked": true,
    "budget_limits": [{"budget_duration": "1d", "max_budget": 1}], "spend": 4}"#;

#[tokio::test]
async fn holders_lift_no_limit_of_a_key_that_an_admin_made() {
    let world = World::new().await;
    for owner in [json!({"user_id": "solo"}), json!({"user_id": "member", "team_id": "mine"})] {
        let mut body: Value = serde_json::from_str(LIMITED).unwrap();
        let who = owner["user_id"].as_str().unwrap().to_owned();
        for (name, value) in owner.as_object().unwrap() {
            body[name] = value.clone();
        }
        let key = world.key(body).await;
        let before = world.row(&key).await;
        for (field, value) in liftings() {
            let mut body = json!({ "key": key });
            body[field] = value.clone();
            let got = world.post(&who, "/key/update", body).await;
            assert!(matches!(got.status, 401 | 403), "{who}: {field}={value}: {} {}", got.status, got.body);
            assert_eq!(world.row(&key).await, before, "{field}={value}");
        }
        let got = world.post(&who, &format!("/key/{key}/reset_spend"), json!({"reset_to": 0})).await;
        got.refused(403, "reset_spend");
        let got = world.post(&who, "/key/unblock", json!({ "key": key })).await;
        got.refused(403, "/key/block");
    }
}

#[tokio::test]
async fn members_with_the_permission_change_a_team_key_but_not_what_it_may_spend() {
    let world = World::new().await;
    let grant = json!({"team_id": "mine", "team_member_permissions": ["/key/update"]});
    world.post("lead", "/team/permissions_update", grant).await.ok();
    let key =
        world.key(json!({"user_id": "member", "team_id": "mine", "max_budget": 5, "blocked": true})).await;
    let change = json!({"key": key, "key_alias": "renamed", "max_budget": 5, "metadata": {"free": 1}});
    world.post("member", "/key/update", change).await.ok();
    for (field, value) in [
        ("spend", json!(0)),
        ("max_budget", json!(50)),
        ("max_budget", json!(null)),
        ("blocked", json!(false)),
        ("soft_budget", json!(1)),
        ("temp_budget_increase", json!(5)),
        ("permissions", json!({"a": true})),
        ("allowed_routes", json!(["*"])),
        ("team_id", json!(null)),
        ("team_id", json!("")),
        ("user_id", json!(null)),
        ("organization_id", json!("there")),
        ("disable_global_guardrails", json!(true)),
        ("access_group_ids", json!(["all"])),
    ] {
        let mut body = json!({ "key": key });
        body[field] = value.clone();
        let got = world.post("member", "/key/update", body).await;
        assert_eq!(got.status, 403, "{field}={value}: {}", got.body);
        assert_eq!(got.body["error"]["param"], field, "{}", got.body);
    }
    // Limits that others gave are lowered, not lifted.
    let limits =
        json!({"key": key, "rpm_limit": 5, "models": ["a", "b"], "guardrails": ["g"], "duration": "1d"});
    world.post("lead", "/key/update", limits).await.ok();
    for (field, value) in [
        ("rpm_limit", json!(6)),
        ("rpm_limit", json!(null)),
        ("models", json!([])),
        ("models", json!(["c"])),
        ("guardrails", json!([])),
        ("duration", json!("-1")),
    ] {
        let got = world.post("member", "/key/update", json!({"key": key, field: value})).await;
        got.refused(403, field);
    }
    let less = json!({"key": key, "rpm_limit": 4, "models": ["a"], "guardrails": ["g", "h"]});
    world.post("member", "/key/update", less).await.ok();
    // Admins of the team may, up to what the team has.
    world.post("lead", "/key/update", json!({"key": key, "max_budget": 50, "blocked": false})).await.ok();
    let got = world.post("lead", "/key/update", json!({"key": key, "max_budget": 500})).await;
    got.refused(400, "max_budget");
    let got = world.post("lead", "/key/update", json!({"key": key, "permissions": {"a": true}})).await;
    got.refused(403, "permissions");
    let got = world.post("lead", "/key/update", json!({"key": key, "team_id": null})).await;
    got.refused(403, "team_id");
    world.post("chief", "/key/update", json!({"key": key, "spend": 0})).await.ok();
    world.post("chief-there", "/key/update", json!({"key": key, "key_alias": "x"})).await.refused(403, "");
}

#[tokio::test]
async fn who_made_a_key_for_themselves_changes_it() {
    let world = World::new().await;
    let made = world.post("solo", "/key/generate", json!({"rpm_limit": 5, "max_budget": 3})).await.ok();
    assert_eq!(made["user_id"], "solo");
    let key = made["key"].as_str().unwrap();
    let change = json!({"key": key, "rpm_limit": 10, "max_budget": 3, "models": ["a"], "blocked": true});
    world.post("solo", "/key/update", change).await.ok();
    world.post("solo", "/key/update", json!({"key": key, "max_budget": 30})).await.refused(403, "max_budget");
    world.post("solo", "/key/update", json!({"key": key, "blocked": false})).await.refused(403, "blocked");
    let routes = json!({"key": key, "allowed_routes": ["llm_api_routes"]});
    world.post("solo", "/key/update", routes).await.ok();
    // An author named in a header makes nobody the maker.
    world
        .post("member", "/key/update", json!({"key": key, "key_alias": "x"}))
        .await
        .refused(403, "key/update");
}

#[tokio::test]
async fn members_of_metadata_that_the_gateway_keeps_are_neither_set_nor_lost() {
    let world = World::new().await;
    let forged =
        json!({"metadata": {"faregate_spend_reset_at": "2030-01-01T00:00:00Z", "own": 1}, "spend": 2});
    let made = world.post("master", "/key/generate", forged).await.ok();
    let key = made["key"].as_str().unwrap();
    assert_eq!(world.row(key).await.metadata, json!({"own": 1}));
    world.post("master", &format!("/key/{key}/reset_spend"), json!({"reset_to": 0})).await.ok();
    let at = world.row(key).await.metadata["faregate_spend_reset_at"].clone();
    assert!(at.is_string());
    let forged = json!({"key": key, "metadata": {"faregate_spend_reset_at": "2030-01-01T00:00:00Z", "b": 2}});
    world.post("master", "/key/update", forged).await.ok();
    assert_eq!(world.row(key).await.metadata, json!({"faregate_spend_reset_at": at, "b": 2}));

    let team =
        json!({"team_id": "mine", "metadata": {"team_member_budget_id": "x", "faregate_x": 1, "own": 1}});
    world.post("lead", "/team/update", team).await.ok();
    let team = world.get("lead", "/team/info", "team_id=mine").await.ok();
    assert_eq!(team["team_info"]["metadata"], json!({"own": 1}));
}

#[tokio::test]
async fn a_key_of_an_internal_user_is_always_theirs() {
    let world = World::new().await;
    for owner in [json!({}), json!({"user_id": ""}), json!({"user_id": null}), json!({"user_id": "solo"})] {
        let made = world.post("solo", "/key/generate", owner).await.ok();
        assert_eq!(made["user_id"], "solo");
    }
    let got = world.post("solo", "/key/generate", json!({"user_id": "root"})).await;
    got.refused(403, "user_id=root");
    let got = world.post("lead", "/key/generate", json!({"user_id": "member", "team_id": "mine"})).await;
    got.refused(403, "user_id=member");
    for field in ["permissions", "allowed_routes"] {
        let value = if field == "permissions" { json!({"a": 1}) } else { json!(["/key/generate"]) };
        let got = world.post("solo", "/key/generate", json!({ field: value })).await;
        got.refused(403, field);
    }
    world
        .post("solo", "/key/generate", json!({"key_type": "management"}))
        .await
        .refused(403, "allowed_routes");
    world.post("solo", "/key/generate", json!({"key_type": "llm_api"})).await.ok();
    let got = world.post("solo", "/key/generate", json!({"organization_id": "here"})).await;
    got.refused(403, "organization_id=here");
    world.post("member", "/key/generate", json!({"organization_id": "here"})).await.ok();
    world.post("solo", "/key/generate", json!({"project_id": "project-mine"})).await.refused(403, "project");
    let mock = json!({"metadata": {"allow_client_mock_response": true}});
    world.post("solo", "/key/generate", mock).await.refused(403, "allow_client_mock_response");
    let own = world.key(json!({"user_id": "solo", "max_budget": 2})).await;
    world.post(&own, "/key/generate", json!({"max_budget": 3})).await.refused(400, "max_budget");
    world.post(&own, "/key/generate", json!({"max_budget": 1})).await.ok();
}

#[tokio::test]
async fn a_session_hands_out_what_its_user_may_spend() {
    let world = World::new().await;
    let row = faregate_store::VirtualKey {
        token: crate::world::hash("sk-a-session-of-solo"),
        user_id: Some("solo".to_owned()),
        team_id: Some("litellm-dashboard".to_owned()),
        max_budget: faregate_store::Usd::from_f64(0.25),
        created_by: Some("solo".to_owned()),
        ..faregate_store::VirtualKey::default()
    };
    world.admin.store.insert(&row, world.admin.now()).await.unwrap();
    let session = "sk-a-session-of-solo";
    world.post(session, "/key/generate", json!({"max_budget": 10})).await.ok();
    world.post(session, "/key/generate", json!({"max_budget": 11})).await.refused(400, "max_budget");
    // The session itself is nobody's to change.
    world.post(session, "/key/update", json!({"key": session, "max_budget": 100})).await.refused(403, "");
    world.post(session, "/key/update", json!({"key": session, "team_id": null})).await.refused(403, "");
    world.post(session, "/key/regenerate", json!({"key": session, "duration": "90d"})).await.refused(403, "");
}

#[tokio::test]
async fn a_key_of_a_team_is_charged_to_the_organization_of_the_team() {
    let world = World::new().await;
    let join = json!({"organization_id": "there", "member": {"user_id": "lead", "role": "internal_user"}});
    world.post("master", "/organization/member_add", join).await.ok();
    let elsewhere = json!({"team_id": "mine", "organization_id": "there"});
    world.post("lead", "/key/generate", elsewhere).await.refused(403, "organization_id=there");
    let made = world.post("lead", "/key/generate", json!({"team_id": "mine"})).await.ok();
    let moved = json!({"key": made["key"], "organization_id": "there"});
    world.post("lead", "/key/update", moved).await.refused(403, "organization_id=there");
    world.post("lead", "/key/generate", json!({"organization_id": "there"})).await.ok();
}

#[tokio::test]
async fn plain_members_do_with_team_keys_what_the_team_lets_them() {
    let world = World::new().await;
    let own = world.key(json!({"user_id": "member", "team_id": "mine"})).await;
    let service = world.key(json!({"team_id": "mine"})).await;
    let generate = json!({"team_id": "mine"});
    let calls = [
        ("/key/generate", generate.clone()),
        ("/key/service-account/generate", generate.clone()),
        ("/key/update", json!({"key": own, "key_alias": "new-name"})),
        ("/key/regenerate", json!({"key": own})),
    ];
    for (route, body) in &calls {
        let got = world.post("member", route, body.clone()).await;
        got.refused(401, "Team member does not have permissions");
        assert_eq!(got.body["error"]["type"], "team_member_permission_error");
    }
    world.post("stranger", "/key/generate", generate.clone()).await.refused(400, "not assigned to team=mine");
    for (route, body) in [
        ("/key/update", json!({"key": service, "key_alias": "x"})),
        ("/key/regenerate", json!({"key": service})),
    ] {
        world.post("member", route, body.clone()).await.refused(401, "Team member");
        world.post("stranger", route, body).await.refused(403, "not authorized");
    }
    world.post("member", "/key/delete", json!({"keys": [service]})).await.refused(401, "Team member");
    world.post("stranger", "/key/delete", json!({"keys": [own]})).await.refused(403, "not authorized");

    let seen = |body: Value| body["total_count"].as_u64().unwrap_or_default();
    world.get("member", "/key/info", &format!("key={service}")).await.ok();
    let list = "include_team_keys=true&team_id=mine";
    assert_eq!(seen(world.get("member", "/key/list", list).await.ok()), 1);
    world.get("stranger", "/key/list", "team_id=mine").await.refused(403, "team");
    world.get("member", "/key/list", "user_id=lead").await.refused(403, "user");

    let all = json!([
        "/key/generate",
        "/key/service-account/generate",
        "/key/update",
        "/key/regenerate",
        "/key/list"
    ]);
    let grant = json!({"team_id": "mine", "team_member_permissions": all});
    world.post("member", "/team/permissions_update", grant.clone()).await.refused(403, "team_id=mine");
    world.post("lead", "/team/permissions_update", grant).await.ok();
    let unknown = json!({"team_id": "mine", "team_member_permissions": ["/key/nothing"]});
    assert_eq!(world.post("lead", "/team/permissions_update", unknown).await.status, 422);
    assert_eq!(seen(world.get("member", "/key/list", list).await.ok()), 2);
    for (route, body) in &calls {
        let got = world.post("member", route, body.clone()).await.ok();
        if *route == "/key/service-account/generate" {
            assert!(got["user_id"].is_null() && got["metadata"]["service_account_id"].is_string());
        }
    }
    // Of the keys of others only those that are nobody's.
    let leads = world.key(json!({"user_id": "lead", "team_id": "mine"})).await;
    let got = world.post("member", "/key/update", json!({"key": leads, "key_alias": "y"})).await;
    got.refused(403, "not authorized");
}

#[tokio::test]
async fn putting_a_key_into_a_team_is_making_one_there() {
    let world = World::new().await;
    let made = world.post("member", "/key/generate", json!({})).await.ok();
    let into = json!({"key": made["key"], "team_id": "mine"});
    world.post("member", "/key/update", into.clone()).await.refused(401, "/key/generate");
    let grant = json!({"team_id": "mine", "team_member_permissions": ["/key/generate"]});
    world.post("lead", "/team/permissions_update", grant).await.ok();
    world.post("member", "/key/update", into.clone()).await.ok();
    let out = json!({"key": made["key"], "team_id": null});
    assert!(matches!(world.post("member", "/key/update", out).await.status, 401 | 403));
    let stranger = world.post("stranger", "/key/generate", json!({})).await.ok();
    let into = json!({"key": stranger["key"], "team_id": "mine"});
    world.post("stranger", "/key/update", into).await.refused(400, "not assigned to team=mine");
}

#[tokio::test]
async fn nobody_takes_over_the_key_of_somebody_more_powerful() {
    let world = World::new().await;
    let add = json!({"team_id": "mine", "member": {"user_id": "root", "role": "user"}});
    world.post("lead", "/team/member_add", add).await.ok();
    let key = world.key(json!({"user_id": "root", "team_id": "mine"})).await;
    for who in ["lead", "chief"] {
        world.post(who, "/key/regenerate", json!({"key": key})).await.refused(403, "root");
    }
    let key = world.key(json!({"user_id": "member", "team_id": "mine"})).await;
    world.post("lead", "/key/regenerate", json!({"key": key})).await.ok();
}

#[tokio::test]
async fn regenerating_is_no_way_around_the_rules_of_an_update() {
    let world = World::new().await;
    let key = world.key(json!({"user_id": "solo", "max_budget": 5, "rpm_limit": 1})).await;
    for (field, value) in
        [("max_budget", json!(9)), ("rpm_limit", json!(9)), ("permissions", json!({"a": 1}))]
    {
        let got = world.post("solo", "/key/regenerate", json!({"key": key, field: value})).await;
        assert_eq!(got.status, 403, "{field}: {}", got.body);
    }
    let got = world.post("solo", "/key/regenerate", json!({"key": key, "new_key": "sk-"})).await;
    got.refused(400, "new_key");
    let taken = json!({"key": key, "new_key": crate::world::key_of("stranger")});
    assert_eq!(world.post("solo", "/key/regenerate", taken).await.status, 400);
    let made = world.post("solo", "/key/regenerate", json!({"key": key})).await.ok();
    assert_eq!((made["max_budget"].as_f64(), made["rpm_limit"].as_i64()), (Some(5.0), Some(1)));
}

#[tokio::test]
async fn a_key_or_name_that_is_there_already_is_a_bad_request() {
    let world = World::new().await;
    world.key(json!({"key": "sk-0123456789abcdef", "key_alias": "taken"})).await;
    for (body, field) in [
        (json!({"key": "sk-0123456789abcdef"}), "key"),
        (json!({"key_alias": "taken"}), "key_alias"),
        (json!({"key": "sk-"}), "key"),
        (json!({"key": "sk-short"}), "key"),
        (json!({"key": "no-prefix-0123456789"}), "key"),
    ] {
        let got = world.post("master", "/key/generate", body.clone()).await;
        assert_eq!((got.status, &got.body["error"]["param"]), (400, &json!(field)), "{body}: {}", got.body);
        let text = got.body.to_string();
        assert!(!text.contains("UNIQUE") && !text.contains("LiteLLM_"), "{text}");
    }
}

#[tokio::test]
async fn lists_of_keys_honour_status_and_expiry() {
    let world = World::new().await;
    let soon = world.key(json!({"key_alias": "soon", "duration": "1h"})).await;
    let over = world.key(json!({"key_alias": "over", "user_id": "solo"})).await;
    let past = faregate_store::Patch::new().set("expires", faregate_terms::UtcMillis::from_millis(1000));
    let now = world.admin.now();
    let id = crate::world::hash(&over);
    world.admin.store.update::<faregate_store::VirtualKey>(&[&id], &past, now).await.unwrap();
    let gone = world.key(json!({"key_alias": "gone", "user_id": "solo"})).await;
    world.post("master", "/key/delete", json!({"keys": [gone]})).await.ok();
    let names = |body: Value| -> Vec<String> {
        let rows = body["keys"].as_array().cloned().unwrap_or_default();
        rows.iter().filter_map(|row| row["key_alias"].as_str().map(str::to_owned)).collect()
    };
    for (query, expected) in [
        ("expires=active", vec!["soon"]),
        ("expires=expired", vec!["over"]),
        ("status=expired", vec!["over"]),
        ("status=active", vec!["soon"]),
        ("status=deleted", vec!["gone"]),
        ("status=deleted&key_alias=other", vec![]),
        ("status=deleted&user_id=solo", vec!["gone"]),
    ] {
        let query = format!("{query}&return_full_object=true&size=100");
        assert_eq!(names(world.get("master", "/key/list", &query).await.ok()), expected, "{query}");
    }
    let own = "status=deleted&return_full_object=true";
    assert_eq!(names(world.get("solo", "/key/list", own).await.ok()), ["gone"]);
    assert!(names(world.get("member", "/key/list", own).await.ok()).is_empty());
    world.get("master", "/key/list", "status=odd").await.refused(400, "status");
    world.get("master", "/key/list", "expires=odd").await.refused(400, "expires");
    world.post("master", "/key/block", json!({"key": soon})).await.ok();
    let revoked = world.get("master", "/key/list", "status=revoked&return_full_object=true").await.ok();
    assert_eq!(names(revoked), ["soon"]);
}

#[tokio::test]
async fn many_keys_are_updated_each_on_its_own() {
    let world = World::new().await;
    let (one, two) = (world.key(json!({})).await, world.key(json!({"rpm_limit": 5})).await);
    let keys = json!([
        {"key": one, "max_budget": 7, "tags": ["a"]},
        {"key": two, "max_budget": -1},
        {"key": "sk-nobody-has-this-key"},
    ]);
    let got = world.post("master", "/key/bulk_update", json!({ "keys": keys })).await.ok();
    assert_eq!(got["total_requested"], 3);
    assert_eq!(got["successful_updates"][0]["key"], json!(one));
    assert_eq!(got["successful_updates"][0]["key_info"]["max_budget"], 7.0);
    assert!(got["successful_updates"][0]["key_info"]["token"].is_null());
    assert_eq!(got["failed_updates"][0]["key_info"]["rpm_limit"], 5);
    assert_eq!(got["failed_updates"][1]["key_info"], Value::Null);
    world.post("master", "/key/bulk_update", json!({"keys": []})).await.refused(400, "No keys");
    assert_eq!(world.post("chief", "/key/bulk_update", json!({"keys": []})).await.status, 401);
}
