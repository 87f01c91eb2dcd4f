use std::collections::HashMap;
use std::time::Duration;

use faregate_terms::{Fault, FaultClass};
use proptest::prelude::*;

use super::*;

fn deployment(group: &str, id: &str) -> Deployment {
    Deployment { id: id.into(), group: group.into(), weight: None, rpm: None, tpm: None }
}

fn router(deployments: Vec<Deployment>) -> Router {
    let alias = Alias { group: "gpt".into(), hidden: false };
    let aliases = HashMap::from([("nick".to_owned(), alias)]);
    Router::new(deployments, aliases, Box::new(strategy::SimpleShuffle))
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
        let found = router.resolve(name, prefixed).unwrap();
        assert_eq!((found.group.as_str(), found.members), (group, members), "{name}");
    }
}

#[test]
fn a_name_without_prefix_is_tried_with_its_provider() {
    let router = router(vec![deployment("openai/*", "a")]);
    let found = router.resolve("gpt-4o", Some("openai/gpt-4o")).unwrap();
    assert_eq!(found.upstream_model("openai/*"), "openai/gpt-4o");
    assert_eq!(router.resolve("gpt-4o", None), Err(UnknownModel("gpt-4o".into())));
}

#[test]
fn the_wildcards_text_reaches_the_upstream_model() {
    let router = router(vec![deployment("openai/*", "a"), deployment("*", "b")]);
    let found = router.resolve("openai/gpt-4o", None).unwrap();
    assert_eq!(found.upstream_model("openai/*"), "openai/gpt-4o");
    assert_eq!(found.upstream_model("azure/my-*-v2"), "azure/my-gpt-4o-v2");
    assert_eq!(found.upstream_model("openai/fixed"), "openai/fixed");
    let found = router.resolve("groq/llama", None).unwrap();
    assert_eq!(found.upstream_model("*"), "groq/llama");
}

#[test]
fn shuffle_keeps_the_configured_shares() {
    let mut heavy = deployment("gpt", "a");
    heavy.weight = Some(9.0);
    let mut light = deployment("gpt", "b");
    light.weight = Some(1.0);
    let router = router(vec![heavy, light]);
    let found = router.resolve("gpt", None).unwrap();
    let mut dice = Seeded::new(7);
    let first = (0..10_000).filter(|_| router.plan(&found, 0, &mut dice).steps[0].deployment == 0).count();
    assert!((8_800..9_200).contains(&first), "{first} of 10000 for a share of 90 %");
}

#[test]
fn a_plan_tries_each_deployment_before_any_twice() {
    let router = router(vec![deployment("gpt", "a"), deployment("gpt", "b"), deployment("gpt", "c")]);
    let found = router.resolve("gpt", None).unwrap();
    let plan = router.plan(&found, 4, &mut Seeded::new(1));
    let mut first: Vec<usize> = plan.steps[..3].iter().map(|step| step.deployment).collect();
    first.sort_unstable();
    assert_eq!(first, [0, 1, 2]);
    assert_eq!(plan.steps.len(), 5);
    assert_eq!(plan.steps[3].deployment, plan.steps[0].deployment);
}

#[test]
fn errors_of_the_request_stop_and_errors_of_the_provider_are_retried() {
    let one = RetryRule { siblings: 1, retry_after: Duration::ZERO };
    let two = RetryRule { siblings: 2, retry_after: Duration::ZERO };
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
        let fault = Fault::new(class, "x");
        assert_eq!(one.judge(&fault, 0, 0.0) != Verdict::Stop, alone, "{class:?} alone");
        assert_eq!(two.judge(&fault, 0, 0.0) != Verdict::Stop, together, "{class:?} together");
    }
}

#[test]
fn the_only_deployment_is_given_time_to_recover() {
    let rule = RetryRule { siblings: 1, retry_after: Duration::ZERO };
    let mut fault = Fault::new(FaultClass::RateLimit, "x");
    assert_eq!(rule.judge(&fault, 0, 0.0), Verdict::Retry(Duration::from_millis(500)));
    assert_eq!(rule.judge(&fault, 2, 0.0), Verdict::Retry(Duration::from_secs(2)));
    assert_eq!(rule.judge(&fault, 9, 0.0), Verdict::Retry(Duration::from_secs(8)));
    fault.retry_after = Some(Duration::from_secs(3));
    assert_eq!(rule.judge(&fault, 0, 0.9), Verdict::Retry(Duration::from_secs(3)));
}

proptest! {
    /// Whatever the shares, every order is a permutation.
    #[test]
    fn a_shuffle_loses_nobody(weights in proptest::collection::vec(
        proptest::option::of(0.0f64..10.0), 1..8), seed: u64) {
        let deployments: Vec<Deployment> = weights.iter().enumerate().map(|(i, weight)| {
            Deployment { weight: *weight, ..deployment("g", &i.to_string()) }
        }).collect();
        let count = deployments.len();
        let router = router(deployments);
        let found = router.resolve("g", None).unwrap();
        let plan = router.plan(&found, count as u32 - 1, &mut Seeded::new(seed));
        let mut seen: Vec<usize> = plan.steps.iter().map(|step| step.deployment).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
    }
}
