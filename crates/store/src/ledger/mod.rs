//! What was spent: exact totals, the request log, daily aggregates, resets.

mod log;
mod subject;
pub(crate) mod totals;

pub use log::SpendLog;
pub use subject::{Subject, SubjectKind};
