//! What a finished request used, cost and did.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Account, CallId, DeploymentId, FaultClass, LogFacts, ModelGroup, PicoUsd, ProviderName, Usage, WallTimes,
};

/// How a request ended, from the client's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The whole answer was handed over.
    Complete,
    /// The answer was an error before its first byte.
    Refused,
    /// A stream broke after its first byte; the client got an error event.
    Broken,
    /// The client left before the end; upstream was cancelled.
    ClientClosed,
}

impl Ending {
    /// The word used in logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::ClientClosed => "client_closed",
        }
    }
}

/// One call to one deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptNote {
    /// Where the call went.
    pub deployment: DeploymentId,
    /// From the request's arrival to sending.
    #[serde(default)]
    pub start: Duration,
    /// Waited for it on purpose: a pause before a retry, a place in a queue.
    #[serde(default)]
    pub wait: Duration,
    /// From sending to the first visible output of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft: Option<Duration>,
    /// From sending to the end of the answer, or to the failure.
    pub duration: Duration,
    /// Why it failed; absent for the attempt that answered.
    pub fault: Option<FaultClass>,
    /// Another attempt answered first, and this one was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discarded: Option<Discarded>,
    /// It broke off after a part of its answer had gone out, and a later call went on from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continued: Option<Partial>,
}

/// What a call used that broke off and was continued by another; part of the receipt's usage and cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// Tokens of its prompt.
    pub input: u64,
    /// Tokens of the part that went out.
    pub output: u64,
    /// True when the provider had given no final figures, and the tokens were counted by us.
    pub estimated: bool,
    /// What that cost; `None` when the model has no known price.
    pub cost: Option<PicoUsd>,
}

/// A call that was cancelled because another one of the same request answered first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discarded {
    /// What the provider may charge for it, estimated; `None` when the model has no known price.
    pub cost: Option<PicoUsd>,
}

impl fmt::Display for AttemptNote {
    /// One line for logs: where, when, how long, and what came of it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = Duration::as_millis;
        write!(out, "{} at {} ms", self.deployment, ms(&self.start))?;
        if !self.wait.is_zero() {
            write!(out, ", waited {} ms", ms(&self.wait))?;
        }
        if let Some(ttft) = &self.ttft {
            write!(out, ", first output after {} ms", ms(ttft))?;
        }
        write!(out, ", took {} ms", ms(&self.duration))?;
        match (self.fault, &self.discarded) {
            (Some(fault), _) => write!(out, ", {}", fault.name())?,
            (None, Some(_)) => out.write_str(", discarded")?,
            (None, None) => {}
        }
        if self.continued.is_some() { out.write_str(", continued") } else { Ok(()) }
    }
}

/// The record of one admitted request. Exactly one is made for each, however it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The request's id.
    pub call_id: CallId,
    /// The id the request is booked by, if its client chose [`Receipt::call_id`] and might choose it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_id: Option<CallId>,
    /// What the client called, e.g. `/v1/chat/completions`.
    pub route: Cow<'static, str>,
    /// The model name the client sent.
    pub requested_model: String,
    /// The public name that served it.
    pub model_group: Option<ModelGroup>,
    /// The deployment that answered.
    pub deployment: Option<DeploymentId>,
    /// The provider that answered.
    pub provider: Option<ProviderName>,
    /// The upstream's own model name.
    pub upstream_model: Option<String>,
    /// The upstream's own id of the answer.
    pub upstream_id: Option<String>,
    /// Status sent to the client.
    pub status: u16,
    /// How it ended.
    pub ending: Ending,
    /// What was used.
    pub usage: Usage,
    /// What it cost; `None` when the model has no known price.
    pub cost: Option<PicoUsd>,
    /// Arrival to end.
    pub duration: Duration,
    /// Arrival to first visible output of a stream.
    pub ttft: Option<Duration>,
    /// Time spent waiting for the provider.
    pub upstream_time: Duration,
    /// Every call made, in order.
    pub attempts: Vec<AttemptNote>,
    /// What the translation could not carry, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<String>,
    /// True for a streamed answer.
    pub stream: bool,
    /// Whom it is booked on.
    #[serde(default)]
    pub account: Account,
    /// When it ran.
    #[serde(default)]
    pub wall: WallTimes,
    /// What the request log says beyond the above.
    #[serde(default)]
    pub log: LogFacts,
}

impl Receipt {
    /// The id the request is booked by, once.
    pub fn booking_id(&self) -> &CallId {
        self.receipt_id.as_ref().unwrap_or(&self.call_id)
    }
}
