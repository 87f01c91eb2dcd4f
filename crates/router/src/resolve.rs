//! From the name a client sends to the deployments that may serve it.

use std::sync::Arc;

use faregate_terms::ModelGroup;

use crate::pattern::fill;
use crate::{Members, Router, Team};

/// Another name for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The group it means.
    pub group: String,
    /// True if model lists leave it out.
    pub hidden: bool,
}

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The public name that serves it; the client's own text for a wildcard.
    pub group: ModelGroup,
    /// Indexes of the deployments that may.
    pub members: Arc<Members>,
    captures: Option<Vec<String>>,
    requested: String,
}

impl Resolved {
    /// The upstream model for a deployment configured with `upstream`: its `*` replaced by what the
    /// client's name had in that place; a bare `*` becomes the client's whole name.
    pub fn upstream_model(&self, upstream: &str) -> String {
        match &self.captures {
            Some(_) if upstream == "*" => self.requested.clone(),
            Some(captures) if upstream.contains('*') => fill(upstream, captures),
            _ => upstream.to_owned(),
        }
    }
}

/// No deployment serves this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no deployment serves the model `{0}`")]
pub struct UnknownModel(pub String);

impl Router {
    /// Finds what `name` means: a model of the team's own, exact group, alias, deployment id, pattern,
    /// catch-all; in this order.
    ///
    /// `prefixed` is the same name with its inferred provider in front (`openai/gpt-4o`), tried against
    /// the patterns as well.
    ///
    /// # Errors
    /// [`UnknownModel`] if nothing serves it.
    pub fn resolve(
        &self,
        name: &str,
        prefixed: Option<&str>,
        team: Team<'_>,
    ) -> Result<Resolved, UnknownModel> {
        let plain = |group: ModelGroup, members: Arc<Members>| Resolved {
            group,
            members,
            captures: None,
            requested: name.to_owned(),
        };
        if let Team::Of(team) = team
            && let Some(members) = self.team_names.get(team).and_then(|names| names.get(name))
        {
            return Ok(plain(name.into(), Arc::clone(members)));
        }
        if let Some((group, members)) = self.groups.get_key_value(name) {
            return Ok(plain(group.clone(), Arc::clone(members)));
        }
        if let Some(alias) = self.aliases.get(name)
            && let Some((group, members)) = self.groups.get_key_value(alias.group.as_str())
        {
            return Ok(plain(group.clone(), Arc::clone(members)));
        }
        if let Some(members) = self.by_id.get(name) {
            return Ok(plain(self.names[members.group].clone(), Arc::clone(members)));
        }
        for candidate in [Some(name), prefixed].into_iter().flatten() {
            for (pattern, members) in &self.patterns {
                if let Some(captures) = pattern.capture(candidate) {
                    let mut found = plain(name.into(), Arc::clone(members));
                    found.captures = Some(captures);
                    return Ok(found);
                }
            }
        }
        Err(UnknownModel(name.to_owned()))
    }

    /// True if `team` may use any of these deployments.
    pub fn is_for(&self, resolved: &Resolved, team: Team<'_>) -> bool {
        resolved.members.iter().any(|&index| team.may_use(self.deployments[index].team.as_deref()))
    }

    /// The names a team has for deployments of its own.
    pub fn names_of<'a>(&'a self, team: Team<'_>) -> impl Iterator<Item = &'a str> + 'a {
        let names = match team {
            Team::Of(team) => self.team_names.get(team),
            Team::Any | Team::None => None,
        };
        names.into_iter().flat_map(|names| names.keys().map(String::as_str))
    }
}
