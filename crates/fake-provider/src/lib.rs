//! Skeleton of the crate; see docs/architecture.md.
