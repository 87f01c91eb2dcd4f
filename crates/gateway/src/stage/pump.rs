//! Moves a stream from the provider to the client, one pull at a time.
//!
//! Nothing is spawned and nothing runs ahead: the connection asks for the next piece when it has room,
//! the pump then reads the provider. A client that leaves drops the pump, and with it the provider's
//! connection and the admitted request, which settles.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use faregate_terms::{Fault, FaultClass};
use faregate_upstream::Alarm;
use faregate_wire::chat::{ChatResponse, Event, Family, FinishReason, Folder};
use faregate_wire::dialect::{Framing, StreamDecoder, StreamEncoder, StreamEnd};
use faregate_wire::frame::{AwsFrames, NdJsonFrames, SseFrames};
use http_body::Body as _;

use crate::body::Source;
use crate::call::Call;
use crate::destination::Destination;
use crate::gate::Table;
use crate::stage::admit::{Admitted, Held, How, Meter, Short};
use crate::stage::forward::Forward;
use crate::stage::relay::Relaying;
use crate::stage::render::{bare_reply, reply};
use crate::stage::seam::Seam;
use crate::stage::settle::Recorded;
use crate::stage::tap::{is_visible, note, read_block, remember};

mod graft;

/// How long the first visible output is awaited before the answer's head goes out without it: clients
/// and proxies give a silent connection up.
const COMMIT_AFTER: Duration = Duration::from_secs(10);

/// Bytes gathered before a piece goes out although more are there.
const PIECE: usize = 16 * 1024;

/// What an answer may still grow by while its end is written.
const LAST_TOKENS: u64 = 4;

/// A stream on its way.
pub struct Pump {
    call: Arc<Call>,
    destination: Arc<Destination>,
    upstream: Option<faregate_upstream::Body>,
    frames: Frames,
    decoder: Box<dyn StreamDecoder>,
    encoder: Box<dyn StreamEncoder>,
    mode: Mode,
    /// Events of a provider that cannot stream.
    replay: VecDeque<Event>,
    events: Vec<Event>,
    /// Events read before it was known whether somebody wants the whole answer.
    seen: Vec<Event>,
    /// True if somebody may.
    keeps: bool,
    out: Vec<u8>,
    state: State,
    admitted: Option<Box<Admitted>>,
    /// Set when the stream broke between its first visible output and the moment it was handed over.
    broke: Option<Fault>,
    /// Set while another call is made that may go on.
    relaying: Option<Relaying>,
    /// Set when another provider's stream goes on behind what went out.
    seam: Option<Box<Seam>>,
    /// Set when a hold has to ask the shared store for more.
    growing: Option<Growing>,
    /// Set when the request is settled: the last bytes wait until that is on record.
    recorded: Option<Recorded>,
    /// Set when somebody wants the whole answer at the end.
    folder: Option<(Folder, OnDone)>,
    heartbeat: Option<Duration>,
    /// Since when the provider has been silent.
    silent_since: Option<tokio::time::Instant>,
    alarm: Alarm,
    since: Instant,
}

/// A hold that grows, and what came of it.
type Growing = Pin<Box<dyn Future<Output = (Held, Result<(), Short>)> + Send>>;

/// What to do with the whole answer at the end of a stream.
pub type OnDone = Box<dyn FnOnce(ChatResponse) + Send>;

enum Frames {
    Sse(SseFrames),
    Aws(AwsFrames),
    NdJson(NdJsonFrames),
}

enum Mode {
    /// Decode and encode.
    Translate,
    /// Forward bytes; read what the receipt needs.
    Same(Box<Forward>),
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Flowing,
    /// The provider broke it off; somebody else may go on.
    Broken,
    /// The last bytes are in `out`.
    Ended,
}

/// Outcome of waiting for the first visible output.
pub enum Primed {
    /// The answer's head may go out.
    Ready(Box<Pump>),
    /// The provider failed before anything was visible: another may try.
    Failed(Fault),
}

impl Pump {
    /// A pump over a provider's stream.
    pub fn new(
        call: &Arc<Call>,
        destination: &Arc<Destination>,
        framing: Framing,
        same: bool,
        upstream: faregate_upstream::Body,
        table: &Table,
    ) -> Self {
        let mode = if same {
            let codec = destination.codec();
            let drop_usage_chunk = codec.family() == Family::OpenAi
                && !call.include_usage
                && table.settings.always_include_stream_usage != Some(true);
            Mode::Same(Box::new(Forward::new(
                codec,
                faregate_wire::json::write(&call.model),
                drop_usage_chunk,
            )))
        } else {
            Mode::Translate
        };
        let mut pump = Self::bare(call, destination, mode, table);
        pump.frames = match framing {
            Framing::AwsEventStream => Frames::Aws(AwsFrames::new()),
            Framing::NdJson => Frames::NdJson(NdJsonFrames::new()),
            Framing::Sse | Framing::Whole => Frames::Sse(SseFrames::new()),
        };
        pump.upstream = Some(upstream);
        pump
    }

    /// A pump over the events of an answer that is there already.
    pub fn replay(
        call: &Arc<Call>,
        destination: &Arc<Destination>,
        events: Vec<Event>,
        table: &Table,
    ) -> Self {
        let mut pump = Self::bare(call, destination, Mode::Translate, table);
        pump.replay = events.into();
        pump
    }

    fn bare(call: &Arc<Call>, destination: &Arc<Destination>, mode: Mode, table: &Table) -> Self {
        let reply = if matches!(mode, Mode::Translate) { reply(call) } else { bare_reply(call) };
        Self {
            call: Arc::clone(call),
            destination: Arc::clone(destination),
            upstream: None,
            frames: Frames::Sse(SseFrames::new()),
            decoder: destination.codec().decoder(&destination.target()),
            encoder: call.client.encoder(reply),
            mode,
            replay: VecDeque::new(),
            events: Vec::new(),
            seen: Vec::new(),
            // What goes on behind another stream is kept until it is joined to that.
            keeps: call.dialect == faregate_wire::dialect::Dialect::OpenAiResponses
                || call.resumption.is_some(),
            out: Vec::new(),
            state: State::Flowing,
            admitted: None,
            broke: None,
            relaying: None,
            seam: None,
            growing: None,
            recorded: None,
            folder: None,
            heartbeat: table.settings.heartbeat(call.dialect),
            silent_since: None,
            alarm: Alarm::default(),
            since: Instant::now(),
        }
    }

    /// Waits until something visible is there, as much as a guard wants, or it is clear that nothing will come.
    pub async fn prime(mut self: Box<Self>, meter: &mut Meter) -> Primed {
        let commit_at = tokio::time::Instant::now() + COMMIT_AFTER;
        // Set from the first output on, while a guard waits for more.
        let mut guarded: Option<tokio::time::Instant> = None;
        while let Some(upstream) = &mut self.upstream {
            let until = guarded.unwrap_or(commit_at);
            let chunk = match tokio::time::timeout_at(until, upstream.chunk()).await {
                Ok(chunk) => chunk,
                Err(_) if guarded.is_some() => {
                    let text = format!("the stream trickles: {} tokens came at first", meter.output_tokens);
                    meter.give_up();
                    return Primed::Failed(Fault::new(FaultClass::Timeout, text));
                }
                Err(_) => break,
            };
            let step = match chunk {
                Some(Ok(chunk)) => self.feed(&chunk, meter),
                Some(Err(error)) => Err(error.into()),
                None => self.input_ended(meter),
            };
            match step {
                Ok(_) if self.state == State::Ended => break,
                Ok(_) if meter.ttft.is_some() => match meter.guard {
                    Some(guard) if meter.output_tokens < guard.tokens => {
                        guarded.get_or_insert_with(|| tokio::time::Instant::now() + guard.within);
                    }
                    _ => break,
                },
                Ok(_) => {}
                Err(fault) if guarded.is_some() => {
                    meter.give_up();
                    return Primed::Failed(fault);
                }
                Err(fault) if meter.ttft.is_some() => {
                    self.broke = Some(fault);
                    break;
                }
                Err(fault) => return Primed::Failed(fault),
            }
        }
        Primed::Ready(self)
    }

    /// Tells when the call was sent.
    pub fn began(&mut self, since: Instant) {
        self.since = since;
    }

    /// Hands the admitted request over: from now on it lives as long as the stream.
    pub fn carry(&mut self, mut admitted: Box<Admitted>) {
        if let Some(fault) = self.broke.take() {
            self.fail(&fault, &mut admitted);
        }
        self.admitted = Some(admitted);
    }

    /// Collects the whole answer for `then`, which runs when the stream is complete. What has been read
    /// so far is spelled by `self.seen`.
    pub fn on_done(&mut self, then: OnDone) {
        let mut folder = Folder::new();
        self.seen.drain(..).for_each(|event| folder.add(&event));
        self.folder = Some((folder, then));
    }

    /// Takes a piece of the provider's stream in; true if there is something for the client.
    fn feed(&mut self, chunk: &[u8], meter: &mut Meter) -> Result<bool, Fault> {
        let before = self.out.len();
        self.out.reserve(chunk.len() + 64);
        let fits = match &mut self.frames {
            Frames::Sse(frames) => frames.push(chunk),
            Frames::Aws(frames) => frames.push(chunk),
            Frames::NdJson(frames) => frames.push(chunk),
        };
        if !fits {
            return Err(too_long());
        }
        match (&self.frames, &self.mode) {
            (Frames::Sse(_), Mode::Same(_)) => self.forward_blocks(meter)?,
            (frames, mode) => {
                let is_forwarded = matches!((frames, mode), (Frames::Aws(_), Mode::Same(_)));
                self.decode_frames(meter, !is_forwarded)?;
            }
        }
        Ok(self.out.len() > before)
    }

    /// Forwards complete event blocks with our model name in them; reads usage as it passes.
    fn forward_blocks(&mut self, meter: &mut Meter) -> Result<(), Fault> {
        let Frames::Sse(frames) = &mut self.frames else { return Ok(()) };
        let Mode::Same(forward) = &mut self.mode else { return Ok(()) };
        while let Some(block) = frames.next_raw() {
            let look = forward.look(block);
            if look.decode || self.keeps {
                read_block(block, self.decoder.as_mut(), &mut self.events);
                for event in self.events.drain(..) {
                    note(&event, meter)?;
                    forward.visible |= is_visible(&event);
                    remember(&mut self.folder, &mut self.seen, event, self.keeps);
                }
            }
            meter.output_bytes += block.len() as u64;
            // Providers send a token or two at a time.
            meter.output_tokens += u64::from(!(look.decode || self.keeps));
            if !look.withhold {
                forward.copy(block, &mut self.out);
            }
        }
        Ok(())
    }

    fn decode_frames(&mut self, meter: &mut Meter, encode: bool) -> Result<(), Fault> {
        loop {
            let frame = match &mut self.frames {
                Frames::Sse(frames) => frames.next_frame(),
                Frames::NdJson(frames) => frames.next_frame(),
                Frames::Aws(frames) => {
                    frames.next_frame().map_err(|bad| Fault::new(FaultClass::BadGateway, bad.to_string()))?
                }
            };
            let Some(frame) = frame else { return Ok(()) };
            self.decoder
                .frame(frame, &mut self.events)
                .map_err(|malformed| Fault::new(FaultClass::BadGateway, malformed.to_string()))?;
            self.pass_events(meter, encode)?;
            // Half a message would spoil what follows it, so only whole ones are forwarded.
            if let (false, Frames::Aws(frames)) = (encode, &self.frames) {
                self.out.extend_from_slice(frames.raw());
            }
        }
    }

    fn pass_events(&mut self, meter: &mut Meter, encode: bool) -> Result<(), Fault> {
        let mut events = std::mem::take(&mut self.events);
        let mut outcome = Ok(());
        for event in events.drain(..) {
            outcome = note(&event, meter);
            if outcome.is_err() {
                break;
            }
            if self.seam.is_some() {
                self.join(event, meter);
                continue;
            }
            if encode {
                self.encoder.event(&event, &mut self.out);
            }
            if let Some(said) = &mut meter.said {
                said.hear(&event);
            }
            remember(&mut self.folder, &mut self.seen, event, self.keeps);
        }
        events.clear();
        self.events = events;
        outcome
    }

    /// The provider's stream is over: was that its end?
    fn input_ended(&mut self, meter: &mut Meter) -> Result<bool, Fault> {
        self.upstream = None;
        let truncated =
            || Fault::new(FaultClass::Connection, "the provider closed the stream before its end");
        if let Mode::Same(_) = &self.mode {
            self.last_block(meter)?;
            let complete = match (&self.mode, &self.frames) {
                (_, Frames::Aws(frames)) => {
                    frames.is_drained() && self.decoder.end(&mut self.events) == StreamEnd::Complete
                }
                (Mode::Same(forward), _) => forward.seen_end,
                (Mode::Translate, _) => true,
            };
            if !complete {
                return Err(truncated());
            }
        } else {
            self.last_frame(meter)?;
            let end = self.decoder.end(&mut self.events);
            self.pass_events(meter, true)?;
            if end == StreamEnd::Truncated {
                return Err(truncated());
            }
            self.encoder.end(&mut self.out);
            self.book_losses(meter);
        }
        self.state = State::Ended;
        Ok(true)
    }

    /// A last event whose blank line never came.
    fn last_block(&mut self, meter: &mut Meter) -> Result<(), Fault> {
        if let Frames::Sse(frames) = &mut self.frames
            && !frames.is_drained()
            && frames.push(b"\n\n")
        {
            self.forward_blocks(meter)?;
        }
        Ok(())
    }

    fn last_frame(&mut self, meter: &mut Meter) -> Result<(), Fault> {
        let rest = match &mut self.frames {
            Frames::Sse(frames) => frames.rest(),
            Frames::NdJson(frames) => frames.rest(),
            Frames::Aws(_) => None,
        };
        // Half a frame is no frame: the end mark is then missing as well, which is noticed.
        if let Some(frame) = rest
            && self.decoder.frame(frame, &mut self.events).is_ok()
        {
            return self.pass_events(meter, true);
        }
        Ok(())
    }

    /// What the client's dialect had no place for; the header that names losses has left long ago.
    fn book_losses(&mut self, meter: &mut Meter) {
        for loss in self.encoder.losses().into_names() {
            if !meter.losses.contains(&loss) {
                meter.losses.push(loss);
            }
        }
    }

    fn finish(&mut self, mut admitted: Box<Admitted>) -> Recorded {
        if let Some(transcript) = &mut admitted.meter.transcript {
            transcript.piece(&Bytes::copy_from_slice(&self.out));
        }
        if admitted.meter.ending != faregate_terms::Ending::Broken {
            admitted.attempted(&self.destination, self.since, How::Answered);
            admitted.complete();
            if let Some((folder, then)) = self.folder.take() {
                then(folder.finish());
            }
            if let Some(mut keep) = admitted.keep.take() {
                keep.piece(&Bytes::copy_from_slice(&self.out));
                keep.finish(&mut admitted);
            }
        }
        admitted.settle()
    }

    /// What is there goes to the client, and is remembered if the answer may be kept.
    fn hand_out(&mut self) -> Bytes {
        let piece = Bytes::from(std::mem::take(&mut self.out));
        if let Some(admitted) = &mut self.admitted {
            if let Some(keep) = &mut admitted.keep {
                keep.piece(&piece);
            }
            if let Some(transcript) = &mut admitted.meter.transcript {
                transcript.piece(&piece);
            }
        }
        piece
    }

    /// Lets the hold follow the answer. Where a budget that must hold has nothing left, the shared store is
    /// asked for more, and without more the answer ends before what is held is used up.
    fn follow_budget(&mut self, admitted: &mut Admitted) {
        let tokens = admitted.meter.output_tokens;
        let Some(held) = &mut admitted.held else { return };
        if held.longest.is_some() && !held.is_watched {
            // The provider was told to stop where what is held ends.
            return;
        }
        let missing = held.follow(tokens);
        if held.longest.is_none() {
            return;
        }
        if held.exhausted {
            if missing.is_some() && !held.pays(tokens + LAST_TOKENS) {
                self.cut(admitted);
            }
        } else if let Some(missing) = missing
            && let Some(mut held) = admitted.held.take()
        {
            self.growing = Some(Box::pin(async move {
                let outcome = held.hold.top_up(missing).await;
                (held, outcome)
            }));
        }
    }

    /// Ends the answer as if it had reached its longest: the budget pays for no more.
    fn cut(&mut self, admitted: &mut Admitted) {
        let finish = Event::Finish { choice: 0, reason: FinishReason::Length, stop_sequence: None };
        self.encoder.event(&finish, &mut self.out);
        self.encoder.end(&mut self.out);
        self.book_losses(&mut admitted.meter);
        admitted.meter.cut = true;
        self.upstream = None;
        self.state = State::Ended;
        tracing::info!(call_id = %self.call.arrival.id, "a stream ended where its budget ended");
    }

    fn poll_growing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(growing) = &mut self.growing else { return Poll::Ready(()) };
        let (mut held, outcome) = ready!(growing.as_mut().poll(cx));
        self.growing = None;
        held.exhausted = outcome.is_err();
        if let Some(admitted) = &mut self.admitted {
            admitted.held = Some(held);
        }
        Poll::Ready(())
    }

    /// The last bytes, once the request is on record.
    fn poll_last(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(admitted) = self.admitted.take() {
            self.recorded = Some(self.finish(admitted));
        }
        if let Some(recorded) = &mut self.recorded {
            ready!(Pin::new(recorded).poll(cx));
            self.recorded = None;
        }
        let last = std::mem::take(&mut self.out);
        Poll::Ready((!last.is_empty()).then(|| Bytes::from(last)))
    }

    fn step(&mut self, cx: &mut Context<'_>, admitted: &mut Admitted) -> Poll<()> {
        if !self.replay.is_empty() {
            self.events.extend(self.replay.drain(..));
            if let Err(fault) = self.pass_events(&mut admitted.meter, true) {
                self.fail(&fault, admitted);
            } else {
                self.encoder.end(&mut self.out);
                self.book_losses(&mut admitted.meter);
                self.state = State::Ended;
            }
            return Poll::Ready(());
        }
        let Some(upstream) = &mut self.upstream else {
            self.state = State::Ended;
            return Poll::Ready(());
        };
        let step = match ready!(Pin::new(upstream).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(chunk) => self.feed(&chunk, &mut admitted.meter),
                Err(_) => Ok(false),
            },
            Some(Err(error)) => Err(error.into()),
            None => self.input_ended(&mut admitted.meter),
        };
        self.silent_since = None;
        match step {
            Err(fault) => self.fail(&fault, admitted),
            Ok(_) if self.state == State::Flowing => self.follow_budget(admitted),
            Ok(_) => {}
        }
        Poll::Ready(())
    }

    /// A sign of life if the provider has been silent for long.
    fn beat(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(interval) = self.heartbeat else { return Poll::Pending };
        let now = tokio::time::Instant::now();
        let since = *self.silent_since.get_or_insert(now);
        ready!(self.alarm.poll_at(since + interval, now, cx));
        self.silent_since = None;
        self.encoder.heartbeat(&mut self.out);
        if self.out.is_empty() {
            self.heartbeat = None;
            return Poll::Pending;
        }
        Poll::Ready(Some(Bytes::from(std::mem::take(&mut self.out))))
    }
}

impl Source for Pump {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        // What the provider has sent already goes out in one piece: each costs the client's side a write.
        let mut blocked = false;
        loop {
            if self.state == State::Ended {
                return self.poll_last(cx);
            }
            if !self.out.is_empty() && (blocked || self.out.len() >= PIECE || self.growing.is_some()) {
                return Poll::Ready(Some(self.hand_out()));
            }
            if self.state == State::Broken {
                if !self.out.is_empty() {
                    return Poll::Ready(Some(self.hand_out()));
                }
                if self.poll_relay(cx).is_pending() {
                    return self.beat(cx);
                }
                continue;
            }
            ready!(self.poll_growing(cx));
            let Some(mut admitted) = self.admitted.take() else { return Poll::Ready(None) };
            let step = self.step(cx, &mut admitted);
            self.admitted = Some(admitted);
            if step.is_ready() {
                continue;
            }
            if self.out.is_empty() {
                return self.beat(cx);
            }
            blocked = true;
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if let Some(mut admitted) = self.admitted.take() {
            // A hold that is growing goes with its request: it counts what it has as spent.
            if let Some(growing) = self.growing.take() {
                drop(growing);
            }
            // The client left: what came so far is settled by the admitted request's own drop.
            admitted.attempted(&self.destination, self.since, How::Left);
        }
    }
}

fn too_long() -> Fault {
    Fault::new(FaultClass::BadGateway, "the provider sent a stream frame beyond 32 MiB")
}
