//! Where the log goes: standard error, as text or JSON. Never a body, never a credential.
//!
//! Requests only format their line; a thread of its own writes. A reader of standard error that stops
//! reading thus costs lines (counted and said), not requests.

mod lines;
mod writer;

use faregate_config::{LogLevel, ServeEnv, Snapshot};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::flags::Serve;
use lines::{Form, Lines};
use writer::Writer;

/// Keeps the log going; what has been logged is written when it is dropped.
pub struct Log {
    _writer: Writer,
}

/// Starts the log. Flags win over the environment, which wins over the file.
///
/// # Errors
/// If no thread can be started.
pub fn start(flags: &Serve, environment: &ServeEnv, snapshot: &Snapshot) -> std::io::Result<Log> {
    let filter = if flags.detailed_debug || environment.detailed_debug {
        "debug".to_owned()
    } else if flags.debug || environment.debug || snapshot.litellm.set_verbose {
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
    let json = environment.json_logs.or(snapshot.litellm.json_logs).unwrap_or(false);
    let writer = Writer::start(std::io::stderr())?;
    let lines = Lines::new(if json { Form::Json } else { Form::Text }, writer.sink());
    // Only fails if a log was started before, as tests do.
    let _ = tracing_subscriber::registry().with(EnvFilter::new(filter)).with(lines).try_init();
    Ok(Log { _writer: writer })
}
