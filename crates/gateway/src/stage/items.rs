//! The response cache for embeddings: each input by itself.
//!
//! What was embedded before is not sent again, whatever list it stood in then. The provider is asked for the rest
//! alone, and the client gets the whole in its order.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use serde_json::value::RawValue;

use faregate_terms::{ModelGroup, PicoUsd, Usage};
use faregate_wire::dialect::Edit;
use faregate_wire::envelope::{Envelope, join};
use faregate_wire::json;
use faregate_wire::task::embedding::Embeddings;

use crate::answers::Answers;
use crate::answers::entry::{Entry, Facts, Shape};
use crate::answers::flights::Lead;
use crate::answers::key::{self, Circumstances};
use crate::call::Call;
use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::stage::admit::Admitted;
use crate::stage::send::{Answer, JSON};

/// Keys that are looked up at a time.
const AT_ONCE: usize = 32;
const SHAPE: Shape = Shape { stream: false, usage: false, alt_sse: false };

/// The inputs of one request, and what is known of them.
pub struct Items {
    answers: Arc<Answers>,
    metrics: Arc<Metrics>,
    group: ModelGroup,
    /// `None` if nothing is to be kept.
    ttl: Option<Duration>,
    keys: Vec<String>,
    texts: Vec<Box<RawValue>>,
    found: Vec<Option<Entry>>,
    /// Set if others may wait for the same.
    pub(super) lead: Option<Lead>,
}

impl Items {
    /// Looks every input up; `None` for a body that holds none. `asks` if answers may be taken, no older than that;
    /// new ones are kept for `ttl`.
    pub(super) async fn of(
        gate: &Gate,
        answers: &Arc<Answers>,
        call: &Call,
        group: &ModelGroup,
        around: &Circumstances<'_>,
        asks: Option<Option<Duration>>,
        ttl: Option<Duration>,
    ) -> Option<Self> {
        let texts = texts(call)?;
        let keys: Vec<String> =
            texts.iter().map(|text| key::of_item(call, around, text.get().as_bytes())).collect();
        let found = match asks {
            None => texts.iter().map(|_| None).collect(),
            Some(max_age) => {
                let mut found = Vec::with_capacity(keys.len());
                for some in keys.chunks(AT_ONCE) {
                    let mut asked = FuturesOrdered::new();
                    for key in some {
                        asked.push_back(answers.find(key, max_age, &gate.metrics));
                    }
                    found.extend(asked.collect::<Vec<_>>().await);
                }
                found
            }
        };
        let (answers, metrics) = (Arc::clone(answers), Arc::clone(&gate.metrics));
        Some(Self { answers, metrics, group: group.clone(), ttl, keys, texts, found, lead: None })
    }

    /// The whole answer with what it once used and cost, if every input was known.
    pub(super) fn complete(&self, call: &Call) -> Option<(Bytes, Facts)> {
        let mut facts = self.found.first()?.as_ref()?.facts.clone();
        (facts.usage, facts.cost) = (Usage::default(), Some(PicoUsd::ZERO));
        for entry in &self.found {
            let entry = entry.as_ref()?;
            facts.usage.add(&entry.facts.usage);
            facts.cost = facts.cost.zip(entry.facts.cost).map(|(sum, cost)| sum + cost);
            facts.at = facts.at.min(entry.facts.at);
        }
        let vectors = self.found.iter().flatten().map(vector).collect::<Option<_>>()?;
        let all = Embeddings { vectors, usage: facts.usage.clone(), id: String::new() };
        Some((Bytes::from(all.write(&call.model, false)), facts))
    }

    /// The call for the inputs that nobody knows; `None` if that is all of them.
    ///
    /// # Errors
    /// If the body cannot be indexed again, which bodies indexed before can.
    fn rest(&self, call: &Call) -> Result<Option<Call>, Refusal> {
        let unknown: Vec<&RawValue> = self.unknown().map(|index| &*self.texts[index]).collect();
        if unknown.len() == self.texts.len() {
            return Ok(None);
        }
        let body = join(call.envelope.spliced(&[Edit::Set("input", json::write(&unknown))]));
        Ok(Some(call.with_envelope(Envelope::index(body)?)))
    }

    fn unknown(&self) -> impl Iterator<Item = usize> {
        self.found.iter().enumerate().filter(|(_, entry)| entry.is_none()).map(|(index, _)| index)
    }

    /// The provider's answer completed with what was known; what is new in it is kept.
    fn completed(&self, call: &Call, answer: Answer, admitted: &Admitted) -> Answer {
        let (body, headers, glance) = match answer {
            Answer::Same { body, headers, glance } => (body, headers, glance),
            Answer::Made { body, headers, glance, .. } => (body, headers, glance),
            other => return other,
        };
        let unknown: Vec<usize> = self.unknown().collect();
        let fresh = Embeddings::read(&body).ok().filter(|it| it.vectors.len() == unknown.len());
        let Some(fresh) = fresh else { return Answer::Same { body, headers, glance } };
        self.keep(&unknown, &fresh, &glance.usage, admitted);
        if unknown.len() == self.texts.len() {
            return Answer::Same { body, headers, glance };
        }
        let mut usage = glance.usage.clone();
        let mut fresh = fresh.vectors.into_iter();
        let vectors = self.found.iter().map(|entry| match entry {
            Some(entry) => {
                usage.input = usage.input.saturating_add(entry.facts.usage.input);
                vector(entry)
            }
            None => fresh.next(),
        });
        let vectors = vectors.collect::<Option<Vec<_>>>().unwrap_or_default();
        let all = Embeddings { vectors, usage, id: String::new() };
        Answer::Made { body: all.write(&call.model, false).into(), kind: JSON, headers, glance }
    }

    /// Hands the answer to those that wait for the same; a fallback's they ask for themselves.
    fn share(self, answer: &Answer, admitted: &Admitted) {
        let Some(lead) = self.lead else { return };
        let (body, usage) = match answer {
            Answer::Same { body, glance, .. } | Answer::Made { body, glance, .. } => (body, &glance.usage),
            _ => return lead.alone(),
        };
        let facts = facts(&self.answers, admitted, usage.clone());
        match Entry::encode(&facts, std::slice::from_ref(body)) {
            Some(entry) if admitted.meter.group.as_ref() == Some(&self.group) => lead.answered(entry),
            _ => lead.alone(),
        }
    }

    /// Keeps each new vector with its part of what they all used.
    fn keep(&self, unknown: &[usize], fresh: &Embeddings, usage: &Usage, admitted: &Admitted) {
        let meter = &admitted.meter;
        // What a fallback answered is not the answer of this group.
        let (Some(ttl), true) = (self.ttl, meter.group.as_ref() == Some(&self.group)) else { return };
        let lengths: Vec<u64> = unknown.iter().map(|&index| self.texts[index].get().len() as u64).collect();
        let parts = shares(usage.input, &lengths);
        for ((&index, vector), input) in unknown.iter().zip(&fresh.vectors).zip(parts) {
            let facts = facts(&self.answers, admitted, Usage { input, ..Usage::default() });
            let piece = Bytes::copy_from_slice(vector.get().as_bytes());
            if let Some(entry) = Entry::encode(&facts, &[piece]) {
                self.answers.keep(self.keys[index].clone(), entry, ttl, None, &self.metrics);
            }
        }
    }
}

/// The call that is left to be made.
///
/// # Errors
/// If the body cannot be indexed again, which bodies indexed before can.
pub(crate) fn narrowed(call: Arc<Call>, admitted: &mut Admitted) -> Result<Arc<Call>, Refusal> {
    let Some(items) = &admitted.items else { return Ok(call) };
    let Some(rest) = items.rest(&call)? else { return Ok(call) };
    admitted.meter.input_bytes = rest.envelope.body().len() as u64;
    Ok(Arc::new(rest))
}

/// The answer to all that was asked.
pub(crate) fn completed(call: &Call, answer: Answer, admitted: &mut Admitted) -> Answer {
    match admitted.items.take() {
        Some(items) => {
            let answer = items.completed(call, answer, admitted);
            items.share(&answer, admitted);
            answer
        }
        None => answer,
    }
}

/// What is known of an answer that used this.
fn facts(answers: &Answers, admitted: &Admitted, usage: Usage) -> Facts {
    let meter = &admitted.meter;
    let destination = meter.destination.as_deref();
    Facts {
        at: answers.now_ms(),
        shape: SHAPE,
        cost: destination.and_then(|it| it.cost(&usage)),
        usage,
        upstream_id: None,
        deployment: destination.map(|it| it.deployment.to_string()),
        provider: destination.map(|it| it.provider.name.to_owned()),
        model: destination.map(|it| it.model.clone()),
        losses: meter.losses.clone(),
        kind: None,
    }
}

/// The inputs as they stand in the body.
fn texts(call: &Call) -> Option<Vec<Box<RawValue>>> {
    let raw = call.envelope.raw("input")?;
    let whole: &RawValue = serde_json::from_slice(raw).ok()?;
    let list: Option<Vec<&RawValue>> = serde_json::from_slice(raw).ok();
    let is_list =
        |items: &Vec<&RawValue>| items.first().is_some_and(|first| first.get().starts_with(['"', '[']));
    Some(match list.filter(is_list) {
        Some(items) => items.into_iter().map(RawValue::to_owned).collect(),
        None => vec![whole.to_owned()],
    })
}

fn vector(entry: &Entry) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(entry.body.to_vec()).ok()?).ok()
}

/// Divides a count by these weights, to the last one.
fn shares(count: u64, weights: &[u64]) -> Vec<u64> {
    let all = u128::from(weights.iter().sum::<u64>().max(1));
    let (mut seen, mut given) = (0_u128, 0_u64);
    let share = |&weight: &u64| {
        seen += u128::from(weight);
        let until = u64::try_from(u128::from(count) * seen / all).unwrap_or(count);
        let part = until - given;
        given = until;
        part
    };
    weights.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_whole() {
        for (count, weights) in [(10, vec![1, 1, 1]), (7, vec![3]), (0, vec![1, 2]), (1, vec![5, 5, 5, 5])] {
            let parts = shares(count, &weights);
            assert_eq!(parts.iter().sum::<u64>(), count, "{weights:?}");
            assert_eq!(parts.len(), weights.len());
        }
        assert_eq!(shares(10, &[4, 6]), [4, 6]);
    }
}
