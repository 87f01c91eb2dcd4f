//! `general_settings.pass_through_endpoints`.

use std::time::Duration;

use faregate_config::{Env, PassThroughEndpoint, PassThroughMethod, Snapshot, Stored, Strictness, read_over};
use faregate_terms::PicoUsd;
use serde_json::json;

use crate::{findings, loaded};

fn section(entries: &str) -> String {
    format!("general_settings:\n  pass_through_endpoints:\n{entries}")
}

fn headers(endpoint: &PassThroughEndpoint) -> Vec<String> {
    endpoint.headers.iter().map(|(name, value)| format!("{name}: {}", value.expose())).collect()
}

fn paths(snapshot: &Snapshot) -> Vec<(String, String)> {
    let endpoints = snapshot.general.pass_through.endpoints.iter();
    endpoints.map(|one| (one.path.clone(), one.target.expose().to_owned())).collect()
}

#[test]
fn every_setting_of_a_route_arrives() {
    let env: Env =
        [("UP_KEY", "up-secret"), ("UP_URL", "https://up.example/v1?k=1"), ("PK", "pk"), ("SK", "sk")]
            .into_iter()
            .collect();
    let text = section(
        "  - path: /mine
    target: os.environ/UP_URL
    id: one
    headers: {Authorization: Bearer os.environ/UP_KEY, X-Key: os.environ/UP_KEY, litellm_user_api_key: X-My-Key}
    default_query_params: {version: 2, many: [a, b]}
    include_subpath: true
    methods: [get, POST, GET]
    auth: false
    forward_headers: true
    merge_query_params: true
    cost_per_request: 0.000001234567
    timeout: 2.5
  - path: /langfuse
    target: http://up
    headers: {LANGFUSE_PUBLIC_KEY: os.environ/PK, LANGFUSE_SECRET_KEY: os.environ/SK}
    custom_auth_parser: langfuse
  pass_through_request_timeout: 7
",
    );
    let snapshot = loaded(&text, &env).snapshot;
    let [mine, langfuse] = snapshot.general.pass_through.endpoints.as_slice() else { panic!() };
    assert_eq!((mine.path.as_str(), mine.target.expose()), ("/mine", "https://up.example/v1?k=1"));
    assert_eq!(headers(mine), ["authorization: Bearer up-secret", "x-key: up-secret"]);
    assert_eq!((mine.id.as_deref(), mine.key_header.as_deref()), (Some("one"), Some("x-my-key")));
    let query = mine.default_query.iter().map(|(name, value)| format!("{name}={}", value.expose()));
    assert_eq!(query.collect::<Vec<_>>(), ["version=2", "many=a", "many=b"]);
    assert_eq!(mine.methods, [PassThroughMethod::Get, PassThroughMethod::Post]);
    assert!(mine.include_subpath && mine.is_public && mine.forward_headers && mine.merge_query);
    assert_eq!(mine.cost_per_request, PicoUsd::from_pico(1_234_567), "to the last digit");
    assert_eq!(mine.timeout, Duration::from_millis(2500));

    assert_eq!(headers(langfuse), ["authorization: Basic cGs6c2s="]);
    assert!(langfuse.key_is_basic_user && !langfuse.is_public && !langfuse.include_subpath);
    assert_eq!((langfuse.timeout, langfuse.methods.len()), (Duration::from_secs(7), 5));
    assert!(!format!("{snapshot:?}").contains("up-secret"), "no secret is shown by debug");
}

#[test]
fn what_is_wrong_with_a_route_is_named_with_its_remedy() {
    let found = findings(&section(
        "  - {target: 'https://up'}
  - {path: mine, target: 'ftp://up'}
  - {path: /, target: 'http://user:pw@up'}
  - {path: '/a/*', target: 'http://'}
  - {path: /b, target: 'http://u p', auth: 'false', methods: [FETCH], timeout: 0}
  - {path: /c, target: 'http://up', headers: {'a b': x, litellm_user_api_key: 'c d'}, cost_per_request: -1}
  - {path: /d, target: 'http://up'}
  - {path: /d, target: 'http://up', methods: [GET]}
  - {path: /e, target: 'http://up', guardrails: {pii: null}}
",
    ));
    let lines: Vec<&str> = found
        .iter()
        .map(|line| line.split_once("pass_through_endpoints").map_or(line.as_str(), |it| it.1))
        .collect();
    assert_eq!(
        lines,
        [
            "[0].path: is missing; write the route, such as `/mine`",
            "[1].path: must begin with `/`",
            "[1].target: must be a URL that begins with `http://` or `https://`",
            "[2].path: must name a route below `/`, such as `/mine`",
            "[2].target: must not hold a user; send it by `headers`",
            "[3].path: must be a plain path, without query, wildcard, blank or `..`; for all paths below it set \
             `include_subpath`",
            "[3].target: must name a host",
            "[4].target: holds a character that must be percent-encoded, or a fragment, which is not sent",
            "[4].auth: must be `true`, or `false` without quotes to let everybody in",
            "[4].methods: unknown method `FETCH`; use some of GET, HEAD, POST, PUT, PATCH, DELETE",
            "[4].timeout: must be more than 0 seconds",
            "[5].headers.a b: is not a header name",
            "[5].headers.litellm_user_api_key: is not a header name",
            "[5].cost_per_request: expected an amount of US dollars from 0, found a number",
            "[7].path: general_settings.pass_through_endpoints[6] serves `/d` with the same methods already; give it \
             other `methods`, or remove it",
            "[8].guardrails: guardrails do not run here yet: requests go on unchecked",
        ]
    );
}

#[test]
fn stored_routes_stand_beside_those_of_the_file_and_before_one_of_the_same_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let text =
        section("  - {path: /file, target: 'http://of-file'}\n  - {path: /both, target: 'http://of-file'}\n");
    std::fs::write(&file, text).unwrap();
    let mut stored = Stored::default();
    stored.sections.insert(
        "general_settings".to_owned(),
        json!({"pass_through_endpoints": [
            {"id": "b", "path": "/both", "target": "http://of-db", "methods": ["GET"], "headers": {}, "timeout": null},
            {"id": "p", "path": "/both", "target": "http://of-db-too", "methods": ["POST"], "auth": true},
            {"id": "x", "path": "/broken", "target": "my_module.adapter"},
        ]}),
    );
    let reading = read_over(Some(&file), &stored, &Env::empty(), Strictness::Lenient);
    let snapshot = reading.snapshot.unwrap();
    let pair = |path: &str, target: &str| (path.to_owned(), target.to_owned());
    assert_eq!(
        paths(&snapshot),
        [pair("/file", "http://of-file"), pair("/both", "http://of-db"), pair("/both", "http://of-db-too")]
    );
    let endpoints = &snapshot.general.pass_through.endpoints;
    assert_eq!(endpoints.iter().map(PassThroughEndpoint::is_stored).collect::<Vec<_>>(), [false, true, true]);
    let lines: Vec<String> = reading.findings.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("pass-through route `/broken` is left out: must be a URL"), "{lines:?}");
    assert_eq!(stored.problems_of_routes(&Env::empty()).len(), 1);
}
