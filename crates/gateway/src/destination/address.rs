//! URLs from a base and a path.

use faregate_catalog::{Provider, Quirk};
use http::Uri;

/// Puts `path` behind `base`. Segments that the base already ends with are not repeated, so that
/// `https://h/v1` and `https://h/v1/chat/completions` both take `/chat/completions`, and a base with `/v1`
/// takes `/v1/messages`.
///
/// # Errors
/// The text that is no URL.
pub(super) fn join(base: &str, path: &str) -> Result<Uri, String> {
    let (base, base_query) = base.split_once('?').map_or((base, None), |(b, q)| (b, Some(q)));
    let base = base.trim_end_matches('/');
    let (route, query) = path.split_once('?').map_or((path, None), |(r, q)| (r, Some(q)));
    let after_scheme = base.find("://").map_or(0, |at| at + 3);
    let base_path = base[after_scheme..].find('/').map_or("", |at| &base[after_scheme + at..]);
    let segments: Vec<&str> = route.split('/').skip(1).collect();
    let overlap = (1..=segments.len())
        .rev()
        .find(|&count| {
            let head: String = segments[..count].iter().flat_map(|segment| ["/", segment]).collect();
            base_path.ends_with(&head)
        })
        .unwrap_or(0);
    let mut url = base.to_owned();
    for segment in &segments[overlap..] {
        url.push('/');
        url.push_str(segment);
    }
    for (index, query) in [query, base_query].into_iter().flatten().enumerate() {
        url.push(if index == 0 { '?' } else { '&' });
        url.push_str(query);
    }
    url.parse().map_err(|_| url)
}

/// The address of a deployment that has a host of its own, told by the model's name.
/// Source: compat, providers §3, baseten.
pub(super) fn dedicated(provider: &Provider, model: &str) -> Option<String> {
    let is_id = model.len() == 8 && model.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_id && provider.has(Quirk::BasetenDedicatedUrl))
        .then(|| format!("https://model-{model}.api.baseten.co/environments/production/sync/v1"))
}

/// The part of a host that one owner holds: its last two labels, or the whole of an address.
pub(super) fn site(host: &str) -> &str {
    if host.parse::<std::net::IpAddr>().is_ok() || host.starts_with('[') {
        return host;
    }
    let mut dots = host.rmatch_indices('.').map(|(at, _)| at);
    dots.nth(1).map_or(host, |at| &host[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_base_already_has_is_not_repeated() {
        for (base, path, url) in [
            ("https://api.openai.com/v1", "/chat/completions", "https://api.openai.com/v1/chat/completions"),
            ("https://h/v1/", "/chat/completions", "https://h/v1/chat/completions"),
            ("https://h/v1/chat/completions", "/chat/completions", "https://h/v1/chat/completions"),
            ("https://api.anthropic.com", "/v1/messages", "https://api.anthropic.com/v1/messages"),
            ("https://h/anthropic/v1", "/v1/messages", "https://h/anthropic/v1/messages"),
            ("https://api.cohere.com/v2/chat", "/v2/chat", "https://api.cohere.com/v2/chat"),
            (
                "https://r.openai.azure.com",
                "/openai/deployments/d/chat/completions?api-version=1",
                "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=1",
            ),
            ("http://h:1/x?k=v", "/chat/completions", "http://h:1/x/chat/completions?k=v"),
            ("http://127.0.0.1:9", "/api/chat", "http://127.0.0.1:9/api/chat"),
        ] {
            assert_eq!(join(base, path).unwrap().to_string(), url, "{base} + {path}");
        }
        assert!(join("not a url", "/x").is_err());
    }

    #[test]
    fn siblings_share_a_site_and_strangers_do_not() {
        assert_eq!(site("stream.replicate.com"), site("api.replicate.com"));
        assert_ne!(site("replicate.com.evil.org"), site("api.replicate.com"));
        assert_eq!(site("127.0.0.1"), "127.0.0.1");
    }
}
