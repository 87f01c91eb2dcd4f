//! Identical requests at the same time: the first one asks, the others wait for its answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Questions under way.
#[derive(Debug, Default)]
pub struct Flights(Mutex<HashMap<String, watch::Receiver<State>>>);

#[derive(Debug, Clone)]
enum State {
    Waiting,
    /// The answer, as it is kept.
    Answered(Bytes),
    /// Whoever asked got an error, or an answer of its own.
    Alone,
    /// Whoever asked is gone.
    Gone,
}

/// What joining a flight came to.
#[derive(Debug)]
pub enum Joined {
    /// Nobody has asked yet: it is on this request to ask.
    First(Lead),
    /// Somebody had asked, and this came.
    Answer(Bytes),
    /// Somebody had asked, and nothing came that can be shared, or not in time.
    Nothing,
}

/// The duty to ask. Dropped without an answer, it goes to one of those that wait.
#[derive(Debug)]
pub struct Lead {
    flights: Arc<Flights>,
    key: String,
    state: watch::Sender<State>,
}

impl Flights {
    /// Asks for the answer to `key` together with whoever asks for it now; waits until `patience` is over.
    pub async fn join(self: &Arc<Self>, key: &str, patience: Duration) -> Joined {
        let until = Instant::now() + patience;
        loop {
            let mut others = {
                let mut flights = self.0.lock();
                match flights.get(key) {
                    Some(flight) => flight.clone(),
                    None => {
                        let (state, watched) = watch::channel(State::Waiting);
                        flights.insert(key.to_owned(), watched);
                        return Joined::First(Lead { flights: Arc::clone(self), key: key.to_owned(), state });
                    }
                }
            };
            let done = timeout_at(until, others.wait_for(|state| !matches!(state, State::Waiting))).await;
            let state = match done {
                Ok(Ok(state)) => state.clone(),
                Ok(Err(_)) => State::Gone,
                Err(_) => return Joined::Nothing,
            };
            match state {
                State::Answered(answer) => return Joined::Answer(answer),
                State::Alone => return Joined::Nothing,
                State::Waiting | State::Gone => {}
            }
        }
    }

    /// Questions under way.
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }
}

impl Lead {
    /// Hands the answer to all that wait.
    pub fn answered(&self, answer: Bytes) {
        self.state.send_replace(State::Answered(answer));
    }

    /// There is nothing to share: everybody asks for itself.
    pub fn alone(self) {
        self.state.send_replace(State::Alone);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flights.0.lock().remove(&self.key);
        self.state.send_if_modified(|state| {
            let is_waiting = matches!(state, State::Waiting);
            if is_waiting {
                *state = State::Gone;
            }
            is_waiting
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn first(flights: &Arc<Flights>) -> Lead {
        match flights.join("k", LONG).await {
            Joined::First(lead) => lead,
            other => panic!("{other:?}"),
        }
    }

    async fn waiting(flights: &Arc<Flights>, patience: Duration) -> tokio::task::JoinHandle<Joined> {
        let flights = Arc::clone(flights);
        let waiter = tokio::spawn(async move { flights.join("k", patience).await });
        tokio::task::yield_now().await;
        waiter
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_wait_get_the_answer_and_the_next_one_asks_again() {
        let flights = Arc::new(Flights::default());
        let lead = first(&flights).await;
        let waiter = waiting(&flights, LONG).await;
        lead.answered(Bytes::from_static(b"a"));
        // It stays while the answer is on its way into the cache.
        let Joined::Answer(late) = flights.join("k", LONG).await else { panic!() };
        drop(lead);
        let Joined::Answer(answer) = waiter.await.unwrap() else { panic!() };
        assert_eq!((&answer[..], &late[..]), (&b"a"[..], &b"a"[..]));
        assert_eq!(flights.count(), 0);
        assert!(matches!(flights.join("k", LONG).await, Joined::First(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_not_shared_and_a_client_that_leaves_hands_over() {
        let flights = Arc::new(Flights::default());
        let lead = first(&flights).await;
        let waiter = waiting(&flights, LONG).await;
        lead.alone();
        assert!(matches!(waiter.await.unwrap(), Joined::Nothing));
        let lead = first(&flights).await;
        let waiters = [waiting(&flights, LONG).await, waiting(&flights, LONG).await];
        drop(lead);
        // Whichever of them wakes first asks.
        let (next, _, mut others) = futures_util::future::select_all(waiters).await;
        let Joined::First(next) = next.unwrap() else { panic!() };
        next.answered(Bytes::from_static(b"b"));
        assert!(matches!(others.remove(0).await.unwrap(), Joined::Answer(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_beyond_its_patience() {
        let flights = Arc::new(Flights::default());
        let _lead = first(&flights).await;
        let start = Instant::now();
        assert!(matches!(flights.join("k", Duration::from_secs(3)).await, Joined::Nothing));
        assert_eq!(start.elapsed().as_secs(), 3);
    }
}
