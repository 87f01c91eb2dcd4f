//! Writes the reference page of the configuration from the table of keys.

use std::fmt::Write as _;

use crate::registry::{self, Key};
use crate::serve_env;

const HEAD: &str = "\
# Configuration reference

Generated from the code: change `crates/config/data/keys.txt`, then run
`cargo run -q -p faregate-config --example reference > docs/reference/config.md`.

`faregate check --config config.yaml` says the same about your own file, with line numbers.

- **honoured**: does what is said here.
- **not honoured yet**: read and reported, without effect so far.
- **accepted without effect**: there is nothing for it to do here; the last column says why.

A key that is not listed is unknown: a warning, or an error with `--strict-config`. In `litellm_params`
unknown keys are sent to the provider, in `model_info` and beside `litellm_params` they are kept. A `*` in a
name stands for any text. Tiers: A is set in almost every deployment, B is common, C is rare. A type of
several, such as `text/int`, takes any of them.

## Rules

- The file is one YAML document, read as PyYAML reads it (`yes` and `on` are booleans, `010` is octal).
- `os.environ/NAME` as a whole value is replaced by that environment variable, at any depth, but not in texts
  that are items of a list themselves. An unset variable reads as nothing and makes a warning. `true` and
  `false` become booleans; any other value stays text and is read as a number where one is expected.
- `include` names files relative to the file it stands in, or folders whose `*.yaml` and `*.yml` files are read
  in order. Lists are appended, every other value is replaced whole; each file counts once.
- `environment_variables` are set for everything that is read later; a variable of the process wins only for
  `os.environ/NAME` references.
- `fallbacks` and its kin are a list of mappings or one mapping.
- A deployment without `model_info.id` gets the id LiteLLM would give it; equal ids are numbered `-2`, `-3`.

";

/// The whole page, as Markdown.
pub fn reference_markdown() -> String {
    let mut page = HEAD.to_owned();
    for table in registry::tables() {
        let _ = writeln!(page, "## {}\n", heading(table.title));
        page.push_str("| Key | Type | Default | Tier | Status | Meaning |\n|---|---|---|---|---|---|\n");
        for key in &table.keys {
            row(&mut page, key);
        }
        page.push('\n');
    }
    page.push_str("## Environment\n\n| Variable | Default | Meaning |\n|---|---|---|\n");
    for (name, default, doc) in serve_env::VARIABLES {
        let _ = writeln!(page, "| `{name}` | {} | {} |", cell(default), cell(doc));
    }
    page
}

fn heading(title: &str) -> String {
    if title.contains(' ') { title.to_owned() } else { format!("`{title}`") }
}

fn row(page: &mut String, key: &Key) {
    let _ = writeln!(
        page,
        "| `{}` | {} | {} | {} | {} | {} |",
        key.name,
        cell(key.kind),
        cell(key.default),
        key.tier,
        key.status.words(),
        cell(key.doc)
    );
}

fn cell(text: &str) -> String {
    match text {
        "-" => String::new(),
        _ => text.replace('<', "&lt;").replace('|', "\\|"),
    }
}
