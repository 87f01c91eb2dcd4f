//! Where one provider's stream broke off and another's goes on: what the client has been told, what the next
//! provider is told of it, and how its events fit behind those that went out.

use faregate_terms::Usage;
use faregate_wire::chat::{ChatRequest, Event, Message, OutputFormat, PartKind, Role, ToolChoice};
use smallvec::SmallVec;

mod echo;
#[cfg(test)]
mod tests;

use echo::Echo;

/// What the next provider is told, after the text so far as an assistant's message. It comes from the user, as not
/// every model goes on from an assistant's message, and some refuse one at the end.
const GO_ON: &str = "Your answer above was cut off by a technical fault. Continue it from exactly where it stops, \
                     in the middle of a word if need be. Repeat nothing of it, do not mention the interruption, and \
                     write nothing else.";

/// What a stream's client has been told, as far as another provider can go on from it.
#[derive(Debug, Clone, Default)]
pub struct Said {
    text: String,
    /// Where the call under way began.
    own: usize,
    /// The client's number of the text part.
    part: Option<u32>,
    has_started: bool,
    /// There was more than one text, or it was complete.
    is_more: bool,
}

impl Said {
    /// Takes in what goes out.
    pub(crate) fn hear(&mut self, event: &Event) {
        match event {
            Event::Text { part, delta } if self.part == Some(*part) => self.text.push_str(delta),
            Event::Open { kind: PartKind::Text, part, choice: 0 } if self.part.is_none() => {
                self.part = Some(*part);
            }
            Event::Start { .. } => self.has_started = true,
            Event::Usage(_) | Event::Extra(_) | Event::Ping | Event::Error(_) => {}
            _ => self.is_more = true,
        }
    }

    /// True if nothing but the beginning of one text went out.
    pub(crate) fn can_go_on(&self) -> bool {
        !self.is_more
    }

    /// What the call under way has said of it.
    pub(crate) fn own(&self) -> &str {
        self.text.get(self.own..).unwrap_or_default()
    }

    /// Another call goes on.
    pub(crate) fn next(&mut self) {
        self.own = self.text.len();
    }

    /// The text so far.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// What a call goes on from.
#[derive(Debug, Clone)]
pub struct Resumption {
    /// The text so far.
    text: String,
    /// Its tokens, which the longest answer has no more.
    tokens: u64,
}

impl Resumption {
    /// Of this text, of so many tokens.
    pub(crate) fn new(text: &str, tokens: u64) -> Self {
        Self { text: text.to_owned(), tokens }
    }

    /// Adds the text so far, and the wish to continue it. Where there is none yet the request stays as it is.
    pub(crate) fn extend(&self, request: &mut ChatRequest) {
        if self.text.is_empty() {
            return;
        }
        request.messages.push(Message::text(Role::Assistant, self.text.as_str()));
        request.messages.push(Message::text(Role::User, GO_ON));
        if let Some(most) = &mut request.sampling.max_output_tokens {
            *most = most.saturating_sub(self.tokens).max(1);
        }
    }

    /// Takes back what [`Resumption::extend`] did.
    pub(crate) fn retract(&self, request: &mut ChatRequest) {
        if self.text.is_empty() {
            return;
        }
        request.messages.truncate(request.messages.len().saturating_sub(2));
        if let Some(most) = &mut request.sampling.max_output_tokens {
            *most = most.saturating_add(self.tokens);
        }
    }

    /// Bytes that the next provider reads more than the first.
    pub(crate) fn bytes(&self) -> u64 {
        if self.text.is_empty() { 0 } else { (self.text.len() + GO_ON.len()) as u64 }
    }
}

/// True if the answer to `request` is one plain text, which another model can go on with.
pub(crate) fn is_plain_text(request: &ChatRequest) -> bool {
    let sampling = &request.sampling;
    let is_free = match &request.tool_choice {
        None | Some(ToolChoice::Auto | ToolChoice::None) => true,
        Some(ToolChoice::AnyOf { required, .. }) => !required,
        Some(ToolChoice::Required | ToolChoice::Named(_)) => false,
    };
    let ends_with_answer = request.messages.last().is_some_and(|last| last.role == Role::Assistant);
    is_free
        && !ends_with_answer
        && sampling.n.unwrap_or(1) <= 1
        && sampling.logprobs != Some(true)
        && sampling.top_logprobs.is_none()
        && request.output == OutputFormat::Text
        && request.audio.is_none()
        && request.modalities.iter().all(|modality| modality.eq_ignore_ascii_case("text"))
}

/// Fits the events of another provider's stream behind those that went out.
pub(crate) struct Seam {
    /// What earlier calls used: the client is told of all.
    before: Usage,
    own: Usage,
    has_started: bool,
    /// The client's number of the text part, if that is open.
    part: Option<u32>,
    /// The provider's number of the text that goes on there.
    text: Option<u32>,
    /// Parts the client does not get: reasoning in the middle of a text.
    hidden: SmallVec<[u32; 2]>,
    echo: Echo,
}

/// Events that one event became.
pub(crate) type Joined = SmallVec<[Event; 2]>;

impl Seam {
    /// Behind `said`, for which `before` was used.
    pub(crate) fn new(said: &Said, before: Usage) -> Self {
        Self {
            before,
            own: Usage::default(),
            has_started: said.has_started,
            part: said.part,
            text: None,
            hidden: SmallVec::new(),
            echo: Echo::of(&said.text),
        }
    }

    /// True if the next stream shows reasoning that the client does not get.
    pub(crate) fn hides(&self) -> bool {
        !self.hidden.is_empty()
    }

    /// What the client gets for an event.
    pub(crate) fn join(&mut self, mut event: Event) -> Joined {
        let mut out = Joined::new();
        match &mut event {
            Event::Start { .. } if self.has_started => return out,
            Event::Usage(usage) => {
                self.own.absorb(usage);
                usage.clone_from(&self.before);
                usage.add(&self.own);
            }
            Event::Open { kind: PartKind::Text, part, .. } if self.part.is_some() && self.text.is_none() => {
                self.text = Some(*part);
                return out;
            }
            Event::Open { kind: PartKind::Reasoning { .. } | PartKind::Redacted { .. }, part, .. } => {
                self.hidden.push(*part);
            }
            Event::Text { part, delta } if self.text == Some(*part) => {
                let Some(news) = self.echo.take(std::mem::take(delta)) else { return out };
                *delta = news;
            }
            Event::Finish { .. } => self.let_go(&mut out),
            Event::Close { part } if self.text == Some(*part) => self.let_go(&mut out),
            _ => {}
        }
        if let Some(part) = number(&mut event) {
            if self.hidden.contains(part) {
                return out;
            }
            *part = self.renumbered(*part);
        }
        out.push(event);
        out
    }

    /// Text that was held back as it might have been an echo goes out.
    fn let_go(&mut self, out: &mut Joined) {
        if let (Some(part), Some(delta)) = (self.part, self.echo.rest()) {
            out.push(Event::Text { part, delta });
        }
    }

    fn renumbered(&self, part: u32) -> u32 {
        match self.part {
            Some(ours) if self.text == Some(part) => ours,
            Some(ours) => part.saturating_add(ours).saturating_add(1),
            None => part,
        }
    }
}

/// The part an event belongs to.
fn number(event: &mut Event) -> Option<&mut u32> {
    match event {
        Event::Open { part, .. }
        | Event::Text { part, .. }
        | Event::Reasoning { part, .. }
        | Event::Signature { part, .. }
        | Event::Arguments { part, .. }
        | Event::Media { part, .. }
        | Event::Annotation { part, .. }
        | Event::Close { part } => Some(part),
        _ => None,
    }
}
