//! What each replica has its deployments do, told to the others: calls in flight, tokens of the minute, latencies.
//!
//! Every replica says what it knows itself, again and again; what another one said counts for a few seconds. Nothing
//! depends on it: who hears nothing goes by its own figures.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use faregate_terms::DeploymentId;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::Clock;
use crate::feed::{Feed, Message, SharedLog};

/// The topic of the shared log.
pub const TOPIC: &str = "figures";
/// Messages worth keeping in it: enough for every replica between two looks, and no history.
pub const KEPT: usize = 256;
/// Between two messages at least.
pub const TELL_EVERY: Duration = Duration::from_millis(500);
/// What has not changed is said again after this.
const SAY_AGAIN: Duration = Duration::from_secs(1);
/// What a replica said counts for so long.
const COUNTS: Duration = Duration::from_secs(3);
/// A log that was not heard of for so long is away: what waited for it would be old when it is back.
const AWAY: Duration = Duration::from_secs(2);
/// Deployments of one message, the busiest first.
const MANY: usize = 2_000;
/// Replicas that are listened to.
const REPLICAS: usize = 256;

/// The mean of so many samples.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Mean {
    /// How many; the mean of none says nothing.
    pub samples: u32,
    /// Their mean.
    pub seconds: f64,
}

impl Mean {
    /// The mean of both, each by its samples.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self.samples, other.samples) {
            (_, 0) => self,
            (0, _) => other,
            (own, others) => {
                let (own_part, others_part) = (f64::from(own), f64::from(others));
                let sum = self.seconds * own_part + other.seconds * others_part;
                Self { samples: own.saturating_add(others), seconds: sum / (own_part + others_part) }
            }
        }
    }

    /// The mean, if there were samples.
    pub fn known(self) -> Option<f64> {
        (self.samples > 0).then_some(self.seconds)
    }

    fn read(samples: &str, seconds: &str) -> Option<Self> {
        let mean = Self { samples: samples.parse().ok()?, seconds: seconds.parse().ok()? };
        (mean.seconds.is_finite() && mean.seconds >= 0.0).then_some(mean)
    }
}

/// What is known of one deployment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figure {
    /// Calls under way.
    pub in_flight: u64,
    /// Tokens of the minute.
    pub tokens: u64,
    /// Time per token of an answer.
    pub per_token: Mean,
    /// Time to the first token of a stream.
    pub to_first: Mean,
}

/// Deployments, and what is known of them in a minute.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// The minute of the wall clock that the tokens are of.
    pub minute: i64,
    /// What is known of those that do something.
    pub figures: HashMap<DeploymentId, Figure>,
}

/// The figures of all replicas. Cheap to clone; made for one gateway.
#[derive(Clone)]
pub struct Figures(Arc<Inner>);

struct Inner {
    replica: Uuid,
    /// What others have to hear; `None` if there are none.
    feed: Option<Feed>,
    clock: Arc<dyn Clock>,
    told: Mutex<Told>,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Told {
    summary: Summary,
    at: Duration,
    /// The last word is said.
    is_over: bool,
}

#[derive(Default)]
struct Heard {
    /// By replica, and when.
    summaries: HashMap<Uuid, (Duration, Summary)>,
    is_new: bool,
}

impl Figures {
    /// Of this replica only.
    pub fn alone(clock: Arc<dyn Clock>) -> Self {
        Self::over(None, clock)
    }

    fn over(feed: Option<Feed>, clock: Arc<dyn Clock>) -> Self {
        let (told, heard) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { replica: Uuid::new_v4(), feed, clock, told, heard }))
    }

    /// Of all replicas, over the log of [`TOPIC`], which need not keep more than [`KEPT`]. Run the future as a task that
    /// is awaited at shutdown: at its end, others are told to forget this replica.
    pub fn shared(
        log: Arc<dyn SharedLog>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (feed, follow) = Feed::shared(log, Arc::clone(&clock), false);
        let mut messages = feed.subscribe();
        let figures = Self::over(Some(feed), clock);
        let (hearing, ending) = (figures.clone(), figures.clone());
        let hear = async move {
            while let Some(message) = messages.next().await {
                // What was missed is said again.
                if let Message::Said(text) = message {
                    hearing.hear(&text);
                }
            }
        };
        let end = CancellationToken::new();
        let follow = follow.run(end.clone());
        let leave = async move {
            stop.cancelled().await;
            ending.leave();
            end.cancel();
            std::future::pending::<()>().await;
        };
        let run = async move {
            tokio::select! {
                () = follow => {}
                () = hear => {}
                () = leave => {}
            }
        };
        (figures, run)
    }

    /// True if there may be others.
    pub fn is_shared(&self) -> bool {
        self.0.feed.is_some()
    }

    /// Tells the others, if it is news to them, or old enough to be forgotten soon.
    pub fn tell(&self, summary: Summary) {
        let Some(feed) = &self.0.feed else { return };
        let now = self.0.clock.steady();
        let mut told = self.0.told.lock();
        let nothing = summary.figures.is_empty() && told.summary.figures.is_empty();
        let is_known = summary == told.summary && now.saturating_sub(told.at) < SAY_AGAIN;
        if nothing || is_known || told.is_over || feed.silent_for() > AWAY {
            return;
        }
        feed.publish(&summary.text(self.0.replica));
        (told.summary, told.at) = (summary, now);
    }

    /// What the others do in `minute`, added up; `None` if that is what was answered last.
    pub fn others(&self, minute: i64) -> Option<Summary> {
        let now = self.0.clock.steady();
        let mut heard = self.0.heard.lock();
        let known = heard.summaries.len();
        heard.summaries.retain(|_, (at, _)| now.saturating_sub(*at) <= COUNTS);
        if !std::mem::take(&mut heard.is_new) && heard.summaries.len() == known {
            return None;
        }
        let mut figures: HashMap<DeploymentId, Figure> = HashMap::new();
        for (_, summary) in heard.summaries.values() {
            for (id, figure) in &summary.figures {
                let sum = figures.entry(id.clone()).or_default();
                sum.in_flight = sum.in_flight.saturating_add(figure.in_flight);
                let tokens = if summary.minute == minute { figure.tokens } else { 0 };
                sum.tokens = sum.tokens.saturating_add(tokens);
                sum.per_token = sum.per_token.and(figure.per_token);
                sum.to_first = sum.to_first.and(figure.to_first);
            }
        }
        Some(Summary { minute, figures })
    }

    fn hear(&self, text: &str) {
        let Some((replica, summary)) = Summary::read(text) else { return };
        if replica == self.0.replica {
            return;
        }
        let now = self.0.clock.steady();
        let mut heard = self.0.heard.lock();
        if summary.figures.is_empty() {
            heard.is_new |= heard.summaries.remove(&replica).is_some();
        } else if heard.summaries.len() < REPLICAS || heard.summaries.contains_key(&replica) {
            heard.summaries.insert(replica, (now, summary));
            heard.is_new = true;
        }
    }

    /// The last word: nothing.
    fn leave(&self) {
        self.tell(Summary::default());
        self.0.told.lock().is_over = true;
    }
}

impl Summary {
    fn text(&self, replica: Uuid) -> String {
        let mut busiest: Vec<_> = self.figures.iter().filter(|(id, _)| !id.as_str().contains('\n')).collect();
        busiest.sort_unstable_by_key(|(_, figure)| Reverse((figure.in_flight, figure.tokens)));
        let mut text = format!("{replica} {}", self.minute);
        for (id, figure) in busiest.into_iter().take(MANY) {
            let (per_token, to_first) = (figure.per_token, figure.to_first);
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "\n{} {} {} {:.4e} {} {:.4e} {id}",
                figure.in_flight,
                figure.tokens,
                per_token.samples,
                per_token.seconds,
                to_first.samples,
                to_first.seconds
            );
        }
        text
    }

    /// Who said what; lines that cannot be read are left out.
    fn read(text: &str) -> Option<(Uuid, Self)> {
        let mut lines = text.split('\n');
        let (replica, minute) = lines.next()?.split_once(' ')?;
        let replica = replica.parse().ok()?;
        let figures = lines.take(MANY).filter_map(figure).collect();
        Some((replica, Self { minute: minute.parse().ok()?, figures }))
    }
}

fn figure(line: &str) -> Option<(DeploymentId, Figure)> {
    let mut words = line.splitn(7, ' ');
    let mut word = || words.next();
    let figure = Figure {
        in_flight: word()?.parse().ok()?,
        tokens: word()?.parse().ok()?,
        per_token: Mean::read(word()?, word()?)?,
        to_first: Mean::read(word()?, word()?)?,
    };
    Some((DeploymentId::from(word()?), figure))
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Figures").field("is_shared", &self.is_shared()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::at(jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(500_000)))
    }

    fn figure(in_flight: u64, tokens: u64, samples: u32, seconds: f64) -> Figure {
        let mean = Mean { samples, seconds };
        Figure { in_flight, tokens, per_token: mean, to_first: Mean::default() }
    }

    fn summary<const N: usize>(minute: i64, figures: [(&str, Figure); N]) -> Summary {
        Summary { minute, figures: figures.into_iter().map(|(id, it)| (id.into(), it)).collect() }
    }

    #[test]
    fn what_two_others_do_is_added_up_and_means_count_by_their_samples() {
        let figures = Figures::alone(clock());
        let said = |replica, summary: Summary| figures.hear(&summary.text(Uuid::from_u128(replica)));
        said(1, summary(7, [("a b", figure(2, 100, 1, 4.0)), ("b", figure(1, 0, 0, 0.0))]));
        said(2, summary(7, [("a b", figure(3, 10, 3, 0.0)), ("c", figure(0, 5, 0, 0.0))]));
        let [one, two, three] =
            [("a b", figure(5, 110, 4, 1.0)), ("b", figure(1, 0, 0, 0.0)), ("c", figure(0, 5, 0, 0.0))];
        assert_eq!(figures.others(7), Some(summary(7, [one, two, three])));
        assert_eq!(figures.others(7), None, "nothing new");
        said(2, summary(8, [("c", figure(1, 9, 0, 0.0))]));
        let others = figures.others(7).unwrap();
        assert_eq!(others.figures[&DeploymentId::from("c")].tokens, 0, "tokens of another minute");
        assert_eq!(others.figures[&DeploymentId::from("a b")].in_flight, 2, "the last word of each counts");
    }

    #[test]
    fn a_word_counts_for_three_seconds_and_an_empty_one_takes_it_back() {
        let clock = clock();
        let figures = Figures::alone(clock.clone());
        let said = |summary: Summary| figures.hear(&summary.text(Uuid::from_u128(1)));
        said(summary(7, [("a", figure(2, 0, 0, 0.0))]));
        assert!(!figures.others(7).unwrap().figures.is_empty());
        clock.advance(COUNTS);
        assert_eq!(figures.others(7), None);
        clock.advance(Duration::from_millis(1));
        assert_eq!(figures.others(7), Some(summary(7, [])), "silent for too long");
        said(summary(7, [("a", figure(2, 0, 0, 0.0))]));
        said(summary(7, []));
        assert_eq!(figures.others(7), Some(summary(7, [])));
        figures.hear(&summary(7, [("a", figure(2, 0, 0, 0.0))]).text(figures.0.replica));
        for nonsense in ["", "x", "x 7\n1 2 0 0 0 0 a", "\u{0}gap"] {
            figures.hear(nonsense);
        }
        assert_eq!(figures.others(7), None, "neither itself nor nonsense is another replica");
    }

    #[test]
    fn a_message_has_the_busiest_and_no_line_that_cannot_be_read() {
        let mut all = summary(7, [("odd\nname", figure(9, 0, 0, 0.0))]);
        for number in 0..2 * MANY as u64 {
            all.figures.insert(format!("d{number}").into(), figure(number, 1, 2, 0.000_012));
        }
        let (replica, read) = Summary::read(&all.text(Uuid::from_u128(1))).unwrap();
        assert_eq!((replica, read.minute, read.figures.len()), (Uuid::from_u128(1), 7, MANY));
        let busiest = format!("d{}", 2 * MANY - 1);
        assert_eq!(read.figures[busiest.as_str()], all.figures[busiest.as_str()]);
        assert!(!read.figures.contains_key("d0"));
        let text =
            format!("{replica} 7\n1 2 0 0 0 0 a\n1 2 0 NaN 0 0 b\n1 2 0 -1 0 0 c\n-1 2 0 0 0 0 d\n1 2");
        assert_eq!(Summary::read(&text).unwrap().1, summary(7, [("a", figure(1, 2, 0, 0.0))]));
    }

    #[test]
    fn the_same_is_said_again_in_time_nothing_once_and_not_to_a_log_that_is_away() {
        let clock = clock();
        let (feed, _) = Feed::shared(Arc::new(crate::feed::MemoryLog::default()), clock.clone(), false);
        let mut said = feed.subscribe();
        let mut count = move || {
            let next = || futures_util::FutureExt::now_or_never(said.next());
            std::iter::from_fn(next).count()
        };
        let figures = Figures::over(Some(feed), clock.clone());
        figures.tell(summary(7, []));
        assert_eq!(count(), 0, "nothing to say");
        let busy = || summary(7, [("a", figure(2, 0, 0, 0.0))]);
        figures.tell(busy());
        figures.tell(busy());
        assert_eq!(count(), 1);
        clock.advance(SAY_AGAIN);
        figures.tell(busy());
        assert_eq!(count(), 1, "before others forget it");
        figures.tell(summary(7, []));
        figures.tell(summary(8, []));
        assert_eq!(count(), 1, "that is over, and said once");
        clock.advance(AWAY);
        figures.tell(busy());
        assert_eq!(count(), 0, "nobody reads");
    }
}
