//! What a request says about the response cache. Source: compat, behaviour §4 and §5, `cache`, `caching`.

use std::time::Duration;

use http::HeaderMap;
use http::header::CACHE_CONTROL;
use serde_json::Value;

use faregate_wire::dialect::BadRequest;

use crate::call::Options;

/// A request's wishes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Controls {
    /// How long its answer may be kept.
    pub ttl: Option<Duration>,
    /// How old an answer to it may be.
    pub max_age: Option<Duration>,
    /// It does not want a kept answer.
    pub no_cache: bool,
    /// Its answer must not be kept.
    pub no_store: bool,
    /// It asks for the cache where that is off by default (`use-cache: true`), or wants none (`caching: false`).
    pub wanted: Option<bool>,
    /// In front of its key, instead of the configured one.
    pub namespace: Option<String>,
}

impl Controls {
    /// Reads members and headers.
    ///
    /// # Errors
    /// [`BadRequest`] naming the member of another type than it has to be.
    pub fn read(options: &Options, headers: &HeaderMap) -> Result<Self, BadRequest> {
        let refuses = options.caching.filter(|on| !on);
        let mut controls = Self { ttl: shared_max_age(headers), wanted: refuses, ..Self::default() };
        let members = match &options.cache {
            None | Some(Value::Null) => return Ok(controls),
            Some(Value::Object(members)) => members,
            Some(_) => return Err(BadRequest::new("cache", "`cache` must be an object")),
        };
        for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            match name.as_str() {
                "ttl" => controls.ttl = Some(seconds(name, value)?),
                "s-maxage" | "s-max-age" => controls.max_age = Some(seconds(name, value)?),
                "no-cache" => controls.no_cache = flag(name, value)?,
                "no-store" => controls.no_store = flag(name, value)?,
                "use-cache" => {
                    controls.wanted = controls.wanted.or(Some(flag(name, value)?).filter(|on| *on))
                }
                "namespace" => controls.namespace = Some(text(name, value)?),
                _ => {}
            }
        }
        Ok(controls)
    }
}

/// The longest namespace taken from a client, in bytes.
const LONGEST_NAMESPACE: usize = 256;

fn wrong(name: &str, expected: &str) -> BadRequest {
    BadRequest::new(format!("cache.{name}"), format!("`cache.{name}` must be {expected}"))
}

fn flag(name: &str, value: &Value) -> Result<bool, BadRequest> {
    value.as_bool().ok_or_else(|| wrong(name, "true or false"))
}

fn seconds(name: &str, value: &Value) -> Result<Duration, BadRequest> {
    let span = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    span.ok_or_else(|| wrong(name, "a number of seconds"))
}

fn text(name: &str, value: &Value) -> Result<String, BadRequest> {
    let fits = |text: &&str| text.len() <= LONGEST_NAMESPACE && !text.contains(|c: char| c.is_control());
    let text = value.as_str().filter(fits);
    text.map(str::to_owned).ok_or_else(|| wrong(name, "a text of at most 256 bytes"))
}

/// `Cache-Control: s-maxage=N` is a time to keep the answer.
fn shared_max_age(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(CACHE_CONTROL)?.to_str().ok()?;
    let directive = |part: &str| part.trim().strip_prefix("s-maxage=")?.trim().parse().ok();
    text.split(',').find_map(directive).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(cache: Value, caching: Option<bool>, header: Option<&'static str>) -> Result<Controls, String> {
        let options = Options { cache: Some(cache), caching, ..Options::default() };
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(CACHE_CONTROL, http::HeaderValue::from_static(header));
        }
        Controls::read(&options, &headers).map_err(|bad| bad.to_string())
    }

    #[test]
    fn every_member_is_read_and_a_wrong_one_is_named() {
        let all = json!({"ttl": 1.5, "s-maxage": 3, "no-cache": true, "no-store": true, "use-cache": true,
            "namespace": "n", "other": 1});
        let expected = Controls {
            ttl: Some(Duration::from_millis(1500)),
            max_age: Some(Duration::from_secs(3)),
            no_cache: true,
            no_store: true,
            wanted: Some(true),
            namespace: Some("n".into()),
        };
        assert_eq!(read(all, None, None), Ok(expected));
        for (cache, complaint) in [
            (json!(true), "`cache` must be an object"),
            (json!({"ttl": "5"}), "`cache.ttl` must be a number of seconds"),
            (json!({"ttl": -5}), "`cache.ttl` must be a number of seconds"),
            (json!({"no-store": 1}), "`cache.no-store` must be true or false"),
            (json!({"namespace": 1}), "`cache.namespace` must be a text of at most 256 bytes"),
        ] {
            assert_eq!(read(cache, None, None), Err(complaint.to_owned()));
        }
    }

    #[test]
    fn the_header_gives_a_time_that_the_body_overrides_and_caching_false_wins() {
        let header = Some("max-age=9, s-maxage=7");
        assert_eq!(read(json!({}), None, header).unwrap().ttl, Some(Duration::from_secs(7)));
        assert_eq!(read(json!({"ttl": 1}), None, header).unwrap().ttl, Some(Duration::from_secs(1)));
        assert_eq!(read(json!({"use-cache": true}), Some(false), None).unwrap().wanted, Some(false));
        assert_eq!(read(json!({"use-cache": false}), Some(true), None).unwrap().wanted, None);
    }
}
