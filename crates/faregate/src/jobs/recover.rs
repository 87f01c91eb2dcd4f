//! Settles the calls that were under way when an earlier process died.

use std::path::Path;
use std::time::Duration;

use faregate_journal::{Journal, JournalError, OpenCall, Recovery, Settings, Ticket};
use faregate_terms::{CallId, Ending, ErrorNote, LogFacts, Receipt, Usage, UtcMillis, WallTimes};
use futures_util::future::join_all;

use super::{Desk, Left, settle};
use crate::control::folders;
use crate::database::now;

/// Books each call with what it was expected to cost, flagged as estimated: it may have reached a provider,
/// and nobody knows what came of it.
///
/// What comes back tells when that is on record.
pub fn settle_open(journal: &Journal, recovery: &Recovery) -> Vec<Ticket> {
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
    recovery.open.iter().map(|open| journal.settle_open(open, &receipt(open, ended))).collect()
}

/// How long calls that were under way may take to be on record.
pub(super) const WRITTEN: Duration = Duration::from_secs(10);

/// Books what processes left that will not come back to their journals.
pub async fn take_over(desk: Desk, left: Vec<Left>) {
    for Left { folder, journal, recovery } in left {
        let written = join_all(settle_open(&journal, &recovery));
        // A reader that comes before the writer finds nothing: the folder must not go for that.
        let is_written = tokio::time::timeout(WRITTEN, written).await.is_ok();
        let empty = settle::everything(&desk, &journal).await;
        let closing = journal.clone();
        let _ = tokio::task::spawn_blocking(move || closing.close()).await;
        if empty
            && is_written
            && let Err(error) = std::fs::remove_dir_all(&folder)
        {
            tracing::warn!(%error, folder = %folder.display(), "an empty journal cannot be removed");
        }
    }
}

/// Looks for journals whose process has ended since, however that was, and books what they hold.
pub async fn of_the_dead(desk: Desk) {
    let journals = desk.journals.clone();
    let found = tokio::task::spawn_blocking(move || abandoned(&journals)).await;
    match found {
        Ok(left) if left.is_empty() => {}
        Ok(left) => take_over(desk, left).await,
        Err(error) => tracing::warn!(%error, "journals of ended processes cannot be looked for"),
    }
}

/// Journals that no living process has. Each process locks its own, this one as well.
fn abandoned(journals: &Path) -> Vec<Left> {
    let there = folders(journals).filter(|folder| folder.exists());
    let opened = there.filter_map(|folder| match Journal::open(&folder, Settings::default()) {
        Ok((journal, recovery)) => Some(Left { folder, journal, recovery }),
        Err(JournalError::InUse(_)) => None,
        Err(error) => {
            tracing::warn!(%error, "the journal of an ended process cannot be opened");
            None
        }
    });
    opened.collect()
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
        deployment: admission.deployment,
        provider: admission.provider,
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
