//! What a limit is about: one table of scopes, a row each.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// One kind of subject that can have limits. [`SCOPES`] has a row for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything this installation does.
    Global,
    /// An organization.
    Organization,
    /// A team.
    Team,
    /// A project.
    Project,
    /// A user.
    User,
    /// A user within a team.
    Member,
    /// A virtual key.
    Key,
    /// A customer of the caller (`user` of the request).
    EndUser,
    /// A session.
    Session,
    /// A tag of the request.
    Tag,
    /// A model access group.
    AccessGroup,
    /// A public model name.
    Model,
    /// One entry of `model_list`.
    Deployment,
    /// Whom we call.
    Provider,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct ScopeRow {
    /// The kind.
    pub scope: Scope,
    /// The word in keys, headers (`x-ratelimit-<word>-...`) and rate limit messages.
    ///
    /// Source: compat, behaviour §3.1, "Rate limit scopes in messages".
    pub word: &'static str,
    /// The word when the limit holds for one model within the subject.
    pub per_model: &'static str,
    /// The word in budget messages (`Budget has been exceeded! Team=...`).
    ///
    /// Source: compat, behaviour §3.1.
    pub title: &'static str,
}

const fn row(scope: Scope, word: &'static str, per_model: &'static str, title: &'static str) -> ScopeRow {
    ScopeRow { scope, word, per_model, title }
}

/// Every scope, in the order in which refusals are reported when several limits are over. To add a scope,
/// add a variant of [`Scope`] and its row; every backend and the per-scope tests follow.
pub const SCOPES: &[ScopeRow] = &[
    row(Scope::Key, "api_key", "model_per_key", "Key"),
    row(Scope::Member, "team_member", "model_per_team_member", "TeamMember"),
    row(Scope::Project, "project", "model_per_project", "Project"),
    row(Scope::Team, "team", "model_per_team", "Team"),
    row(Scope::Organization, "organization", "model_per_organization", "Organization"),
    row(Scope::Tag, "tag", "model_per_tag", "Tag"),
    row(Scope::AccessGroup, "model_access_group", "model_per_access_group", "Model access group"),
    row(Scope::User, "user", "model_per_user", "User"),
    row(Scope::EndUser, "end_user", "model_per_end_user", "End User"),
    row(Scope::Session, "session", "model_per_session", "Session"),
    row(Scope::Model, "model", "model", "Model"),
    row(Scope::Deployment, "deployment", "model_per_deployment", "Deployment"),
    row(Scope::Provider, "provider", "model_per_provider", "Provider"),
    row(Scope::Global, "global", "model_per_global", "Proxy"),
];

impl Scope {
    /// This scope's row.
    pub fn row(self) -> &'static ScopeRow {
        // The table is complete (a test says so); the first row is never the answer for another scope.
        SCOPES.iter().find(|row| row.scope == self).unwrap_or(&SCOPES[0])
    }

    /// The place in the order of report: smaller is reported first.
    pub fn rank(self) -> usize {
        SCOPES.iter().position(|row| row.scope == self).unwrap_or(SCOPES.len())
    }
}

/// One subject: a scope, who it is, and the model when the limit is for one model within it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ScopeKey {
    /// The kind of subject.
    pub scope: Scope,
    /// Which one: the key's hash, the team's id, the tag's name; `user:team` for a member.
    pub id: Arc<str>,
    /// The model group within the subject, for limits per model.
    pub model: Option<Arc<str>>,
}

/// Longer ids (an end user's id is whatever a client sends) are replaced by their hash in counter names.
const LONGEST_ID: usize = 128;

impl ScopeKey {
    /// The subject as a whole.
    pub fn of(scope: Scope, id: impl Into<Arc<str>>) -> Self {
        Self { scope, id: id.into(), model: None }
    }

    /// One model within the subject.
    pub fn per_model(scope: Scope, id: impl Into<Arc<str>>, model: impl Into<Arc<str>>) -> Self {
        Self { scope, id: id.into(), model: Some(model.into()) }
    }

    /// A user within a team.
    pub fn member(user: &str, team: &str) -> Self {
        Self::of(Scope::Member, format!("{user}:{team}"))
    }

    /// Everything this installation does.
    pub fn global() -> Self {
        Self::of(Scope::Global, "")
    }

    /// The word for headers and messages.
    pub fn word(&self) -> &'static str {
        let row = self.scope.row();
        if self.model.is_some() { row.per_model } else { row.word }
    }

    /// Appends this subject to a counter's name: unambiguous, bounded in length, printable.
    pub(super) fn write_name(&self, out: &mut String) {
        out.push_str(self.word());
        out.push('/');
        push_id(&self.id, out);
        if let Some(model) = &self.model {
            out.push('/');
            push_id(model, out);
        }
    }
}

impl fmt::Display for ScopeKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.scope.row().title)?;
        if !self.id.is_empty() {
            write!(out, "={}", self.id)?;
        }
        match &self.model {
            Some(model) => write!(out, " model={model}"),
            None => Ok(()),
        }
    }
}

fn push_id(id: &str, out: &mut String) {
    if id.len() > LONGEST_ID {
        out.push('#');
        for byte in Sha256::digest(id.as_bytes()) {
            out.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
            out.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
        }
        return;
    }
    for letter in id.chars() {
        match letter {
            '%' => out.push_str("%25"),
            '/' => out.push_str("%2F"),
            '#' => out.push_str("%23"),
            '{' => out.push_str("%7B"),
            '}' => out.push_str("%7D"),
            control if control.is_control() || control == ' ' => {
                out.push_str(&format!("%u{:04X}", u32::from(control)));
            }
            plain => out.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_scope_has_one_row_and_words_of_its_own() {
        let scopes: HashSet<Scope> = SCOPES.iter().map(|row| row.scope).collect();
        assert_eq!(scopes.len(), SCOPES.len());
        let words: HashSet<&str> = SCOPES.iter().map(|row| row.word).collect();
        assert_eq!(words.len(), SCOPES.len());
        for row in SCOPES {
            assert_eq!(row.scope.row().word, row.word);
        }
    }

    #[test]
    fn subjects_that_differ_have_names_that_differ() {
        let name = |key: ScopeKey| {
            let mut out = String::new();
            key.write_name(&mut out);
            out
        };
        let names = [
            name(ScopeKey::of(Scope::Key, "a/b")),
            name(ScopeKey::of(Scope::Key, "a%2Fb")),
            name(ScopeKey::per_model(Scope::Key, "a", "b")),
            name(ScopeKey::of(Scope::Key, "a\u{0}b")),
            name(ScopeKey::of(Scope::Key, "x".repeat(500))),
            name(ScopeKey::of(Scope::Key, "x".repeat(501))),
            name(ScopeKey::of(Scope::EndUser, "{tag}")),
        ];
        let distinct: HashSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:#?}");
        assert!(names.iter().all(|name| name.len() < 300 && !name.contains(['{', '}', ' '])));
    }
}
