//! The stages of the pipeline, one function each, in the order of [`crate::pipeline`].

pub(crate) mod access;
pub(crate) mod account;
pub mod admit;
pub mod attempt;
pub mod decode;
pub mod deliver;
pub(crate) mod fallback;
mod forward;
pub mod identify;
pub(crate) mod labels;
pub mod lookup;
mod mock;
pub mod params;
pub(crate) mod paths;
pub mod plan;
pub mod pump;
pub(crate) mod reserve;
pub mod send;
pub mod settle;
