//! The binary as an operator meets it: started, refused, asked, reloaded, stopped.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod addresses;
mod alerts;
mod caches;
mod cluster;
mod control;
mod crash;
mod database_away;
mod front;
mod health;
mod in_flight;
mod login;
mod model_budgets;
mod near;
mod outage;
mod pass_through;
mod place_budgets;
mod price_list;
mod process;
mod reconcile;
mod replicas;
mod requests;
mod residency;
mod rotate_salt;
mod serving;
mod starting;
mod stored;
mod strangers;
mod transcript;
mod unified_groups;
mod upgrades;
mod upstream;
