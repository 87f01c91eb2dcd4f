//! Credential → who calls.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::ConstantTimeEq;

use faregate_terms::{KeyHash, Secret};

use crate::refusal::Refusal;
use crate::routes::Operation;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The holder of the master key.
    Master,
    /// Anyone, where the operator permitted to run without a master key. Has no admin rights.
    Anonymous,
}

impl Principal {
    /// The value of the `hashed_api_key` and `api_key_alias` labels.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Master => "litellm_proxy_master_key",
            Self::Anonymous => "None",
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
}

/// The one header that may carry a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlyHeader {
    /// Its name, lower case.
    pub name: String,
    /// True if the value must begin with `Bearer ` (LiteLLM's `litellm_key_header_name`).
    pub bearer_required: bool,
}

/// Headers that carry a key as it is, in the order of precedence after `Authorization`.
const RAW_HEADERS: [&str; 4] = ["api-key", "x-api-key", "x-goog-api-key", "ocp-apim-subscription-key"];

/// Finds out who calls.
///
/// # Errors
/// The 401 and 400 shapes of compat, behaviour §3.1.
pub fn identify(
    credentials: &Credentials,
    headers: &HeaderMap,
    query: Option<&str>,
    operation: Operation,
) -> Result<Principal, Refusal> {
    let Some(master) = &credentials.master_key else {
        return Ok(Principal::Anonymous);
    };
    let key = presented(credentials, headers, query, operation)?;
    if bool::from(key.as_bytes().ct_eq(master.expose().as_bytes())) {
        return Ok(Principal::Master);
    }
    if key.starts_with("sk-") {
        tracing::debug!(key_hash = %KeyHash::of(&key), "unknown key");
        return Err(Refusal::NoStore);
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

    fn who(headers: &[(&str, &str)], query: Option<&str>) -> Result<Principal, Refusal> {
        let credentials = Credentials { master_key: Some(KEY.into()), only_header: None };
        identify(&credentials, &map(headers), query, Operation::Gemini)
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
            assert_eq!(who(&[(name, value)], None), Ok(Principal::Master), "{name}: {value}");
        }
        assert_eq!(who(&[], Some("alt=sse&key=sk-a-strong-master-key-1")), Ok(Principal::Master));
    }

    #[test]
    fn the_first_header_in_order_decides() {
        let good = format!("Bearer {KEY}");
        assert!(who(&[("x-litellm-api-key", "sk-wrong"), ("authorization", &good)], None).is_err());
        assert!(who(&[("authorization", "Token x"), ("x-api-key", KEY)], None).is_err());
    }

    #[test]
    fn each_failure_has_its_own_shape() {
        assert_eq!(who(&[], None), Err(Refusal::NoKey));
        assert_eq!(who(&[("authorization", "Bearer sk-unknown")], None), Err(Refusal::NoStore));
        let Err(malformed) = who(&[("authorization", "sk-1234567890")], None) else { panic!() };
        assert_eq!(malformed, Refusal::MalformedKey("sk-1****7890".into()));
        let Err(no_key) = who(&[("x-api-key", "abcdefghijkl")], None) else { panic!() };
        assert_eq!(
            no_key.to_string(),
            "LiteLLM Virtual Key expected. Received=abcd****ijkl, expected to start with 'sk-'."
        );
    }

    #[test]
    fn a_header_of_ones_own_replaces_all_others() {
        let credentials = Credentials {
            master_key: Some(KEY.into()),
            only_header: Some(OnlyHeader { name: "x-corp-key".into(), bearer_required: true }),
        };
        let ask = |headers: &[(&str, &str)]| {
            identify(&credentials, &map(headers), None, Operation::ChatCompletions)
        };
        let bearer = format!("Bearer {KEY}");
        assert_eq!(ask(&[("x-corp-key", &bearer)]), Ok(Principal::Master));
        assert_eq!(ask(&[("authorization", &bearer)]), Err(Refusal::NoKey));
        assert!(matches!(ask(&[("x-corp-key", KEY)]), Err(Refusal::MalformedKey(_))));
    }
}
