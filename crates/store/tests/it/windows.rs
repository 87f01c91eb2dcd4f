//! Budget windows: what is spent in each is exact, survives everything, and ends by itself.

use faregate_store::ledger::Windowed;
use faregate_store::{Patch, Rotation, SettleOptions, Subject, SubjectKind, Team, VirtualKey};
use faregate_terms::{PicoUsd, Receipt, UtcMillis};
use serde_json::{Value, json};

use crate::ledger::{people, pico, receipt};
use crate::support::{Bench, NOW, on_both};

const HOUR: i64 = 3_600_000;

fn at(hours: i64) -> UtcMillis {
    NOW.plus_millis(hours * HOUR)
}

async fn windows(store: &Bench, limits: Value) {
    let patch = Patch::new().set("budget_limits", limits);
    store.update::<VirtualKey>(&["k1"], &patch, NOW).await.unwrap();
    store.update::<Team>(&["t1"], &patch, NOW).await.unwrap();
}

fn ending(call: &str, cost: &str, ended: UtcMillis) -> Receipt {
    let mut receipt = receipt(call, cost);
    receipt.wall.ended = ended;
    receipt
}

async fn settle(store: &Bench, receipts: &[Receipt]) {
    store.settle(receipts, SettleOptions::default(), at(1)).await.unwrap();
}

async fn spent(store: &Bench, duration: &str) -> Option<PicoUsd> {
    let key = store.window_spend(Windowed::Key, "k1").await.unwrap().get(duration).copied();
    let team = store.window_spend(Windowed::Team, "t1").await.unwrap().get(duration).copied();
    assert_eq!(key, team, "key and team have the same windows here");
    key
}

on_both! {
    async fn each_window_counts_what_ended_in_it_and_the_next_begins_with_what_came_after(store) {
        people(&store).await;
        windows(&store, json!([
            {"budget_duration": "1h", "max_budget": 1, "reset_at": at(1), "started_at": at(0)},
            {"budget_duration": "1d", "max_budget": 9, "reset_at": at(12), "started_at": at(0)},
        ])).await;
        settle(&store, &[
            ending("before", "0.5", at(-1)),
            ending("in-1", "0.000000000001", at(0)),
            ending("in-2", "0.25", at(0)),
            ending("after", "0.125", at(1)),
        ]).await;
        settle(&store, &[ending("in-2", "0.25", at(0))]).await;
        assert_eq!(spent(&store, "1h").await, Some(pico("0.250000000001")));
        assert_eq!(spent(&store, "1d").await, Some(pico("0.375000000001")));
        let shown = store.texts(
            "SELECT CAST(spend AS text) FROM \"LiteLLM_BudgetWindowSpend\" WHERE entity_type = 'key' \
             AND window_duration = '1d'",
        ).await;
        assert_eq!(shown[0].parse::<f64>().unwrap(), 0.375_000_000_001);

        let next = |duration: &str, ended: UtcMillis| {
            (duration == "1h").then(|| ended.plus_millis(HOUR)).or(Some(ended.plus_millis(24 * HOUR)))
        };
        let ended = store.end_windows(at(1), &next).await.unwrap();
        assert_eq!(ended, [Subject::of(SubjectKind::Key, "k1"), Subject::of(SubjectKind::Team, "t1")]);
        assert_eq!(spent(&store, "1h").await, Some(pico("0.125")), "what came after the end is the next one's");
        assert_eq!(spent(&store, "1d").await, Some(pico("0.375000000001")), "the other goes on");
        let key: VirtualKey = store.get(&["k1"]).await.unwrap().unwrap();
        assert_eq!(key.budget_limits[0]["reset_at"], json!(at(2)));
        assert_eq!(key.budget_limits[0]["max_budget"], 1);
        assert!(store.end_windows(at(1), &next).await.unwrap().is_empty(), "an end comes once");
        settle(&store, &[ending("late", "0.5", at(0))]).await;
        assert_eq!(spent(&store, "1h").await, Some(pico("0.125")), "a late receipt of the old window is not the new one's");
    }

    async fn a_window_goes_along_with_its_key_and_a_window_that_is_taken_away_is_forgotten(store) {
        people(&store).await;
        let window = |duration: &str| json!({"budget_duration": duration, "max_budget": 1, "reset_at": at(9)});
        windows(&store, json!([window("1d"), window("7d")])).await;
        settle(&store, &[ending("a", "0.5", at(0))]).await;
        let rotation = Rotation { from: "k1", to: "k2", grace_until: None, patch: Patch::new() };
        store.rotate_key(rotation, NOW).await.unwrap();
        let of_key = |key: &'static str| store.window_spend(Windowed::Key, key);
        assert_eq!(of_key("k2").await.unwrap().get("1d"), Some(&pico("0.5")));
        assert!(of_key("k1").await.unwrap().is_empty());
        store.keep_windows(Windowed::Key, "k2", &["7d"]).await.unwrap();
        assert_eq!(of_key("k2").await.unwrap().keys().collect::<Vec<_>>(), ["7d"]);
    }

    async fn what_litellm_counted_of_a_window_is_taken_over_once(store) {
        people(&store).await;
        windows(&store, json!([{"budget_duration": "1d", "max_budget": 9, "reset_at": at(12)}])).await;
        for entity in ["('key', 'k1'", "('team', 't1'"] {
            store.run_sql(&format!(
                "INSERT INTO \"LiteLLM_BudgetWindowSpend\" (entity_type, entity_id, window_duration, window_start, \
                 spend, updated_at) VALUES {entity}, '1d', '2026-03-01 00:00:00', 0.1, '2026-03-01 00:00:00')"
            )).await;
        }
        assert_eq!(spent(&store, "1d").await, Some(pico("0.1")));
        settle(&store, &[ending("a", "0.2", at(0))]).await;
        settle(&store, &[ending("b", "0.3", at(0))]).await;
        assert_eq!(spent(&store, "1d").await, Some(pico("0.6")));
    }
}
