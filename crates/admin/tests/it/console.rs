//! What a console asks: settings as forms, callbacks, prices, providers.

use faregate_store::CacheConfig;
use faregate_terms::Secret;
use faregate_testkit::redis::RedisServer;
use serde_json::{Value, json};

use crate::world::{MASTER, World};

#[tokio::test]
async fn flags_of_the_ui_are_stored_merged_and_acted_on() {
    for world in [World::new().await, World::postgres().await] {
        let before = world.get("master", "/get/ui_settings", "").await.ok();
        assert_eq!(before["values"]["disable_custom_api_keys"], false);
        assert_eq!(before["source"]["disable_custom_api_keys"], "default");

        let set = |body: Value| world.call("PATCH", "master", "/update/ui_settings", None, Some(body));
        set(json!({"disable_custom_api_keys": true})).await.ok();
        set(json!({"usage_default_time_range": "today"})).await.ok();
        let after = world.get("master", "/get/ui_settings", "").await.ok();
        assert_eq!(after["values"]["disable_custom_api_keys"], true, "one flag leaves the other");
        assert_eq!(after["values"]["usage_default_time_range"], "today");
        assert_eq!(after["source"]["disable_custom_api_keys"], "db");

        let own = json!({"key": "sk-a-key-of-my-own-choice"});
        world.post("master", "/key/generate", own).await.refused(403, "must be auto-generated");
        world.post("master", "/key/generate", json!({})).await.ok();

        set(json!({"team_admin_editable_team_fields": ["raise_max_budget"]}))
            .await
            .refused(400, "needs max_budget");
        set(json!({"team_admin_editable_team_fields": ["everything"]})).await.refused(400, "`everything`");
        set(json!({"usage_default_time_range": "ever"})).await.refused(422, "");
    }
}

#[tokio::test]
async fn new_users_and_teams_get_what_the_operator_says() {
    let world = World::new().await;
    let set = |path: &'static str, body: Value| world.call("PATCH", "master", path, None, Some(body));
    let users = json!({
        "user_role": "internal_user", "max_budget": 7, "budget_duration": "30d", "models": ["a"],
        "teams": ["mine"],
    });
    set("/update/internal_user_settings", users.clone()).await.ok();
    let shown = world.get("master", "/get/internal_user_settings", "").await.ok();
    assert_eq!(shown["values"], users);
    let made = world.post("master", "/user/new", json!({"user_id": "fresh", "models": ["b"]})).await.ok();
    assert_eq!((&made["max_budget"], &made["models"]), (&json!(7.0), &json!(["b"])), "{made}");
    assert_eq!(made["user_role"], "internal_user");
    let team = world.get("master", "/team/info", "team_id=mine").await.ok();
    let members = team["team_info"]["members_with_roles"].to_string();
    assert!(members.contains("fresh"), "{members}");

    let teams = json!({"max_budget": 3, "team_member_permissions": ["/key/generate"]});
    set("/update/default_team_settings", teams).await.ok();
    let team = world.post("master", "/team/new", json!({"team_id": "t", "rpm_limit": 5})).await.ok();
    assert_eq!(team["max_budget"], 3.0);
    assert_eq!(team["team_member_permissions"], json!(["/key/generate"]));
    let own = world.post("master", "/team/new", json!({"team_id": "u", "max_budget": 1})).await.ok();
    assert_eq!(own["max_budget"], 1.0);

    set("/update/internal_user_settings", json!({"teams": ["nowhere"]})).await.refused(400, "nowhere");
    set("/update/internal_user_settings", json!({"user_role": "emperor"})).await.refused(422, "user_role");
    set("/update/default_team_settings", json!({"organization_id": "nowhere"})).await.refused(400, "nowhere");
}

#[tokio::test]
async fn settings_of_single_sign_on_are_sealed_masked_and_in_service() {
    let world = World::with_env(&[("GENERIC_SCOPE", "openid groups")]).await;
    let set = |body: Value| world.call("PATCH", "master", "/update/sso_settings", None, Some(body));
    set(json!({
        "generic_client_id": "app", "generic_client_secret": "a-very-secret-secret",
        "generic_token_endpoint": "https://id.example/token",
    }))
    .await
    .ok();
    let row: faregate_store::SsoConfig = world.admin.store.get(&["sso_config"]).await.unwrap().unwrap();
    let stored = row.sso_settings.to_string();
    assert!(!stored.contains("a-very-secret-secret") && !stored.contains("\"app\""), "{stored}");

    let shown = world.get("master", "/get/sso_settings", "").await.ok();
    assert_eq!(shown["values"]["generic_client_id"], "app");
    assert!(!shown.to_string().contains("a-very-secret-secret"));
    assert_eq!(shown["provenance"]["generic_client_id"], "db");
    assert_eq!(shown["provenance"]["generic_scope"], "env");
    assert_eq!(shown["provenance"]["google_client_id"], "unset");
    // The page sends the mask back.
    set(json!({"generic_client_secret": shown["values"]["generic_client_secret"]})).await.ok();
    let env = world.admin.snapshot.load().env.clone();
    assert_eq!(env.get("GENERIC_CLIENT_SECRET"), Some("a-very-secret-secret"));

    let start = world.get("member", "/sso/get/ui_settings", "").await.ok();
    assert_eq!(start["SSO_ENABLED"], true);
    let found = world.get("nobody", "/.well-known/litellm-ui-config", "").await.ok();
    assert_eq!(found["sso_configured"], true);
    let ready = world.get("master", "/sso/readiness", "").await;
    assert_eq!(ready.status, 503);
    assert!(ready.body["message"].as_str().unwrap().contains("GENERIC_USERINFO_ENDPOINT"), "{}", ready.body);
    set(json!({"generic_token_endpoint": "id.example"})).await.refused(400, "generic_token_endpoint");
}

#[tokio::test]
async fn router_settings_are_shown_with_their_source_and_fallbacks_are_set_by_model() {
    let world = World::new().await;
    for name in ["one", "two"] {
        let model = json!({"model_name": name, "litellm_params": {"model": "openai/gpt-4o", "api_key": "k"}});
        world.post("master", "/model/new", model).await.ok();
    }
    let update = json!({"router_settings": {"routing_strategy": "least-busy", "num_retries": 4}});
    world.post("master", "/config/update", update).await.ok();
    let shown = world.get("master", "/router/settings", "").await.ok();
    assert_eq!(shown["current_values"]["routing_strategy"], "least-busy");
    assert_eq!(shown["source"]["num_retries"], "db");
    let strategy = shown["fields"].as_array().unwrap().iter().find(|f| f["field_name"] == "routing_strategy");
    let options = strategy.unwrap()["options"].as_array().unwrap();
    assert!(
        options.contains(&json!("least-busy")) && !options.contains(&json!("lar1")),
        "only what there is"
    );
    let fields = world.get("master", "/router/fields", "").await.ok();
    assert!(fields["fields"].as_array().unwrap().iter().all(|field| field["field_value"].is_null()));

    let set = json!({"model": "one", "fallback_models": ["two"]});
    world.post("master", "/fallback", set).await.ok();
    let got = world.get("master", "/fallback/one", "").await.ok();
    assert_eq!(got["fallback_models"], json!(["two"]));
    assert_eq!(world.admin.snapshot.load().fallbacks.general.len(), 1, "it serves");
    let kind = world.get("master", "/fallback/one", "fallback_type=context_window").await;
    kind.refused(404, "No context_window fallbacks");
    world
        .post("master", "/fallback", json!({"model": "one", "fallback_models": ["six"]}))
        .await
        .refused(404, "`six`");
    world.call("DELETE", "master", "/fallback/one", None, None).await.ok();
    world.get("master", "/fallback/one", "").await.refused(404, "No general fallbacks");
}

#[tokio::test]
async fn callbacks_that_do_not_exist_here_are_said_not_to() {
    let world = World::new().await;
    let update = json!({
        "litellm_settings": {"callbacks": ["prometheus"], "success_callback": ["langfuse"]},
        "general_settings": {"alerting": ["slack"]},
        "environment_variables": {"SLACK_WEBHOOK_URL": "https://hooks.example/secret-path"},
    });
    world.post("master", "/config/update", update).await.ok();
    let shown = world.get("master", "/get/config/callbacks", "").await.ok();
    let supported: Vec<(&str, bool, &str)> = shown["callbacks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let text = |name: &str| one[name].as_str().unwrap();
            (text("name"), one["supported"].as_bool().unwrap(), text("type"))
        })
        .collect();
    assert_eq!(supported, [("prometheus", true, "success_and_failure"), ("langfuse", false, "success")]);
    assert_eq!(shown["alerts"][0]["name"], "slack");
    assert!(!shown.to_string().contains("secret-path"));
    let running = world.get("master", "/callbacks/list", "").await.ok();
    assert_eq!(running, json!({"success": [], "failure": [], "success_and_failure": ["prometheus"]}));
    let form = world.get("master", "/alerting/settings", "").await.ok();
    assert_eq!(form[0]["field_value"], true);
}

#[tokio::test]
async fn anybody_sees_prices_providers_and_the_logo_and_no_file_of_the_machine() {
    let world = World::with_env(&[("UI_LOGO_PATH", "/etc/passwd")]).await;
    let prices = world.get("nobody", "/public/litellm_model_cost_map", "").await.ok();
    assert!(prices["gpt-4o"]["input_cost_per_token"].is_number());
    let names = world.get("nobody", "/public/providers", "").await.ok();
    assert!(names.as_array().unwrap().contains(&json!("anthropic")));
    let forms = world.get("nobody", "/public/providers/fields", "").await.ok();
    let bedrock =
        forms.as_array().unwrap().iter().find(|form| form["litellm_provider"] == "bedrock").unwrap();
    assert!(bedrock["credential_fields"].to_string().contains("aws_region_name"));
    assert_eq!(world.get("nobody", "/get_logo_url", "").await.ok(), json!({"logo_url": ""}));
    let theme = world.get("nobody", "/get/ui_theme_settings", "").await.ok();
    assert_eq!((&theme["values"]["logo_url"], &theme["logo_url_via_proxy"]), (&json!(null), &json!(true)));
    assert_eq!(
        world.get("nobody", "/get_image", "").await.status,
        200,
        "ours, in place of a file that is no picture"
    );
    let set = |body: Value| world.call("PATCH", "master", "/update/ui_theme_settings", None, Some(body));
    set(json!({"logo_url": "file:///etc/passwd"})).await.refused(400, "logo_url");
    set(json!({"logo_url": "https://cdn.example/logo.png"})).await.ok();
    assert_eq!(world.get("nobody", "/get_image", "").await.status, 307);
}

#[tokio::test]
async fn a_volume_of_requests_is_priced_by_list_or_by_the_deployments_own_prices() {
    let world = World::new().await;
    let model = json!({
        "model_name": "house",
        "litellm_params": {
            "model": "openai/own-model", "api_key": "k", "input_cost_per_token": 0.000002,
            "output_cost_per_token": 0.00001, "cache_read_input_token_cost": 0.0000005,
        },
    });
    world.post("master", "/model/new", model).await.ok();
    let volume = json!({
        "model": "house", "input_tokens": 1000, "cache_read_input_tokens": 400, "output_tokens": 100,
        "num_requests_per_day": 10,
    });
    let told = world.post("member", "/cost/estimate", volume).await.ok();
    // 600 fresh tokens at 2, 400 at 0.5 and 100 at 10 millionths of a dollar.
    assert_eq!(told["cost_per_request"], 0.0024, "{told}");
    assert_eq!(
        (&told["input_cost_per_request"], &told["cache_read_cost_per_request"]),
        (&json!(0.0014), &json!(0.0002))
    );
    assert_eq!((&told["daily_cost"], &told["monthly_cost"]), (&json!(0.024), &Value::Null));
    assert_eq!((&told["input_cost_per_token"], &told["provider"]), (&json!(0.000002), &json!("openai")));
    let listed = json!({"model": "gpt-4o", "input_tokens": 1_000_000, "output_tokens": 0});
    assert_eq!(world.post("member", "/cost/estimate", listed).await.ok()["cost_per_request"], 2.5);

    let with = |name: &str, value: Value| {
        let mut body = json!({"model": "house", "input_tokens": 1, "output_tokens": 1});
        body[name] = value;
        world.post("member", "/cost/estimate", body)
    };
    with("model", json!("nobody-knows-it")).await.refused(404, "nobody-knows-it");
    with("input_tokens", json!(-1)).await.refused(422, "input_tokens");
    with("cache_read_input_tokens", json!(2)).await.refused(422, "cannot exceed input_tokens");
    with("reasoning_tokens", json!(2)).await.refused(422, "cannot exceed output_tokens");
}

#[tokio::test]
async fn addresses_that_may_call_are_added_and_removed_and_serve() {
    let world = World::new().await;
    let post = |path: &'static str, ip: &str| world.post("master", path, json!({"ip": ip}));
    assert_eq!(world.get("master", "/get/allowed_ips", "").await.ok()["data"], Value::Null);
    post("/add/allowed_ip", "192.0.2.1").await.ok();
    post("/add/allowed_ip", "2001:db8::1").await.ok();
    assert_eq!(
        world.get("master", "/get/allowed_ips", "").await.ok()["data"],
        json!(["192.0.2.1", "2001:db8::1"])
    );
    assert_eq!(world.admin.snapshot.load().general.allowed_ips.len(), 2, "they serve");
    post("/add/allowed_ip", "192.0.2.1").await.refused(400, "already exists");
    post("/add/allowed_ip", "192.0.2.0/24").await.refused(400, "`192.0.2.0/24` is no IP address");
    post("/delete/allowed_ip", "192.0.2.9").await.refused(404, "not found");
    for ip in ["192.0.2.1", "2001:db8::1"] {
        post("/delete/allowed_ip", ip).await.ok();
    }
    assert_eq!(world.get("master", "/get/allowed_ips", "").await.ok()["data"], Value::Null);
    let settings = json!({"general_settings": {"allowed_ips": ["here"]}});
    world.post("master", "/config/update", settings).await.refused(400, "general_settings.allowed_ips");
}

#[tokio::test]
async fn members_read_their_own_membership_and_nobody_elses() {
    let world = World::new().await;
    let of_mine = |who: &'static str| world.get(who, "/team/mine/members/me", "");
    let own = of_mine("member").await.ok();
    assert_eq!(
        (&own["user_id"], &own["role"], &own["spend"]),
        (&json!("member"), &json!("user"), &json!(0.0))
    );
    assert_eq!(own["user_email"], "member@example.com");
    assert_eq!(of_mine("lead").await.ok()["role"], "admin");
    of_mine("root").await.refused(404, "user_id=root is not a member of team_id=mine");
    of_mine("stranger").await.refused(404, "is not a member");
    world.get("member", "/team/nowhere/members/me", "").await.refused(404, "is not a member");
}

#[tokio::test]
async fn the_price_list_forms_and_routes_can_be_read() {
    let world = World::new().await;
    let info = |query: &'static str| world.get("member", "/utils/model_info", query);
    let found = info("model=gpt-4o").await.ok();
    assert_eq!(
        (&found["custom_llm_provider"], &found["model_info"]["key"]),
        (&json!("openai"), &json!("gpt-4o"))
    );
    assert!(found["model_info"]["input_cost_per_token"].as_f64().unwrap() > 0.0);
    assert_eq!(info("model=openai/gpt-4o").await.ok()["model_info"]["key"], "gpt-4o");
    info("model=gpt-4o&custom_llm_provider=anthropic").await.refused(404, "not in the model cost map");
    info("").await.refused(422, "model");

    let forms = world.get("master", "/model/settings", "").await.ok();
    let azure = forms.as_array().unwrap().iter().find(|form| form["name"] == "azure").unwrap();
    assert!(azure["fields"].as_array().unwrap().iter().any(|field| field["field_name"] == "api_version"));
    let routes = world.get("nobody", "/routes", "").await.ok();
    let routes = routes["routes"].as_array().unwrap();
    let made = json!({"path": "/key/generate", "methods": ["POST"], "name": "Create a virtual key"});
    assert!(routes.contains(&made), "{} routes", routes.len());
}

#[tokio::test]
async fn an_access_group_gets_a_budget_of_its_own_or_one_that_there_is_and_loses_it() {
    for world in [World::new().await, World::postgres().await] {
        let model = json!({
            "model_name": "m", "litellm_params": {"model": "openai/gpt-4o", "api_key": "k"},
            "model_info": {"access_groups": ["beta"]},
        });
        world.post("master", "/model/new", model).await.ok();
        let path = "/access_group/beta/budget";
        let put = |body: Value| world.call("PUT", "master", path, None, Some(body));
        assert_eq!(world.get("master", path, "").await.ok()["budget"], Value::Null);
        let set = put(json!({"max_budget": 5, "soft_budget": 3, "budget_duration": "30d"})).await.ok();
        assert_eq!((&set["spend"], &set["budget"]["max_budget"]), (&json!(0.0), &json!(5.0)), "{set}");
        assert!(set["budget"]["budget_reset_at"].is_string(), "{set}");
        let listed = world.get("master", "/access_group/list", "").await.ok();
        assert_eq!(listed["access_groups"][0]["budget"], set["budget"]);

        world.post("master", "/budget/new", json!({"budget_id": "shared", "max_budget": 9})).await.ok();
        assert_eq!(put(json!({"budget_id": "shared"})).await.ok()["budget"]["max_budget"], 9.0);
        put(json!({"budget_id": "nowhere"})).await.refused(404, "nowhere");
        put(json!({"budget_id": "shared", "max_budget": 1})).await.refused(400, "no other field");
        put(json!({})).await.refused(400, "is required");
        put(json!({"max_budget": -1})).await.refused(400, "max_budget");
        world.get("master", "/access_group/other/budget", "").await.refused(404, "other");
        let remove = || world.call("DELETE", "master", path, None, None);
        assert_eq!(remove().await.ok()["budget_deleted"], true);
        assert_eq!(remove().await.ok()["budget_deleted"], false);
    }
}

#[tokio::test]
async fn pass_through_routes_are_stored_beside_those_of_before_changed_and_forgotten() {
    let world = World::with_env(&[("STORE_MODEL_IN_DB", "true")]).await;
    const PATH: &str = "/config/pass_through_endpoint";
    world.call("DELETE", "master", PATH, Some("endpoint_id=e1"), None).await.refused(400, "There are no");
    let before = json!({"pass_through_endpoints": [
        {"id": "e1", "path": "/one", "target": "https://one", "headers": {"Authorization": "Bearer of-the-operator"}},
        {"id": "e2", "path": "/two", "target": "https://two", "methods": ["get"]},
        {"id": "e3", "path": "/three", "target": "a_module.of_python"},
    ]});
    let row = faregate_store::ConfigRow {
        param_name: "general_settings".to_owned(),
        param_value: before,
        ..faregate_store::ConfigRow::default()
    };
    world.admin.store.put(&row, world.admin.now()).await.unwrap();
    let all = world.get("master", PATH, "").await.ok();
    assert_eq!((all["endpoints"].as_array().unwrap().len(), &all["endpoints"][0]["auth"]), (3, &json!(true)));
    assert!(!all.to_string().contains("of-the-operator"), "{all}");
    let routes = json!({"team_id": "mine", "allowed_passthrough_routes": ["/two"]});
    world.post("master", "/team/update", routes).await.ok();
    let of_team = world.get("master", &format!("{PATH}/team/mine"), "").await.ok();
    assert_eq!(
        (of_team["endpoints"].as_array().unwrap().len(), &of_team["endpoints"][0]["id"]),
        (1, &json!("e2"))
    );

    let new = json!({"path": "/two", "target": "https://two", "headers": {"x-key": "a-new-secret-1234"}});
    world.post("lead", PATH, new.clone()).await.refused(401, "Only proxy admin");
    world.post("master", PATH, new.clone()).await.refused(400, "the same methods already");
    let mut other_method = new;
    other_method["methods"] = json!(["POST"]);
    let made = world.post("master", PATH, other_method).await.ok();
    let id = made["endpoints"][0]["id"].as_str().unwrap();
    assert_eq!(made["endpoints"][0]["headers"]["x-key"], "a-****34", "{made}");
    let change =
        json!({"cost_per_request": 0.5, "auth": null, "id": "another", "headers": {"x-key": "a-****34"}});
    let changed = world.post("master", &format!("{PATH}/{id}"), change).await.ok();
    assert_eq!(
        (&changed["endpoints"][0]["id"], &changed["endpoints"][0]["auth"]),
        (&json!(id), &json!(true))
    );
    let clash = world.post("master", &format!("{PATH}/{id}"), json!({"methods": ["GET", "POST"]})).await;
    clash.refused(400, "the same methods already");
    world.post("master", &format!("{PATH}/nobody"), json!({"auth": false})).await.refused(404, "nobody");
    let kept: faregate_store::ConfigRow =
        world.admin.store.get(&["general_settings"]).await.unwrap().unwrap();
    let kept = &kept.param_value["pass_through_endpoints"][3];
    assert_eq!(
        (&kept["headers"]["x-key"], &kept["cost_per_request"]),
        (&json!("a-new-secret-1234"), &json!(0.5))
    );
    for shown in
        ["/config/list?config_type=general_settings", "/config/field/info?field_name=pass_through_endpoints"]
    {
        let (path, query) = shown.split_once('?').unwrap();
        let answer = world.get("master", path, query).await.ok().to_string();
        assert!(!answer.contains("a-new-secret") && !answer.contains("of-the-operator"), "{answer}");
    }
    world.call("DELETE", "master", PATH, Some(&format!("endpoint_id={id}")), None).await.ok();
    world.call("DELETE", "master", PATH, Some("endpoint_id=e3"), None).await.ok();

    world.call("DELETE", "lead", PATH, Some("endpoint_id=e1"), None).await.refused(401, "Only proxy admin");
    world.call("DELETE", "master", PATH, Some("endpoint_id=e1"), None).await.ok();
    let left = world.get("master", PATH, "endpoint_id=e1").await.ok();
    assert_eq!(left["endpoints"], json!([]));
    assert_eq!(world.get("master", PATH, "").await.ok()["endpoints"][0]["id"], "e2");
}

#[tokio::test]
async fn cache_settings_are_tried_stored_sealed_shown_without_secrets_and_served() {
    let server = RedisServer::start_with_password("the-password");
    let world = World::new().await;
    let port = server.port();
    let page = world.get("master", "/cache/settings", "").await.ok();
    assert_eq!(page["current_values"], json!({}));
    let fields = page["fields"].as_array().unwrap();
    assert!(fields.iter().any(|field| field["field_name"] == "s3_bucket_name"), "{page}");

    let settings =
        |password: &str| json!({"type": "redis", "host": "127.0.0.1", "port": port, "password": password});
    let attempt = async |settings: Value| {
        world.post("master", "/cache/settings/test", json!({"cache_settings": settings})).await.ok()
    };
    let got = attempt(settings("the-password")).await;
    assert_eq!(
        got,
        json!({"status": "success", "message": "Redis connection test successful", "error": null})
    );
    let got = attempt(settings("another")).await;
    assert_eq!(got["status"], "failed");
    assert!(!got.to_string().contains("another"), "{got}");
    assert_eq!(attempt(json!({"type": "disk"})).await["status"], "failed");
    let mut semantic = settings("the-password");
    semantic["type"] = json!("redis-semantic");
    assert!(attempt(semantic).await.to_string().contains("cannot search vectors"));

    let save = async |settings: Value| {
        world.post("master", "/cache/settings", json!({"cache_settings": settings})).await
    };
    save(json!({"type": "s3"})).await.refused(400, "s3_bucket_name");
    let saved = save(settings("the-password")).await.ok();
    assert_eq!(saved["settings"]["password"], "***REDACTED***");
    let row: CacheConfig = world.admin.store.get(&["cache_config"]).await.unwrap().unwrap();
    assert!(!row.cache_settings.to_string().contains("the-password"), "it is sealed");
    let page = world.get("master", "/cache/settings", "").await.ok();
    assert_eq!(page["current_values"]["password"], "***REDACTED***");
    assert_eq!(
        (&page["current_values"]["host"], &page["current_values"]["redis_type"]),
        (&json!("127.0.0.1"), &json!("node"))
    );

    // What was shown comes back, and stands for what is stored; for another server it stands for nothing.
    assert_eq!(attempt(settings("***REDACTED***")).await["status"], "success");
    let mut elsewhere = settings("***REDACTED***");
    elsewhere["host"] = json!("localhost");
    assert_eq!(attempt(elsewhere).await["status"], "failed");
    let mut more = settings("***REDACTED***");
    more["ttl"] = json!(7);
    save(more).await.ok();

    let salt = Secret::from(MASTER);
    let stored = faregate_admin::stored::read(&world.admin.store, Some(&salt)).await.unwrap();
    let expected = json!({"cache": true, "cache_params": {
        "type": "redis", "host": "127.0.0.1", "port": port, "password": "the-password", "ttl": 7,
    }});
    assert_eq!(stored.sections["litellm_settings"], expected, "what a configuration takes");
    for who in ["solo", "chief", "sk-nobody"] {
        let got = world.get(who, "/cache/settings", "").await;
        assert!(matches!(got.status, 401 | 403), "{who}: {}", got.status);
    }
}
