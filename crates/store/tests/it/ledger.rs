//! Settlement: exact, once, and shown in every place that shows spend.

use std::collections::BTreeMap;
use std::time::Duration;

use faregate_store::report::LogQuery;
use faregate_store::{
    Budget, Deleter, EndUser, Filter, ListQuery, Organization, OrganizationMembership, Patch, Project,
    Rotation, SettleOptions, SpendLog, Store, Subject, SubjectKind, Tag, Team, TeamMembership, Usd, User,
    VirtualKey,
};
use faregate_terms::{
    Account, AttemptNote, CallId, Ending, FaultClass, LogFacts, PicoUsd, Receipt, Usage, WallTimes,
};
use serde_json::json;

use crate::support::{NOW, on_both};

pub fn pico(text: &str) -> PicoUsd {
    PicoUsd::parse(text).unwrap()
}

/// A successful request of key `k1`, user `u1`, team `t1`.
pub fn receipt(call: &str, cost: &str) -> Receipt {
    Receipt {
        call_id: CallId::new(call),
        receipt_id: None,
        route: "/v1/chat/completions".into(),
        requested_model: "fast".to_owned(),
        model_group: Some("fast".into()),
        deployment: Some("d1".into()),
        provider: Some("openai".into()),
        upstream_model: Some("gpt-4o".to_owned()),
        upstream_id: Some(format!("chatcmpl-{call}")),
        status: 200,
        ending: Ending::Complete,
        usage: Usage { input: 10, output: 5, cache_read: 3, ..Usage::default() },
        cost: Some(pico(cost)),
        duration: Duration::from_millis(1234),
        ttft: Some(Duration::from_millis(200)),
        upstream_time: Duration::from_millis(1000),
        attempts: vec![
            AttemptNote {
                deployment: "d0".into(),
                start: Duration::from_millis(2),
                wait: Duration::ZERO,
                ttft: None,
                duration: Duration::from_millis(9),
                fault: Some(FaultClass::RateLimit),
                discarded: None,
                continued: None,
            },
            AttemptNote {
                deployment: "d1".into(),
                start: Duration::from_millis(511),
                wait: Duration::from_millis(500),
                ttft: Some(Duration::from_millis(200)),
                duration: Duration::from_millis(900),
                fault: None,
                discarded: None,
                continued: None,
            },
        ],
        losses: Vec::new(),
        stream: true,
        account: Account {
            api_key: "k1".to_owned(),
            user: Some("u1".to_owned()),
            team: Some("t1".to_owned()),
            organization: Some("o1".to_owned()),
            project: Some("p1".to_owned()),
            end_user: Some("customer".to_owned()),
            tags: vec!["red".to_owned(), "blue".to_owned()],
            ip: Some("10.0.0.1".to_owned()),
            ..Account::default()
        },
        wall: WallTimes {
            started: NOW.plus_millis(-1234),
            ended: NOW,
            first_token: Some(NOW.plus_millis(-1000)),
        },
        log: LogFacts {
            call_type: "acompletion".to_owned(),
            raw_usage: Some(r#"{"prompt_tokens": 10}"#.to_owned()),
            metadata: Some(r#"{"spend_logs_metadata": {"job": "a"}}"#.to_owned()),
            ..LogFacts::default()
        },
    }
}

/// The rows that the receipts above are booked on.
pub async fn people(store: &Store) {
    let budget = Budget {
        budget_id: "b1".to_owned(),
        created_by: "x".to_owned(),
        updated_by: "x".to_owned(),
        ..Budget::default()
    };
    store.insert(&budget, NOW).await.unwrap();
    let organization = Organization {
        organization_id: "o1".to_owned(),
        organization_alias: "Org".to_owned(),
        budget_id: "b1".to_owned(),
        created_by: "x".to_owned(),
        updated_by: "x".to_owned(),
        ..Organization::default()
    };
    store.insert(&organization, NOW).await.unwrap();
    store.insert(&User { user_id: "u1".to_owned(), ..User::default() }, NOW).await.unwrap();
    let team = Team { team_id: "t1".to_owned(), organization_id: Some("o1".to_owned()), ..Team::default() };
    store.insert(&team, NOW).await.unwrap();
    let member =
        TeamMembership { user_id: "u1".to_owned(), team_id: "t1".to_owned(), ..TeamMembership::default() };
    store.insert(&member, NOW).await.unwrap();
    let member = OrganizationMembership {
        user_id: "u1".to_owned(),
        organization_id: "o1".to_owned(),
        ..OrganizationMembership::default()
    };
    store.insert(&member, NOW).await.unwrap();
    let project = Project {
        project_id: "p1".to_owned(),
        team_id: Some("t1".to_owned()),
        budget_id: Some("b1".to_owned()),
        created_by: "x".to_owned(),
        updated_by: "x".to_owned(),
        ..Project::default()
    };
    store.insert(&project, NOW).await.unwrap();
    store.insert(&Tag { tag_name: "red".to_owned(), ..Tag::default() }, NOW).await.unwrap();
    let key = VirtualKey {
        token: "k1".to_owned(),
        user_id: Some("u1".to_owned()),
        team_id: Some("t1".to_owned()),
        project_id: Some("p1".to_owned()),
        ..VirtualKey::default()
    };
    store.insert(&key, NOW).await.unwrap();
}

async fn settle(store: &Store, receipts: &[Receipt]) -> faregate_store::Settlement {
    store.settle(receipts, SettleOptions::default(), NOW).await.unwrap()
}

async fn log(store: &Store, id: &str) -> SpendLog {
    store.get::<SpendLog>(&[id]).await.unwrap().unwrap()
}

on_both! {
    async fn a_settled_request_shows_everywhere_with_the_same_exact_cost(store) {
        people(&store).await;
        // 0.1 + 0.2 is not 0.3 in floating point; ten such pairs make the drift visible.
        let receipts: Vec<Receipt> =
            (0..20).map(|n| receipt(&format!("c{n}"), if n % 2 == 0 { "0.1" } else { "0.2" })).collect();
        let done = settle(&store, &receipts).await;
        assert_eq!((done.booked, done.duplicates, done.renamed), (20, 0, 0));
        assert!(done.rejected.is_empty(), "{done:?}");

        let three = Usd(pico("3"));
        let key = store.get::<VirtualKey>(&["k1"]).await.unwrap().unwrap();
        assert_eq!((key.spend, key.total_spend), (three, three));
        assert!(key.last_active.is_some());
        assert_eq!(store.get::<User>(&["u1"]).await.unwrap().unwrap().spend, three);
        assert_eq!(store.get::<Team>(&["t1"]).await.unwrap().unwrap().spend, three);
        let member = store.get::<TeamMembership>(&["u1", "t1"]).await.unwrap().unwrap();
        assert_eq!((member.spend, member.total_spend), (three, three));
        assert_eq!(store.get::<Organization>(&["o1"]).await.unwrap().unwrap().spend, three);
        assert_eq!(store.get::<OrganizationMembership>(&["u1", "o1"]).await.unwrap().unwrap().spend, Some(three));
        assert_eq!(store.get::<Project>(&["p1"]).await.unwrap().unwrap().spend, three);
        assert_eq!(store.get::<EndUser>(&["customer"]).await.unwrap().unwrap().spend, three);
        assert_eq!(store.get::<Tag>(&["red"]).await.unwrap().unwrap().spend, three);

        let everybody = Subject::of(SubjectKind::User, faregate_store::ledger::EVERYBODY);
        let member = Subject::member(SubjectKind::Member, "u1", "t1");
        let spent = store.spent(&[everybody.clone(), member.clone()]).await.unwrap();
        assert_eq!(spent[&everybody].spend, pico("3"));
        assert_eq!(spent[&member].total, pico("3"));
        let logs = store.list::<SpendLog>(&ListQuery::new()).await.unwrap();
        assert_eq!(logs.rows.iter().map(|row| row.spend.0).sum::<PicoUsd>(), pico("3"));
    }

    async fn every_column_of_the_request_log_is_filled_as_litellm_fills_it(store) {
        settle(&store, &[receipt("c1", "0.25")]).await;
        let row = log(&store, "chatcmpl-c1").await;
        let value = serde_json::to_value(&row).unwrap();
        for (column, expected) in [
            ("call_type", json!("acompletion")),
            ("api_key", json!("k1")),
            ("spend", json!(0.25)),
            ("total_tokens", json!(15)),
            ("startTime", json!("2026-03-01T11:59:58.766Z")),
            ("completionStartTime", json!("2026-03-01T11:59:59.000Z")),
            ("request_duration_ms", json!(1234)),
            ("model", json!("gpt-4o")),
            ("model_group", json!("fast")),
            ("model_id", json!("d1")),
            ("custom_llm_provider", json!("openai")),
            ("cache_hit", json!("None")),
            ("cache_key", json!("Cache OFF")),
            ("request_tags", json!(["red", "blue"])),
            ("messages", json!({})),
            ("session_id", json!("c1")),
            ("status", json!("success")),
            ("litellm_call_id", json!("c1")),
            ("requester_ip_address", json!("10.0.0.1")),
        ] {
            assert_eq!(value[column], expected, "{column}");
        }
        assert_eq!(row.metadata["usage_object"], json!({"prompt_tokens": 10}));
        assert_eq!(row.metadata["spend_logs_metadata"], json!({"job": "a"}));
        assert_eq!(row.metadata["attempted_retries"], json!(1));
        assert_eq!(row.metadata["faregate"]["ttft_ms"], json!(200.0));
        let attempts = &row.metadata["faregate"]["attempts"];
        assert_eq!((&attempts[0]["fault"], &attempts[0]["start_ms"]), (&json!("rate_limit"), &json!(2.0)));
        let second = &attempts[1];
        let times = ["start_ms", "wait_ms", "ttft_ms", "duration_ms"].map(|name| second[name].as_f64().unwrap());
        assert_eq!((times, &second["discarded"]), ([511.0, 500.0, 200.0, 900.0], &json!(false)));
    }

    async fn a_batch_settled_again_changes_nothing(store) {
        people(&store).await;
        let batch = [receipt("a", "1"), receipt("b", "2"), receipt("a", "1")];
        let first = settle(&store, &batch).await;
        assert_eq!((first.booked, first.duplicates), (2, 1));
        let again = settle(&store, &batch).await;
        assert_eq!((again.booked, again.duplicates), (0, 3));
        let mixed = settle(&store, &[receipt("b", "2"), receipt("c", "4")]).await;
        assert_eq!((mixed.booked, mixed.duplicates), (1, 1));
        assert_eq!(store.get::<Team>(&["t1"]).await.unwrap().unwrap().spend, Usd(pico("7")));
        assert_eq!(store.list::<SpendLog>(&ListQuery::new()).await.unwrap().total, 3);
    }

    async fn two_requests_with_one_provider_id_are_both_logged(store) {
        let same = |call: &str| Receipt { upstream_id: Some("dup".to_owned()), ..receipt(call, "1") };
        assert_eq!(settle(&store, &[same("a"), same("b")]).await.renamed, 1);
        assert_eq!(settle(&store, &[same("c")]).await.renamed, 1);
        assert_eq!(settle(&store, &[same("d"), same("e"), receipt("f", "1")]).await.renamed, 2);
        let mut ids: Vec<String> =
            store.list::<SpendLog>(&ListQuery::new()).await.unwrap().rows.into_iter().map(|row| row.request_id).collect();
        ids.sort();
        assert_eq!(ids, ["chatcmpl-f", "dup", "dup_b", "dup_c", "dup_d", "dup_e"]);
    }

    async fn replicas_settling_at_once_lose_and_double_nothing(store) {
        people(&store).await;
        let other = store.replica().await;
        let batch = |from: usize| (from..from + 40).map(|n| receipt(&format!("c{n}"), "0.01")).collect::<Vec<_>>();
        // The two overlap in half of their receipts.
        for round in 0..3 {
            let (ours, theirs) = (batch(round * 60), batch(round * 60 + 20));
            let (a, b) = tokio::join!(settle(&store, &ours), settle(&other, &theirs));
            assert_eq!((a.booked + b.booked, a.duplicates + b.duplicates), (60, 20));
        }
        assert_eq!(store.get::<VirtualKey>(&["k1"]).await.unwrap().unwrap().spend, Usd(pico("1.8")));
        assert_eq!(store.list::<SpendLog>(&ListQuery::new()).await.unwrap().total, 180);
    }

    async fn spend_that_was_there_before_is_added_to(store) {
        store.insert(&Team { team_id: "t1".to_owned(), spend: Usd(pico("0.7")), ..Team::default() }, NOW).await.unwrap();
        settle(&store, &[receipt("a", "0.1")]).await;
        assert_eq!(store.get::<Team>(&["t1"]).await.unwrap().unwrap().spend, Usd(pico("0.8")));
        // An admin's word is final.
        store.update::<Team>(&["t1"], &Patch::new().set("spend", 0), NOW).await.unwrap();
        settle(&store, &[receipt("b", "0.1")]).await;
        assert_eq!(store.get::<Team>(&["t1"]).await.unwrap().unwrap().spend, Usd(pico("0.1")));
    }

    async fn hostile_texts_do_not_hold_up_the_ledger(store) {
        let long = "é".repeat(5000);
        let mut odd = receipt("odd", "1");
        odd.account.end_user = Some(format!("\0{long}"));
        odd.account.tags = vec![long.clone(), "a\0".to_owned()];
        odd.account.session = Some(long.clone());
        odd.upstream_model = Some(long.clone());
        odd.upstream_id = Some(long.clone());
        odd.log.messages = Some(r#"[{"content": "lone \ud800 surrogate \u0000"}]"#.to_owned());
        odd.log.response = Some("not json".to_owned());
        odd.usage.input = u64::MAX / 4;
        let done = settle(&store, &[receipt("a", "1"), odd, receipt("b", "1")]).await;
        assert_eq!((done.booked, done.rejected), (3, Vec::new()));
    }

    async fn a_cost_that_cannot_be_is_kept_out_of_the_totals(store) {
        people(&store).await;
        let huge = |call: &str, pico| Receipt { cost: Some(PicoUsd::from_pico(pico)), ..receipt(call, "1") };
        let batch = [receipt("a", "1"), huge("x", i128::MAX), receipt("b", "1"), huge("y", -1)];
        let done = settle(&store, &batch).await;
        let rejected: Vec<&str> = done.rejected.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!((done.booked, rejected), (2, vec!["x", "y"]));
        assert_eq!(store.get::<Team>(&["t1"]).await.unwrap().unwrap().spend, Usd(pico("2")));
    }

    async fn one_receipt_the_database_refuses_holds_up_no_other(store) {
        people(&store).await;
        // Stands for whatever a database may hold against one row.
        store.run_sql("CREATE UNIQUE INDEX poison ON \"LiteLLM_SpendLogs\" (request_duration_ms)").await;
        let slow = |call: &str, ms| Receipt { duration: Duration::from_millis(ms), ..receipt(call, "1") };
        let done = settle(&store, &[slow("a", 1), slow("b", 2), slow("c", 1), slow("d", 3)]).await;
        assert_eq!(done.booked, 3, "{done:?}");
        assert_eq!(done.rejected[0].0.as_str(), "c");
        assert_eq!(store.get::<Team>(&["t1"]).await.unwrap().unwrap().spend, Usd(pico("3")));
    }

    async fn a_table_that_is_not_there_yet_is_no_reason_to_give_a_receipt_up(store) {
        people(&store).await;
        store.run_sql("ALTER TABLE \"LiteLLM_SpendLogs\" RENAME TO elsewhere").await;
        let tried = store.settle(&[receipt("a", "1")], SettleOptions::default(), NOW).await;
        assert!(tried.is_err(), "{tried:?}");
        store.run_sql("ALTER TABLE elsewhere RENAME TO \"LiteLLM_SpendLogs\"").await;
        assert_eq!(settle(&store, &[receipt("a", "1")]).await.booked, 1);
    }

    async fn a_rotated_key_keeps_its_spend_and_its_requests_in_flight(store) {
        people(&store).await;
        settle(&store, &[receipt("a", "1")]).await;
        let rotation = |from, to, grace_until| Rotation { from, to, grace_until, patch: Patch::new().set("rotation_count", 1) };
        let until = NOW.plus_millis(60_000);
        let key = store.rotate_key(rotation("k1", "k2", Some(until)), NOW).await.unwrap().unwrap();
        assert_eq!((key.token.as_str(), key.spend, key.rotation_count), ("k2", Usd(pico("1")), Some(1)));
        settle(&store, &[receipt("b", "1")]).await;
        assert_eq!(store.get::<VirtualKey>(&["k2"]).await.unwrap().unwrap().spend, Usd(pico("2")));

        let old = store.key_record("k1", NOW).await.unwrap().unwrap();
        assert!(old.by_old_hash);
        assert_eq!(old.key.token, "k2");
        assert!(store.key_record("k1", until).await.unwrap().is_none());

        store.rotate_key(rotation("k2", "k3", None), NOW).await.unwrap().unwrap();
        assert_eq!(store.key_record("k1", NOW).await.unwrap().unwrap().key.token, "k3");
        assert!(store.key_record("k2", NOW).await.unwrap().is_none());
        settle(&store, &[receipt("c", "1")]).await;
        assert_eq!(store.key_record("k3", NOW).await.unwrap().unwrap().spent.key, pico("3"));
    }

    async fn one_query_brings_all_that_authentication_needs(store) {
        people(&store).await;
        settle(&store, &[receipt("a", "0.000000000001")]).await;
        let record = store.key_record("k1", NOW).await.unwrap().unwrap();
        assert!(!record.by_old_hash);
        assert_eq!(record.team.unwrap().team_id, "t1");
        assert_eq!(record.user.unwrap().user_id, "u1");
        assert_eq!(record.organization.unwrap().organization_id, "o1");
        assert_eq!(record.organization_budget.unwrap().budget_id, "b1");
        assert_eq!(record.project_budget.unwrap().budget_id, "b1");
        assert!(record.membership.is_some() && record.organization_membership.is_some());
        assert!(record.key_budget.is_none() && record.key_permission.is_none());
        let one = pico("0.000000000001");
        assert_eq!((record.spent.key, record.spent.member, record.spent.organization), (one, one, one));
        assert!(store.key_record("nobody", NOW).await.unwrap().is_none());
        let customer = store.end_user_record("customer").await.unwrap().unwrap();
        assert_eq!(customer.spent, one);
    }

    async fn a_deleted_key_leaves_a_copy(store) {
        people(&store).await;
        settle(&store, &[receipt("a", "1")]).await;
        let by = Deleter { user: Some("admin".to_owned()), ..Deleter::default() };
        let gone = store.delete_keys(&["k1", "never"], &by, NOW).await.unwrap();
        assert_eq!(gone.len(), 1);
        assert!(store.key_record("k1", NOW).await.unwrap().is_none());
        let query = ListQuery::new().filter(Filter::Is("token", json!("k1")));
        let copies = store.list::<faregate_store::DeletedKey>(&query).await.unwrap().rows;
        assert_eq!((copies[0].spend, copies[0].deleted_by.as_deref()), (Usd(pico("1")), Some("admin")));
    }

    async fn totals_are_the_sum_of_the_log_whatever_the_order(store) {
        people(&store).await;
        // A fixed, well-mixed sequence: every run settles the same receipts.
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut model: BTreeMap<Subject, PicoUsd> = BTreeMap::new();
        let mut all: Vec<Receipt> = Vec::new();
        for number in 0..200 {
            let cost = PicoUsd::from_pico(i128::from(next(3_000_000_000_000)) * i128::from(next(100) + 1));
            let mut receipt = Receipt { cost: Some(cost), ..receipt(&format!("c{number}"), "0") };
            receipt.account.team = (next(3) > 0).then(|| format!("t{}", next(3)));
            let end_user = format!("e{}", next(5));
            receipt.account.end_user = Some(end_user.clone());
            let team = receipt.account.team.clone().map(|team| Subject::of(SubjectKind::Team, team));
            let end_user = Subject::of(SubjectKind::EndUser, end_user);
            for subject in team.into_iter().chain([end_user, Subject::of(SubjectKind::Key, "k1")]) {
                *model.entry(subject).or_default() += cost;
            }
            all.push(receipt);
        }
        // Batches of any size that overlap: what was settled comes again.
        let mut from = 0;
        while from < all.len() {
            let to = all.len().min(from + 1 + usize::try_from(next(40)).unwrap());
            settle(&store, &all[from.saturating_sub(7)..to]).await;
            from = to;
        }
        let subjects: Vec<Subject> = model.keys().cloned().collect();
        let spent = store.spent(&subjects).await.unwrap();
        for (subject, sum) in model {
            assert_eq!(spent[&subject].spend, sum, "{subject:?}");
        }
        let sum: PicoUsd = all.iter().filter_map(|receipt| receipt.cost).sum();
        assert_eq!(store.booked_total().await.unwrap(), sum);
        let logged = store.spend_by(&[], &LogQuery::default(), 1).await.unwrap();
        assert_eq!((logged[0].spend, logged[0].requests), (sum, 200));
        assert!(store.diagnose().await.unwrap().findings.iter().all(|finding| !finding.check.contains("totals")));
    }
}
