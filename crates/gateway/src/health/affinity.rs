//! Who served whom: requests that belong together go to one deployment, whose prompt cache is then warm.

use std::time::Duration;

use faregate_state::affinity::Affinity;
use faregate_terms::DeploymentId;

/// Why requests belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinship {
    /// One goes on from the response to the other.
    Response,
    /// One brings sealed reasoning of the response to the other, which only the account that made it can read.
    Sealed,
    /// They are of one conversation.
    Session,
    /// Their prompts begin alike.
    Prompt,
    /// They are of one caller.
    Caller,
}

impl Kinship {
    /// The word of explanations and metrics: the check's name in `optional_pre_call_checks`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Response => "responses_api_deployment_check",
            Self::Sealed => "encrypted_content_affinity",
            Self::Session => "session_affinity",
            Self::Prompt => "prompt_caching",
            Self::Caller => "deployment_affinity",
        }
    }
}

/// What a request shares with others, as a hash of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bond {
    /// Why they belong together.
    pub kinship: Kinship,
    /// A hash over the group and what is shared.
    pub key: u64,
    /// How long it holds after the last request.
    pub ttl: Duration,
}

/// The first of these bonds that somebody is known by and `choose` takes: why, and what `choose` made of its
/// deployment.
pub(crate) fn find<T>(
    affinity: &Affinity,
    bonds: &[Bond],
    choose: impl Fn(&DeploymentId) -> Option<T>,
) -> Option<(Kinship, T)> {
    bonds.iter().find_map(|bond| {
        let chosen = choose(&affinity.find(bond.key)?)?;
        Some((bond.kinship, chosen))
    })
}

/// `deployment` has served a request with these bonds. Of all beginnings of a prompt other replicas hear of the
/// longest, which the conversation goes on from.
pub(crate) fn keep(affinity: &Affinity, bonds: &[Bond], deployment: &DeploymentId) {
    let mut has_told = false;
    for bond in bonds {
        let is_prompt = bond.kinship == Kinship::Prompt;
        affinity.keep(bond.key, deployment, bond.ttl, !(is_prompt && has_told));
        has_told |= is_prompt;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use faregate_state::clock::SystemClock;

    use super::*;

    #[test]
    fn the_first_bond_that_is_known_and_wanted_decides() {
        let affinity = Affinity::alone(Arc::new(SystemClock::new()));
        let bond = |key| Bond { kinship: Kinship::Prompt, key, ttl: Duration::from_secs(300) };
        keep(&affinity, &[bond(1), bond(2)], &"a".into());
        keep(&affinity, &[bond(2)], &"b".into());
        let found = |keys: &[u64]| {
            let bonds: Vec<Bond> = keys.iter().map(|key| bond(*key)).collect();
            find(&affinity, &bonds, |id| Some(id.to_string())).map(|(_, id)| id)
        };
        assert_eq!(found(&[9, 1, 2]).as_deref(), Some("a"));
        assert_eq!(found(&[2, 1]).as_deref(), Some("b"));
        assert_eq!(find(&affinity, &[bond(2)], |_| None::<()>), None, "not wanted");
    }
}
