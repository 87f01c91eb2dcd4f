//! The provider reference, written from the table.

use std::fmt::Write as _;

use crate::dialect::{Dialect, Operation};
use crate::provider::{Provider, ReasoningEffort, Tier, providers};
use crate::quirk::Quirk;

/// `docs/providers.md`: every provider with its address, credential, format, and what is served today.
pub fn providers_markdown() -> String {
    let mut out = String::from(HEAD);
    let served = providers().iter().filter(|row| row.serves(Operation::Chat)).count();
    let _ = writeln!(
        out,
        "{} providers are known; {served} of them serve chat in this version. A provider that is not served \
         yet is refused by `faregate check` and by requests, with its name.\n",
        providers().len()
    );
    for (tier, title) in
        [(Tier::A, "Tier A: complete"), (Tier::B, "Tier B: widely used"), (Tier::C, "Tier C: rare")]
    {
        table(
            &mut out,
            title,
            providers().iter().filter(|row| row.tier == tier && row.serves(Operation::Chat)),
        );
    }
    parameters(&mut out);
    not_served(&mut out);
    quirks(&mut out);
    out
}

const HEAD: &str = "# Providers

<!-- Generated from crates/catalog/data/providers.json: cargo run -p faregate-catalog --example providers_doc -->

Write a model as `<provider>/<model>`, e.g. `groq/llama-3.3-70b-versatile`. The key is taken from the \
deployment's `api_key`, else from the first variable that is set; the base URL likewise from `api_base`, the \
base variables, then the default. A base in braces is completed from the deployment's settings; \"required\" \
means that there is no default.

";

fn table<'a>(out: &mut String, title: &str, rows: impl Iterator<Item = &'a Provider>) {
    let _ = writeln!(out, "## {title}\n");
    out.push_str("| Prefix | Key variables | Base URL (variables) | Auth | Dialect | Served now | Not yet | Quirks |\n");
    out.push_str("|---|---|---|---|---|---|---|---|\n");
    for row in rows {
        let by = if row.completes_only() { Operation::Completion } else { Operation::Chat };
        let dialect = row.dialect(by).map(|dialect| dialect.to_string()).unwrap_or_default();
        let _ = writeln!(
            out,
            "| `{}/` | {} | {} | {} | {dialect} | {} | {} | {} |",
            row.name,
            codes(&row.key_env),
            base(row),
            row.auth.describe(),
            words(row, true),
            words(row, false),
            quirk_names(row),
        );
    }
    out.push('\n');
}

fn quirk_names(row: &Provider) -> String {
    let mut names: Vec<&str> = row.quirks.iter().map(Quirk::name).collect();
    names.dedup();
    names.join(", ")
}

fn codes(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn base(row: &Provider) -> String {
    let mut text = row.base_url.map_or_else(|| "required".to_owned(), |url| format!("`{url}`"));
    if !row.base_url_env.is_empty() {
        let _ = write!(text, " ({})", codes(&row.base_url_env));
    }
    text
}

fn words(row: &Provider, served: bool) -> String {
    row.operations
        .iter()
        .filter(|(operation, _)| row.serves(*operation) == served)
        .map(|(operation, _)| operation.word())
        .collect::<Vec<_>>()
        .join(", ")
}

fn parameters(out: &mut String) {
    out.push_str(
        "## Parameters\n\nParameters that a provider does not take are refused with 400 unless `drop_params` \
         is on. Providers not listed take all of OpenAI's.\n\n\
         | Provider | Reasoning effort | Renamed | Unsupported | Only if the catalogue says so | Also accepts |\n\
         |---|---|---|---|---|---|\n",
    );
    for row in providers().iter().filter(|row| row.serves(Operation::Chat)) {
        if row.rename.is_empty()
            && row.unsupported_params.is_empty()
            && row.conditional_params.is_empty()
            && row.also_accepts.is_empty()
            && row.reasoning_effort.is_none()
        {
            continue;
        }
        let effort = match row.reasoning_effort {
            Some(ReasoningEffort::Yes) => "yes",
            Some(ReasoningEffort::No) => "no",
            Some(ReasoningEffort::Catalog) => "by model",
            None => "",
        };
        let renamed =
            row.rename.iter().map(|(ours, theirs)| format!("{ours} → {theirs}")).collect::<Vec<_>>();
        let conditional = row.conditional_params.iter().map(|(param, _)| *param).collect::<Vec<_>>();
        let _ = writeln!(
            out,
            "| {} | {effort} | {} | {} | {} | {} |",
            row.name,
            renamed.join(", "),
            row.unsupported_params.join(", "),
            conditional.join(", "),
            row.also_accepts.join(", "),
        );
    }
    out.push('\n');
}

fn not_served(out: &mut String) {
    out.push_str(
        "## Not supported yet\n\nKnown by name (prices, configuration checks), but chat through them is not \
         possible in this version.\n\n| Provider | Tier | Format | Offers |\n|---|---|---|---|\n",
    );
    for row in providers().iter().filter(|row| !row.serves(Operation::Chat)) {
        let first =
            row.dialect(Operation::Chat).or_else(|| row.operations.first().map(|(_, dialect)| *dialect));
        let format = match first {
            Some(Dialect::NotSupported(name)) => name.to_owned(),
            Some(dialect) => dialect.to_string(),
            None => String::new(),
        };
        let offers = row.operations.iter().map(|(operation, _)| operation.word()).collect::<Vec<_>>();
        let _ = writeln!(out, "| {} | {:?} | {format} | {} |", row.name, row.tier, offers.join(", "));
    }
    out.push('\n');
}

fn quirks(out: &mut String) {
    out.push_str("## Quirks\n\n| Quirk | What it does |\n|---|---|\n");
    let mut seen: Vec<(&str, &str)> =
        providers().iter().flat_map(|row| &row.quirks).map(|quirk| (quirk.name(), quirk.doc())).collect();
    seen.sort_unstable();
    seen.dedup();
    for (name, doc) in seen {
        let _ = writeln!(out, "| {name} | {doc} |");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_what_the_table_says() {
        let committed = include_str!("../../../docs/providers.md");
        assert!(
            committed == providers_markdown(),
            "run: cargo run -p faregate-catalog --example providers_doc > docs/providers.md"
        );
    }

    #[test]
    fn every_provider_is_on_the_page_once() {
        let page = providers_markdown();
        let (served, rest) = page.split_once("## Parameters").expect("both halves");
        let (_, missing) = rest.split_once("## Not supported yet").expect("the third part");
        for row in providers() {
            let heads = served.matches(&format!("\n| `{}/` |", row.name)).count();
            let tails = missing.matches(&format!("\n| {} |", row.name)).count();
            assert_eq!(heads + tails, 1, "{}", row.name);
        }
    }
}
