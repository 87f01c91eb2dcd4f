//! The views LiteLLM makes at its first start; dashboards and people's SQL read them.

use crate::StoreError;
use crate::db::{Engine, Tx};
use crate::schema::Kind;

/// Name and definition, with `{since30}` for "30 days ago" and `{day}` for the day of `"startTime"`.
const VIEWS: &[(&str, &str)] = &[
    (
        "LiteLLM_VerificationTokenView",
        r#"SELECT v.*, t.spend AS team_spend, t.max_budget AS team_max_budget,
             t.model_max_budget AS team_model_max_budget, t.tpm_limit AS team_tpm_limit,
             t.rpm_limit AS team_rpm_limit, t.tpd_limit AS team_tpd_limit, p.project_alias AS project_alias
           FROM "LiteLLM_VerificationToken" v
           LEFT JOIN "LiteLLM_TeamTable" t ON v.team_id = t.team_id
           LEFT JOIN "LiteLLM_ProjectTable" p ON v.project_id = p.project_id"#,
    ),
    (
        "MonthlyGlobalSpend",
        r#"SELECT {day} AS date, SUM("spend") AS spend FROM "LiteLLM_SpendLogs"
           WHERE "startTime" >= {since30} GROUP BY {day}"#,
    ),
    (
        "Last30dKeysBySpend",
        r#"SELECT l."api_key", v."key_alias", v."key_name", SUM(l."spend") AS total_spend
           FROM "LiteLLM_SpendLogs" l LEFT JOIN "LiteLLM_VerificationToken" v ON l."api_key" = v."token"
           WHERE l."startTime" >= {since30} GROUP BY l."api_key", v."key_alias", v."key_name"
           ORDER BY total_spend DESC"#,
    ),
    (
        "Last30dModelsBySpend",
        r#"SELECT "model", SUM("spend") AS total_spend FROM "LiteLLM_SpendLogs"
           WHERE "startTime" >= {since30} AND "model" != '' GROUP BY "model" ORDER BY total_spend DESC"#,
    ),
    (
        "MonthlyGlobalSpendPerKey",
        r#"SELECT {day} AS date, SUM("spend") AS spend, "api_key" FROM "LiteLLM_SpendLogs"
           WHERE "startTime" >= {since30} GROUP BY {day}, "api_key""#,
    ),
    (
        "MonthlyGlobalSpendPerUserPerKey",
        r#"SELECT {day} AS date, SUM("spend") AS spend, "api_key", "user" FROM "LiteLLM_SpendLogs"
           WHERE "startTime" >= {since30} GROUP BY {day}, "user", "api_key""#,
    ),
    (
        "DailyTagSpend",
        r#"SELECT {tag} AS individual_request_tag, {day} AS spend_date, COUNT(*) AS log_count,
             SUM("spend") AS total_spend FROM "LiteLLM_SpendLogs"{tags} GROUP BY {tag}, {day}"#,
    ),
    (
        "Last30dTopEndUsersSpend",
        r#"SELECT "end_user", COUNT(*) AS total_events, SUM("spend") AS total_spend FROM "LiteLLM_SpendLogs"
           WHERE "end_user" != '' AND "startTime" >= {since30} GROUP BY "end_user"
           ORDER BY total_spend DESC LIMIT 100"#,
    ),
];

/// Makes the views that are missing and returns their names.
pub async fn create(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    let sql = match tx.engine() {
        Engine::Postgres => tx.sql(
            "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema()",
        ),
        Engine::Sqlite => tx.sql("SELECT name FROM sqlite_master WHERE type = 'view'"),
    };
    let rows = tx.fetch(sql, &[Kind::Text]).await?;
    let present: Vec<String> = rows.into_iter().flatten().filter_map(crate::db::Cell::text).collect();
    let engine = tx.engine();
    let mut made = Vec::new();
    for (name, definition) in VIEWS.iter().filter(|(name, _)| !present.iter().any(|view| view == name)) {
        tx.batch(format!("CREATE VIEW \"{name}\" AS {}", written(engine, definition))).await?;
        made.push((*name).to_owned());
    }
    Ok(made)
}

fn written(engine: Engine, definition: &str) -> String {
    let (since30, day, tag, tags) = match engine {
        Engine::Postgres => (
            "(CURRENT_DATE - INTERVAL '30 days')",
            "DATE(\"startTime\")",
            "jsonb_array_elements_text(\"request_tags\")",
            "",
        ),
        Engine::Sqlite => (
            "strftime('%Y-%m-%d', 'now', '-30 days')",
            "DATE(\"startTime\")",
            "tag.value",
            ", json_each(\"request_tags\") AS tag",
        ),
    };
    let written = definition.replace("{since30}", since30).replace("{day}", day);
    written.replace("{tags}", tags).replace("{tag}", tag)
}
