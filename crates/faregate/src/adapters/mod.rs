//! What the data plane asks for, answered by crates it does not know.

mod access_groups;
mod budget_windows;
pub mod known_keys;
pub mod model_budgets;
pub mod near_sql;
mod pass_through;
pub mod places;
pub mod principal;
pub mod shared_sql;
