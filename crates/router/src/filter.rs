//! Which deployments of a group may serve a request at all.

use smallvec::SmallVec;

use crate::{Deployment, Facts, Resolved, Router, Wish};

/// A few indexes of deployments; most groups are small.
pub type Indexes = SmallVec<[usize; 16]>;

/// The tag of deployments that serve requests whose tags nobody has.
const DEFAULT_TAG: &str = "default";

/// Which checks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checks {
    /// `enable_tag_filtering`, and how tags must match.
    pub tags: Option<TagRule>,
    /// `enable_pre_call_checks`: the prompt must fit, and the parameters must be taken.
    pub pre_call: bool,
}

/// How many of a request's tags a deployment must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TagRule {
    /// One of them.
    #[default]
    Any,
    /// Every one.
    All,
}

/// Why a deployment may not serve a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excluded {
    /// It belongs to another team.
    Team,
    /// Its tags do not match.
    Tags,
    /// It is in another region.
    Region,
    /// The prompt is longer than it takes.
    Window,
    /// It does not take a parameter that may not be dropped.
    Params,
    /// It failed and rests.
    Rests,
    /// Its budget, or its provider's, is spent.
    Budget,
    /// Its own limits admit no more.
    Full,
}

impl Excluded {
    /// The word of explanations.
    pub fn word(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Tags => "tags",
            Self::Region => "region",
            Self::Window => "context_window",
            Self::Params => "parameters",
            Self::Rests => "cooldown",
            Self::Budget => "budget",
            Self::Full => "limits",
        }
    }
}

/// Nobody may serve a request now: every deployment of its group, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nobody {
    /// Index and reason of each.
    pub excluded: Vec<(usize, Excluded)>,
}

impl Nobody {
    /// Those excluded for this reason.
    pub fn by(&self, reason: Excluded) -> impl Iterator<Item = usize> + '_ {
        self.excluded.iter().filter(move |(_, why)| *why == reason).map(|(index, _)| *index)
    }

    /// True if each was excluded for this reason.
    pub fn all(&self, reason: Excluded) -> bool {
        !self.excluded.is_empty() && self.excluded.iter().all(|(_, why)| *why == reason)
    }
}

impl Router {
    /// The deployments of `resolved` that may serve `wish` now, in the order of the configuration.
    ///
    /// # Errors
    /// [`Nobody`] says why none may.
    pub fn candidates(
        &self,
        resolved: &Resolved,
        wish: &Wish<'_>,
        facts: &dyn Facts,
    ) -> Result<Indexes, Nobody> {
        let tagged = self.tagged_if_asked(resolved, wish);
        let reason = |index: usize| self.reason(index, tagged.as_ref(), wish, facts);
        let fit: Indexes =
            resolved.members.iter().copied().filter(|&index| reason(index).is_none()).collect();
        if !fit.is_empty() {
            return Ok(fit);
        }
        let why = |&index: &usize| Some((index, reason(index)?));
        Err(Nobody { excluded: resolved.members.iter().filter_map(why).collect() })
    }

    /// Each deployment of `resolved`, and why it may not serve `wish` now, for explanations.
    pub fn judged(
        &self,
        resolved: &Resolved,
        wish: &Wish<'_>,
        facts: &dyn Facts,
    ) -> Vec<(usize, Option<Excluded>)> {
        let tagged = self.tagged_if_asked(resolved, wish);
        let judge = |&index: &usize| (index, self.reason(index, tagged.as_ref(), wish, facts));
        resolved.members.iter().map(judge).collect()
    }

    fn tagged_if_asked(&self, resolved: &Resolved, wish: &Wish<'_>) -> Option<Indexes> {
        self.checks.tags.map(|rule| self.tagged(&resolved.members, wish.tags, rule))
    }

    fn reason(
        &self,
        index: usize,
        tagged: Option<&Indexes>,
        wish: &Wish<'_>,
        facts: &dyn Facts,
    ) -> Option<Excluded> {
        match tagged {
            Some(tagged) if !tagged.contains(&index) => Some(Excluded::Tags),
            _ => self.excluded(index, wish, facts),
        }
    }

    /// Why a deployment may not serve a request, its tags aside.
    fn excluded(&self, index: usize, wish: &Wish<'_>, facts: &dyn Facts) -> Option<Excluded> {
        let deployment = &self.deployments[index];
        if !wish.team.may_use(deployment.team.as_deref()) {
            return Some(Excluded::Team);
        }
        // A region is a promise about data: it is kept whatever checks are on.
        if wish.region.is_some() && deployment.region.as_deref() != wish.region {
            return Some(Excluded::Region);
        }
        if self.checks.pre_call && deployment.max_input_tokens.is_some_and(|most| wish.input_tokens > most) {
            return Some(Excluded::Window);
        }
        if self.checks.pre_call && wish.unfit.contains(&index) {
            return Some(Excluded::Params);
        }
        if facts.rests(index) {
            return Some(Excluded::Rests);
        }
        if facts.is_spent(index) {
            return Some(Excluded::Budget);
        }
        facts.is_full(index).then_some(Excluded::Full)
    }

    /// The members whose tags match. Source: compat, config §1.1 `tags`; LiteLLM's tag routing.
    fn tagged(&self, members: &[usize], tags: &[String], rule: TagRule) -> Indexes {
        let of = |index: usize| &self.deployments[index].tags;
        let has = |index: usize, tag: &str| of(index).iter().any(|own| own == tag);
        let marked = |mark: char| tags.iter().filter_map(move |tag| tag.strip_prefix(mark));
        let allowed =
            |index: usize| marked('!').all(|tag| !has(index, tag)) && marked('&').all(|tag| has(index, tag));
        let wanted: SmallVec<[&str; 6]> =
            tags.iter().map(String::as_str).filter(|tag| !tag.starts_with(['!', '&'])).collect();
        let candidates = || members.iter().copied().filter(|&index| allowed(index));
        let defaults = || candidates().filter(|&index| has(index, DEFAULT_TAG)).collect::<Indexes>();
        if wanted.is_empty() {
            let defaults = if marked('&').next().is_none() { defaults() } else { Indexes::new() };
            return if defaults.is_empty() { candidates().collect() } else { defaults };
        }
        let matches = |&index: &usize| match rule {
            TagRule::Any => wanted.iter().any(|tag| has(index, tag)),
            TagRule::All => wanted.iter().all(|tag| has(index, tag)),
        };
        let matching: Indexes = candidates().filter(matches).collect();
        // A tag that the group knows asks for those deployments, not for the default.
        let is_known = || members.iter().any(|&index| wanted.iter().any(|tag| has(index, tag)));
        if matching.is_empty() && !is_known() { defaults() } else { matching }
    }
}

impl Deployment {
    /// The prompt limit as a number for messages.
    pub fn window(&self) -> u64 {
        self.max_input_tokens.unwrap_or(u64::MAX)
    }
}
