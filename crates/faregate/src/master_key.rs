//! The admin key: given, generated, or refused because everybody knows it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use rand::RngCore;

use faregate_config::Snapshot;
use faregate_terms::Secret;

/// Keys that stand in public examples.
const WELL_KNOWN: &[&str] =
    &["sk-1234", "sk-12345", "sk-123456", "sk-1234567890", "sk-master-key-here", "sk-master-key", "changeme"];

/// A key shorter than this can be guessed.
const SHORTEST: usize = 16;

/// What to do without a good key.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The listener can be reached from this machine only.
    pub loopback: bool,
    /// `dangerously_permit_weak_or_unset_master_key`.
    pub permit_weak: bool,
}

impl Rules {
    /// The rules of a configuration on a listener.
    pub fn of(snapshot: &Snapshot, loopback: bool) -> Self {
        let variable = snapshot.env.filled("LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY");
        let by_environment = variable.is_some_and(|text| text.eq_ignore_ascii_case("true") || text == "1");
        let permit_weak = snapshot.general.dangerously_permit_weak_or_unset_master_key || by_environment;
        Self { loopback, permit_weak }
    }
}

/// The key to serve with; `None` lets everybody in, which only the permission allows.
///
/// # Errors
/// If the key is weak and the listener is not local, or a generated one cannot be kept.
pub fn settle(given: Option<Secret>, rules: Rules, data_dir: &Path) -> anyhow::Result<Option<Secret>> {
    match given {
        None if !rules.permit_weak => kept_or_made(data_dir).map(Some),
        given => permitted(given, rules),
    }
}

/// The key of a running gateway's new configuration, under the same rules; none is made.
///
/// # Errors
/// If the key is weak, or there is none, without permission.
pub fn permitted(given: Option<Secret>, rules: Rules) -> anyhow::Result<Option<Secret>> {
    match given {
        Some(key) if is_weak(key.expose()) && !rules.loopback && !rules.permit_weak => bail!(
            "general_settings.master_key is well known or shorter than {SHORTEST} characters, and the gateway \
             would listen beyond this machine; choose a random key (`openssl rand -hex 24`), or set \
             general_settings.dangerously_permit_weak_or_unset_master_key: true"
        ),
        Some(key) => Ok(Some(key)),
        None if rules.permit_weak => Ok(None),
        None => bail!(
            "general_settings.master_key is not set; set it, or set \
             general_settings.dangerously_permit_weak_or_unset_master_key: true"
        ),
    }
}

fn is_weak(key: &str) -> bool {
    key.len() < SHORTEST || WELL_KNOWN.contains(&key)
}

fn kept_or_made(data_dir: &Path) -> anyhow::Result<Secret> {
    let path = data_dir.join("master_key");
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(Secret::new(text.trim())),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
    let mut bytes = [0u8; 24];
    rand::rng().fill_bytes(&mut bytes);
    let key: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("sk-{key}");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(file, "{key}").with_context(|| format!("cannot write {}", path.display()))?;
    // The one time that it is shown.
    writeln!(
        std::io::stderr(),
        "No master key is configured: one was made and kept in {}\n  {key}",
        path.display()
    )?;
    Ok(Secret::new(key))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const OPEN: Rules = Rules { loopback: false, permit_weak: false };

    #[test]
    fn a_weak_key_is_for_this_machine_only() {
        let folder = tempfile::tempdir().unwrap();
        let weak = || Some(Secret::from("sk-1234"));
        let refused = settle(weak(), OPEN, folder.path()).unwrap_err().to_string();
        assert!(refused.contains("dangerously_permit_weak_or_unset_master_key"), "{refused}");
        assert!(!refused.contains("sk-1234"));
        assert!(settle(weak(), Rules { loopback: true, ..OPEN }, folder.path()).is_ok());
        assert!(settle(weak(), Rules { permit_weak: true, ..OPEN }, folder.path()).is_ok());
    }

    #[test]
    fn a_reload_obeys_the_same_rules_and_makes_no_key() {
        assert!(permitted(Some(Secret::new("sk-1234")), OPEN).is_err());
        assert!(permitted(None, OPEN).is_err());
        assert!(permitted(None, Rules { permit_weak: true, ..OPEN }).unwrap().is_none());
        let good = "sk-9d1c0b7a55e24f3c";
        assert_eq!(permitted(Some(Secret::new(good)), OPEN).unwrap().unwrap().expose(), good);
    }

    #[test]
    fn a_missing_key_is_made_once_and_kept_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = settle(None, OPEN, folder.path()).unwrap().unwrap();
        let second = settle(None, OPEN, folder.path()).unwrap().unwrap();
        assert_eq!(first.expose(), second.expose());
        assert!(first.expose().starts_with("sk-") && first.expose().len() > 40);
        let mode = fs::metadata(folder.path().join("master_key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(settle(None, Rules { permit_weak: true, ..OPEN }, folder.path()).unwrap().is_none());
    }
}
