//! Prints `docs/providers.md`.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(faregate_catalog::providers_markdown().as_bytes())
}
