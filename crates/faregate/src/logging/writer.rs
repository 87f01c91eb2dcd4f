//! Writes log lines on a thread of its own.

use std::io::Write;
use std::mem;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Lines waiting beyond this are dropped and counted.
const MOST_WAITING: usize = 8 * 1024 * 1024;
/// Between two writes: a busy gateway's lines go out together, which saves a wake-up per request.
const GATHER: Duration = Duration::from_millis(10);

/// The thread and its queue. Dropping it writes what is waiting.
pub(super) struct Writer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

/// Takes lines.
#[derive(Clone)]
pub(super) struct Sink(Arc<Queue>);

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    dropped: u64,
    closed: bool,
    /// The writer has nothing to do and wants to be told of the next line.
    idle: bool,
}

impl Writer {
    pub(super) fn start(out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let queue = Arc::<Queue>::default();
        let thread = thread::Builder::new().name("faregate-log".to_owned()).spawn({
            let queue = Arc::clone(&queue);
            move || queue.write_to(out)
        })?;
        Ok(Self { queue, thread: Some(thread) })
    }

    pub(super) fn sink(&self) -> Sink {
        Sink(Arc::clone(&self.queue))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.waiting.lock().closed = true;
        self.queue.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // It cannot panic; if it did, the log is over either way.
            let _ = thread.join();
        }
    }
}

impl Sink {
    /// Queues one line, its line end included. Never waits for the writing.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.0.waiting.lock();
        if waiting.bytes.len() + line.len() > MOST_WAITING {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes.extend_from_slice(line);
        let is_awaited = mem::take(&mut waiting.idle);
        drop(waiting);
        if is_awaited {
            self.0.wake.notify_one();
        }
    }
}

impl Queue {
    fn write_to(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        loop {
            let mut waiting = self.waiting.lock();
            while waiting.bytes.is_empty() && !waiting.closed {
                waiting.idle = true;
                self.wake.wait(&mut waiting);
            }
            waiting.idle = false;
            if waiting.bytes.is_empty() {
                return;
            }
            mem::swap(&mut waiting.bytes, &mut batch);
            let dropped = mem::take(&mut waiting.dropped);
            drop(waiting);
            // Nobody is left to be told that the log cannot be written.
            let _ = out.write_all(&batch);
            if dropped > 0 {
                let _ =
                    writeln!(out, "{dropped} log lines were dropped: standard error is not read fast enough");
            }
            let _ = out.flush();
            batch.clear();
            // Lines that come meanwhile do not end this wait, only the end does.
            self.wake.wait_while_for(&mut self.waiting.lock(), |waiting| !waiting.closed, GATHER);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Hands each write to the test and waits for leave to go on.
    struct Gate(mpsc::Sender<Vec<u8>>, mpsc::Receiver<()>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.send(bytes.to_vec());
            let _ = self.1.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stops_costs_lines_and_is_told_how_many() {
        let (written, writes) = mpsc::channel();
        let (leave, may_go_on) = mpsc::channel();
        let writer = Writer::start(Gate(written, may_go_on)).unwrap();
        let sink = writer.sink();
        sink.push(b"first\n");
        assert_eq!(writes.recv().unwrap(), b"first\n");
        // The writer hangs in its first write now.
        let line = vec![b'x'; MOST_WAITING / 4];
        (0..6).for_each(|_| sink.push(&line));
        drop(leave);
        drop(writer);
        let rest: Vec<Vec<u8>> = writes.iter().collect();
        assert_eq!(rest[0].len(), MOST_WAITING);
        let said: Vec<u8> = rest[1..].concat();
        assert!(said.starts_with(b"2 log lines were dropped"), "{}", String::from_utf8_lossy(&said));
    }

    #[test]
    fn everything_logged_is_written_before_the_end() {
        let (written, writes) = mpsc::channel();
        let (leave, may_go_on) = mpsc::channel::<()>();
        drop(leave);
        let writer = Writer::start(Gate(written, may_go_on)).unwrap();
        let sink = writer.sink();
        (0..1000).for_each(|number| sink.push(format!("{number}\n").as_bytes()));
        drop(writer);
        let all: Vec<u8> = writes.iter().flatten().collect();
        assert_eq!(all.iter().filter(|byte| **byte == b'\n').count(), 1000);
        assert!(all.ends_with(b"999\n"));
    }
}
