//! An index in this process, bounded in bytes: every vector of a scope is looked at, so the nearest is the
//! nearest.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Near, VectorIndex, direction};
use crate::cache::{Answer, CacheError};
use crate::clock::Clock;

/// What a row costs beside its vector and value, in bytes, roughly.
const OVERHEAD: usize = 200;
/// A scan of more numbers than this would hold up other requests of the thread; it takes about half a millisecond.
const LONG_SCAN: usize = 2_000_000;
/// How often rows whose time is over are looked for where nobody asks.
const SWEEP: Duration = Duration::from_secs(60);
/// Sums that are added up side by side; a compiler makes vector instructions of them.
const LANES: usize = 16;

/// Keeps values in memory; the oldest goes first when it is full.
pub struct MemoryIndex {
    most: usize,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    shelves: HashMap<Arc<Shelf>, Rows>,
    /// Where the row of a number is, oldest first.
    order: BTreeMap<u64, Arc<Shelf>>,
    bytes: usize,
    next: u64,
    swept: Duration,
}

/// A scan holds on to the rows it found, so that nobody waits for it.
type Rows = Arc<VecDeque<Arc<Row>>>;

/// What is compared with each other.
#[derive(PartialEq, Eq, Hash)]
struct Shelf {
    scope: String,
    length: usize,
}

struct Row {
    number: u64,
    /// Of length one.
    vector: Vec<f32>,
    value: Bytes,
    until: Duration,
}

impl MemoryIndex {
    /// An index of at most about `bytes`.
    pub fn new(bytes: u64, clock: Arc<dyn Clock>) -> Self {
        let most = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self { most, clock, kept: Mutex::default() }
    }

    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.kept.lock().bytes).unwrap_or(u64::MAX)
    }

    fn rows(&self, scope: &str, length: usize) -> Option<Rows> {
        let shelf = Shelf { scope: scope.to_owned(), length };
        self.kept.lock().shelves.get(&shelf).cloned()
    }
}

impl Kept {
    fn add(&mut self, shelf: Shelf, vector: Vec<f32>, value: Bytes, until: Duration) {
        let shelf = match self.shelves.get_key_value(&shelf) {
            Some((shelf, _)) => Arc::clone(shelf),
            None => Arc::new(shelf),
        };
        self.drop_rows(&shelf, |row| row.vector == vector);
        let number = self.next;
        self.next += 1;
        let row = Arc::new(Row { number, vector, value, until });
        self.bytes += weight(&row);
        self.order.insert(number, Arc::clone(&shelf));
        Arc::make_mut(self.shelves.entry(shelf).or_default()).push_back(row);
    }

    /// Drops the oldest rows until the others fit.
    fn fit(&mut self, most: usize) {
        while self.bytes > most {
            let Some((number, shelf)) = self.order.first_key_value() else { return };
            let (number, shelf) = (*number, Arc::clone(shelf));
            self.drop_rows(&shelf, |row| row.number == number);
        }
    }

    fn sweep(&mut self, now: Duration) {
        let shelves: Vec<_> = self.shelves.keys().cloned().collect();
        for shelf in shelves {
            self.drop_rows(&shelf, |row| row.until <= now);
        }
        self.swept = now;
    }

    fn drop_rows(&mut self, shelf: &Arc<Shelf>, goes: impl Fn(&Row) -> bool) {
        let Some(rows) = self.shelves.get_mut(shelf) else { return };
        if !rows.iter().any(|row| goes(row)) {
            return;
        }
        Arc::make_mut(rows).retain(|row| {
            if goes(row) {
                self.bytes -= weight(row);
                self.order.remove(&row.number);
            }
            !goes(row)
        });
        if rows.is_empty() {
            self.shelves.remove(shelf);
        }
    }
}

fn weight(row: &Row) -> usize {
    row.vector.len() * size_of::<f32>() + row.value.len() + OVERHEAD
}

fn scan(rows: &VecDeque<Arc<Row>>, vector: &[f32], now: Duration) -> Option<Near> {
    let living = rows.iter().filter(|row| row.until > now);
    let (similarity, row) = living
        .map(|row| (product(&row.vector, vector), row))
        .max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    Some(Near { similarity: similarity.clamp(-1.0, 1.0), value: row.value.clone() })
}

fn product(one: &[f32], other: &[f32]) -> f32 {
    let (ones, ones_rest) = one.as_chunks::<LANES>();
    let (others, others_rest) = other.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (one, other) in ones.iter().zip(others) {
        for lane in 0..LANES {
            sums[lane] += one[lane] * other[lane];
        }
    }
    let rest: f32 = ones_rest.iter().zip(others_rest).map(|(one, other)| one * other).sum();
    sums.iter().sum::<f32>() + rest
}

impl VectorIndex for MemoryIndex {
    fn nearest<'a>(&'a self, scope: &'a str, vector: &'a [f32]) -> Answer<'a, Option<Near>> {
        Box::pin(async move {
            let Some(vector) = direction(vector) else { return Ok(None) };
            let Some(rows) = self.rows(scope, vector.len()) else { return Ok(None) };
            let now = self.clock.steady();
            if rows.len().saturating_mul(vector.len()) <= LONG_SCAN {
                return Ok(scan(&rows, &vector, now));
            }
            let found = tokio::task::spawn_blocking(move || scan(&rows, &vector, now));
            found.await.map_err(|_| CacheError("the scan was given up".to_owned()))
        })
    }

    fn add<'a>(&'a self, scope: &'a str, vector: &'a [f32], value: Bytes, ttl: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let Some(vector) = direction(vector).filter(|_| !ttl.is_zero()) else { return Ok(()) };
            let now = self.clock.steady();
            let shelf = Shelf { scope: scope.to_owned(), length: vector.len() };
            let mut kept = self.kept.lock();
            kept.add(shelf, vector, value, now.saturating_add(ttl));
            if now.saturating_sub(kept.swept) >= SWEEP {
                kept.sweep(now);
            }
            kept.fit(self.most);
            Ok(())
        })
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut kept = self.kept.lock();
            kept.shelves.clear();
            kept.order.clear();
            kept.bytes = 0;
            Ok(())
        })
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

impl fmt::Debug for MemoryIndex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("MemoryIndex").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}
