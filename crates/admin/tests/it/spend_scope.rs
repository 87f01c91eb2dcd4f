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
