//! Whose spend is whose to see.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::time::Duration;

use faregate_store::SettleOptions;
use faregate_terms::{Account, CallId, Ending, LogFacts, PicoUsd, Receipt, Usage, UtcMillis, WallTimes};
use serde_json::{Value, json};

use crate::world::{World, hash};

/// What one request of this key cost.
fn receipt(key: &str, user: &str, cost: &str) -> Receipt {
    let at = UtcMillis::from_millis(1_770_000_000_000);
    Receipt {
        call_id: CallId::new(format!("call-of-{user}")),
        receipt_id: None,
        route: "/v1/chat/completions".into(),
        requested_model: "a".to_owned(),
        model_group: Some("a".into()),
        deployment: None,
        provider: Some("openai".into()),
        upstream_model: Some("gpt-4o".to_owned()),
        upstream_id: Some(format!("chatcmpl-{user}")),
        status: 200,
        ending: Ending::Complete,
        usage: Usage { input: 1, output: 1, ..Usage::default() },
        cost: Some(PicoUsd::parse(cost).unwrap()),
        duration: Duration::from_millis(1),
        ttft: None,
        upstream_time: Duration::from_millis(1),
        attempts: Vec::new(),
        losses: Vec::new(),
        stream: false,
        account: Account {
            api_key: hash(key),
            user: Some(user.to_owned()),
            team: Some("mine".to_owned()),
            ..Account::default()
        },
        wall: WallTimes { started: at, ended: at, first_token: None },
        log: LogFacts::default(),
    }
}

#[tokio::test]
async fn members_see_what_they_spent_in_a_team_unless_it_lets_them_see_everything() {
    let world = World::new().await;
    let mut receipts = Vec::new();
    for (user, cost) in [("lead", "1"), ("member", "2")] {
        let key = world.key(json!({"user_id": user, "team_id": "mine"})).await;
        receipts.push(receipt(&key, user, cost));
    }
    let settled = world.admin.store.settle(&receipts, SettleOptions::default(), world.admin.now()).await;
    assert_eq!(settled.unwrap().booked, 2);
    let spent = async |who: &str| -> Value {
        let query = "start_date=2026-01-01&end_date=2026-12-31&team_ids=mine";
        world.get(who, "/team/daily/activity", query).await.ok()["metadata"]["total_spend"].take()
    };
    for (who, sees) in [
        ("root", 3.0),
        ("viewer", 3.0),
        ("chief", 3.0),
        ("lead", 3.0),
        ("member", 2.0),
        ("chief-there", 0.0),
        ("stranger", 0.0),
    ] {
        assert_eq!(spent(who).await.as_f64(), Some(sees), "{who}");
    }
    let grant = json!({"team_id": "mine", "team_member_permissions": ["/team/daily/activity"]});
    world.post("lead", "/team/permissions_update", grant).await.ok();
    assert_eq!(spent("member").await, 3.0);
}

#[tokio::test]
async fn sums_over_all_days_and_reports_for_bills_show_each_their_own() {
    for world in [World::new().await, World::postgres().await] {
        let mut receipts = Vec::new();
        let mut keys = Vec::new();
        for (user, cost) in [("lead", "1"), ("member", "2")] {
            let key = world.key(json!({"user_id": user, "team_id": "mine", "key_alias": user})).await;
            receipts.push(receipt(&key, user, cost));
            keys.push(key);
        }
        let mut hit = receipt(&keys[0], "again", "0");
        hit.account.user = Some("lead".to_owned());
        hit.log.cache_hit = Some(true);
        let mut failed = receipt(&keys[0], "failed", "0");
        (failed.status, failed.ending) = (429, Ending::Refused);
        receipts.extend([hit, failed]);
        let settled = world.admin.store.settle(&receipts, SettleOptions::default(), world.admin.now()).await;
        assert_eq!(settled.unwrap().booked, 4);

        let dates = "start_date=2026-01-01&end_date=2026-12-31";
        let get =
            async |who: &str, path: &str, more: &str| world.get(who, path, &format!("{dates}{more}")).await;
        let all = get("lead", "/team/daily/activity/aggregated", "&team_ids=mine").await.ok();
        assert_eq!(
            (&all["metadata"]["total_spend"], &all["metadata"]["total_pages"]),
            (&json!(3.0), &json!(1))
        );
        let own = get("member", "/user/daily/activity/aggregated", "").await.ok();
        assert_eq!(own["metadata"]["total_spend"], 2.0);
        let long = "start_date=2020-01-01&end_date=2026-12-31";
        world.get("member", "/user/daily/activity/aggregated", long).await.refused(400, "400 days");

        let hits = get("master", "/global/activity/cache_hits", "").await.ok();
        let totals = &hits["totals"];
        assert_eq!(
            (&totals["api_requests"], &totals["cache_hits"], &totals["failed_requests"]),
            (&json!(2), &json!(1), &json!(1))
        );
        assert_eq!(hits["filter_options"]["key_aliases"], json!(["lead", "member"]));
        assert_eq!(hits["error_breakdown"][0]["count"], 1, "{hits}");
        let of_member = get("master", "/global/activity/cache_hits", "&key_aliases=member").await.ok();
        assert_eq!(of_member["totals"]["api_requests"], 1);
        assert_eq!(get("member", "/global/activity/cache_hits", "").await.ok()["totals"]["api_requests"], 1);

        let mine = get(&keys[1], "/key/spend/report", "").await.ok();
        assert_eq!(
            (&mine[0]["total_cost"], &mine[0]["model_details"][0]["total_cost"]),
            (&json!(2.0), &json!(2.0))
        );
        get(&keys[1], "/key/spend/report", "&api_key=abc").await.refused(403, "own key");
        assert_eq!(
            get("lead", "/team/spend/report", "&team_id=mine").await.ok().as_array().unwrap().len(),
            2
        );
        get("member", "/team/spend/report", "&team_id=mine").await.refused(403, "team_id=mine");
        get("member", "/user/spend/report", "&user_id=lead").await.refused(403, "own spend");
        get("member", "/organization/spend/report", "&organization_id=here")
            .await
            .refused(403, "organization_id=here");
        let people = get("lead", "/team/spend/by_user", "&team_ids=mine").await.ok();
        let spends: Vec<_> =
            people["results"].as_array().unwrap().iter().map(|row| row["spend"].clone()).collect();
        assert_eq!(spends[..2], [json!(2.0), json!(1.0)]);
        let own = get("member", "/team/spend/by_user", "&team_ids=mine").await.ok();
        assert_eq!(
            (own["results"].as_array().unwrap().len(), &own["results"][0]["user_id"]),
            (1, &json!("member"))
        );
    }
}

#[tokio::test]
async fn latencies_per_token_are_told_by_day_for_a_group_and_a_key() {
    let world = World::new().await;
    let key = world.key(json!({"user_id": "lead"})).await;
    let mut slow = receipt(&key, "lead", "1");
    slow.wall.ended = slow.wall.started.plus_millis(2_000);
    let settled = world.admin.store.settle(&[slow], SettleOptions::default(), world.admin.now()).await;
    assert_eq!(settled.unwrap().booked, 1);
    let days = "startTime=2026-02-01&endTime=2026-02-28";
    let told = async |more: &str| world.get("master", "/model/metrics", &format!("{days}{more}")).await.ok();
    let all = told("&_selected_model_group=a&api_key=undefined").await;
    assert_eq!((&all["data"][0]["date"], &all["all_api_bases"]), (&json!("2026-02-02"), &json!(["gpt-4o"])));
    assert!((all["data"][0]["gpt-4o"].as_f64().unwrap() - 2.0).abs() < 1e-3, "{all}");
    assert_eq!(told(&format!("&api_key={key}")).await, all);
    assert_eq!(told("&_selected_model_group=b").await["data"], json!([]));
    assert_eq!(told("&customer=somebody").await["data"], json!([]));
    world.get("master", "/model/metrics", "startTime=soon").await.refused(400, "startTime");
}

#[tokio::test]
async fn keys_of_the_days_come_by_spend_are_found_by_word_and_make_a_table() {
    for world in [World::new().await, World::postgres().await] {
        let mut receipts = Vec::new();
        let mut hashes = Vec::new();
        for (user, alias, cost) in [("lead", "=first", "0.1"), ("member", "second", "0.2")] {
            let key = world.key(json!({"user_id": user, "team_id": "mine", "key_alias": alias})).await;
            hashes.push(hash(&key));
            receipts.push(receipt(&key, user, cost));
        }
        world.admin.store.settle(&receipts, SettleOptions::default(), world.admin.now()).await.unwrap();
        let get = async |who: &str, path: &str, query: &str| {
            let query = format!("start_date=2026-01-01&end_date=2026-12-31&{query}");
            world.get(who, &format!("/team/daily/activity/{path}"), &query).await
        };
        let names = |told: &Value| -> Vec<Value> {
            told["api_keys"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["metadata"]["key_alias"].clone())
                .collect()
        };

        let keys = get("lead", "aggregated/keys", "").await.ok();
        assert_eq!(names(&keys), ["second", "=first"], "most spend first");
        assert_eq!(keys["api_keys"][0]["api_key"], json!(hashes[1]));
        assert_eq!(keys["api_keys"][0]["metrics"]["spend"], json!(0.2));
        assert_eq!(keys["api_keys"][0]["metadata"]["user_email"], json!("member@example.com"));
        let second = get("lead", "aggregated/keys", "offset=1&limit=1").await.ok();
        assert_eq!((names(&second), &second["total_api_keys"]), (vec![json!("=first")], &json!(2)));
        assert_eq!(names(&get("member", "aggregated/keys", "").await.ok()), ["second"], "one's own");
        get("lead", "aggregated/keys", "limit=101").await.refused(422, "from 1 to 100");

        for word in ["SECOND", "member%40example", &hashes[1][..20]] {
            let found = get("lead", "aggregated/search", &format!("search={word}")).await.ok();
            assert_eq!(names(&found), ["second"], "{word}");
        }
        assert_eq!(names(&get("member", "aggregated/search", "search=first").await.ok()), [json!(null); 0]);
        get("lead", "aggregated/search", "").await.refused(422, "search");

        let lines = get("lead", "export", "format=json&export_type=daily_with_keys").await.ok();
        assert_eq!(lines.as_array().unwrap().len(), 2, "{lines}");
        let day = get("lead", "export", "format=json").await.ok();
        assert_eq!(
            (&day[0]["spend"], &day[0]["entity_id"], &day[0]["api_key"]),
            (&json!(0.3), &json!("mine"), &json!(null))
        );
        let users = get("lead", "export", "format=json&export_type=daily_with_users").await.ok();
        assert_eq!((&users[0]["user_id"], &users[1]["user_id"]), (&json!("lead"), &json!("member")));
        let models = get("lead", "export", "format=json&export_type=daily_with_models").await.ok();
        assert_eq!(models[0]["model"], json!("gpt-4o"));
        get("lead", "export", "format=xml").await.refused(422, "format");
        get("lead", "export", "export_type=hourly").await.refused(422, "export_type");

        let query = "start_date=2026-01-01&end_date=2026-12-31&export_type=daily_with_keys&team_ids=mine";
        let sheet = world.raw("lead", "/team/daily/activity/export", query).await;
        assert_eq!(sheet.headers()["content-type"], "text/csv; charset=utf-8");
        let named = "attachment; filename=\"team-usage-2026-01-01-2026-12-31-daily_with_keys.csv\"";
        assert_eq!(sheet.headers()["content-disposition"], named);
        let text = String::from_utf8_lossy(sheet.body()).into_owned();
        assert!(text.starts_with("date,entity_id,entity_alias,api_key,key_alias,"), "{text}");
        assert!(text.contains(",'=first,lead,"), "no formula: {text}");
        assert_eq!(text.matches("\r\n").count(), 3, "{text}");
    }
}
