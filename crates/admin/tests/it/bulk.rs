//! Many members and users in one call, looking for people, and what somebody does with their own account.

use serde_json::json;

use crate::world::{World, key_of};

#[tokio::test]
async fn each_of_many_members_and_users_stands_for_itself() {
    let world = World::new().await;
    let body = json!({
        "team_id": "mine", "max_budget_in_team": 2,
        "members": [{"user_id": "solo", "role": "user"}, {"user_id": "member", "role": "user"}],
    });
    let done = world.post("master", "/team/bulk_member_add", body).await.ok();
    assert_eq!((&done["successful_additions"], &done["failed_additions"]), (&json!(1), &json!(1)));
    assert!(done["results"][1]["error"].as_str().unwrap().contains("already in team"), "{done}");
    assert!(done["updated_team"]["members_with_roles"].to_string().contains("solo"));
    let all = json!({"team_id": "mine", "all_users": true});
    world.post("lead", "/team/bulk_member_add", all).await.refused(403, "proxy admins");
    world
        .post("member", "/team/bulk_member_add", json!({"team_id": "mine", "members": []}))
        .await
        .refused(403, "mine");

    let body = json!({"users": [
        {"user_id": "solo", "max_budget": 3}, {"user_id": "nobody-at-all", "max_budget": 3}, {"user_id": "member", "max_budget": "x"},
    ]});
    let done = world.post("master", "/user/bulk_update", body).await.ok();
    assert_eq!((&done["successful_updates"], &done["failed_updates"]), (&json!(1), &json!(2)), "{done}");
    assert_eq!(done["results"][0]["updated_user"]["max_budget"], 3.0);
    assert!(done["results"][0]["updated_user"].get("password").is_none());
    let role = json!({"users": [{"user_id": "member", "user_role": "proxy_admin"}]});
    let done = world.post("chief", "/user/bulk_update", role).await.ok();
    assert_eq!(done["successful_updates"], 0, "rights are those of /user/update: {done}");
    let everybody = json!({"all_users": true, "user_updates": {"rpm_limit": 4}});
    world.post("chief", "/user/bulk_update", everybody.clone()).await.refused(403, "all users");
    let done = world.post("master", "/user/bulk_update", everybody).await.ok();
    assert_eq!(done["failed_updates"], 0, "{done}");
}

#[tokio::test]
async fn people_are_found_by_a_part_of_their_name_where_the_operator_lets_them() {
    let world = World::new().await;
    let found = world.get("solo", "/user/filter/ui", "search=STRANG").await.ok();
    assert_eq!(found, json!([{"user_id": "stranger", "user_email": "stranger@example.com"}]));
    let flag = json!({"scope_user_search_to_org": true});
    world.call("PATCH", "master", "/update/ui_settings", None, Some(flag)).await.ok();
    world.get("solo", "/user/filter/ui", "search=strang").await.refused(403, "scope_user_search_to_org");
    assert_eq!(world.get("chief", "/user/filter/ui", "search=strang").await.ok(), json!([]));
    assert_eq!(
        world.get("lead", "/user/filter/ui", "search=memb&team_id=mine").await.ok()[0]["user_id"],
        "member"
    );
    assert_eq!(
        world.get("viewer", "/user/filter/ui", "search=strang").await.ok().as_array().unwrap().len(),
        1
    );
    assert_eq!(world.get("master", "/team/filter/ui", "team_id=MIN").await.ok()[0]["team_id"], "mine");

    assert_eq!(world.get("solo", "/team/available", "").await.ok(), json!([]));
    let open =
        json!({"litellm_settings": {"default_internal_user_params": {"available_teams": ["mine", "away"]}}});
    world.post("master", "/config/update", open).await.ok();
    let teams = world.get("member", "/team/available", "").await.ok();
    assert_eq!(
        (teams.as_array().unwrap().len(), &teams[0]["team_id"]),
        (1, &json!("away")),
        "not those one is in"
    );
}

#[tokio::test]
async fn a_session_ends_its_own_self_and_changes_its_own_password() {
    let world = World::with_env(&[]).await;
    let set = json!({"user_id": "solo", "password": "the first one"});
    world.post("master", "/user/update", set).await.ok();
    let sign_in = async |password: &str| {
        let body = json!({"username": "solo@example.com", "password": password});
        world.call("POST", "nobody", "/v2/login", None, Some(body)).await
    };
    let key = |token: &str| {
        use base64::Engine as _;
        let middle = token.split('.').nth(1).unwrap();
        let bytes = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(middle).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        claims["key"].as_str().unwrap().to_owned()
    };
    let one = key(sign_in("the first one").await.ok()["token"].as_str().unwrap());
    let two = key(sign_in("the first one").await.ok()["token"].as_str().unwrap());
    let change = |current: &str, new: &str| json!({"current_password": current, "new_password": new});
    let path = "/user/password/change";
    world.post("solo", path, change("the first one", "the second one")).await.refused(403, "signing in");
    world.post(&one, path, change("wrong", "the second one")).await.refused(400, "incorrect");
    world.post(&one, path, change("the first one", "the first one")).await.refused(400, "differs");
    world.post(&one, path, change("the first one", "the second one")).await.ok();
    world.get(&two, "/user/info", "").await.refused(401, "Invalid proxy server token");
    world.get(&one, "/user/info", "").await.ok();
    assert_eq!(sign_in("the first one").await.status, 401);

    world.post("solo", "/session/logout", json!({})).await.refused(403, "/key/delete");
    world.post(&one, "/session/logout", json!({})).await.ok();
    world.get(&one, "/user/info", "").await.refused(401, "Invalid proxy server token");
    assert!(key_of("solo").starts_with("sk-"));
}

#[tokio::test]
async fn a_key_is_told_whether_its_own_callbacks_run() {
    let world = World::new().await;
    let plain = world.key(json!({})).await;
    let healthy = world.post(&plain, "/key/health", json!({})).await.ok();
    assert_eq!(healthy, json!({"key": "healthy", "logging_callbacks": null}));
    let logging = json!({"metadata": {"logging": [{"callback_name": "langfuse", "callback_vars": {}}]}});
    let logging = world.key(logging).await;
    let told = world.post(&logging, "/key/health", json!({})).await.ok();
    assert_eq!(
        (&told["key"], &told["logging_callbacks"]["callbacks"]),
        (&json!("unhealthy"), &json!(["langfuse"]))
    );
}

#[tokio::test]
async fn owners_change_budgets_of_keys_they_made_as_far_as_the_policy_goes() {
    let world = World::new().await;
    let policy = |word: &str| json!({"general_settings": {"self_serve_budget_policy": word}});
    let made = world.post("solo", "/key/generate", json!({"max_budget": 5})).await.ok();
    let key = made["key"].as_str().unwrap().to_owned();
    let set = |budget: serde_json::Value| {
        world.post("solo", "/key/update", json!({"key": key, "max_budget": budget}))
    };
    set(json!(4)).await.refused(403, "max_budget");
    world.post("master", "/config/update", policy("lower_only")).await.ok();
    set(json!(4)).await.ok();
    set(json!(6)).await.refused(403, "max_budget");
    set(json!(null)).await.refused(403, "max_budget");
    let windows =
        |most: u32| json!({"key": key, "budget_limits": [{"budget_duration": "1d", "max_budget": most}]});
    world.post("solo", "/key/update", windows(3)).await.ok();
    world.post("solo", "/key/update", windows(2)).await.ok();
    world.post("solo", "/key/update", windows(3)).await.refused(403, "budget_limits");
    world.post("master", "/config/update", policy("ceiling")).await.ok();
    set(json!(6)).await.ok();
    set(json!(null)).await.refused(403, "max_budget");
    let given = world.key(json!({"user_id": "solo", "max_budget": 1})).await;
    world
        .post("solo", "/key/update", json!({"key": given, "max_budget": 0.5}))
        .await
        .refused(403, "somebody else made");
    world.post("master", "/config/update", policy("whatever")).await.refused(400, "self_serve_budget_policy");
}
