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
