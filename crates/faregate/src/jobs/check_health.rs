//! Health checks in the background: one replica asks, all know, the database remembers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use faregate_gateway::checkup::{self, Finding, Verdict};
use faregate_gateway::gate::{Gate, Table};
use faregate_state::lease::Lead;
use faregate_store::HealthCheck;
use faregate_terms::{DeploymentId, UtcMillis};
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;

use super::Desk;
use crate::database::now;

/// How long a replica has this job; checks that are late are made by any replica.
const CLAIM: Duration = Duration::from_secs(60);
/// Between two looks at what is due.
const LOOK: Duration = Duration::from_secs(1);
/// A state that does not change is written down this often. Source: LiteLLM,
/// `_should_persist_health_check_result`.
const WRITE_AGAIN: i64 = 3600 * 1000;

/// Checks what is due, and lets deployments leave and come back, until the end.
pub async fn run(desk: Desk, gate: Arc<Gate>) {
    remember(&desk, &gate).await;
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut warned, mut held, since) = (false, None, Instant::now());
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = desk.stop.cancelled() => break,
        }
        let table = gate.table.load_full();
        let general = &desk.snapshot.load().general.checks;
        if general.routes && !general.in_background && !std::mem::replace(&mut warned, true) {
            tracing::warn!("enable_health_check_routing does nothing without background_health_checks");
        }
        gate.services.checkups.rotate(&table);
        if !table.checks.in_background {
            continue;
        }
        tokio::select! {
            () = check(&desk, &gate, &table, since, &mut held) => {}
            () = desk.stop.cancelled() => break,
        }
    }
    if let Some(lead) = held {
        lead.release().await;
    }
}

async fn check(desk: &Desk, gate: &Arc<Gate>, table: &Table, since: Instant, held: &mut Option<Lead>) {
    let interval = table.checks.interval;
    let due = older_than(gate, table, interval, Duration::MAX);
    if due.is_empty() {
        return;
    }
    *held = desk.leadership.lead("check-health", CLAIM).await;
    let due = match held {
        Some(lead) if lead.holds() => due,
        // Whoever has the job, or the store that knows it, may be gone.
        _ => older_than(gate, table, interval * 2, since.elapsed()),
    };
    if due.is_empty() {
        return;
    }
    let found = checkup::round(gate, table, &due, None).await;
    let well = found.iter().filter(|it| it.verdict == Verdict::Healthy).count();
    tracing::debug!(checked = found.len(), healthy = well, "deployments were checked");
}

/// The deployments whose last check was so long ago; `never` stands for the age of none.
fn older_than(gate: &Gate, table: &Table, limit: Duration, never: Duration) -> Vec<usize> {
    let is_late = |index: &usize| {
        let deployment = &table.deployments[*index];
        let age = gate.services.checkups.age(&deployment.config.id);
        table.checks.covers(deployment) && age.unwrap_or(never) >= limit
    };
    (0..table.deployments.len()).filter(is_late).collect()
}

/// Takes over what the database knows, so that a start does not check everything again.
async fn remember(desk: &Desk, gate: &Gate) {
    match desk.store.latest_health_checks().await {
        Ok(checks) => checks.iter().filter_map(finding).for_each(|it| gate.services.checkups.remember(it)),
        Err(error) => tracing::warn!(%error, "earlier health checks cannot be read"),
    }
}

fn finding(check: &HealthCheck) -> Option<Finding> {
    Some(Finding {
        deployment: check.model_id.as_deref()?.into(),
        group: check.model_name.clone(),
        verdict: if check.status == "healthy" { Verdict::Healthy } else { Verdict::Unhealthy },
        at: check.checked_at?.millis(),
        took_ms: check.response_time_ms.unwrap_or_default(),
        status: check.details.get("status").and_then(Value::as_u64).and_then(|it| u16::try_from(it).ok()),
        error: check.error_message.clone(),
        notes: Vec::new(),
        by: check.checked_by.clone(),
    })
}

/// Writes down what this replica finds: always what somebody asked for, else changes, and now and then what
/// stays as it is.
pub async fn record(desk: Desk, gate: Arc<Gate>) {
    let mut found = gate.services.checkups.watch();
    let mut written: HashMap<DeploymentId, (Verdict, i64)> = HashMap::new();
    loop {
        let finding = tokio::select! {
            finding = found.recv() => match finding {
                Ok(finding) => finding,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
            () = desk.stop.cancelled() => return,
        };
        let is_news = written
            .get(&finding.deployment)
            .is_none_or(|(verdict, at)| *verdict != finding.verdict || finding.at - at >= WRITE_AGAIN);
        if finding.by.is_none() && !is_news {
            continue;
        }
        match desk.store.insert(&row(&finding), now()).await {
            Ok(()) => drop(written.insert(finding.deployment.clone(), (finding.verdict, finding.at))),
            Err(error) => tracing::warn!(%error, "a health check cannot be written down"),
        }
    }
}

fn row(finding: &Finding) -> HealthCheck {
    let is_well = finding.verdict == Verdict::Healthy;
    let details = finding.status.map_or(Value::Null, |status| serde_json::json!({ "status": status }));
    HealthCheck {
        health_check_id: uuid::Uuid::new_v4().to_string(),
        model_name: finding.group.clone(),
        model_id: Some(finding.deployment.to_string()),
        status: finding.verdict.word().to_owned(),
        healthy_count: is_well.into(),
        unhealthy_count: (!is_well).into(),
        error_message: finding.error.clone(),
        response_time_ms: Some(finding.took_ms),
        details,
        checked_by: finding.by.clone(),
        checked_at: Some(UtcMillis::from_millis(finding.at)),
        ..HealthCheck::default()
    }
}
