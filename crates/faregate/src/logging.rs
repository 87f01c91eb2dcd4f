//! Where the log goes: standard error, as text or JSON. Never a body, never a credential.

use faregate_config::{LogLevel, ServeEnv, Snapshot};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::cli::Serve;

/// Starts the log. Flags win over the environment, which wins over the file.
pub fn start(flags: &Serve, environment: &ServeEnv, snapshot: &Snapshot) {
    let filter = if flags.detailed_debug {
        "debug".to_owned()
    } else if flags.debug || snapshot.litellm.set_verbose {
        "info,faregate=debug,faregate_gateway=debug,faregate_upstream=debug".to_owned()
    } else {
        match environment.log {
            Some(LogLevel::Debug) => "debug",
            None | Some(LogLevel::Info) => "info",
            // The address is said at info and must always be there.
            Some(LogLevel::Warning) => "warn,faregate::listen=info",
            Some(LogLevel::Error) => "error,faregate::listen=info",
        }
        .to_owned()
    };
    let builder = fmt().with_env_filter(EnvFilter::new(filter)).with_writer(std::io::stderr);
    let json = environment.json_logs.or(snapshot.litellm.json_logs).unwrap_or(false);
    // Only fails if a log was started before, as tests do.
    let _ = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(false).try_init()
    };
}
