//! The command line, as LiteLLM's command takes it, and our own subcommands.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// An LLM gateway: every client dialect in, every provider out. Drop-in for the LiteLLM proxy.
///
/// Without --config it serves a wildcard route for each provider whose key is in the environment
/// (OPENAI_API_KEY, ANTHROPIC_API_KEY, ...) and the model `demo`, which needs no account.
#[derive(Debug, Parser)]
#[command(name = "faregate", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
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
    #[arg(long, alias = "num-workers", value_name = "N")]
    pub num_workers: Option<u32>,
    /// Log at debug level
    #[arg(long)]
    pub debug: bool,
    /// Log at debug level, dependencies included
    #[arg(long, alias = "detailed-debug", id = "detailed_debug")]
    pub detailed_debug: bool,
    /// Where generated keys and state are kept [env: FAREGATE_DATA_DIR]
    #[arg(long, alias = "data_dir")]
    pub data_dir: Option<PathBuf>,
    /// Unknown keys of the config are errors
    #[arg(long, alias = "strict_config")]
    pub strict_config: bool,
    /// PEM file with the server's certificate chain [env: SSL_CERTFILE_PATH]
    #[arg(long, alias = "ssl-certfile-path", id = "ssl_certfile_path")]
    pub ssl_certfile_path: Option<PathBuf>,
    /// PEM file with the server's private key [env: SSL_KEYFILE_PATH]
    #[arg(long, alias = "ssl-keyfile-path", id = "ssl_keyfile_path")]
    pub ssl_keyfile_path: Option<PathBuf>,
}

/// Parses the command line and does what it says.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => crate::serve::run(cli.serve),
        Some(Command::Check { file, config, strict_config }) => {
            crate::check::run(config.as_deref().unwrap_or(&file), strict_config)
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
