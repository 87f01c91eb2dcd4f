//! A line between the gateway and a server that a test can cut, or hang up without a word.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Bytes go both ways.
    Up,
    /// Connections end, and new ones end at once: the server is down.
    Cut,
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
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut upstream) => return,
        changed = state.wait_for(|state| *state != State::Up) => match changed.map(|state| *state) {
            Ok(State::Hung) => {}
            _ => return,
        },
    }
    let _ = state.wait_for(|state| *state != State::Hung).await;
}
