//! Single sign-on against an identity provider of the test's own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use faregate_admin::Web;
use faregate_integrations::web::{WebReply, WebRequest};
use faregate_store::User;
use http::{HeaderMap, HeaderValue, Method, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::world::{Got, World};

const ENV: &[(&str, &str)] = &[
    ("PROXY_BASE_URL", "https://gateway.example"),
    ("GENERIC_CLIENT_ID", "app"),
    ("GENERIC_CLIENT_SECRET", "s3cret"),
    ("GENERIC_AUTHORIZATION_ENDPOINT", "https://id.example/authorize"),
    ("GENERIC_TOKEN_ENDPOINT", "https://id.example/token"),
    ("GENERIC_USERINFO_ENDPOINT", "https://id.example/userinfo"),
    ("GENERIC_ROLE_MAPPINGS_ROLES", "{'proxy_admin': ['ops'], 'internal_user': ['dev']}"),
    ("GENERIC_ROLE_MAPPINGS_GROUP_CLAIM", "realm.groups"),
    ("GENERIC_ROLE_MAPPINGS_DEFAULT_ROLE", "internal_user_viewer"),
];

/// An identity provider: people sign in with a code that is their claims, and the PKCE challenge it remembers.
#[derive(Default)]
struct IdentityProvider {
    challenge: Mutex<String>,
    nonce: Mutex<String>,
    /// Claims of the id token, over the usual ones.
    token_claims: Mutex<BTreeMap<String, Value>>,
    claims: Mutex<Value>,
}

impl IdentityProvider {
    fn web(self: &Arc<Self>) -> Web {
        let provider = Arc::clone(self);
        Arc::new(move |request| {
            let (status, body) = provider.answer(&request);
            Box::pin(async move { Ok(WebReply { status, body: Bytes::from(body.to_string()) }) })
        })
    }

    fn answer(&self, request: &WebRequest) -> (u16, Value) {
        let sent = request.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        if request.url == "https://id.example/userinfo" {
            assert_eq!(sent.as_deref(), Some("Bearer access"));
            return (200, self.claims.lock().unwrap().clone());
        }
        assert_eq!(request.url, "https://id.example/token");
        assert_eq!(sent, Some(format!("Basic {}", STANDARD.encode("app:s3cret"))));
        let form = fields(&String::from_utf8_lossy(&request.body));
        assert_eq!(form["redirect_uri"], "https://gateway.example/sso/callback");
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(form["code_verifier"].as_bytes()));
        if form["code"] != "good" || challenge != *self.challenge.lock().unwrap() {
            return (400, json!({"error": "invalid_grant"}));
        }
        let mut inside = json!({
            "aud": "app", "exp": 9_999_999_999_i64, "nonce": *self.nonce.lock().unwrap(),
        });
        for (name, value) in self.token_claims.lock().unwrap().iter() {
            inside[name] = value.clone();
        }
        let token = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(inside.to_string()));
        (200, json!({"access_token": "access", "id_token": token}))
    }

    fn says(&self, claims: Value) {
        *self.claims.lock().unwrap() = claims;
    }
}

fn fields(query: &str) -> BTreeMap<String, String> {
    let text = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
    query.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (text(k), text(v))).collect()
}

struct Site {
    world: World,
    provider: Arc<IdentityProvider>,
}

/// A browser that has begun to sign in.
struct Browser {
    cookie: String,
    state: String,
}

impl Site {
    async fn new(more: &[(&str, &str)]) -> Self {
        let provider = Arc::new(IdentityProvider::default());
        let env: Vec<(&str, &str)> = ENV.iter().chain(more).copied().collect();
        let world = World::asking(&env, provider.web()).await;
        Self { world, provider }
    }

    async fn open(&self, path: &str, query: &str, cookie: &str) -> Response<Bytes> {
        let mut headers = HeaderMap::new();
        if !cookie.is_empty() {
            headers.insert("cookie", HeaderValue::from_str(cookie).unwrap());
        }
        self.world.admin.serve(&Method::GET, path, Some(query), &headers, Bytes::new()).await
    }

    async fn begin(&self) -> Browser {
        let answer = self.open("/sso/key/generate", "", "").await;
        assert_eq!(answer.status(), 303, "{:?}", answer.body());
        let place = answer.headers()["location"].to_str().unwrap();
        let (base, query) = place.split_once('?').unwrap();
        assert_eq!(base, "https://id.example/authorize");
        let asked = fields(query);
        assert_eq!(asked["response_type"], "code");
        assert_eq!(asked["scope"], "openid email profile");
        assert_eq!(asked["redirect_uri"], "https://gateway.example/sso/callback");
        assert_eq!(asked["code_challenge_method"], "S256");
        self.provider.challenge.lock().unwrap().clone_from(&asked["code_challenge"]);
        self.provider.nonce.lock().unwrap().clone_from(&asked["nonce"]);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Secure"));
        Browser { cookie: cookie.split(';').next().unwrap().to_owned(), state: asked["state"].clone() }
    }

    async fn come_back(&self, browser: &Browser, code: &str) -> Response<Bytes> {
        self.open("/sso/callback", &format!("code={code}&state={}", browser.state), &browser.cookie).await
    }

    /// Signs in; the members of the session's token.
    async fn sign_in(&self, claims: Value) -> Result<Value, Got> {
        self.provider.says(claims);
        let browser = self.begin().await;
        let answer = self.come_back(&browser, "good").await;
        if answer.status() != 303 {
            let body = serde_json::from_slice(answer.body()).unwrap_or_default();
            return Err(Got { status: answer.status().as_u16(), body });
        }
        let cookies: Vec<&str> =
            answer.headers().get_all("set-cookie").iter().map(|it| it.to_str().unwrap()).collect();
        assert!(cookies.iter().any(|cookie| cookie.starts_with("faregate_sso=;")), "{cookies:?}");
        let token = cookies.iter().find_map(|cookie| cookie.strip_prefix("token=")).unwrap();
        let middle = token.split('.').nth(1).unwrap();
        Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(middle).unwrap()).unwrap())
    }

    async fn user(&self, id: &str) -> Option<User> {
        self.world.admin.store.get(&[id]).await.unwrap()
    }
}

#[tokio::test]
async fn somebody_new_gets_an_account_with_the_operators_defaults_and_the_role_of_their_groups() {
    let site = Site::new(&[]).await;
    let defaults = json!({"max_budget": 7, "budget_duration": "30d", "models": ["a"], "teams": ["mine"]});
    site.world.call("PATCH", "master", "/update/internal_user_settings", None, Some(defaults)).await.ok();
    let ann = json!({
        "preferred_username": "ann", "email": "Ann@Example.com", "name": "Ann", "realm": {"groups": ["dev", "x"]},
    });
    let session = site.sign_in(ann.clone()).await.unwrap_or_else(|got| panic!("{}", got.body));
    assert_eq!((&session["user_id"], &session["login_method"]), (&json!("ann"), &json!("sso")));
    assert_eq!(session["user_role"], "internal_user");
    let user = site.user("ann").await.unwrap();
    assert_eq!(user.user_email.as_deref(), Some("ann@example.com"));
    assert_eq!((user.sso_user_id.as_deref(), user.models.as_slice()), (Some("ann"), &["a".to_owned()][..]));
    assert!(
        user.max_budget.is_some()
            && user.budget_reset_at.is_some()
            && user.teams.contains(&"mine".to_owned())
    );
    let key = session["key"].as_str().unwrap();
    let own = site.world.get(key, "/user/info", "").await.ok();
    assert_eq!(own["user_id"], "ann", "the session's key is hers");

    // What the provider says of groups later counts as well.
    let promoted =
        json!({"preferred_username": "ann", "email": "ann@example.com", "realm": {"groups": ["ops"]}});
    assert_eq!(site.sign_in(promoted).await.unwrap_or_default()["user_role"], "proxy_admin");
    let nobody = json!({"preferred_username": "bob"});
    assert_eq!(site.sign_in(nobody).await.unwrap_or_default()["user_role"], "internal_user_viewer");
}

#[tokio::test]
async fn an_account_is_joined_by_an_address_that_is_theirs_and_by_no_other() {
    let site = Site::new(&[]).await;
    let claims = |id: &str, verified: bool| json!({"preferred_username": id, "email": "member@example.com", "email_verified": verified});
    let session = site.sign_in(claims("thief", false)).await.unwrap_or_default();
    assert_eq!(session["user_id"], "thief", "an address that nobody checked joins nothing");
    let session = site.sign_in(claims("m-17", true)).await.unwrap_or_default();
    assert_eq!(session["user_id"], "member");
    assert_eq!(site.user("member").await.unwrap().sso_user_id.as_deref(), Some("m-17"));
    let Err(other) = site.sign_in(claims("m-18", true)).await else {
        panic!("another identity took the account")
    };
    other.refused(401, "belongs to another identity");
    let Err(operator) = site.sign_in(json!({"preferred_username": "default_user_id"})).await else {
        panic!("a name at the provider made an operator")
    };
    operator.refused(401, "operator's own account");
}

#[tokio::test]
async fn only_the_browser_that_began_comes_back_and_only_with_its_own_answer() {
    let site = Site::new(&[]).await;
    site.provider.says(json!({"preferred_username": "ann"}));
    let (first, second) = (site.begin().await, site.begin().await);
    let without = Browser { cookie: String::new(), state: second.state.clone() };
    let crossed = Browser { cookie: second.cookie.clone(), state: first.state.clone() };
    let forged = Browser { cookie: "faregate_sso=bm9uc2Vuc2U".to_owned(), state: second.state.clone() };
    for (browser, code) in
        [(&without, "good"), (&crossed, "good"), (&forged, "good"), (&second, "bad"), (&first, "good")]
    {
        assert_eq!(site.come_back(browser, code).await.status(), 401);
    }
    assert!(site.user("ann").await.is_none());
    assert_eq!(site.come_back(&second, "good").await.status(), 303);
    let error = site.open("/sso/callback", "error=access_denied&error_description=no", &second.cookie).await;
    assert_eq!(error.status(), 401);

    for (name, value) in
        [("aud", json!("another")), ("exp", json!(1)), ("nonce", json!("other")), ("sub", json!("x"))]
    {
        *site.provider.token_claims.lock().unwrap() = BTreeMap::from([(name.to_owned(), value)]);
        let Err(got) = site.sign_in(json!({"preferred_username": "eve", "sub": "y"})).await else {
            panic!("{name}")
        };
        assert_eq!(got.status, 401, "{name}: {}", got.body);
    }
}

#[tokio::test]
async fn domains_groups_and_roles_may_keep_people_out() {
    let site = Site::new(&[("ALLOWED_EMAIL_DOMAINS", "example.com, example.org")]).await;
    let Err(got) = site.sign_in(json!({"preferred_username": "e", "email": "e@evil.com"})).await else {
        panic!()
    };
    got.refused(401, "domain");
    site.sign_in(json!({"preferred_username": "o", "email": "o@example.org"}))
        .await
        .unwrap_or_else(|_| panic!());
    let mode = |mode: Value| json!({"general_settings": {"ui_access_mode": mode}});
    site.world.post("master", "/config/update", mode(json!("admin_only"))).await.ok();
    let Err(got) = site.sign_in(json!({"preferred_username": "o", "email": "o@example.org"})).await else {
        panic!()
    };
    got.refused(403, "admin_only");
    let group = json!({
        "type": "restricted_sso_group", "restricted_sso_group": "ui", "sso_group_jwt_field": "realm.groups",
    });
    site.world.post("master", "/config/update", mode(group)).await.ok();
    let of = |group: &str| json!({"preferred_username": "o", "email": "o@example.org", "realm": {"groups": [group]}});
    assert!(site.sign_in(of("dev")).await.is_err());
    assert!(site.sign_in(of("ui")).await.is_ok());
}

#[tokio::test]
async fn without_an_identity_provider_there_is_a_page_to_sign_in_on() {
    let world = World::new().await;
    let answer =
        world.admin.serve(&Method::GET, "/sso/key/generate", None, &HeaderMap::new(), Bytes::new()).await;
    assert_eq!(answer.status(), 200);
    assert!(String::from_utf8_lossy(answer.body()).contains("<form method=\"post\" action=\"/login\">"));
    assert_eq!(world.get("nobody", "/sso/callback", "code=x&state=y").await.status, 400);
}
