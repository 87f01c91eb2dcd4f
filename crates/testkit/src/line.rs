//! A line between the gateway and a server that a test can cut, or hang up without a word.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What happens on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Bytes go both ways.
    Up,
    /// Connections end, and new ones end at once: the server is down.
    Cut,
    /// Every answer comes so much later.
    Slow(Duration),
    /// Connections stay and nothing comes: the server, or the network, hangs. Connections that were open when it
    /// began end when it is over.
    Hung,
}

/// A port that leads to a server.
pub struct Line {
    /// Where to connect.
    pub address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    accepting: JoinHandle<()>,
}

impl Line {
    /// A line to `server`, which is up.
    ///
    /// # Panics
    /// If no port can be had.
    #[expect(clippy::expect_used, reason = "a test without a port has failed")]
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("the port's address");
        let state = Arc::new(watch::Sender::new(State::Up));
        let states = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, states.subscribe()));
            }
        });
        Self { address, state, accepting }
    }

    /// Changes what happens, also on open connections.
    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, mut state: watch::Receiver<State>) {
    // Hung lines take connections and say nothing.
    if state.wait_for(|state| *state != State::Hung).await.is_err() || *state.borrow() == State::Cut {
        return;
    }
    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
    let delays = state.clone();
    let carried = async {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = upstream.split();
        tokio::select! {
            _ = copy(&mut from_client, &mut to_server) => {}
            _ = late(&mut from_server, &mut to_client, &delays) => {}
        }
    };
    tokio::select! {
        () = carried => return,
        changed = state.wait_for(|state| matches!(state, State::Cut | State::Hung)) => match changed.map(|state| *state) {
            Ok(State::Hung) => {}
            _ => return,
        },
    }
    let _ = state.wait_for(|state| *state != State::Hung).await;
}

/// Answers under way on a slow line.
const MOST_WAITING: usize = 4096;

/// Carries answers, each as late as the line is slow.
async fn late(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    state: &watch::Receiver<State>,
) -> std::io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    // Answers behind each other on one line are late side by side, not one after the other.
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    loop {
        let due = waiting.front().map(|(due, _)| *due);
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {
                if let Some((_, piece)) = waiting.pop_front() {
                    to.write_all(&piece).await?;
                }
            }
            read = from.read(&mut piece), if waiting.len() < MOST_WAITING => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                let slow = match *state.borrow() {
                    State::Slow(time) => time,
                    _ => Duration::ZERO,
                };
                waiting.push_back((Instant::now() + slow, piece[..read].to_vec()));
            }
        }
    }
}
