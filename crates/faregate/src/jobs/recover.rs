//! Settles the calls that were under way when an earlier process died.

use std::time::Duration;

use faregate_journal::{Journal, OpenCall, Recovery};
use faregate_terms::{CallId, Ending, ErrorNote, LogFacts, Receipt, Usage, UtcMillis, WallTimes};

use super::{Desk, Left, settle};
use crate::database::now;

/// Books each call with what it was expected to cost, flagged as estimated: it may have reached a provider,
/// and nobody knows what came of it.
pub fn settle_open(journal: &Journal, recovery: &Recovery) {
    if recovery.lost_bytes > 0 {
        tracing::warn!(bytes = recovery.lost_bytes, "the journal held bytes that are no whole entry");
    }
    if !recovery.open.is_empty() || recovery.receipts > 0 {
        tracing::info!(
            calls_under_way = recovery.open.len(),
            receipts = recovery.receipts,
            "an earlier process left requests to book"
        );
    }
    let ended = now();
    for open in &recovery.open {
        drop(journal.settle_open(open, receipt(open, ended)));
    }
}

/// Books what processes left that will not come back to their journals.
pub async fn take_over(desk: Desk, left: Vec<Left>) {
    for Left { folder, journal, recovery } in left {
        settle_open(&journal, &recovery);
        let empty = settle::everything(&desk, &journal).await;
        let closing = journal.clone();
        let _ = tokio::task::spawn_blocking(move || closing.close()).await;
        if empty && let Err(error) = std::fs::remove_dir_all(&folder) {
            tracing::warn!(%error, folder = %folder.display(), "an empty journal cannot be removed");
        }
    }
}

fn receipt(open: &OpenCall, ended: UtcMillis) -> Receipt {
    let admission = open.admission.clone();
    let unnamed = || CallId::from(format!("recovered-{}", admission.started.millis()));
    let since = ended.millis().saturating_sub(admission.started.millis());
    Receipt {
        call_id: admission.call_id.clone().unwrap_or_else(unnamed),
        receipt_id: admission.receipt_id,
        route: admission.route.into(),
        requested_model: admission.requested_model.clone(),
        model_group: Some(admission.requested_model.into()),
        deployment: None,
        provider: None,
        upstream_model: None,
        upstream_id: None,
        status: 500,
        ending: Ending::Broken,
        usage: Usage { estimated: true, ..Usage::default() },
        cost: Some(admission.expected_cost),
        duration: Duration::from_millis(u64::try_from(since).unwrap_or_default()),
        ttft: None,
        upstream_time: Duration::ZERO,
        attempts: Vec::new(),
        losses: Vec::new(),
        stream: false,
        account: admission.account,
        wall: WallTimes { started: admission.started, ended, first_token: None },
        log: LogFacts {
            call_type: "acompletion".to_owned(),
            metadata: Some(r#"{"faregate_recovered":true}"#.to_owned()),
            error: Some(ErrorNote {
                code: "500".to_owned(),
                class: "InternalServerError".to_owned(),
                message: "the gateway ended while this request was under way; its cost is an estimate"
                    .to_owned(),
            }),
            ..LogFacts::default()
        },
    }
}
