//! What is known of a request and of the deployments right now; callers bring both.

/// What is known of deployments right now, by their index. The router never looks at a clock or a counter.
pub trait Facts {
    /// True while it must not be used: it failed and rests.
    fn rests(&self, deployment: usize) -> bool;
    /// True while another request finds out whether it has recovered.
    fn is_on_trial(&self, deployment: usize) -> bool;
    /// True if its own rates admit no further request in this minute.
    fn is_full(&self, deployment: usize) -> bool;
    /// True if its budget, or its provider's, is spent.
    fn is_spent(&self, deployment: usize) -> bool;
    /// True if it serves as many requests as it may: it is worth waiting for.
    fn is_busy(&self, deployment: usize) -> bool;
    /// Requests it is serving.
    fn in_flight(&self, deployment: usize) -> u64;
    /// Tokens it has used, or is expected to use, in the current minute.
    fn tokens(&self, deployment: usize) -> u64;
    /// Seconds it took lately: per token of a whole answer, or to the first token of a stream. `None` if
    /// nobody knows.
    fn latency(&self, deployment: usize, stream: bool) -> Option<f64>;
    /// True if more than a few of its last calls failed: a retry goes to another first.
    fn is_shaky(&self, deployment: usize) -> bool;
    /// True while so many retries are made that first choices must be good ones.
    fn is_pressed(&self) -> bool;
}

/// Nothing is known: every deployment is well and idle.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unknown;

impl Facts for Unknown {
    fn rests(&self, _: usize) -> bool {
        false
    }

    fn is_on_trial(&self, _: usize) -> bool {
        false
    }

    fn is_full(&self, _: usize) -> bool {
        false
    }

    fn is_spent(&self, _: usize) -> bool {
        false
    }

    fn is_busy(&self, _: usize) -> bool {
        false
    }

    fn in_flight(&self, _: usize) -> u64 {
        0
    }

    fn tokens(&self, _: usize) -> u64 {
        0
    }

    fn latency(&self, _: usize, _: bool) -> Option<f64> {
        None
    }

    fn is_shaky(&self, _: usize) -> bool {
        false
    }

    fn is_pressed(&self) -> bool {
        false
    }
}

/// What a request asks of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish<'a> {
    /// It wants a stream.
    pub stream: bool,
    /// Tokens of its prompt, estimated.
    pub input_tokens: u64,
    /// Its tags; `!tag` excludes, `&tag` is needed.
    pub tags: &'a [String],
    /// The only region it may be served in.
    pub region: Option<&'a str>,
    /// The team it is booked on.
    pub team: Team<'a>,
    /// Indexes of deployments that refuse one of its parameters.
    pub unfit: &'a [usize],
}

/// Whose deployments a request may use besides everybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Team<'a> {
    /// Every team's: an administrator asks.
    #[default]
    Any,
    /// Nobody's.
    None,
    /// This team's.
    Of(&'a str),
}

impl Team<'_> {
    /// True if a deployment of `owner` may be used.
    pub fn may_use(self, owner: Option<&str>) -> bool {
        match (self, owner) {
            (Self::Any, _) | (_, None) => true,
            (Self::None, Some(_)) => false,
            (Self::Of(team), Some(owner)) => team == owner,
        }
    }
}
