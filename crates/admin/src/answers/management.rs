//! Keys, teams, people, budgets, models, spend.

use super::*;

/// Route, and the form of its answer.
pub(super) const ANSWERS: &[(&str, Shape)] = &[
    ("GET /openapi.json", Object(&[has("openapi", Text), has("info", Map(&Any)), has("paths", Map(&Any))])),
    ("GET /docs", Page),
    // Keys.
    ("POST /key/generate", NEW_KEY),
    ("POST /key/service-account/generate", NEW_KEY),
    ("POST /key/update", Both(&KEY, &Object(&[has("key", Text)]))),
    (
        "POST /key/bulk_update",
        Object(&[
            has("total_requested", Int),
            has("successful_updates", List(&Object(&[has("key", Text), has("key_info", KEY)]))),
            has("failed_updates", List(&Object(&[has("key", Maybe(&Text)), has("failed_reason", Text)]))),
        ]),
    ),
    ("POST /key/delete", Object(&[has("deleted_keys", List(&Text))])),
    ("GET /key/info", Object(&[has("key", Text), has("info", KEY)])),
    ("POST /v2/key/info", Object(&[has("key", List(&Text)), has("info", List(&KEY))])),
    (
        "GET /key/list",
        Object(&[
            has("keys", List(&Either(&[Text, KEY, DELETED_KEY]))),
            has("total_count", Int),
            has("current_page", Int),
            has("total_pages", Int),
        ]),
    ),
    (
        "GET /key/aliases",
        Object(&[
            has("aliases", List(&Text)),
            has("total_count", Int),
            has("current_page", Int),
            has("total_pages", Int),
            has("size", Int),
        ]),
    ),
    ("POST /key/regenerate", NEW_KEY),
    ("POST /key/{key}/regenerate", NEW_KEY),
    ("POST /key/block", KEY),
    ("POST /key/unblock", KEY),
    (
        "POST /key/{key}/reset_spend",
        Object(&[
            has("key_hash", Text),
            has("spend", Number),
            has("previous_spend", Number),
            has("max_budget", Maybe(&Number)),
            has("budget_reset_at", Maybe(&Text)),
        ]),
    ),
    (
        "POST /key/health",
        Object(&[
            has("key", Text),
            has(
                "logging_callbacks",
                Maybe(&Object(&[has("callbacks", List(&Text)), has("status", Text), has("details", Text)])),
            ),
        ]),
    ),
    // Teams.
    ("POST /team/new", TEAM),
    ("POST /team/update", CHANGED_TEAM),
    ("PATCH /team/{team_id}", TEAM),
    (
        "POST /team/member_add",
        Both(
            &TEAM,
            &Object(&[
                has("updated_users", List(&USER)),
                has("updated_team_memberships", List(&TEAM_MEMBERSHIP)),
            ]),
        ),
    ),
    ("POST /team/member_delete", TEAM),
    (
        "POST /team/member_update",
        Object(&[has("user_id", Maybe(&Text)), has("user_email", Maybe(&Text)), has("team_id", Text)]),
    ),
    ("POST /team/delete", Object(&[has("deleted_teams", List(&Text))])),
    (
        "GET /team/info",
        Object(&[
            has("team_id", Text),
            has("team_info", TEAM),
            has("keys", List(&KEY)),
            has("team_memberships", List(&TEAM_MEMBERSHIP)),
        ]),
    ),
    ("GET /team/list", List(&Both(&TEAM, &Object(&[has("keys", List(&KEY))])))),
    (
        "GET /v2/team/list",
        Object(&[
            has("teams", List(&TEAM)),
            has("total", Int),
            has("page", Int),
            has("page_size", Int),
            has("total_pages", Int),
        ]),
    ),
    ("POST /team/block", TEAM),
    ("POST /team/unblock", TEAM),
    ("POST /team/model/add", TEAM),
    ("POST /team/model/delete", TEAM),
    (
        "GET /team/permissions_list",
        Object(&[
            has("team_id", Text),
            has("team_member_permissions", List(&Text)),
            has("all_available_permissions", List(&Text)),
        ]),
    ),
    ("POST /team/permissions_update", TEAM),
    // People.
    ("POST /user/new", USER_AND_KEY),
    ("POST /user/update", CHANGED_USER),
    (
        "GET /user/info",
        Object(&[
            has("user_id", Maybe(&Text)),
            has("user_info", Maybe(&USER)),
            has("keys", List(&KEY)),
            has("teams", List(&TEAM)),
        ]),
    ),
    ("GET /v2/user/info", USER),
    (
        "GET /user/list",
        Object(&[
            has("users", List(&Both(&USER, &Object(&[has("key_count", Int)])))),
            has("total", Int),
            has("page", Int),
            has("page_size", Int),
            has("total_pages", Int),
        ]),
    ),
    ("GET /user/available_roles", Map(&Object(&[has("description", Text), has("ui_label", Text)]))),
    ("POST /user/delete", Int),
    (
        "DELETE /user/delete",
        Object(&[has("message", Text), has("deleted_users", List(&Text)), has("erased_log_rows", Int)]),
    ),
    ("GET /user/{user_id}", Object(&[has("user", USER), has("keys", List(&KEY))])),
    // Organizations and projects.
    ("POST /organization/new", ORGANIZATION_DETAILS),
    ("PATCH /organization/update", ORGANIZATION_DETAILS),
    ("DELETE /organization/delete", List(&ORGANIZATION)),
    ("GET /organization/list", List(&ORGANIZATION_DETAILS)),
    ("GET /organization/info", ORGANIZATION_DETAILS),
    (
        "POST /organization/member_add",
        Object(&[
            has("organization_id", Text),
            has("updated_users", List(&USER)),
            has("updated_organization_memberships", List(&MEMBERSHIP)),
        ]),
    ),
    ("PATCH /organization/member_update", MEMBERSHIP),
    ("DELETE /organization/member_delete", MEMBERSHIP),
    ("POST /project/new", PROJECT),
    ("POST /project/update", PROJECT),
    ("DELETE /project/delete", List(&PROJECT)),
    ("GET /project/info", PROJECT),
    ("GET /project/list", List(&PROJECT)),
    // End users.
    ("POST /customer/new", CUSTOMER_AND_BUDGET),
    ("POST /customer/update", CUSTOMER_AND_BUDGET),
    ("GET /customer/info", CUSTOMER_AND_BUDGET),
    ("GET /customer/list", List(&CUSTOMER)),
    ("POST /customer/delete", Object(&[has("deleted_customers", Int), has("message", Text)])),
    ("POST /customer/block", Object(&[has("blocked_users", List(&CUSTOMER))])),
    ("POST /customer/unblock", Object(&[has("blocked_users", List(&Text))])),
    // Budgets and tags.
    ("POST /budget/new", BUDGET),
    ("POST /budget/update", BUDGET),
    ("POST /budget/info", List(&BUDGET)),
    (
        "GET /budget/settings",
        List(&Object(&[has("field_name", Text), has("field_type", Text), has("field_value", Any)])),
    ),
    ("GET /budget/list", List(&BUDGET)),
    ("POST /budget/delete", BUDGET),
    ("POST /tag/new", TAGGED),
    ("POST /tag/update", TAGGED),
    ("POST /tag/info", Map(&TAG_AND_BUDGET)),
    ("GET /tag/list", List(&TAG_AND_BUDGET)),
    ("POST /tag/delete", DONE),
    // Models, credentials, settings.
    ("POST /model/new", MODEL),
    ("POST /model/update", MODEL),
    ("PATCH /model/{model_id}/update", MODEL),
    ("POST /model/delete", DONE),
    ("POST /model/block", MODEL),
    ("POST /model/unblock", MODEL),
    ("POST /access_group/new", ACCESS_GROUP_CHANGED),
    ("GET /access_group/list", Object(&[has("access_groups", List(&ACCESS_GROUP))])),
    ("GET /access_group/{access_group}/info", ACCESS_GROUP),
    ("PUT /access_group/{access_group}/update", ACCESS_GROUP_CHANGED),
    ("DELETE /access_group/{access_group}/delete", ACCESS_GROUP_CHANGED),
    ("POST /credentials", DONE_OR_NOT),
    ("GET /credentials", Object(&[has("success", Flag), has("credentials", List(&STORED_CREDENTIAL))])),
    ("GET /credentials/by_name/{*credential_name}", STORED_CREDENTIAL),
    ("GET /credentials/by_model/{model_id}", CREDENTIAL),
    ("PATCH /credentials/{*credential_name}", DONE_OR_NOT),
    ("DELETE /credentials/{*credential_name}", DONE_OR_NOT),
    ("POST /config/update", DONE),
    ("POST /config/field/update", PARAMETER),
    ("GET /config/field/info", Both(&SETTING, &Object(&[has("source", Text), has("editable", Flag)]))),
    ("GET /config/list", List(&SETTING)),
    ("POST /config/field/delete", PARAMETER),
    (
        "POST /config/callback/delete",
        Object(&[
            has("message", Text),
            has("removed_callback", Text),
            has("remaining_callbacks", List(&Text)),
            has("deleted_at", Text),
        ]),
    ),
    // Signing in.
    ("POST /login", Page),
    ("POST /v2/login", SESSION),
    ("POST /invitation/new", INVITATION),
    ("GET /invitation/info", INVITATION),
    ("POST /invitation/update", INVITATION),
    ("POST /invitation/delete", INVITATION),
    (
        "GET /onboarding/get_token",
        Object(&[has("login_url", Text), has("token", Text), has("user_email", Maybe(&Text))]),
    ),
    (
        "POST /onboarding/claim_token",
        Object(&[has("login_url", Text), has("token", Text), has("user_email", Maybe(&Text))]),
    ),
    // Spend.
    (
        "GET /spend/logs",
        List(&Either(&[
            LOG,
            Object(&[
                has("startTime", Text),
                has("spend", Number),
                has("users", Map(&Number)),
                has("models", Map(&Number)),
            ]),
        ])),
    ),
    ("GET /spend/logs/v2", LOGS),
    (
        "GET /spend/logs/ui/{request_id}",
        Either(&[
            Null,
            Object(&[has("messages", Any), has("response", Any), has("proxy_server_request", Any)]),
        ]),
    ),
    ("GET /spend/logs/session/ui", LOGS),
    ("GET /spend/keys", List(&KEY)),
    ("GET /spend/users", List(&USER)),
    ("GET /spend/tags", TAG_SPEND),
    ("POST /spend/calculate", Object(&[has("cost", Number)])),
    ("GET /global/spend", Object(&[has("spend", Number), has("max_budget", Number)])),
    (
        "GET /provider/budgets",
        Object(&[has(
            "providers",
            Map(&Object(&[
                has("budget_limit", Maybe(&Number)),
                has("time_period", Maybe(&Text)),
                has("spend", Number),
                has("budget_reset_at", Maybe(&Text)),
            ])),
        )]),
    ),
    ("GET /global/spend/logs", List(&Object(&[has("date", Text), has("spend", Number)]))),
    (
        "GET /global/spend/keys",
        List(&Object(&[
            has("api_key", Text),
            has("key_alias", Maybe(&Text)),
            has("key_name", Maybe(&Text)),
            has("total_spend", Number),
        ])),
    ),
    ("GET /global/spend/models", List(&Object(&[has("model", Text), has("total_spend", Number)]))),
    (
        "GET /global/spend/teams",
        Object(&[
            has("daily_spend", List(&Object(&[has("date", Text)]))),
            has("teams", List(&Text)),
            has("total_spend_per_team", List(&Object(&[has("team_id", Text), has("total_spend", Number)]))),
        ]),
    ),
    ("GET /global/spend/provider", List(&Object(&[has("provider", Text), has("spend", Number)]))),
    ("GET /global/spend/tags", TAG_SPEND),
    ("GET /global/spend/all_tag_names", Object(&[has("tag_names", List(&Text))])),
    (
        "POST /global/spend/end_users",
        List(&Object(&[has("end_user", Text), has("total_count", Int), has("total_spend", Number)])),
    ),
    ("GET /global/all_end_users", List(&Object(&[has("end_user", Text)]))),
    ("GET /global/spend/report", List(&Object(&[has("group_by_day", Text)]))),
    ("POST /global/spend/reset", Object(&[has("message", Text), has("status", Text)])),
    ("GET /global/activity", DAILY),
    ("GET /global/activity/model", List(&Both(&DAILY, &Object(&[has("model", Text)])))),
    ("GET /user/daily/activity", ACTIVITY),
    ("GET /team/daily/activity", ACTIVITY),
    ("GET /tag/daily/activity", ACTIVITY),
    ("GET /organization/daily/activity", ACTIVITY),
    ("GET /customer/daily/activity", ACTIVITY),
    // Audit.
    (
        "GET /audit",
        Object(&[
            has("audit_logs", List(&AUDIT)),
            has("total", Int),
            has("page", Int),
            has("page_size", Int),
            has("total_pages", Int),
        ]),
    ),
    ("GET /audit/{id}", AUDIT),
];
