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
use crate::stage::items::Items;
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
    let around = key::Circumstances {
        group: resolved.group.as_str(),
        owner,
        namespace: controls.namespace.as_deref().or(answers.settings.namespace.as_deref()),
        isolation: answers.settings.isolation,
        account: &admitted.meter.account,
        forwards_headers: table.settings.forward_client_headers,
    };
    let ttl = Some(controls.ttl.unwrap_or_else(|| answers.ttl()));
    let search = Search {
        gate,
        table,
        answers,
        call,
        key: key::of(call, &around),
        asks: (!controls.no_cache).then_some(controls.max_age),
        ttl: ttl.filter(|ttl| !controls.no_store && !ttl.is_zero()),
        shape: shape_of(table, call),
        group: resolved.group.clone(),
    };
    let (key, asked) = (search.key.clone(), search.asks.is_some());
    admitted.meter.looked = Some(Box::new(Looked { key, asked, hit: None, similarity: None }));
    if call.task == Some(Task::Embedding) {
        let items = Items::of(gate, answers, call, &search.group, &around, search.asks, search.ttl).await;
        return search.embeddings(items, admitted).await;
    }
    let (found, lead) = search.exact(!call.stream).await;
    if let Some(kept) = found.and_then(|entry| search.in_form(entry, None)) {
        return search.serve(kept, admitted).await;
    }
    let (found, likeness) = search.alike(&around, admitted).await;
    if let Some(kept) = found.and_then(|alike| search.in_form(alike.entry, Some(alike.similarity))) {
        return search.serve(kept, admitted).await;
    }
    admitted.keep = search.keep(lead, likeness).map(Box::new);
    Ok(None)
}

/// One look into the cache.
struct Search<'a> {
    gate: &'a Arc<Gate>,
    table: &'a Table,
    answers: &'a Arc<Answers>,
    call: &'a Arc<Call>,
    key: String,
    /// Set if an answer may come from the cache: how old it may be.
    asks: Option<Option<Duration>>,
    /// Set if a new answer is kept: how long.
    ttl: Option<Duration>,
    shape: Shape,
    group: ModelGroup,
}

/// A kept answer in the form that is wanted.
struct Kept {
    body: Bytes,
    facts: Facts,
    similarity: Option<f32>,
}

impl Search<'_> {
    /// The answer to exactly this question, of then or of somebody who asks it now; else perhaps the duty to get one.
    async fn exact(&self, may_wait: bool) -> (Option<Entry>, Option<Lead>) {
        let Some(max_age) = self.asks else { return (None, None) };
        let found = self.answers.find(&self.key, max_age, &self.gate.metrics).await;
        if found.is_some() || !may_wait {
            return (found, None);
        }
        self.together().await
    }

    /// The answer of somebody who asks the same now; else perhaps the duty to get one.
    async fn together(&self) -> (Option<Entry>, Option<Lead>) {
        if self.asks.is_none() || self.ttl.is_none() || !self.answers.settings.coalesce.unwrap_or(true) {
            return (None, None);
        }
        let patience = self.call.options.timeout.unwrap_or(self.table.settings.timeout).min(PATIENCE);
        match self.answers.flights.join(&self.key, patience).await {
            Joined::First(lead) => (None, Some(lead)),
            Joined::Answer(answer) => (Entry::decode(&answer), None),
            Joined::Nothing => (None, None),
        }
    }

    /// The answer to a question that means the same, and where this one stands among those.
    async fn alike(
        &self,
        around: &key::Circumstances<'_>,
        admitted: &Admitted,
    ) -> (Option<Alike>, Option<Likeness>) {
        if self.answers.nearest.is_none() || (self.asks.is_none() && self.ttl.is_none()) {
            return (None, None);
        }
        let Self { gate, table, answers, call, .. } = *self;
        let likeness = semantic::likeness(gate, table, answers, call, around, admitted.asker()).await;
        let found = match (&likeness, self.asks) {
            (Some(likeness), Some(max_age)) => {
                semantic::find(answers, likeness, max_age, &gate.metrics).await
            }
            _ => None,
        };
        (found, likeness)
    }

    /// The answer to a request for embeddings all of whose inputs are known, or that somebody else gets right now;
    /// else what is known of them stays with the request.
    async fn embeddings(
        self,
        items: Option<Items>,
        admitted: &mut Admitted,
    ) -> Result<Option<Box<Cached>>, Refusal> {
        let Some(mut items) = items else { return Ok(None) };
        if let Some((body, facts)) = items.complete(self.call) {
            return self.serve(Kept { body, facts, similarity: None }, admitted).await;
        }
        let (found, lead) = self.together().await;
        if let Some(Entry { body, facts }) = found {
            return self.serve(Kept { body, facts, similarity: None }, admitted).await;
        }
        items.lead = lead;
        admitted.items = Some(Box::new(items));
        Ok(None)
    }

    /// The answer as this client wants it; `None` if it cannot be told so.
    fn in_form(&self, entry: Entry, similarity: Option<f32>) -> Option<Kept> {
        let body = in_form(self.call, self.shape, &entry)?;
        Some(Kept { body, facts: entry.facts, similarity })
    }

    /// Serves a kept answer, if the caller's rates let it.
    async fn serve(self, kept: Kept, admitted: &mut Admitted) -> Result<Option<Box<Cached>>, Refusal> {
        let call_id = self.call.arrival.id.clone();
        count(self.gate, self.table, self.group.as_str(), call_id, admitted).await?;
        let Kept { body, facts, similarity } = kept;
        let kind = facts.kind.as_deref().and_then(|kind| HeaderValue::from_str(kind).ok());
        hit(admitted, self.group, facts);
        if let Some(looked) = &mut admitted.meter.looked {
            looked.similarity = similarity;
        }
        Ok(Some(Box::new(Cached { body, kind })))
    }

    /// What keeps the answer that is still to come.
    fn keep(self, lead: Option<Lead>, likeness: Option<Likeness>) -> Option<Keep> {
        Some(Keep {
            answers: Arc::clone(self.answers),
            metrics: Arc::clone(&self.gate.metrics),
            key: self.key,
            ttl: self.ttl?,
            group: self.group,
            shape: self.shape,
            kind: None,
            lead,
            likeness,
            room: Some(Room { pieces: Vec::new(), size: 0 }),
        })
    }
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
