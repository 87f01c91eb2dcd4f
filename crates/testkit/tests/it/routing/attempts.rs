//! The receipt keeps every call: where, when, how long, how it went.

use std::time::Duration;

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_terms::{AttemptNote, Ending, FaultClass};
use serde_json::json;

use super::{ask, chat, entry, start};

fn ended(attempt: &AttemptNote) -> Duration {
    attempt.start + attempt.duration
}

#[tokio::test]
async fn a_wait_before_a_retry_is_on_the_receipt_with_both_calls() {
    let provider = FakeProvider::start().await;
    let gateway = start([entry(&provider, "a", "up-1", json!({}))], json!({"num_retries": 1})).await;
    let mut receipts = gateway.receipts();
    provider.script(Matcher::any(), [Answer::status(503), Answer::directive("tokens=3 first_byte_ms=30")]);
    gateway.stream("/v1/chat/completions", &ask("a", json!({"stream": true}))).await;
    let receipt = receipts.next().await;
    let [first, second] = receipt.attempts.as_slice() else { panic!("{:?}", receipt.attempts) };
    assert_eq!((first.fault, first.ttft, first.wait), (Some(FaultClass::Unavailable), None, Duration::ZERO));
    // The first pause is half a second and up to 0.75 s at random.
    assert!(second.wait >= Duration::from_millis(500), "{second:?}");
    assert!(second.start >= ended(first) + second.wait, "{first:?} {second:?}");
    let ttft = second.ttft.unwrap();
    assert!(
        second.fault.is_none() && ttft >= Duration::from_millis(30) && ttft <= second.duration,
        "{second:?}"
    );
    assert_eq!(Some(second.start + ttft), receipt.ttft);
    assert!(receipt.upstream_time >= first.duration + second.duration, "the wait for the head counts");
    let line = second.to_string();
    assert!(
        line.starts_with("up-1 at ") && line.contains("waited") && line.contains("first output"),
        "{line}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_leaves_a_note_of_the_call() {
    let provider = FakeProvider::start().await;
    let gateway = start([entry(&provider, "a", "up-1", json!({}))], json!({})).await;
    let mut receipts = gateway.receipts();
    provider.always(Matcher::any(), Answer::directive("stall_after=0"));
    {
        let asking = chat(&gateway, "a", json!({}));
        tokio::select! {
            reply = asking => panic!("{}", reply.status),
            () = provider.received(1) => {}
        }
    }
    let receipt = receipts.next().await;
    assert_eq!(receipt.ending, Ending::ClientClosed);
    assert_eq!(receipt.attempts.len(), 1, "{receipt:?}");
    assert_eq!((receipt.attempts[0].deployment.as_str(), receipt.attempts[0].fault), ("up-1", None));
}
