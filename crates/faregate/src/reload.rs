//! A changed configuration is checked first, then swapped in; a broken one changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use faregate_admin::{PriceList, REREAD, scheduled, stored};
use faregate_catalog::Catalog;
use faregate_config::{Env, Snapshot, Stored, Strictness, read_over};
use faregate_gateway::answers::Answers;
use faregate_gateway::gate::Gate;
use faregate_state::invalidate::{Change, Subject};
use faregate_terms::Secret;
use faregate_upstream::Upstream;

use crate::adapters::principal::Rules as LimitRules;
use crate::assemble;
use crate::changes::Changes;
use crate::check::{Checked, check, check_over};
use crate::database::now;
use crate::flags::Overrides;
use crate::jobs::Desk;
use crate::master_key::{self, Rules};
use crate::prices::{Fetched, Source, Waiting};
use crate::watch::Watch;

/// Editors write a file in several steps; what follows within this time belongs together.
const SETTLE: Duration = Duration::from_millis(200);

/// How often what others stored is looked for, when the file says nothing.
const POLL: Duration = Duration::from_secs(30);

/// Between two looks at the schedule of prices.
const SCHEDULE_CHECK: Duration = Duration::from_secs(60);
/// The same after it asked for them.
const PRICES_AGAIN: Duration = Duration::from_secs(10 * 60);

/// True for changes of stored models, credentials and settings.
fn concerns_configuration(change: &Change) -> bool {
    matches!(change, Change::Everything | Change::One(Subject::Model | Subject::Settings, _))
}

fn is_about_prices(change: &Change) -> bool {
    matches!(change, Change::One(Subject::Settings, id) if **id == *REREAD)
}

/// What a reload keeps.
pub struct Reloader {
    /// The file; none without a configuration.
    pub path: Option<PathBuf>,
    /// The environment the process began with.
    pub env: Env,
    /// How unknown keys count.
    pub strictness: Strictness,
    /// Flags that win over the file.
    pub overrides: Overrides,
    /// What serves.
    pub gate: Arc<Gate>,
    /// The configuration that serves.
    pub snapshot: Snapshot,
    /// Connections.
    pub upstream: Upstream,
    /// Where prices come from.
    pub prices: Source,
    /// Prices.
    pub catalog: Arc<Catalog>,
    /// The same for the control plane.
    pub list: Arc<PriceList>,
    /// Somebody waits for prices to be read again.
    pub again_asked: mpsc::Receiver<Waiting>,
    /// The admin key of the start; a file that names another changes it.
    pub master_key: Option<Secret>,
    /// The listener can be reached from this machine only.
    pub loopback: bool,
    /// What jobs work with.
    pub desk: Desk,
    /// What is served without a file, before the database adds to it.
    pub base: Snapshot,
    /// What the database adds.
    pub stored: Stored,
    /// Somebody has stored something and waits until it serves.
    pub asked: mpsc::Receiver<oneshot::Sender<()>>,
}

impl Reloader {
    /// Reloads on SIGHUP and when a source file changes, and takes up fetched prices, until `stop`. All of
    /// it counts from this call on and is acted upon by the future.
    ///
    /// # Errors
    /// If signals cannot be received.
    pub fn prepare(
        mut self,
        stop: CancellationToken,
    ) -> anyhow::Result<impl Future<Output = ()> + Send + use<>> {
        let mut hangup = signal(SignalKind::hangup())?;
        let (mut watch, mut changes) = Watch::start(self.snapshot.sources.iter().chain(self.prices.file()));
        let mut fetched = Fetched::start(&self.prices, &self.upstream, stop.clone());
        let mut news = self.desk.invalidations.subscribe();
        let mut schedule = tokio::time::interval(SCHEDULE_CHECK);
        schedule.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Prices are read at the start anyway.
        schedule.reset();
        let (bring, mut brought) = mpsc::channel::<(Arc<Catalog>, Waiting)>(16);
        Ok(async move {
            loop {
                let poll = self.snapshot.general.database.reload_every.unwrap_or(POLL);
                tokio::select! {
                    _ = hangup.recv() => {}
                    Some(told) = self.asked.recv() => {
                        self.take_stored().await;
                        // Who asked may have gone meanwhile.
                        let _ = told.send(());
                        continue;
                    }
                    _ = schedule.tick() => {
                        if self.are_prices_due().await {
                            // A place that fails is not asked every minute.
                            schedule.reset_after(PRICES_AGAIN);
                            self.read_prices_again(oneshot::channel().0, bring.clone());
                        }
                        continue;
                    }
                    Some(told) = self.again_asked.recv() => {
                        self.read_prices_again(told, bring.clone());
                        continue;
                    }
                    Some((catalog, told)) = brought.recv() => {
                        self.serve_prices(catalog);
                        let _ = told.send(Ok(()));
                        continue;
                    }
                    Some(change) = news.next() => {
                        if is_about_prices(&change) {
                            // What comes of it is in the log.
                            self.read_prices_again(oneshot::channel().0, bring.clone());
                            continue;
                        }
                        if concerns_configuration(&change) {
                            self.take_stored().await;
                        }
                        continue;
                    }
                    () = tokio::time::sleep(poll) => {
                        self.take_stored().await;
                        continue;
                    }
                    Some(()) = changes.recv() => {
                        tokio::time::sleep(SETTLE).await;
                        while changes.try_recv().is_ok() {}
                    }
                    catalog = fetched.next() => {
                        self.serve_prices(catalog);
                        continue;
                    }
                    () = stop.cancelled() => return,
                }
                fetched.refresh();
                self.reread_prices();
                let mut sources = self.reload();
                while watch.follow(sources.iter().chain(self.prices.file())) {
                    sources = self.reload();
                }
            }
        })
    }

    /// Takes up what the database adds, if it is not what serves already.
    pub async fn take_stored(&mut self) {
        if !self.snapshot.stores_models() {
            return;
        }
        let given = self.snapshot.master_key().or_else(|| self.master_key.clone());
        let salt = self.snapshot.salt(given.as_ref());
        match stored::read(&self.desk.store, salt.as_ref()).await {
            Ok(stored) if stored == self.stored => {}
            Ok(stored) => {
                self.stored = stored;
                self.reload();
            }
            Err(error) => {
                tracing::warn!(%error, "stored models and settings cannot be read; the old ones stay")
            }
        }
    }

    /// Reads prices beside everything else: a server may be slow. What is asked for is served when it is brought.
    fn read_prices_again(&self, told: Waiting, bring: mpsc::Sender<(Arc<Catalog>, Waiting)>) {
        let (source, upstream) = (self.prices.clone(), self.upstream.clone());
        tokio::spawn(async move {
            match source.again(&upstream).await {
                // Nobody takes it at the end.
                Ok(catalog) => drop(bring.send((Arc::new(catalog), told)).await),
                Err(error) => {
                    tracing::warn!(reason = %format!("{error:#}"), "the model list was not read again");
                    let _ = told.send(Err(format!("{error:#}")));
                }
            }
        });
    }

    /// True if an operator's schedule asks for prices now.
    async fn are_prices_due(&self) -> bool {
        if self.list.place.is_none() {
            return false;
        }
        // What cannot be asked now is asked in a minute.
        let hours = scheduled(&self.desk.store).await.ok().flatten();
        hours.is_some_and(|hours| self.list.is_due(hours, now()))
    }

    fn serve_prices(&mut self, catalog: Arc<Catalog>) {
        self.list.put(Arc::clone(&catalog), now());
        self.catalog = catalog;
        self.swap();
    }

    /// A price file may have changed as well.
    fn reread_prices(&mut self) {
        if self.prices.file().is_none() {
            return;
        }
        match self.prices.at_hand() {
            Ok(catalog) => {
                self.catalog = Arc::new(catalog);
                self.list.put(Arc::clone(&self.catalog), now());
            }
            Err(error) => tracing::error!("{error:#}; the old model list stays"),
        }
    }

    /// Reads the configuration again; answers the files that it is made of, taken up or not.
    fn reload(&mut self) -> Vec<PathBuf> {
        let Some(path) = self.path.clone() else {
            self.take(self.without_file());
            return Vec::new();
        };
        let checked = match self.check(&path) {
            Ok(checked) => checked,
            Err(error) => {
                tracing::error!(error = %format!("{error:#}"), "the new config cannot be used; the old one stays");
                return self.snapshot.sources.clone();
            }
        };
        for finding in &checked.findings {
            if finding.is_error() {
                tracing::error!("{finding}");
            } else {
                tracing::warn!("{finding}");
            }
        }
        let usable = checked.is_usable();
        let mut sources = checked.reading.sources;
        let Some(snapshot) = checked.reading.snapshot.filter(|_| usable) else {
            tracing::error!("the new config has errors; the old one stays");
            // A broken file may hide what the running configuration was read from.
            sources.extend(self.snapshot.sources.iter().cloned());
            return sources;
        };
        self.take(snapshot);
        sources
    }

    /// The file with what is stored over it. Stored settings that cannot be used do not keep a good file from
    /// being served.
    fn check(&self, path: &Path) -> anyhow::Result<Checked> {
        let alone = check(path, &self.env, self.strictness)?;
        let over = alone.is_usable()
            && alone.reading.snapshot.as_ref().is_some_and(Snapshot::stores_models)
            && !self.stored.is_empty();
        if !over {
            return Ok(alone);
        }
        let both = check_over(path, &self.stored, &self.env, self.strictness)?;
        if both.is_usable() {
            return Ok(both);
        }
        for finding in both.findings.iter().filter(|finding| finding.is_error()) {
            tracing::error!("{finding}");
        }
        tracing::error!("stored settings cannot be used and are left out; mend them with /config/update");
        let models = Stored { sections: serde_json::Map::new(), ..self.stored.clone() };
        check_over(path, &models, &self.env, self.strictness)
    }

    fn without_file(&self) -> Snapshot {
        let mut snapshot = self.base.clone();
        if self.stored.is_empty() {
            return snapshot;
        }
        let reading = read_over(None, &self.stored, &snapshot.env, self.strictness);
        for finding in &reading.findings {
            tracing::warn!("{finding}");
        }
        match reading.snapshot {
            Some(mut over) => {
                snapshot.deployments.append(&mut over.deployments);
                Snapshot { deployments: snapshot.deployments, ..over }
            }
            None => snapshot,
        }
    }

    fn take(&mut self, mut snapshot: Snapshot) {
        let given = snapshot.master_key().or_else(|| self.master_key.clone());
        if let Err(error) = master_key::permitted(given, Rules::of(&snapshot, self.loopback)) {
            tracing::error!("{error}; the old config stays");
            return;
        }
        self.overrides.apply(&mut snapshot);
        let changes = Changes::between(&self.snapshot, &snapshot);
        self.snapshot = snapshot;
        self.swap();
        let deployments = self.gate.table.load().deployments.len();
        tracing::info!(deployments, "config reloaded: {changes}");
    }

    /// Puts the configuration and the prices of now into service. Requests in flight keep what they have.
    fn swap(&self) {
        let given = self.snapshot.master_key().or_else(|| self.master_key.clone());
        let (mut table, _) =
            assemble::table(&self.snapshot, &self.upstream, &self.catalog, given, Some(&self.desk.store));
        table.answers = Answers::going_on(self.gate.table.load().answers.as_ref(), table.answers);
        self.gate.table.store(Arc::new(table));
        // What is remembered of keys was built by the rules of before.
        self.desk.rules.store(Arc::new(LimitRules::of(&self.snapshot)));
        self.desk.snapshot.store(Arc::new(self.snapshot.clone()));
        self.desk.principals.forget(&Change::Everything);
    }
}
