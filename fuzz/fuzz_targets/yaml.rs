//! Configuration files: any text gives a snapshot or findings, never a panic, in bounded time and memory.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use faregate_config::{Env, Strictness, read};
use libfuzzer_sys::fuzz_target;

/// In memory where the system has such a place: the file is rewritten for each input.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let shared = PathBuf::from("/dev/shm");
    let folder = if shared.is_dir() { shared } else { std::env::temp_dir() };
    folder.join(format!("faregate-fuzz-{}.yaml", std::process::id()))
});

fuzz_target!(|text: &[u8]| {
    // Other files are the operator's own business, and not this target's.
    if text.windows(7).any(|window| window == b"include") {
        return;
    }
    std::fs::write(&*FILE, text).expect("a place for the file");
    let reading = read(&FILE, &Env::empty(), Strictness::default());
    assert!(reading.snapshot.is_some() || !reading.findings.is_empty(), "refused without a reason");
});
