//! A control plane with two organizations, their teams, people and keys.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use faregate_admin::{Admin, Apply, PriceList, Web, answers, stored};
use faregate_catalog::Catalog;
use faregate_config::{Env, Snapshot, Strictness, read_over};
use faregate_state::clock::{Clock, SystemClock};
use faregate_state::invalidate::Invalidations;
use faregate_store::{Settings, Store, User, VirtualKey};
use faregate_terms::{KeyHash, Secret, UtcMillis};
use faregate_testkit::postgres::Database;
use http::{HeaderMap, HeaderValue, Method, Response};
use serde_json::{Value, json};

pub const MASTER: &str = "sk-test-master-key-0123456789";

/// What a call gave.
pub struct Got {
    pub status: u16,
    pub body: Value,
}

impl Got {
    /// The message of a refusal.
    pub fn message(&self) -> String {
        let text = self.body["error"]["message"].as_str().or(self.body["detail"].as_str());
        text.map_or_else(|| self.body.to_string(), str::to_owned)
    }

    /// The answer of a call that has to work.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }

    /// Refused with this status, in words that name this.
    #[track_caller]
    pub fn refused(&self, status: u16, word: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.message().contains(word), "`{word}` is not in: {}", self.message());
    }
}

/// Organizations `here` (teams `mine` and `other`) and `there` (team `away`).
///
/// People, each with a personal key that an admin made, `sk-key-of-<name>`: `root` (proxy_admin), `viewer`
/// (proxy_admin_viewer), `chief` and `chief-there` (admins of the organizations), `lead` (admin of `mine`),
/// `member` (of `mine`, in `here`), `stranger` (of `away`, in `there`), `solo` (nowhere), `titular` (has
/// `org_admin` as its role, and no organization).
pub struct World {
    pub admin: Arc<Admin>,
    _folder: Option<tempfile::TempDir>,
    _database: Option<Database>,
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::sqlite(folder.path().join("db"));
        Self::over(&settings, Some(folder), None, &[], None).await
    }

    /// The same, with these variables in the environment.
    pub async fn with_env(env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::sqlite(folder.path().join("db"));
        Self::over(&settings, Some(folder), None, env, None).await
    }

    /// The same, with a way to ask others.
    pub async fn asking(env: &[(&str, &str)], web: Web) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::sqlite(folder.path().join("db"));
        Self::over(&settings, Some(folder), None, env, Some(web)).await
    }

    /// The same on PostgreSQL.
    pub async fn postgres() -> Self {
        let database = Database::create().await;
        let settings = Settings::from_url("TEST_DATABASE_URL", &database.url()).unwrap();
        Self::over(&settings, None, Some(database), &[], None).await
    }

    async fn over(
        settings: &Settings,
        folder: Option<tempfile::TempDir>,
        database: Option<Database>,
        env: &[(&str, &str)],
        web: Option<Web>,
    ) -> Self {
        let store = Store::connect(settings).await.unwrap();
        let now = UtcMillis::from_millis(1_700_000_000_000);
        store.migrate(now).await.unwrap();
        for (name, role) in [
            ("root", "proxy_admin"),
            ("viewer", "proxy_admin_viewer"),
            ("chief", "internal_user"),
            ("chief-there", "internal_user"),
            ("lead", "internal_user"),
            ("member", "internal_user"),
            ("stranger", "internal_user"),
            ("solo", "internal_user"),
            ("titular", "org_admin"),
        ] {
            let user = User {
                user_id: name.to_owned(),
                user_email: Some(format!("{name}@example.com")),
                user_role: Some(role.to_owned()),
                password: Some("scrypt:c2FsdA==".to_owned()),
                max_budget: faregate_store::Usd::from_f64(10.0),
                ..User::default()
            };
            store.insert(&user, now).await.unwrap();
            let key = VirtualKey {
                token: hash(&key_of(name)),
                user_id: Some(name.to_owned()),
                created_by: Some("default_user_id".to_owned()),
                ..VirtualKey::default()
            };
            store.insert(&key, now).await.unwrap();
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let env: Env = env.iter().copied().collect();
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot { env: env.clone(), ..Snapshot::default() }));
        let admin = Admin::new(
            store.clone(),
            Invalidations::alone(Arc::clone(&clock)),
            Arc::clone(&snapshot),
            Arc::new(PriceList::new(Arc::new(Catalog::built_in()), None, false)),
            Some(Secret::from(MASTER)),
            clock,
        );
        let mut admin = admin.applying(serving(store, snapshot, env));
        if let Some(web) = web {
            admin = admin.asking(web);
        }
        let world = Self { admin: Arc::new(admin), _folder: folder, _database: database };
        world.settle().await;
        world
    }

    async fn settle(&self) {
        for id in ["here", "there"] {
            let body = json!({"organization_id": id, "organization_alias": id, "max_budget": 1000});
            self.post("master", "/organization/new", body).await.ok();
        }
        for (organization, user, role) in [
            ("here", "chief", "org_admin"),
            ("here", "member", "internal_user"),
            ("here", "lead", "internal_user"),
            ("there", "chief-there", "org_admin"),
            ("there", "stranger", "internal_user"),
        ] {
            let body = json!({"organization_id": organization, "member": {"user_id": user, "role": role}});
            self.post("master", "/organization/member_add", body).await.ok();
        }
        for (team, organization, members) in [
            (
                "mine",
                "here",
                json!([{"user_id": "lead", "role": "admin"}, {"user_id": "member", "role": "user"}]),
            ),
            ("other", "here", json!([])),
            ("away", "there", json!([{"user_id": "stranger", "role": "user"}])),
        ] {
            let body = json!({
                "team_id": team, "organization_id": organization, "members_with_roles": members,
                "max_budget": 100, "rpm_limit": 60, "models": ["a", "b"],
            });
            self.post("master", "/team/new", body).await.ok();
        }
        for (project, team) in [("project-mine", "mine"), ("project-away", "away")] {
            let body = json!({"project_id": project, "team_id": team, "max_budget": 5});
            self.post("master", "/project/new", body).await.ok();
        }
    }

    /// A key that the master key makes; its secret.
    pub async fn key(&self, body: Value) -> String {
        let made = self.post("master", "/key/generate", body).await.ok();
        made["key"].as_str().unwrap().to_owned()
    }

    /// The stored row of a key.
    pub async fn row(&self, secret: &str) -> VirtualKey {
        self.admin.store.get(&[&hash(secret)]).await.unwrap().unwrap()
    }

    pub async fn post(&self, who: &str, path: &str, body: Value) -> Got {
        self.call("POST", who, path, None, Some(body)).await
    }

    pub async fn get(&self, who: &str, path: &str, query: &str) -> Got {
        self.call("GET", who, path, Some(query), None).await
    }

    /// An answer as it is.
    pub async fn raw(&self, who: &str, path: &str, query: &str) -> Response<Bytes> {
        let mut headers = HeaderMap::new();
        let bearer = format!("Bearer {}", key_of(who));
        headers.insert("authorization", HeaderValue::from_str(&bearer).unwrap());
        self.admin.serve(&Method::GET, path, Some(query), &headers, Bytes::new()).await
    }

    pub async fn call(
        &self,
        method: &str,
        who: &str,
        path: &str,
        query: Option<&str>,
        body: Option<Value>,
    ) -> Got {
        let key = match who {
            "master" => MASTER.to_owned(),
            key if key.starts_with("sk-") => key.to_owned(),
            name => key_of(name),
        };
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {key}")).unwrap());
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let response = self.admin.serve(&method, path, query, &headers, body).await;
        let status = response.status().as_u16();
        let body = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
        if (200..300).contains(&status) {
            assert_eq!(answers::check(&method, path, &body), Ok(()));
        }
        Got { status, body }
    }
}

/// Puts what is stored into service, as a reload does.
fn serving(store: Store, snapshot: Arc<ArcSwap<Snapshot>>, env: Env) -> Apply {
    Arc::new(move || {
        let (store, snapshot, env) = (store.clone(), Arc::clone(&snapshot), env.clone());
        Box::pin(async move {
            let stored = stored::read(&store, Some(&Secret::from(MASTER))).await.unwrap();
            let reading = read_over(None, &stored, &env, Strictness::Lenient);
            snapshot.store(Arc::new(reading.snapshot.unwrap()));
        })
    })
}

pub fn key_of(name: &str) -> String {
    format!("sk-key-of-{name}")
}

pub fn hash(secret: &str) -> String {
    KeyHash::of(secret).to_string()
}
