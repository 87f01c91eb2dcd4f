//! The few objects that provider APIs keep between requests: responses and predictions.

use std::collections::HashMap;

use parking_lot::Mutex;
use serde_json::Value;

use crate::reply::{Ask, Reply};
use crate::scenario::Scenario;

/// Objects kept of each kind; when full, all are forgotten, so that a long benchmark does not grow.
const CAPACITY: usize = 10_000;

/// A stored response with the items that led to it.
#[derive(Debug, Clone)]
pub(crate) struct StoredResponse {
    pub answer: Value,
    pub input: Vec<Value>,
}

/// A prediction: composed at once, handed out by and by.
#[derive(Debug)]
pub(crate) struct Prediction {
    pub ask: Ask,
    pub scenario: Scenario,
    pub outcome: Result<Reply, String>,
    pub input: Value,
    /// How often it was asked for: `starting`, then `processing`, then its end.
    pub polls: usize,
    pub canceled: bool,
    pub created: u64,
}

/// Kept objects by id.
#[derive(Debug, Default)]
pub(crate) struct Store {
    responses: Mutex<HashMap<String, StoredResponse>>,
    pub predictions: Mutex<HashMap<String, Prediction>>,
}

impl Store {
    pub(crate) fn response(&self, id: &str) -> Option<StoredResponse> {
        self.responses.lock().get(id).cloned()
    }

    pub(crate) fn keep_response(&self, id: String, response: StoredResponse) {
        keep(&mut self.responses.lock(), id, response);
    }

    pub(crate) fn delete_response(&self, id: &str) -> bool {
        self.responses.lock().remove(id).is_some()
    }

    pub(crate) fn keep_prediction(&self, id: String, prediction: Prediction) {
        keep(&mut self.predictions.lock(), id, prediction);
    }

    pub(crate) fn clear(&self) {
        self.responses.lock().clear();
        self.predictions.lock().clear();
    }
}

fn keep<T>(map: &mut HashMap<String, T>, id: String, object: T) {
    if map.len() >= CAPACITY {
        map.clear();
    }
    map.insert(id, object);
}
