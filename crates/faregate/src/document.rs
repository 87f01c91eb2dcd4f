//! The OpenAPI document of everything the binary serves.

use std::io::Write;
use std::process::ExitCode;

use faregate_admin::Other;
use faregate_gateway::routes::{Operation, ROUTES, SPANNING};

/// The data plane's routes, for the document.
pub fn model_calls() -> Vec<Other> {
    let open = |operation| {
        matches!(
            operation,
            Operation::Liveliness | Operation::Readiness | Operation::ModelHub | Operation::ModelHubInfo
        )
    };
    ROUTES
        .iter()
        .chain(SPANNING)
        .map(|row| Other { method: row.method, paths: row.paths, doc: row.doc, open: open(row.operation) })
        .collect()
}

/// Prints the document, for generators of clients.
///
/// # Errors
/// When nobody reads.
pub fn print() -> anyhow::Result<ExitCode> {
    let document = faregate_admin::document(&model_calls());
    writeln!(std::io::stdout(), "{document:#}")?;
    Ok(ExitCode::SUCCESS)
}
