//! What the gateway tells others: alerts today; callbacks, guardrails and mail sit beside them, a folder each; and
//! where it keeps answers outside.
//!
//! What others are told goes out through [`web::Web`], which whoever assembles the gateway brings, and no request waits
//! for it: events are handed over after it. Start at [`alerts::deliver`]. Only [`stores`] are asked while a request
//! waits, over the connections of the data plane, as they sign like providers do.

pub mod alerts;
pub mod stores;
pub mod web;
