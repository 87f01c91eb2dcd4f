//! Ends budget periods.

use std::time::Duration;

use faregate_state::invalidate::Subject as Changed;
use faregate_store::ledger::{EVERYBODY, SubjectKind};
use faregate_store::{Patch, StoreError, Usd, User};

use super::Desk;
use crate::database::now;

/// How long a budget period of a provider, deployment or model is kept when it is over, in milliseconds.
const KEPT_MS: i64 = 24 * 3_600_000;
/// How long a replica has this job.
const CLAIM: Duration = Duration::from_secs(60);

/// Sets the spend of every budget whose period is over to zero, on one replica, and tells all.
pub async fn run(desk: Desk) {
    if desk.snapshot.load().general.database.no_reset {
        return;
    }
    let Some(lead) = desk.leadership.lead("reset-budgets", CLAIM).await else { return };
    if !lead.holds() {
        return;
    }
    let rules = desk.rules.load_full();
    let now = now();
    // Periods that ended while nobody was there are not made up for.
    let next = |duration: &str, _| rules.next_reset(duration, now);
    let ended = async {
        let mut ended = desk.store.reset_due_budgets(now, &next).await?;
        ended.extend(desk.store.end_windows(now, &next).await?);
        Ok::<_, StoreError>(ended)
    };
    match ended.await {
        Ok(reset) => {
            for subject in &reset {
                desk.invalidations.publish(changed(subject.kind), &subject.id);
            }
            if !reset.is_empty() {
                tracing::info!(subjects = reset.len(), "budget periods ended");
            }
        }
        Err(error) => tracing::warn!(%error, "budgets cannot be reset now"),
    }
    // Each of their periods has a total of its own; those that are long over are of no use.
    let before = now.plus_millis(-KEPT_MS);
    let forgotten = async {
        desk.store.forget_places(before).await?;
        desk.store.forget_model_periods(before).await
    };
    if let Err(error) = forgotten.await {
        tracing::warn!(%error, "past budget periods of providers, deployments and models cannot be removed now");
    }
}

/// Gives the budget of the whole installation the row that LiteLLM keeps it in, so that it has a period.
///
/// # Errors
/// When the database is away.
pub async fn keep_global(desk: &Desk) -> Result<(), StoreError> {
    let snapshot = desk.snapshot.load();
    let budget = snapshot.global_budget();
    let Some(max) = budget.max_budget else { return Ok(()) };
    let now = now();
    let row = desk.store.get::<User>(&[EVERYBODY]).await?;
    let same = row
        .as_ref()
        .is_some_and(|row| row.max_budget == Some(Usd(max)) && row.budget_duration == budget.duration);
    if same {
        return Ok(());
    }
    let ends = budget.duration.as_deref().and_then(|it| desk.rules.load().next_reset(it, now));
    let patch = Patch::new()
        .set("max_budget", Usd(max))
        .set("budget_duration", &budget.duration)
        .set("budget_reset_at", ends);
    match row {
        Some(_) => desk.store.update::<User>(&[EVERYBODY], &patch, now).await.map(drop),
        None => {
            let row = User {
                user_id: EVERYBODY.to_owned(),
                max_budget: Some(Usd(max)),
                budget_duration: budget.duration.clone(),
                budget_reset_at: ends,
                ..User::default()
            };
            desk.store.insert(&row, now).await
        }
    }
}

fn changed(kind: SubjectKind) -> Changed {
    match kind {
        SubjectKind::Key => Changed::Key,
        SubjectKind::User => Changed::User,
        SubjectKind::Organization | SubjectKind::OrganizationMember => Changed::Organization,
        SubjectKind::Project => Changed::Project,
        SubjectKind::EndUser => Changed::EndUser,
        SubjectKind::Tag => Changed::Tag,
        _ => Changed::Team,
    }
}
