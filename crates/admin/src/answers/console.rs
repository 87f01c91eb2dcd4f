//! What a console asks beside the objects themselves: forms, settings, reports, sign-in elsewhere, health.

use faregate_store::{AccessGroup, HealthCheck};

use super::*;

const GROUP: Shape = row!("AccessGroup", AccessGroup);
const HEALTH: Shape = row!("HealthCheck", HealthCheck, &["updated_at"]);
const NAMED: Shape = List(&Object(&[has("id", Text), has("name", Maybe(&Text))]));
const GROUP_DETAILS: Shape = Both(
    &GROUP,
    &Object(&[
        has("assigned_teams", NAMED),
        has("assigned_keys", NAMED),
        has("access_mcp_servers", NAMED),
        has("access_agents", NAMED),
    ]),
);
const FORM: Shape = Object(&[
    has("values", Map(&Any)),
    has("field_schema", Object(&[has("description", Text), has("properties", Map(&Any))])),
]);
const SAVED: Shape = Object(&[has("message", Text), has("status", Text), has("settings", Map(&Any))]);
const ROUTER_FIELDS: Shape = Object(&[
    has(
        "fields",
        List(&Object(&[has("field_name", Text), has("field_type", Text), has("field_value", Any)])),
    ),
    has("routing_strategy_descriptions", Map(&Text)),
    has("routing_group_strategies", List(&Text)),
]);
const FALLBACK: Shape =
    Object(&[has("model", Text), may("fallback_models", List(&Text)), has("fallback_type", Text)]);
const KEY_SPEND: Shape = List(&Object(&[
    has("api_key", Text),
    has("total_cost", Number),
    has("total_input_tokens", Int),
    has("total_output_tokens", Int),
    has("model_details", List(&Object(&[has("model", Text), has("total_cost", Number)]))),
]));
const STATUS: Shape = Object(&[has("message", Text), has("status", Text)]);

/// Route, and the form of its answer.
pub(super) const ANSWERS: &[(&str, Shape)] = &[
    // Models and routes.
    ("GET /model/metrics", Object(&[has("data", List(&Map(&Any))), has("all_api_bases", List(&Text))])),
    (
        "POST /reload/model_cost_map",
        Object(&[
            has("message", Text),
            has("status", Text),
            has("models_count", Int),
            has("timestamp", Text),
        ]),
    ),
    (
        "POST /schedule/model_cost_map_reload",
        Object(&[
            has("message", Text),
            has("status", Text),
            has("interval_hours", Int),
            has("timestamp", Text),
        ]),
    ),
    ("DELETE /schedule/model_cost_map_reload", Both(&STATUS, &Object(&[has("timestamp", Text)]))),
    (
        "GET /schedule/model_cost_map_reload/status",
        Object(&[
            has("scheduled", Flag),
            has("interval_hours", Maybe(&Int)),
            has("last_run", Maybe(&Text)),
            has("next_run", Maybe(&Text)),
        ]),
    ),
    (
        "GET /model/cost_map/source",
        Object(&[
            has("source", Text),
            has("url", Maybe(&Text)),
            has("is_env_forced", Flag),
            has("fallback_reason", Maybe(&Text)),
            has("loaded_at", Maybe(&Text)),
            has("source_revision", Maybe(&Text)),
            has("etag", Maybe(&Text)),
            has("model_count", Int),
        ]),
    ),
    (
        "POST /model_group/make_public",
        Object(&[
            has("message", Text),
            has("public_model_groups", List(&Text)),
            has("updated_by", Maybe(&Text)),
        ]),
    ),
    (
        "GET /model/settings",
        List(&Object(&[
            has("name", Text),
            has(
                "fields",
                List(&Object(&[
                    has("field_name", Text),
                    has("field_type", Text),
                    has("field_description", Text),
                    has("field_value", Text),
                ])),
            ),
        ])),
    ),
    (
        "GET /utils/model_info",
        Object(&[has("model", Text), has("custom_llm_provider", Maybe(&Text)), has("model_info", Map(&Any))]),
    ),
    (
        "GET /routes",
        Object(&[has(
            "routes",
            List(&Object(&[has("path", Text), has("methods", List(&Text)), has("name", Text)])),
        )]),
    ),
    // Who may call.
    ("GET /get/allowed_ips", Object(&[has("data", Maybe(&List(&Text)))])),
    ("POST /add/allowed_ip", STATUS),
    ("POST /delete/allowed_ip", STATUS),
    // Many at once.
    (
        "POST /team/bulk_member_add",
        Object(&[
            has("team_id", Text),
            has("total_requested", Int),
            has("successful_additions", Int),
            has("failed_additions", Int),
            has("results", List(&Object(&[has("success", Flag), has("error", Maybe(&Text))]))),
            has("updated_team", TEAM),
        ]),
    ),
    (
        "POST /user/bulk_update",
        Object(&[
            has("total_requested", Int),
            has("successful_updates", Int),
            has("failed_updates", Int),
            has("results", List(&Object(&[has("success", Flag), has("error", Maybe(&Text))]))),
        ]),
    ),
    // Unified access groups.
    ("POST /v1/access_group", Created(&GROUP_DETAILS)),
    ("GET /v1/access_group", List(&GROUP_DETAILS)),
    ("GET /v1/access_group/{access_group_id}", GROUP_DETAILS),
    ("PUT /v1/access_group/{access_group_id}", GROUP_DETAILS),
    ("DELETE /v1/access_group/{access_group_id}", Nothing),
    // Settings and their forms.
    ("GET /get/ui_settings", FORM),
    ("PATCH /update/ui_settings", SAVED),
    ("GET /get/ui_theme_settings", FORM),
    (
        "PATCH /update/ui_theme_settings",
        Object(&[has("message", Text), has("status", Text), has("theme_config", Map(&Any))]),
    ),
    ("GET /get/internal_user_settings", FORM),
    ("PATCH /update/internal_user_settings", SAVED),
    ("GET /get/default_team_settings", FORM),
    ("PATCH /update/default_team_settings", SAVED),
    ("GET /get/sso_settings", FORM),
    ("PATCH /update/sso_settings", SAVED),
    (
        "GET /cache/settings",
        Object(&[
            has(
                "fields",
                List(&Object(&[has("field_name", Text), has("field_type", Text), has("field_value", Any)])),
            ),
            has("current_values", Map(&Any)),
            has("redis_type_descriptions", Map(&Text)),
        ]),
    ),
    ("POST /cache/settings", SAVED),
    (
        "POST /cache/settings/test",
        Object(&[has("status", Text), has("message", Text), has("error", Maybe(&Text))]),
    ),
    ("GET /sso/get/ui_settings", Map(&Any)),
    ("GET /.well-known/litellm-ui-config", Map(&Any)),
    ("GET /get_logo_url", Object(&[has("logo_url", Text)])),
    ("GET /get_image", Picture),
    ("GET /get_favicon", Picture),
    (
        "GET /router/settings",
        Both(&ROUTER_FIELDS, &Object(&[has("current_values", Map(&Any)), has("source", Map(&Any))])),
    ),
    ("GET /router/fields", ROUTER_FIELDS),
    ("POST /fallback", Both(&FALLBACK, &DONE)),
    ("GET /fallback/{model}", FALLBACK),
    ("DELETE /fallback/{model}", Both(&FALLBACK, &DONE)),
    (
        "GET /get/config/callbacks",
        Object(&[
            has("status", Text),
            has("callbacks", List(&Any)),
            has("alerts", List(&Any)),
            has("router_settings", Map(&Any)),
        ]),
    ),
    ("GET /callbacks/list", Map(&List(&Text))),
    ("GET /callbacks/configs", List(&Object(&[has("id", Text), has("displayName", Text)]))),
    ("GET /alerting/settings", List(&SETTING)),
    ("GET /active/callbacks", Object(&[has("num_callbacks", Int), has("num_alerting", Int)])),
    ("GET /public/litellm_model_cost_map", Map(&Map(&Any))),
    ("GET /public/providers", List(&Text)),
    (
        "GET /public/providers/fields",
        List(&Object(&[
            has("provider", Text),
            has("provider_display_name", Text),
            has("litellm_provider", Text),
            has("credential_fields", List(&Map(&Any))),
        ])),
    ),
    // Signing in and out.
    ("GET /sso/key/generate", Page),
    ("GET /sso/callback", Page),
    ("GET /sso/readiness", Object(&[has("status", Text), has("sso_configured", Flag), has("message", Text)])),
    ("GET /fallback/login", Page),
    ("POST /session/logout", STATUS),
    ("POST /user/password/change", STATUS),
    // Finding people and teams.
    ("GET /user/filter/ui", List(&Object(&[has("user_id", Text), has("user_email", Maybe(&Text))]))),
    ("GET /team/filter/ui", List(&TEAM)),
    ("GET /team/available", List(&TEAM)),
    // Reports.
    ("GET /key/spend/report", KEY_SPEND),
    ("GET /user/spend/report", KEY_SPEND),
    ("GET /team/spend/report", KEY_SPEND),
    ("GET /organization/spend/report", KEY_SPEND),
    (
        "GET /team/spend/by_user",
        Object(&[has("results", List(&Object(&[has("team_id", Text), has("spend", Number)])))]),
    ),
    ("GET /config/pass_through_endpoint", PASS_THROUGH),
    ("GET /config/pass_through_endpoint/team/{team_id}", PASS_THROUGH),
    ("POST /config/pass_through_endpoint", PASS_THROUGH),
    ("POST /config/pass_through_endpoint/{endpoint_id}", PASS_THROUGH),
    ("DELETE /config/pass_through_endpoint", PASS_THROUGH),
    ("GET /user/daily/activity/aggregated", ACTIVITY),
    ("GET /team/daily/activity/aggregated", ACTIVITY),
    ("GET /tag/daily/activity/aggregated", ACTIVITY),
    ("GET /organization/daily/activity/aggregated", ACTIVITY),
    ("GET /customer/daily/activity/aggregated", ACTIVITY),
    ("GET /agent/daily/activity", ACTIVITY),
    ("GET /agent/daily/activity/aggregated", ACTIVITY),
    ("GET /user/daily/activity/aggregated/keys", KEY_PAGE),
    ("GET /user/daily/activity/aggregated/search", KEYS_FOUND),
    ("GET /user/daily/activity/export", SHEET),
    ("GET /team/daily/activity/aggregated/keys", KEY_PAGE),
    ("GET /team/daily/activity/aggregated/search", KEYS_FOUND),
    ("GET /team/daily/activity/export", SHEET),
    ("GET /tag/daily/activity/aggregated/keys", KEY_PAGE),
    ("GET /tag/daily/activity/aggregated/search", KEYS_FOUND),
    ("GET /tag/daily/activity/export", SHEET),
    ("GET /organization/daily/activity/aggregated/keys", KEY_PAGE),
    ("GET /organization/daily/activity/aggregated/search", KEYS_FOUND),
    ("GET /organization/daily/activity/export", SHEET),
    ("GET /customer/daily/activity/aggregated/keys", KEY_PAGE),
    ("GET /customer/daily/activity/aggregated/search", KEYS_FOUND),
    ("GET /customer/daily/activity/export", SHEET),
    ("GET /agent/daily/activity/aggregated/keys", KEY_PAGE),
    ("GET /agent/daily/activity/aggregated/search", KEYS_FOUND),
    ("GET /agent/daily/activity/export", SHEET),
    (
        "GET /global/activity/cache_hits",
        Object(&[
            has(
                "groups",
                List(&Object(&[has("call_type", Text), has("api_requests", Int), has("cache_hits", Int)])),
            ),
            has("totals", Map(&Any)),
            has("filter_options", Map(&List(&Text))),
        ]),
    ),
    // Health.
    (
        "GET /health/history",
        Object(&[
            has("health_checks", List(&HEALTH)),
            has("total_records", Int),
            has("limit", Int),
            has("offset", Int),
        ]),
    ),
    ("GET /health/latest", Object(&[has("latest_health_checks", Map(&HEALTH)), has("total_models", Int)])),
];
