//! Which headers go to a target, and which come back.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ALT_SVC, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_TYPE, COOKIE, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName};

use crate::pass_through::Endpoint;
use crate::stage::identify::{Credentials, RAW_HEADERS};

/// What a client puts before the name of a header that is to go on in any case. Source: LiteLLM,
/// `PASS_THROUGH_HEADER_PREFIX`.
const PASS_PREFIX: &str = "x-pass-";
/// What is addressed to the gateway, or tells of it.
const OURS: &str = "x-litellm-";
/// What a target says about who may read its answers in a browser: with us that is for the gateway to say.
const CORS: &str = "access-control-";

/// Headers about the connection, not about what it carries. Source: RFC 9110 section 7.6.1.
static HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What is said of the body, without which it cannot be read; and in which form an answer is wanted.
static OF_THE_BODY: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, ACCEPT];

/// Headers for the target: those of the configuration, which win, what is said of the body, and the client's where
/// they go on. Credentials of clients never do: they may be keys of this gateway.
pub(super) fn outgoing(endpoint: &Endpoint, client: &HeaderMap, credentials: &Credentials) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(endpoint.headers.len() + 4);
    let named = named_by_connection(client);
    let is_private = |name: &HeaderName| {
        is_of_connection(name) || named.contains(name) || is_credential(name, endpoint, credentials)
    };
    for (name, value) in client {
        let goes_on = endpoint.forward_headers && !name.as_str().starts_with(PASS_PREFIX);
        if (goes_on || OF_THE_BODY.contains(name)) && !is_private(name) {
            out.append(name.clone(), value.clone());
        }
    }
    for (name, value) in client {
        let asked = name.as_str().strip_prefix(PASS_PREFIX).and_then(|name| name.parse::<HeaderName>().ok());
        // A client that could set these could sign for somebody else. Source: LiteLLM's list of protected headers.
        if let Some(name) = asked.filter(|name| !is_private(name) && !name.as_str().starts_with("x-amz-")) {
            out.insert(name, value.clone());
        }
    }
    for name in endpoint.headers.keys() {
        out.remove(name);
    }
    out.extend(endpoint.headers.clone());
    out
}

/// Headers of an answer, but for those about the connection and what only the gateway may say.
pub(super) fn incoming(target: &HeaderMap) -> HeaderMap {
    let named = named_by_connection(target);
    let mut out = HeaderMap::with_capacity(target.len() + 16);
    for (name, value) in target {
        let text = name.as_str();
        let is_ours = text.starts_with(OURS) || text.starts_with(CORS) || *name == ALT_SVC;
        if !HOP_BY_HOP.contains(name) && !named.contains(name) && !is_ours {
            out.append(name.clone(), value.clone());
        }
    }
    out
}

/// What is settled anew on each connection. Encodings are among it, as LiteLLM has it: a target that is asked for
/// none sends what everybody can read.
fn is_of_connection(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name) || [HOST, CONTENT_LENGTH, ACCEPT_ENCODING, EXPECT].contains(name)
}

fn is_credential(name: &HeaderName, endpoint: &Endpoint, credentials: &Credentials) -> bool {
    let own = credentials.only_header.as_ref().map(|only| only.name.as_str());
    let named = endpoint.key.as_ref().and_then(|place| place.header.as_deref());
    let text = name.as_str();
    [AUTHORIZATION, COOKIE].contains(name)
        || text.starts_with(OURS)
        || RAW_HEADERS.contains(&text)
        || own == Some(text)
        || named == Some(text)
}

/// Headers that `connection` names as its own.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use faregate_config::{Env, Strictness, read_text};
    use http::HeaderValue;

    use super::*;
    use crate::stage::identify::OnlyHeader;

    fn endpoint(more: &str) -> Endpoint {
        let text = format!(
            "general_settings: {{pass_through_endpoints: [{{path: /p, target: 'http://up', headers: \
             {{Authorization: Bearer of-the-operator, x-tenant: one, litellm_user_api_key: X-My-Key}}, {more}}}]}}"
        );
        let reading = read_text(&text, Path::new("c.yaml"), &Env::empty(), Strictness::Lenient);
        Endpoint::new(&reading.snapshot.unwrap().general.pass_through.endpoints[0]).unwrap()
    }

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    fn shown(headers: &HeaderMap) -> Vec<String> {
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect();
        lines.sort();
        lines
    }

    const CLIENT: &[(&str, &str)] = &[
        ("authorization", "Bearer sk-virtual"),
        ("x-api-key", "sk-virtual"),
        ("x-my-key", "sk-virtual"),
        ("x-litellm-api-key", "sk-virtual"),
        ("x-corp-key", "sk-virtual"),
        ("x-pass-authorization", "Bearer sk-virtual"),
        ("x-pass-x-my-key", "sk-virtual"),
        ("x-pass-x-amz-date", "today"),
        ("x-pass-host", "elsewhere"),
        ("x-pass-transfer-encoding", "chunked"),
        ("x-pass-x-tenant", "two"),
        ("x-pass-beta", "b1"),
        ("cookie", "token=session"),
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("te", "trailers"),
        ("accept-encoding", "br"),
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
        ("x-trace", "t"),
        ("x-tenant", "three"),
    ];

    #[test]
    fn keys_of_clients_never_go_on_and_configured_headers_win() {
        let credentials = Credentials {
            only_header: Some(OnlyHeader { name: "x-corp-key".into(), bearer_required: true }),
            ..Credentials::default()
        };
        let always = [
            "accept: text/event-stream",
            "authorization: Bearer of-the-operator",
            "beta: b1",
            "content-type: application/json",
            "x-tenant: one",
        ];
        let sent = outgoing(&endpoint(""), &map(CLIENT), &credentials);
        assert_eq!(shown(&sent), always);
        let sent = outgoing(&endpoint("forward_headers: true"), &map(CLIENT), &credentials);
        let mut with_client: Vec<&str> = always.to_vec();
        with_client.push("x-trace: t");
        assert_eq!(shown(&sent), with_client);
    }

    #[test]
    fn answers_keep_their_headers_but_for_those_that_the_gateway_writes() {
        let answer = map(&[
            ("content-type", "image/png"),
            ("content-length", "3"),
            ("content-encoding", "gzip"),
            ("set-cookie", "a=b"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("access-control-allow-origin", "*"),
            ("alt-svc", "h3"),
            ("x-litellm-key-spend", "1"),
            ("x-request-id", "r"),
        ]);
        assert_eq!(
            shown(&incoming(&answer)),
            [
                "content-encoding: gzip",
                "content-length: 3",
                "content-type: image/png",
                "set-cookie: a=b",
                "x-request-id: r"
            ]
        );
    }
}
