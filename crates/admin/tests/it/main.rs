//! Who may call what: every role on every route.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod authority;
mod bulk;
mod console;
mod key_policy;
mod key_rules;
mod people_rules;
mod spend_scope;
mod sso;
mod team_admins;
mod team_callbacks;
mod unified_groups;
mod world;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use faregate_admin::roles::{Gate, Role};
use faregate_admin::{Admin, PriceList, document, routes};
use faregate_catalog::Catalog;
use faregate_config::Snapshot;
use faregate_state::clock::{Clock, SystemClock};
use faregate_state::invalidate::Invalidations;
use faregate_store::{Budget, Organization, OrganizationMembership, Settings, Store, User, VirtualKey};
use faregate_terms::{KeyHash, Secret, UtcMillis};
use http::{HeaderMap, HeaderValue, Method, Response};
use serde_json::Value;

const MASTER: &str = "sk-test-master-key-0123456789";

struct Plane {
    admin: Arc<Admin>,
    _folder: tempfile::TempDir,
}

impl Plane {
    /// A control plane over an empty database, with a user and a key of each role.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::connect(&Settings::sqlite(folder.path().join("db"))).await.unwrap();
        let now = UtcMillis::from_millis(1_700_000_000_000);
        store.migrate(now).await.unwrap();
        let budget = Budget { budget_id: "b".to_owned(), ..Budget::default() };
        store.insert(&budget, now).await.unwrap();
        let organization = Organization {
            organization_id: "o".to_owned(),
            organization_alias: "o".to_owned(),
            budget_id: budget.budget_id,
            ..Organization::default()
        };
        store.insert(&organization, now).await.unwrap();
        for role in Role::ALL {
            let user = (role != Role::Team).then(|| User {
                user_id: format!("user-{}", role.word()),
                user_role: Some(role.word().to_owned()),
                ..User::default()
            });
            if let Some(user) = &user {
                store.insert(user, now).await.unwrap();
            }
            if role == Role::OrgAdmin {
                // Nobody administers organizations without one.
                let membership = OrganizationMembership {
                    user_id: "user-org_admin".to_owned(),
                    organization_id: "o".to_owned(),
                    user_role: Some("org_admin".to_owned()),
                    ..OrganizationMembership::default()
                };
                store.insert(&membership, now).await.unwrap();
            }
            let key = VirtualKey {
                token: KeyHash::of(&key_of(role)).to_string(),
                user_id: user.map(|user| user.user_id),
                ..VirtualKey::default()
            };
            store.insert(&key, now).await.unwrap();
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let admin = Admin::new(
            store,
            Invalidations::alone(Arc::clone(&clock)),
            Arc::new(ArcSwap::from_pointee(Snapshot::default())),
            Arc::new(PriceList::new(Arc::new(Catalog::built_in()), None, false)),
            Some(Secret::from(MASTER)),
            clock,
        );
        Self { admin: Arc::new(admin), _folder: folder }
    }

    async fn call(&self, method: &str, path: &str, key: Option<&str>) -> Response<Bytes> {
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {key}")).unwrap());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let path = path.replace(['{', '}'], "");
        self.admin.serve(&method, &path, None, &headers, Bytes::from_static(b"{}")).await
    }
}

fn key_of(role: Role) -> String {
    format!("sk-key-of-{}", role.word())
}

fn word(gate: Gate) -> &'static str {
    match gate {
        Gate::Public => "anybody",
        Gate::Key => "any key, for what is its own",
        Gate::User => "internal users",
        Gate::Org => "admins of proxy or organization",
        Gate::Viewer => "admins and viewers",
        Gate::Admin => "proxy admins",
        Gate::Master => "the master key",
    }
}

#[tokio::test]
async fn every_role_gets_where_the_table_says_and_nowhere_else() {
    let plane = Plane::new().await;
    for route in routes::all() {
        let path = route.paths[0];
        let without = plane.call(route.method, path, None).await.status();
        assert_eq!(
            without == 401,
            route.gate != Gate::Public,
            "{} {path} without a key: {without}",
            route.method
        );
        for role in Role::ALL {
            let answer = plane.call(route.method, path, Some(&key_of(role))).await;
            let body = String::from_utf8_lossy(answer.body()).into_owned();
            let turned_away = answer.status() == 401 && body.contains("Only proxy admin can be used");
            let open = role.passes(route.gate, route.method);
            assert_eq!(
                turned_away,
                !open,
                "{} {path} as {}: {} {body}",
                route.method,
                role.word(),
                answer.status()
            );
            assert!(answer.status().as_u16() < 500 || answer.status() == 501, "{path}: {body}");
        }
        let admin = plane.call(route.method, path, Some(MASTER)).await;
        assert_ne!(admin.status(), 401, "{} {path} with the master key", route.method);
    }
}

/// The page of the docs. Run with `UPDATE_DOCS=1` to write it.
#[test]
fn the_role_table_of_the_docs_is_current() {
    let mut page = String::from(
        "# Management calls and roles\n\nMade from the route table of `crates/admin`; a test drives every role against \
         every route.\nHandlers narrow further: [who may do what](../keys-and-budgets.md#who-may-do-what).\n\n| Call | For | proxy_admin \
         | proxy_admin_viewer | org_admin | internal_user | internal_user_viewer | team |\n|---|---|---|---|---|---|---|---|\n",
    );
    let mut rows = BTreeMap::new();
    for route in routes::all() {
        let marks: Vec<&str> = Role::ALL
            .iter()
            .map(|role| if role.passes(route.gate, route.method) { "yes" } else { "" })
            .collect();
        let line = format!(
            "| `{} {}` {} | {} | {} |\n",
            route.method,
            route.paths.join("`, `"),
            route.doc,
            word(route.gate),
            marks.join(" | ")
        );
        rows.insert((route.paths[0], route.method), line);
    }
    page.extend(rows.into_values());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/roles.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == page, "run `UPDATE_DOCS=1 cargo test -p faregate-admin --test it role_table`");
}

#[tokio::test]
async fn the_document_describes_every_route_and_is_served() {
    let plane = Plane::new().await;
    let served = plane.call("GET", "/openapi.json", None).await;
    let served: Value = serde_json::from_slice(served.body()).unwrap();
    assert_eq!(served, document(&[]));
    for route in routes::all() {
        for path in route.paths {
            let operation = &served["paths"][path.replace("{*", "{")][route.method.to_ascii_lowercase()];
            assert_eq!(operation["summary"], route.doc, "{path}");
        }
    }
    let page = plane.call("GET", "/docs", None).await;
    let text = String::from_utf8_lossy(page.body()).into_owned();
    assert!(
        !text.contains("http://") && !text.contains("https://"),
        "the page asks nobody else for anything"
    );
}
