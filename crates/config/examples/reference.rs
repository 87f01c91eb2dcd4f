//! Prints docs/reference/config.md.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(faregate_config::reference_markdown().as_bytes())
}
