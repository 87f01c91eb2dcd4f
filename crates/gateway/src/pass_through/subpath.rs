//! What comes behind a route's path: resolved, so that it never leads above the target.

use percent_encoding::percent_decode_str;

/// A path below a route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subpath {
    /// As it is sent: each part as it came, `/` in front; empty for the route itself.
    pub sent: String,
    /// As rules for routes see it: decoded.
    pub shown: String,
}

/// A path that would lead elsewhere once its target decodes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Climbs;

impl Subpath {
    /// Resolves `.`, `..` and empty parts, spelled as they are or escaped. A slash at the end stays: to some targets
    /// that is another path. Source: LiteLLM's `resolve_subpath`.
    ///
    /// # Errors
    /// If `..` stands behind an escaped slash, so that only the target would see it.
    pub fn resolve(path: &str) -> Result<Self, Climbs> {
        let mut parts: Vec<(&str, String)> = Vec::new();
        for part in path.split('/') {
            let decoded = percent_decode_str(part).decode_utf8_lossy().into_owned();
            match decoded.as_str() {
                "" | "." => {}
                ".." => drop(parts.pop()),
                text if text.split(['/', '\\']).any(|inner| matches!(inner, "." | "..")) => {
                    return Err(Climbs);
                }
                _ => parts.push((part, decoded)),
            }
        }
        let mut resolved = Self::default();
        for (sent, shown) in &parts {
            resolved.sent.push('/');
            resolved.sent.push_str(sent);
            for inner in shown.split(['/', '\\']).filter(|inner| !inner.is_empty()) {
                resolved.shown.push('/');
                resolved.shown.push_str(inner);
            }
        }
        if path.ends_with('/') {
            resolved.sent.push('/');
        }
        Ok(resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_above_its_target() {
        for (path, sent, shown) in [
            ("", "", ""),
            ("/", "/", ""),
            ("/a/b", "/a/b", "/a/b"),
            ("/a/./b//c/", "/a/b/c/", "/a/b/c"),
            ("/a/../../x", "/x", "/x"),
            ("/a/%2e%2E/x", "/x", "/x"),
            ("/a%2Fb/c%20d", "/a%2Fb/c%20d", "/a/b/c d"),
            ("/a%5Cb", "/a%5Cb", "/a/b"),
            ("/..a", "/..a", "/..a"),
        ] {
            let resolved = Subpath::resolve(path).unwrap();
            assert_eq!((resolved.sent.as_str(), resolved.shown.as_str()), (sent, shown), "{path}");
        }
        for path in ["/a%2F..%2Fb", "/%2e%2e%2fadmin", "/a%5c..%5cb"] {
            assert_eq!(Subpath::resolve(path), Err(Climbs), "{path}");
        }
    }
}
