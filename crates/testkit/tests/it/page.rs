//! The parts of `docs/routing.md` that tests write.

use std::path::Path;
use std::sync::Mutex;

/// Two tests must not write the page at the same time.
static PAGE: Mutex<()> = Mutex::new(());

/// Compares a generated block of `docs/routing.md` with `content`, or writes it if `UPDATE_DOCS` is set.
pub fn block(name: &str, content: &str) {
    let _page = PAGE.lock().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/routing.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let from = text.find(&begin).unwrap() + begin.len();
    let to = text.find(&end).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let written = format!("{}{content}{}", &text[..from], &text[to..]);
        std::fs::write(&path, written).unwrap();
        return;
    }
    assert_eq!(
        &text[from..to],
        content,
        "docs/routing.md: UPDATE_DOCS=1 cargo test -p faregate-testkit {name}"
    );
}
