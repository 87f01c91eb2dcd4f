//! Names that share a strategy.

use super::*;
use crate::strategy::{Args, named};

fn grouping(name: &str, models: &[&str], strategy: &str, priorities: Option<&[(&str, i64)]>) -> Grouping {
    Grouping {
        name: name.to_owned(),
        models: models.iter().map(|model| (*model).to_owned()).collect(),
        strategy: (named(strategy).unwrap().make)(&Args::default()),
        priorities: priorities
            .map(|all| all.iter().map(|(model, order)| ((*model).to_owned(), *order)).collect()),
    }
}

/// Names `a`, `b` and `c`, with two deployments each.
fn six() -> Router {
    let deployments = ["a1", "a2", "b1", "b2", "c1", "c2"].map(|id| deployment(&id[..1], id));
    Router::new(deployments.into(), HashMap::new(), Box::new(strategy::SimpleShuffle), Checks::default())
}

fn planned(router: &Router, name: &str) -> Plan {
    let found = router.resolve(name, None, Team::Any).unwrap();
    router.plan(&found, &Wish::default(), &Unknown, &mut Seeded::new(1)).unwrap()
}

#[test]
fn each_name_has_its_groups_strategy_and_all_are_one_by_the_groups_name() {
    let router = six().grouped([grouping("cheap", &["a", "b", "nobody"], "cost-based-routing", None)]);
    let reason = |name| planned(&router, name).reason;
    let (cheap, shuffled) = (reason("a"), reason("c"));
    assert!(cheap != shuffled && reason("b") == cheap && reason("cheap") == cheap && reason("a1") == cheap);
    let mut union = planned(&router, "cheap").all().to_vec();
    union.sort_unstable();
    assert_eq!(union, [0, 1, 2, 3]);
    let found = router.resolve("cheap", None, Team::Any).unwrap();
    assert_eq!((found.group.as_str(), router.names()[found.members.group].as_str()), ("cheap", "cheap"));
}

#[test]
fn priorities_order_the_names_of_a_group_and_leave_these_themselves_alone() {
    let orders = [("a", 2), ("b", 1), ("c", 2)];
    let router = six().grouped([grouping("best", &["a", "b", "c"], "cost-based-routing", Some(&orders))]);
    let plan = planned(&router, "best");
    let level = |number| {
        let mut level = plan.level(number).to_vec();
        level.sort_unstable();
        level
    };
    assert_eq!((plan.levels(), level(0), level(1)), (2, vec![2, 3], vec![0, 1, 4, 5]));
    assert_eq!(planned(&router, "a").levels(), 1);
    assert_ne!(planned(&router, "a").reason, plan.reason);
}

#[test]
fn a_groups_name_never_hides_a_model_or_an_alias() {
    let alias = Alias { group: "c".into(), hidden: false };
    let router = Router { aliases: HashMap::from([("nick".to_owned(), alias)]), ..six() };
    let taken = |name| grouping(name, &["b"], "cost-based-routing", None);
    let router = router.grouped([taken("a"), taken("nick")]);
    assert_eq!(**router.resolve("a", None, Team::Any).unwrap().members, [0, 1]);
    assert_eq!(**router.resolve("nick", None, Team::Any).unwrap().members, [4, 5]);
}
