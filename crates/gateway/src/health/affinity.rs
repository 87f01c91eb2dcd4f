//! Who served whom: requests that belong together go to one deployment, whose prompt cache is then warm.

use std::collections::HashMap;
use std::time::Duration;

use faregate_terms::DeploymentId;
use parking_lot::Mutex;

/// Bonds kept at most: twice as many, half of them older.
const MANY: usize = 50_000;

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

/// Who served whom. One per process.
#[derive(Debug, Default)]
pub struct Affinity(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u64, Kept>,
    old: HashMap<u64, Kept>,
}

#[derive(Debug)]
struct Kept {
    deployment: DeploymentId,
    until: Duration,
}

impl Affinity {
    /// The first of these bonds that somebody is known by and `choose` takes: why, and what `choose` made of
    /// its deployment.
    pub fn find<T>(
        &self,
        bonds: &[Bond],
        now: Duration,
        choose: impl Fn(&DeploymentId) -> Option<T>,
    ) -> Option<(Kinship, T)> {
        let known = self.0.lock();
        bonds.iter().find_map(|bond| {
            let kept = known.young.get(&bond.key).or_else(|| known.old.get(&bond.key))?;
            let chosen = if kept.until > now { choose(&kept.deployment) } else { None };
            Some((bond.kinship, chosen?))
        })
    }

    /// `deployment` has served a request with these bonds.
    pub fn keep(&self, bonds: &[Bond], deployment: &DeploymentId, now: Duration) {
        let mut known = self.0.lock();
        if known.young.len() + bonds.len() > MANY {
            known.old = std::mem::take(&mut known.young);
        }
        for bond in bonds {
            let kept = Kept { deployment: deployment.clone(), until: now + bond.ttl };
            known.young.insert(bond.key, kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bond(key: u64) -> Bond {
        Bond { kinship: Kinship::Prompt, key, ttl: Duration::from_secs(300) }
    }

    fn find(affinity: &Affinity, keys: &[u64], now: u64) -> Option<String> {
        let bonds: Vec<Bond> = keys.iter().map(|key| bond(*key)).collect();
        let found = affinity.find(&bonds, Duration::from_secs(now), |id| Some(id.to_string()));
        found.map(|(_, id)| id)
    }

    #[test]
    fn the_first_bond_that_is_known_and_has_not_ended_decides() {
        let affinity = Affinity::default();
        affinity.keep(&[bond(1), bond(2)], &"a".into(), Duration::ZERO);
        affinity.keep(&[bond(2)], &"b".into(), Duration::from_secs(100));
        assert_eq!(find(&affinity, &[9, 1, 2], 10).as_deref(), Some("a"));
        assert_eq!(find(&affinity, &[1, 2], 350).as_deref(), Some("b"), "the first has ended");
        assert_eq!(find(&affinity, &[1, 2], 500), None);
        assert_eq!(affinity.find(&[bond(2)], Duration::ZERO, |_| None::<()>), None, "not wanted");
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let affinity = Affinity::default();
        for key in 0..MANY as u64 * 3 {
            affinity.keep(&[bond(key)], &"a".into(), Duration::ZERO);
        }
        let known = affinity.0.lock();
        assert!(known.young.len() + known.old.len() <= 2 * MANY);
        drop(known);
        assert!(find(&affinity, &[MANY as u64 * 3 - 1], 1).is_some() && find(&affinity, &[0], 1).is_none());
    }
}
