//! Redis for tests: a corner of a server that is there, or a server of one's own that can be stopped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::vectors;

const LOCAL: &str = "redis://127.0.0.1:6379";
/// What a new server may take until it answers.
const START: Duration = Duration::from_secs(10);

/// A place in a Redis that no other test uses.
#[derive(Debug, Clone)]
pub struct Corner {
    /// `redis://...`
    pub url: String,
    /// A name for the installation, different in each test.
    pub installation: String,
}

/// A corner of the server of `TEST_REDIS_URL`, else of the one on port 6379, else of one started for this
/// test process.
///
/// # Panics
/// If there is none and `redis-server` (or `valkey-server`) cannot be started.
pub fn corner() -> Corner {
    static URL: OnceLock<String> = OnceLock::new();
    let url = URL.get_or_init(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "where the tests' own server is; the gateway does not read it"
        )]
        if let Ok(url) = std::env::var("TEST_REDIS_URL") {
            return url;
        }
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 6379));
        if ping(local) {
            return LOCAL.to_owned();
        }
        let server = RedisServer::start();
        let url = server.url();
        // For all tests of this process; its watcher ends it with the process.
        std::mem::forget(server);
        url
    });
    Corner { url: url.clone(), installation: unique() }
}

/// Different on each call, in each process.
fn unique() -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let count = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let nanos =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("test-{}-{nanos:x}-{count}", std::process::id())
}

/// A server of one's own on a free port, without persistence. Dropping it kills it.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    /// Kills the server when this process is gone, however it ended.
    watcher: Child,
    port: u16,
    options: Vec<String>,
    /// Of its program, if that is not the machine's.
    folder: Option<PathBuf>,
    /// Its own, removed with it.
    directory: Option<PathBuf>,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// If neither `redis-server` nor `valkey-server` can be started.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server that wants a password.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub fn start_with_password(password: &str) -> Self {
        Self::with(&["--requirepass", password])
    }

    /// Starts a server that searches vectors; `None` where `scripts/vectors.sh` has not run.
    ///
    /// # Panics
    /// If the server is there and cannot be started.
    pub fn start_with_search() -> Option<Self> {
        let folder = vectors()?.join("redis");
        let module = folder.join("redisearch.so").display().to_string();
        let options: Vec<String> = ["--loadmodule".to_owned(), module].into();
        let port = free_port();
        let (child, watcher) = launch(port, &options, Some(&folder));
        Some(Self { child, watcher, port, options, folder: Some(folder), directory: None })
    }

    /// Starts a cluster of one node that has all slots.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub fn start_cluster() -> Self {
        let bus = free_port().to_string();
        let directory = std::env::temp_dir().join(unique());
        let made = std::fs::create_dir(&directory);
        assert!(made.is_ok(), "{} cannot be made: {made:?}", directory.display());
        let directory_text = directory.display().to_string();
        let options = [
            "--cluster-enabled",
            "yes",
            "--cluster-announce-ip",
            "127.0.0.1",
            "--cluster-port",
            &bus,
            "--dir",
            &directory_text,
        ];
        let mut server = Self::with(&options);
        server.directory = Some(directory);
        server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        let deadline = Instant::now() + START;
        while !server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
            assert!(Instant::now() < deadline, "the cluster does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn with(options: &[&str]) -> Self {
        let port = free_port();
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let (child, watcher) = launch(port, &options, None);
        Self { child, watcher, port, options, folder: None, directory: None }
    }

    /// Sends one command and returns the start of the reply as it comes over the wire.
    ///
    /// # Panics
    /// If the server does not answer.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn command(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("the server accepts");
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(text.as_bytes()).expect("the server reads");
        let mut reply = [0u8; 16 * 1024];
        let read = stream.read(&mut reply).expect("the server answers");
        String::from_utf8_lossy(&reply[..read]).into_owned()
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills the server; what it held is lost.
    pub fn kill(&mut self) {
        // They are gone either way. The watcher first: it knows the server by a number that may be used again.
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port, empty.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub fn restart(&mut self) {
        self.kill();
        (self.child, self.watcher) = launch(self.port, &self.options, self.folder.as_deref());
    }

    /// Stops the process without ending it: connections stay open, nothing is answered.
    ///
    /// # Panics
    /// If the process cannot be signalled.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// If the process cannot be signalled.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal} failed");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        if let Some(directory) = &self.directory {
            // What stays is a few bytes in the folder for temporary files.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

#[expect(clippy::panic, reason = "a test cannot go on without its server")]
fn launch(port: u16, options: &[String], folder: Option<&Path>) -> (Child, Child) {
    let found = match folder {
        Some(folder) => spawn(&folder.join("redis-server"), port, options),
        None => ["redis-server", "valkey-server"]
            .iter()
            .find_map(|binary| spawn(Path::new(binary), port, options)),
    };
    let Some(mut child) = found else { panic!("neither redis-server nor valkey-server can be started") };
    let deadline = Instant::now() + START;
    while !ping(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
        if Instant::now() > deadline || !matches!(child.try_wait(), Ok(None)) {
            let _ = child.kill();
            panic!("the redis server on port {port} does not answer");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let script = format!("cat >/dev/null; kill -9 {}", child.id());
    let watcher =
        Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    match watcher {
        Ok(watcher) => (child, watcher),
        Err(error) => panic!("no shell to watch the server with: {error}"),
    }
}

fn spawn(binary: &Path, port: u16, options: &[String]) -> Option<Child> {
    let directory: PathBuf = std::env::temp_dir();
    let mut command = Command::new(binary);
    if let Some(folder) = binary.parent().filter(|folder| folder.is_absolute()) {
        // It brings the libraries it needs.
        command.env("LD_LIBRARY_PATH", folder);
    }
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(options)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()
}

#[expect(clippy::expect_used, reason = "a machine without a free port runs no tests")]
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// True if a Redis answers there.
fn ping(address: SocketAddr) -> bool {
    let attempt = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(200))?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        stream.write_all(b"PING\r\n")?;
        let mut reply = [0u8; 5];
        stream.read_exact(&mut reply)?;
        // One that wants a password first is there too.
        Ok(matches!(&reply, b"+PONG" | b"-NOAU"))
    };
    attempt().unwrap_or(false)
}
