//! Has somebody asked the same before? If so, its answer; if not, what keeps this one's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;

use faregate_router::{Resolved, Team};
use faregate_terms::{Ending, ModelGroup, PicoUsd};
use faregate_wire::chat::{ChatResponse, Folder, unfold};
use faregate_wire::dialect::{Abilities, Flavor, Losses, Quirks, StreamEnd, Target};
use faregate_wire::frame::SseFrames;

use crate::answers::controls::Controls;
use crate::answers::entry::{Entry, Facts, Shape};
use crate::answers::flights::{Joined, Lead};
use crate::answers::{Answers, MOST_BYTES, key};
use crate::call::Call;
use crate::gate::{Gate, Table};
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::stage::admit::Admitted;
use crate::stage::items::{Items, Wanted};
use crate::stage::plan;
use crate::stage::render::{render, reply};
use crate::stage::reserve::count;
use crate::stage::semantic::{self, Alike, Likeness};
use crate::stage::send::JSON;
use crate::stage::settle::estimate;
use crate::task::Task;

/// The longest wait for another request's answer; beyond it a request asks for itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the cache knew of a request.
#[derive(Debug)]
pub struct Looked {
    /// Its key.
    pub key: String,
    /// Whether it was asked at all.
    pub asked: bool,
    /// What is known of the answer it had.
    pub hit: Option<Facts>,
    /// How much the question of that answer means the same, if it was another one.
    pub similarity: Option<f32>,
}

/// An answer that was kept, in the form its client wants.
#[derive(Debug)]
pub struct Cached {
    /// Its bytes.
    pub body: Bytes,
    /// Their media type, if it is not the usual one of its shape.
    pub kind: Option<HeaderValue>,
}

impl Cached {
    /// The whole answer as JSON, also where the client wants a stream.
    pub fn whole(&self, call: &Call) -> Option<Bytes> {
        if !call.stream {
            return Some(self.body.clone());
        }
        let response = told(call, &self.body)?;
        Some(Bytes::from(render(call, &response, &mut Losses::default())))
    }
}

/// Asks the cache. What finds nothing gets what keeps its answer, if that may be kept.
///
/// # Errors
/// 400 for wishes that cannot be read; what refuses a caller its rate of requests.
pub async fn lookup(
    gate: &Arc<Gate>,
    table: &Table,
    answers: &Arc<Answers>,
    call: &Arc<Call>,
    admitted: &mut Admitted,
) -> Result<Option<Box<Cached>>, Refusal> {
    let operation = call.arrival.found.operation;
    // An answer that is made in the background is not there when its request ends.
    if !answers.covers(operation) || call.envelope.raw("background") == Some(b"true") {
        return Ok(None);
    }
    let controls = Controls::read(&call.options, &call.arrival.headers)?;
    let wanted = controls.wanted.unwrap_or(!answers.settings.opt_in);
    let team = plan::team(&admitted.principal);
    let Some(resolved) = resolved(table, team, &call.model).filter(|_| wanted) else { return Ok(None) };
    let owner = owner(table, team, &resolved);
    let group = resolved.group;
    let around = key::Circumstances {
        group: group.as_str(),
        owner,
        namespace: controls.namespace.as_deref().or(answers.settings.namespace.as_deref()),
        isolation: answers.settings.isolation,
        account: &admitted.meter.account,
        forwards_headers: table.settings.forward_client_headers,
    };
    let key = key::of(call, &around);
    if call.task == Some(Task::Embedding) {
        let ttl = controls.ttl.unwrap_or_else(|| answers.ttl());
        let wanted = Wanted {
            asks: (!controls.no_cache).then_some(controls.max_age),
            ttl: (!controls.no_store && !ttl.is_zero()).then_some(ttl),
        };
        let items = Items::of(gate, answers, call, group.clone(), &around, &wanted).await;
        let asked = wanted.asks.is_some();
        let coalesces = asked && wanted.ttl.is_some() && answers.settings.coalesce.unwrap_or(true);
        let shared = coalesces.then(|| key.clone());
        admitted.meter.looked = Some(Box::new(Looked { key, asked, hit: None, similarity: None }));
        return embeddings(gate, table, answers, call, group, items, shared, admitted).await;
    }
    let asks = !controls.no_cache;
    admitted.meter.looked =
        Some(Box::new(Looked { key: key.clone(), asked: asks, hit: None, similarity: None }));
    let ttl = controls.ttl.unwrap_or_else(|| answers.ttl());
    let keeps = !controls.no_store && !ttl.is_zero();
    let shape = shape_of(table, call);
    let mut lead = None;
    let mut likeness = None;
    if asks {
        let mut found = answers.find(&key, controls.max_age, &gate.metrics).await;
        let coalesces = keeps && !call.stream && answers.settings.coalesce.unwrap_or(true);
        if found.is_none() && coalesces {
            match answers.flights.join(&key, patience(table, call)).await {
                Joined::First(first) => lead = Some(first),
                Joined::Answer(answer) => found = Entry::decode(&answer),
                Joined::Nothing => {}
            }
        }
        if let Some(entry) = found
            && let Some(body) = in_form(call, shape, &entry)
        {
            return serve(gate, table, call, group, entry, body, None, admitted).await;
        }
    }
    if answers.nearest.is_some() && (asks || keeps) {
        likeness = semantic::likeness(gate, table, answers, call, &around, admitted.asker()).await;
        let alike = match &likeness {
            Some(likeness) if asks => {
                semantic::find(answers, likeness, controls.max_age, &gate.metrics).await
            }
            _ => None,
        };
        if let Some(Alike { entry, similarity }) = alike
            && let Some(body) = in_form(call, shape, &entry)
        {
            return serve(gate, table, call, group, entry, body, Some(similarity), admitted).await;
        }
    }
    if keeps {
        let (answers, metrics) = (Arc::clone(answers), Arc::clone(&gate.metrics));
        let room = Room { pieces: Vec::new(), size: 0 };
        admitted.keep = Some(Box::new(Keep {
            answers,
            metrics,
            key,
            ttl,
            group,
            shape,
            kind: None,
            lead,
            likeness,
            room: Some(room),
        }));
    }
    Ok(None)
}

/// Serves a kept answer, if the caller's rates let it.
#[expect(clippy::too_many_arguments, reason = "the parts of one answer, each named at its two call sites")]
async fn serve(
    gate: &Arc<Gate>,
    table: &Table,
    call: &Call,
    group: ModelGroup,
    entry: Entry,
    body: Bytes,
    similarity: Option<f32>,
    admitted: &mut Admitted,
) -> Result<Option<Box<Cached>>, Refusal> {
    count(gate, table, group.as_str(), call.arrival.id.clone(), admitted).await?;
    let kind = entry.facts.kind.as_deref().and_then(|kind| HeaderValue::from_str(kind).ok());
    hit(admitted, group, entry.facts);
    if let Some(looked) = &mut admitted.meter.looked {
        looked.similarity = similarity;
    }
    Ok(Some(Box::new(Cached { body, kind })))
}

/// The answer to a request all of whose inputs are known; else what is known of them stays with it.
#[expect(clippy::too_many_arguments, reason = "the parts of one lookup, each named at the only call site")]
async fn embeddings(
    gate: &Arc<Gate>,
    table: &Table,
    answers: &Answers,
    call: &Arc<Call>,
    group: ModelGroup,
    items: Option<Items>,
    shared: Option<String>,
    admitted: &mut Admitted,
) -> Result<Option<Box<Cached>>, Refusal> {
    let Some(mut items) = items else { return Ok(None) };
    let Some((kept, facts)) = items.complete(call) else {
        if let Some(key) = shared {
            match answers.flights.join(&key, patience(table, call)).await {
                Joined::First(first) => items.lead = Some(first),
                Joined::Answer(answer) => {
                    if let Some(entry) = Entry::decode(&answer) {
                        let body = entry.body.clone();
                        return serve(gate, table, call, group, entry, body, None, admitted).await;
                    }
                }
                Joined::Nothing => {}
            }
        }
        admitted.items = Some(Box::new(items));
        return Ok(None);
    };
    count(gate, table, group.as_str(), call.arrival.id.clone(), admitted).await?;
    hit(admitted, group, facts);
    Ok(Some(Box::new(kept)))
}

/// How long it waits for another request's answer.
fn patience(table: &Table, call: &Call) -> Duration {
    call.options.timeout.unwrap_or(table.settings.timeout).min(PATIENCE)
}

/// Notes what a kept answer used, that it cost nothing, and what it would have cost.
fn hit(admitted: &mut Admitted, group: ModelGroup, facts: Facts) {
    let meter = &mut admitted.meter;
    meter.group = Some(group);
    meter.usage.absorb(&facts.usage);
    meter.cost = Some(Some(PicoUsd::ZERO));
    meter.upstream_id.clone_from(&facts.upstream_id);
    meter.losses.clone_from(&facts.losses);
    if let Some(looked) = &mut meter.looked {
        looked.hit = Some(facts);
    }
}

/// What a name stands for; `None` for names that nobody serves this caller, which are refused elsewhere.
fn resolved(table: &Table, team: Team<'_>, model: &str) -> Option<Resolved> {
    let known = table.model_aliases.get(model).map_or(model, String::as_str);
    let resolved = table.router.resolve(known, table.prefixed(known).as_deref(), team).ok()?;
    table.router.is_for(&resolved, team).then_some(resolved)
}

/// Whose answers these are, if the group has deployments that not every team may use.
fn owner<'a>(table: &Table, team: Team<'a>, resolved: &Resolved) -> Option<&'a str> {
    let own = resolved.members.iter().any(|&index| table.router.deployments()[index].team.is_some());
    own.then_some(match team {
        Team::Of(team) => team,
        Team::Any => "every team",
        Team::None => "no team",
    })
}

fn shape_of(table: &Table, call: &Call) -> Shape {
    let always = table.settings.always_include_stream_usage == Some(true);
    Shape {
        stream: call.stream,
        usage: call.stream && (always || call.include_usage),
        alt_sse: call.stream && call.alt_sse,
    }
}

/// The bytes for this client: those of then, if it wants what the first one wanted, else the same answer in the
/// other form. `None` if it cannot be told in that form.
fn in_form(call: &Call, wanted: Shape, entry: &Entry) -> Option<Bytes> {
    let had = entry.facts.shape;
    if had == wanted {
        return Some(entry.body.clone());
    }
    let response = if had.stream {
        told(call, &entry.body)?
    } else {
        call.dialect.provider()?.decode(&itself(call, &Quirks::default()), &entry.body).ok()?
    };
    if !wanted.stream {
        return Some(Bytes::from(render(call, &response, &mut Losses::default())));
    }
    let mut encoder = call.client.encoder(reply(call));
    let mut out = Vec::with_capacity(entry.body.len() * 2);
    unfold(&response).iter().for_each(|event| encoder.event(event, &mut out));
    encoder.end(&mut out);
    Some(Bytes::from(out))
}

/// What a stream of server-sent events in the client's dialect tells; `None` if it is not whole.
fn told(call: &Call, stream: &[u8]) -> Option<ChatResponse> {
    folded(call, stream).filter(|(_, is_whole)| *is_whole).map(|(response, _)| response)
}

/// The same as one JSON document in that dialect, also of a stream that broke off.
pub(super) fn told_so_far(call: &Call, stream: &[u8]) -> Option<Vec<u8>> {
    folded(call, stream).map(|(response, _)| render(call, &response, &mut Losses::default()))
}

/// A stream as one answer, and whether it came to its end.
fn folded(call: &Call, stream: &[u8]) -> Option<(ChatResponse, bool)> {
    let quirks = Quirks::default();
    let mut decoder = call.dialect.provider()?.decoder(&itself(call, &quirks));
    let mut frames = SseFrames::new();
    if !frames.push(stream) {
        return None;
    }
    let (mut folder, mut events) = (Folder::new(), Vec::new());
    while let Some(frame) = frames.next_frame() {
        decoder.frame(frame, &mut events).ok()?;
    }
    let is_whole = decoder.end(&mut events) == StreamEnd::Complete;
    events.iter().for_each(|event| folder.add(event));
    Some((folder.finish(), is_whole))
}

/// What the client's own dialect is decoded as: a faithful provider of it.
fn itself<'a>(call: &'a Call, quirks: &'a Quirks) -> Target<'a> {
    Target {
        provider: "",
        model: &call.model,
        flavor: Flavor::Plain,
        abilities: Abilities::default(),
        quirks,
        may_modify: false,
        betas: Vec::new(),
    }
}

/// Keeps one answer, if it turns out to be worth it: whole, and as long as its client wanted. Dropped before,
/// it leaves the question to the next one who waits.
pub struct Keep {
    answers: Arc<Answers>,
    metrics: Arc<Metrics>,
    key: String,
    ttl: Duration,
    group: ModelGroup,
    shape: Shape,
    kind: Option<String>,
    lead: Option<Lead>,
    /// Where it stands among questions that mean the same, if those are compared.
    likeness: Option<Likeness>,
    /// The bytes so far; `None` once they are too many.
    room: Option<Room>,
}

struct Room {
    pieces: Vec<Bytes>,
    size: usize,
}

impl Keep {
    /// Remembers what the client is sent.
    pub fn piece(&mut self, piece: &Bytes) {
        self.room = self.room.take().and_then(|mut room| {
            room.size += piece.len();
            room.pieces.push(piece.clone());
            (room.size <= MOST_BYTES).then_some(room)
        });
    }

    /// Remembers an unusual media type.
    pub fn kind(&mut self, kind: &HeaderValue) {
        self.kind = kind.to_str().ok().filter(|_| *kind != JSON).map(str::to_owned);
    }

    /// There will be no answer to keep: those that wait ask for themselves.
    pub fn give_up(mut self) {
        if let Some(lead) = self.lead.take() {
            lead.alone();
        }
    }

    /// Keeps the answer that has been sent.
    pub fn finish(mut self, admitted: &mut Admitted) {
        let is_bounded = admitted.held.as_ref().is_some_and(|held| held.longest.is_some());
        let meter = &mut admitted.meter;
        let is_whole = meter.ending == Ending::Complete && !meter.cut && !is_bounded;
        // What a fallback answered is not the answer of this group.
        let is_of_group = meter.group.as_ref() == Some(&self.group);
        let Some(room) = self.room.as_ref().filter(|_| is_whole && is_of_group) else {
            return self.give_up();
        };
        estimate(meter);
        let cost = meter.price();
        let destination = meter.destination.as_deref();
        let facts = Facts {
            at: self.answers.now_ms(),
            shape: self.shape,
            usage: meter.usage.clone(),
            cost,
            upstream_id: meter.upstream_id.clone(),
            deployment: destination.map(|it| it.deployment.to_string()),
            provider: destination.map(|it| it.provider.name.to_owned()),
            model: destination.map(|it| it.model.clone()),
            losses: meter.losses.clone(),
            kind: self.kind.clone(),
        };
        match Entry::encode(&facts, &room.pieces) {
            Some(answer) => {
                if let Some(likeness) = self.likeness.take() {
                    semantic::keep(&self.answers, likeness, answer.clone(), self.ttl, &self.metrics);
                }
                self.answers.keep(self.key, answer, self.ttl, self.lead, &self.metrics);
            }
            None => self.give_up(),
        }
    }
}
