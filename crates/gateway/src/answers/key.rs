//! What makes two requests the same.
//!
//! Everything that may change the answer is in the key: the group, the name the client is shown, and every
//! member of the body but those that only say how the answer is to be sent. Members may come in any order and
//! with any white space; beyond that the text decides, so `1` and `1.0` are different requests.

use std::fmt::Write as _;

use faregate_config::Isolation;
use faregate_terms::Account;
use faregate_wire::dialect::Dialect;
use http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::call::Call;
use crate::stage::send::is_forwarded;

use super::names_of;

/// How an answer is sent, not what it says. The model is in the key by itself.
const LEFT_OUT: &[&str] = &["model", "stream", "stream_options"];

/// What LiteLLM leaves out of its keys as well. A response repeats it, so there it counts.
const METADATA: &str = "metadata";

/// What is embedded, where each input has a key of its own.
const INPUT: &str = "input";

/// Headers that are forwarded, if headers are, and differ with every request.
const TRACES: &[&str] =
    &["x-request-id", "x-correlation-id", "x-trace-id", "x-amzn-trace-id", "x-cloud-trace-context"];

/// What a key is made of besides the request.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The group that serves it.
    pub group: &'a str,
    /// The team whose answers these are, if the group has deployments that are not for all.
    pub owner: Option<&'a str>,
    /// In front of the key.
    pub namespace: Option<&'a str>,
    /// Who shares answers.
    pub isolation: Isolation,
    /// Whom it is booked on.
    pub account: &'a Account,
    /// The client's `x-*` headers reach the provider.
    pub forwards_headers: bool,
}

/// The key of a call: `<namespace>:<SHA-256 in hex>`.
pub fn of(call: &Call, around: &Circumstances<'_>) -> String {
    made(call, around, None)
}

/// The key of one input of a call for embeddings, whatever list it stands in.
pub fn of_item(call: &Call, around: &Circumstances<'_>, item: &[u8]) -> String {
    made(call, around, Some(item))
}

fn made(call: &Call, around: &Circumstances<'_>, item: Option<&[u8]>) -> String {
    let mut hash = Sha256::new();
    let mut fact = |name: &str, value: &[u8]| {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update((value.len() as u64).to_le_bytes());
        hash.update(value);
    };
    fact("operation", names_of(call.arrival.found.operation).first().copied().unwrap_or_default().as_bytes());
    fact("group", around.group.as_bytes());
    fact("model", call.model.as_bytes());
    if let Some(owner) = around.owner {
        fact("owner", owner.as_bytes());
    }
    for id in who(around) {
        fact("who", id.as_bytes());
    }
    let options = &call.options;
    for name in options.additional_drop_params.iter().chain(&options.allowed_openai_params) {
        fact("param", name.as_bytes());
    }
    if let Some(drop) = options.drop_params {
        fact("drop", &[u8::from(drop)]);
    }
    for (name, value) in &options.extra_headers {
        fact(name, value.as_bytes());
    }
    headers(&call.arrival.headers, around.forwards_headers, &mut fact);
    let mut members: Vec<_> = call.envelope.members().collect();
    members.sort_unstable_by(|one, other| one.0.cmp(other.0));
    for (name, value) in members {
        let is_label = name == METADATA.as_bytes() && call.dialect != Dialect::OpenAiResponses;
        if !is_label && !LEFT_OUT.iter().any(|left_out| left_out.as_bytes() == name) {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            let value = item.filter(|_| name == INPUT.as_bytes()).unwrap_or(value);
            compact(value, |piece| hash.update(piece));
        }
    }
    let mut key = String::with_capacity(64 + around.namespace.map_or(0, |namespace| namespace.len() + 1));
    if let Some(namespace) = around.namespace {
        key.push_str(namespace);
        key.push(':');
    }
    for byte in hash.finalize() {
        // Writing to a text cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

/// Whose requests share the answer; nothing for everybody's.
fn who<'a>(around: &Circumstances<'a>) -> Vec<&'a str> {
    let account = around.account;
    match (around.isolation, &account.team) {
        (Isolation::None, _) => Vec::new(),
        (Isolation::Team, Some(team)) => vec!["team", team],
        (Isolation::Team, None) | (Isolation::Key, _) => vec!["key", &account.api_key],
        (Isolation::EndUser, _) => {
            vec!["end user", &account.api_key, account.end_user.as_deref().unwrap_or_default()]
        }
    }
}

/// Headers that change the answer.
pub(crate) fn headers(headers: &HeaderMap, forwards: bool, fact: &mut impl FnMut(&str, &[u8])) {
    for value in headers.get_all("anthropic-beta") {
        fact("anthropic-beta", value.as_bytes());
    }
    if !forwards {
        return;
    }
    let mut sent: Vec<_> = headers
        .iter()
        .filter(|(name, _)| is_forwarded(name.as_str()) && !TRACES.contains(&name.as_str()))
        .collect();
    sent.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in sent {
        fact(name.as_str(), value.as_bytes());
    }
}

/// The pieces of a JSON text without white space between its tokens.
fn compact(json: &[u8], mut piece: impl FnMut(&[u8])) {
    let mut rest = json;
    while !rest.is_empty() {
        let end = if rest[0] == b'"' { string_end(rest) } else { token_end(rest) };
        if end > 0 {
            piece(&rest[..end]);
        }
        rest = &rest[end..];
        let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        rest = &rest[blanks..];
    }
}

/// Where what is neither string nor white space ends.
fn token_end(json: &[u8]) -> usize {
    json.iter().position(|byte| *byte == b'"' || byte.is_ascii_whitespace()).unwrap_or(json.len())
}

/// Behind the quote that closes the string at the start.
fn string_end(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', json.get(at..).unwrap_or_default()) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compacted(json: &str) -> String {
        let mut out = Vec::new();
        compact(json.as_bytes(), |piece| out.extend_from_slice(piece));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn white_space_counts_within_strings_only() {
        for (json, compact) in [
            (r#" { "a" : [ 1 , 2.5 ,null ] } "#, r#"{"a":[1,2.5,null]}"#),
            (r#""a  b""#, r#""a  b""#),
            (r#"["a \" b" , "c\\" , "d"]"#, r#"["a \" b","c\\","d"]"#),
            ("\n true\t", "true"),
            (r#""never closed "#, r#""never closed "#),
            (r#""ends in \"#, r#""ends in \"#),
        ] {
            assert_eq!(compacted(json), compact, "{json}");
        }
    }

    #[test]
    fn who_shares_answers_is_decided_by_the_setting() {
        let account = |key: &str, team: Option<&str>, end_user: Option<&str>| Account {
            api_key: key.into(),
            team: team.map(str::to_owned),
            end_user: end_user.map(str::to_owned),
            ..Account::default()
        };
        let (one, two) = (account("k1", Some("t"), Some("u")), account("k2", Some("t"), Some("u")));
        let (lone, other) = (account("k1", None, Some("v")), account("k3", None, None));
        let share = |isolation, a: &Account, b: &Account| {
            let around = |account| Circumstances {
                group: "g",
                owner: None,
                namespace: None,
                isolation,
                account,
                forwards_headers: false,
            };
            let (a, b) = (around(a), around(b));
            who(&a).iter().map(|text| (*text).to_owned()).collect::<Vec<_>>() == who(&b)
        };
        for (isolation, same_team, no_team, same_key) in [
            (Isolation::None, true, true, true),
            (Isolation::Team, true, false, false),
            (Isolation::Key, false, false, true),
            (Isolation::EndUser, false, false, false),
        ] {
            assert_eq!(share(isolation, &one, &two), same_team, "{isolation:?}");
            assert_eq!(share(isolation, &lone, &other), no_team, "{isolation:?}");
            assert_eq!(share(isolation, &one, &lone), same_key, "{isolation:?}");
        }
    }
}
