//! Budgets of providers and deployments: each period has an exact total of its own.

use faregate_store::SettleOptions;
use faregate_store::ledger::{PlaceKind, PlacePeriod};
use faregate_terms::{PicoUsd, Receipt, UtcMillis};

use crate::ledger::{people, pico, receipt};
use crate::support::{NOW, on_both};

const DAY: i64 = 24 * 3_600_000;

fn end_of(time: UtcMillis) -> UtcMillis {
    UtcMillis::from_millis((time.millis() / DAY + 1) * DAY)
}

/// OpenAI has a budget per day, one deployment one for ever.
fn periods(receipt: &Receipt) -> Vec<PlacePeriod> {
    let mut places = Vec::new();
    if receipt.provider.as_ref().is_some_and(|provider| provider.as_str() == "openai") {
        places.push(openai(receipt.wall.ended));
    }
    places.extend(receipt.deployment.as_ref().filter(|id| id.as_str() == "d1").map(|_| first()));
    places
}

fn openai(time: UtcMillis) -> PlacePeriod {
    PlacePeriod::new(PlaceKind::Provider, "openai", Some((end_of(time), "1d")))
}

fn first() -> PlacePeriod {
    PlacePeriod::new(PlaceKind::Deployment, "d1", None)
}

fn at(call: &str, cost: &str, provider: &str, deployment: &str, ended: UtcMillis) -> Receipt {
    let mut receipt = receipt(call, cost);
    receipt.provider = Some(provider.to_owned().into());
    receipt.deployment = Some(deployment.into());
    receipt.wall.ended = ended;
    receipt
}

on_both! {
    async fn what_is_spent_at_a_provider_or_deployment_is_exact_in_each_period_and_booked_once(store) {
        people(&store).await;
        let (today, tomorrow) = (NOW, NOW.plus_millis(DAY));
        let receipts = [
            at("a", "0.000000000001", "openai", "d1", today),
            at("b", "0.25", "openai", "d2", today),
            at("c", "4", "anthropic", "d1", today),
            at("d", "0.5", "openai", "d1", tomorrow),
        ];
        let options = SettleOptions { places: Some(&periods), ..SettleOptions::default() };
        store.settle(&receipts, options, NOW).await.unwrap();
        store.settle(&receipts, options, NOW).await.unwrap();
        assert_eq!(store.spent_at(&openai(today)).await.unwrap(), pico("0.250000000001"));
        assert_eq!(store.spent_at(&openai(tomorrow)).await.unwrap(), pico("0.5"), "a new period begins with nothing");
        assert_eq!(store.spent_at(&first()).await.unwrap(), pico("4.500000000001"));
        let other = PlacePeriod::new(PlaceKind::Provider, "anthropic", Some((end_of(today), "1d")));
        assert_eq!(store.spent_at(&other).await.unwrap(), PicoUsd::ZERO, "it has no budget");

        assert_eq!(store.forget_places(tomorrow).await.unwrap(), 1, "today's is over");
        assert_eq!(store.spent_at(&openai(today)).await.unwrap(), PicoUsd::ZERO);
        assert_eq!(store.spent_at(&openai(tomorrow)).await.unwrap(), pico("0.5"));
        assert_eq!(store.spent_at(&first()).await.unwrap(), pico("4.500000000001"), "what never ends stays");
    }
}
