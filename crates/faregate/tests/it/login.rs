//! People who sign in with a password: sessions, invitations, wrong passwords.

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::process::{Answer, Running, faregate};

const MASTER: &str = "sk-login-master-key-0123456789";

fn call(running: &Running, key: &str, path: &str, body: &Value) -> Answer {
    running.call("POST", path, key, body.to_string().as_bytes())
}

fn sign_in(running: &Running, name: &str, password: &str) -> Answer {
    call(running, "", "/v2/login", &json!({"username": name, "password": password}))
}

/// The members of a token, which a browser reads without checking its signature.
fn inside(token: &str) -> Value {
    use base64::Engine as _;
    let middle = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(middle).unwrap()).unwrap()
}

fn start(folder: &std::path::Path) -> Running {
    let mut command = faregate(folder, &[]);
    command.env("LITELLM_MASTER_KEY", MASTER).env("UI_USERNAME", "Boss").env("UI_PASSWORD", "the boss's own");
    Running::of(command)
}

#[test]
fn the_operator_signs_in_and_the_sessions_key_manages_until_it_ends() {
    let folder = tempdir().unwrap();
    let running = start(folder.path());
    let answer = sign_in(&running, "boss", "the boss's own");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.head.to_lowercase().contains("set-cookie: token="), "{}", answer.head);
    let claims = inside(answer.json()["token"].as_str().unwrap());
    assert_eq!(
        (&claims["user_role"], &claims["user_id"]),
        (&json!("proxy_admin"), &json!("default_user_id"))
    );
    let key = claims["key"].as_str().unwrap();
    assert_eq!(call(&running, key, "/key/generate", &json!({})).status, 200);
    let info = running.call("GET", "/key/info", key, b"").json();
    assert!(info["info"]["expires"].is_string() && info["info"]["max_budget"] == 0.25, "{info}");

    let form = b"username=Boss&password=the+boss%27s+own";
    let answer = running.send_form("/login", form);
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert!(answer.head.to_lowercase().contains("location: /ui/?login=success"), "{}", answer.head);
}

#[test]
fn an_invited_user_sets_a_password_once_and_signs_in_with_it() {
    let folder = tempdir().unwrap();
    let running = start(folder.path());
    let made = call(&running, MASTER, "/user/new", &json!({"user_id": "u", "user_email": "U@example.com"}));
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(sign_in(&running, "u@example.com", "anything").status, 401, "no password yet");
    let invitation = call(&running, MASTER, "/invitation/new", &json!({"user_id": "u"}));
    assert_eq!(invitation.status, 200, "{}", invitation.body);
    let id = invitation.json()["id"].as_str().unwrap().to_owned();
    let opened = running.call("GET", &format!("/onboarding/get_token?invite_link={id}"), "", b"");
    assert_eq!(opened.status, 200, "{}", opened.body);
    let permit = inside(opened.json()["token"].as_str().unwrap())["key"].as_str().unwrap().to_owned();

    let claim =
        |user: &str, password: &str| json!({"invitation_link": id, "user_id": user, "password": password});
    for (key, body, status) in [
        ("", claim("u", "long enough"), 401),
        (MASTER, claim("u", "long enough"), 401),
        (&permit, claim("somebody-else", "long enough"), 401),
        (&permit, claim("u", "short"), 400),
        (&permit, claim("u", "long enough"), 200),
        (&permit, claim("u", "another one"), 401),
    ] {
        let answer = call(&running, key, "/onboarding/claim_token", &body);
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
    let answer = sign_in(&running, "u@EXAMPLE.com", "long enough");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let old = inside(answer.json()["token"].as_str().unwrap())["key"].as_str().unwrap().to_owned();
    assert_eq!(running.call("GET", "/key/info", &old, b"").status, 200);
    assert_eq!(call(&running, &old, "/user/new", &json!({})).status, 401, "no more than the user's role");

    let update = json!({"user_id": "u", "password": "yet another"});
    let answer = call(&running, MASTER, "/user/update", &update);
    assert!(answer.status == 200 && !answer.body.contains("scrypt"), "{}", answer.body);
    assert_eq!(running.call("GET", "/key/info", &old, b"").status, 401, "older sessions end");
    assert_eq!(sign_in(&running, "u@example.com", "long enough").status, 401);
    assert_eq!(sign_in(&running, "u@example.com", "yet another").status, 200);
}

#[test]
fn a_name_that_got_many_wrong_passwords_has_to_wait_and_the_master_key_does_not() {
    let folder = tempdir().unwrap();
    let running = start(folder.path());
    let seen: Vec<u16> = (0..12).map(|_| sign_in(&running, "boss", "guess").status).collect();
    assert_eq!((seen[0], seen[9], seen[11]), (401, 401, 429), "{seen:?}");
    assert_eq!(sign_in(&running, "boss", "the boss's own").status, 429);
    assert_eq!(sign_in(&running, "other", "guess").status, 401);
    assert_eq!(call(&running, MASTER, "/key/generate", &json!({})).status, 200);
}

#[test]
fn a_console_on_another_host_gets_a_code_that_is_good_once() {
    let folder = tempdir().unwrap();
    let running = start(folder.path());
    let who = json!({"username": "boss", "password": "the boss's own"});
    let answer = call(&running, "", "/v3/login", &who);
    assert!(answer.status == 404 && answer.body.contains("control_plane_url"), "{}", answer.body);
    drop(running);

    let config = "general_settings: {control_plane_url: \"https://console.example\"}\n";
    std::fs::write(folder.path().join("config.yaml"), config).unwrap();
    let mut command = faregate(folder.path(), &["--config", "config.yaml"]);
    command.env("LITELLM_MASTER_KEY", MASTER).env("UI_USERNAME", "Boss").env("UI_PASSWORD", "the boss's own");
    let running = Running::of(command);
    let wrong = call(&running, "", "/v3/login", &json!({"username": "boss", "password": "another"}));
    assert_eq!(wrong.status, 401, "{}", wrong.body);
    let answer = call(&running, "", "/v3/login", &who);
    assert_eq!((answer.status, &answer.json()["expires_in"]), (200, &json!(60)), "{}", answer.body);
    let code = answer.json()["code"].as_str().unwrap().to_owned();
    assert!(!code.contains('.'), "no token: {code}");
    let given = call(&running, "", "/v3/login/exchange", &json!({"code": code}));
    assert_eq!(given.status, 200, "{}", given.body);
    let claims = inside(given.json()["token"].as_str().unwrap());
    let key = claims["key"].as_str().unwrap();
    assert_eq!(call(&running, key, "/key/generate", &json!({})).status, 200);
    for spent in [code.as_str(), "made-up"] {
        let again = call(&running, "", "/v3/login/exchange", &json!({"code": spent}));
        assert_eq!(again.status, 401, "{}", again.body);
    }
}
