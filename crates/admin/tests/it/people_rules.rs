//! Who may do what to teams, users and projects.

use faregate_store::{AuditLog, ListQuery, OrganizationMembership, Team, User};
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn no_answer_holds_the_hash_of_a_password() {
    let world = World::new().await;
    let add = json!({"team_id": "other", "member": {"user_id": "solo", "role": "user"}});
    let added = [
        world.post("master", "/team/member_add", add).await.ok(),
        world
            .post(
                "master",
                "/organization/member_add",
                json!({"organization_id": "here", "member": {"user_id": "solo", "role": "internal_user"}}),
            )
            .await
            .ok(),
    ];
    for answer in &added {
        assert_eq!(answer["updated_users"][0]["user_id"], "solo");
    }
    let mut answers = added.to_vec();
    for (path, query) in [
        ("/user/list", ""),
        ("/user/info", "user_id=solo"),
        ("/v2/user/info", "user_id=solo"),
        ("/user/solo", ""),
        ("/spend/users", ""),
        ("/key/list", "expand=user"),
        ("/organization/info", "organization_id=here"),
    ] {
        answers.push(world.get("master", path, query).await.ok());
    }
    let renamed = json!({"user_id": "solo", "user_alias": "x"});
    answers.push(world.post("master", "/user/update", renamed).await.ok());
    for answer in answers {
        assert!(!answer.to_string().contains("scrypt:"), "{answer}");
    }
}

#[tokio::test]
async fn an_admin_of_a_team_gives_it_no_more_than_it_was_given() {
    let world = World::new().await;
    world.post("master", "/team/block", json!({"team_id": "mine"})).await.ok();
    for (field, value) in [
        ("max_budget", json!(null)),
        ("max_budget", json!(101)),
        ("rpm_limit", json!(null)),
        ("rpm_limit", json!(61)),
        ("models", json!([])),
        ("models", json!(["a", "b", "c"])),
        ("blocked", json!(false)),
        ("organization_id", json!("there")),
        ("organization_id", json!(null)),
        ("organization_id", json!("")),
        ("budget_duration", json!("1s")),
        ("model_max_budget", json!({"a": {"budget_limit": 1, "time_period": "1d"}})),
        ("budget_limits", json!([])),
        ("guardrails", json!(["none"])),
        ("disable_global_guardrails", json!(true)),
        ("metadata", json!({"disable_global_guardrails": true})),
        ("metadata", json!({"logging": [{"callback_name": "x"}]})),
        ("router_settings", json!({"num_retries": 9})),
        ("model_aliases", json!({"a": "z"})),
        ("access_group_ids", json!(["all"])),
    ] {
        let before: Team = world.admin.store.get(&["mine"]).await.unwrap().unwrap();
        let got = world.post("lead", "/team/update", json!({"team_id": "mine", field: value.clone()})).await;
        if field == "budget_limits" {
            // The team has none: nothing changes.
            got.ok();
            continue;
        }
        assert_eq!(got.status, 403, "{field}={value}: {}", got.body);
        let named = got.body["error"]["param"].as_str().unwrap_or_default().to_owned();
        assert!(named == field || value.get(&named).is_some(), "{field}={value}: {}", got.body);
        let patched = world.call("PATCH", "lead", "/team/mine", None, Some(json!({ field: value }))).await;
        assert_eq!(patched.status, 403, "{field}");
        let after: Team = world.admin.store.get(&["mine"]).await.unwrap().unwrap();
        assert_eq!(before, after, "{field}");
    }
    world.post("lead", "/team/unblock", json!({"team_id": "mine"})).await.refused(401, "");
    let less = json!({
        "team_id": "mine", "max_budget": 50, "rpm_limit": 60, "models": ["a"], "team_alias": "A",
        "metadata": {"free": 1}, "team_member_budget": 5, "blocked": true,
    });
    let row = world.post("lead", "/team/update", less).await.ok()["data"].take();
    assert_eq!((&row["max_budget"], &row["models"]), (&json!(50.0), &json!(["a"])));
    // Members and what they may do have calls of their own.
    let more = json!({"team_id": "mine", "admins": ["member"], "team_member_permissions": ["/key/update"]});
    world.post("lead", "/team/update", more).await.ok();
    let team: Team = world.admin.store.get(&["mine"]).await.unwrap().unwrap();
    assert!(team.admins.is_empty() && team.team_member_permissions.is_empty());
}

#[tokio::test]
async fn an_admin_of_an_organization_stays_inside_it() {
    let world = World::new().await;
    let update = |field: &str, value: Value| json!({"team_id": "mine", field: value});
    world.post("chief", "/team/update", update("max_budget", json!(900))).await.ok();
    let got = world.post("chief", "/team/update", update("max_budget", json!(1001))).await;
    got.refused(400, "exceeds organization's max_budget");
    for value in [json!("there"), json!(null), json!("")] {
        let got = world.post("chief", "/team/update", update("organization_id", value)).await;
        got.refused(403, "organization");
    }
    let got = world.post("chief", "/team/update", update("allowed_passthrough_routes", json!(["/x"]))).await;
    got.refused(403, "allowed_passthrough_routes");
    let got = world.post("chief", "/team/new", json!({"organization_id": "here", "max_budget": 5000})).await;
    got.refused(400, "max_budget");
    world.get("chief", "/organization/info", "organization_id=here").await.ok();
    world.get("chief", "/organization/info", "organization_id=there").await.refused(403, "there");
    let users = world.get("chief", "/user/list", "").await.ok();
    let names: Vec<&str> =
        users["users"].as_array().unwrap().iter().filter_map(|user| user["user_id"].as_str()).collect();
    assert_eq!(names, ["chief", "lead", "member"]);
    let keys = world.key(json!({"team_id": "mine"})).await;
    let seen = world.get("chief", "/key/list", "").await.ok();
    assert!(seen["keys"].as_array().unwrap().contains(&json!(crate::world::hash(&keys))));
}

#[tokio::test]
async fn the_word_org_admin_gives_nothing_without_an_organization() {
    let world = World::new().await;
    for (method, path, body) in [
        ("POST", "/user/update", json!({"user_id": "root", "user_role": "internal_user"})),
        ("POST", "/user/update", json!({"user_id": "titular", "max_budget": 1e9})),
        ("POST", "/user/delete", json!({"user_ids": ["solo"]})),
        ("POST", "/user/new", json!({"teams": ["mine"]})),
        ("POST", "/team/new", json!({})),
        ("POST", "/project/new", json!({})),
        ("POST", "/project/update", json!({"project_id": "project-mine", "max_budget": 9})),
        ("DELETE", "/project/delete", json!({"project_ids": ["project-mine"]})),
    ] {
        let got = world.call(method, "titular", path, None, Some(body)).await;
        assert!(matches!(got.status, 401 | 403), "{path}: {}", got.body);
    }
    let root: User = world.admin.store.get(&["root"]).await.unwrap().unwrap();
    assert_eq!(root.user_role.as_deref(), Some("proxy_admin"));
}

#[tokio::test]
async fn a_user_that_is_refused_leaves_nothing_behind() {
    let world = World::new().await;
    let mut snapshot = world.admin.snapshot.load().as_ref().clone();
    snapshot.litellm.spend.audit = true;
    world.admin.snapshot.store(std::sync::Arc::new(snapshot));
    for body in [
        json!({"organizations": ["here"], "teams": ["mine", "away"]}),
        json!({"organizations": ["here"], "teams": ["nowhere"]}),
        json!({"organizations": ["there"], "teams": ["mine"]}),
        json!({"organizations": ["here"], "user_role": "proxy_admin"}),
        json!({"organizations": ["here"], "user_role": "org_admin"}),
        json!({"organizations": ["here"], "permissions": {"get_spend_routes": true}}),
        json!({"organizations": ["here"], "team_id": "away"}),
        json!({"organizations": ["here"], "key_alias": "taken"}),
        json!({"organizations": ["here"], "teams": [{"team_id": "mine", "user_role": "king"}]}),
    ] {
        if body["key_alias"].is_string() {
            world.key(json!({"key_alias": "taken"})).await;
        }
        let mut body = body;
        body["user_id"] = json!("new");
        let team: Team = world.admin.store.get(&["mine"]).await.unwrap().unwrap();
        let got = world.post("chief", "/user/new", body.clone()).await;
        assert!(matches!(got.status, 400 | 401 | 403), "{body}: {} {}", got.status, got.body);
        assert!(world.admin.store.get::<User>(&["new"]).await.unwrap().is_none(), "{body}");
        assert_eq!(world.admin.store.get::<Team>(&["mine"]).await.unwrap().unwrap(), team, "{body}");
    }
    let body = json!({"user_id": "new", "organizations": ["here"], "teams": ["mine"], "max_budget": 5});
    let made = world.post("chief", "/user/new", body).await.ok();
    assert!(made["key"].as_str().unwrap().starts_with("sk-"));
    assert_eq!(made["teams"], json!(["mine"]));
    let membership =
        world.admin.store.get::<OrganizationMembership>(&["new", "here"]).await.unwrap().unwrap();
    assert_eq!(membership.user_role.as_deref(), Some("internal_user"));
    let row = world.row(made["key"].as_str().unwrap()).await;
    assert_eq!((row.user_id.as_deref(), row.max_budget), (Some("new"), None));
    let audited = world.admin.store.list::<AuditLog>(&ListQuery::new()).await.unwrap().rows;
    assert!(audited.iter().any(|entry| entry.object_id == "new" && entry.action == "created"));
}

#[tokio::test]
async fn an_admin_of_an_organization_gives_its_users_no_more_than_they_have() {
    let world = World::new().await;
    for (who, field, value) in [
        ("member", "user_role", json!("internal_user_viewer")),
        ("member", "max_budget", json!(11)),
        ("member", "max_budget", json!(null)),
        ("member", "spend", json!(0)),
        ("member", "user_email", json!("other@example.com")),
        ("chief", "max_budget", json!(11)),
        ("chief", "user_role", json!("proxy_admin")),
    ] {
        let got = world.post("chief", "/user/update", json!({"user_id": who, field: value})).await;
        got.refused(403, field);
    }
    world.post("chief", "/user/update", json!({"user_id": "member", "max_budget": 9})).await.ok();
    world
        .post("chief", "/user/update", json!({"user_id": "chief", "user_email": "c@example.com"}))
        .await
        .ok();
    world.post("master", "/user/update", json!({"user_id": "member", "max_budget": 99})).await.ok();
}

#[tokio::test]
async fn unknown_people_are_invited_by_address() {
    let world = World::new().await;
    let add = |member: Value| json!({"team_id": "mine", "member": member});
    let got = world.post("lead", "/team/member_add", add(json!({"user_id": "ghost", "role": "user"}))).await;
    got.refused(403, "ghost");
    assert!(world.admin.store.get::<User>(&["ghost"]).await.unwrap().is_none());
    let invited = add(json!({"user_email": "ghost@example.com", "role": "user"}));
    world.post("lead", "/team/member_add", invited).await.ok();
}

#[tokio::test]
async fn adding_somebody_to_an_organization_does_not_put_their_other_teams_in_its_hands() {
    let world = World::new().await;
    world
        .post(
            "master",
            "/team/new",
            json!({"team_id": "free", "members_with_roles": [
                {"user_id": "solo", "role": "user"}
            ]}),
        )
        .await
        .ok();
    let adopt = json!({"organization_id": "here", "member": {"user_id": "solo", "role": "internal_user"}});
    world.post("chief", "/organization/member_add", adopt).await.ok();
    world.post("chief", "/user/delete", json!({"user_ids": ["solo"]})).await.refused(403, "solo");
    assert!(world.admin.store.get::<User>(&["solo"]).await.unwrap().is_some());
}

#[tokio::test]
async fn nobody_becomes_the_operator_or_takes_over_an_account() {
    let world = World::new().await;
    let operator = json!({"user_id": "default_user_id", "organizations": ["here"]});
    world.post("chief", "/user/new", operator).await.refused(403, "user_id");
    let member = json!({"user_id": "default_user_id", "role": "internal_user"});
    let add = json!({"organization_id": "here", "member": member});
    world.post("chief", "/organization/member_add", add).await.refused(403, "default_user_id");
    let sessions = json!({"team_id": "litellm-dashboard", "organization_id": "here"});
    world.post("chief", "/team/new", sessions).await.refused(400, "team_id");
    // Whoever opens an invitation sets the password.
    for (who, invited, may) in [
        ("chief", "member", true),
        ("chief", "stranger", false),
        ("chief", "solo", false),
        ("chief-there", "member", false),
        ("titular", "member", false),
        ("master", "solo", true),
    ] {
        let got = world.post(who, "/invitation/new", json!({"user_id": invited})).await;
        assert_eq!(got.status == 200, may, "{who} invites {invited}: {}", got.body);
    }
    let boss = json!({"organization_id": "here", "member": {"user_id": "root", "role": "internal_user"}});
    world.post("master", "/organization/member_add", boss).await.ok();
    world.post("chief", "/invitation/new", json!({"user_id": "root"})).await.refused(403, "root");
    let password = json!({"user_id": "member", "password": "a-new-password"});
    world.post("chief", "/user/update", password).await.refused(403, "password");
}

#[tokio::test]
async fn a_model_of_a_team_is_sent_nothing_of_the_operators() {
    let world = World::new().await;
    let model = |key: &str| {
        json!({
            "model_name": "own", "model_info": {"team_id": "mine"},
            "litellm_params": {"model": "openai/x", "api_base": "https://example.com", "api_key": key},
        })
    };
    for key in ["os.environ/LITELLM_MASTER_KEY", " os.environ/HOME"] {
        world.post("lead", "/model/new", model(key)).await.refused(403, "api_key");
    }
    let made = world.post("lead", "/model/new", model("sk-of-the-team")).await.ok();
    let change = json!({
        "model_info": {"id": made["model_id"]},
        "litellm_params": {"extra_headers": {"x": "os.environ/LITELLM_MASTER_KEY"}},
    });
    world.post("lead", "/model/update", change).await.refused(403, "extra_headers");
    world.post("member", "/model/new", model("sk-of-the-team")).await.refused(403, "team_id=mine");
    world.post("chief-there", "/model/new", model("sk-of-the-team")).await.refused(403, "team_id=mine");
}
