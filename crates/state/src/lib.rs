//! What replicas share: limits, and the small pieces that jobs, routing and caches agree through.
//!
//! Everything is local first: the request path decides in memory, and a background task keeps replicas in
//! step over Redis or another store. Nothing here knows HTTP, SQL or configuration. Start with
//! [`limits::Limits`].

pub mod affinity;
pub mod breaker;
pub mod cache;
pub mod clock;
pub mod cooldown;
pub mod feed;
pub mod figures;
pub mod invalidate;
pub mod lease;
pub mod limits;
pub mod nearest;
pub mod redis;
#[cfg(feature = "suite")]
pub mod suite;
