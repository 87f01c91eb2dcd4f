//! Backup, restore and doctor.

use faregate_store::{ListQuery, ModelAliases, ProxyModel, SettleOptions, SpendLog, Store, VirtualKey};
use serde_json::{Value, json};

use crate::ledger::{people, pico, receipt};
use crate::support::{Bench, NOW, on_both};

async fn fill(store: &Store) {
    people(store).await;
    let batch: Vec<_> = (0..450).map(|n| receipt(&format!("c{n:03}"), "0.1")).collect();
    store.settle(&batch, SettleOptions::default(), NOW).await.unwrap();
    store
        .insert(&ModelAliases { id: 7, aliases: json!({"a": "b"}), ..ModelAliases::default() }, NOW)
        .await
        .unwrap();
    let model =
        ProxyModel { model_id: "m".to_owned(), litellm_params: json!({"rpm": 1}), ..ProxyModel::default() };
    store.insert(&model, NOW).await.unwrap();
}

async fn backup(store: &Store) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(store.backup(&mut out, NOW).await.unwrap() > 900);
    out
}

#[tokio::test]
async fn a_backup_moves_between_engines_and_back_without_a_difference() {
    let sqlite = Bench::sqlite().await;
    fill(&sqlite).await;
    let first = backup(&sqlite).await;
    let postgres = Bench::postgres().await;
    postgres.restore(&mut first.as_slice()).await.unwrap();
    let second = backup(&postgres).await;
    let again = Bench::sqlite().await;
    again.restore(&mut second.as_slice()).await.unwrap();
    let third = backup(&again).await;
    // `jsonb` keeps the members of an object in an order of its own: compared as values.
    let lines = |backup: &[u8]| {
        let lines = backup.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect::<Vec<Value>>()
    };
    for (before, after) in lines(&first).iter().zip(lines(&third)) {
        assert_eq!(*before, after);
    }
    assert_eq!(lines(&first).len(), lines(&third).len());

    // Life goes on where it stopped.
    let batch = [receipt("c000", "0.1"), receipt("new", "0.1")];
    let done = postgres.settle(&batch, SettleOptions::default(), NOW).await.unwrap();
    assert_eq!(done.duplicates, 1);
    let spent = postgres.key_record("k1", NOW).await.unwrap().unwrap().spent.key;
    assert_eq!(spent, pico("45.1"));
    let next = "INSERT INTO \"LiteLLM_ModelTable\" (created_by, updated_by) VALUES ('x', 'x')";
    postgres.run_sql(next).await;
}

on_both! {
    async fn a_database_in_use_is_not_overwritten(store) {
        fill(&store).await;
        let copy = backup(&store).await;
        let refused = store.restore(&mut copy.as_slice()).await.unwrap_err();
        assert!(refused.to_string().contains("restore into an empty database"), "{refused}");
        assert_eq!(store.list::<SpendLog>(&ListQuery::new()).await.unwrap().total, 450);
    }

    async fn what_is_no_backup_is_refused_with_its_line(store) {
        let text = "{\"faregate_backup\":1,\"created_at\":\"2026-01-01\"}\nnonsense\n";
        let refused = store.restore(&mut text.as_bytes()).await.unwrap_err();
        assert!(refused.to_string().starts_with("line 2: "), "{refused}");
    }

    async fn a_sound_database_gets_a_clean_bill(store) {
        fill(&store).await;
        let diagnosis = store.diagnose().await.unwrap();
        assert!(diagnosis.is_healthy(), "{diagnosis:#?}");
        assert_eq!(store.booked_total().await.unwrap(), pico("45"));
    }

    async fn what_was_tampered_with_is_found(store) {
        fill(&store).await;
        store.run_sql("UPDATE \"LiteLLM_VerificationToken\" SET spend = 1").await;
        store.run_sql("UPDATE \"LiteLLM_SpendLogs\" SET spend = 0.2 WHERE request_id = 'chatcmpl-c001'").await;
        store.run_sql("UPDATE \"LiteLLM_VerificationToken\" SET user_id = 'ghost'").await;
        let diagnosis = store.diagnose().await.unwrap();
        let checks: Vec<(&str, u64)> =
            diagnosis.findings.iter().map(|finding| (finding.check.as_str(), finding.rows)).collect();
        assert_eq!(checks, [("key totals", 1), ("request log", 1), ("LiteLLM_VerificationToken", 1)]);
        assert_eq!(diagnosis.findings[0].examples, ["k1"]);
    }
}

#[tokio::test]
async fn a_sqlite_file_is_copied_while_in_use() {
    let store = Bench::sqlite().await;
    people(&store).await;
    let folder = tempfile::TempDir::new().unwrap();
    let copy = folder.path().join("copy.db");
    assert!(store.copy_file(&copy).await.unwrap());
    assert!(store.copy_file(&copy).await.is_err(), "an existing file is not overwritten");
    let copied = Store::connect(&faregate_store::Settings::sqlite(&copy)).await.unwrap();
    assert!(copied.get::<VirtualKey>(&["k1"]).await.unwrap().is_some());
}
