//! Where generated keys and state are kept.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The data directory, made if it is not there: the flag, else the environment's.
///
/// # Errors
/// If no place is known or it cannot be made.
pub fn open(flag: Option<&Path>, environment: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = flag
        .or(environment)
        .context("no data directory is known; pass --data-dir, or set FAREGATE_DATA_DIR or HOME")?;
    fs::create_dir_all(path).with_context(|| format!("cannot make the data directory {}", path.display()))?;
    Ok(path.to_owned())
}
