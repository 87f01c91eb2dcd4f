//! The gateway inside a test: on a free port, with a known key, its receipts in view.
//!
//! With the feature `gateway` (the default), start with `Gateway::start`; `config::every_dialect` makes a configuration that reaches a
//! `FakeProvider` in each provider dialect. What only a process
//! of its own shows (flags, signals, exit codes) is tested in the `faregate` package.
//!
//! [`line`] leads to a server and can be cut. [`redis`] is a corner of a Redis, or a server of the test's own. With the feature `postgres`, `postgres::Database` is a database of the test's own.

#[cfg(feature = "gateway")]
pub mod client;
#[cfg(feature = "gateway")]
pub mod config;
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod line;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "gateway")]
pub mod receipts;
pub mod redis;

use std::path::{Path, PathBuf};

#[cfg(feature = "gateway")]
pub use client::{Client, Frame, Reply, frames};
#[cfg(feature = "gateway")]
pub use gateway::{Gateway, MASTER_KEY};
#[cfg(feature = "gateway")]
pub use receipts::Receipts;

/// The folder that `scripts/vectors.sh` fills; `None`, said aloud, where it has not run.
fn vectors() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.vectors").canonicalize();
    let found = folder.ok().filter(|folder| folder.join(".installed").exists());
    if found.is_none() {
        eprintln!("SKIPPED, not passed: no server that searches vectors; run scripts/vectors.sh");
    }
    found
}
