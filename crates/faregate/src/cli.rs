//! The command line, as LiteLLM's command takes it, and our own subcommands.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::check::Format;
use crate::flags::{Client, Serve};
use crate::maintenance::{self, Task, Which};
use crate::models::Models;
use crate::probe;
use crate::reconcile::{self, Reconcile};

/// An LLM gateway: every client dialect in, every provider out. Drop-in for the LiteLLM proxy.
///
/// Without --config it serves a wildcard route for each provider whose key is in the environment
/// (OPENAI_API_KEY, ANTHROPIC_API_KEY, ...) and the model `demo`, which needs no account. With --model it
/// serves that one model, whatever name a client asks for. LiteLLM's flags are taken with `_` and with `-`.
#[derive(Debug, Parser)]
#[command(name = "faregate", version, args_conflicts_with_subcommands = true, disable_version_flag = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
    #[command(flatten)]
    client: Client,
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
    /// List the models with provider, dialects, context window and prices
    Models(Models),
    /// Bring the database's schema up to date; exit code 0 when it is
    Migrate {
        #[command(flatten)]
        which: Which,
        /// Only say what is missing; exit code 1 if something is
        #[arg(long)]
        check: bool,
    },
    /// Back up, restore or check the database
    #[command(subcommand)]
    Db(Task),
    /// Seal stored secrets with another salt key, from LITELLM_SALT_KEY to LITELLM_NEW_SALT_KEY
    RotateSalt {
        #[command(flatten)]
        which: Which,
        /// A file with the key of now, instead of LITELLM_SALT_KEY
        #[arg(long)]
        old_key_file: Option<PathBuf>,
        /// A file with the new key, instead of LITELLM_NEW_SALT_KEY
        #[arg(long)]
        new_key_file: Option<PathBuf>,
    },
    /// Compare the ledger with a provider's usage export; exit code 1 when they differ
    Reconcile(Reconcile),
    /// Print the OpenAPI document of every route, as `/openapi.json` serves it
    Openapi,
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

/// Parses the command line and does what it says.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None if cli.client.is_given() => probe::of_flags(&cli.client, &cli.serve),
        None if cli.serve.validate_config => match cli.serve.config() {
            Some(file) => crate::check::run(&file, cli.serve.strict_config, Format::Text),
            None => Err(anyhow::anyhow!("--validate_config needs --config")),
        },
        None => crate::serve::run(cli.serve),
        Some(Command::Check { file, config, strict_config, format }) => {
            crate::check::run(config.as_deref().unwrap_or(&file), strict_config, format)
        }
        Some(Command::Models(asked)) => crate::models::run(&asked),
        Some(Command::Health { url }) => probe::run(&url),
        Some(Command::Migrate { which, check }) => maintenance::migrate(&which, check),
        Some(Command::Db(task)) => maintenance::run(&task),
        Some(Command::RotateSalt { which, old_key_file, new_key_file }) => {
            maintenance::rotate_salt(&which, old_key_file.as_deref(), new_key_file.as_deref())
        }
        Some(Command::Reconcile(asked)) => reconcile::run(&asked),
        Some(Command::Openapi) => crate::document::print(),
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
