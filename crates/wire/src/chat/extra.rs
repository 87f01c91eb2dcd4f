//! Members a dialect has for itself, kept apart by family so that none leaks into another's body.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A family of dialects that understand one another's private members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// OpenAI chat completions and what is compatible with it.
    OpenAi,
    /// OpenAI responses.
    Responses,
    /// Anthropic messages, wherever they are served.
    Anthropic,
    /// Gemini generateContent (Gemini API and Vertex).
    Gemini,
    /// Bedrock Converse.
    Bedrock,
    /// Cohere v2 chat.
    Cohere,
    /// Ollama's native API.
    Ollama,
}

/// Uninterpreted members by the family that sent them; only the same family gets them back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Extra(Vec<(Family, Map<String, Value>)>);

impl Extra {
    /// No members at all.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, map)| map.is_empty())
    }

    /// The members `family` sent, if any.
    pub fn of(&self, family: Family) -> Option<&Map<String, Value>> {
        self.0.iter().find(|(owner, _)| *owner == family).map(|(_, map)| map)
    }

    /// One member `family` sent.
    pub fn get(&self, family: Family, key: &str) -> Option<&Value> {
        self.of(family).and_then(|map| map.get(key))
    }

    /// The members of `family`, for adding to.
    pub fn of_mut(&mut self, family: Family) -> &mut Map<String, Value> {
        let index = match self.0.iter().position(|(owner, _)| *owner == family) {
            Some(index) => index,
            None => {
                self.0.push((family, Map::new()));
                self.0.len() - 1
            }
        };
        &mut self.0[index].1
    }

    /// Remembers one member.
    pub fn put(&mut self, family: Family, key: impl Into<String>, value: Value) {
        self.of_mut(family).insert(key.into(), value);
    }

    /// Remembers all of `members` under `family`.
    pub fn from_map(family: Family, members: Map<String, Value>) -> Self {
        if members.is_empty() { Self::default() } else { Self(vec![(family, members)]) }
    }

    /// Families that have members here, with these members.
    pub fn families(&self) -> impl Iterator<Item = (Family, &Map<String, Value>)> {
        self.0.iter().map(|(family, map)| (*family, map))
    }
}
