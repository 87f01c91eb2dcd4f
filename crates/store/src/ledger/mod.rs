//! What was spent: exact totals, the request log, daily aggregates, resets.

mod daily;
mod log;
mod metadata;
pub(crate) mod model_budgets;
mod places;
mod reset;
mod retention;
mod settle;
mod subject;
pub(crate) mod totals;
pub(crate) mod windows;

pub use log::SpendLog;
pub use model_budgets::{ModelBudgeted, ModelBudgets, ModelPeriod, ModelPeriodsOf};
pub use places::{PeriodsOf, PlaceKind, PlacePeriod};
pub use reset::NextReset;
pub use retention::{ANONYMOUS, Erasure, UserExport};
pub use settle::{SettleOptions, Settlement};
pub use subject::{EVERYBODY, Subject, SubjectKind};
pub use totals::Spent;
pub use windows::Windowed;
