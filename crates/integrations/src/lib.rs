//! What the gateway tells others: alerts today; callbacks, guardrails and mail sit beside them, a folder each.
//!
//! Nothing here opens a connection: requests go out through [`web::Web`], which whoever assembles the gateway brings.
//! Nothing here is asked by a request: events are handed over after it. Start at [`alerts::deliver`].

pub mod alerts;
pub mod web;
