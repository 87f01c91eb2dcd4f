//! The index of vectors in the database.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use faregate::adapters::near_sql::SqlIndex;
use faregate_state::clock::SystemClock;
use faregate_state::nearest::VectorIndex;
use faregate_state::suite;
use faregate_store::{Settings, Store};
use faregate_testkit::postgres::Database;
use tokio::runtime::Handle;

async fn store(database: &Database) -> Store {
    Store::connect(&Settings::from_url("TEST", &database.url()).unwrap()).await.unwrap()
}

fn index(store: &Store, name: &str) -> SqlIndex {
    let clock = Arc::new(SystemClock::new());
    SqlIndex::new(store.clone(), name, Duration::from_secs(10), clock, Handle::current())
}

#[tokio::test]
async fn an_index_in_a_database_with_pgvector_keeps_its_promises_and_two_do_not_meet() {
    let Some(database) = Database::create_with_vectors().await else { return };
    let store = store(&database).await;
    suite::vector_index(&index(&store, "one")).await;
    // A replica finds the table made, and what the first one kept stays its own.
    suite::vector_index(&index(&store, "two")).await;
    let kept = index(&store, "one").nearest("a1", &[0.0, 1.0, 0.0]).await.unwrap();
    assert_eq!(kept.map(|near| near.value), Some(Bytes::from_static(b"four")));
}

#[tokio::test]
async fn what_is_over_leaves_the_table_with_what_comes() {
    let Some(database) = Database::create_with_vectors().await else { return };
    let store = store(&database).await;
    let index = index(&store, "one");
    for n in 0..5_u8 {
        let vector = [f32::from(n), 1.0];
        index.add("a", &vector, Bytes::from_static(b"x"), Duration::from_millis(1)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    index.add("a", &[1.0, 0.0], Bytes::from_static(b"y"), Duration::from_secs(60)).await.unwrap();
    assert_eq!(database.number("SELECT count(*) FROM faregate_near").await, 1);
}

#[tokio::test]
async fn a_database_that_cannot_compare_vectors_says_so_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::connect(&Settings::sqlite(folder.path().join("a.db"))).await.unwrap();
    let index = index(&store, "one");
    for error in [
        index.ping().await.unwrap_err(),
        index.nearest("a", &[1.0]).await.unwrap_err(),
        index.add("a", &[1.0], Bytes::new(), Duration::from_secs(1)).await.unwrap_err(),
    ] {
        let expected = "the database cannot search vectors: it is SQLite; set DATABASE_URL to a PostgreSQL";
        assert!(error.to_string().contains(expected), "{error}");
    }
    let database = Database::create().await;
    let available = "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'";
    if database.number(available).await == 0 {
        let error = self::index(&self::store(&database).await, "one").ping().await.unwrap_err();
        assert!(error.to_string().contains("it has no extension `vector`; install pgvector"), "{error}");
    }
}
