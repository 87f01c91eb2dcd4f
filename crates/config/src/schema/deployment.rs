//! `model_list`: the deployments, grouped by the name clients use.

use std::collections::HashSet;

use faregate_terms::{DeploymentId, ModelGroup};

use super::credential::Credential;
use super::model_info::ModelInfo;
use super::params::LitellmParams;
use crate::deployment_id;
use crate::diagnostic::{Diagnostic, Findings, Severity, nearest};
use crate::fields::Fields;
use crate::node::{Entry, Node, Value};
use crate::open_map::OpenMap;
use crate::position::Position;

/// One deployment: an entry of `model_list`, or one organization of an entry that lists several.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentConfig {
    /// `model_info.id`, else LiteLLM's hash. A second deployment with the same id gets `-2`, and so on.
    pub id: DeploymentId,
    /// The name clients ask for; may hold `*`.
    pub group: ModelGroup,
    /// How to reach it.
    pub params: LitellmParams,
    /// What it is.
    pub info: ModelInfo,
    /// The entry's own `metadata`.
    pub metadata: OpenMap,
    /// Keys of the entry beside the known ones, as written.
    pub extra: OpenMap,
    /// Where the entry begins; `None` for a deployment made in code.
    pub position: Option<Position>,
    /// Where `litellm_params.model` is written, which most complaints are about.
    pub model_at: Option<Position>,
    /// The entry's YAML path, `model_list[3]`; a word for its origin when made in code.
    pub path: String,
}

impl DeploymentConfig {
    /// A deployment made in code: `group` served by `model` (`provider/model`), with the id LiteLLM would give.
    pub fn new(group: impl Into<ModelGroup>, model: &str) -> Self {
        let group = group.into();
        let at = Position::new(std::path::Path::new(""), 1, 1);
        let node = Node::new(Value::Text(model.to_owned()), at.clone());
        let entry = Entry { key: "model".to_owned(), key_at: at.clone(), node };
        Self {
            id: deployment_id::derive(group.as_str(), &Node::new(Value::Map(vec![entry]), at)),
            group,
            params: LitellmParams { model: model.to_owned(), ..LitellmParams::default() },
            info: ModelInfo::default(),
            metadata: OpenMap::default(),
            extra: OpenMap::default(),
            position: None,
            model_at: None,
            path: "environment".to_owned(),
        }
    }

    /// Custom prices of `model_info` and `litellm_params` together; the latter win.
    pub fn prices(&self) -> OpenMap {
        let mut prices = self.info.prices.clone();
        prices.extend(self.params.prices.0.clone());
        prices
    }

    /// `metadata.max_requests_per_minute`, as examples for model entries write it.
    pub fn max_requests_per_minute(&self) -> Option<u64> {
        self.metadata.get("max_requests_per_minute")?.as_u64()
    }

    /// A finding about this deployment; `key` is a path inside the entry such as `litellm_params.model`.
    pub fn finding(&self, severity: Severity, key: &str, message: impl Into<String>) -> Diagnostic {
        let path = if key.is_empty() { self.path.clone() } else { format!("{}.{key}", self.path) };
        let at = self.model_at.as_ref().filter(|_| key == "litellm_params.model").or(self.position.as_ref());
        Diagnostic { severity, ..Diagnostic::error(at, path, message) }
    }
}

/// Reads the section; broken entries make errors and are left out.
pub(crate) fn read_model_list(
    root: &Node,
    credentials: &[Credential],
    findings: &mut Findings,
) -> Vec<DeploymentConfig> {
    let Some(section) = root.get("model_list") else { return Vec::new() };
    let Some(items) = section.items() else {
        let message = format!("expected a list of models, found {}", section.shape());
        findings.push(
            Diagnostic::error(Some(&section.at), "model_list", message)
                .remedy("start each model with `- model_name:`"),
        );
        return Vec::new();
    };
    let mut deployments = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let entry = Fields::of(item, format!("model_list[{index}]"), findings);
        read_entry(entry, credentials, &mut deployments);
    }
    number_equal_ids(&mut deployments, findings);
    deployments
}

fn read_entry(mut entry: Fields<'_>, credentials: &[Credential], deployments: &mut Vec<DeploymentConfig>) {
    if entry.node.entries().is_none() {
        if entry.node.is_null() {
            let path = entry.path.clone();
            entry.findings.error(&entry.node.at, &path, "this list item is empty");
        }
        return;
    }
    let name = entry.filled("model_name");
    let params_node = entry.get("litellm_params");
    if name.is_none() && !is_wrong(&entry, "model_name") {
        missing(&mut entry, "model_name", "add `model_name:`, the name clients ask for");
    }
    if params_node.is_none() {
        missing(&mut entry, "litellm_params", "add `litellm_params:` with `model: provider/model`");
    }
    let mut info =
        entry.child("model_info").map(|mut fields| ModelInfo::read(&mut fields)).unwrap_or_default();
    let metadata = entry.open("metadata").unwrap_or_default();
    let Some(params_node) = params_node else { return };
    let merged = with_credential(params_node, &mut entry, credentials);
    let path = entry.at("litellm_params");
    let mut fields = Fields::of(&merged, path, entry.findings);
    let params = LitellmParams::read(&mut fields);
    if params.model.is_empty() && merged.entries().is_some() && !is_wrong(&fields, "model") {
        missing(&mut fields, "model", "add `model: provider/model`, for example `openai/gpt-4o`");
    }
    let organizations = organizations(&mut fields);
    let (Some(name), false) = (name, params.model.is_empty()) else { return };
    let id = match entry.get("model_info").and_then(|info| info.get("id")).and_then(Node::scalar_text) {
        Some(id) => DeploymentId::new(id),
        None => deployment_id::derive(&name, params_node),
    };
    info.all.insert("id".to_owned(), id.as_str().into());
    let deployment = DeploymentConfig {
        id,
        group: ModelGroup::new(name),
        params,
        info,
        metadata,
        extra: extra_of(&entry),
        position: Some(entry.node.at.clone()),
        model_at: params_node.get("model").map(|model| model.at.clone()),
        path: entry.path.clone(),
    };
    if organizations.is_empty() {
        deployments.push(deployment);
        return;
    }
    deployments.extend(organizations.into_iter().map(|organization| {
        let mut one = deployment.clone();
        one.params.organization = Some(organization);
        one
    }));
}

fn missing(fields: &mut Fields<'_>, key: &str, remedy: &str) {
    let path = fields.at(key);
    fields.findings.push(Diagnostic::error(Some(&fields.node.at), path, "is missing").remedy(remedy));
}

/// Whether the key is there with a value that has been reported already.
fn is_wrong(fields: &Fields<'_>, key: &str) -> bool {
    fields.get(key).is_some_and(|node| node.scalar_text().is_none())
}

fn extra_of(entry: &Fields<'_>) -> OpenMap {
    let known = ["model_name", "litellm_params", "model_info", "metadata"];
    OpenMap(
        entry
            .entries()
            .iter()
            .filter(|field| !known.contains(&field.key.as_str()))
            .map(|field| (field.key.clone(), field.node.to_json()))
            .collect(),
    )
}

/// The parameters, with what is missing filled from the credential they name.
fn with_credential(params: &Node, entry: &mut Fields<'_>, credentials: &[Credential]) -> Node {
    let mut merged = params.clone();
    let Some(reference) = params.get("litellm_credential_name") else { return merged };
    let Some(name) = reference.scalar_text() else { return merged };
    let Some(credential) = credentials.iter().find(|credential| credential.name == name) else {
        let path = entry.at("litellm_params.litellm_credential_name");
        let message = format!("no credential `{name}` in credential_list");
        let remedy = match nearest(&name, credentials.iter().map(|credential| credential.name.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "add it there, or remove the reference".to_owned(),
        };
        entry.findings.push(Diagnostic::warning(Some(&reference.at), path, message).remedy(remedy));
        return merged;
    };
    if let Value::Map(entries) = &mut merged.value {
        for value in &credential.values {
            if !entries.iter().any(|known| known.key == value.key) {
                entries.push(value.clone());
            }
        }
    }
    merged
}

/// The organizations of a list; empty for one organization or none.
fn organizations(fields: &mut Fields<'_>) -> Vec<String> {
    match fields.get("organization") {
        Some(node) if node.items().is_some() => fields.texts("organization").unwrap_or_default(),
        Some(_) => {
            fields.text("organization");
            Vec::new()
        }
        None => Vec::new(),
    }
}

/// LiteLLM lets deployments share an id; each needs its own here, so later ones get a number.
fn number_equal_ids(deployments: &mut [DeploymentConfig], findings: &mut Findings) {
    let mut taken: HashSet<DeploymentId> = HashSet::new();
    let mut paths: std::collections::HashMap<DeploymentId, String> = std::collections::HashMap::new();
    for deployment in deployments {
        if taken.insert(deployment.id.clone()) {
            paths.insert(deployment.id.clone(), deployment.path.clone());
            continue;
        }
        let shared = deployment.id.clone();
        let fresh = (2..).map(|n| DeploymentId::new(format!("{shared}-{n}"))).find(|id| !taken.contains(id));
        let Some(fresh) = fresh else { continue };
        // The organizations of one entry share its id on purpose.
        let first = paths.get(&shared).cloned().unwrap_or_default();
        if first != deployment.path {
            let message = format!("has the same deployment id as {first}; it is called `{fresh}`");
            let found = deployment.finding(Severity::Warning, "", message);
            findings.push(found.remedy("give each its own `model_info.id`, or remove the copy"));
        }
        deployment.info.all.insert("id".to_owned(), fresh.as_str().into());
        taken.insert(fresh.clone());
        deployment.id = fresh;
    }
}
