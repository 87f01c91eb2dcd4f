//! What was spent: exact totals, the request log, daily aggregates, resets.

mod daily;
mod log;
mod settle;
mod subject;
pub(crate) mod totals;

pub use log::SpendLog;
pub use settle::{SettleOptions, Settlement};
pub use subject::{EVERYBODY, Subject, SubjectKind};
pub use totals::Spent;
