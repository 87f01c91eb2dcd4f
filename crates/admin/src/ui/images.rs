//! Logo and icon: the operator's, else ours. A URL is for the browser to follow; nothing is fetched here.

use std::path::Path;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use serde_json::json;

use crate::Outcome;
use crate::routes::{Answer, Call};

/// The largest picture that is read from a file, bytes.
const MOST: u64 = 2 * 1024 * 1024;
const OURS: &str = include_str!("logo.svg");

/// Endings of pictures, with their media types.
const KINDS: &[(&str, &str)] = &[
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("ico", "image/x-icon"),
    ("svg", "image/svg+xml"),
];

/// True for an http(s) URL with a host.
pub(super) fn is_url(text: &str) -> bool {
    let Ok(url) = text.trim().parse::<http::Uri>() else { return false };
    matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty())
}

pub(super) async fn logo_url(call: Call) -> Outcome {
    let logo = set(&call, &["UI_LOGO_PATH"], &["logo_url"]).filter(|text| is_url(text));
    Ok(Answer::json(&json!({ "logo_url": logo.unwrap_or_default() })))
}

pub(super) async fn logo(call: Call) -> Outcome {
    let dark = call.asked("theme") == Some("dark");
    let own = if dark { set(&call, &["UI_LOGO_PATH_DARK"], &["logo_url_dark"]) } else { None };
    let own = own.or_else(|| set(&call, &["UI_LOGO_PATH"], &["logo_url"]));
    Ok(picture(own).await)
}

pub(super) async fn icon(call: Call) -> Outcome {
    Ok(picture(set(&call, &["LITELLM_FAVICON_URL"], &["favicon_url"])).await)
}

/// The theme that is stored, else the variable.
fn set(call: &Call, variables: &[&str], members: &[&str]) -> Option<String> {
    let snapshot = call.admin.snapshot.load();
    let theme = &snapshot.litellm.people.theme;
    let stored = members.iter().find_map(|name| theme.get(*name)?.as_str());
    let found = stored.filter(|text| !text.trim().is_empty());
    found
        .or_else(|| variables.iter().find_map(|name| snapshot.env.filled(name)))
        .map(|text| text.trim().to_owned())
}

async fn picture(own: Option<String>) -> Answer {
    match own {
        Some(url) if is_url(&url) => Answer::redirect(307, &url),
        Some(path) => match tokio::task::spawn_blocking(move || read(Path::new(&path))).await {
            Ok(Some((body, kind))) => shown(body, kind),
            _ => ours(),
        },
        None => ours(),
    }
}

fn ours() -> Answer {
    shown(Bytes::from_static(OURS.as_bytes()), "image/svg+xml")
}

/// A picture, which as a page of its own may run nothing.
fn shown(body: Bytes, kind: &'static str) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    Answer { status: 200, kind, body, headers }
}

/// A file of this machine, if it is a picture by name and not too large.
fn read(path: &Path) -> Option<(Bytes, &'static str)> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    let (_, kind) = KINDS.iter().find(|(known, _)| *known == ending)?;
    let about = std::fs::metadata(path).ok()?;
    if !about.is_file() || about.len() > MOST {
        tracing::warn!(path = %path.display(), "the logo is no file of at most 2 MiB; the built-in one is shown");
        return None;
    }
    Some((std::fs::read(path).ok()?.into(), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_are_read_and_only_urls_with_a_host_are_urls() {
        let folder = tempfile::tempdir().unwrap();
        for (name, picture) in [("a.PNG", true), ("passwd", false), ("a.txt", false)] {
            let path = folder.path().join(name);
            std::fs::write(&path, b"x").unwrap();
            assert_eq!(read(&path).is_some(), picture, "{name}");
        }
        for (text, url) in [
            ("https://a.example/l.png", true),
            ("/etc/passwd", false),
            ("file:///etc/passwd", false),
            ("javascript:alert(1)", false),
            ("http://", false),
        ] {
            assert_eq!(is_url(text), url, "{text}");
        }
    }
}
