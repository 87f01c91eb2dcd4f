//! Stored OpenAI responses: what `previous_response_id` continues from.
//!
//! Kept in memory, bounded in number and bytes, oldest first out; the store of a later version will keep
//! them across replicas.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;

/// Responses kept.
const MOST_RESPONSES: usize = 10_000;
/// Bytes of conversation kept.
const MOST_BYTES: usize = 256 * 1024 * 1024;

/// One stored response.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The response object as the client got it.
    pub response: Arc<Value>,
    /// The whole conversation that led to it, as input items, its own output not included.
    pub input: Arc<Vec<Value>>,
    /// Its output, as input items of the next turn.
    pub output: Arc<Vec<Value>>,
    size: usize,
}

/// All stored responses.
#[derive(Default)]
pub struct Sessions(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    by_id: HashMap<String, Stored>,
    order: VecDeque<String>,
    /// Output item → the response it belongs to.
    items: HashMap<String, String>,
    bytes: usize,
}

impl Stored {
    /// A response to keep. `body` is what the client got, for its size.
    pub fn new(response: Value, input: Vec<Value>, output: Vec<Value>, body: &Bytes) -> Self {
        let size = body.len() + input.iter().map(|item| item.to_string().len()).sum::<usize>();
        Self { response: Arc::new(response), input: Arc::new(input), output: Arc::new(output), size }
    }
}

impl Sessions {
    /// Keeps a response under its id.
    pub fn keep(&self, id: &str, stored: Stored) {
        let mut shelf = self.0.lock();
        shelf.bytes += stored.size;
        let items: Vec<String> = item_ids(&stored).map(str::to_owned).collect();
        shelf.items.extend(items.into_iter().map(|item| (item, id.to_owned())));
        if let Some(old) = shelf.by_id.insert(id.to_owned(), stored) {
            shelf.bytes -= old.size;
        } else {
            shelf.order.push_back(id.to_owned());
        }
        while shelf.by_id.len() > MOST_RESPONSES || (shelf.bytes > MOST_BYTES && shelf.by_id.len() > 1) {
            let Some(oldest) = shelf.order.pop_front() else { break };
            shelf.forget(&oldest);
        }
    }

    /// The response of that id.
    pub fn get(&self, id: &str) -> Option<Stored> {
        self.0.lock().by_id.get(id).cloned()
    }

    /// Forgets a response; false if there was none.
    pub fn remove(&self, id: &str) -> bool {
        let mut shelf = self.0.lock();
        if !shelf.forget(id) {
            return false;
        }
        shelf.order.retain(|known| known != id);
        true
    }

    /// An output item of any stored response.
    pub fn item(&self, id: &str) -> Option<Value> {
        let shelf = self.0.lock();
        let stored = shelf.by_id.get(shelf.items.get(id)?)?;
        stored.output.iter().find(|item| item.get("id").and_then(Value::as_str) == Some(id)).cloned()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.0.lock().by_id.len()
    }

    /// True if none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shelf {
    fn forget(&mut self, id: &str) -> bool {
        let Some(old) = self.by_id.remove(id) else { return false };
        self.bytes -= old.size;
        for item in item_ids(&old) {
            self.items.remove(item);
        }
        true
    }
}

fn item_ids(stored: &Stored) -> impl Iterator<Item = &str> {
    stored.output.iter().filter_map(|item| item.get("id").and_then(Value::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Stored {
        Stored::new(Value::Null, Vec::new(), Vec::new(), &Bytes::from_static(b"x"))
    }

    #[test]
    fn the_oldest_goes_when_the_shelf_is_full() {
        let sessions = Sessions::default();
        for number in 0..=MOST_RESPONSES {
            sessions.keep(&number.to_string(), stored());
        }
        assert_eq!(sessions.len(), MOST_RESPONSES);
        assert!(sessions.get("0").is_none() && sessions.get("1").is_some());
    }

    #[test]
    fn what_is_removed_is_gone_once() {
        let sessions = Sessions::default();
        sessions.keep("a", stored());
        assert!(sessions.remove("a"));
        assert!(!sessions.remove("a"));
    }
}
