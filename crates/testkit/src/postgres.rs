//! Throw-away PostgreSQL databases, one for each test that asks.
//!
//! The server is `TEST_DATABASE_URL`'s when that is set, else the one on 127.0.0.1:5432, else one started
//! from local binaries for the life of the test process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tempfile::TempDir;
use url::Url;

/// The server most machines have.
const LOCAL: &str = "postgres://postgres@127.0.0.1:5432/postgres";
/// How long a server that was just started may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server of our own, shared by the tests of one process.
static OURS: Mutex<Option<Server>> = Mutex::new(None);
/// The same with pgvector.
static WITH_VECTORS: Mutex<Option<Server>> = Mutex::new(None);

/// An empty database that nobody else uses; dropped with this value.
pub struct Database {
    server: Url,
    name: String,
}

impl Database {
    /// Makes one.
    ///
    /// # Panics
    /// If no server can be reached or started; set `TEST_DATABASE_URL` to name one.
    pub async fn create() -> Self {
        Self::on(server().await).await
    }

    /// Makes one on a server that has pgvector; `None` where there is none and `scripts/vectors.sh` has not run.
    ///
    /// # Panics
    /// If the server is there and cannot be started.
    pub async fn create_with_vectors() -> Option<Self> {
        let usual = server().await;
        if has_vectors(&usual).await {
            return Some(Self::on(usual).await);
        }
        let folder = crate::vectors()?.join("pgserver/pginstall/bin");
        Some(Self::on(started(&WITH_VECTORS, Some(folder)).await).await)
    }

    async fn on(server: Url) -> Self {
        let name = format!("faregate_test_{}", uuid::Uuid::now_v7().simple());
        run(&server, format!("CREATE DATABASE \"{name}\"")).await;
        Self { server, name }
    }

    /// The one number that `query` answers.
    ///
    /// # Panics
    /// If it answers anything else.
    #[expect(clippy::expect_used, reason = "a test without its database has failed")]
    pub async fn number(&self, query: &str) -> i64 {
        let url = Url::parse(&self.url()).expect("our own URL");
        let mut connection = connect(&url).await.expect("the test server answers");
        let asked = sqlx::query_scalar(AssertSqlSafe(query.to_owned()));
        asked.fetch_one(&mut connection).await.expect("a number")
    }

    /// Its URL, as `DATABASE_URL` would hold it.
    pub fn url(&self) -> String {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.to_string()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // Drop cannot await, and the test's runtime may be gone already.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                runtime.block_on(run(&server, format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)")));
            }
        });
        if dropping.join().is_err() {
            eprintln!("a test database was left behind: {}", self.name);
        }
    }
}

#[expect(clippy::expect_used, reason = "a test without its database has failed")]
async fn run(server: &Url, statement: String) {
    let mut connection = connect(server).await.expect("the test server answers");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.expect("the test server obeys");
    let _ = connection.close().await;
}

async fn connect(server: &Url) -> Result<PgConnection, sqlx::Error> {
    PgConnectOptions::from_url(server)?.connect().await
}

#[expect(clippy::expect_used, reason = "a test without its database has failed")]
#[expect(clippy::disallowed_methods, reason = "tests are told where their server is by the environment")]
async fn server() -> Url {
    if let Ok(named) = std::env::var("TEST_DATABASE_URL") {
        return Url::parse(&named).expect("TEST_DATABASE_URL is a URL");
    }
    let local = Url::parse(LOCAL).expect("a valid URL");
    if connect(&local).await.is_ok() {
        return local;
    }
    started(&OURS, binaries()).await
}

/// The server of `slot`; started from the programs in `folder` by the first who asks.
#[expect(clippy::expect_used, reason = "a test without its database has failed")]
async fn started(slot: &Mutex<Option<Server>>, folder: Option<PathBuf>) -> Url {
    let ours = {
        let mut ours = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let server =
            ours.get_or_insert_with(|| Server::start(folder).expect("PostgreSQL starts from local binaries"));
        server.url.clone()
    };
    let since = Instant::now();
    while connect(&ours).await.is_err() {
        assert!(since.elapsed() < PATIENCE, "no PostgreSQL server; set TEST_DATABASE_URL");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ours
}

async fn has_vectors(server: &Url) -> bool {
    let Ok(mut connection) = connect(server).await else { return false };
    let asked = "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'";
    sqlx::query(asked).fetch_optional(&mut connection).await.is_ok_and(|row| row.is_some())
}

/// A server of our own. It ends with the test process, however that ends: a shell waits for the end of its
/// standard input, which the process holds open, then stops the server and removes its data.
struct Server {
    url: Url,
    _watch: Child,
}

/// `$1` is the folder of the binaries, `$2` the data, `$3` the port. PostgreSQL refuses to run as root.
const RUN: &str = r#"
as_user() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
[ "$(id -u)" = 0 ] && chown postgres "$2"
as_user "$1/initdb" --auth=trust --username=postgres --no-sync -D "$2" || exit 1
as_user "$1/pg_ctl" -w -D "$2" -o "-h 127.0.0.1 -p $3 -k $2 -F" -l "$2/log" start || exit 1
cat
as_user "$1/pg_ctl" -D "$2" -m immediate stop
rm -rf "$2"
"#;

impl Server {
    fn start(folder: Option<PathBuf>) -> std::io::Result<Self> {
        let bin = folder.ok_or(std::io::ErrorKind::NotFound)?;
        let data = TempDir::new()?.keep();
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let watch = Command::new("sh")
            .args(["-c", RUN, "sh"])
            .args([&bin, &data])
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let url = Url::parse(&format!("postgres://postgres@127.0.0.1:{port}/postgres"))
            .map_err(std::io::Error::other)?;
        Ok(Self { url, _watch: watch })
    }
}

/// The folder of `initdb` and `postgres`: Debian keeps it off the path, newest version last.
fn binaries() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let mut found: Vec<PathBuf> =
        versions.into_iter().flatten().flatten().map(|version| version.path().join("bin")).collect();
    found.sort();
    found.insert(0, Path::new("/usr/local/bin").to_path_buf());
    found.into_iter().rev().find(|folder| folder.join("initdb").exists() && folder.join("pg_ctl").exists())
}
