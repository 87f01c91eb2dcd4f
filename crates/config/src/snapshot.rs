//! A whole configuration, read once and never changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use faregate_terms::{ModelGroup, Secret};

use crate::diagnostic::{Diagnostic, Findings, Severity, nearest};
use crate::env::Env;
use crate::fields::Fields;
use crate::fingerprints::Fingerprints;
use crate::node::{Node, Value};
use crate::position::Position;
use crate::registry::KeyStatus;
use crate::report::{self, KeyReport, Strictness};
use crate::schema::fallback::read_aliases;
use crate::schema::{
    BudgetSettings, Credential, DeploymentConfig, Fallbacks, GeneralSettings, GroupAlias, LitellmSettings,
    RouterSettings, credential, read_model_list, sso_variables,
};
use crate::sources;
use crate::stored::Stored;
use crate::substitute;

/// An immutable configuration. Share it behind an `Arc`.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// What can be called, in file order.
    pub deployments: Vec<DeploymentConfig>,
    /// How requests find and retry deployments.
    pub router: RouterSettings,
    /// Behaviour shared by all calls.
    pub litellm: LitellmSettings,
    /// The server itself.
    pub general: GeneralSettings,
    /// Other names for groups.
    pub aliases: BTreeMap<ModelGroup, GroupAlias>,
    /// Which groups to try after a group fails.
    pub fallbacks: Fallbacks,
    /// `credential_list`; already merged into the deployments that refer to it.
    pub credentials: Vec<Credential>,
    /// The environment for everything read later, such as provider keys: the process's, with the file's
    /// `environment_variables` on top.
    pub env: Env,
    /// Files and folders to watch for changes, the first file first; empty without a file.
    pub sources: Vec<PathBuf>,
    /// What a reload compares; empty without a file.
    pub settings: Fingerprints,
}

impl Snapshot {
    /// The budget of the whole installation: `litellm_settings`, else `general_settings`.
    pub fn global_budget(&self) -> &BudgetSettings {
        let budget = &self.litellm.spend.budget;
        if budget.max_budget.is_some() { budget } else { &self.general.limits.budget }
    }
}

/// What reading a file gave: perhaps a snapshot, and everything there is to say about the file.
#[derive(Debug)]
pub struct Reading {
    /// `None` when a finding is an error.
    pub snapshot: Option<Snapshot>,
    /// What could be understood in spite of errors: for further checks only, never to be served.
    pub draft: Option<Snapshot>,
    /// All findings, in the order of the files.
    pub findings: Vec<Diagnostic>,
    /// Every key of the files and what becomes of it.
    pub keys: Vec<KeyReport>,
    /// Files and folders that were read, also when there is no snapshot.
    pub sources: Vec<PathBuf>,
}

/// A configuration that is used.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub snapshot: Snapshot,
    /// What an operator should look at.
    pub warnings: Vec<Diagnostic>,
    /// Every key of the files and what becomes of it.
    pub keys: Vec<KeyReport>,
}

/// A configuration that is refused. `Display` is one line per finding, errors and warnings alike.
#[derive(Debug, thiserror::Error)]
#[error("{}", lines(.findings))]
pub struct Refused {
    /// All findings; at least one is an error.
    pub findings: Vec<Diagnostic>,
}

fn lines(findings: &[Diagnostic]) -> String {
    findings.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")
}

/// What becomes of every key of a loaded configuration.
pub fn report(loaded: &Loaded) -> &[KeyReport] {
    &loaded.keys
}

/// Reads a file for use.
///
/// # Errors
/// [`Refused`] with all findings of all files, when at least one is an error.
pub fn load(path: &Path, env: &Env, strictness: Strictness) -> Result<Loaded, Refused> {
    let Reading { snapshot, findings, keys, .. } = read(path, env, strictness);
    match snapshot {
        Some(snapshot) => Ok(Loaded { snapshot, warnings: findings, keys }),
        None => Err(Refused { findings }),
    }
}

/// Reads a file and its includes; never fails, so that a check can show everything it found.
pub fn read(path: &Path, env: &Env, strictness: Strictness) -> Reading {
    let mut findings = Findings::default();
    let sources = sources::read(path, &mut findings);
    understand(sources, env, strictness, findings)
}

/// Reads a file, or nothing, with what the database adds laid over it.
pub fn read_over(path: Option<&Path>, stored: &Stored, env: &Env, strictness: Strictness) -> Reading {
    let mut findings = Findings::default();
    let mut sources = match path {
        Some(path) => sources::read(path, &mut findings),
        None => sources::read_text("{}", Path::new("database"), &mut findings),
    };
    if path.is_none() {
        sources.files.clear();
    }
    if let Some(root) = &mut sources.root {
        stored.lay_over(root, env, &mut findings);
    }
    understand(sources, env, strictness, findings)
}

/// Reads a configuration that is not a file; `name` stands for it in findings. It cannot include files.
pub fn read_text(text: &str, name: &Path, env: &Env, strictness: Strictness) -> Reading {
    let mut findings = Findings::default();
    let sources = sources::read_text(text, name, &mut findings);
    understand(sources, env, strictness, findings)
}

fn understand(
    sources::Sources { root, files, includes }: sources::Sources,
    env: &Env,
    strictness: Strictness,
    mut findings: Findings,
) -> Reading {
    let Some(mut root) = root else {
        return Reading {
            snapshot: None,
            draft: None,
            findings: findings.sorted(&files),
            keys: Vec::new(),
            sources: files,
        };
    };
    let exported = substitute::exported(&root, env, &mut findings);
    // A reference sees the process first and the file's own variables second (LiteLLM resolves references
    // before it exports); what is read later sees them the other way round.
    substitute::substitute(&mut root, "", &env.underlaid(exported.clone()), &mut findings);
    let mut keys = report::walk(&root, strictness, &mut findings);
    keys.extend(includes.into_iter().map(|position| KeyReport {
        path: "include".to_owned(),
        position,
        status: KeyStatus::Honoured,
        note: None,
    }));
    let mut snapshot = typed(&root, &mut findings);
    check_names(&root, &snapshot, &mut findings);
    snapshot.env = env.overlaid(exported).underlaid(sso_variables(&root));
    snapshot.sources.clone_from(&files);
    let findings = findings.sorted(&files);
    let refused = findings.iter().any(Diagnostic::is_error);
    let draft = Some(snapshot.clone());
    Reading { snapshot: (!refused).then_some(snapshot), draft, findings, keys, sources: files }
}

fn typed(root: &Node, findings: &mut Findings) -> Snapshot {
    let nothing = Node::new(Value::Map(Vec::new()), root.at.clone());
    let section = |name: &str| root.get(name).unwrap_or(&nothing);
    let credentials = credential::read(root, findings);
    let mut router =
        RouterSettings::read(&mut Fields::of(section("router_settings"), "router_settings", findings));
    let litellm =
        LitellmSettings::read(&mut Fields::of(section("litellm_settings"), "litellm_settings", findings));
    router.num_retries = router.num_retries.or(litellm.num_retries);
    router.timeout = router.timeout.or(litellm.request_timeout);
    Snapshot {
        deployments: read_model_list(root, &credentials, findings),
        router,
        litellm,
        general: GeneralSettings::read(&mut Fields::of(
            section("general_settings"),
            "general_settings",
            findings,
        )),
        aliases: read_aliases(root, findings),
        fallbacks: Fallbacks::read(root, findings),
        credentials,
        env: Env::default(),
        sources: Vec::new(),
        settings: Fingerprints::of(root),
    }
}

/// Warns of fallbacks and aliases that lead to no group.
fn check_names(root: &Node, snapshot: &Snapshot, findings: &mut Findings) {
    let unions = snapshot.router.routing_groups.iter().map(|group| group.name.as_str());
    let groups: BTreeSet<&str> =
        snapshot.deployments.iter().map(|one| one.group.as_str()).chain(unions).collect();
    let known = |name: &str| {
        groups.contains(name)
            || snapshot.aliases.contains_key(name)
            || snapshot.litellm.model_alias_map.contains_key(name)
            || snapshot
                .deployments
                .iter()
                .any(|one| one.id.as_str() == name || one.group.as_str().contains('*'))
    };
    let mut warn = |at: Option<&Position>, path: &str, name: &str| {
        if !known(name) {
            let message = format!("no model `{name}` in model_list");
            findings.push(Diagnostic::warning(at, path, message).remedy(instead(name, &groups)));
        }
    };
    let place = |key: &str| {
        ["router_settings", "litellm_settings"].into_iter().find_map(|section| {
            let entry = root.get(section)?.entries()?.iter().find(|entry| entry.key == key)?;
            Some((entry.key_at.clone(), format!("{section}.{key}")))
        })
    };
    let Fallbacks { general, default, context_window, content_policy } = &snapshot.fallbacks;
    for (key, table) in [
        ("fallbacks", general),
        ("context_window_fallbacks", context_window),
        ("content_policy_fallbacks", content_policy),
    ] {
        let Some((at, path)) = place(key) else { continue };
        for target in table.values().flatten() {
            warn(Some(&at), &path, target.group.as_str());
        }
    }
    if let Some((at, path)) = place("default_fallbacks").or_else(|| place("fallbacks")) {
        for target in default {
            warn(Some(&at), &path, target.group.as_str());
        }
    }
    if let Some((at, path)) = place("model_group_alias") {
        for (name, alias) in &snapshot.aliases {
            warn(Some(&at), &format!("{path}.{name}"), alias.group.as_str());
        }
    }
    let router = &snapshot.router;
    let continued = router.mid_stream_fallback_groups.iter();
    let grouped = router.routing_groups.iter().flat_map(|group| &group.models);
    let lists: [(&str, Vec<&ModelGroup>); 2] =
        [("mid_stream_fallback_groups", continued.collect()), ("routing_groups", grouped.collect())];
    for (key, names) in lists {
        let Some((at, path)) = place(key) else { continue };
        names.into_iter().for_each(|name| warn(Some(&at), &path, name.as_str()));
    }
    let copied = snapshot
        .deployments
        .iter()
        .flat_map(|one| one.params.silent_models.iter().map(move |name| (one, name)));
    for (deployment, name) in copied.filter(|(_, name)| !known(name)) {
        let message = format!("no model `{name}` in model_list");
        let found = deployment.finding(Severity::Warning, "litellm_params.silent_model", message);
        findings.push(found.remedy(instead(name, &groups)));
    }
    check_settings(root, snapshot, &groups, findings);
}

/// What to do about a name that leads to no group.
fn instead(name: &str, groups: &BTreeSet<&str>) -> String {
    match nearest(name, groups.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "add it there, or remove it here".to_owned(),
    }
}

/// Warns of settings of single groups that hold for none: unlike requests they name a group as `model_list` does.
fn check_settings(root: &Node, snapshot: &Snapshot, groups: &BTreeSet<&str>, findings: &mut Findings) {
    let entries = |key: &str| root.get("router_settings")?.get(key)?.entries();
    for key in ["hedging", "stream_guard", "weights"] {
        for entry in entries(key).unwrap_or_default() {
            let name = entry.key.as_str();
            if !groups.contains(name) {
                let path = format!("router_settings.{key}.{name}");
                let message = format!("no model `{name}` in model_list: this has no effect");
                let found = Diagnostic::warning(Some(&entry.key_at), &path, message);
                findings.push(found.remedy(instead(name, groups)));
            }
        }
    }
    for entry in entries("weights").unwrap_or_default() {
        for id in entry.node.entries().unwrap_or_default() {
            let of_group = |one: &&DeploymentConfig| one.group.as_str() == entry.key;
            let mut members = snapshot.deployments.iter().filter(of_group).peekable();
            if members.peek().is_some() && !members.any(|one| one.id.as_str() == id.key) {
                let path = format!("router_settings.weights.{}.{}", entry.key, id.key);
                let message = format!("no deployment of `{}` has the id `{}`", entry.key, id.key);
                let remedy = "give it that `model_info.id`, or remove it here";
                findings.push(Diagnostic::warning(Some(&id.key_at), &path, message).remedy(remedy));
            }
        }
    }
}

impl Snapshot {
    /// A configuration without a file: a group `provider/*` for each provider with a key in the environment.
    ///
    /// `providers` are names with the environment variables any of which holds a key.
    pub fn from_environment<'a, K>(env: &Env, providers: impl IntoIterator<Item = (&'a str, K)>) -> Self
    where
        K: IntoIterator<Item = &'a str>,
    {
        let deployments = providers
            .into_iter()
            .filter_map(|(name, keys)| keys.into_iter().any(|key| env.filled(key).is_some()).then_some(name))
            .map(|name| DeploymentConfig::new(format!("{name}/*"), &format!("{name}/*")))
            .collect();
        Self { deployments, env: env.clone(), ..Self::default() }
    }

    /// Whether models, credentials and settings of the database count: `STORE_MODEL_IN_DB=true`, else
    /// `general_settings.store_model_in_db`; without a file yes.
    pub fn stores_models(&self) -> bool {
        let asked =
            self.env.filled("STORE_MODEL_IN_DB").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        asked || self.general.database.store_models.unwrap_or(self.sources.is_empty())
    }

    /// What secrets in the database are sealed with: `LITELLM_SALT_KEY`, else `master_key`.
    pub fn salt(&self, master_key: Option<&Secret>) -> Option<Secret> {
        self.env.filled("LITELLM_SALT_KEY").map(Secret::from).or_else(|| master_key.cloned())
    }

    /// The admin key: `general_settings.master_key`, else `LITELLM_MASTER_KEY`.
    pub fn master_key(&self) -> Option<Secret> {
        self.general.master_key.clone().or_else(|| self.env.filled("LITELLM_MASTER_KEY").map(Secret::from))
    }
}
