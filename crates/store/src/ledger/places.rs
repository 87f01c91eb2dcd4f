//! What is spent at providers and deployments that have a budget, in each period of it.
//!
//! A period's total is of its own, under the time it ends: nothing has to be set back when one is over, and a
//! receipt that comes late is booked where it belongs. Which providers and deployments have a budget is a matter of
//! the configuration, so whoever settles says which periods a receipt adds to.

use std::collections::BTreeMap;

use faregate_terms::{PicoUsd, Receipt, UtcMillis};

use super::totals;
use crate::db::{Cell, Tx};
use crate::schema::Kind;
use crate::usd::{join, split};
use crate::{Store, StoreError};

/// Where or for what money is spent, under a budget of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlaceKind {
    /// At a provider.
    Provider,
    /// At one entry of `model_list`.
    Deployment,
    /// For requests with a tag.
    Tag,
}

impl PlaceKind {
    const ALL: [Self; 3] = [Self::Provider, Self::Deployment, Self::Tag];

    /// The word in `faregate_spend_totals.kind`.
    fn word(self) -> &'static str {
        match self {
            Self::Provider => "provider_period",
            Self::Deployment => "deployment_period",
            Self::Tag => "tag_period",
        }
    }
}

/// One budget period of one provider, deployment or tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlacePeriod {
    /// What it is.
    pub kind: PlaceKind,
    /// The name of provider or tag, or the deployment's id.
    pub id: String,
    /// When it ends and how long it is; empty for a budget that never starts again.
    period: String,
}

impl PlacePeriod {
    /// The period of length `duration` (`30d`) that is over at `ends`; `None` for a budget that never starts again.
    pub fn new(kind: PlaceKind, id: impl Into<String>, ends: Option<(UtcMillis, &str)>) -> Self {
        // The time first, so that texts sort as times do.
        let period = ends.map_or_else(String::new, |(ends, duration)| format!("{ends} {duration}"));
        Self { kind, id: id.into(), period }
    }
}

/// Names the periods that a receipt adds to, each once.
pub type PeriodsOf<'a> = &'a (dyn Fn(&Receipt) -> Vec<PlacePeriod> + Send + Sync);

impl Store {
    /// What is booked on a period so far.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn spent_at(&self, place: &PlacePeriod) -> Result<PicoUsd, StoreError> {
        let mut sql =
            self.db.sql("SELECT spend_usd, spend_pico FROM \"faregate_spend_totals\" WHERE kind = ");
        sql.bind(Kind::Text, place.kind.word()).push(" AND id = ").bind(Kind::Text, place.id.as_str());
        sql.push(" AND sub_id = ").bind(Kind::Text, place.period.as_str());
        let rows = self.db.fetch(sql, &[Kind::Big, Kind::Big]).await?;
        let part = |row: &Vec<Cell>, index: usize| row.get(index).map_or(0, Cell::int);
        Ok(rows.first().map_or(PicoUsd::ZERO, |row| join(part(row, 0), part(row, 1))))
    }

    /// Forgets periods of providers, deployments and tags that were over before `before`. Returns how many.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn forget_places(&self, before: UtcMillis) -> Result<u64, StoreError> {
        let mut sql = self.db.sql("DELETE FROM \"faregate_spend_totals\" WHERE kind IN ");
        sql.bind_list(Kind::Text, PlaceKind::ALL.map(PlaceKind::word));
        sql.push(" AND sub_id <> '' AND sub_id < ").bind(Kind::Text, before.to_string());
        self.db.execute(sql).await
    }
}

/// Adds receipts to the periods they belong to.
pub(super) async fn add(
    tx: &mut Tx,
    receipts: &[(&Receipt, String)],
    periods_of: PeriodsOf<'_>,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let mut amounts: BTreeMap<PlacePeriod, PicoUsd> = BTreeMap::new();
    for (receipt, _) in receipts {
        let Some(cost) = receipt.cost.filter(|cost| *cost > PicoUsd::ZERO) else { continue };
        for place in periods_of(receipt) {
            *amounts.entry(place).or_default() += cost;
        }
    }
    for (place, amount) in amounts {
        let ids = (place.id.as_str(), place.period.as_str());
        totals::increase_one(tx, place.kind.word(), ids, split(amount), now).await?;
    }
    Ok(())
}
