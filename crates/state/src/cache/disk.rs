//! A cache in a folder, bounded in bytes.
//!
//! One file per value, written beside its place and moved there, so that a reader never sees half of one. What
//! is on disk counts; the index in memory only decides what goes when there is too much. Files are touched on
//! threads for blocking work, few at a time, and nobody waits for them longer than the deadline.

use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use moka::notification::RemovalCause;
use moka::sync::Cache;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

use super::frame::{self, HEAD, MARK, ends_at};
use super::memory::{Lasting, OwnTime};
use super::{Answer, CacheError, ResponseCache, name_of};
use crate::clock::Clock;

/// What a file takes is a multiple of this.
const BLOCK: u64 = 4096;
/// Files touched at once.
const MOST_AT_ONCE: usize = 4;
/// Half-written files older than this belong to nobody.
const ABANDONED: Duration = Duration::from_secs(3600);
/// Where the values are, below the folder.
const VALUES: &str = "values";
/// How names of what is about to go, or not there yet, begin.
const PASSING: &str = "passing-";
/// What a flush may take.
const FLUSH: Duration = Duration::from_secs(10);

/// Keeps values in a folder, which outlive the process and may be shared with others on the same machine.
#[derive(Debug)]
pub struct DiskCache {
    inner: Arc<Inner>,
    doors: Arc<Semaphore>,
    deadline: Duration,
    scanned: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    /// File name → blocks; tells what to drop when there is too much.
    index: Cache<Arc<str>, Blocks>,
    most: u64,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone)]
struct Blocks {
    count: u32,
    ttl: Duration,
}

impl Lasting for Blocks {
    fn ttl(&self) -> Duration {
        self.ttl
    }
}

impl DiskCache {
    /// A cache of at most about `bytes` below `folder`, which is made when the first value comes. Calls that
    /// take longer than `deadline` are misses.
    pub fn new(folder: PathBuf, bytes: u64, deadline: Duration, clock: Arc<dyn Clock>) -> Self {
        let (values, time) = (folder.join(VALUES), Arc::clone(&clock));
        let index = Cache::builder()
            .max_capacity(bytes / BLOCK)
            .weigher(|_, blocks: &Blocks| blocks.count)
            .expire_after(OwnTime)
            .eviction_listener(move |name: Arc<Arc<str>>, _, cause| {
                let path = place(&values, &name);
                let goes = match cause {
                    RemovalCause::Size => true,
                    // By now the file may hold a later value.
                    RemovalCause::Expired => !lives(&path, time.wall_ms()),
                    RemovalCause::Explicit | RemovalCause::Replaced => false,
                };
                if goes {
                    // Another process may have been faster.
                    let _ = fs::remove_file(path);
                }
            })
            .build();
        let inner = Arc::new(Inner { folder, index, most: bytes, clock });
        Self {
            inner,
            doors: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            deadline,
            scanned: AtomicBool::new(false),
        }
    }

    /// Does `work` on a thread for blocking work.
    async fn run<T: Send + 'static>(
        &self,
        deadline: Duration,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> Result<T, CacheError> {
        if !self.scanned.swap(true, Ordering::AcqRel) {
            let inner = Arc::clone(&self.inner);
            // What an earlier process left counts from then on; nobody waits for it.
            drop(tokio::task::spawn_blocking(move || inner.scan()));
        }
        let inner = Arc::clone(&self.inner);
        let doors = Arc::clone(&self.doors);
        let done = timeout(deadline, async move {
            let door = doors.acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let _door = door;
                work(&inner)
            })
            .await
        });
        match done.await {
            Ok(Ok(done)) => done.map_err(|error| self.failed(&error.to_string())),
            Ok(Err(_)) => Err(self.failed("the work was given up")),
            Err(_) => Err(self.failed(&format!("not done within {deadline:?}"))),
        }
    }

    fn failed(&self, why: &str) -> CacheError {
        CacheError(format!("{}: {why}", self.inner.folder.display()))
    }
}

impl Inner {
    fn values(&self) -> PathBuf {
        self.folder.join(VALUES)
    }

    fn read(&self, name: &str) -> io::Result<Option<Bytes>> {
        let path = place(&self.values(), name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(value) = frame::unwrap(&bytes, self.clock.wall_ms()) {
            // Read to be kept, as what is asked for often.
            self.index.get(name);
            return Ok(Some(value));
        }
        self.index.invalidate(name);
        remove(&path)?;
        Ok(None)
    }

    fn write(&self, name: &str, value: &[u8], ttl: Duration) -> io::Result<()> {
        let path = place(&self.values(), name);
        let size = (HEAD + value.len()) as u64;
        if ttl.is_zero() || size > self.most {
            self.index.invalidate(name);
            return remove(&path).map(|_| ());
        }
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let bytes = frame::wrap(value, self.clock.wall_ms().saturating_add(ttl_ms));
        self.place(&path, &bytes)?;
        self.index.insert(name.into(), Blocks { count: blocks(size), ttl });
        self.index.run_pending_tasks();
        Ok(())
    }

    /// Puts a whole file in its place.
    fn place(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let passing = self.folder.join(format!("{PASSING}{}", Uuid::new_v4().simple()));
        let done = fs::write(&passing, bytes).and_then(|()| fs::rename(&passing, path));
        if done.is_err() {
            let _ = fs::remove_file(&passing);
        }
        done
    }

    fn delete(&self, names: &[String]) -> io::Result<u64> {
        let mut gone = 0;
        for name in names {
            gone += u64::from(remove(&place(&self.values(), name))?);
            self.index.invalidate(name.as_str());
        }
        Ok(gone)
    }

    /// All values leave their place at once, then one by one.
    fn flush(&self) -> io::Result<()> {
        let passing = self.folder.join(format!("{PASSING}{}", Uuid::new_v4().simple()));
        match fs::rename(self.values(), &passing) {
            Ok(()) => fs::remove_dir_all(&passing)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.index.invalidate_all();
        Ok(())
    }

    fn probe(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let passing = self.folder.join(format!("{PASSING}{}", Uuid::new_v4().simple()));
        fs::write(&passing, MARK)?;
        fs::remove_file(&passing)
    }

    /// Counts what is there already; drops what is over, broken or abandoned.
    fn scan(&self) {
        let now = self.clock.wall_ms();
        let below = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in below(&self.folder) {
            let is_passing = entry.file_name().to_string_lossy().starts_with(PASSING);
            let age = entry
                .metadata()
                .and_then(|meta| meta.modified())
                .map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
            if is_passing && age.is_ok_and(|age| age >= ABANDONED) {
                let path = entry.path();
                let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            }
        }
        for shelf in below(&self.values()) {
            for entry in below(&shelf.path()) {
                let name =
                    format!("{}{}", shelf.file_name().to_string_lossy(), entry.file_name().to_string_lossy());
                let left = head(&entry.path()).ok().as_deref().and_then(ends_at).map(|end| end - now);
                match left.and_then(|left| u64::try_from(left).ok()).filter(|left| *left > 0) {
                    Some(left) if !self.index.contains_key(name.as_str()) => {
                        let size = entry.metadata().map_or(0, |meta| meta.len());
                        let ttl = Duration::from_millis(left);
                        self.index.insert(name.into(), Blocks { count: blocks(size), ttl });
                    }
                    Some(_) => {}
                    None => {
                        let _ = fs::remove_file(entry.path());
                    }
                }
            }
        }
        self.index.run_pending_tasks();
    }
}

fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD];
    fs::File::open(path)?.read_exact(&mut head)?;
    Ok(head)
}

/// True if the value of a file is not over.
fn lives(path: &Path, now: i64) -> bool {
    head(path).ok().as_deref().and_then(ends_at).is_some_and(|end| end > now)
}

fn blocks(size: u64) -> u32 {
    u32::try_from(size.div_ceil(BLOCK)).unwrap_or(u32::MAX)
}

/// Spread over folders, as some file systems are slow with many files in one.
fn place(values: &Path, name: &str) -> PathBuf {
    let (shelf, rest) = name.split_at_checked(2).unwrap_or((name, ""));
    values.join(shelf).join(rest)
}

/// True if there was something to remove.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl ResponseCache for DiskCache {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>> {
        let name = name_of(key);
        Box::pin(self.run(self.deadline, move |inner| inner.read(&name)))
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, ()> {
        let name = name_of(key);
        Box::pin(self.run(self.deadline, move |inner| inner.write(&name, &value, ttl)))
    }

    fn delete<'a>(&'a self, keys: &'a [String]) -> Answer<'a, u64> {
        let names: Vec<String> = keys.iter().map(|key| name_of(key)).collect();
        Box::pin(self.run(self.deadline, move |inner| inner.delete(&names)))
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(self.run(FLUSH, Inner::flush))
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(self.run(self.deadline, Inner::probe))
    }
}
