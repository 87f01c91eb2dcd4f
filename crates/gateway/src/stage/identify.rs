//! Credential → who calls.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use faregate_terms::{KeyHash, Secret, UtcMillis};

use crate::call::Arrival;
use crate::caller::Caller;
use crate::gate::{Gate, Table};
use crate::refusal::Refusal;
use crate::routes::Operation;
use crate::steering::Preferences;

/// Who calls.
#[derive(Debug, Clone)]
pub enum Principal {
    /// The holder of the master key.
    Master,
    /// Anyone, where the operator permitted to run without a master key. Has no admin rights.
    Anonymous,
    /// The holder of a virtual key.
    Key(Arc<Caller>),
}

impl Principal {
    /// The value of the `hashed_api_key` label, and how spend logs name the key.
    pub fn label(&self) -> &str {
        match self {
            Self::Master => "litellm_proxy_master_key",
            Self::Anonymous => "None",
            Self::Key(caller) => &caller.account.api_key,
        }
    }

    /// The virtual key's caller.
    pub fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Key(caller) => Some(caller),
            Self::Master | Self::Anonymous => None,
        }
    }

    /// What the key or team says of routing.
    pub fn preferences(&self) -> Option<&Preferences> {
        self.caller()?.preferences.as_deref()
    }

    /// True for callers who see and may do everything.
    pub fn is_admin(&self) -> bool {
        match self {
            Self::Master => true,
            Self::Anonymous => false,
            Self::Key(caller) => caller.is_admin,
        }
    }
}

/// How callers prove who they are.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// The admin key. `None` lets everybody in as [`Principal::Anonymous`].
    pub master_key: Option<Secret>,
    /// When set, only this header is read.
    pub only_header: Option<OnlyHeader>,
    /// The only addresses that may call; empty for everybody.
    pub addresses: Vec<IpAddr>,
}

impl Credentials {
    /// Refuses clients at other addresses than those that may call.
    ///
    /// # Errors
    /// 403 naming the address.
    pub fn admit(&self, address: Option<IpAddr>) -> Result<(), Refusal> {
        let may = |address: IpAddr| self.addresses.contains(&address.to_canonical());
        if self.addresses.is_empty() || address.is_some_and(may) {
            return Ok(());
        }
        Err(Refusal::AddressDenied(address))
    }
}

/// Where a request comes from: with `forwarded`, what the proxy in front says of it.
pub fn client_address(peer: Option<IpAddr>, headers: &HeaderMap, forwarded: bool) -> Option<IpAddr> {
    if !forwarded {
        return peer;
    }
    let told = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let first = told.and_then(|list| list.split(',').next()?.trim().parse().ok());
    first.or(peer)
}

/// The one header that may carry a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlyHeader {
    /// Its name, lower case.
    pub name: String,
    /// True if the value must begin with `Bearer ` (LiteLLM's `litellm_key_header_name`).
    pub bearer_required: bool,
}

/// Where routes of an operator's own have the key, besides where it always may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPlace {
    /// A header of its own, lower case, which carries the key as it is.
    pub header: Option<Box<str>>,
    /// The key is the user of Basic authentication.
    pub is_basic_user: bool,
}

/// Headers that carry a key as it is, in the order of precedence after `Authorization`.
pub(crate) const RAW_HEADERS: [&str; 4] =
    ["api-key", "x-api-key", "x-goog-api-key", "ocp-apim-subscription-key"];

/// What a request shows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown {
    /// The master key.
    Master,
    /// Nothing is asked for.
    Nothing,
    /// What may be a virtual key.
    Key(String),
}

/// Finds out who calls.
///
/// # Errors
/// The 401, 400 and 503 shapes of compat, behaviour §3.1.
pub async fn identify(gate: &Gate, table: &Table, arrival: &Arrival) -> Result<Principal, Refusal> {
    table.credentials.admit(arrival.client_ip)?;
    let operation = arrival.found.operation;
    let shown = shown(&table.credentials, &arrival.headers, arrival.query.as_deref(), operation)?;
    holder(gate, shown).await
}

/// The same for a route that has a place of its own for the key.
///
/// # Errors
/// As [`identify`].
pub async fn identify_at(
    gate: &Gate,
    table: &Table,
    arrival: &Arrival,
    place: &KeyPlace,
) -> Result<Principal, Refusal> {
    table.credentials.admit(arrival.client_ip)?;
    holder(gate, shown_at(&table.credentials, &arrival.headers, place)?).await
}

/// Who holds what a request shows.
async fn holder(gate: &Gate, shown: Shown) -> Result<Principal, Refusal> {
    let key = match shown {
        Shown::Master => return Ok(Principal::Master),
        Shown::Nothing => return Ok(Principal::Anonymous),
        Shown::Key(key) => key,
    };
    let Some(principals) = &gate.services.principals else { return Err(Refusal::NoStore) };
    let hash = KeyHash::of(&key);
    let found = principals.key(hash).await.map_err(|away| Refusal::StoreAway(away.to_string()))?;
    let Some(caller) = found else {
        return Err(Refusal::UnknownKey { shown: abbreviated(&key), hash: hash.to_string() });
    };
    standing(&caller, UtcMillis::from_millis(gate.services.clock.wall_ms()))?;
    Ok(Principal::Key(caller))
}

/// Refuses keys that are blocked or have ended.
fn standing(caller: &Caller, now: UtcMillis) -> Result<(), Refusal> {
    if let Some(blocked) = &caller.blocked {
        return Err(Refusal::Blocked(blocked.clone()));
    }
    match caller.expires {
        Some(expires) if expires <= now => {
            Err(Refusal::Expired { shown: caller.shown.clone(), expires: expires.sql(), now: now.sql() })
        }
        _ => Ok(()),
    }
}

/// How messages show a key. Source: compat, behaviour §1, `key_name`.
fn abbreviated(key: &str) -> String {
    let tail = if key.chars().count() < 16 { "" } else { key.get(key.len() - 4..).unwrap_or_default() };
    format!("sk-...{tail}")
}

fn shown(
    credentials: &Credentials,
    headers: &HeaderMap,
    query: Option<&str>,
    operation: Operation,
) -> Result<Shown, Refusal> {
    let Some(master) = &credentials.master_key else {
        return Ok(Shown::Nothing);
    };
    judged(master, presented(credentials, headers, query, operation)?)
}

/// A header of the route's own comes last. Source: compat, behaviour §1, row 8.
fn shown_at(credentials: &Credentials, headers: &HeaderMap, place: &KeyPlace) -> Result<Shown, Refusal> {
    let Some(master) = &credentials.master_key else {
        return Ok(Shown::Nothing);
    };
    let user = || basic_user(text(headers, AUTHORIZATION.as_str())?);
    if let Some(key) = place.is_basic_user.then(user).flatten() {
        return judged(master, key);
    }
    let usual = presented(credentials, headers, None, Operation::PassThrough);
    let own = place.header.as_deref().and_then(|name| text(headers, name)).filter(|key| !key.is_empty());
    match (usual, own) {
        (Err(_), Some(own)) if credentials.only_header.is_none() => {
            judged(master, scheme(own).unwrap_or_else(|| own.to_owned()))
        }
        (usual, _) => judged(master, usual?),
    }
}

/// The user of Basic authentication.
fn basic_user(value: &str) -> Option<String> {
    let pair = STANDARD.decode(value.strip_prefix("Basic ")?.trim()).ok()?;
    Some(String::from_utf8(pair).ok()?.split(':').next()?.to_owned())
}

fn judged(master: &Secret, key: String) -> Result<Shown, Refusal> {
    if bool::from(key.as_bytes().ct_eq(master.expose().as_bytes())) {
        return Ok(Shown::Master);
    }
    if key.starts_with("sk-") {
        return Ok(Shown::Key(key));
    }
    Err(Refusal::NotAVirtualKey(shortened(&key)))
}

fn presented(
    credentials: &Credentials,
    headers: &HeaderMap,
    query: Option<&str>,
    operation: Operation,
) -> Result<String, Refusal> {
    if let Some(only) = &credentials.only_header {
        let value = text(headers, &only.name).filter(|value| !value.is_empty()).ok_or(Refusal::NoKey)?;
        return match scheme(value) {
            Some(key) => Ok(key),
            None if only.bearer_required => Err(Refusal::MalformedKey(shortened(value))),
            None => Ok(value.to_owned()),
        };
    }
    if let Some(value) = text(headers, "x-litellm-api-key").filter(|value| !value.is_empty()) {
        return Ok(scheme(value).unwrap_or_else(|| value.to_owned()));
    }
    if let Some(value) = text(headers, AUTHORIZATION.as_str()).filter(|value| !value.is_empty()) {
        return scheme(value)
            .or_else(|| sigv4_key(value))
            .filter(|key| !key.is_empty())
            .ok_or_else(|| Refusal::MalformedKey(shortened(value)));
    }
    if let Some(value) =
        RAW_HEADERS.iter().find_map(|name| text(headers, name).filter(|value| !value.is_empty()))
    {
        return Ok(scheme(value).unwrap_or_else(|| value.to_owned()));
    }
    if operation == Operation::Gemini
        && let Some(key) = query.and_then(query_key)
    {
        return Ok(key);
    }
    Err(Refusal::NoKey)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn scheme(value: &str) -> Option<String> {
    let rest = ["Bearer ", "bearer ", "Basic "].iter().find_map(|prefix| value.strip_prefix(prefix))?;
    if !value.starts_with("Basic ") || rest.starts_with("sk-") {
        return Some(rest.trim().to_owned());
    }
    // LiteLLM uses the text after Basic as it is; a properly encoded `user:key` is understood as well.
    let decoded = STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let halves = decoded.as_deref().and_then(|pair| pair.split_once(':'));
    let key = halves.and_then(|(user, word)| [word, user].into_iter().find(|half| half.starts_with("sk-")));
    Some(key.unwrap_or(rest).to_owned())
}

/// AWS clients sign with a key id: the gateway's key stands in its place. The signature itself proves
/// nothing here, as the gateway's key is all there is to prove.
fn sigv4_key(value: &str) -> Option<String> {
    let rest = value.strip_prefix("AWS4-HMAC-SHA256")?;
    let credential = rest.split(',').find_map(|item| item.trim().strip_prefix("Credential="))?;
    let id = credential.split('/').next()?;
    Some(id.strip_prefix("Bearer ").unwrap_or(id).to_owned())
}

fn query_key(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("key="))?;
    percent_encoding::percent_decode_str(value).decode_utf8().ok().map(|text| text.into_owned())
}

/// The first and last four characters; none of a text of up to eight.
fn shortened(key: &str) -> String {
    let characters: Vec<char> = key.chars().collect();
    if characters.len() <= 8 {
        return "****".to_owned();
    }
    let head: String = characters[..4].iter().collect();
    let tail: String = characters[characters.len() - 4..].iter().collect();
    format!("{head}****{tail}")
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const KEY: &str = "sk-a-strong-master-key-1";

    fn who(headers: &[(&str, &str)], query: Option<&str>) -> Result<Shown, Refusal> {
        let credentials = Credentials { master_key: Some(KEY.into()), ..Credentials::default() };
        shown(&credentials, &map(headers), query, Operation::Gemini)
    }

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn every_header_form_is_taken() {
        let bearer = format!("Bearer {KEY}");
        let lower = format!("bearer {KEY}");
        let basic = format!("Basic {}", STANDARD.encode(format!("user:{KEY}")));
        let plain_basic = format!("Basic {KEY}");
        let sigv4 = format!(
            "AWS4-HMAC-SHA256 Credential={KEY}/20261120/us-east-1/bedrock/aws4_request, \
             SignedHeaders=host, Signature=00"
        );
        for (name, value) in [
            ("x-litellm-api-key", KEY),
            ("x-litellm-api-key", bearer.as_str()),
            ("authorization", bearer.as_str()),
            ("authorization", lower.as_str()),
            ("authorization", basic.as_str()),
            ("authorization", plain_basic.as_str()),
            ("authorization", sigv4.as_str()),
            ("api-key", KEY),
            ("x-api-key", KEY),
            ("x-goog-api-key", KEY),
            ("ocp-apim-subscription-key", KEY),
        ] {
            assert_eq!(who(&[(name, value)], None), Ok(Shown::Master), "{name}: {value}");
        }
        assert_eq!(who(&[], Some("alt=sse&key=sk-a-strong-master-key-1")), Ok(Shown::Master));
    }

    #[test]
    fn the_first_header_in_order_decides() {
        let good = format!("Bearer {KEY}");
        let first = who(&[("x-litellm-api-key", "sk-wrong"), ("authorization", &good)], None);
        assert_eq!(first, Ok(Shown::Key("sk-wrong".into())));
        assert!(who(&[("authorization", "Token x"), ("x-api-key", KEY)], None).is_err());
    }

    #[test]
    fn each_failure_has_its_own_shape() {
        assert_eq!(who(&[], None), Err(Refusal::NoKey));
        assert_eq!(who(&[("authorization", "Bearer sk-unknown")], None), Ok(Shown::Key("sk-unknown".into())));
        let Err(malformed) = who(&[("authorization", "sk-1234567890")], None) else { panic!() };
        assert_eq!(malformed, Refusal::MalformedKey("sk-1****7890".into()));
        let Err(no_key) = who(&[("x-api-key", "abcdefghijkl")], None) else { panic!() };
        assert_eq!(
            no_key.to_string(),
            "LiteLLM Virtual Key expected. Received=abcd****ijkl, expected to start with 'sk-'."
        );
    }

    #[test]
    fn a_key_that_has_ended_or_is_blocked_is_refused_with_its_reason() {
        let now = UtcMillis::from_millis(1_000_000);
        let mut caller = Caller { shown: "sk-...wxyz".into(), ..Caller::default() };
        assert_eq!(standing(&caller, now), Ok(()));
        caller.expires = Some(now);
        assert!(matches!(standing(&caller, now), Err(Refusal::Expired { .. })));
        caller.blocked = Some(crate::caller::Blocked::Team("t".into()));
        let Err(refusal) = standing(&caller, now) else { panic!() };
        assert_eq!((refusal.status(), refusal.kind()), (401, "auth_error"));
    }

    #[test]
    fn a_route_of_an_operators_own_may_have_a_place_for_the_key() {
        let credentials = Credentials { master_key: Some(KEY.into()), ..Credentials::default() };
        let named = KeyPlace { header: Some("x-my-key".into()), is_basic_user: false };
        let ask = |headers: &[(&str, &str)], place: &KeyPlace| shown_at(&credentials, &map(headers), place);
        let bearer = format!("Bearer {KEY}");
        assert_eq!(ask(&[("x-my-key", KEY)], &named), Ok(Shown::Master));
        assert_eq!(
            ask(&[("x-my-key", KEY), ("authorization", "Token of-the-target")], &named),
            Ok(Shown::Master)
        );
        assert_eq!(ask(&[("x-my-key", "sk-other"), ("authorization", &bearer)], &named), Ok(Shown::Master));
        assert_eq!(ask(&[("x-my-key", KEY)], &KeyPlace::default()), Err(Refusal::NoKey));

        let langfuse = KeyPlace { header: None, is_basic_user: true };
        let pair = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(ask(&[("authorization", &pair(&format!("{KEY}:any")))], &langfuse), Ok(Shown::Master));
        let other = ask(&[("authorization", &pair(&format!("pk-any:{KEY}")))], &langfuse);
        assert!(matches!(other, Err(Refusal::NotAVirtualKey(_))), "the key is the user and not the password");
        assert_eq!(ask(&[("authorization", &bearer)], &langfuse), Ok(Shown::Master));
    }

    #[test]
    fn messages_show_no_more_of_a_key_than_litellm_does() {
        assert_eq!(abbreviated("sk-0123456789abcdefwxyz"), "sk-...wxyz");
        assert_eq!(abbreviated("sk-short"), "sk-...");
    }

    #[test]
    fn a_header_of_ones_own_replaces_all_others() {
        let credentials = Credentials {
            master_key: Some(KEY.into()),
            only_header: Some(OnlyHeader { name: "x-corp-key".into(), bearer_required: true }),
            ..Credentials::default()
        };
        let ask =
            |headers: &[(&str, &str)]| shown(&credentials, &map(headers), None, Operation::ChatCompletions);
        let bearer = format!("Bearer {KEY}");
        assert_eq!(ask(&[("x-corp-key", &bearer)]), Ok(Shown::Master));
        assert_eq!(ask(&[("authorization", &bearer)]), Err(Refusal::NoKey));
        assert!(matches!(ask(&[("x-corp-key", KEY)]), Err(Refusal::MalformedKey(_))));
    }
}
