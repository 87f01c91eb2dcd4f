//! What every implementation of a trait of this crate has to do, as functions that a test calls.

use std::time::Duration;

use bytes::Bytes;

use crate::cache::ResponseCache;
use crate::feed::{LOG_LENGTH, SharedLog};
use crate::lease::SharedClaims;
use crate::limits::Name;
use crate::limits::lease::{
    Answer, Exchange, History, Kind, MemoryCounters, SharedCounters, Statement, WindowId,
};
use crate::nearest::VectorIndex;

/// Checks a [`SharedCounters`]. Everything it makes has `unique` in its names; nobody else may use the store
/// under the same installation meanwhile, because replicas are counted.
///
/// # Panics
/// If the store breaks a promise; the message says which.
pub async fn shared_counters(store: &dyn SharedCounters, unique: &str) {
    grown_up(store, unique).await;
    leases_never_pass_the_limit(store, unique).await;
    slices_shrink_near_the_edge_and_slack_comes_back(store, unique).await;
    spend_beyond_a_lease_is_counted(store, unique).await;
    statements_may_be_repeated_or_late(store, unique).await;
    windows_move_forward_only(store, unique).await;
    rate_windows_belong_to_the_store(store, unique).await;
    who_leaves_is_remembered(store, unique).await;
    a_store_that_forgot_learns_again(store, unique).await;
    amounts_are_exact(store, unique).await;
    random_statements_are_decided_as_the_reference_does(store, unique).await;
}

fn statement(name: String, kind: Kind, limit: i128, seq: u64) -> Statement {
    Statement {
        name: Name::new(name),
        seq,
        kind,
        limit,
        length_ms: 60_000,
        window: WindowId::default(),
        spent: 0,
        held: 0,
        keep: 0,
        need: 0,
        greedy: false,
        leave: false,
        seed: 0,
        history: None,
    }
}

#[expect(clippy::expect_used, reason = "a store that fails here has failed the suite")]
async fn tell(store: &dyn SharedCounters, replica: &str, one: &Statement) -> (Answer, Exchange) {
    let exchange = store.exchange(replica, std::slice::from_ref(one)).await.expect("the store answers");
    let answer = *exchange.answers.first().expect("one answer per statement");
    (answer, exchange)
}

/// A store that begins gives no leases for a while, so that replicas of an earlier life can speak first.
async fn grown_up(store: &dyn SharedCounters, unique: &str) {
    let ask = |seq| Statement { need: 10, ..statement(format!("{unique}/young"), Kind::Budget, 10, seq) };
    for seq in 1..1_000 {
        let (answer, _) = tell(store, &format!("{unique}-a"), &ask(seq)).await;
        if !answer.young {
            assert_eq!(answer.allowance, 10);
            return;
        }
        assert_eq!(answer.allowance, 0, "young stores give no leases");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!("young", "old", "a store is young for no longer than YOUNG_MS");
}

async fn leases_never_pass_the_limit(store: &dyn SharedCounters, unique: &str) {
    for kind in [Kind::Budget, Kind::Rate, Kind::Parallel] {
        let name = format!("{unique}/sum/{kind:?}");
        let ask = |seq, need| Statement { need, ..statement(name.clone(), kind, 100, seq) };
        let (a, _) = tell(store, &format!("{unique}-a"), &ask(1, 70)).await;
        let (b, _) = tell(store, &format!("{unique}-b"), &ask(1, 70)).await;
        let (c, _) = tell(store, &format!("{unique}-c"), &ask(1, 1)).await;
        assert_eq!((a.allowance, b.allowance, c.allowance), (70, 30, 0), "{kind:?}");
        assert_eq!((b.others_slack, c.others_slack), (70, 100), "{kind:?}: what others have and do not use");
    }
}

async fn slices_shrink_near_the_edge_and_slack_comes_back(store: &dyn SharedCounters, unique: &str) {
    let name = format!("{unique}/slices");
    let (a, b) = (format!("{unique}-a"), format!("{unique}-b"));
    let greedy =
        |seq, keep| Statement { greedy: true, keep, ..statement(name.clone(), Kind::Budget, 1_000, seq) };
    let (first, exchange) = tell(store, &a, &greedy(1, 0)).await;
    let share = 1_000 / (2 * i128::from(exchange.replicas));
    assert_eq!(first.allowance, share, "a slice is an even half part");
    let (second, _) = tell(store, &b, &greedy(1, 0)).await;
    assert!(second.allowance < first.allowance && second.allowance > 0, "the next slice is smaller");

    let need = Statement { need: 1_000, ..greedy(2, second.allowance) };
    let (short, _) = tell(store, &b, &need).await;
    assert_eq!(short.allowance, 1_000 - share, "all that nobody has");
    assert_eq!(short.others_slack, share);
    let (_, heard) = tell(store, &a, &Statement { spent: 10, keep: share, ..greedy(2, 0) }).await;
    assert!(heard.wanted.contains(&Name::new(name.clone())), "others hear that somebody got too little");
    let (_, back) = tell(store, &a, &Statement { spent: 10, keep: 10, ..greedy(3, 0) }).await;
    let own = back.answers.first().map(|answer| answer.allowance);
    assert_eq!(own, Some(10), "no new slice while another one needs it");
    let (all, _) = tell(store, &b, &Statement { need: 1_000, ..greedy(3, short.allowance) }).await;
    assert_eq!((all.allowance, all.others_slack, all.others_spent), (990, 0, 10));
}

async fn spend_beyond_a_lease_is_counted(store: &dyn SharedCounters, unique: &str) {
    let name = format!("{unique}/debt");
    let base = |seq| statement(name.clone(), Kind::Budget, 100, seq);
    let debt = Statement { spent: 90, held: 30, ..base(1) };
    let (a, _) = tell(store, &format!("{unique}-a"), &debt).await;
    assert_eq!((a.allowance, a.own_spent), (120, 90));
    let (b, _) = tell(store, &format!("{unique}-b"), &Statement { need: 1, ..base(1) }).await;
    assert_eq!((b.allowance, b.others_spent, b.others_held, b.others_slack), (0, 90, 30, 0));
    let settled = Statement { spent: 95, held: 0, keep: 95, ..base(2) };
    tell(store, &format!("{unique}-a"), &settled).await;
    let (b, _) = tell(store, &format!("{unique}-b"), &Statement { need: 9, ..base(2) }).await;
    assert_eq!(b.allowance, 5);
}

async fn statements_may_be_repeated_or_late(store: &dyn SharedCounters, unique: &str) {
    let name = format!("{unique}/again");
    let (a, b) = (format!("{unique}-a"), format!("{unique}-b"));
    let base = |seq| statement(name.clone(), Kind::Budget, 100, seq);
    let first = Statement { spent: 10, held: 5, need: 20, ..base(1) };
    let (once, _) = tell(store, &a, &first).await;
    let (twice, _) = tell(store, &a, &first).await;
    assert_eq!((once.allowance, once), (35, twice), "repeating changes nothing");
    let (newer, _) = tell(store, &a, &Statement { spent: 30, keep: 35, ..base(3) }).await;
    let (late, _) = tell(store, &a, &Statement { spent: 20, keep: 0, need: 50, ..base(2) }).await;
    assert_eq!((newer.allowance, late.allowance, late.own_spent), (35, 35, 30), "late ones are ignored");
    let (others, _) = tell(store, &b, &base(1)).await;
    assert_eq!((others.others_spent, others.others_slack), (30, 5));
}

async fn windows_move_forward_only(store: &dyn SharedCounters, unique: &str) {
    let name = format!("{unique}/windows");
    let (a, b) = (format!("{unique}-a"), format!("{unique}-b"));
    let ends = |ends_ms: i64| WindowId { ends_ms: 4_000_000_000_000 + ends_ms, reset_ms: 0 };
    let base =
        |seq, window| Statement { window, seed: 40, ..statement(name.clone(), Kind::Budget, 100, seq) };
    let (first, _) = tell(store, &a, &Statement { need: 100, ..base(1, ends(1)) }).await;
    assert_eq!((first.base, first.allowance), (40, 60), "a new counter starts at the spend on record");
    tell(store, &a, &Statement { spent: 30, held: 20, keep: 60, ..base(2, ends(1)) }).await;
    let (next, _) = tell(store, &b, &Statement { need: 100, ..base(1, ends(2)) }).await;
    assert_eq!(
        (next.base, next.others_spent, next.others_held),
        (0, 0, 20),
        "spend starts again, holds stay"
    );
    assert_eq!(next.allowance, 80);
    let (behind, _) = tell(store, &a, &Statement { spent: 50, need: 100, ..base(3, ends(1)) }).await;
    assert_eq!(behind.window, ends(2), "who is behind learns the window");
    assert_eq!(
        (behind.own_spent, behind.allowance),
        (0, 20),
        "what was spent in the old one is gone with it"
    );
    let hand = WindowId { reset_ms: 7, ..ends(2) };
    let (reset, _) = tell(store, &b, &Statement { seed: 5, need: 1, ..base(2, hand) }).await;
    assert_eq!(
        (reset.window, reset.base, reset.others_spent),
        (hand, 5, 5),
        "a reset by hand opens a window too"
    );
}

async fn rate_windows_belong_to_the_store(store: &dyn SharedCounters, unique: &str) {
    let name = format!("{unique}/rate");
    let (a, b) = (format!("{unique}-a"), format!("{unique}-b"));
    let base = |seq| statement(name.clone(), Kind::Rate, 10, seq);
    let (first, _) = tell(store, &a, &Statement { need: 3, ..base(1) }).await;
    assert!(first.window.ends_ms > 0 && first.left_ms > 0 && first.left_ms <= 60_000);
    let dated = Statement { window: first.window, spent: 3, keep: 3, ..base(2) };
    tell(store, &a, &dated).await;
    let undated = Statement { spent: 2, ..base(3) };
    let (added, _) = tell(store, &a, &undated).await;
    assert_eq!((added.own_spent, added.window), (5, first.window), "what has no date is added to what has");
    let (other, _) = tell(store, &b, &Statement { need: 10, ..base(1) }).await;
    assert_eq!((other.allowance, other.others_spent, other.window), (5, 5, first.window));

    let brief = |seq| Statement { length_ms: 1, ..statement(format!("{unique}/brief"), Kind::Rate, 10, seq) };
    let (before, _) = tell(store, &a, &Statement { spent: 10, ..brief(1) }).await;
    let mut after = before;
    for seq in 2..1_000 {
        (after, _) = tell(store, &b, &Statement { need: 10, ..brief(seq) }).await;
        if after.window != before.window {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    if after.window != before.window {
        assert_eq!((after.others_spent, after.allowance), (0, 10), "a new window starts at nothing");
    }
}

async fn who_leaves_is_remembered(store: &dyn SharedCounters, unique: &str) {
    let name = format!("{unique}/leave");
    let (a, b) = (format!("{unique}-a"), format!("{unique}-b"));
    let base = |seq| statement(name.clone(), Kind::Budget, 100, seq);
    tell(store, &a, &Statement { spent: 25, need: 50, ..base(1) }).await;
    tell(store, &a, &Statement { spent: 30, keep: 30, leave: true, ..base(2) }).await;
    let (left, _) = tell(store, &b, &Statement { need: 100, ..base(1) }).await;
    assert_eq!((left.base, left.others_spent, left.allowance), (30, 30, 70));
    let (back, _) = tell(store, &a, &Statement { need: 1, ..base(3) }).await;
    assert_eq!((back.own_spent, back.others_spent), (0, 30), "who comes back starts anew");
}

async fn a_store_that_forgot_learns_again(store: &dyn SharedCounters, unique: &str) {
    let name = format!("{unique}/history");
    let (a, b, c) = (format!("{unique}-a"), format!("{unique}-b"), format!("{unique}-c"));
    let base = |seq| statement(name.clone(), Kind::Budget, 1_000, seq);
    // Before: base 100, a spent 40, b spent 60. A stranger starts the counter again from the record, which
    // has all of it; then a and b come back.
    tell(store, &c, &Statement { seed: 200, ..base(1) }).await;
    let history = Some(History { epoch: 1, base: 100, spent: 200 });
    let (one, _) = tell(store, &a, &Statement { spent: 40, history, ..base(9) }).await;
    assert_eq!((one.base, one.own_spent + one.others_spent), (100, 200), "nothing is forgotten meanwhile");
    let (two, _) = tell(store, &b, &Statement { spent: 60, history, ..base(9) }).await;
    assert_eq!(two.own_spent + two.others_spent, 200, "and nothing counted twice afterwards");
    let history = Some(History { epoch: two.epoch, base: 7, spent: 999 });
    let (same, _) = tell(store, &b, &Statement { spent: 61, history, ..base(10) }).await;
    assert_eq!(same.own_spent + same.others_spent, 201, "a history of this life says nothing new");
}

async fn amounts_are_exact(store: &dyn SharedCounters, unique: &str) {
    let million = 1_000_000_000_000_000_000_i128;
    let limit = 123 * million + 456_789_012_345;
    let base = |seq| statement(format!("{unique}/exact"), Kind::Budget, limit, seq);
    let spent = 100 * million + 999_999_999_999;
    tell(store, &format!("{unique}-a"), &Statement { spent, ..base(1) }).await;
    let (rest, _) = tell(store, &format!("{unique}-b"), &Statement { need: limit, ..base(1) }).await;
    assert_eq!(rest.allowance, limit - spent, "to the last pico-dollar");
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> i128 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i128::from((self.0 >> 33) % limit.max(1))
    }
}

async fn random_statements_are_decided_as_the_reference_does(store: &dyn SharedCounters, unique: &str) {
    let reference = MemoryCounters::new(1_000_000);
    for replica in ["a", "b", "c"] {
        // The reference counts the same replicas.
        for store in [store, &reference as &dyn SharedCounters] {
            let warm = statement(format!("{unique}/warm"), Kind::Parallel, 1, 1);
            tell(store, &format!("{unique}-{replica}"), &warm).await;
        }
    }
    let mut dice = Dice(42);
    for round in 0..6 {
        let kind = if round % 3 == 0 { Kind::Parallel } else { Kind::Budget };
        let scale = [1, 1_000, 1_000_000_000_000, 7_777_777_777_777, 1, 1][round % 6];
        let limit = (500 + dice.below(500)) * scale;
        let mut history: [Option<History>; 3] = [None; 3];
        for seq in 1..120u64 {
            let who = usize::try_from(dice.below(3)).unwrap_or(0);
            let replica = format!("{unique}-{}", ["a", "b", "c"][who]);
            let ends_ms = if kind == Kind::Budget {
                4_000_000_000_000 + i64::try_from(seq / 40).unwrap_or(0)
            } else {
                0
            };
            let late = dice.below(20) == 0 && dice.below(2) == 0;
            let one = Statement {
                seq: if late { 1 } else { seq },
                window: WindowId { ends_ms: ends_ms - i64::from(late && ends_ms > 0), reset_ms: 0 },
                spent: if kind == Kind::Budget { dice.below(200) * scale } else { 0 },
                held: dice.below(100) * scale,
                keep: dice.below(400) * scale,
                need: dice.below(120) * scale,
                greedy: dice.below(2) == 0,
                leave: dice.below(25) == 0,
                seed: dice.below(50) * scale,
                history: history[who],
                ..statement(format!("{unique}/random/{round}"), kind, limit, seq)
            };
            let (got, _) = tell(store, &replica, &one).await;
            let (expected, _) = tell(&reference, &replica, &one).await;
            assert_eq!(
                Answer { epoch: 0, ..got },
                Answer { epoch: 0, ..expected },
                "round {round}, {one:#?}"
            );
            // Epochs differ between stores, so a history is only told when it belongs to neither.
            let foreign = History { epoch: 1, base: dice.below(60) * scale, spent: dice.below(300) * scale };
            history[who] =
                (kind == Kind::Budget && dice.below(6) == 0 && expected.epoch != 1).then_some(foreign);
        }
    }
}

/// Checks a [`SharedLog`] that is empty.
///
/// # Panics
/// If the log breaks a promise; the message says which.
#[expect(clippy::expect_used, reason = "a log that fails here has failed the suite")]
pub async fn shared_log(log: &dyn SharedLog) {
    let texts =
        |from: u32, to: u32| -> Vec<String> { (from..to).map(|n| format!("entry {n}: a b")).collect() };
    let start = log.since(0).await.expect("an answer");
    assert!(start.entries.is_empty() && !start.gap);
    log.append(&texts(0, 3)).await.expect("an answer");
    let news = log.since(0).await.expect("an answer");
    assert_eq!((news.entries.clone(), news.gap), (texts(0, 3), false), "all that is kept, and no gap");
    log.append(&texts(3, 5)).await.expect("an answer");
    let more = log.since(news.version).await.expect("an answer");
    assert_eq!((more.entries, more.gap), (texts(3, 5), false), "what came since, in order");
    assert!(more.version > news.version);
    let none = log.since(more.version).await.expect("an answer");
    assert_eq!((none.version, none.entries.len(), none.gap), (more.version, 0, false));
    let kept = u32::try_from(LOG_LENGTH).unwrap_or(u32::MAX);
    log.append(&texts(5, 10 + kept)).await.expect("an answer");
    let far = log.since(more.version).await.expect("an answer");
    assert!(far.gap && far.entries.len() == LOG_LENGTH, "who is too far behind is told so");
    let foreign = log.since(far.version + 1_000).await.expect("an answer");
    assert!(foreign.gap, "a number from another life of the log is a gap too");
}

/// Checks [`SharedClaims`] under which nobody claims jobs that begin with `unique`.
///
/// # Panics
/// If a promise is broken; the message says which.
#[expect(clippy::expect_used, reason = "claims that fail here have failed the suite")]
pub async fn shared_claims(claims: &dyn SharedClaims, unique: &str) {
    let job = format!("{unique}-job");
    let long = Duration::from_secs(60);
    let claim = async |holder: &str, ttl| claims.claim(&job, holder, ttl).await.expect("an answer");
    assert!(claim("a", long).await);
    assert!(!claim("b", long).await, "one at a time");
    assert!(claim("a", long).await, "a claim can be renewed");
    claims.release(&job, "b").await.expect("an answer");
    assert!(!claim("b", long).await, "only the holder gives up");
    claims.release(&job, "a").await.expect("an answer");
    assert!(claim("b", Duration::from_millis(20)).await, "and then another one may have it");
    let mut waited = 0;
    while !claim("a", long).await {
        waited += 1;
        assert!(waited < 500, "a claim that is not renewed ends");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(claims.claim(&format!("{unique}-other"), "b", long).await.expect("an answer"), "jobs are apart");
    claims.release(&job, "a").await.expect("an answer");
}

/// Checks a [`ResponseCache`] that is empty.
///
/// # Panics
/// If the cache breaks a promise; the message says which.
#[expect(clippy::expect_used, reason = "a cache that fails here has failed the suite")]
pub async fn response_cache(cache: &dyn ResponseCache) {
    let minute = Duration::from_secs(60);
    let get = async |key: &str| cache.get(key).await.expect("an answer");
    let put = async |key: &str, value: &'static [u8], ttl| {
        cache.put(key, Bytes::from_static(value), ttl).await.expect("an answer");
    };
    cache.ping().await.expect("an answer");
    assert_eq!(get("a").await, None);
    put("a", b"one\0\xff", minute).await;
    assert_eq!(get("a").await.as_deref(), Some(&b"one\0\xff"[..]), "bytes come back as they were");
    assert_eq!(get("A").await, None);
    put("a", b"two", minute).await;
    assert_eq!(get("a").await.as_deref(), Some(&b"two"[..]), "the last one counts");
    put("zero", b"nothing", Duration::ZERO).await;
    assert_eq!(get("zero").await, None);
    put("brief", b"gone", Duration::from_millis(30)).await;
    let mut waited = 0;
    while get("brief").await.is_some() {
        waited += 1;
        assert!(waited < 500, "a value ends with its time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    put("b", b"three", minute).await;
    let names = ["a", "none"].map(str::to_owned);
    assert_eq!(cache.delete(&names).await.expect("an answer"), 1);
    assert_eq!((get("a").await, get("b").await.as_deref()), (None, Some(&b"three"[..])));
    cache.flush().await.expect("an answer");
    assert_eq!(get("b").await, None);
    put("b", b"four", minute).await;
    assert_eq!(get("b").await.as_deref(), Some(&b"four"[..]), "after a flush it goes on");
}

/// Checks a [`VectorIndex`] that is empty.
///
/// # Panics
/// If the index breaks a promise; the message says which.
#[expect(clippy::expect_used, reason = "an index that fails here has failed the suite")]
pub async fn vector_index(index: &dyn VectorIndex) {
    let minute = Duration::from_secs(60);
    let near = async |scope: &str, vector: &[f32]| {
        let found = index.nearest(scope, vector).await.expect("an answer");
        found.map(|near| (near.similarity, near.value))
    };
    let value = async |scope: &str, vector: &[f32]| near(scope, vector).await.map(|(_, value)| value);
    let add = async |scope: &str, vector: &[f32], value: &'static [u8], ttl| {
        index.add(scope, vector, Bytes::from_static(value), ttl).await.expect("an answer");
    };
    index.ping().await.expect("an answer");
    assert_eq!(near("a1", &[1.0, 0.0, 0.0]).await, None);
    add("a1", &[2.0, 0.0, 0.0], b"one\0\xff", minute).await;
    let (similarity, found) = near("a1", &[1.0, 0.0, 0.0]).await.expect("a value");
    assert_eq!(&found[..], b"one\0\xff", "bytes come back as they were");
    assert!((similarity - 1.0).abs() < 1e-4, "length does not count: {similarity}");
    for (asked, expected) in [([3.0, 4.0, 0.0], 0.6), ([0.0, 0.0, 3.0], 0.0), ([-1.0, 0.0, 0.0], -1.0)] {
        let (similarity, _) = near("a1", &asked).await.expect("the nearest, however far");
        assert!((similarity - expected).abs() < 1e-4, "{asked:?} is {similarity}, not {expected}");
    }
    add("a1", &[0.0, 1.0, 0.0], b"two", minute).await;
    assert_eq!(value("a1", &[0.9, 0.1, 0.0]).await.as_deref(), Some(&b"one\0\xff"[..]));
    assert_eq!(value("a1", &[0.1, 0.9, 0.0]).await.as_deref(), Some(&b"two"[..]));
    assert_eq!(value("A1", &[1.0, 0.0, 0.0]).await, None, "scopes never meet");
    assert_eq!(value("a", &[1.0, 0.0, 0.0]).await, None, "scopes never meet");
    add("a1", &[1.0, 0.0], b"short", minute).await;
    assert_eq!(value("a1", &[1.0, 0.0]).await.as_deref(), Some(&b"short"[..]), "lengths are apart");
    assert_eq!(value("a1", &[1.0, 0.0, 0.0]).await.as_deref(), Some(&b"one\0\xff"[..]));
    assert_eq!(value("a1", &[1.0]).await, None, "of another length");
    add("a1", &[0.0, 1.0, 0.0], b"three", minute).await;
    assert_eq!(value("a1", &[0.0, 1.0, 0.0]).await.as_deref(), Some(&b"three"[..]), "the last one counts");
    for nowhere in [&[][..], &[0.0, 0.0, 0.0], &[f32::NAN, 1.0, 0.0], &[f32::INFINITY, 0.0, 0.0]] {
        add("a1", nowhere, b"nowhere", minute).await;
        assert_eq!(value("a1", nowhere).await, None, "{nowhere:?} has no direction");
    }
    add("b2", &[1.0, 0.0, 0.0], b"never", Duration::ZERO).await;
    assert_eq!(value("b2", &[1.0, 0.0, 0.0]).await, None);
    add("b2", &[1.0, 1.0, 0.0], b"stays", minute).await;
    add("b2", &[1.0, 0.0, 0.0], b"gone", Duration::from_millis(30)).await;
    let mut waited = 0;
    while value("b2", &[1.0, 0.0, 0.0]).await.as_deref() != Some(&b"stays"[..]) {
        waited += 1;
        assert!(waited < 500, "a value ends with its time, and the next nearest counts");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    index.flush().await.expect("an answer");
    assert_eq!((value("a1", &[0.0, 1.0, 0.0]).await, value("a1", &[1.0, 0.0]).await), (None, None));
    add("a1", &[0.0, 1.0, 0.0], b"four", minute).await;
    assert_eq!(
        value("a1", &[0.0, 1.0, 0.0]).await.as_deref(),
        Some(&b"four"[..]),
        "after a flush it goes on"
    );
}
