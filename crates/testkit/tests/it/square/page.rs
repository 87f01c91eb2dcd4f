//! `docs/fidelity.md`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use super::expected::{RULES, rule};
use super::feature::Feature;
use super::talk::Client;
use super::{PROVIDERS, Square};

const INTRO: &str = "\
# Fidelity: what each pair of dialects carries

Any client dialect can call any provider. This page says what arrives, and it is the result of a test: each cell is a
conversation through the gateway with a stand-in provider that checks requests as strictly as the real one and answers in
its true wire format, once whole and once streamed. The test looks at both ends: what the provider received and what
the client can read. It fails when a cell changes, and when this page is not its result
(`UPDATE_DOCS=1 cargo test -p faregate-testkit square` writes it).

- **●** carried, whole and streamed
- **◐** the conversation works and something is lost or reported differently; the number is the footnote that says what
- **○** refused, with the footnote that says why
- **–** not served yet

The gateway runs with `drop_params: true`. Where the two sides speak the same dialect, the body passes unchanged.
Reasoning and images are asked of a model that has them. What an answer's request could not carry is also in its
`x-faregate-losses` header.

";

pub fn render(square: &Square) -> String {
    let mut page =
        String::from("<!-- Generated: UPDATE_DOCS=1 cargo test -p faregate-testkit square -->\n\n");
    page.push_str(INTRO);
    for feature in Feature::ALL {
        // Writing to a string cannot fail; the same holds below.
        writeln!(page, "## {}\n\n| client | {} |", feature.name(), PROVIDERS.join(" | ")).unwrap();
        writeln!(page, "|---|{}", ":-:|".repeat(PROVIDERS.len())).unwrap();
        for client in Client::ALL {
            let cells = PROVIDERS.map(|provider| symbol(square, client, provider, feature));
            writeln!(page, "| {} | {} |", client.name(), cells.join(" | ")).unwrap();
        }
        page.push('\n');
    }
    page.push_str("## Footnotes\n\n");
    for (index, one) in RULES.iter().enumerate() {
        let only = match one.stream {
            None => "",
            Some(true) => " (streamed only)",
            Some(false) => " (whole answers only)",
        };
        writeln!(page, "{}. *{}*{only}: {}.", index + 1, one.missing, one.why).unwrap();
    }
    page.push_str(LOSSES);
    for client in Client::ALL {
        writeln!(page, "### From {}\n\n| provider | losses reported |\n|---|---|", client.name()).unwrap();
        for provider in PROVIDERS {
            let losses = square.losses.get(&(client, provider));
            let names: Vec<String> = losses.into_iter().flatten().map(|name| format!("`{name}`")).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            writeln!(page, "| {provider} | {names} |").unwrap();
        }
        page.push('\n');
    }
    format!("{}\n", page.trim_end())
}

const LOSSES: &str = "
## Losses per pair

What the gateway itself reported as not expressible over all conversations above, in the words of the
`x-faregate-losses` header and of the receipt.

";

fn symbol(square: &Square, client: Client, provider: &'static str, feature: Feature) -> String {
    let place = |stream| (client, provider, feature, stream);
    if !square.cells.contains_key(&place(false)) {
        return "–".to_owned();
    }
    let rules: BTreeSet<usize> =
        [false, true].iter().filter_map(|&s| rule(place(s))).map(|(number, _)| number).collect();
    if rules.is_empty() {
        return "●".to_owned();
    }
    let refused = rules.iter().any(|number| RULES[number - 1].missing.contains("refused"));
    let numbers: Vec<String> = rules.iter().map(usize::to_string).collect();
    format!("{}<sup>{}</sup>", if refused { "○" } else { "◐" }, numbers.join(","))
}

/// Compares with the committed page, or writes it if `UPDATE_DOCS` is set.
pub fn check(page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fidelity.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/fidelity.md is not the result: UPDATE_DOCS=1 cargo test -p faregate-testkit square"
    );
}
