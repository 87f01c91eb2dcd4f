//! Rows in and out.

use faregate_store::{Filter, ListQuery, Order, Patch, StoreError, Team, Usd, User, VirtualKey};
use faregate_terms::{PicoUsd, UtcMillis};
use serde_json::json;

use crate::support::{NOW, on_both};

fn usd(text: &str) -> Usd {
    Usd(PicoUsd::parse(text).unwrap())
}

on_both! {
    async fn a_row_comes_back_as_it_was_written(store) {
        let key = VirtualKey {
            token: "ab".repeat(32),
            key_alias: Some("it's \"quoted\" ☃".to_owned()),
            spend: usd("0.1"),
            max_budget: Some(usd("12345.678")),
            expires: Some(NOW),
            models: vec!["gpt-4o".to_owned(), "it's, {odd}".to_owned()],
            metadata: json!({"team": ["a"], "n": 1.5}),
            aliases: json!({}),
            config: json!({}),
            router_settings: json!({}),
            permissions: json!({}),
            model_spend: json!({}),
            model_max_budget: json!({}),
            budget_fallbacks: json!({}),
            blocked: Some(true),
            tpm_limit: Some(5_000_000_000),
            rotation_count: Some(0),
            auto_rotate: Some(false),
            created_at: Some(NOW),
            updated_at: Some(NOW),
            ..VirtualKey::default()
        };
        store.insert(&key, NOW).await.unwrap();
        assert_eq!(store.get::<VirtualKey>(&[&key.token]).await.unwrap(), Some(key.clone()));
        assert!(matches!(store.insert(&key, NOW).await, Err(StoreError::Exists { .. })));
        assert!(store.delete::<VirtualKey>(&[&key.token]).await.unwrap());
        assert!(!store.delete::<VirtualKey>(&[&key.token]).await.unwrap());
    }

    async fn a_partial_update_touches_what_it_names(store) {
        let team = Team { team_id: "t".to_owned(), team_alias: Some("before".to_owned()), ..Team::default() };
        store.insert(&team, NOW).await.unwrap();
        let later = UtcMillis::from_millis(NOW.millis() + 1);
        let patch = Patch::new().set("max_budget", 10.5).set("models", ["a"]).set("metadata", json!({"x": 1}));
        let after = store.update::<Team>(&["t"], &patch, later).await.unwrap().unwrap();
        assert_eq!(after.team_alias.as_deref(), Some("before"));
        assert_eq!((after.max_budget, after.models.len()), (Some(usd("10.5")), 1));
        assert_eq!((after.created_at, after.updated_at), (Some(NOW), Some(later)));
        let emptied = Patch::new().set("max_budget", json!(null));
        let after = store.update::<Team>(&["t"], &emptied, later).await.unwrap().unwrap();
        assert_eq!(after.max_budget, None);
        assert!(store.update::<Team>(&["no"], &emptied, later).await.unwrap().is_none());
    }

    async fn a_wrong_column_or_value_is_named(store) {
        let wrong = store.update::<Team>(&["t"], &Patch::new().set("max_budgets", 1), NOW).await;
        assert_eq!(wrong.unwrap_err().to_string(), "LiteLLM_TeamTable has no column `max_budgets`");
        let wrong = store.update::<Team>(&["t"], &Patch::new().set("models", "gpt-4o"), NOW).await;
        assert_eq!(wrong.unwrap_err().to_string(), "LiteLLM_TeamTable.models: expected a list of texts");
        let wrong = store.update::<Team>(&["t"], &Patch::new().set("blocked", json!(null)), NOW).await;
        assert_eq!(wrong.unwrap_err().to_string(), "LiteLLM_TeamTable.blocked: expected true or false");
    }

    async fn a_key_that_points_nowhere_is_refused(store) {
        let key = VirtualKey { token: "t".to_owned(), budget_id: Some("none".to_owned()), ..VirtualKey::default() };
        assert!(matches!(store.insert(&key, NOW).await, Err(StoreError::Reference { .. })));
    }

    async fn lists_filter_sort_and_page(store) {
        for number in 0..7 {
            let user = User {
                user_id: format!("u{number}"),
                user_email: Some(format!("Person_{number}@Example.com")),
                user_role: (number % 2 == 0).then(|| "internal_user".to_owned()),
                teams: if number < 3 { vec!["red".to_owned()] } else { Vec::new() },
                spend: usd(&format!("{number}")),
                metadata: json!({"deep": {"er": number.to_string()}}),
                ..User::default()
            };
            store.insert(&user, NOW).await.unwrap();
        }
        let ids = async |query: ListQuery| {
            let page = store.list::<User>(&query).await.unwrap();
            (page.rows.into_iter().map(|user| user.user_id).collect::<Vec<_>>().join(" "), page.total)
        };
        let all = ListQuery::new;
        let role = || Filter::Is("user_role", json!("internal_user"));
        assert_eq!(ids(all().sort("spend", Order::Down).page(2, 3)).await, ("u3 u2 u1".to_owned(), 7));
        assert_eq!(ids(all().filter(role())).await, ("u0 u2 u4 u6".to_owned(), 4));
        assert_eq!(ids(all().filter(Filter::Not("user_role", json!("internal_user")))).await.1, 3);
        assert_eq!(ids(all().filter(Filter::Empty("user_role")).sort("user_id", Order::Down)).await.0, "u5 u3 u1");
        let found = Filter::Contains("user_email", "N_3@eX".to_owned());
        assert_eq!(ids(all().filter(found)).await.0, "u3");
        assert_eq!(ids(all().filter(Filter::Holds("teams", "red".to_owned()))).await.0, "u0 u1 u2");
        assert_eq!(ids(all().filter(Filter::Member("metadata", &["deep", "er"], "5".to_owned()))).await.0, "u5");
        let either = Filter::Any(vec![Filter::In("user_id", vec![json!("u1"), json!("u5")]), role()]);
        assert_eq!(ids(all().filter(either).filter(Filter::AtLeast("spend", json!(2)))).await.0, "u2 u4 u5 u6");
        assert_eq!(ids(all().filter(Filter::In("user_id", Vec::new()))).await.1, 0);
        assert_eq!(ids(all().filter(Filter::Except(Box::new(role())))).await.0, "u1 u3 u5");
        assert_eq!(ids(all().uncounted().page(1, 2)).await, ("u0 u1".to_owned(), 0));
    }

    async fn text_that_postgres_cannot_hold_is_stored_without_it(store) {
        let user = User {
            user_id: "nul".to_owned(),
            user_alias: Some("a\0b".to_owned()),
            metadata: json!({"k": "a\u{0}b"}),
            ..User::default()
        };
        store.insert(&user, NOW).await.unwrap();
        let back = store.get::<User>(&["nul"]).await.unwrap().unwrap();
        assert_eq!((back.user_alias.as_deref(), &back.metadata), (Some("ab"), &json!({"k": "ab"})));
    }
}
