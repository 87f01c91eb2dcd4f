//! A database that LiteLLM made is taken over in place, and given back as it was.

use faregate_store::seal::SaltKey;
use faregate_store::{
    ConfigRow, Credential, ListQuery, ProxyModel, SettleOptions, SpendLog, Subject, SubjectKind, Team, Usd,
    User, VirtualKey,
};
use faregate_terms::{KeyHash, Secret};
use serde_json::json;

use crate::ledger::{pico, receipt};
use crate::support::{Bench, NOW};

const SCHEMA: &str = include_str!("fixtures/litellm_1_106_2.sql");
const ROWS: &str = include_str!("fixtures/litellm_rows.sql");

/// Every column, index and constraint, as the database itself describes them.
const OBJECTS: &str = r"
SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || udt_name || ' ' || is_nullable
  || ' ' || coalesce(column_default, '') || ' ' || ordinal_position
FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'faregate_%'
UNION ALL SELECT 'index ' || indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename NOT LIKE 'faregate_%'
UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text NOT LIKE 'faregate_%'
UNION ALL SELECT 'view ' || viewname || ' ' || definition FROM pg_views
WHERE schemaname = 'public' AND viewname = 'MonthlyGlobalSpend'
ORDER BY 1";

/// Every row of every table that is not ours.
const CONTENTS: &str = r"
SELECT table_name || ' ' || query_to_xml(format('SELECT * FROM %I ORDER BY 1', table_name), true, false, '')::text
FROM information_schema.tables
WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name NOT LIKE 'faregate_%' ORDER BY 1";

async fn litellm() -> Bench {
    let store = Bench::empty_postgres().await;
    store.run_sql(SCHEMA).await;
    store.run_sql(ROWS).await;
    store
}

#[tokio::test]
async fn adopting_changes_no_row_and_no_object_of_litellms() {
    let store = litellm().await;
    let (objects, contents) = (store.texts(OBJECTS).await, store.texts(CONTENTS).await);
    assert!(objects.len() > 1000 && contents.len() > 90);
    let report = store.migrate(NOW).await.unwrap();
    assert!(
        report.created.iter().all(|name| !name.starts_with("LiteLLM_") || name.ends_with("View")),
        "{report:?}"
    );
    assert!(report.columns_added.is_empty(), "{report:?}");
    let after = store.texts(OBJECTS).await;
    // Views are read as tables' columns too; what we add is the views that were missing.
    let missing: Vec<&String> = objects.iter().filter(|object| !after.contains(object)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let tables = |objects: &[String]| objects.iter().filter(|object| !object.starts_with("column")).count();
    assert_eq!(tables(&after), tables(&objects));
    assert_eq!(store.texts(CONTENTS).await, contents);
}

#[tokio::test]
async fn adopted_keys_teams_budgets_models_and_credentials_work() {
    let store = litellm().await;
    store.migrate(NOW).await.unwrap();
    let hash = KeyHash::of("sk-1234").to_string();
    let record = store.key_record(&hash, NOW).await.unwrap().unwrap();
    let (key, team) = (&record.key, record.team.as_ref().unwrap());
    assert_eq!((key.key_alias.as_deref(), key.max_budget), (Some("prod"), Some(Usd(pico("10.25")))));
    assert_eq!(key.expires.unwrap().to_string(), "2027-01-01T00:00:00.123Z");
    assert_eq!(key.model_max_budget["gpt-4o"]["time_period"], json!("1d"));
    assert_eq!(team.models, ["gpt-4o", "odd, name"]);
    assert_eq!(team.members_with_roles[0]["user_id"], json!("user-1"));
    assert_eq!(record.team_aliases.unwrap().aliases, json!({"mini": "gpt-4o-mini"}));
    assert_eq!(record.team_permission.unwrap().mcp_servers, ["srv-1", "srv-2"]);
    assert_eq!(record.key_budget.unwrap().tpm_limit, Some(9_000_000_000));
    assert_eq!(record.organization.unwrap().organization_id, "org-1");
    assert!(record.user.unwrap().models.is_empty());
    assert!(store.key_record("old-hash", NOW).await.unwrap().unwrap().by_old_hash);
    assert!(store.end_user_record("customer-1").await.unwrap().unwrap().end_user.blocked);

    let salt = SaltKey::of(&Secret::new("salt-1234"));
    let mut model = store.get::<ProxyModel>(&["model-1"]).await.unwrap().unwrap();
    assert!(salt.open_members(&mut model.litellm_params).is_empty());
    assert_eq!(
        model.litellm_params,
        json!({
            "model": "openai/gpt-4o", "api_key": "sk-upstream-1", "api_base": "https://api.example.com/v1", "rpm": 60
        })
    );
    let mut credential = store.get::<Credential>(&["cred-1"]).await.unwrap().unwrap();
    salt.open_members(&mut credential.credential_values);
    assert_eq!(credential.credential_values, json!({"api_key": "sk-cred-1"}));
    let mut config = store.get::<ConfigRow>(&["environment_variables"]).await.unwrap().unwrap();
    salt.open_members(&mut config.param_value);
    assert_eq!(config.param_value, json!({"PASSWORD": "hunter2"}));
}

#[tokio::test]
async fn exact_totals_start_from_litellms_columns_and_the_columns_follow_them() {
    let store = litellm().await;
    let hash = KeyHash::of("sk-1234").to_string();
    assert!(store.migrate(NOW).await.unwrap().totals_adopted >= 10);
    let member = Subject::member(SubjectKind::Member, "user-1", "team-1");
    let cases = [
        (Subject::of(SubjectKind::Key, &hash), "0.1", "2.5"),
        (Subject::of(SubjectKind::Organization, "org-1"), "12345.678", "12345.678"),
        (Subject::of(SubjectKind::User, "litellm-proxy-budget"), "99.99", "99.99"),
        (Subject::of(SubjectKind::Project, "project-1"), "0.000000000001", "0.000000000001"),
        (member, "1.1", "7.7"),
    ];
    for (subject, spend, total) in &cases {
        let spent = store.spent(std::slice::from_ref(subject)).await.unwrap()[subject];
        assert_eq!((spent.spend, spent.total), (pico(spend), pico(total)), "{subject:?}");
    }

    let mut request = receipt("new", "0.2");
    request.account.api_key.clone_from(&hash);
    request.account.team = Some("team-1".to_owned());
    store.settle(&[request], SettleOptions::default(), NOW).await.unwrap();
    let key = store.get::<VirtualKey>(&[&hash]).await.unwrap().unwrap();
    assert_eq!((key.spend, key.total_spend), (Usd(pico("0.3")), Usd(pico("2.7"))));
    assert_eq!(store.get::<Team>(&["team-1"]).await.unwrap().unwrap().spend, Usd(pico("3.5")));
    let daily =
        "SELECT spend::text || ' ' || api_requests || ' ' || prompt_tokens FROM \"LiteLLM_DailyTeamSpend\"";
    assert_eq!(store.texts(daily).await, ["0.9 8 110"]);
    assert_eq!(store.list::<SpendLog>(&ListQuery::new()).await.unwrap().total, 251);

    // LiteLLM runs again for a while, then we come back.
    store.run_sql("UPDATE \"LiteLLM_UserTable\" SET spend = spend + 1.5 WHERE user_id = 'user-1'").await;
    assert_eq!(store.migrate(NOW).await.unwrap().totals_adopted, 1);
    let user = Subject::of(SubjectKind::User, "user-1");
    assert_eq!(store.spent(std::slice::from_ref(&user)).await.unwrap()[&user].spend, pico("1.8"));
    assert_eq!(store.get::<User>(&["user-1"]).await.unwrap().unwrap().spend, Usd(pico("1.8")));
}

#[tokio::test]
async fn an_older_database_gets_the_columns_it_lacks_and_keeps_its_rows() {
    let store = litellm().await;
    store
        .run_sql(
            "ALTER TABLE \"LiteLLM_SpendLogs\" DROP COLUMN litellm_call_id, DROP COLUMN agent_id;
             ALTER TABLE \"LiteLLM_TeamTable\" DROP COLUMN allow_team_guardrail_config, DROP COLUMN policies;
             ALTER TABLE \"LiteLLM_VerificationToken\" DROP COLUMN budget_fallbacks;
             DROP TABLE \"LiteLLM_AccessGroupTable\";",
        )
        .await;
    let report = store.migrate(NOW).await.unwrap();
    let mut added = report.columns_added;
    added.sort();
    assert_eq!(
        added,
        [
            "LiteLLM_SpendLogs.agent_id",
            "LiteLLM_SpendLogs.litellm_call_id",
            "LiteLLM_TeamTable.allow_team_guardrail_config",
            "LiteLLM_TeamTable.policies",
            "LiteLLM_VerificationToken.budget_fallbacks",
        ]
    );
    assert!(report.created.contains(&"LiteLLM_AccessGroupTable".to_owned()));
    let team = store.get::<Team>(&["team-1"]).await.unwrap().unwrap();
    assert!(!team.allow_team_guardrail_config && team.policies.is_empty());
    assert_eq!(store.list::<SpendLog>(&ListQuery::new()).await.unwrap().total, 250);
}

/// What we make from nothing has LiteLLM's tables, column for column.
#[tokio::test]
async fn a_fresh_schema_has_litellms_columns_indexes_and_constraints() {
    let litellm = Bench::empty_postgres().await;
    litellm.run_sql(SCHEMA).await;
    let ours = Bench::empty_postgres().await;
    let report = ours.migrate(NOW).await.unwrap();
    let theirs = litellm.texts(OBJECTS).await;
    let made: Vec<String> = report.created.into_iter().filter(|name| name.starts_with("LiteLLM_")).collect();
    let of_table = |object: &&String, table: &str| {
        object.contains(&format!(" {table}."))
            || object.contains(&format!("ON public.\"{table}\" "))
            || object.contains(&format!("constraint \"{table}\" "))
    };
    let ours = ours.texts(OBJECTS).await;
    for table in made.iter().filter(|name| !name.ends_with("View")) {
        let expected: Vec<&String> = theirs.iter().filter(|object| of_table(object, table)).collect();
        assert!(expected.len() > 3, "{table}");
        let found: Vec<&String> = ours.iter().filter(|object| of_table(object, table)).collect();
        assert_eq!(found, expected, "{table}");
    }
}
