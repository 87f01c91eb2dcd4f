//! What the spend reports say.

use faregate_store::report::{ActivityQuery, Dimension, LogQuery};
use faregate_store::{Order, Patch, SettleOptions, Store, SubjectKind, VirtualKey};
use faregate_terms::Receipt;
use serde_json::json;

use crate::ledger::{people, pico, receipt};
use crate::support::{Bench, NOW, on_both};

const DAY: i64 = 86_400_000;

fn yesterday(call: &str, cost: &str) -> Receipt {
    let mut receipt = receipt(call, cost);
    receipt.wall.started = NOW.plus_millis(-DAY);
    receipt
}

fn failed(call: &str) -> Receipt {
    let mut receipt = receipt(call, "0");
    receipt.status = 429;
    receipt.account.key_alias = Some("prod".to_owned());
    receipt.log.error = Some(faregate_terms::ErrorNote { code: "429".to_owned(), ..Default::default() });
    receipt
}

async fn fill(store: &Store) {
    people(store).await;
    store.update::<VirtualKey>(&["k1"], &Patch::new().set("key_alias", "prod"), NOW).await.unwrap();
    let mut other = receipt("e", "0.7");
    other.account.user = Some("u2".to_owned());
    other.account.team = None;
    other.account.tags.clear();
    other.upstream_model = Some("claude".to_owned());
    let batch = [yesterday("a", "0.1"), yesterday("b", "0.2"), receipt("c", "0.4"), failed("d"), other];
    store.settle(&batch, SettleOptions::default(), NOW).await.unwrap();
}

on_both! {
    async fn spend_is_summed_exactly_by_whatever_is_asked(store) {
        fill(&store).await;
        let by = async |dimensions: &[Dimension]| {
            let rows = store.spend_by(dimensions, &LogQuery::default(), 100).await.unwrap();
            rows.into_iter().map(|row| format!("{}={} {}", row.of.join("/"), row.spend, row.requests)).collect::<Vec<_>>()
        };
        assert_eq!(by(&[]).await, ["=1.4 5"]);
        assert_eq!(by(&[Dimension::Day]).await, ["2026-03-01=1.1 3", "2026-02-28=0.3 2"]);
        assert_eq!(by(&[Dimension::Model]).await, ["claude=0.7 1", "gpt-4o=0.7 4"]);
        assert_eq!(by(&[Dimension::Tag]).await, ["blue=0.7 4", "red=0.7 4"]);
        assert_eq!(
            by(&[Dimension::User, Dimension::Day]).await,
            ["u2/2026-03-01=0.7 1", "u1/2026-03-01=0.4 2", "u1/2026-02-28=0.3 2"]
        );
        let query = LogQuery { team: Some("t1".to_owned()), from: Some(NOW.plus_millis(-DAY / 2)), ..LogQuery::default() };
        let rows = store.spend_by(&[Dimension::Key], &query, 100).await.unwrap();
        assert_eq!((rows.len(), rows[0].spend, rows[0].tokens), (1, pico("0.4"), 30));
        assert_eq!(store.tag_names().await.unwrap(), ["blue", "red"]);
    }

    async fn latencies_are_means_per_token_of_answers_that_were_made(store) {
        people(&store).await;
        let took = |call: &str, ms: i64, output: u64| {
            let mut receipt = receipt(call, "0.1");
            (receipt.wall.started, receipt.wall.ended) = (NOW, NOW.plus_millis(ms));
            receipt.usage.output = output;
            receipt.log.api_base = Some("https://one.example".to_owned());
            receipt
        };
        let mut kept = took("kept", 90_000, 1);
        kept.log.cache_hit = Some(true);
        let mut earlier = took("earlier", 90_000, 1);
        earlier.wall.started = NOW.plus_millis(-2 * DAY);
        let batch = [took("a", 1_000, 10), took("b", 6_000, 20), took("none", 9_000, 0), kept, earlier];
        store.settle(&batch, SettleOptions::default(), NOW).await.unwrap();
        let rows = store.latencies(NOW.plus_millis(-DAY), &LogQuery::default(), 10).await.unwrap();
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!((rows[0].day.as_str(), rows[0].model.as_str()), ("2026-03-01", "gpt-4o"));
        assert_eq!(rows[0].api_base, "https://one.example");
        // 0.1 and 0.3 seconds a token.
        assert!((rows[0].seconds_per_token - 0.2).abs() < 1e-6, "{rows:?}");
        let other = LogQuery { model_group: Some("nobody".to_owned()), ..LogQuery::default() };
        assert!(store.latencies(NOW, &other, 10).await.unwrap().is_empty());
    }

    async fn requests_are_found_by_any_of_their_marks(store) {
        fill(&store).await;
        let mut all = receipt("f", "0.5");
        all.log.messages = Some(r#"[{"role": "user"}]"#.to_owned());
        store.settle(&[all], SettleOptions::default(), NOW).await.unwrap();
        let find = async |query: LogQuery| {
            let page = store.request_logs(&query, "spend", Order::Down, 1, 3).await.unwrap();
            let ids: Vec<String> = page.rows.iter().filter_map(|row| row.litellm_call_id.clone()).collect();
            (ids.concat(), page.total)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(find(LogQuery::default()).await, ("efc".to_owned(), 6));
        assert_eq!(find(LogQuery { status: text("failure"), ..LogQuery::default() }).await, ("d".to_owned(), 1));
        assert_eq!(find(LogQuery { error_code: text("429"), ..LogQuery::default() }).await.0, "d");
        assert_eq!(find(LogQuery { key_alias: text("prod"), ..LogQuery::default() }).await.0, "d");
        assert_eq!(find(LogQuery { search: text("CLAU"), ..LogQuery::default() }).await.0, "e");
        assert_eq!(find(LogQuery { tag: text("red"), user: text("u2"), ..LogQuery::default() }).await.1, 0);
        let dear = LogQuery { min_spend: Some(pico("0.4").into()), max_spend: Some(pico("0.5").into()), ..LogQuery::default() };
        assert_eq!(find(dear).await.0, "fc");
        let query = LogQuery { request_id: text("chatcmpl-f"), ..LogQuery::default() };
        let one = store.request_logs(&query, "startTime", Order::Down, 1, 1).await.unwrap();
        assert_eq!(one.rows[0].messages, json!({}), "a list leaves out what was said");
    }

    async fn daily_activity_has_litellms_shape(store) {
        fill(&store).await;
        let everything = ActivityQuery::default();
        let activity = store.daily_activity(SubjectKind::DailyTeam, &everything).await.unwrap();
        let value = serde_json::to_value(&activity).unwrap();
        assert_eq!(value["results"][0]["date"], json!("2026-03-01"));
        assert_eq!(value["results"][1]["metrics"]["spend"], json!(0.3));
        let team = &value["results"][0]["breakdown"]["entities"]["t1"];
        assert_eq!(team["metrics"]["api_requests"], json!(2));
        assert_eq!(team["metrics"]["failed_requests"], json!(1));
        assert_eq!(team["api_key_breakdown"]["k1"]["metadata"]["key_alias"], json!("prod"));
        assert_eq!(value["results"][0]["breakdown"]["endpoints"]["/v1/chat/completions"]["metrics"]["total_tokens"], json!(30));
        assert_eq!(value["metadata"]["total_spend"], json!(0.7));
        assert_eq!(value["metadata"]["total_tokens"], json!(60));
        assert_eq!(value["metadata"]["total_api_requests"], json!(4));
        assert_eq!(value["metadata"]["has_more"], json!(false));

        let users = store.daily_activity(SubjectKind::DailyUser, &everything).await.unwrap();
        assert_eq!(users.spend(), pico("1.4"));
        let only = ActivityQuery {
            ids: Some(vec!["u1".to_owned()]),
            start_date: Some("2026-03-01".to_owned()),
            page: Some((1, 1)),
            ..ActivityQuery::default()
        };
        let users = store.daily_activity(SubjectKind::DailyUser, &only).await.unwrap();
        assert_eq!((users.spend(), users.metadata.total_pages), (pico("0.4"), 1));
        let global = store.daily_activity(SubjectKind::DailyGlobal, &everything).await.unwrap();
        assert_eq!(global.spend(), pico("1.4"));
        let nobody = ActivityQuery { ids: Some(Vec::new()), ..ActivityQuery::default() };
        assert!(store.daily_activity(SubjectKind::DailyTag, &nobody).await.unwrap().results.is_empty());
    }
}

/// The queries that people run against LiteLLM's database, as printed in its guides.
const PEOPLES_SQL: &[&str] = &[
    r#"SELECT api_key, COUNT(*) as requests, SUM(spend) as total_spend FROM "LiteLLM_SpendLogs"
       WHERE "startTime" >= NOW() - INTERVAL '1 hour' GROUP BY api_key HAVING SUM(spend) > 100
       ORDER BY total_spend DESC"#,
    r#"SELECT api_key, COUNT(*) as failures FROM "LiteLLM_SpendLogs"
       WHERE status = 'error' AND "startTime" >= NOW() - INTERVAL '1 hour' GROUP BY api_key HAVING COUNT(*) > 10"#,
    r#"SELECT request_id, model, "user", spend, "startTime", messages FROM "LiteLLM_SpendLogs"
       WHERE api_key = 'k1' ORDER BY "startTime" DESC"#,
    r#"SELECT updated_at, changed_by, action, table_name, object_id, before_value, updated_values
       FROM "LiteLLM_AuditLog" ORDER BY updated_at DESC"#,
    r#"SELECT * FROM "MonthlyGlobalSpend""#,
    r#"SELECT * FROM "DailyTagSpend""#,
    r#"SELECT * FROM "Last30dKeysBySpend""#,
    r#"SELECT team_spend, project_alias FROM "LiteLLM_VerificationTokenView""#,
];

#[tokio::test]
async fn the_sql_people_run_keeps_working() {
    let (postgres, sqlite) = (Bench::postgres().await, Bench::sqlite().await);
    for store in [&postgres, &sqlite] {
        fill(store).await;
    }
    for sql in PEOPLES_SQL {
        postgres.run_sql(sql).await;
        // SQLite has no INTERVAL; everything else is the same.
        if !sql.contains("INTERVAL") {
            sqlite.run_sql(sql).await;
        }
    }
    let tagged = "SELECT individual_request_tag FROM \"DailyTagSpend\" GROUP BY 1 ORDER BY 1";
    for store in [&postgres, &sqlite] {
        assert_eq!(store.texts(tagged).await, ["blue", "red"]);
    }
}
