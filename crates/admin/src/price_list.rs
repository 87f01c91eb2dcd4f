//! The price list that serves: where it came from, and reading it again. Source: compat, endpoints §2.14; words are
//! LiteLLM's.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use faregate_catalog::Catalog;
use faregate_state::invalidate::Subject;
use faregate_store::{ConfigRow, Store, StoreError};
use faregate_terms::UtcMillis;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::Outcome;
use crate::error::AdminError;
use crate::fields::{Field, Holds, required};
use crate::routes::{Answer, Call, Route, route};

pub(crate) const ROUTES: &[Route] = &[
    route!(
        "POST",
        &["/reload/model_cost_map"],
        Admin,
        &[],
        &[],
        "Read the price list again, everywhere",
        reload
    ),
    route!(
        "POST",
        &["/schedule/model_cost_map_reload"],
        Admin,
        &[],
        HOURS,
        "Read the price list again every so many hours",
        schedule
    ),
    route!(
        "DELETE",
        &["/schedule/model_cost_map_reload"],
        Admin,
        &[],
        &[],
        "Read the price list by that schedule no more",
        cancel
    ),
    route!(
        "GET",
        &["/schedule/model_cost_map_reload/status"],
        Viewer,
        &[],
        &[],
        "When the price list is read again",
        status
    ),
    route!("GET", &["/model/cost_map/source"], Viewer, &[], &[], "Where the price list came from", source),
];

const HOURS: &[Field] = &[required("hours", Holds::Int, "1 or more")];

/// LiteLLM's row for the schedule: `{"interval_hours": 6}`.
const SCHEDULE: &str = "model_cost_map_reload_config";

/// What replicas are told of when one has read its list again.
pub const REREAD: &str = "model_cost_map";

/// Has the list read again, and is done when it serves; else says why not.
pub type Reread = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The price list that serves.
pub struct PriceList {
    catalog: ArcSwap<Catalog>,
    /// When it last came from where the operator keeps one, in milliseconds since 1970; 0 if it never did.
    read_ms: AtomicI64,
    /// Where the operator keeps one.
    pub place: Option<String>,
    /// The environment says to look nowhere else than in the release.
    pub is_forced: bool,
}

impl PriceList {
    /// The list of the release, or what was at hand of `place`.
    pub fn new(catalog: Arc<Catalog>, place: Option<String>, is_forced: bool) -> Self {
        Self { catalog: ArcSwap::new(catalog), read_ms: AtomicI64::new(0), place, is_forced }
    }

    /// Another list serves from now on, read at this time.
    pub fn put(&self, catalog: Arc<Catalog>, read: UtcMillis) {
        self.catalog.store(catalog);
        self.read_ms.store(read.millis(), Ordering::Relaxed);
    }

    /// The list.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// True if a schedule of so many hours asks for it to be read again.
    pub fn is_due(&self, hours: u64, now: UtcMillis) -> bool {
        self.read_at().is_none_or(|read| after(read, hours) <= now)
    }

    fn read_at(&self) -> Option<UtcMillis> {
        let read = self.read_ms.load(Ordering::Relaxed);
        (read > 0).then(|| UtcMillis::from_millis(read))
    }
}

/// Why a list is not read again where none was named.
const NOTHING_TO_READ: &str =
    "Only the price list of the release is in use; set LITELLM_MODEL_COST_MAP_URL first";

async fn reload(call: Call) -> Outcome {
    let kept = |reason: &str| {
        let text = format!("Failed to reload model cost map: {reason}. Current pricing data was kept.");
        AdminError::new(502, "bad_gateway", text)
    };
    let Some(reread) = &call.admin.reread else {
        return Err(AdminError::not_found("This control plane has no price list to read again"));
    };
    if call.admin.prices.place.is_none() {
        return Err(AdminError::new(400, "invalid_request_error", NOTHING_TO_READ));
    }
    reread().await.map_err(|reason| kept(&reason))?;
    call.admin.changed(Subject::Settings, REREAD);
    let count = call.admin.prices.catalog().len();
    Ok(Answer::json(&json!({
        "message": format!("Price data reloaded successfully! {count} models updated."),
        "status": "success",
        "models_count": count,
        "timestamp": call.admin.now(),
    })))
}

async fn source(call: Call) -> Outcome {
    let list = &call.admin.prices;
    let read = list.read_at();
    let reason = match (&list.place, read) {
        (Some(place), None) => Some(format!("{place} could not be read yet; the log says why")),
        _ => None,
    };
    Ok(Answer::json(&json!({
        "source": if read.is_some() { "remote" } else { "local" },
        "url": list.place,
        "is_env_forced": list.is_forced,
        "fallback_reason": reason,
        "loaded_at": read,
        "source_revision": null,
        "etag": null,
        "model_count": list.catalog().len(),
    })))
}

/// The hours between two readings that an operator asked for.
///
/// # Errors
/// When the database is away.
pub async fn scheduled(store: &Store) -> Result<Option<u64>, StoreError> {
    let row = store.get::<ConfigRow>(&[SCHEDULE]).await?;
    Ok(row.and_then(|row| row.param_value["interval_hours"].as_u64()).filter(|hours| *hours > 0))
}

fn after(time: UtcMillis, hours: u64) -> UtcMillis {
    time.plus_millis(i64::try_from(hours.saturating_mul(3_600_000)).unwrap_or(i64::MAX / 2))
}

async fn keep(call: &Call, hours: Option<u64>) -> Result<(), AdminError> {
    let row = ConfigRow {
        param_name: SCHEDULE.to_owned(),
        param_value: json!({ "interval_hours": hours }),
        ..ConfigRow::default()
    };
    Ok(call.admin.store.put(&row, call.admin.now()).await?)
}

async fn schedule(call: Call) -> Outcome {
    let hours = call.query.get("hours").and_then(Value::as_u64).filter(|hours| (1..=87_600).contains(hours));
    let Some(hours) = hours else {
        return Err(AdminError::invalid("hours", "Hours must be greater than 0, and ten years at most"));
    };
    if call.admin.prices.place.is_none() {
        return Err(AdminError::new(400, "invalid_request_error", NOTHING_TO_READ));
    }
    keep(&call, Some(hours)).await?;
    Ok(Answer::json(&json!({
        "message": format!("Model cost map reload scheduled for every {hours} hours"),
        "status": "success",
        "interval_hours": hours,
        "timestamp": call.admin.now(),
    })))
}

async fn cancel(call: Call) -> Outcome {
    keep(&call, None).await?;
    Ok(Answer::json(&json!({
        "message": "Model cost map reload schedule cancelled", "status": "success", "timestamp": call.admin.now(),
    })))
}

/// As this replica stands: each reads the list for itself.
async fn status(call: Call) -> Outcome {
    let hours = scheduled(&call.admin.store).await?;
    let last = call.admin.prices.read_at();
    let next = hours.map(|hours| last.map_or_else(|| call.admin.now(), |read| after(read, hours)));
    Ok(Answer::json(&json!({
        "scheduled": hours.is_some(), "interval_hours": hours, "last_run": last, "next_run": next,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_due_when_its_hours_are_over_or_it_was_never_read() {
        let list = PriceList::new(Arc::new(Catalog::built_in()), None, false);
        let now = UtcMillis::from_millis(1_700_000_000_000);
        assert!(list.is_due(6, now));
        list.put(list.catalog(), now);
        assert!(!list.is_due(6, now.plus_millis(6 * 3_600_000 - 1)));
        assert!(list.is_due(6, now.plus_millis(6 * 3_600_000)));
    }
}
