//! The data plane: route table and request pipeline.
//!
//! Knows no HTTP framework, no SQL and no files. Start at [`pipeline::serve`], which reads like the list of
//! stages it runs; each stage is a module of [`stage`]. [`routes`] says which paths are ours.

pub mod answers;
pub(crate) mod audio;
pub mod auto_router;
pub mod body;
pub mod call;
pub mod caller;
pub mod checkup;
pub mod destination;
pub mod gate;
pub mod health;
pub mod metrics;
pub mod operation;
pub mod pass_through;
pub mod pipeline;
pub mod ports;
pub mod principals;
pub mod refusal;
pub mod routes;
pub mod routing;
pub mod sessions;
pub mod stage;
pub mod steering;
pub mod task;
