use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use faregate_config::{AlertDestination, AlertSettings, Env};
use faregate_terms::PicoUsd;
use serde_json::{Value, json};

use super::budget::{Event, Group, Names, Standing};
use super::{Alert, deliver};
use crate::web::{Web, WebError, WebReply, WebRequest};

fn usd(text: &str) -> PicoUsd {
    PicoUsd::parse(text).unwrap()
}

fn standing(spend: &str, max: Option<&str>, soft: Option<&str>) -> Standing {
    Standing {
        group: Group::Team,
        id: "t".to_owned(),
        spend: usd(spend),
        max_budget: max.map(usd),
        soft_budget: soft.map(usd),
        names: Names { team_id: Some("t".to_owned()), ..Names::default() },
    }
}

#[test]
fn a_budget_is_told_of_at_85_95_and_100_percent_and_a_soft_one_when_it_is_reached() {
    for (spend, max, soft, events) in [
        ("84.999999999999", Some("100"), None, &[][..]),
        ("85", Some("100"), None, &[Event::Low]),
        ("95", Some("100"), None, &[Event::VeryLow]),
        ("100", Some("100"), Some("50"), &[Event::Soft, Event::Crossed]),
        ("49.999999999999", None, Some("50"), &[]),
        ("50", None, Some("50"), &[Event::Soft]),
        ("0", Some("0"), Some("0"), &[]),
    ] {
        assert_eq!(standing(spend, max, soft).events(), events, "{spend} of {max:?}, soft {soft:?}");
    }
}

#[test]
fn an_event_has_every_member_of_litellms() {
    let alert = standing("50", Some("100"), Some("50")).alert(Event::Soft);
    let event = alert.event.unwrap();
    assert_eq!((&event["event"], &event["event_group"]), (&json!("soft_budget_crossed"), &json!("team")));
    assert_eq!(
        (&event["spend"], &event["soft_budget"], &event["team_id"]),
        (&json!(50.0), &json!(50.0), &json!("t"))
    );
    for name in ["token", "customer_id", "user_email", "projected_spend", "alert_emails", "key_alias"] {
        assert!(event.get(name).is_some_and(Value::is_null), "{name}");
    }
    assert!(alert.message.contains("Soft Budget Crossed: ") && alert.message.contains("*team_id:* `t`"));
}

/// Answers with these, in order, and keeps what was sent.
fn web(answers: &[Result<u16, &str>]) -> (Web, Arc<Mutex<Vec<WebRequest>>>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let answers: VecDeque<_> =
        answers.iter().map(|it| it.map_err(|text| WebError(text.to_owned()))).collect();
    let (answers, kept) = (Arc::new(Mutex::new(answers)), Arc::clone(&sent));
    let web: Web = Arc::new(move |request| {
        kept.lock().unwrap().push(request);
        let answer = answers.lock().unwrap().pop_front().unwrap_or(Ok(200));
        Box::pin(async move { answer.map(|status| WebReply { status, body: Bytes::new() }) })
    });
    (web, sent)
}

fn settings(to: &[AlertDestination]) -> AlertSettings {
    AlertSettings { to: to.to_vec(), ..AlertSettings::default() }
}

fn env() -> Env {
    [("SLACK_WEBHOOK_URL", "https://slack/a, https://slack/b"), ("WEBHOOK_URL", "https://hook/c")]
        .into_iter()
        .collect()
}

#[tokio::test(start_paused = true)]
async fn each_destination_is_told_and_a_failure_is_tried_again() {
    let (web, sent) = web(&[Err("away"), Ok(503), Ok(200), Ok(200), Ok(200)]);
    let to = settings(&[AlertDestination::Slack, AlertDestination::Webhook]);
    let alert = standing("50", None, Some("50")).alert(Event::Soft);
    assert!(deliver(&alert, &to, &env(), &web, "12:00:00").await);
    let sent = sent.lock().unwrap();
    let urls: Vec<&str> = sent.iter().map(|request| request.url.as_str()).collect();
    assert_eq!(
        urls,
        ["https://slack/a", "https://slack/a", "https://slack/a", "https://slack/b", "https://hook/c"]
    );
    let slack: Value = serde_json::from_slice(&sent[0].body).unwrap();
    let text = slack["text"].as_str().unwrap();
    assert!(text.starts_with("Alert type: `budget_alerts`\nLevel: `High`\nTimestamp: `12:00:00`"), "{text}");
    let hook: Value = serde_json::from_slice(&sent[4].body).unwrap();
    assert_eq!(hook["event"], "soft_budget_crossed");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_or_fails_three_times_was_not_heard() {
    let alert = Alert { kind: "budget_alerts", message: String::new(), event: Some(json!({})) };
    for (answers, tries) in [(&[Ok(404)][..], 1), (&[Ok(500), Ok(429), Err("away")], 3)] {
        let (web, sent) = web(answers);
        assert!(!deliver(&alert, &settings(&[AlertDestination::Webhook]), &env(), &web, "").await);
        assert_eq!(sent.lock().unwrap().len(), tries);
    }
    let (web, _) = web(&[]);
    let unset = Env::empty();
    assert!(!deliver(&alert, &settings(&[AlertDestination::Slack]), &unset, &web, "").await);
}

#[tokio::test]
async fn types_that_nobody_asked_for_are_not_sent() {
    let (web, sent) = web(&[]);
    let quiet = Alert { kind: "team_deleted", message: String::new(), event: None };
    let mut to = settings(&[AlertDestination::Slack]);
    assert!(deliver(&quiet, &to, &env(), &web, "").await);
    assert!(sent.lock().unwrap().is_empty(), "off unless it is named");
    to.types = Some(vec!["team_deleted".to_owned()]);
    assert!(deliver(&quiet, &to, &env(), &web, "").await);
    assert_eq!(sent.lock().unwrap().len(), 2);
}
