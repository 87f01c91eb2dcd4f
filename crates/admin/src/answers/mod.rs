//! What each route answers when it does what it was asked: the document's schemas, which tests hold live
//! answers to. A route without a line in one of the tables fails a test.

/// The rows of one table, where nothing is kept back but what is named.
macro_rules! row {
    ($name:literal, $record:ty) => {
        row!($name, $record, &[])
    };
    ($name:literal, $record:ty, $withheld:expr) => {
        Row(&shape::Row { name: $name, table: <$record as Record>::TABLE, withheld: $withheld })
    };
}

mod console;
mod management;

use std::sync::LazyLock;

use faregate_store::{
    AuditLog, Budget, Credential, DeletedKey, EndUser, Invitation, Organization, OrganizationMembership,
    Project, ProxyModel, Record, SpendLog, Tag, Team, TeamMembership, User, VirtualKey,
};

use http::Method;
use serde_json::Value;

use crate::routes::{Found, Router};
use crate::shape::Shape::{
    Any, Both, Created, Either, Flag, Int, List, Map, Maybe, Nothing, Null, Number, Object, Page, Picture,
    Row, Sheet, Text,
};
use crate::shape::{self, Shape, has, may};

// A key's hash is also its name: where an answer has it outside, the row may lack it.
const KEY: Shape = row!("Key", VirtualKey, &["token"]);
const DELETED_KEY: Shape = row!("DeletedKey", DeletedKey);
const USER: Shape = row!("User", User, &["password"]);
const TEAM: Shape = row!("Team", Team);
const TEAM_MEMBERSHIP: Shape = row!("TeamMembership", TeamMembership);
const BUDGET: Shape = row!("Budget", Budget);
const ORGANIZATION: Shape = row!("Organization", Organization);
const MEMBERSHIP: Shape = row!("OrganizationMembership", OrganizationMembership);
const PROJECT: Shape = row!("Project", Project);
const CUSTOMER: Shape = row!("Customer", EndUser);
const TAG: Shape = row!("Tag", Tag);
const INVITATION: Shape = row!("Invitation", Invitation);
const AUDIT: Shape = row!("AuditLog", AuditLog);
const LOG: Shape = row!("SpendLog", SpendLog);
const MODEL: Shape = row!("Model", ProxyModel);
const CREDENTIAL: Shape =
    Object(&[has("credential_name", Text), has("credential_values", Map(&Any)), has("credential_info", Any)]);
const STORED_CREDENTIAL: Shape = row!(
    "Credential",
    Credential,
    &["credential_id", "created_at", "created_by", "updated_at", "updated_by"]
);

const NEW_KEY: Shape = Both(&KEY, &Object(&[has("key", Text), has("token", Text)]));
const USER_AND_KEY: Shape = Both(&USER, &Object(&[may("key", Text), may("token", Text)]));
const WITH_BUDGET: Shape = Object(&[has("litellm_budget_table", Maybe(&BUDGET))]);
const CUSTOMER_AND_BUDGET: Shape = Both(&CUSTOMER, &WITH_BUDGET);
const TAG_AND_BUDGET: Shape = Both(&TAG, &WITH_BUDGET);
const ORGANIZATION_DETAILS: Shape = Both(
    &ORGANIZATION,
    &Object(&[
        has("litellm_budget_table", Maybe(&BUDGET)),
        has("members", List(&MEMBERSHIP)),
        has("teams", List(&TEAM)),
    ]),
);
const DONE: Shape = Object(&[has("message", Text)]);
const LOGGING_LEFT: Shape = Object(&[
    has("status", Text),
    has("message", Text),
    has(
        "data",
        Object(&[
            has("team_id", Text),
            has("success_callbacks", List(&Text)),
            has("failure_callbacks", List(&Text)),
        ]),
    ),
]);
const DONE_OR_NOT: Shape = Object(&[has("success", Flag), has("message", Text)]);
const CHANGED_TEAM: Shape = Object(&[has("team_id", Text), has("data", TEAM)]);
const CHANGED_USER: Shape = Object(&[has("user_id", Text), has("data", USER)]);
const TAGGED: Shape = Object(&[has("message", Text), has("tag", TAG)]);
const ACCESS_GROUP: Shape =
    Object(&[has("access_group", Text), has("model_names", List(&Text)), has("deployment_count", Int)]);
const ACCESS_GROUP_CHANGED: Shape =
    Object(&[has("access_group", Text), may("model_names", List(&Text)), has("models_updated", Int)]);
const PARAMETER: Shape = Object(&[has("param_name", Text), has("param_value", Any)]);
const SETTING: Shape = Object(&[has("field_name", Text), has("field_value", Any)]);
const SESSION: Shape = Object(&[has("redirect_url", Text), has("token", Text)]);

const LOGS: Shape = Object(&[
    has("data", List(&LOG)),
    has("total", Int),
    has("page", Int),
    has("page_size", Int),
    has("total_pages", Int),
]);
const TAG_SPEND: Shape = List(&Object(&[
    has("name", Text),
    has("individual_request_tag", Text),
    has("log_count", Int),
    has("spend", Number),
    has("total_spend", Number),
]));
const DAILY: Shape = Object(&[
    has(
        "daily_data",
        List(&Object(&[has("date", Text), has("api_requests", Int), has("total_tokens", Int)])),
    ),
    has("sum_api_requests", Int),
    has("sum_total_tokens", Int),
]);
const METRICS: Shape = Object(&[
    has("spend", Number),
    has("prompt_tokens", Int),
    has("completion_tokens", Int),
    has("cache_read_input_tokens", Int),
    has("cache_creation_input_tokens", Int),
    has("total_tokens", Int),
    has("api_requests", Int),
    has("successful_requests", Int),
    has("failed_requests", Int),
]);
const GROUPED: Shape = Map(&Object(&[has("metrics", METRICS)]));
const ACTIVITY: Shape = Object(&[
    has(
        "results",
        List(&Object(&[
            has("date", Text),
            has("metrics", METRICS),
            has(
                "breakdown",
                Object(&[
                    has("models", GROUPED),
                    has("providers", GROUPED),
                    has("api_keys", GROUPED),
                    has("entities", GROUPED),
                ]),
            ),
        ])),
    ),
    has("metadata", Map(&Any)),
]);

const PASS_THROUGH: Shape =
    Object(&[has("endpoints", List(&Object(&[has("path", Text), has("target", Text)])))]);
const KEY_LINES: Shape = List(&Object(&[
    has("api_key", Text),
    has("metrics", METRICS),
    has(
        "metadata",
        Object(&[
            has("key_alias", Maybe(&Text)),
            has("team_id", Maybe(&Text)),
            has("user_id", Maybe(&Text)),
            has("user_email", Maybe(&Text)),
            has("key_exists", Maybe(&Flag)),
        ]),
    ),
]));
const KEY_PAGE: Shape =
    Object(&[has("api_keys", KEY_LINES), has("total_api_keys", Int), has("offset", Int), has("limit", Int)]);
const KEYS_FOUND: Shape = Object(&[has("api_keys", KEY_LINES)]);
const SHEET: Shape = Sheet(&List(&Object(&[
    has("date", Text),
    has("entity_id", Text),
    has("spend", Number),
    has("api_requests", Int),
])));

/// Route, and the form of its answer, by area.
fn all() -> impl Iterator<Item = &'static (&'static str, Shape)> {
    management::ANSWERS.iter().chain(console::ANSWERS)
}

/// Holds what a call gave to the document, for tests. Pages and unknown paths pass.
///
/// # Errors
/// Where it is of another form, and of which.
pub fn check(method: &Method, path: &str, answer: &Value) -> Result<(), String> {
    static ROUTER: LazyLock<Router> = LazyLock::new(Router::new);
    let Found::Route(route, _) = ROUTER.find(method, path) else { return Ok(()) };
    let shape = route.paths.first().and_then(|first| of(route.method, first));
    shape.map_or(Ok(()), |shape| shape.check(answer)).map_err(|why| format!("{method} {path}: answer{why}"))
}

/// The form of what a route answers; `path` is its first.
pub fn of(method: &str, path: &str) -> Option<&'static Shape> {
    let named = |(route, _): &&'static (&'static str, Shape)| {
        route.split_once(' ').is_some_and(|(its_method, its_path)| its_method == method && its_path == path)
    };
    all().find(named).map(|(_, shape)| shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes;

    #[test]
    fn every_route_says_what_it_answers() {
        let routes: Vec<String> =
            routes::all().map(|route| format!("{} {}", route.method, route.paths[0])).collect();
        let without: Vec<&String> =
            routes.iter().filter(|route| !all().any(|(known, _)| known == route)).collect();
        assert!(without.is_empty(), "add to `answers`: {without:?}");
        let gone: Vec<&str> = all()
            .map(|(route, _)| *route)
            .filter(|route| !routes.iter().any(|known| known == route))
            .collect();
        assert!(gone.is_empty(), "no such routes: {gone:?}");
    }
}
