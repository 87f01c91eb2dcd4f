//! The ways to a server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use faregate_state::redis::{Redis, RedisError, RedisSettings, Resolve};
use faregate_terms::Secret;
use faregate_testkit::redis::RedisServer;
use futures_util::future::BoxFuture;

const SOON: Duration = Duration::from_secs(5);

/// Knows one name.
#[derive(Debug)]
struct OneName;

impl Resolve for OneName {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            if host == "cache.internal" {
                return Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]);
            }
            Err(io::Error::new(io::ErrorKind::NotFound, "no such host"))
        })
    }
}

fn by_name(host: &str, port: u16) -> RedisSettings {
    RedisSettings {
        hosts: vec![(host.to_owned(), port)],
        resolver: Some(Arc::new(OneName)),
        ..RedisSettings::default()
    }
}

#[tokio::test]
async fn host_port_password_and_database_reach_the_server() {
    let server = RedisServer::start_with_password("open sesame");
    let settings = RedisSettings {
        hosts: vec![("127.0.0.1".to_owned(), server.port())],
        password: Some(Secret::new("open sesame")),
        db: 2,
        ..RedisSettings::default()
    };
    Redis::new(&settings, "auth").unwrap().ping(SOON).await.unwrap();
    let wrong = RedisSettings { password: Some(Secret::new("wrong")), ..settings };
    let error = Redis::new(&wrong, "auth").unwrap().ping(SOON).await.unwrap_err();
    assert!(matches!(error, RedisError::Failed(_)), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
}

#[tokio::test]
async fn names_are_found_by_the_callers_resolver() {
    let server = RedisServer::start();
    let redis = Redis::new(&by_name("cache.internal", server.port()), "names").unwrap();
    redis.ping(SOON).await.unwrap();
    let nowhere = Redis::new(&by_name("elsewhere.internal", server.port()), "names").unwrap();
    assert!(nowhere.ping(SOON).await.is_err());
}

#[tokio::test]
async fn after_failures_in_a_row_calls_fail_at_once_and_then_try_again() {
    let mut server = RedisServer::start();
    let redis = Redis::new(&RedisSettings::url(&server.url()), "breaker").unwrap();
    redis.ping(SOON).await.unwrap();
    server.kill();
    let mut broken = false;
    for _ in 0..10 {
        broken |= matches!(redis.ping(SOON).await, Err(RedisError::Broken));
    }
    assert!(broken);
    server.restart();
    let back = tokio::time::timeout(Duration::from_secs(10), async {
        while redis.ping(SOON).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    back.await.unwrap();
}
