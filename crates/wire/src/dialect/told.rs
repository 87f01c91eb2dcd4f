//! Usage figures together with the text they came in.

use faregate_terms::{AsTold, Usage};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Figures in a provider's own members.
pub(super) trait Figures {
    /// The same in the common form.
    fn usage(&self) -> Usage;
}

/// What was read, and the JSON text it was read from: a bill is argued about in the provider's words.
#[derive(Debug, Clone, Default)]
pub(super) struct Told<F> {
    figures: F,
    text: Option<Box<str>>,
}

impl<F: Figures> Told<F> {
    /// The figures in the common form, with their text.
    pub(super) fn usage(&self) -> Usage {
        Usage { raw: AsTold(self.text.clone()), ..self.figures.usage() }
    }

    /// Takes over what a later part of a stream says: `merge` the figures, the members of the text are put
    /// together.
    pub(super) fn add(&mut self, later: Self, merge: impl FnOnce(&mut F, F)) {
        merge(&mut self.figures, later.figures);
        let read = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
        self.text = match (self.text.take(), later.text) {
            (Some(earlier), Some(later)) => {
                let mut all = read(&earlier);
                all.extend(read(&later));
                Some(Value::Object(all).to_string().into())
            }
            (earlier, later) => later.or(earlier),
        };
    }
}

impl<F: DeserializeOwned> Told<F> {
    /// Reads figures from the bytes that are their JSON text; of `null`, none.
    ///
    /// # Errors
    /// The parser's message.
    pub(super) fn read(json: &[u8]) -> Result<Option<Self>, String> {
        let figures: Option<F> = crate::json::read_borrowed(json)?;
        let text = || str::from_utf8(json).ok().map(Into::into);
        Ok(figures.map(|figures| Self { figures, text: text() }))
    }
}

impl<'de, F: DeserializeOwned> Deserialize<'de> for Told<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Box<str> = Box::<RawValue>::deserialize(deserializer)?.into();
        let figures = serde_json::from_str(&text).map_err(D::Error::custom)?;
        Ok(Self { figures, text: Some(text) })
    }
}

/// The same where serde has taken the text apart already, as it does for enums with a tag inside.
pub(super) fn reassembled<'de, F, D>(deserializer: D) -> Result<Told<F>, D::Error>
where
    F: DeserializeOwned,
    D: Deserializer<'de>,
{
    let value = Value::deserialize(deserializer)?;
    let figures = F::deserialize(&value).map_err(D::Error::custom)?;
    Ok(Told { figures, text: Some(value.to_string().into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Counts {
        seen: u64,
        said: u64,
    }

    impl Figures for Counts {
        fn usage(&self) -> Usage {
            Usage { input: self.seen, output: self.said, ..Usage::default() }
        }
    }

    #[test]
    fn figures_keep_their_text() {
        let told: Told<Counts> = serde_json::from_str(r#"{"seen": 3, "unknown": [1]}"#).unwrap();
        let usage = told.usage();
        assert_eq!((usage.input, usage.raw.0.as_deref()), (3, Some(r#"{"seen": 3, "unknown": [1]}"#)));
    }

    #[test]
    fn parts_of_a_stream_become_one_object() {
        let mut told: Told<Counts> = serde_json::from_str(r#"{"seen":3,"said":1}"#).unwrap();
        let later: Told<Counts> = serde_json::from_str(r#"{"said":9}"#).unwrap();
        told.add(later, |mine, later| mine.said = later.said);
        let usage = told.usage();
        assert_eq!(
            (usage.input, usage.output, usage.raw.0.as_deref()),
            (3, 9, Some(r#"{"seen":3,"said":9}"#))
        );
    }
}
