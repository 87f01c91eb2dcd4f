//! What admins of a team may do where the operator names it, and changes that merge.

use serde_json::{Value, json};

use crate::world::World;

async fn naming(world: &World, fields: Value) {
    let body = json!({"team_admin_editable_team_fields": fields});
    world.call("PATCH", "master", "/update/ui_settings", None, Some(body)).await.ok();
}

#[tokio::test]
async fn admins_of_a_team_change_what_is_named_and_nothing_else() {
    let world = World::new().await;
    let set = |body: Value| world.post("lead", "/team/update", body);
    set(json!({"team_id": "mine", "team_alias": "ours"})).await.ok();
    set(json!({"team_id": "mine", "rpm_limit": 600})).await.refused(403, "rpm_limit");

    naming(&world, json!(["rpm_limit", "max_budget"])).await;
    set(json!({"team_id": "mine", "rpm_limit": 600})).await.ok();
    set(json!({"team_id": "mine", "team_alias": "theirs"})).await.refused(403, "team_alias");
    set(json!({"team_id": "mine", "max_budget": 50})).await.ok();
    set(json!({"team_id": "mine", "max_budget": 60})).await.refused(403, "raise_max_budget");
    set(json!({"team_id": "mine", "metadata": {"note": 1}})).await.refused(403, "note");
    set(json!({"team_id": "mine", "team_member_budget": 1})).await.refused(403, "team_member_budget");

    naming(&world, json!(["max_budget", "raise_max_budget", "metadata"])).await;
    set(json!({"team_id": "mine", "max_budget": 60})).await.ok();
    set(json!({"team_id": "mine", "max_budget": null})).await.refused(403, "max_budget");
    set(json!({"team_id": "mine", "max_budget": 5000})).await.refused(400, "exceeds organization's");
    set(json!({"team_id": "mine", "metadata": {"note": 1}})).await.ok();
    set(json!({"team_id": "mine", "metadata": {"logging": []}})).await.ok();
    set(json!({"team_id": "mine", "metadata": {"logging": [1]}})).await.refused(403, "logging");
    world.post("chief", "/team/update", json!({"team_id": "mine", "rpm_limit": 5})).await.ok();
}

#[tokio::test]
async fn keys_of_members_are_for_team_admins_where_that_is_named() {
    let world = World::new().await;
    let key = world.key(json!({"team_id": "mine", "user_id": "member", "max_budget": 1})).await;
    let raise = |most: u32| world.post("lead", "/key/update", json!({"key": key, "max_budget": most}));
    raise(2).await.ok();
    naming(&world, json!(["rpm_limit"])).await;
    raise(3).await.refused(403, "member_key_budgets");
    world.post("lead", "/key/update", json!({"key": key, "key_alias": "k"})).await.ok();
    let make = json!({"team_id": "mine", "user_id": "member"});
    world.post("lead", "/key/generate", make.clone()).await.refused(403, "for themselves");

    naming(&world, json!(["member_key_budgets", "create_member_keys"])).await;
    raise(4).await.ok();
    let made = world.post("lead", "/key/generate", make).await.ok();
    assert_eq!((&made["user_id"], &made["allowed_routes"]), (&json!("member"), &json!(["llm_api_routes"])));
    let stranger = json!({"team_id": "mine", "user_id": "stranger"});
    world.post("lead", "/key/generate", stranger).await.refused(400, "not assigned");
    let other = json!({"team_id": "other", "user_id": "member"});
    world.post("lead", "/key/generate", other).await.refused(400, "not assigned");
    let powerful = json!({"team_id": "mine", "member": {"user_id": "root", "role": "user"}});
    world.post("master", "/team/member_add", powerful).await.ok();
    let root = json!({"team_id": "mine", "user_id": "root"});
    world.post("lead", "/key/generate", root).await.refused(403, "plain members only");
}

#[tokio::test]
async fn projects_are_for_team_admins_where_that_is_named() {
    let world = World::new().await;
    let body = json!({"project_id": "p", "team_id": "mine"});
    world.post("lead", "/project/new", body.clone()).await.refused(403, "team_id=mine");
    naming(&world, json!(["projects"])).await;
    world.post("lead", "/project/new", body).await.ok();
    world.post("member", "/project/new", json!({"team_id": "mine"})).await.refused(403, "team_id=mine");
}

#[tokio::test]
async fn a_patch_of_a_team_merges_metadata_and_an_update_replaces_it() {
    for world in [World::new().await, World::postgres().await] {
        let patch = |body: Value| world.call("PATCH", "master", "/team/mine", None, Some(body));
        world
            .post(
                "master",
                "/team/update",
                json!({"team_id": "mine", "metadata": {"a": {"x": 1, "y": 2}, "b": 3}}),
            )
            .await
            .ok();
        let row = patch(json!({"metadata": {"a": {"y": null, "z": 4}}, "rpm_limit": 9})).await.ok();
        assert_eq!((&row["team_id"], &row["rpm_limit"]), (&json!("mine"), &json!(9)), "the row itself");
        assert_eq!(row["metadata"], json!({"a": {"x": 1, "z": 4}, "b": 3}));
        assert_eq!(row["max_budget"], 100.0, "what is not named stays");
        let row = patch(json!({"max_budget": null})).await.ok();
        assert_eq!(row["max_budget"], json!(null));
        let body = json!({"team_id": "mine", "metadata": {"c": 1}});
        let row = world.post("master", "/team/update", body).await.ok();
        assert_eq!(row["data"]["metadata"], json!({"c": 1}));
    }
}

#[tokio::test]
async fn who_removes_members_and_who_adds_models_is_the_operators_to_say() {
    let world = World::new().await;
    let flags = json!({
        "disable_team_admin_delete_team_user": true, "disable_model_add_for_internal_users": true,
        "disable_key_generate_for_org_admin": true,
    });
    world.call("PATCH", "master", "/update/ui_settings", None, Some(flags)).await.ok();
    let remove = json!({"team_id": "mine", "user_id": "member"});
    world.post("lead", "/team/member_delete", remove.clone()).await.refused(403, "disabled for team admins");
    world.post("chief", "/team/member_delete", remove).await.ok();
    world.post("chief", "/key/generate", json!({})).await.refused(403, "organization admins");
    let model = json!({
        "model_name": "m", "litellm_params": {"model": "openai/x", "api_key": "k"},
        "model_info": {"team_id": "mine"},
    });
    world.post("lead", "/model/new", model).await.refused(403, "disabled for internal users");
}
