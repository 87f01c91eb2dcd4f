//! Gives the listening socket to the next process of the data directory, so that an upgrade drops nothing.
//!
//! The socket itself changes hands, over a Unix socket: both processes then take connections from one queue, and
//! what waits in it when the old one lets go is the new one's. Two sockets on one port (SO_REUSEPORT) would have
//! a queue each, and the kernel resets what waits in the queue of the one that is closed.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener as StdListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

/// How long the running process may take to hand its socket over.
const PATIENCE: Duration = Duration::from_secs(5);
/// Waiting when no process can be talked to, e.g. for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);
/// What comes with the socket; without a byte nothing travels.
const TOKEN: &[u8] = b"1";

/// Where processes of a data directory find each other, for an address to listen on.
fn meeting_place(data_dir: &Path, host: &str, port: u16) -> PathBuf {
    let host: String = host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    data_dir.join(format!("listener-{host}-{port}.sock"))
}

/// The socket of the process that listens now; `None` if there is none.
///
/// # Errors
/// If a process is there and its socket cannot be had: listening beside it would fail as well.
pub fn take(data_dir: &Path, host: &str, port: u16) -> anyhow::Result<Option<StdListener>> {
    let place = meeting_place(data_dir, host, port);
    // A file that nobody listens on was left by a process that is gone.
    let Ok(stream) = StdStream::connect(&place) else { return Ok(None) };
    let taken = receive(&stream).with_context(|| {
        format!("the process that listens on {host}:{port} does not hand its socket over; stop it first")
    })?;
    Ok(Some(taken))
}

fn receive(stream: &StdStream) -> io::Result<StdListener> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let sockets = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let socket: Option<OwnedFd> = sockets.flatten().next();
    let socket = socket.ok_or_else(|| io::Error::other("it ended before it had sent it"))?;
    let listener = StdListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Hands `listener`'s socket to every process that asks, until `stop`.
///
/// # Errors
/// If the place where processes meet cannot be made.
pub fn offer(
    listener: &TcpListener,
    data_dir: &Path,
    host: &str,
    port: u16,
    stop: CancellationToken,
) -> anyhow::Result<impl Future<Output = ()> + Send + use<>> {
    let place = meeting_place(data_dir, host, port);
    let socket = listener.as_fd().try_clone_to_owned().context("the listening socket cannot be shared")?;
    // Under a name of its own first: the place is never empty, and never half made.
    let own = place.with_extension(format!("{}.sock", std::process::id()));
    let _ = fs::remove_file(&own);
    let meeting = UnixListener::bind(&own).with_context(|| format!("cannot listen on {}", own.display()))?;
    fs::rename(&own, &place).with_context(|| format!("cannot make {}", place.display()))?;
    Ok(async move {
        loop {
            let asked = tokio::select! {
                asked = meeting.accept() => asked,
                () = stop.cancelled() => return,
            };
            match asked.and_then(|(stream, _)| stream.into_std()).and_then(|stream| send(&stream, &socket)) {
                Ok(()) => tracing::info!(
                    "another process takes the listening socket over; end this one when it serves"
                ),
                Err(error) => {
                    tracing::warn!(%error, "the listening socket cannot be handed over");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    })
}

fn send(stream: &StdStream, socket: &OwnedFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket.as_fd()];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::Error::other("no room for a socket"));
    }
    sendmsg(stream, &[IoSlice::new(TOKEN)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}
