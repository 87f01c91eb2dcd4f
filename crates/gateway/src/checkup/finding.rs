//! What one check of a deployment found.

use std::time::Duration;

use faregate_terms::DeploymentId;
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// The longest error text that is kept. Source: LiteLLM, `error_message` of its table.
const LONGEST_ERROR: usize = 500;

/// How a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It answered.
    Healthy,
    /// It did not.
    Unhealthy,
    /// Nobody could be asked: this version makes no such call, or nobody says which model to ask for.
    Unchecked,
}

impl Verdict {
    /// The word of the health table: what is not known to be well is not.
    pub fn word(self) -> &'static str {
        if self == Self::Healthy { "healthy" } else { "unhealthy" }
    }
}

/// What one check found. Travels between replicas as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its public name.
    pub group: String,
    /// How it is.
    pub verdict: Verdict,
    /// When it was asked, in milliseconds of the wall clock.
    pub at: i64,
    /// How long that took, in milliseconds.
    pub took_ms: f64,
    /// The status a client would have got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it is not well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the provider says of its limits: names and values of headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<(String, String)>,
    /// Who asked; nobody did for a check in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Finding {
    /// What came of a check of `deployment` at `at`.
    pub fn new(
        deployment: DeploymentId,
        group: &str,
        at: i64,
        took: Duration,
        outcome: Result<Vec<(String, String)>, &Refusal>,
    ) -> Self {
        let mut finding = Self {
            deployment,
            group: group.to_owned(),
            verdict: Verdict::Healthy,
            at,
            took_ms: (took.as_secs_f64() * 1e6).round() / 1e3,
            status: None,
            error: None,
            notes: Vec::new(),
            by: None,
        };
        match outcome {
            Ok(notes) => finding.notes = notes,
            Err(refusal) => {
                let is_ours = matches!(refusal, Refusal::NotImplemented(_));
                finding.verdict = if is_ours { Verdict::Unchecked } else { Verdict::Unhealthy };
                finding.status = Some(refusal.status());
                finding.error = Some(refusal.to_string().chars().take(LONGEST_ERROR).collect());
            }
        }
        finding
    }

    /// True if the failure says little about the deployment: it was asked too often, or answered late.
    pub fn is_transient(&self) -> bool {
        matches!(self.status, Some(408 | 429))
    }
}
