use std::collections::HashMap;
use std::time::Duration;

use faregate_terms::{Fault, FaultClass};
use proptest::prelude::*;

use super::*;

mod grouping;
mod large;

fn deployment(group: &str, id: &str) -> Deployment {
    Deployment::new(group, id)
}

fn router(deployments: Vec<Deployment>) -> Router {
    let alias = Alias { group: "gpt".into(), hidden: false };
    let aliases = HashMap::from([("nick".to_owned(), alias)]);
    Router::new(deployments, aliases, Box::new(strategy::SimpleShuffle), Checks::default())
}

#[test]
fn names_resolve_exactly_then_by_alias_then_by_id_then_by_pattern() {
    let router = router(vec![
        deployment("gpt", "a"),
        deployment("gpt", "b"),
        deployment("openai/*", "c"),
        deployment("openai/gpt-*-mini", "d"),
        deployment("*", "e"),
    ]);
    for (name, prefixed, group, members) in [
        ("gpt", None, "gpt", vec![0, 1]),
        ("nick", None, "gpt", vec![0, 1]),
        ("b", None, "gpt", vec![1]),
        ("openai/o3", None, "openai/o3", vec![2]),
        ("openai/gpt-5-mini", None, "openai/gpt-5-mini", vec![3]),
        ("anything", None, "anything", vec![4]),
    ] {
        let found = router.resolve(name, prefixed, Team::Any).unwrap();
        assert_eq!((found.group.as_str(), &**found.members), (group, members.as_slice()), "{name}");
    }
}

#[test]
fn a_name_without_prefix_is_tried_with_its_provider() {
    let router = router(vec![deployment("openai/*", "a")]);
    let found = router.resolve("gpt-4o", Some("openai/gpt-4o"), Team::Any).unwrap();
    assert_eq!(found.upstream_model("openai/*"), "openai/gpt-4o");
    assert_eq!(router.resolve("gpt-4o", None, Team::Any), Err(UnknownModel("gpt-4o".into())));
}

#[test]
fn the_wildcards_text_reaches_the_upstream_model() {
    let router = router(vec![deployment("openai/*", "a"), deployment("*", "b")]);
    let found = router.resolve("openai/gpt-4o", None, Team::Any).unwrap();
    assert_eq!(found.upstream_model("openai/*"), "openai/gpt-4o");
    assert_eq!(found.upstream_model("azure/my-*-v2"), "azure/my-gpt-4o-v2");
    assert_eq!(found.upstream_model("openai/fixed"), "openai/fixed");
    let found = router.resolve("groq/llama", None, Team::Any).unwrap();
    assert_eq!(found.upstream_model("*"), "groq/llama");
}

fn first(router: &Router, name: &str, dice: &mut Seeded) -> usize {
    let found = router.resolve(name, None, Team::Any).unwrap();
    router.plan(&found, &Wish::default(), &Unknown, dice).unwrap().all()[0]
}

#[test]
fn a_teams_own_model_is_found_by_its_name_for_that_team_alone() {
    let mut own = deployment("internal", "a");
    own.team = Some("red".into());
    own.team_name = Some("gpt".into());
    let router = router(vec![own, deployment("gpt", "b")]);
    for (team, members) in [(Team::Of("red"), [0]), (Team::Of("blue"), [1]), (Team::None, [1])] {
        let found = router.resolve("gpt", None, team).unwrap();
        assert_eq!((found.group.as_str(), &**found.members), ("gpt", members.as_slice()), "{team:?}");
    }
    let found = router.resolve("internal", None, Team::None).unwrap();
    let wish = Wish { team: Team::None, ..Wish::default() };
    assert!(router.candidates(&found, &wish, &Unknown).unwrap_err().all(Excluded::Team));
}

#[test]
fn levels_of_order_come_one_after_the_other_and_those_without_last() {
    let members = [(Some(2), "a"), (None, "b"), (Some(1), "c"), (Some(1), "d")];
    let members = members.map(|(order, id)| Deployment { order, ..deployment("g", id) });
    let router = router(members.into());
    let found = router.resolve("g", None, Team::Any).unwrap();
    let plan = router.plan(&found, &Wish::default(), &Unknown, &mut Seeded::new(3)).unwrap();
    let mut first = plan.level(0).to_vec();
    first.sort_unstable();
    assert_eq!((plan.levels(), first, plan.level(1), plan.level(2)), (3, vec![2, 3], &[0][..], &[1][..]));
    assert!(plan.level(3).is_empty());
}

#[test]
fn tags_choose_deployments_and_strangers_get_the_default() {
    let members = [("free", "a"), ("paid", "b"), ("default", "c"), ("eu,paid", "d")];
    let members = members.map(|(tags, id)| {
        let tags = tags.split(',').map(str::to_owned).collect();
        Deployment { tags, ..deployment("g", id) }
    });
    for (rule, tags, expected) in [
        (TagRule::Any, "free", Some(vec![0])),
        (TagRule::Any, "paid", Some(vec![1, 3])),
        (TagRule::Any, "free,eu", Some(vec![0, 3])),
        (TagRule::All, "paid,eu", Some(vec![3])),
        (TagRule::All, "free,eu", None),
        (TagRule::Any, "stranger", Some(vec![2])),
        (TagRule::Any, "", Some(vec![2])),
        (TagRule::Any, "paid,!eu", Some(vec![1])),
        (TagRule::Any, "&eu", Some(vec![3])),
        (TagRule::Any, "free,&eu", None),
    ] {
        let checks = Checks { tags: Some(rule), pre_call: false };
        let shuffle = Box::new(strategy::SimpleShuffle);
        let router = Router::new(members.to_vec(), HashMap::new(), shuffle, checks);
        let found = router.resolve("g", None, Team::Any).unwrap();
        let tags: Vec<String> = tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        let wish = Wish { tags: &tags, ..Wish::default() };
        let fit = router.candidates(&found, &wish, &Unknown).ok().map(|fit| fit.to_vec());
        assert_eq!(fit, expected, "{rule:?} {tags:?}");
    }
}

#[test]
fn a_prompt_goes_only_where_it_fits_and_only_if_somebody_looks() {
    let members = [(Some(100), "a"), (Some(1000), "b"), (None, "c")];
    let members =
        members.map(|(max_input_tokens, id)| Deployment { max_input_tokens, ..deployment("g", id) });
    for (pre_call, tokens, expected) in [
        (true, 50, vec![0, 1, 2]),
        (true, 500, vec![1, 2]),
        (true, 5000, vec![2]),
        (false, 5000, vec![0, 1, 2]),
    ] {
        let checks = Checks { tags: None, pre_call };
        let shuffle = Box::new(strategy::SimpleShuffle);
        let router = Router::new(members.to_vec(), HashMap::new(), shuffle, checks);
        let found = router.resolve("g", None, Team::Any).unwrap();
        let wish = Wish { input_tokens: tokens, ..Wish::default() };
        assert_eq!(router.candidates(&found, &wish, &Unknown).unwrap().to_vec(), expected, "{tokens}");
    }
}

#[test]
fn a_region_is_kept_whatever_checks_are_on() {
    let members = [(Some("eu"), "a"), (Some("us"), "b"), (None, "c")];
    let members =
        members.map(|(region, id)| Deployment { region: region.map(str::to_owned), ..deployment("g", id) });
    let router = router(members.into());
    let found = router.resolve("g", None, Team::Any).unwrap();
    for (region, fit) in [(Some("eu"), Some(vec![0])), (None, Some(vec![0, 1, 2])), (Some("jp"), None)] {
        let wish = Wish { region, ..Wish::default() };
        let found = router.candidates(&found, &wish, &Unknown).ok().map(|fit| fit.to_vec());
        assert_eq!(found, fit, "{region:?}");
    }
}

/// Some rest.
struct Resting(Vec<usize>);

impl Facts for Resting {
    fn rests(&self, deployment: usize) -> bool {
        self.0.contains(&deployment)
    }

    fn is_on_trial(&self, _: usize) -> bool {
        false
    }

    fn is_full(&self, _: usize) -> bool {
        false
    }

    fn is_spent(&self, _: usize) -> bool {
        false
    }

    fn is_busy(&self, _: usize) -> bool {
        false
    }

    fn in_flight(&self, _: usize) -> u64 {
        0
    }

    fn tokens(&self, _: usize) -> u64 {
        0
    }

    fn latency(&self, _: usize, _: bool) -> Option<f64> {
        None
    }

    fn is_shaky(&self, _: usize) -> bool {
        false
    }

    fn is_pressed(&self) -> bool {
        false
    }
}

#[test]
fn a_walk_tries_each_before_any_twice_and_passes_over_those_that_rest_or_refuse() {
    let order = [5, 6, 7];
    let mut walk = Walk::new(&order);
    let steps: Vec<_> = (0..5).filter_map(|_| walk.step(&Unknown)).collect();
    assert_eq!(steps, [5, 6, 7, 5, 6]);

    let mut walk = Walk::new(&order);
    assert_eq!(walk.step(&Unknown), Some(5));
    assert_eq!(walk.step(&Resting(vec![5, 6])), Some(7));
    assert_eq!(walk.step(&Resting(vec![5, 6])), Some(7));
    assert_eq!(walk.step(&Resting(vec![5, 6, 7])), None);

    let mut walk = Walk::new(&order);
    walk.step(&Unknown);
    walk.refuses(5);
    walk.step(&Unknown);
    walk.refuses(6);
    assert_eq!((walk.step(&Unknown), walk.step(&Unknown)), (Some(7), Some(7)));
    walk.refuses(7);
    assert!(walk.step(&Unknown).is_some(), "the client gets the provider's own words");
}

fn judge(rule: RetryRule, class: FaultClass, retried: u32) -> Verdict {
    rule.judge(&Fault::new(class, "x"), Standing { retried, is_anybody_well: true }, 0.0)
}

#[test]
fn errors_of_the_request_stop_and_errors_of_the_provider_are_retried() {
    let one = RetryRule { siblings: 1, retries: 2, ..RetryRule::default() };
    let two = RetryRule { siblings: 2, ..one };
    for (class, alone, together) in [
        (FaultClass::BadRequest, false, false),
        (FaultClass::ContextWindow, false, false),
        (FaultClass::Authentication, false, true),
        (FaultClass::RateLimit, true, true),
        (FaultClass::Internal, true, true),
        (FaultClass::Connection, true, true),
        (FaultClass::Other(409), true, true),
        (FaultClass::Other(418), false, false),
    ] {
        assert_eq!(judge(one, class, 0) != Verdict::GiveUp, alone, "{class:?} alone");
        assert_eq!(judge(two, class, 0) != Verdict::GiveUp, together, "{class:?} together");
        assert_eq!(judge(two, class, 2), Verdict::GiveUp, "{class:?} at the end");
    }
}

#[test]
fn a_policy_decides_alone_for_the_classes_it_names() {
    let entries = [("BadRequestErrorRetries", 1), ("RateLimitErrorRetries", 0), ("NoneOfOurs", 9)];
    let policy = ByClass::read(entries, "Retries");
    let rule = RetryRule { siblings: 2, retries: 3, policy, ..RetryRule::default() };
    for (class, retried, goes_on) in [
        (FaultClass::BadRequest, 0, true),
        (FaultClass::BadRequest, 1, false),
        (FaultClass::RateLimit, 0, false),
        (FaultClass::Internal, 2, true),
        (FaultClass::Internal, 3, false),
    ] {
        assert_eq!(judge(rule, class, retried) != Verdict::GiveUp, goes_on, "{class:?} {retried}");
    }
}

#[test]
fn the_only_deployment_is_given_time_to_recover() {
    let rule = RetryRule { siblings: 1, retries: 20, ..RetryRule::default() };
    for (retried, millis) in [(0, 500), (2, 2000), (9, 8000)] {
        let wait = Verdict::Retry(Duration::from_millis(millis));
        assert_eq!(judge(rule, FaultClass::RateLimit, retried), wait, "{retried}");
    }
    let mut fault = Fault::new(FaultClass::RateLimit, "x");
    fault.retry_after = Some(Duration::from_secs(3));
    let standing = Standing { retried: 0, is_anybody_well: true };
    assert_eq!(rule.judge(&fault, standing, 0.9), Verdict::Retry(Duration::from_secs(3)));
    let nobody = Standing { retried: 0, is_anybody_well: false };
    assert_eq!(rule.judge(&fault, nobody, 0.9), Verdict::GiveUp);
}

const BY_SHARE: CooldownRule = CooldownRule {
    is_on: true,
    time: Duration::from_secs(5),
    allowed_fails: None,
    policy: ByClass {
        bad_request: None,
        content_policy: None,
        authentication: None,
        not_found: None,
        timeout: None,
        rate_limit: None,
        internal: None,
        bad_gateway: None,
        unavailable: None,
        default: None,
    },
};

#[test]
fn the_share_of_failures_decides_unless_the_class_does() {
    let tally = |answers, failures| Tally { answers, failures, ..Tally::default() };
    for (class, tally, alone, together) in [
        (FaultClass::RateLimit, tally(9, 1), false, true),
        (FaultClass::Internal, tally(9, 1), false, false),
        (FaultClass::Internal, tally(2, 2), false, false),
        (FaultClass::Internal, tally(2, 3), false, true),
        (FaultClass::Connection, tally(0, 5), false, true),
        (FaultClass::Internal, tally(0, 1000), true, true),
        (FaultClass::Timeout, tally(0, 4), false, false),
        (FaultClass::Authentication, tally(9, 1), true, true),
        (FaultClass::NotFound, tally(9, 1), true, true),
        (FaultClass::PaymentRequired, tally(9, 1), false, true),
        (FaultClass::BadRequest, tally(0, 1000), false, false),
        (FaultClass::Internal, Tally { in_a_row: 5, ..tally(900, 5) }, false, true),
        (FaultClass::Internal, Tally { was_trial: true, ..tally(0, 1) }, false, true),
    ] {
        let fault = Fault::new(class, "x");
        for (is_single, rests) in [(true, alone), (false, together)] {
            let own = OwnRule { is_single, ..OwnRule::default() };
            let rest = BY_SHARE.judge(&own, &fault, &tally);
            assert_eq!(rest.is_some(), rests, "{class:?} {tally:?} single {is_single}");
        }
    }
}

#[test]
fn a_number_of_forgiven_failures_replaces_the_share() {
    let counted = |recent| Tally { recent, recent_of_class: recent, ..Tally::default() };
    let policy = ByClass { timeout: Some(0), ..ByClass::default() };
    let rule = CooldownRule { allowed_fails: Some(2), policy, ..BY_SHARE };
    let own = OwnRule { is_single: true, ..OwnRule::default() };
    for (class, recent, rests) in [
        (FaultClass::Internal, 2, false),
        (FaultClass::Internal, 3, true),
        (FaultClass::RateLimit, 1, false),
        (FaultClass::Timeout, 1, true),
        (FaultClass::BadRequest, 9, false),
    ] {
        let rest = rule.judge(&own, &Fault::new(class, "x"), &counted(recent));
        assert_eq!(rest.is_some(), rests, "{class:?} {recent}");
    }
    let named = OwnRule { policy: ByClass { bad_request: Some(1), ..ByClass::default() }, ..own };
    let fault = Fault::new(FaultClass::BadRequest, "x");
    assert!(rule.judge(&named, &fault, &counted(2)).is_some(), "a deployment may name any class");
}

#[test]
fn the_deployments_time_comes_before_the_providers_and_that_before_the_routers() {
    let mut fault = Fault::new(FaultClass::NotFound, "x");
    let mut own = OwnRule::default();
    let rest = |own: &OwnRule, fault: &Fault| BY_SHARE.judge(own, fault, &Tally::default());
    assert_eq!(rest(&own, &fault), Some(Duration::from_secs(5)));
    fault.retry_after = Some(Duration::from_secs(40));
    assert_eq!(rest(&own, &fault), Some(Duration::from_secs(40)));
    own.time = Some(Duration::from_secs(7));
    assert_eq!(rest(&own, &fault), Some(Duration::from_secs(7)));
    own.time = Some(Duration::ZERO);
    assert_eq!(rest(&own, &fault), None, "0 switches it off");
    let off = CooldownRule { is_on: false, ..BY_SHARE };
    assert_eq!(off.judge(&OwnRule::default(), &fault, &Tally::default()), None);
    let catch_all = OwnRule { is_catch_all: true, ..OwnRule::default() };
    assert_eq!(rest(&catch_all, &fault), None);
}

#[test]
fn shuffle_keeps_the_configured_shares() {
    let heavy = Deployment { weight: Some(9.0), ..deployment("gpt", "a") };
    let light = Deployment { weight: Some(1.0), ..deployment("gpt", "b") };
    let router = router(vec![heavy, light]);
    let mut dice = Seeded::new(7);
    let count = (0..10_000).filter(|_| first(&router, "gpt", &mut dice) == 0).count();
    assert!((8_800..9_200).contains(&count), "{count} of 10000 for a share of 90 %");
}

proptest! {
    /// Whatever the strategy and the shares, every order is a permutation.
    #[test]
    fn a_strategy_loses_nobody(weights in proptest::collection::vec(
        proptest::option::of(0.0f64..10.0), 1..8), which in 0..strategy::STRATEGIES.len(), seed: u64) {
        let deployments: Vec<Deployment> = weights.iter().enumerate().map(|(i, weight)| {
            Deployment { weight: *weight, ..deployment("g", &i.to_string()) }
        }).collect();
        let count = deployments.len();
        let strategy = (strategy::STRATEGIES[which].make)(&strategy::Args::default());
        let router = Router::new(deployments, HashMap::new(), strategy, Checks::default());
        let found = router.resolve("g", None, Team::Any).unwrap();
        let plan = router.plan(&found, &Wish::default(), &Unknown, &mut Seeded::new(seed)).unwrap();
        let mut seen = plan.all().to_vec();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
    }
}
