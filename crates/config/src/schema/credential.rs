//! `credential_list`: provider credentials shared by several deployments.

use crate::diagnostic::Findings;
use crate::fields::Fields;
use crate::node::{Entry, Node};
use crate::open_map::OpenMap;

/// One entry of `credential_list`. `Debug` never shows values.
#[derive(Debug, Clone)]
pub struct Credential {
    /// What `litellm_params.litellm_credential_name` refers to.
    pub name: String,
    /// Free-form description, for example `custom_llm_provider`.
    pub info: OpenMap,
    /// Parameters it gives to a deployment that does not set them itself.
    pub(crate) values: Vec<Entry>,
}

impl Credential {
    /// The names of the parameters it gives.
    pub fn value_names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|entry| entry.key.as_str())
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.key)
    }
}

/// Reads the section.
pub(crate) fn read(root: &Node, findings: &mut Findings) -> Vec<Credential> {
    let section = "credential_list";
    let Some(node) = root.get(section) else { return Vec::new() };
    let Some(items) = node.items() else {
        findings.error(&node.at, section, format!("expected a list, found {}", node.shape()));
        return Vec::new();
    };
    let mut credentials: Vec<Credential> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let mut fields = Fields::of(item, format!("{section}[{index}]"), findings);
        let name = fields.filled("credential_name");
        let info = fields.open("credential_info").unwrap_or_default();
        let values =
            fields.child("credential_values").map(|values| values.entries().to_vec()).unwrap_or_default();
        match name {
            Some(name) => credentials.push(Credential { name, info, values }),
            None if item.entries().is_some() => {
                findings.error(&item.at, &format!("{section}[{index}].credential_name"), "is missing");
            }
            None => {}
        }
    }
    credentials
}
