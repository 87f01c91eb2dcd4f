//! The store, on both engines: each test body runs once on SQLite and once on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod adoption;
mod ledger;
mod lifecycle;
mod model_budgets;
mod places;
mod records;
mod reports;
mod schema;
mod seal;
mod support;
mod upkeep;
mod windows;
