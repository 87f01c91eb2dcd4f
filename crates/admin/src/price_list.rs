//! The price list that serves: where it came from, and reading it again. Source: compat, endpoints §2.14; words are
//! LiteLLM's.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use faregate_catalog::Catalog;
use faregate_state::invalidate::Subject;
use faregate_terms::UtcMillis;
use futures_util::future::BoxFuture;
use serde_json::json;

use crate::Outcome;
use crate::error::AdminError;
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
    route!("GET", &["/model/cost_map/source"], Viewer, &[], &[], "Where the price list came from", source),
];

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

    fn read_at(&self) -> Option<UtcMillis> {
        let read = self.read_ms.load(Ordering::Relaxed);
        (read > 0).then(|| UtcMillis::from_millis(read))
    }
}

async fn reload(call: Call) -> Outcome {
    let kept = |reason: &str| {
        let text = format!("Failed to reload model cost map: {reason}. Current pricing data was kept.");
        AdminError::new(502, "bad_gateway", text)
    };
    let Some(reread) = &call.admin.reread else {
        return Err(AdminError::not_found("This control plane has no price list to read again"));
    };
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
