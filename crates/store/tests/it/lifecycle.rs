//! What changes over time: members, periods, retention, people who leave.

use faregate_store::ledger::{ANONYMOUS, Erasure};
use faregate_store::{
    Budget, DeletedTeam, Deleter, EndUser, Filter, ListQuery, Patch, SettleOptions, SpendLog, SubjectKind,
    Tag, Team, TeamMember, TeamMembership, Usd, User, VirtualKey,
};
use faregate_terms::UtcMillis;
use serde_json::json;

use crate::ledger::{people, pico, receipt};
use crate::support::{NOW, on_both};

const DAY: i64 = 86_400_000;

fn member(user_id: &str, role: &str) -> TeamMember {
    TeamMember { user_id: user_id.to_owned(), role: role.to_owned(), user_email: None }
}

on_both! {
    async fn members_come_change_and_go(store) {
        people(&store).await;
        let team = store.add_team_member("t1", &member("u1", "user"), Some("b1"), NOW).await.unwrap().unwrap();
        assert_eq!(team.members(), [member("u1", "user")]);
        store.add_team_member("t1", &member("u1", "admin"), None, NOW).await.unwrap();
        let team = store.add_team_member("t1", &member("stranger", "user"), None, NOW).await.unwrap().unwrap();
        assert_eq!(team.members(), [member("u1", "admin"), member("stranger", "user")]);
        assert_eq!(store.get::<User>(&["u1"]).await.unwrap().unwrap().teams, ["t1"]);
        let row = store.get::<TeamMembership>(&["u1", "t1"]).await.unwrap().unwrap();
        assert_eq!(row.budget_id.as_deref(), Some("b1"));

        let team = store.remove_team_member("t1", "u1", NOW).await.unwrap().unwrap();
        assert_eq!(team.members(), [member("stranger", "user")]);
        assert!(store.get::<User>(&["u1"]).await.unwrap().unwrap().teams.is_empty());
        assert!(store.get::<TeamMembership>(&["u1", "t1"]).await.unwrap().is_none());
        assert!(store.add_team_member("none", &member("u1", "user"), None, NOW).await.unwrap().is_none());
    }

    async fn a_deleted_team_takes_its_keys_along_and_leaves_copies(store) {
        people(&store).await;
        store.add_team_member("t1", &member("u1", "admin"), None, NOW).await.unwrap();
        let gone = store.delete_team("t1", &Deleter::default(), NOW).await.unwrap();
        assert_eq!(gone, Some(vec!["k1".to_owned()]));
        assert!(store.get::<Team>(&["t1"]).await.unwrap().is_none());
        assert!(store.get::<User>(&["u1"]).await.unwrap().unwrap().teams.is_empty());
        let copies = store.list::<DeletedTeam>(&ListQuery::new()).await.unwrap().rows;
        assert_eq!(copies[0].team_id, "t1");
    }

    async fn a_period_that_is_over_starts_again_at_zero(store) {
        people(&store).await;
        let ended = NOW.plus_millis(-1);
        let due = |id: &str| Patch::new().set("budget_duration", id).set("budget_reset_at", ended);
        store.update::<VirtualKey>(&["k1"], &due("1d"), NOW).await.unwrap();
        store.update::<User>(&["u1"], &due("nonsense"), NOW).await.unwrap();
        store.settle(&[receipt("a", "1.5")], SettleOptions::default(), NOW).await.unwrap();
        let next = |duration: &str, end: UtcMillis| (duration == "1d").then(|| end.plus_millis(DAY));

        let reset = store.reset_due_budgets(NOW, &next).await.unwrap();
        assert_eq!(reset.iter().map(|subject| (subject.kind, subject.id.as_str())).collect::<Vec<_>>(), [(SubjectKind::Key, "k1")]);
        let key = store.get::<VirtualKey>(&["k1"]).await.unwrap().unwrap();
        assert_eq!((key.spend.0, key.total_spend), (pico("0"), Usd(pico("1.5"))));
        assert_eq!(key.budget_reset_at, Some(ended.plus_millis(DAY)));
        assert_eq!(store.get::<User>(&["u1"]).await.unwrap().unwrap().spend, Usd(pico("1.5")));
        assert!(store.reset_due_budgets(NOW, &next).await.unwrap().is_empty());

        store.settle(&[receipt("b", "0.5")], SettleOptions::default(), NOW).await.unwrap();
        let key = store.get::<VirtualKey>(&["k1"]).await.unwrap().unwrap();
        assert_eq!((key.spend, key.total_spend), (Usd(pico("0.5")), Usd(pico("2"))));
    }

    async fn a_budget_takes_all_that_point_to_it_along(store) {
        people(&store).await;
        let patch = Patch::new().set("budget_id", "b1");
        store.update::<TeamMembership>(&["u1", "t1"], &patch, NOW).await.unwrap();
        store.update::<Tag>(&["red"], &patch, NOW).await.unwrap();
        store.insert(&EndUser { user_id: "customer".to_owned(), budget_id: Some("b1".to_owned()), ..EndUser::default() }, NOW).await.unwrap();
        store.settle(&[receipt("a", "1")], SettleOptions::default(), NOW).await.unwrap();
        let due = Patch::new().set("budget_duration", "1d").set("budget_reset_at", NOW);
        store.update::<Budget>(&["b1"], &due, NOW).await.unwrap();
        let reset = store.reset_due_budgets(NOW, &|_, end| Some(end.plus_millis(DAY))).await.unwrap();
        let mut kinds: Vec<SubjectKind> = reset.iter().map(|subject| subject.kind).collect();
        kinds.sort();
        let expected =
            [SubjectKind::Member, SubjectKind::Organization, SubjectKind::Project, SubjectKind::EndUser, SubjectKind::Tag];
        assert_eq!(kinds, expected);
        assert_eq!(store.get::<Tag>(&["red"]).await.unwrap().unwrap().spend, Usd::default());
        assert_eq!(store.get::<TeamMembership>(&["u1", "t1"]).await.unwrap().unwrap().total_spend, Usd(pico("1")));
        assert_eq!(store.get::<VirtualKey>(&["k1"]).await.unwrap().unwrap().spend, Usd(pico("1")));
    }

    async fn everybodys_spend_can_be_set_to_zero(store) {
        people(&store).await;
        store.settle(&[receipt("a", "1")], SettleOptions::default(), NOW).await.unwrap();
        store.reset_all_spend(NOW).await.unwrap();
        assert_eq!(store.get::<Team>(&["t1"]).await.unwrap().unwrap().spend, Usd::default());
        store.settle(&[receipt("b", "2")], SettleOptions::default(), NOW).await.unwrap();
        assert_eq!(store.get::<Team>(&["t1"]).await.unwrap().unwrap().spend, Usd(pico("2")));
    }

    async fn old_logs_go_in_bounded_parts(store) {
        let old = |call: &str| {
            let mut receipt = receipt(call, "1");
            receipt.wall.started = NOW.plus_millis(-40 * DAY);
            receipt
        };
        store.settle(&[old("a"), old("b"), old("c"), receipt("d", "1")], SettleOptions::default(), NOW).await.unwrap();
        let before = NOW.plus_millis(-30 * DAY);
        assert_eq!(store.delete_logs_before(before, 2).await.unwrap(), 2);
        assert_eq!(store.delete_logs_before(before, 2).await.unwrap(), 1);
        assert_eq!(store.list::<SpendLog>(&ListQuery::new()).await.unwrap().total, 1);
        assert_eq!(store.forget_settled(NOW.plus_millis(1), 3).await.unwrap(), 3);
        assert_eq!(store.forget_settled(NOW.plus_millis(1), 3).await.unwrap(), 1);
    }

    async fn a_person_can_see_and_take_back_what_is_stored(store) {
        people(&store).await;
        let secret = Patch::new().set("password", "scrypt:x").set("user_email", "ann@example.com");
        store.update::<User>(&["u1"], &secret, NOW).await.unwrap();
        store.settle(&[receipt("a", "1"), receipt("b", "1")], SettleOptions::default(), NOW).await.unwrap();
        let export = store.export_user("u1", 1).await.unwrap().unwrap();
        assert_eq!((export.requests.len(), export.request_count, export.keys.len()), (1, 2, 1));
        assert_eq!((export.user.password, export.user.user_email.as_deref()), (None, Some("ann@example.com")));

        assert_eq!(store.erase_user_logs("u1", Erasure::Anonymize, 1).await.unwrap(), 1);
        assert_eq!(store.erase_user_logs("u1", Erasure::Remove, 10).await.unwrap(), 1);
        assert_eq!(store.erase_user_days("u1", NOW).await.unwrap(), 1);
        let gone = store.delete_user("u1", &Deleter::default(), NOW).await.unwrap();
        assert_eq!(gone, Some(vec!["k1".to_owned()]));
        let anonymous = ListQuery::new().filter(Filter::Is("user", json!(ANONYMOUS)));
        let left = store.list::<SpendLog>(&anonymous).await.unwrap().rows;
        assert_eq!((left.len(), &left[0].metadata, left[0].spend), (1, &json!({}), Usd(pico("1"))));
        assert!(store.export_user("u1", 1).await.unwrap().is_none());
    }

    async fn a_lease_has_one_holder_until_it_runs_out(store) {
        let until = NOW.plus_millis(1000);
        assert!(store.acquire_lease("reset", "a", NOW, until).await.unwrap());
        assert!(!store.acquire_lease("reset", "b", NOW, until).await.unwrap());
        assert!(store.acquire_lease("reset", "a", NOW, until.plus_millis(1)).await.unwrap());
        assert!(store.acquire_lease("reset", "b", until.plus_millis(1), until.plus_millis(9)).await.unwrap());
        store.release_lease("reset", "b").await.unwrap();
        assert!(store.acquire_lease("reset", "a", NOW, until).await.unwrap());
    }
}
