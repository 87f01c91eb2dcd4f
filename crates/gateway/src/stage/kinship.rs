//! What a request shares with others that should go to the same deployment.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use faregate_wire::dialect::Dialect;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::call::Call;
use crate::health::{Bond, Kinship};
use crate::stage::admit::BYTES_PER_TOKEN;
use crate::stage::identify::Principal;
use crate::stage::plan::Asker;

/// Prompts that begin alike by fewer tokens are not cached. Source: LiteLLM, `MINIMUM_PROMPT_CACHE_TOKEN_COUNT`.
const LEAST_TOKENS: u64 = 1024;
/// Providers keep an unused prefix for five minutes. Source: Anthropic and OpenAI, "Prompt caching".
const PROMPT_TTL: Duration = Duration::from_secs(300);
/// A conversation has grown by a few messages since its last request; further back nobody looks.
const LOOK_BACK: usize = 8;

/// Which bonds are minded: `router_settings.optional_pre_call_checks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bonding {
    /// `prompt_caching`.
    pub prompt: bool,
    /// `session_affinity`.
    pub session: bool,
    /// `deployment_affinity`.
    pub caller: bool,
    /// `responses_api_deployment_check`.
    pub response: bool,
    /// `encrypted_content_affinity`.
    pub sealed: bool,
    /// `deployment_affinity_ttl_seconds`.
    pub ttl: Duration,
}

/// The bonds of a request, closest first.
pub(crate) type Bonds = SmallVec<[Bond; 4]>;

impl Bonding {
    /// True if no request has any.
    pub fn is_off(&self) -> bool {
        !(self.prompt || self.session || self.caller || self.response || self.sealed)
    }

    /// The bonds of a request to a group. Callers never share one: what a provider's cache tells of others by
    /// its speed stays within a key.
    pub(crate) fn of(&self, call: &Call, group: &str, asker: Asker<'_>) -> Bonds {
        let mut bonds = Bonds::new();
        let caller = hash(&(group, asker.principal.label()));
        if self.response || self.sealed {
            bonds.extend(self.of_responses(call, caller));
        }
        if let (true, Some(session)) = (self.session, &asker.account.session) {
            bonds.push(Bond { kinship: Kinship::Session, key: hash(&(caller, 's', session)), ttl: self.ttl });
        }
        if self.prompt && asker.input_bytes >= LEAST_TOKENS * BYTES_PER_TOKEN {
            let bond = |key| Bond { kinship: Kinship::Prompt, key, ttl: PROMPT_TTL };
            bonds.extend(prefixes(call, caller).into_iter().rev().take(LOOK_BACK).map(bond));
        }
        if self.caller {
            bonds.push(Bond { kinship: Kinship::Caller, key: hash(&(caller, 'c')), ttl: self.ttl });
        }
        bonds
    }
}

impl Bonding {
    /// With the responses that the request goes on from.
    fn of_responses(&self, call: &Call, caller: u64) -> Bonds {
        let mut bonds = Bonds::new();
        if call.dialect != Dialect::OpenAiResponses {
            return bonds;
        }
        let ties = Ties { bonding: *self, caller };
        let id = call.envelope.get::<String>("previous_response_id").filter(|_| self.response);
        bonds.extend(id.map(|id| ties.response(&id)));
        if let (true, Some(input)) = (self.sealed, call.envelope.raw("input")) {
            // The last is of the answer that the conversation goes on from.
            bonds.extend(sealed(input).last().map(|seal| ties.sealed(seal)));
        }
        bonds
    }

    /// What ties later requests to the answer of this one, where somebody minds.
    pub(crate) fn ties(&self, group: &str, principal: &Principal) -> Option<Ties> {
        let is_minded = self.response || self.sealed;
        is_minded.then(|| Ties { bonding: *self, caller: hash(&(group, principal.label())) })
    }
}

/// What ties later requests of a caller to a response.
#[derive(Debug, Clone, Copy)]
pub struct Ties {
    bonding: Bonding,
    caller: u64,
}

impl Ties {
    fn response(&self, id: &str) -> Bond {
        let ttl = self.bonding.ttl;
        Bond { kinship: Kinship::Response, key: hash(&(self.caller, 'r', id)), ttl }
    }

    fn sealed(&self, seal: &str) -> Bond {
        let ttl = self.bonding.ttl;
        Bond { kinship: Kinship::Sealed, key: hash(&(self.caller, 'e', seal)), ttl }
    }

    /// The bonds of a response of OpenAI's form.
    pub(crate) fn of(&self, body: &[u8]) -> Bonds {
        let mut bonds = Bonds::new();
        let Ok(response) = serde_json::from_slice::<Answered>(body) else { return bonds };
        if self.bonding.response {
            bonds.extend(response.id.map(|id| self.response(&id)));
        }
        if let (true, Some(output)) = (self.bonding.sealed, response.output) {
            bonds.extend(sealed(output.get().as_bytes()).iter().map(|seal| self.sealed(seal)));
        }
        bonds
    }
}

/// A response, as far as it ties requests to it.
#[derive(Deserialize)]
struct Answered<'a> {
    id: Option<String>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
}

/// The sealed reasoning among items; other members are passed over.
fn sealed(items: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Item {
        encrypted_content: Option<String>,
    }
    let items: Vec<Item> = serde_json::from_slice(items).unwrap_or_default();
    items.into_iter().filter_map(|item| item.encrypted_content).collect()
}

/// A hash of each beginning of the prompt that is long enough to be cached and ends with a message.
fn prefixes(call: &Call, caller: u64) -> Vec<u64> {
    let mut bytes = 0;
    let mut so_far = hash(&(caller, 'p'));
    let mut take = |part: &[u8]| {
        bytes += part.len() as u64;
        so_far = hash(&(so_far, Unmarked(part)));
        (bytes >= LEAST_TOKENS * BYTES_PER_TOKEN).then_some(so_far)
    };
    for member in ["tools", "system", "instructions", "systemInstruction"] {
        if let Some(part) = call.envelope.raw(member) {
            take(part);
        }
    }
    let messages = ["messages", "input", "contents"].iter().find_map(|name| call.envelope.raw(name));
    let Some(Ok(messages)) = messages.map(serde_json::from_slice::<Vec<&RawValue>>) else {
        return Vec::new();
    };
    messages.iter().filter_map(|message| take(message.get().as_bytes())).collect()
}

/// JSON without the marks of what is to be cached, which move from message to message as a conversation grows.
struct Unmarked<'a>(&'a [u8]);

impl Hash for Unmarked<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let is_marked = memchr::memmem::find(self.0, b"cache_control").is_some();
        match is_marked.then(|| serde_json::from_slice::<Value>(self.0)) {
            Some(Ok(mut value)) => {
                unmark(&mut value);
                value.to_string().as_bytes().hash(state);
            }
            _ => self.0.hash(state),
        }
    }
}

fn unmark(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.shift_remove("cache_control");
            members.values_mut().for_each(unmark);
        }
        Value::Array(items) => items.iter_mut().for_each(unmark),
        _ => {}
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
