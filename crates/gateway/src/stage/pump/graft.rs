//! What happens when a provider breaks its stream off: another's goes on in the client's, or that ends in an error.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use faregate_terms::Fault;
use faregate_wire::chat::Event;

use super::{Pump, State};
use crate::refusal::Refusal;
use crate::stage::admit::{Admitted, How, Meter};
use crate::stage::relay::{Relayed, go_on};
use crate::stage::seam::Seam;
use crate::stage::tap::remember;

/// Reasoning in the middle of a text.
const HIDDEN: &str = "continuation.reasoning";

impl Pump {
    /// The provider broke the stream off: somebody else goes on, or the client is told.
    pub(super) fn fail(&mut self, fault: &Fault, admitted: &mut Admitted) {
        if admitted.relay.as_ref().is_some_and(|relay| relay.may_go_on(admitted, fault)) {
            self.upstream = None;
            self.broke = Some(fault.clone());
            self.state = State::Broken;
            return;
        }
        self.tell(fault, admitted);
        admitted.attempted(&self.destination, self.since, How::Failed { fault, own: true });
    }

    /// Ends the client's stream with an error in its dialect.
    fn tell(&mut self, fault: &Fault, admitted: &mut Admitted) {
        let provider = self.destination.provider.name.to_owned();
        let refusal = Refusal::upstream(fault.clone(), &provider);
        let note = refusal.note(self.call.arrival.id.as_str());
        self.encoder.error(&note, &mut self.out);
        self.book_losses(&mut admitted.meter);
        admitted.broken(fault.class, &fault.message);
        self.upstream = None;
        self.state = State::Ended;
        tracing::warn!(
            call_id = %self.call.arrival.id,
            deployment = %self.destination.deployment,
            class = fault.class.name(),
            reason = %fault.message,
            "stream broke after its first byte"
        );
    }

    /// Waits for another provider's stream, from the moment the last one broke off.
    pub(super) fn poll_relay(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.relaying.is_none() {
            let (Some(mut admitted), Some(fault)) = (self.admitted.take(), self.broke.clone()) else {
                self.state = State::Ended;
                return Poll::Ready(());
            };
            let Some(relay) = admitted.relay.take() else {
                self.tell(&fault, &mut admitted);
                self.admitted = Some(admitted);
                return Poll::Ready(());
            };
            self.relaying = Some(go_on(relay, admitted, &self.destination, self.since, fault));
        }
        let Some(relaying) = &mut self.relaying else { return Poll::Ready(()) };
        let Relayed { mut admitted, next } = ready!(relaying.as_mut().poll(cx));
        self.relaying = None;
        let fault = self.broke.take();
        match (next, fault) {
            (Some((next, seam)), _) => self.graft(*next, seam, &mut admitted),
            (None, Some(fault)) => self.tell(&fault, &mut admitted),
            (None, None) => self.state = State::Ended,
        }
        self.admitted = Some(admitted);
        Poll::Ready(())
    }

    /// Goes on with the stream of `next`, of which the first visible output is there.
    fn graft(&mut self, next: Pump, seam: Seam, admitted: &mut Admitted) {
        let mut next = next;
        self.seam = Some(Box::new(seam));
        self.destination = Arc::clone(&next.destination);
        self.upstream = next.upstream.take();
        std::mem::swap(&mut self.frames, &mut next.frames);
        std::mem::swap(&mut self.decoder, &mut next.decoder);
        self.replay = std::mem::take(&mut next.replay);
        self.since = next.since;
        self.silent_since = None;
        self.state = State::Flowing;
        for event in std::mem::take(&mut next.seen) {
            self.join(event, &mut admitted.meter);
        }
        if let Some(fault) = next.broke.take() {
            self.fail(&fault, admitted);
        } else if next.state == State::Ended {
            self.encoder.end(&mut self.out);
            self.book_losses(&mut admitted.meter);
            self.state = State::Ended;
        }
    }

    /// Passes an event of a stream that goes on behind another one.
    pub(super) fn join(&mut self, event: Event, meter: &mut Meter) {
        let Some(seam) = &mut self.seam else { return };
        for event in seam.join(event) {
            self.encoder.event(&event, &mut self.out);
            if let Some(said) = &mut meter.said {
                said.hear(&event);
            }
            remember(&mut self.folder, &mut self.seen, event, self.keeps);
        }
        if seam.hides() && !meter.losses.iter().any(|loss| loss == HIDDEN) {
            meter.losses.push(HIDDEN.to_owned());
        }
    }
}
