//! Each class of fault, whole, before and after the first token of a stream: what the gateway does about it.
//!
//! The table goes to `docs/routing.md` (`UPDATE_DOCS=1 cargo test -p faregate-testkit faults`).

use faregate_fake_provider::{Answer, FakeProvider, Matcher};
use faregate_testkit::Gateway;
use serde_json::{Value, json};

use super::{called, entry, start};
use crate::page::block;

/// When a fault strikes.
#[derive(Clone, Copy, PartialEq)]
enum When {
    Whole,
    BeforeToken,
    AfterToken,
    /// The same where broken streams are continued.
    Continued,
}

const WHENS: [When; 4] = [When::Whole, When::BeforeToken, When::AfterToken, When::Continued];
const MIDWAY: &[When] = &[When::BeforeToken, When::AfterToken, When::Continued];

/// A fault: its name, what the provider does, and when that can happen.
struct Fault {
    name: &'static str,
    answer: &'static str,
    whens: &'static [When],
}

const fn status(name: &'static str, answer: &'static str) -> Fault {
    Fault { name, answer, whens: &[When::Whole, When::BeforeToken] }
}

const FAULTS: &[Fault] = &[
    status("400 bad request", "status=400"),
    status("400 prompt too long", "error=context"),
    status("400 content policy", "error=policy"),
    status("401 authentication", "status=401"),
    status("402 no money", "status=402"),
    status("403 not permitted", "status=403"),
    status("404 not found", "status=404"),
    status("408 timeout", "status=408"),
    status("422 not processable", "status=422"),
    status("429 rate limit", "status=429"),
    status("500 internal", "status=500"),
    status("502 bad gateway", "status=502"),
    status("503 unavailable", "status=503"),
    Fault { name: "no answer in time", answer: "stall_after=0", whens: &[When::Whole, When::BeforeToken] },
    Fault { name: "error event", answer: "tokens=8 error_after=", whens: MIDWAY },
    Fault { name: "connection cut", answer: "tokens=8 cut_after=", whens: MIDWAY },
    Fault { name: "garbage", answer: "tokens=8 garbage_after=", whens: MIDWAY },
    Fault { name: "silence", answer: "tokens=8 stall_after=", whens: &[When::AfterToken, When::Continued] },
];

impl Fault {
    fn directive(&self, when: When) -> String {
        match (self.answer.ends_with('='), when) {
            (true, When::AfterToken | When::Continued) => format!("{}4", self.answer),
            (true, _) => format!("{}0", self.answer),
            (false, _) => self.answer.to_owned(),
        }
    }
}

/// What a client saw.
#[derive(Clone, Copy, PartialEq)]
enum Seen {
    Answer,
    Error(u16),
    /// An answer that ended in an error event.
    Broken,
}

async fn ask(gateway: &Gateway, group: &str, when: When) -> Seen {
    let body = json!({
        "model": group, "stream": when != When::Whole, "timeout": 0.4,
        "mid_stream_fallback": when == When::Continued,
        "messages": [{"role": "user", "content": "hi"}],
    });
    let reply = gateway.post("/v1/chat/completions", &body).await;
    if reply.status != 200 {
        return Seen::Error(reply.status.as_u16());
    }
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let is_done = when == When::Whole || text.contains("[DONE]");
    if is_done && !text.contains("\"error\"") { Seen::Answer } else { Seen::Broken }
}

/// What the gateway does about one fault: another try on the only deployment, on a sibling, a rest, a fallback.
#[derive(Clone, Copy)]
struct Deeds {
    alone: usize,
    tries_sibling: bool,
    rests_alone: bool,
    rests: bool,
    falls_back: bool,
    seen: Seen,
}

async fn deeds(fault: &Fault, when: When) -> Deeds {
    let provider = FakeProvider::start().await;
    let directive = fault.directive(when);
    for model in ["up-single", "up-bad", "up-fall"] {
        provider.always(Matcher::model(model), Answer::directive(&directive));
    }
    let own = |group, model, more: Value| entry(&provider, group, model, more);
    let entries = [
        own("single", "up-single", json!({})),
        own("pair", "up-bad", json!({"weight": 1000})),
        own("pair", "up-good", json!({"weight": 0.0001})),
        own("fall", "up-fall", json!({})),
        own("other", "up-other", json!({})),
    ];
    let router = json!({"num_retries": 1, "cooldown_time": 60, "fallbacks": [{"fall": ["other"]}]});
    let gateway = start(entries, router).await;
    let count = |model: &str| called(&provider).iter().filter(|it| *it == model).count();
    let seen = ask(&gateway, "single", when).await;
    let alone = count("up-single");
    let resting = |id: &str| gateway.gate().health.cooldowns().rests(&id.into());
    let rests_alone = resting("up-single");
    ask(&gateway, "pair", when).await;
    let tries_sibling = count("up-good") == 1;
    let rests = resting("up-bad");
    let falls_back = ask(&gateway, "fall", when).await == Seen::Answer && count("up-other") == 1;
    Deeds { alone, tries_sibling, rests_alone, rests, falls_back, seen }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_answered_as_the_page_says() {
    let cases: Vec<(&Fault, When)> = FAULTS
        .iter()
        .flat_map(|fault| {
            WHENS.into_iter().filter(|when| fault.whens.contains(when)).map(move |when| (fault, when))
        })
        .collect();
    let deeds = futures_util::future::join_all(cases.iter().map(|(fault, when)| deeds(fault, *when))).await;
    let mut table = String::from(
        "| Fault | When | Only deployment | With a sibling | Rests | Falls back | Client, if nothing helps |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for ((fault, when), deeds) in cases.iter().zip(&deeds) {
        let is_continued = *when == When::Continued;
        let when = match when {
            When::Whole => "whole",
            When::BeforeToken => "stream, before a token",
            When::AfterToken => "stream, after a token",
            When::Continued => "the same, `mid_stream_fallback`",
        };
        let alone = if deeds.alone > 1 { "retried after a wait" } else { "–" };
        let sibling = match (deeds.tries_sibling, is_continued) {
            (true, true) => "goes on at once",
            (true, false) => "tried at once",
            (false, _) => "–",
        };
        let rests = match (deeds.rests_alone, deeds.rests) {
            (true, true) => "at once",
            (false, true) => "at once, if not the only one",
            (_, false) => "by share of failures",
        };
        let rests = if is_the_requests(fault.name) { "never" } else { rests };
        let falls = match (deeds.falls_back, is_continued) {
            (true, true) => "goes on there",
            (true, false) => "yes",
            (false, _) => "–",
        };
        let seen = match deeds.seen {
            Seen::Answer => "answer".to_owned(),
            Seen::Error(status) => status.to_string(),
            Seen::Broken => "error event, end".to_owned(),
        };
        table.push_str(&format!(
            "| {} | {when} | {alone} | {sibling} | {rests} | {falls} | {seen} |\n",
            fault.name
        ));
    }
    block("faults", &table);
}

/// Faults that say nothing of the deployment, however often they happen.
fn is_the_requests(name: &str) -> bool {
    ["400", "403", "422"].iter().any(|status| name.starts_with(status))
}
