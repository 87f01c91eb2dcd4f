//! Model groups that choose another group by what is asked (`model: auto_router/...`).
//!
//! A route is a group with utterances, questions of the kind it is for. The question is embedded; the route whose
//! nearest utterance is near enough serves the request, else the default. Source: compat, config §1.1,
//! `auto_router_*`; LiteLLM, "Auto Routing" (its file is that of the semantic-router library).

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use faregate_config::DeploymentConfig;
use faregate_wire::chat::{Part, Role};

use crate::call::Call;
use crate::gate::{Gate, Table};
use crate::refusal::Refusal;
use crate::stage::plan::Asker;
use crate::stage::vectors::vectors;

/// What models of this kind begin with.
pub const PREFIX: &str = "auto_router/";
/// How near a question must be to an utterance when its route does not say. Source: LiteLLM's example.
const THRESHOLD: f32 = 0.5;
/// How long a request waits for vectors; then the default serves it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Utterances that are embedded in one call.
const AT_ONCE: usize = 256;

/// Chooses a group.
pub struct AutoRouter {
    routes: Vec<Route>,
    default: String,
    embedding_model: String,
    /// Vectors of the utterances, route by route, once the first request asked for them.
    known: OnceCell<Vec<Vec<Vec<f32>>>>,
}

/// A group and what it is for.
#[derive(Debug, Deserialize)]
struct Route {
    name: String,
    utterances: Vec<String>,
    #[serde(default)]
    score_threshold: Option<f32>,
}

#[derive(Deserialize)]
struct Routes {
    encoder_name: Option<String>,
    routes: Vec<Route>,
}

/// A choice with its reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The group that serves the request.
    pub group: String,
    /// How near the question is to each route, by its group; empty if that could not be told.
    pub similarities: Vec<(String, f32)>,
    /// Why.
    pub reason: &'static str,
}

impl AutoRouter {
    /// Reads a deployment's settings; `None` for deployments of another kind.
    pub fn of(deployment: &DeploymentConfig) -> Option<Result<Self, String>> {
        deployment.params.model.starts_with(PREFIX).then(|| Self::read(&deployment.params.settings.0))
    }

    fn read(settings: &Map<String, Value>) -> Result<Self, String> {
        let text = |name: &str| settings.get(name).and_then(Value::as_str).map(str::to_owned);
        let routes = match settings.get("auto_router_config") {
            Some(Value::String(text)) => serde_json::from_str(text),
            Some(other) => serde_json::from_value(other.clone()),
            None => {
                return Err(match text("auto_router_config_path") {
                    Some(path) => format!("auto_router_config_path: `{path}` cannot be read"),
                    None => {
                        "set auto_router_config or auto_router_config_path: the routes as JSON".to_owned()
                    }
                });
            }
        };
        let routes: Routes = routes.map_err(|error| format!("auto_router_config: {error}"))?;
        if routes.routes.iter().all(|route| route.utterances.is_empty()) {
            return Err("auto_router_config: no route has utterances".to_owned());
        }
        Ok(Self {
            default: text("auto_router_default_model")
                .ok_or("set auto_router_default_model: the group for what fits no route")?,
            embedding_model: text("auto_router_embedding_model")
                .or(routes.encoder_name)
                .ok_or("set auto_router_embedding_model: a model group that embeds")?,
            routes: routes.routes,
            known: OnceCell::new(),
        })
    }

    /// Chooses a group for a call, on account of `asker`'s request.
    pub(crate) async fn choose(
        &self,
        gate: &Arc<Gate>,
        table: &Table,
        call: &Call,
        asker: Asker<'_>,
    ) -> Choice {
        let Some(question) = question(call) else { return self.otherwise("no question in words") };
        match self.similarities(gate, table, question, asker).await {
            Ok(similarities) => self.nearest(similarities),
            Err(refusal) => {
                tracing::warn!(
                    group = call.model, default = self.default, reason = %refusal,
                    "an auto router has no vectors; its default model serves"
                );
                self.otherwise("no vectors")
            }
        }
    }

    fn otherwise(&self, reason: &'static str) -> Choice {
        Choice { group: self.default.clone(), similarities: Vec::new(), reason }
    }

    fn nearest(&self, similarities: Vec<f32>) -> Choice {
        let fits = self
            .routes
            .iter()
            .zip(&similarities)
            .filter(|(route, near)| **near >= route.score_threshold.unwrap_or(THRESHOLD))
            .max_by(|one, other| one.1.total_cmp(other.1));
        let (group, reason) = match fits {
            Some((route, _)) => (route.name.clone(), "nearest utterance"),
            None => (self.default.clone(), "no utterance is near enough"),
        };
        let names = self.routes.iter().map(|route| route.name.clone());
        Choice { group, similarities: names.zip(similarities).collect(), reason }
    }

    /// How near the question is to the nearest utterance of each route.
    async fn similarities(
        &self,
        gate: &Arc<Gate>,
        table: &Table,
        question: String,
        asker: Asker<'_>,
    ) -> Result<Vec<f32>, Refusal> {
        let model = &self.embedding_model;
        let known = self.known.get_or_try_init(|| self.learn(gate, table, asker)).await?;
        let asked = vectors(gate, table, model, &[question], PATIENCE, asker).await?;
        let asked = asked.first().map_or(&[][..], Vec::as_slice);
        let near = |utterances: &Vec<Vec<f32>>| {
            utterances.iter().map(|utterance| similarity(asked, utterance)).fold(-1.0, f32::max)
        };
        Ok(known.iter().map(near).collect())
    }

    async fn learn(
        &self,
        gate: &Arc<Gate>,
        table: &Table,
        asker: Asker<'_>,
    ) -> Result<Vec<Vec<Vec<f32>>>, Refusal> {
        let all: Vec<String> = self.routes.iter().flat_map(|route| route.utterances.clone()).collect();
        let mut known = Vec::with_capacity(all.len());
        for some in all.chunks(AT_ONCE) {
            known.extend(vectors(gate, table, &self.embedding_model, some, PATIENCE, asker).await?);
        }
        let mut known = known.into_iter();
        Ok(self.routes.iter().map(|route| known.by_ref().take(route.utterances.len()).collect()).collect())
    }
}

impl Choice {
    /// For those who ask why.
    pub fn explained(&self) -> Value {
        let near =
            |(group, near): &(String, f32)| (group.clone(), json!((f64::from(*near) * 1e4).round() / 1e4));
        let similarities: Map<String, Value> = self.similarities.iter().map(near).collect();
        json!({"group": self.group, "reason": self.reason, "similarities": similarities})
    }
}

/// The cosine of the angle between two vectors; -1 for vectors that cannot be compared.
fn similarity(one: &[f32], other: &[f32]) -> f32 {
    if one.len() != other.len() || one.is_empty() {
        return -1.0;
    }
    let dot = |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
    let length = dot(one, one).sqrt() * dot(other, other).sqrt();
    if length > 0.0 { dot(one, other) / length } else { -1.0 }
}

/// What the user said last, if that is words.
fn question(call: &Call) -> Option<String> {
    let request = call.request().ok().filter(|_| call.task.is_none())?;
    let last = request.messages.iter().rev().find(|message| message.role == Role::User)?;
    let texts = last.parts.iter().filter_map(|part| match part {
        Part::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    let question = texts.collect::<Vec<_>>().join("\n");
    (!question.trim().is_empty()).then_some(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(settings: Value) -> Result<AutoRouter, String> {
        AutoRouter::read(settings.as_object().unwrap())
    }

    fn settings() -> Value {
        json!({
            "auto_router_config": json!({"encoder_name": "embed", "routes": [
                {"name": "code", "utterances": ["write a function"], "score_threshold": 0.6},
                {"name": "poems", "utterances": ["write a poem", "rhyme"]}]}).to_string(),
            "auto_router_default_model": "cheap",
        })
    }

    #[test]
    fn the_nearest_route_that_is_near_enough_is_chosen() {
        let router = router(settings()).unwrap();
        for (near, group, reason) in [
            (vec![0.9, 0.2], "code", "nearest utterance"),
            (vec![0.7, 0.8], "poems", "nearest utterance"),
            (vec![0.55, 0.52], "poems", "nearest utterance"),
            (vec![0.59, 0.4], "cheap", "no utterance is near enough"),
        ] {
            let choice = router.nearest(near.clone());
            assert_eq!((choice.group.as_str(), choice.reason), (group, reason), "{near:?}");
        }
    }

    #[test]
    fn vectors_are_compared_by_direction() {
        assert_eq!(similarity(&[2.0, 0.0], &[5.0, 0.0]), 1.0);
        assert_eq!(similarity(&[1.0, 0.0], &[0.0, 3.0]), 0.0);
        for (one, other) in [(&[1.0][..], &[1.0, 1.0][..]), (&[], &[]), (&[0.0], &[1.0])] {
            assert_eq!(similarity(one, other), -1.0);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(router(settings()).unwrap().embedding_model, "embed");
        for (key, value) in [
            ("auto_router_config", Value::Null),
            ("auto_router_config", json!("{")),
            ("auto_router_config", json!({"routes": []})),
            ("auto_router_default_model", Value::Null),
        ] {
            let mut settings = settings();
            match value {
                Value::Null => drop(settings.as_object_mut().unwrap().remove(key)),
                value => settings[key] = value,
            }
            let error = router(settings).err().unwrap();
            assert!(error.contains(key), "{error}");
        }
    }
}
