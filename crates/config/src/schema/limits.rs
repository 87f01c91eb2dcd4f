//! Budgets and rates of the whole installation, and the defaults of who has none of their own.
//!
//! They are written in three sections: LiteLLM reads `litellm_settings`, the examples of its documentation
//! use `general_settings` and `router_settings` as well.

use std::collections::BTreeMap;

use faregate_terms::PicoUsd;

use crate::fields::Fields;

/// A sum of money per period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BudgetSettings {
    /// At most so much.
    pub max_budget: Option<PicoUsd>,
    /// In so long, e.g. `30d`; for ever when absent.
    pub duration: Option<String>,
}

/// Which tokens a rate counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TokenRate {
    /// Input and output together.
    #[default]
    Total,
    /// Input only.
    Input,
    /// Output only.
    Output,
}

impl TokenRate {
    const WORDS: &[(&str, Self)] =
        &[("total", Self::Total), ("input", Self::Input), ("output", Self::Output)];
}

/// Limits of `general_settings`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GeneralLimits {
    /// Spend never exceeds a budget.
    pub strict_budgets: bool,
    /// Of the whole installation; `litellm_settings` wins.
    pub budget: BudgetSettings,
    /// Requests in flight on one replica.
    pub max_parallel_requests: Option<u64>,
    /// Requests in flight on all replicas together.
    pub global_max_parallel_requests: Option<u64>,
    /// Which tokens `tpm` limits count.
    pub token_rate: TokenRate,
    /// Count users' budgets for the keys of their teams too.
    pub user_budget_for_team_keys: bool,
}

impl GeneralLimits {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            strict_budgets: fields.flag("strict_budgets").unwrap_or_default(),
            budget: budget(fields),
            max_parallel_requests: fields.count("max_parallel_requests"),
            global_max_parallel_requests: fields.count("global_max_parallel_requests"),
            token_rate: fields.word("token_rate_limit_type", TokenRate::WORDS).unwrap_or_default(),
            user_budget_for_team_keys: fields.flag("apply_user_budget_to_team_keys").unwrap_or_default(),
        }
    }
}

/// Limits of `litellm_settings`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpendSettings {
    /// Of the whole installation; 0 is none.
    pub budget: BudgetSettings,
    /// Status of budget refusals.
    pub exceeded_status: Option<u16>,
    /// Of an end user without one of its own.
    pub end_user_budget: Option<PicoUsd>,
    /// The budget object of an end user without one of its own.
    pub end_user_budget_id: Option<String>,
    /// The zone of budget resets, e.g. `Europe/Berlin`; UTC when absent.
    pub timezone: Option<String>,
    /// The time of day of budget resets, `HH:MM` or `HH:MM:SS`; midnight when absent.
    pub reset_time: Option<String>,
    /// Changes are written down.
    pub audit: bool,
    /// Of tags.
    pub tag_budgets: BTreeMap<String, BudgetSettings>,
}

impl SpendSettings {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            budget: budget(fields),
            exceeded_status: status(fields, "budget_exceeded_status_code"),
            end_user_budget: fields.money("max_end_user_budget"),
            end_user_budget_id: fields.filled("max_end_user_budget_id"),
            timezone: fields.filled("timezone"),
            reset_time: fields.filled("budget_reset_time"),
            audit: fields.flag("store_audit_logs").unwrap_or_default(),
            tag_budgets: named_budgets(fields, "tag_budget_config"),
        }
    }
}

/// Limits of `router_settings`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouterLimits {
    /// Requests per minute of the whole installation.
    pub rpm: Option<u64>,
    /// Tokens per minute of the whole installation.
    pub tpm: Option<u64>,
    /// Of what is spent at a provider.
    pub provider_budgets: BTreeMap<String, BudgetSettings>,
}

impl RouterLimits {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            rpm: fields.count("rpm_limit"),
            tpm: fields.count("tpm_limit"),
            provider_budgets: named_budgets(fields, "provider_budget_config"),
        }
    }
}

/// `max_budget`, where 0 is none, and `budget_duration`.
pub(super) fn budget(fields: &mut Fields<'_>) -> BudgetSettings {
    BudgetSettings {
        max_budget: fields.money("max_budget").filter(|budget| *budget > PicoUsd::ZERO),
        duration: fields.filled("budget_duration"),
    }
}

/// Budgets by the name they are for, with the words of keys or with those of LiteLLM's `BudgetConfig`.
fn named_budgets(fields: &mut Fields<'_>, key: &str) -> BTreeMap<String, BudgetSettings> {
    let Some(mut named) = fields.child(key) else { return BTreeMap::new() };
    let entries = named.entries();
    let read = |fields: &mut Fields<'_>| {
        let own = budget(fields);
        let limit = fields.money("budget_limit").filter(|budget| *budget > PicoUsd::ZERO);
        BudgetSettings {
            max_budget: own.max_budget.or(limit),
            duration: own.duration.or_else(|| fields.filled("time_period")),
        }
    };
    entries
        .iter()
        .filter_map(|entry| Some((entry.key.clone(), read(&mut named.child(&entry.key)?))))
        .collect()
}

fn status(fields: &mut Fields<'_>, key: &str) -> Option<u16> {
    let node = fields.get(key)?;
    let status = fields.count(key)?;
    let valid = u16::try_from(status).ok().filter(|status| (400..600).contains(status));
    if valid.is_none() {
        fields.error(key, node, "is no HTTP status of an error; write a number from 400 to 599");
    }
    valid
}
