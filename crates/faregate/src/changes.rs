//! What a reload changed, in words for the log: names and keys, never values.

use std::collections::BTreeMap;
use std::fmt;

use faregate_config::{DeploymentConfig, Snapshot};

/// The difference of two configurations.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
    settings: Vec<String>,
}

impl Changes {
    /// From `old` to `new`.
    pub fn between(old: &Snapshot, new: &Snapshot) -> Self {
        let by_id = |snapshot: &'_ Snapshot| -> BTreeMap<String, DeploymentConfig> {
            snapshot.deployments.iter().map(|one| (one.id.to_string(), one.clone())).collect()
        };
        let (mut before, after) = (by_id(old), by_id(new));
        let mut changes = Self { settings: old.settings.changed(&new.settings), ..Self::default() };
        for (id, deployment) in after {
            match before.remove(&id) {
                None => changes.added.push(name(&deployment)),
                Some(known) if !same(&known, &deployment) => changes.changed.push(name(&deployment)),
                Some(_) => {}
            }
        }
        changes.removed = before.values().map(name).collect();
        // The id is made from the parameters: a deployment with another one replaces its namesake.
        let (replaced, added) = changes.added.into_iter().partition(|name| changes.removed.contains(name));
        changes.added = added;
        changes.removed.retain(|name| !replaced.contains(name));
        changes.changed.extend::<Vec<String>>(replaced);
        for names in [&mut changes.added, &mut changes.removed, &mut changes.changed] {
            names.sort();
        }
        changes
    }
}

fn name(deployment: &DeploymentConfig) -> String {
    format!("{} ({})", deployment.group, deployment.params.model)
}

/// Apart from where it is written.
fn same(one: &DeploymentConfig, other: &DeploymentConfig) -> bool {
    one.group == other.group
        && one.params == other.params
        && one.info == other.info
        && one.metadata == other.metadata
        && one.extra == other.extra
}

impl fmt::Display for Changes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("deployments added", &self.added),
            ("removed", &self.removed),
            ("changed", &self.changed),
            ("settings changed", &self.settings),
        ];
        let mut parts = parts.into_iter().filter(|(_, names)| !names.is_empty()).peekable();
        if parts.peek().is_none() {
            return out.write_str("nothing changed");
        }
        while let Some((word, names)) = parts.next() {
            write!(out, "{word}: {}", names.join(", "))?;
            if parts.peek().is_some() {
                out.write_str("; ")?;
            }
        }
        Ok(())
    }
}
