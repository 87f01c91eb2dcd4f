//! The command line, as LiteLLM's command takes it, and our own subcommands.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::check::Format;

/// An LLM gateway: every client dialect in, every provider out. Drop-in for the LiteLLM proxy.
///
/// Without --config it serves a wildcard route for each provider whose key is in the environment
/// (OPENAI_API_KEY, ANTHROPIC_API_KEY, ...) and the model `demo`, which needs no account.
#[derive(Debug, Parser)]
#[command(name = "faregate", version, args_conflicts_with_subcommands = true, disable_version_flag = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
    /// Print the version
    #[arg(long, short = 'v', visible_short_alias = 'V', action = clap::ArgAction::Version)]
    version: (),
}

/// What else the binary does.
#[derive(Debug, Subcommand)]
enum Command {
    /// Validate a config and say for every key whether it is honoured
    Check {
        /// The file
        #[arg(default_value = "config.yaml")]
        file: PathBuf,
        /// The file, as the server's flag names it
        #[arg(long, short, conflicts_with = "file")]
        config: Option<PathBuf>,
        /// Unknown keys are errors
        #[arg(long)]
        strict_config: bool,
        /// How to print the report
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// List the models of a config, or the providers and how many models of each are known
    Models {
        /// The file
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Print a shell's completion script
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Ask a running gateway whether it is alive; for container health checks
    Health {
        /// Its address
        #[arg(long, default_value = "http://127.0.0.1:4000")]
        url: String,
    },
}

/// Flags of the server.
#[derive(Debug, Clone, Default, Args)]
pub struct Serve {
    /// Path of config.yaml [env: CONFIG_FILE_PATH]
    #[arg(long, short)]
    pub config: Option<PathBuf>,
    /// Address to listen on [default: 0.0.0.0 with --config, else 127.0.0.1] [env: HOST]
    #[arg(long)]
    pub host: Option<String>,
    /// Port to listen on; 0 takes a free one [default: 4000] [env: PORT]
    #[arg(long)]
    pub port: Option<u16>,
    /// Accepted for LiteLLM's sake: one process uses all cores [env: NUM_WORKERS]
    #[arg(long = "num_workers", alias = "num-workers", value_name = "N")]
    pub num_workers: Option<u32>,
    /// Log at debug level
    #[arg(long)]
    pub debug: bool,
    /// Log at debug level, dependencies included
    #[arg(long = "detailed_debug", alias = "detailed-debug")]
    pub detailed_debug: bool,
    /// Where generated keys and state are kept [env: FAREGATE_DATA_DIR]
    #[arg(long, alias = "data_dir")]
    pub data_dir: Option<PathBuf>,
    /// Unknown keys of the config are errors
    #[arg(long, alias = "strict_config")]
    pub strict_config: bool,
    /// PEM file with the server's certificate chain [env: SSL_CERTFILE_PATH]
    #[arg(long = "ssl_certfile_path", alias = "ssl-certfile-path", value_name = "FILE")]
    pub ssl_certfile_path: Option<PathBuf>,
    /// PEM file with the server's private key [env: SSL_KEYFILE_PATH]
    #[arg(long = "ssl_keyfile_path", alias = "ssl-keyfile-path", value_name = "FILE")]
    pub ssl_keyfile_path: Option<PathBuf>,
    #[command(flatten)]
    pub ignored: Ignored,
}

/// LiteLLM's flags about its Python servers and its database tool. Taken so that a command line moves
/// over as it is; each one given costs a warning.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Accepted without effect")]
pub struct Ignored {
    #[arg(long = "run_gunicorn", alias = "run-gunicorn", hide = true)]
    run_gunicorn: bool,
    #[arg(long = "run_hypercorn", alias = "run-hypercorn", hide = true)]
    run_hypercorn: bool,
    #[arg(long = "run_granian", alias = "run-granian", hide = true)]
    run_granian: bool,
    #[arg(long = "granian_threads", alias = "granian-threads", hide = true)]
    granian_threads: Option<u32>,
    #[arg(long = "keepalive_timeout", alias = "keepalive-timeout", hide = true)]
    keepalive_timeout: Option<u32>,
    #[arg(long = "max_requests_before_restart", alias = "max-requests-before-restart", hide = true)]
    max_requests_before_restart: Option<u32>,
    #[arg(
        long = "max_requests_before_restart_jitter",
        alias = "max-requests-before-restart-jitter",
        hide = true
    )]
    max_requests_before_restart_jitter: Option<u32>,
    #[arg(long = "use_prisma_db_push", alias = "use-prisma-db-push", hide = true)]
    use_prisma_db_push: bool,
    #[arg(long = "iam_token_db_auth", alias = "iam-token-db-auth", hide = true)]
    iam_token_db_auth: bool,
    #[arg(long, hide = true)]
    local: bool,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
    telemetry: Option<String>,
}

impl Ignored {
    /// The flags that were given, as LiteLLM spells them.
    pub fn given(&self) -> Vec<&'static str> {
        [
            (self.run_gunicorn, "--run_gunicorn"),
            (self.run_hypercorn, "--run_hypercorn"),
            (self.run_granian, "--run_granian"),
            (self.granian_threads.is_some(), "--granian_threads"),
            (self.keepalive_timeout.is_some(), "--keepalive_timeout"),
            (self.max_requests_before_restart.is_some(), "--max_requests_before_restart"),
            (self.max_requests_before_restart_jitter.is_some(), "--max_requests_before_restart_jitter"),
            (self.use_prisma_db_push, "--use_prisma_db_push"),
            (self.iam_token_db_auth, "--iam_token_db_auth"),
            (self.local, "--local"),
            (self.telemetry.is_some(), "--telemetry"),
        ]
        .into_iter()
        .filter_map(|(given, name)| given.then_some(name))
        .collect()
    }
}

/// Parses the command line and does what it says.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => crate::serve::run(cli.serve),
        Some(Command::Check { file, config, strict_config, format }) => {
            crate::check::run(config.as_deref().unwrap_or(&file), strict_config, format)
        }
        Some(Command::Models { config }) => crate::models::run(config.as_deref()),
        Some(Command::Health { url }) => crate::probe::run(&url),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "faregate", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        // The log may be off or not yet on; an operator must read this all the same.
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}
