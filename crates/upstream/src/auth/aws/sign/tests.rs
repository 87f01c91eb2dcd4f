//! Signatures that others have computed.

use std::time::{Duration, UNIX_EPOCH};

use http::{Method, Request};

use super::*;

/// 2015-08-30T12:36:00Z.
const TIME: Duration = Duration::from_secs(1_440_938_160);

fn signature(service: &str, method: &Method, url: &str, body: &str, token: Option<&str>) -> String {
    let keys = Keys {
        access_key_id: "AKIDEXAMPLE".into(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
        session_token: token.map(Into::into),
    };
    let mut parts = Request::builder().method(method).uri(url).body(()).unwrap().into_parts().0;
    parts.headers.insert("x-forwarded-for", HeaderValue::from_static("10.0.0.1"));
    if !body.is_empty() {
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let signer = Signer { keys: &keys, region: "us-east-1", service };
    signer.sign(&mut parts, body.as_bytes(), UNIX_EPOCH + TIME).unwrap();
    assert_eq!(parts.headers["x-amz-date"], "20150830T123600Z");
    assert!(parts.headers["authorization"].is_sensitive());
    parts.headers["authorization"].to_str().unwrap().rsplit_once("Signature=").unwrap().1.to_owned()
}

/// AWS's Signature Version 4 test suite: `get-vanilla`, `post-vanilla`, `get-vanilla-query-order-encoded`,
/// `post-vanilla-query`, `get-vanilla-with-session-token`.
#[test]
fn the_published_cases_come_out_as_published() {
    const TOKEN: &str = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
    let cases = [
        (Method::GET, "/", None, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (Method::POST, "/", None, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            Method::GET,
            "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            None,
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
        ),
        (
            Method::POST,
            "/?Param1=value1",
            None,
            "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
        ),
        (Method::GET, "/", Some(TOKEN), "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"),
    ];
    for (method, target, token, expected) in cases {
        let url = format!("https://example.amazonaws.com{target}");
        assert_eq!(signature("service", &method, &url, "", token), expected, "{method} {target}");
    }
}

/// botocore 1.44.5, `SigV4Auth(credentials, "bedrock", "us-east-1")` over the same request and time.
#[test]
fn a_bedrock_model_id_with_a_colon_signs_as_botocore_signs_it() {
    let url = "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-v2%3A1/converse";
    let expected = "6dbd7499ba1f7f07e6fdce61ad5344144e1d89bd8679e887dcff40e0ed56848b";
    assert_eq!(signature("bedrock", &Method::POST, url, "{\"a\": 1}", None), expected);
}
