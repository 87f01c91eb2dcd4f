//! `model_max_budget`: what is spent on a model is exact in each period, and survives what happens to its owner.

use std::collections::BTreeMap;

use faregate_store::ledger::{ModelBudgeted, ModelBudgets, ModelPeriod};
use faregate_store::{Budget, Deleter, EndUser, Patch, Rotation, SettleOptions, Team, User, VirtualKey};
use faregate_terms::{PicoUsd, Receipt, UtcMillis};
use serde_json::{Value, json};

use crate::ledger::{people, pico, receipt};
use crate::support::{Bench, NOW, on_both};

const DAY: i64 = 24 * 3_600_000;

fn today(model: &str, time: UtcMillis) -> ModelPeriod {
    let ends = UtcMillis::from_millis((time.millis() / DAY + 1) * DAY);
    ModelPeriod::new(model, Some((ends, "1d")))
}

fn ever(model: &str) -> ModelPeriod {
    ModelPeriod::new(model, None)
}

/// Every entry that is named as the receipt's group is: `1d` each day, else for ever.
fn periods(_: ModelBudgeted, budgets: &Value, receipt: &Receipt) -> Vec<ModelPeriod> {
    let group = receipt.model_group.as_ref().unwrap().as_str();
    let Some(budget) = budgets.get(group) else { return Vec::new() };
    vec![if budget["time_period"] == "1d" { today(group, receipt.wall.ended) } else { ever(group) }]
}

fn at(call: &str, cost: &str, group: &str, ended: UtcMillis) -> Receipt {
    let mut receipt = receipt(call, cost);
    receipt.model_group = Some(group.to_owned().into());
    receipt.wall.ended = ended;
    receipt
}

async fn settle(store: &Bench, receipts: &[Receipt]) {
    let models = ModelBudgets { end_users: Some("default"), periods_of: &periods };
    let options = SettleOptions { models: Some(models), ..SettleOptions::default() };
    store.settle(receipts, options, NOW).await.unwrap();
}

async fn spent(store: &Bench, of: ModelBudgeted, id: &str, period: &ModelPeriod) -> PicoUsd {
    let found: BTreeMap<_, _> = store.model_spend(of, id, std::slice::from_ref(period)).await.unwrap();
    found.get(period).copied().unwrap_or_default()
}

/// A key with a daily budget for `fast` and one for ever for `slow`; its team and user have one for ever for `fast`.
async fn budgets(store: &Bench) {
    people(store).await;
    let key = json!({"fast": {"budget_limit": 1, "time_period": "1d"}, "slow": {"budget_limit": 9}});
    store.update::<VirtualKey>(&["k1"], &Patch::new().set("model_max_budget", key), NOW).await.unwrap();
    let both = || Patch::new().set("model_max_budget", json!({"fast": {"max_budget": 5}}));
    store.update::<Team>(&["t1"], &both(), NOW).await.unwrap();
    store.update::<User>(&["u1"], &both(), NOW).await.unwrap();
}

on_both! {
    async fn what_is_spent_on_a_model_is_exact_in_each_period_and_booked_once(store) {
        budgets(&store).await;
        let tomorrow = NOW.plus_millis(DAY);
        let receipts = [
            at("a", "0.000000000001", "fast", NOW),
            at("b", "0.25", "fast", NOW),
            at("c", "4", "slow", NOW),
            at("d", "0.5", "fast", tomorrow),
            at("e", "0.125", "slow", tomorrow),
            at("f", "64", "third", NOW),
        ];
        settle(&store, &receipts).await;
        settle(&store, &receipts).await;
        let key = async |period: ModelPeriod| spent(&store, ModelBudgeted::Key, "k1", &period).await;
        assert_eq!(key(today("fast", NOW)).await, pico("0.250000000001"));
        assert_eq!(key(today("fast", tomorrow)).await, pico("0.5"), "a new period begins with nothing");
        assert_eq!(key(ever("slow")).await, pico("4.125"));
        assert_eq!(key(ever("third")).await, PicoUsd::ZERO, "there is no budget for it");
        for (of, id) in [(ModelBudgeted::Team, "t1"), (ModelBudgeted::User, "u1")] {
            assert_eq!(spent(&store, of, id, &ever("fast")).await, pico("0.750000000001"), "{id}");
        }

        assert_eq!(store.forget_model_periods(tomorrow).await.unwrap(), 1, "today's is over");
        assert_eq!(key(today("fast", NOW)).await, PicoUsd::ZERO);
        assert_eq!(key(today("fast", tomorrow)).await, pico("0.5"));
        assert_eq!(key(ever("slow")).await, pico("4.125"), "what never ends stays");
    }

    async fn an_end_user_has_the_models_of_its_budget_object_or_of_the_default_one(store) {
        people(&store).await;
        for (id, model) in [("default", "fast"), ("own", "slow")] {
            let budget = Budget {
                budget_id: id.to_owned(),
                model_max_budget: json!({model: {"budget_limit": 1}}),
                ..Budget::default()
            };
            store.insert(&budget, NOW).await.unwrap();
        }
        settle(&store, &[at("a", "0.5", "fast", NOW), at("b", "0.25", "slow", NOW)]).await;
        let end_user = async |period: ModelPeriod| spent(&store, ModelBudgeted::EndUser, "customer", &period).await;
        assert_eq!((end_user(ever("fast")).await, end_user(ever("slow")).await), (pico("0.5"), PicoUsd::ZERO));
        store.update::<EndUser>(&["customer"], &Patch::new().set("budget_id", "own"), NOW).await.unwrap();
        settle(&store, &[at("c", "0.5", "fast", NOW), at("d", "0.25", "slow", NOW)]).await;
        assert_eq!((end_user(ever("fast")).await, end_user(ever("slow")).await), (pico("0.5"), pico("0.25")));
    }

    async fn a_key_takes_it_along_to_its_new_hash_and_into_its_grave(store) {
        budgets(&store).await;
        settle(&store, &[at("a", "0.25", "fast", NOW), at("b", "4", "slow", NOW)]).await;
        let rotation = Rotation { from: "k1", to: "k2", grace_until: None, patch: Patch::new() };
        store.rotate_key(rotation, NOW).await.unwrap();
        // Still under way when the key got its new hash.
        settle(&store, &[at("c", "0.25", "fast", NOW)]).await;
        let of = async |key: &str| {
            let key = async |period: ModelPeriod| spent(&store, ModelBudgeted::Key, key, &period).await;
            (key(today("fast", NOW)).await, key(ever("slow")).await)
        };
        assert_eq!(of("k2").await, (pico("0.5"), pico("4")));
        assert_eq!(of("k1").await, (PicoUsd::ZERO, PicoUsd::ZERO));
        store.delete_keys(&["k2"], &Deleter::default(), NOW).await.unwrap();
        assert_eq!(of("k2").await, (PicoUsd::ZERO, PicoUsd::ZERO));
    }
}
