//! What a request's series are told apart by, and how labels tell it.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use faregate_terms::Account;

use super::Labels;
use crate::caller::Caller;

/// The caller, as labels tell it.
#[derive(Debug, Clone)]
pub enum Who {
    /// Not the holder of a virtual key.
    Named(&'static str),
    /// The holder of a virtual key.
    Key(Arc<Caller>),
}

impl Who {
    fn id(&self) -> &str {
        match self {
            Self::Named(name) => name,
            Self::Key(caller) => &caller.account.api_key,
        }
    }

    fn fact<'a>(&'a self, read: impl FnOnce(&'a Account) -> Option<&'a str>) -> String {
        match self {
            Self::Key(caller) => read(&caller.account).unwrap_or("None").to_owned(),
            Self::Named(_) => "None".to_owned(),
        }
    }
}

impl PartialEq for Who {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Who {}

impl Hash for Who {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

/// What a request's series are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SeriesKey {
    /// Canonical path.
    pub route: Cow<'static, str>,
    /// Status sent.
    pub status: u16,
    /// The name the client sent if the router knows it, else `other`.
    pub requested_model: String,
    /// Group that served it.
    pub model_group: Option<String>,
    /// Upstream model.
    pub model: Option<String>,
    /// Deployment id.
    pub model_id: Option<String>,
    /// Provider.
    pub api_provider: Option<String>,
    /// Upstream base URL.
    pub api_base: Option<String>,
    /// The caller.
    pub who: Who,
    /// Exception class of a failure.
    pub class: Option<&'static str>,
    /// Whether the response cache answered, if it was asked.
    pub cache_hit: Option<bool>,
    /// Client address.
    pub client_ip: String,
    /// Client program.
    pub user_agent: String,
}

impl SeriesKey {
    /// Makes what only clients decide `other`.
    pub(super) fn forget_the_client(&mut self) {
        for text in [&mut self.client_ip, &mut self.user_agent, &mut self.requested_model] {
            "other".clone_into(text);
        }
    }
}

/// Absent values are the text `None`. Source: compat, metrics §2.4.
pub(super) fn labels(names: &[&'static str], key: &SeriesKey) -> Labels {
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "None".to_owned());
    names
        .iter()
        .map(|&name| {
            let value = match name {
                "hashed_api_key" => key.who.id().to_owned(),
                "api_key_alias" => match &key.who {
                    Who::Named(name) => (*name).to_owned(),
                    Who::Key(_) => key.who.fact(|account| account.key_alias.as_deref()),
                },
                "team" => key.who.fact(|account| account.team.as_deref()),
                "team_alias" => key.who.fact(|account| account.team_alias.as_deref()),
                "user" => key.who.fact(|account| account.user.as_deref()),
                "org_id" => key.who.fact(|account| account.organization.as_deref()),
                "requested_model" => key.requested_model.clone(),
                "model_group" => or_none(&key.model_group),
                "model" | "litellm_model_name" => or_none(&key.model),
                "model_id" => or_none(&key.model_id),
                "api_provider" => or_none(&key.api_provider),
                "api_base" => or_none(&key.api_base),
                "status_code" | "exception_status" => key.status.to_string(),
                "exception_class" => key.class.unwrap_or("None").to_owned(),
                "route" => key.route.to_string(),
                "client_ip" => key.client_ip.clone(),
                "user_agent" => key.user_agent.clone(),
                _ => "None".to_owned(),
            };
            (name, value)
        })
        .collect()
}
