//! Buckets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use faregate_config::{AzureSettings, GcsSettings, S3Settings};
use faregate_integrations::stores::bucket::{Bucket, BucketCache};
use faregate_state::cache::ResponseCache;
use faregate_state::clock::{ManualClock, SystemClock};
use faregate_state::suite;
use faregate_upstream::{
    AuthSpec, AwsSpec, EntraSpec, EnvView, GoogleCredentials, Upstream, UpstreamSettings,
};
use http::Method;

use crate::server::{Seen, start};

/// Objects by path.
type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

const MINUTE: Duration = Duration::from_secs(60);
const KEY_FILE: &str = include_str!("../fixtures/google_user.json");

/// A store of objects in the words of S3 and GCS, or of Azure. `check` says what is wrong with a request.
async fn store(
    objects: &Objects,
    check: impl Fn(&Seen) -> Option<&'static str> + Send + Sync + 'static,
) -> SocketAddr {
    let objects = Arc::clone(objects);
    start(move |seen| {
        if seen.head.uri.path().ends_with("/token") {
            return (
                200,
                r#"{"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer"}"#.into(),
            );
        }
        if let Some(wrong) = check(&seen) {
            return (403, format!("<Error><Code>{wrong}</Code></Error>").into());
        }
        answer(&mut objects.lock().unwrap(), &seen)
    })
    .await
}

fn answer(objects: &mut BTreeMap<String, Bytes>, seen: &Seen) -> (u16, Bytes) {
    let path = percent_encoding::percent_decode_str(seen.head.uri.path()).decode_utf8().unwrap().into_owned();
    if path.starts_with("/missing") {
        return (404, "<Error><Code>NoSuchBucket</Code></Error>".into());
    }
    if let Some(prefix) = seen.query("prefix") {
        let (element, most) = match seen.query("comp") {
            Some(_) => ("Name", seen.query("maxresults")),
            None => ("Key", seen.query("max-keys")),
        };
        let most = most.unwrap().parse().unwrap();
        let names = objects.keys().filter_map(|name| name.strip_prefix("/answers/"));
        let names = names.filter(|name| name.starts_with(&prefix)).take(most);
        let listed: String =
            names.map(|name| format!("<Contents><{element}>{name}</{element}></Contents>")).collect();
        return (200, format!("<ListBucketResult>{listed}</ListBucketResult>").into());
    }
    match seen.head.method {
        Method::PUT => {
            objects.insert(path, seen.body.clone());
            (201, Bytes::new())
        }
        Method::DELETE => {
            objects.remove(&path);
            (204, Bytes::new())
        }
        _ => match objects.get(&path) {
            Some(object) => (200, object.clone()),
            None => (404, "<Error><Code>NoSuchKey</Code></Error>".into()),
        },
    }
}

fn upstream() -> Upstream {
    Upstream::new(&UpstreamSettings::default()).unwrap()
}

fn cache(spec: AuthSpec, bucket: Bucket) -> BucketCache {
    let upstream = upstream();
    let auth = upstream.authenticator(spec, &EnvView::empty()).unwrap();
    BucketCache::new(&upstream, auth, bucket, Duration::from_secs(5), Arc::new(SystemClock::new()))
}

fn aws() -> AuthSpec {
    AuthSpec::Aws(AwsSpec {
        service: "s3".into(),
        region: Some("eu-west-1".into()),
        access_key_id: Some("AKTEST".into()),
        secret_access_key: Some("s".into()),
        session_token: Some("session".into()),
        ..AwsSpec::default()
    })
}

fn s3(address: SocketAddr, bucket: &str) -> Bucket {
    let settings = S3Settings {
        bucket: bucket.into(),
        endpoint: Some(format!("http://{address}")),
        folder: Some("some folder".into()),
        ..S3Settings::default()
    };
    Bucket::s3(&settings, "eu-west-1")
}

/// What S3 looks for before it looks at the signature itself.
fn signed(seen: &Seen) -> Option<&'static str> {
    let credential = seen.header("authorization");
    let is_signed = credential.starts_with("AWS4-HMAC-SHA256 Credential=AKTEST/")
        && credential.contains("/eu-west-1/s3/aws4_request")
        && credential.contains("x-amz-content-sha256;x-amz-date;x-amz-security-token")
        && seen.header("x-amz-content-sha256").len() == 64
        && seen.header("x-amz-security-token") == "session";
    (!is_signed).then_some("AccessDenied")
}

#[tokio::test]
async fn buckets_keep_their_promises_and_leave_what_is_not_theirs() {
    let objects = Objects::default();
    objects.lock().unwrap().insert("/answers/others".into(), Bytes::new());
    let address = store(&objects, signed).await;
    suite::response_cache(&cache(aws(), s3(address, "answers"))).await;

    let bearer = |seen: &Seen| (seen.header("authorization") != "Bearer a-token").then_some("AccessDenied");
    let address = store(&objects, bearer).await;
    let file = KEY_FILE.replace("TOKEN_URI", &format!("http://{address}/token"));
    let google = AuthSpec::Google { credentials: GoogleCredentials::parse(&file), scopes: Vec::new() };
    let settings = GcsSettings { endpoint: Some(format!("http://{address}")), ..GcsSettings::default() };
    suite::response_cache(&cache(google, Bucket::gcs(&settings, "answers"))).await;

    let entra = |seen: &Seen| {
        let is_known =
            seen.header("authorization") == "Bearer a-token" && seen.header("x-ms-version") >= "2017-11-09";
        let is_whole = seen.head.method != Method::PUT || seen.header("x-ms-blob-type") == "BlockBlob";
        (!is_known || !is_whole).then_some("AuthenticationFailed")
    };
    let address = store(&objects, entra).await;
    let spec = EntraSpec { token: Some("a-token".into()), ..EntraSpec::default() };
    let settings = AzureSettings { account_url: format!("http://{address}"), container: "answers".into() };
    suite::response_cache(&cache(AuthSpec::AzureEntra(spec), Bucket::azure(&settings))).await;

    let left: Vec<String> = objects.lock().unwrap().keys().cloned().collect();
    assert!(left.contains(&"/answers/others".to_owned()), "{left:?}");
}

#[tokio::test]
async fn a_flush_drops_more_objects_than_a_page_holds() {
    let objects = Objects::default();
    let address = store(&objects, signed).await;
    let cache = cache(aws(), s3(address, "answers"));
    for n in 0..2_300 {
        objects.lock().unwrap().insert(format!("/answers/some folder/faregate/{n:064x}"), Bytes::new());
    }
    cache.flush().await.unwrap();
    assert_eq!(objects.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn an_object_whose_time_is_over_or_that_is_not_ours_is_no_value() {
    let objects = Objects::default();
    let address = store(&objects, signed).await;
    let (upstream, clock) = (upstream(), Arc::new(ManualClock::at("2026-11-21T12:00:00Z".parse().unwrap())));
    let auth = upstream.authenticator(aws(), &EnvView::empty()).unwrap();
    let cache = BucketCache::new(&upstream, auth, s3(address, "answers"), MINUTE, clock.clone());
    cache.put("a", Bytes::from_static(b"x"), MINUTE).await.unwrap();
    assert!(cache.get("a").await.unwrap().is_some());
    clock.advance(MINUTE);
    assert_eq!(cache.get("a").await.unwrap(), None);
    cache.put("a", Bytes::from_static(b"x"), MINUTE).await.unwrap();
    objects.lock().unwrap().values_mut().for_each(|object| *object = Bytes::from_static(b"something else"));
    assert_eq!(cache.get("a").await.unwrap(), None);
}

#[tokio::test]
async fn what_is_wrong_is_said_without_the_bodys_words_and_a_bucket_that_is_not_there_is_no_empty_one() {
    let objects = Objects::default();
    let address = store(&objects, signed).await;
    let missing = cache(aws(), s3(address, "missing"));
    let error = missing.get("a").await.unwrap_err().to_string();
    assert!(error.contains("the S3 bucket of the cache: status 404, NoSuchBucket"), "{error}");
    let nobody = cache(AuthSpec::Bearer("not-signed".into()), s3(address, "answers"));
    for error in [
        nobody.get("a").await.unwrap_err(),
        nobody.ping().await.unwrap_err(),
        nobody.flush().await.unwrap_err(),
        nobody.put("a", Bytes::new(), MINUTE).await.unwrap_err(),
    ] {
        let expected =
            "status 403, AccessDenied; the credential needs to list, read, write and delete objects";
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_costs_the_deadline_a_few_times_and_then_nothing() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = upstream();
    let auth = upstream.authenticator(aws(), &EnvView::empty()).unwrap();
    let bucket = s3(silent.local_addr().unwrap(), "answers");
    let patience = Duration::from_millis(30);
    let cache = BucketCache::new(&upstream, auth, bucket, patience, Arc::new(SystemClock::new()));
    let start = Instant::now();
    for _ in 0..1_000 {
        assert!(cache.get("a").await.is_err());
    }
    assert!(start.elapsed() < Duration::from_secs(5), "without a breaker it is half a minute");
}
