//! Text that must never be printed.

use std::fmt;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// The text of a key or credential. Wiped on drop; `Debug` and `Display` print `sk-...wxyz` at most.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Call this only to send it or to hash it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What may be shown: the last four characters of a text of 16 or more, else none of it.
    pub fn masked(&self) -> String {
        let tail: Vec<char> = self.0.chars().rev().take(4).collect();
        if self.0.chars().count() < 16 {
            return "sk-...".to_owned();
        }
        format!("sk-...{}", tail.into_iter().rev().collect::<String>())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.masked())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.masked())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_at_most_its_last_four_characters() {
        assert_eq!(format!("{:?}", Secret::new("sk-abcdefghijklmnopwxyz")), "sk-...wxyz");
        assert_eq!(format!("{}", Secret::new("short")), "sk-...");
    }
}
