//! The stages of the pipeline, one function each, in the order of [`crate::pipeline`].

pub(crate) mod access;
pub(crate) mod account;
pub mod admit;
pub mod attempt;
pub mod decode;
pub mod deliver;
pub(crate) mod fallback;
mod forward;
mod hedge;
pub mod identify;
pub mod kinship;
pub(crate) mod labels;
pub mod lookup;
mod mock;
pub mod params;
pub(crate) mod paths;
pub mod places;
pub mod plan;
pub mod pump;
pub mod render;
pub(crate) mod reserve;
pub mod send;
pub mod settle;
pub(crate) mod single;
mod tap;
mod tour;
pub mod transcript;
