//! What is done to the database by hand: migrate, back up, restore, look after, seal anew.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use faregate_config::{Env, Snapshot, Strictness};
use faregate_store::Store;
use faregate_store::seal::{Cipher, SaltKey};
use faregate_terms::Secret;

use crate::data_dir;
use crate::database::{self, now};

/// Which database.
#[derive(Debug, Args)]
pub struct Which {
    /// The configuration that names it; without one, DATABASE_URL or the data directory
    #[arg(long, short, env = "CONFIG_FILE_PATH")]
    config: Option<PathBuf>,
    /// Where the database file is, if there is no URL
    #[arg(long, env = "FAREGATE_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

/// What is done to it.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Write every row to a file that any engine can read back
    Backup {
        #[command(flatten)]
        which: Which,
        /// The file, which must not be there yet
        #[arg(long)]
        to: PathBuf,
    },
    /// Read a backup into a database that holds nothing yet
    Restore {
        #[command(flatten)]
        which: Which,
        /// The file
        #[arg(long)]
        from: PathBuf,
    },
    /// Check schema, totals and references; exit code 1 if something is wrong
    Doctor {
        #[command(flatten)]
        which: Which,
    },
}

/// Brings the schema up to date, or says what is missing.
///
/// # Errors
/// If the database cannot be used.
pub fn migrate(which: &Which, check: bool) -> anyhow::Result<ExitCode> {
    with_store(which, async |store| {
        let report = if check { store.pending_migration().await? } else { store.migrate(now()).await? };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
        Ok(if check && !report.nothing_missing() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

/// Does one of the tasks.
///
/// # Errors
/// If the database or the file cannot be used.
pub fn run(task: &Task) -> anyhow::Result<ExitCode> {
    match task {
        Task::Backup { which, to } => with_store(which, async |store| {
            let file = OpenOptions::new().write(true).create_new(true).open(to);
            let mut out = BufWriter::new(file.with_context(|| format!("cannot make {}", to.display()))?);
            let rows = store.backup(&mut out, now()).await?;
            out.into_inner().context("the backup cannot be written")?.sync_all()?;
            say(&format!("{rows} rows written to {}", to.display()))
        }),
        Task::Restore { which, from } => with_store(which, async |store| {
            let file = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
            store.migrate(now()).await?;
            let rows = store.restore(&mut BufReader::new(file)).await?;
            say(&format!("{rows} rows read from {}", from.display()))
        }),
        Task::Doctor { which } => with_store(which, async |store| {
            let diagnosis = store.diagnose().await?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "{}", serde_json::to_string_pretty(&diagnosis)?)?;
            Ok(if diagnosis.is_healthy() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }),
    }
}

/// Holds the key that secrets are sealed with.
const SALT_KEY: &str = "LITELLM_SALT_KEY";

/// Seals every stored secret with another salt key. The keys come from files or the environment, never from
/// the command line, which others can read.
///
/// # Errors
/// If a key is missing or the database cannot be used; nothing is changed then.
pub fn rotate_salt(which: &Which, old: Option<&Path>, new: Option<&Path>) -> anyhow::Result<ExitCode> {
    let (snapshot, env) = configured(which)?;
    let key = |file: Option<&Path>, name: &str| -> anyhow::Result<SaltKey> {
        let text = match file {
            Some(path) => {
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
            }
            None => match (env.filled(name), snapshot.master_key()) {
                (Some(text), _) => text.to_owned(),
                // What secrets are sealed with where nobody named a salt key.
                (None, Some(master)) if name == SALT_KEY => master.expose().to_owned(),
                (None, _) => bail!("{name} is not set"),
            },
        };
        let text = text.trim();
        if text.is_empty() {
            bail!("the salt key of {name} is empty");
        }
        Ok(SaltKey::of(&Secret::from(text)))
    };
    let (old, new) = (key(old, SALT_KEY)?, key(new, "LITELLM_NEW_SALT_KEY")?);
    let cipher =
        if snapshot.general.database.seal_with_gcm { Cipher::Aes256Gcm } else { Cipher::XSalsa20Poly1305 };
    with_store(which, async |store| {
        let count = store.rotate_salt(&old, &new, cipher, now()).await?;
        say(&format!("{count} values sealed anew; set LITELLM_SALT_KEY to the new key before the next start"))
    })
}

fn say(text: &str) -> anyhow::Result<ExitCode> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

fn configured(which: &Which) -> anyhow::Result<(Snapshot, Env)> {
    let (env, _) = Env::process().with_dotenv(Path::new("."));
    let snapshot = match &which.config {
        None => Snapshot { env: env.clone(), ..Snapshot::default() },
        Some(path) => {
            faregate_config::load(path, &env, Strictness::Lenient)
                .map_err(|refused| anyhow::anyhow!("{refused}"))?
                .snapshot
        }
    };
    let env = snapshot.env.clone();
    Ok((snapshot, env))
}

/// Opens the database for a task, and closes it.
///
/// # Errors
/// If it cannot be used, and the task's own.
pub fn with_store(
    which: &Which,
    task: impl AsyncFnOnce(&Store) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let (snapshot, env) = configured(which)?;
    let (environment, _) = faregate_config::ServeEnv::read(&env);
    let data_dir = data_dir::open(which.data_dir.as_deref(), environment.data_dir.as_deref())?;
    let settings = database::settings(&snapshot, &data_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Store::connect(&settings).await.context("the database cannot be reached")?;
        let outcome = task(&store).await;
        store.close().await;
        outcome
    })
}
