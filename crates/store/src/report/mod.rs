//! The queries behind the spend reports. They read from the replica when there is one.
//!
//! Sums are exact: each row's floating-point cost is taken back to pico-dollars before it is added up.

mod activity;
mod latency;
mod logs;
mod sums;
mod usage;

pub use activity::{
    ActivityLine, ActivityQuery, Breakdown, DailyActivity, DayActivity, KeyOwner, LinesBy, Metrics,
    MetricsOf, Totals,
};
pub use latency::LatencyRow;
pub use logs::LogQuery;
pub use sums::{Dimension, SpendRow};
pub use usage::ModelDay;
