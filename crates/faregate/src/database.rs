//! Finds the database, opens it, and keeps its schema up to date.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use faregate_config::{Env, Snapshot};
use faregate_store::{Settings, Store};
use faregate_terms::UtcMillis;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_util::sync::CancellationToken;

/// How long a database that is only just starting is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same where the gateway may go on without it.
const SHORT_PATIENCE: Duration = Duration::from_secs(3);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Where the database is: `general_settings.database_url`, else `DATABASE_URL`, else its parts in
/// `DATABASE_HOST` and so on, else a file in the data directory.
///
/// # Errors
/// If a URL is none, naming the setting and never the password.
pub fn settings(snapshot: &Snapshot, data_dir: &Path) -> anyhow::Result<Settings> {
    let (database, env) = (&snapshot.general.database, &snapshot.env);
    let from_env = || env.get("DATABASE_URL").filter(|url| !url.is_empty()).map(str::to_owned);
    let mut settings = if let Some(url) = &database.url {
        Settings::from_url("general_settings.database_url", url.expose())?
    } else if let Some(url) = from_env() {
        Settings::from_url("DATABASE_URL", &url)?
    } else if let Some(url) = assembled(env) {
        Settings::from_url("DATABASE_HOST", &url)?
    } else {
        Settings::sqlite(data_dir.join("faregate.db"))
    };
    if let Some(url) = env.get("DATABASE_URL_READ_REPLICA").filter(|url| !url.is_empty()) {
        settings = settings.with_replica("DATABASE_URL_READ_REPLICA", url)?;
    }
    for parameter in &settings.ignored {
        tracing::warn!("the database URL's parameter `{parameter}` means nothing here");
    }
    Ok(settings.with_pool(|pool| {
        if let Some(limit) = database.pool_limit.and_then(|limit| u32::try_from(limit).ok()) {
            pool.max_connections = limit.max(1);
        }
        if let Some(timeout) = database.pool_timeout {
            pool.acquire_timeout = timeout;
        }
        if let Some(prepared) = database.prepared {
            pool.prepared = prepared;
        }
    }))
}

/// A URL put together from its parts. Source: compat, env, `DATABASE_HOST`.
fn assembled(env: &Env) -> Option<String> {
    let get = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let quoted = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let host = get("DATABASE_HOST")?;
    let user = get("DATABASE_USERNAME").or_else(|| get("DATABASE_USER"))?;
    let name = get("DATABASE_NAME")?;
    let password = get("DATABASE_PASSWORD").map(|password| format!(":{}", quoted(password)));
    let port = get("DATABASE_PORT").map(|port| format!(":{port}")).unwrap_or_default();
    let mut url = format!(
        "postgresql://{}{}@{host}{port}/{}",
        quoted(user),
        password.unwrap_or_default(),
        quoted(name)
    );
    let parameters = [
        ("schema", get("DATABASE_SCHEMA")),
        ("sslmode", get("DATABASE_SSLMODE")),
        ("sslrootcert", get("DATABASE_SSLROOTCERT")),
    ];
    for (number, (key, value)) in
        parameters.into_iter().filter_map(|(key, value)| Some((key, value?))).enumerate()
    {
        url.push(if number == 0 { '?' } else { '&' });
        url.push_str(&format!("{key}={}", quoted(value)));
    }
    Some(url)
}

/// Connects, waiting for a database that is only just starting, and migrates. False comes with a database that is
/// away and may be: [`catch_up`] then does the rest.
///
/// # Errors
/// With the remedy, if the database stays away or its schema cannot be brought up to date.
pub async fn open(snapshot: &Snapshot, data_dir: &Path) -> anyhow::Result<(Store, bool)> {
    let settings = settings(snapshot, data_dir)?;
    let since = Instant::now();
    let goes_on = snapshot.general.database.go_on_without;
    let patience = if goes_on { SHORT_PATIENCE } else { PATIENCE };
    let store = loop {
        match Store::connect(&settings).await {
            Ok(store) => break store,
            Err(error) if error.is_unavailable() && since.elapsed() < patience => {
                tracing::warn!(%error, "the database does not answer; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) if error.is_unavailable() && goes_on => {
                tracing::error!(%error, "the database does not answer; serving without it until it does");
                return Ok((Store::connect_later(&settings).await?, false));
            }
            Err(error) => {
                return Err(error).context(
                    "the database cannot be used; check general_settings.database_url or DATABASE_URL, or \
                     remove both to keep keys and spend in a file of the data directory",
                );
            }
        }
    };
    migrate(snapshot, &store).await?;
    Ok((store, true))
}

/// Waits for a database that was away at the start, and migrates it. False if the end came before.
pub async fn catch_up(snapshot: &Snapshot, store: &Store, stop: &CancellationToken) -> bool {
    loop {
        let migrated = tokio::select! {
            migrated = migrate(snapshot, store) => migrated,
            () = stop.cancelled() => return false,
        };
        let Err(error) = migrated else { return true };
        tracing::warn!(error = %format!("{error:#}"), "the database cannot be used yet; trying again");
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => return false,
        }
    }
}

async fn migrate(snapshot: &Snapshot, store: &Store) -> anyhow::Result<()> {
    let env = snapshot.env.get("DISABLE_SCHEMA_UPDATE");
    let disabled =
        env.is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes"));
    if !disabled && !snapshot.general.database.keep_schema {
        store.migrate(now()).await.context("the database's schema cannot be brought up to date")?;
        return Ok(());
    }
    let pending = store.pending_migration().await?;
    if !pending.nothing_missing() {
        bail!(
            "the database's schema is out of date and updates at start are off; run `faregate migrate` first"
        );
    }
    Ok(())
}

/// The time on the wall.
pub fn now() -> UtcMillis {
    UtcMillis::from_millis(jiff::Timestamp::now().as_millisecond())
}
