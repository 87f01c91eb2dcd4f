//! A journal survives what processes and disks do.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use faregate_journal::{Admission, Journal, JournalError, Settings, hand};
use faregate_terms::{
    Account, AttemptNote, CallId, Discarded, Ending, FaultClass, LogFacts, Partial, PicoUsd, Receipt, Usage,
    UtcMillis, WallTimes,
};

fn receipt(call: &str) -> Receipt {
    Receipt {
        call_id: CallId::new(call),
        receipt_id: None,
        route: "/v1/chat/completions".into(),
        requested_model: "fast".into(),
        model_group: None,
        deployment: None,
        provider: None,
        upstream_model: None,
        upstream_id: None,
        status: 200,
        ending: Ending::Complete,
        usage: Usage { input: 1, output: 2, ..Usage::default() },
        cost: Some(PicoUsd::from_pico(7)),
        duration: Duration::from_millis(3),
        ttft: None,
        upstream_time: Duration::from_millis(2),
        attempts: Vec::new(),
        losses: Vec::new(),
        stream: false,
        account: Default::default(),
        wall: Default::default(),
        log: Default::default(),
    }
}

fn admission(call: &str) -> Admission {
    Admission { call_id: Some(CallId::new(call)), ..Admission::default() }
}

fn ids(receipts: &[Receipt]) -> Vec<&str> {
    receipts.iter().map(|receipt| receipt.call_id.as_str()).collect()
}

async fn settle(journal: &Journal, call: &str) {
    journal.admit(admission(call)).unwrap().settle(&receipt(call)).await;
}

/// Small files and little memory, so that every way is taken.
fn tight() -> Settings {
    Settings { segment_bytes: 2_000, most_unfiled: 5, ..Settings::default() }
}

#[tokio::test]
async fn receipts_come_in_order_and_once_also_when_the_reader_is_far_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, recovery) = Journal::open(folder.path(), tight()).unwrap();
    assert!(recovery.open.is_empty() && recovery.receipts == 0);
    let mut reader = journal.reader();
    let expected: Vec<String> = (0..200).map(|n| format!("c{n}")).collect();
    let mut seen = Vec::new();
    for (n, call) in expected.iter().enumerate() {
        settle(&journal, call).await;
        if n % 37 == 0 {
            seen.extend(reader.next_batch(3).unwrap());
        }
    }
    loop {
        let batch = reader.next_batch(7).unwrap();
        if batch.is_empty() {
            break;
        }
        seen.extend(batch);
    }
    assert_eq!(ids(&seen), expected);
    assert_eq!(journal.health().unacknowledged, 200);
    reader.acknowledge().unwrap();
    assert_eq!(journal.health().unacknowledged, 0);
    assert!(journal.health().bytes < 4_000, "settled files are gone: {:?}", journal.health());
}

#[tokio::test]
async fn what_was_not_acknowledged_is_read_again_after_a_restart_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (journal, _) = Journal::open(folder.path(), tight()).unwrap();
        for call in ["a", "b", "c", "d"] {
            settle(&journal, call).await;
        }
        let mut reader = journal.reader();
        assert_eq!(ids(&reader.next_batch(2).unwrap()), ["a", "b"]);
        reader.acknowledge().unwrap();
        assert_eq!(ids(&reader.next_batch(1).unwrap()), ["c"]);
        journal.close();
    }
    let (journal, recovery) = Journal::open(folder.path(), tight()).unwrap();
    assert_eq!(recovery.receipts, 2);
    settle(&journal, "e").await;
    let mut reader = journal.reader();
    let mut seen = reader.next_batch(10).unwrap();
    seen.extend(reader.next_batch(10).unwrap());
    assert_eq!(ids(&seen), ["c", "d", "e"]);
    journal.close();
}

#[tokio::test]
async fn a_call_under_way_is_found_after_a_crash_until_it_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (journal, _) = Journal::open(folder.path(), tight()).unwrap();
        let open = journal.admit(admission("open")).unwrap();
        let gone = journal.admit(admission("gone")).unwrap();
        drop(gone);
        // Files come and go meanwhile.
        let mut reader = journal.reader();
        for n in 0..50 {
            settle(&journal, &format!("c{n}")).await;
            reader.next_batch(10).unwrap();
            reader.acknowledge().unwrap();
        }
        std::mem::forget(open);
        journal.close();
    }
    let (journal, recovery) = Journal::open(folder.path(), tight()).unwrap();
    let open: Vec<_> = recovery.open.iter().map(|call| call.admission.call_id.clone().unwrap()).collect();
    assert_eq!(open, [CallId::new("open")]);
    journal.settle_open(&recovery.open[0], &receipt("open")).await;
    journal.close();
    drop(journal);
    let (journal, recovery) = Journal::open(folder.path(), tight()).unwrap();
    assert!(recovery.open.is_empty());
    assert_eq!(ids(&journal.reader().next_batch(9).unwrap()), ["open"]);
    journal.close();
}

/// A frame as versions wrote it whose payloads were JSON.
fn frame_of_json(kind: u8, slot: u64, payload: &str) -> Vec<u8> {
    let (slot, length) = (slot.to_le_bytes(), u32::try_from(payload.len()).unwrap().to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    for part in [&[kind][..], &slot, &length, payload.as_bytes()] {
        hasher.update(part);
    }
    let sum = hasher.finalize().to_le_bytes();
    [b"FGJ1", &[kind][..], &slot, &length, &sum, payload.as_bytes()].concat()
}

#[tokio::test]
async fn a_journal_that_an_earlier_version_wrote_as_json_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let settled = serde_json::to_string(&receipt("settled")).unwrap();
    let open = serde_json::to_string(&admission("open")).unwrap();
    let bytes = [frame_of_json(2, 0, &settled), frame_of_json(1, 1, &open)].concat();
    std::fs::write(folder.path().join(format!("{:016x}.journal", 1)), bytes).unwrap();
    let (journal, recovery) = Journal::open(folder.path(), tight()).unwrap();
    assert_eq!(recovery.open[0].admission, admission("open"));
    journal.settle_open(&recovery.open[0], &receipt("open")).await;
    let mut reader = journal.reader();
    let mut seen = reader.next_batch(10).unwrap();
    seen.extend(reader.next_batch(10).unwrap());
    assert_eq!(seen, [receipt("settled"), receipt("open")]);
    journal.close();
}

/// Every member has something in it, amounts and times of all sizes too.
#[tokio::test]
async fn a_receipt_is_read_as_it_was_written() {
    let amount = PicoUsd::parse("123456789012.000000000001").unwrap();
    let ended = UtcMillis::parse("2026-11-22T01:02:03.456Z").unwrap();
    let attempt = AttemptNote {
        deployment: "d".into(),
        start: Duration::from_micros(1),
        wait: Duration::from_secs(3),
        ttft: Some(Duration::from_nanos(9)),
        duration: Duration::from_secs(1 << 40),
        fault: Some(FaultClass::RateLimit),
        discarded: Some(Discarded { cost: Some(amount) }),
        continued: Some(Partial { input: u64::MAX, output: 0, estimated: true, cost: None }),
    };
    let full = Receipt {
        receipt_id: Some(CallId::new("r")),
        model_group: Some("g".into()),
        upstream_model: Some("é\n\"\u{1F600}".to_owned()),
        cost: Some(amount),
        attempts: vec![attempt],
        losses: vec!["a".to_owned()],
        account: Account { tags: vec!["t".to_owned()], team: Some("x".to_owned()), ..Account::default() },
        wall: WallTimes { started: UtcMillis::from_millis(-1), ended, first_token: Some(ended) },
        log: LogFacts { metadata: Some("{}".to_owned()), cache_hit: Some(false), ..LogFacts::default() },
        ..receipt("full")
    };
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), tight()).unwrap();
    journal.admit(admission("full")).unwrap().settle(&full).await;
    assert_eq!(journal.reader().next_batch(9).unwrap(), [full]);
    journal.close();
}

#[test]
fn two_processes_do_not_share_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), tight()).unwrap();
    assert!(matches!(Journal::open(folder.path(), tight()), Err(JournalError::InUse(_))));
    journal.close();
}

#[tokio::test]
async fn places_are_bounded_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { most_open: 2, ..tight() };
    let (journal, _) = Journal::open(folder.path(), settings).unwrap();
    let (one, _two) = (journal.admit(admission("1")).unwrap(), journal.admit(admission("2")).unwrap());
    assert!(journal.admit(admission("3")).is_err());
    one.settle(&receipt("1")).await;
    assert!(journal.admit(admission("3")).is_ok());
    journal.close();
}

#[tokio::test]
async fn a_receipt_that_cannot_be_read_is_set_aside_and_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (journal, _) = Journal::open(folder.path(), Settings::default()).unwrap();
        settle(&journal, "a").await;
        settle(&journal, "b").await;
        journal.close();
    }
    let file = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let file = file.filter(|path| path.extension().is_some_and(|end| end == "journal")).max().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(6).position(|window| window == b"status").unwrap();
    bytes[at + 1] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (journal, recovery) = Journal::open(folder.path(), Settings::default()).unwrap();
    assert!(recovery.lost_bytes > 0);
    assert_eq!(ids(&journal.reader().next_batch(9).unwrap()), ["b"]);
    journal.close();
}

/// Runs `work` on a thread that writes its receipts itself.
fn on_a_thread_that_writes<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().on_thread_park(hand::before_rest).build().unwrap();
            hand::lend();
            runtime.block_on(work)
        });
        worker.join().unwrap()
    })
}

#[test]
fn a_thread_that_lends_a_hand_puts_its_receipts_on_record_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), tight()).unwrap();
    let expected: Vec<String> = (0..300).map(|n| format!("c{n}")).collect();
    on_a_thread_that_writes(async {
        // More at once than it may leave waiting, then one after the other.
        let (many, few) = expected.split_at(200);
        let tickets: Vec<_> =
            many.iter().map(|call| journal.admit(admission(call)).unwrap().settle(&receipt(call))).collect();
        assert!(tickets[0].is_done(), "a thread that does not rest writes when there is much");
        for ticket in tickets {
            ticket.await;
        }
        for call in few {
            settle(&journal, call).await;
        }
    });
    let mut reader = journal.reader();
    assert_eq!(ids(&reader.next_batch(1_000).unwrap()), expected);
    assert_eq!(journal.health().lag, None);
    reader.acknowledge().unwrap();
    journal.close();
}

/// Runs this binary again as the process that is to die.
fn child(role: &str, folder: &Path, shell: &str) -> Command {
    let mut command = Command::new("bash");
    let binary = std::env::current_exe().unwrap();
    command
        .arg("-c")
        .arg(format!("{shell} exec \"$0\" --exact --ignored --nocapture the_process_that_dies"))
        .arg(binary)
        .env("JOURNAL_ROLE", role)
        .env("JOURNAL_FOLDER", folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

#[tokio::test]
#[ignore = "a process of its own: other tests run it and kill it"]
#[expect(clippy::disallowed_methods, reason = "how the other process is told what to do")]
async fn the_process_that_dies() {
    let (Ok(role), Ok(folder)) = (std::env::var("JOURNAL_ROLE"), std::env::var("JOURNAL_FOLDER")) else {
        return;
    };
    let roomy = Settings { segment_bytes: 2_000, ..Settings::default() };
    let settings = if role == "full" { roomy } else { tight() };
    let (journal, _) = Journal::open(Path::new(&folder), settings).unwrap();
    let mut out = std::io::stdout();
    match role.as_str() {
        "load" => load(&journal).await,
        "hand" => on_a_thread_that_writes(load(&journal)),
        _ => {
            for n in 0..500 {
                settle(&journal, &format!("c{n}")).await;
            }
            let degraded = journal.health().degraded;
            let mut reader = journal.reader();
            let mut seen = 0;
            loop {
                let batch = reader.next_batch(100).unwrap();
                if batch.is_empty() {
                    break;
                }
                seen += batch.len();
            }
            writeln!(out, "DONE {seen} {}", degraded.is_some()).unwrap();
        }
    }
}

/// Puts receipts on record without end, and says so of each.
async fn load(journal: &Journal) {
    let mut out = std::io::stdout();
    for n in 0.. {
        let calls: Vec<String> = (0..5).map(|k| format!("c{n}-{k}")).collect();
        let slots: Vec<_> = calls.iter().map(|call| journal.admit(admission(call)).unwrap()).collect();
        for (call, slot) in calls.iter().zip(slots) {
            slot.settle(&receipt(call)).await;
            writeln!(out, "DONE {call}").unwrap();
        }
        out.flush().unwrap();
    }
}

#[test]
fn whatever_was_on_record_when_the_process_was_killed_is_there_once() {
    for round in 0..20_u64 {
        let folder = tempfile::tempdir().unwrap();
        let role = if round % 2 == 0 { "load" } else { "hand" };
        let mut process = child(role, folder.path(), "").spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut done = BTreeSet::new();
        let wanted = 3 + (round * 37) % 211;
        for line in lines.map_while(Result::ok) {
            if let Some(call) = line.strip_prefix("DONE ") {
                done.insert(call.to_owned());
            }
            if done.len() as u64 == wanted {
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        let (journal, recovery) = Journal::open(folder.path(), Settings::default()).unwrap();
        let mut reader = journal.reader();
        let mut found: BTreeMap<String, u32> = BTreeMap::new();
        loop {
            let batch = reader.next_batch(50).unwrap();
            if batch.is_empty() {
                break;
            }
            for receipt in batch {
                *found.entry(receipt.call_id.to_string()).or_default() += 1;
            }
        }
        assert!(done.len() as u64 >= wanted);
        for call in &done {
            assert_eq!(found.get(call), Some(&1), "round {round}: {call}");
        }
        assert!(found.values().all(|times| *times == 1));
        for open in &recovery.open {
            let call = open.admission.call_id.as_ref().unwrap().to_string();
            assert!(!found.contains_key(&call), "{call} is settled and open");
        }
        journal.close();
    }
}

#[test]
fn a_full_disk_costs_no_request_and_no_receipt() {
    let folder = tempfile::tempdir().unwrap();
    // A file may not pass 1 KiB, which is less than a segment here.
    let output = child("full", folder.path(), "trap '' XFSZ; ulimit -f 1;").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("DONE 500 true"), "{text}");
}
