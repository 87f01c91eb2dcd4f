//! Answers as objects of a bucket: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage.
//!
//! They differ in a few words; Google's XML API is S3's but for the credential. An object carries when its
//! value ends. Nothing removes it then: a bucket has rules of its own for what is old.
//!
//! Source: Amazon S3 API Reference (GetObject, PutObject, DeleteObject, ListObjectsV2), Google Cloud Storage
//! XML API, Azure Blob Service REST API (Put Blob, List Blobs).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use faregate_config::{AzureSettings, GcsSettings, S3Settings};
use faregate_state::cache::{Answer, CacheError, ResponseCache, frame, name_of};
use faregate_state::clock::Clock;
use faregate_upstream::{Auth, Upstream};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Ask, Door, azure};

/// Below the folder the configuration names, as others may keep something there in their own form.
const OURS: &str = "faregate/";
/// The object that shows that the bucket can be written.
const PROBE: &str = "probe";
/// What a flush may take.
const FLUSH: Duration = Duration::from_secs(60);
/// Objects dropped at once.
const DROPS: usize = 16;
/// Objects of one page.
const PAGE: usize = 1000;
/// What needs no encoding in a path or a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A bucket of somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    kind: Kind,
    /// `https://host/bucket` or `https://bucket.host`, without a final slash.
    base: String,
    /// In front of every name, as it is; empty, or with a final slash.
    folder: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    S3,
    Gcs,
    Azure,
}

impl Bucket {
    /// A bucket of S3. Amazon's own server is asked by the bucket's name, any other by path, as boto3 does.
    pub fn s3(settings: &S3Settings, region: &str) -> Self {
        let S3Settings { bucket, endpoint, use_ssl, folder, .. } = settings;
        let base = match endpoint {
            Some(endpoint) => format!("{}/{}", endpoint.trim_end_matches('/'), encoded(bucket)),
            None => {
                let scheme = if *use_ssl == Some(false) { "http" } else { "https" };
                let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                // A certificate for `*.s3...` fits no name with a dot.
                match bucket.contains('.') {
                    true => format!("{scheme}://s3.{region}.{domain}/{}", encoded(bucket)),
                    false => format!("{scheme}://{}.s3.{region}.{domain}", encoded(bucket)),
                }
            }
        };
        Self { kind: Kind::S3, base, folder: folder_of(folder.as_deref()) }
    }

    /// A bucket of Google's.
    pub fn gcs(settings: &GcsSettings, bucket: &str) -> Self {
        let endpoint = settings.endpoint.as_deref().unwrap_or("https://storage.googleapis.com");
        let base = format!("{}/{}", endpoint.trim_end_matches('/'), encoded(bucket));
        Self { kind: Kind::Gcs, base, folder: folder_of(settings.folder.as_deref()) }
    }

    /// A container of Azure's.
    pub fn azure(settings: &AzureSettings) -> Self {
        let account = settings.account_url.trim_end_matches('/');
        let base = format!("{account}/{}", encoded(&settings.container));
        Self { kind: Kind::Azure, base, folder: String::new() }
    }

    /// The URL of what is below our folder.
    fn object(&self, name: &str) -> String {
        let path = format!("{}{OURS}{name}", self.folder);
        let segments: Vec<String> = path.split('/').map(encoded).collect();
        format!("{}/{}", self.base, segments.join("/"))
    }

    /// The URL of a page of names. What is listed is dropped, so the next page is the first one again.
    fn page(&self) -> String {
        let prefix = encoded(&format!("{}{OURS}", self.folder));
        match self.kind {
            Kind::S3 | Kind::Gcs => format!("{}?list-type=2&max-keys={PAGE}&prefix={prefix}", self.root()),
            Kind::Azure => {
                format!("{}?restype=container&comp=list&maxresults={PAGE}&prefix={prefix}", self.base)
            }
        }
    }

    /// The bucket itself. A host alone needs the slash of its path.
    fn root(&self) -> String {
        let has_path = self.base.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        if has_path { self.base.clone() } else { format!("{}/", self.base) }
    }

    /// The element that holds a name in a page.
    fn element(&self) -> &'static str {
        if self.kind == Kind::Azure { "Name" } else { "Key" }
    }

    fn called(&self) -> &'static str {
        match self.kind {
            Kind::S3 => "the S3 bucket of the cache",
            Kind::Gcs => "the GCS bucket of the cache",
            Kind::Azure => "the Azure container of the cache",
        }
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

fn folder_of(given: Option<&str>) -> String {
    match given.map(|folder| folder.trim_matches('/')).filter(|folder| !folder.is_empty()) {
        Some(folder) => format!("{folder}/"),
        None => String::new(),
    }
}

/// Keeps values in a bucket, which outlive the process and may be shared with others.
#[derive(Debug)]
pub struct BucketCache {
    bucket: Bucket,
    door: Door,
    clock: Arc<dyn Clock>,
}

impl BucketCache {
    /// A cache in `bucket`, for the identity of `auth`. Calls that take longer than `deadline` are misses.
    pub fn new(
        upstream: &Upstream,
        auth: Arc<Auth>,
        bucket: Bucket,
        deadline: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let door = Door::new(upstream, auth, deadline, bucket.called());
        Self { bucket, door, clock }
    }

    async fn call(&self, mut ask: Ask) -> Result<(StatusCode, Bytes), CacheError> {
        if self.bucket.kind == Kind::Azure {
            azure::complete(&mut ask);
        }
        self.door.call(ask).await
    }

    /// The object; `None` if there is none.
    async fn read(&self, method: Method, name: &str) -> Result<Option<Bytes>, CacheError> {
        match self.call(Ask::new(method, self.bucket.object(name))).await? {
            (StatusCode::OK, body) => Ok(Some(body)),
            // A bucket that is not there is no empty one.
            (StatusCode::NOT_FOUND, body) if !is_no_bucket(&body) => Ok(None),
            (status, body) => Err(self.refused(status, &body)),
        }
    }

    async fn write(&self, name: &str, body: Vec<u8>) -> Result<(), CacheError> {
        let mut ask = Ask::new(Method::PUT, self.bucket.object(name));
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        ask.body = body.into();
        match self.call(ask).await? {
            (status, _) if status.is_success() => Ok(()),
            (status, body) => Err(self.refused(status, &body)),
        }
    }

    async fn drop_object(&self, name: &str) -> Result<(), CacheError> {
        match self.call(Ask::new(Method::DELETE, self.bucket.object(name))).await? {
            (status, _) if status.is_success() || status == StatusCode::NOT_FOUND => Ok(()),
            (status, body) => Err(self.refused(status, &body)),
        }
    }

    /// Names of the first page of what is ours.
    async fn names(&self) -> Result<Vec<String>, CacheError> {
        let (status, body) = self.call(Ask::new(Method::GET, self.bucket.page())).await?;
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        let page = String::from_utf8_lossy(&body);
        // Our folder may hold marks that XML escapes; what comes behind it holds none.
        let names = elements(&page, self.bucket.element()).filter_map(|name| name.rsplit('/').next());
        let ours = |name: &&str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(names.filter(ours).map(str::to_owned).collect())
    }

    async fn drop_all(&self) -> Result<(), CacheError> {
        loop {
            let names = self.names().await?;
            if names.is_empty() {
                return Ok(());
            }
            let drops = stream::iter(names).map(async |name: String| self.drop_object(&name).await);
            drops.buffer_unordered(DROPS).try_collect::<()>().await?;
        }
    }

    /// Names the status, and the code that the body gives; a body may quote more than a log should hold.
    fn refused(&self, status: StatusCode, body: &[u8]) -> CacheError {
        let body = String::from_utf8_lossy(body);
        let code = elements(&body, "Code").next().filter(|code| code.len() <= 64).unwrap_or("no code");
        let hint = match status {
            // S3 says so of objects that are not there, too.
            StatusCode::FORBIDDEN => "; the credential needs to list, read, write and delete objects",
            _ => "",
        };
        self.door.failed(&format!("status {}, {code}{hint}", status.as_u16()))
    }
}

fn is_no_bucket(body: &[u8]) -> bool {
    let body = String::from_utf8_lossy(body);
    elements(&body, "Code").next().is_some_and(|code| matches!(code, "NoSuchBucket" | "ContainerNotFound"))
}

/// The texts of all elements of a name, as they are written.
fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (text, behind) = after.split_once(&close)?;
        rest = behind;
        Some(text)
    })
}

impl ResponseCache for BucketCache {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(async move {
            let found = self.read(Method::GET, &name_of(key)).await?;
            Ok(found.and_then(|found| frame::unwrap(&found, self.clock.wall_ms())))
        })
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, ttl: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let name = name_of(key);
            if ttl.is_zero() {
                return self.drop_object(&name).await;
            }
            let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
            self.write(&name, frame::wrap(&value, self.clock.wall_ms().saturating_add(ttl))).await
        })
    }

    fn delete<'a>(&'a self, keys: &'a [String]) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut gone = 0;
            for key in keys {
                let name = name_of(key);
                // A bucket drops what is not there without a word.
                if self.read(Method::HEAD, &name).await?.is_some() {
                    self.drop_object(&name).await?;
                    gone += 1;
                }
            }
            Ok(gone)
        })
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let late = || self.door.failed("more than a minute's worth of objects; flush again");
            tokio::time::timeout(FLUSH, self.drop_all()).await.unwrap_or_else(|_| Err(late()))
        })
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.write(PROBE, Vec::new()).await?;
            self.drop_object(PROBE).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_asked_where_their_owners_have_them() {
        let s3 = |endpoint: Option<&str>, use_ssl| S3Settings {
            bucket: "an-swers".into(),
            endpoint: endpoint.map(str::to_owned),
            use_ssl,
            folder: Some("/a b/".into()),
            ..S3Settings::default()
        };
        let dotted = S3Settings { bucket: "an.swers".into(), ..S3Settings::default() };
        let gcs = GcsSettings { folder: Some("x/y".into()), ..GcsSettings::default() };
        let azure =
            AzureSettings { account_url: "https://me.blob.core.windows.net/".into(), container: "c".into() };
        for (bucket, object, page) in [
            (
                Bucket::s3(&s3(None, None), "eu-west-1"),
                "https://an-swers.s3.eu-west-1.amazonaws.com/a%20b/faregate/k",
                "https://an-swers.s3.eu-west-1.amazonaws.com/?list-type=2&max-keys=1000&prefix=a%20b%2Ffaregate%2F",
            ),
            (
                Bucket::s3(&s3(None, Some(false)), "cn-north-1"),
                "http://an-swers.s3.cn-north-1.amazonaws.com.cn/a%20b/faregate/k",
                "http://an-swers.s3.cn-north-1.amazonaws.com.cn/?list-type=2&max-keys=1000&prefix=a%20b%2Ffaregate%2F",
            ),
            (
                Bucket::s3(&s3(Some("http://minio:9000/"), None), "us-east-1"),
                "http://minio:9000/an-swers/a%20b/faregate/k",
                "http://minio:9000/an-swers?list-type=2&max-keys=1000&prefix=a%20b%2Ffaregate%2F",
            ),
            (
                Bucket::s3(&dotted, "us-east-1"),
                "https://s3.us-east-1.amazonaws.com/an.swers/faregate/k",
                "https://s3.us-east-1.amazonaws.com/an.swers?list-type=2&max-keys=1000&prefix=faregate%2F",
            ),
            (
                Bucket::gcs(&gcs, "b"),
                "https://storage.googleapis.com/b/x/y/faregate/k",
                "https://storage.googleapis.com/b?list-type=2&max-keys=1000&prefix=x%2Fy%2Ffaregate%2F",
            ),
            (
                Bucket::azure(&azure),
                "https://me.blob.core.windows.net/c/faregate/k",
                "https://me.blob.core.windows.net/c?restype=container&comp=list&maxresults=1000&prefix=faregate%2F",
            ),
        ] {
            assert_eq!((bucket.object("k").as_str(), bucket.page().as_str()), (object, page));
        }
    }
}
