//! The threads that serve connections: one per core, each with a runtime of its own.
//!
//! A connection, its requests and the provider connections they use stay on one thread. In a runtime that
//! spans threads, each event of a stream wakes another thread to look for work: measured on two cores, that
//! cost more than the request itself. For the same reason they write their receipts themselves, whenever they have
//! nothing else to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The threads. Dropping it ends them, and what still runs on them.
pub struct Workers {
    workers: Vec<Worker>,
    threads: Vec<Thread>,
}

struct Thread {
    end: Option<oneshot::Sender<()>>,
    handle: Option<JoinHandle<()>>,
}

/// One thread, as seen from outside.
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

/// Where a connection goes; counts it there until dropped.
pub struct Place {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// If the system refuses a thread or its event queue.
    pub fn start(count: usize) -> std::io::Result<Self> {
        let mut started = Self { workers: Vec::with_capacity(count), threads: Vec::with_capacity(count) };
        for number in 1..=count {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .on_thread_park(faregate_journal::hand::before_rest)
                .build()?;
            let worker = Worker { runtime: runtime.handle().clone(), connections: Arc::default() };
            let (end, ended) = oneshot::channel();
            let handle = thread::Builder::new().name(format!("faregate-{number}")).spawn(move || {
                faregate_upstream::be_worker(number);
                faregate_journal::hand::lend();
                // Ends by the message or by the sender's end; both mean the same.
                let _ = runtime.block_on(ended);
            })?;
            started.workers.push(worker);
            started.threads.push(Thread { end: Some(end), handle: Some(handle) });
        }
        Ok(started)
    }

    /// No threads: connections are served by the runtime of the caller.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn here() -> Self {
        Self {
            workers: vec![Worker { runtime: Handle::current(), connections: Arc::default() }],
            threads: Vec::new(),
        }
    }

    /// The threads' runtimes.
    pub fn runtimes(&self) -> impl Iterator<Item = Handle> {
        self.workers.iter().map(|worker| worker.runtime.clone())
    }

    /// The thread with the fewest connections.
    pub fn place(&self) -> Option<Place> {
        let worker = self.workers.iter().min_by_key(|worker| worker.connections.load(Ordering::Relaxed))?;
        worker.connections.fetch_add(1, Ordering::Relaxed);
        Some(Place { runtime: worker.runtime.clone(), connections: Arc::clone(&worker.connections) })
    }
}

impl Place {
    /// The thread's runtime.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            thread.end.take();
        }
        for thread in &mut self.threads {
            if let Some(handle) = thread.handle.take() {
                // A thread that panicked has nothing left to end.
                let _ = handle.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_where_the_fewest_are() {
        let workers = Workers::start(2).unwrap();
        let id = |place: &Place| place.runtime().id();
        let (first, second) = (workers.place().unwrap(), workers.place().unwrap());
        assert_ne!(id(&first), id(&second));
        let freed = id(&second);
        drop(second);
        assert_eq!(id(&workers.place().unwrap()), freed);
    }

    #[test]
    fn a_task_stays_on_its_thread() {
        let workers = Workers::start(2).unwrap();
        let place = workers.place().unwrap();
        let (sender, names) = std::sync::mpsc::channel();
        place.runtime().spawn(async move {
            for _ in 0..3 {
                let _ = sender.send(thread::current().name().map(str::to_owned));
                tokio::task::yield_now().await;
            }
        });
        let names: Vec<_> = names.iter().collect();
        assert_eq!(names.len(), 3);
        assert!(
            names.iter().all(|name| name == &names[0] && name.as_deref().unwrap().starts_with("faregate-"))
        );
    }
}
