//! A deadline that keeps moving.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, Sleep, sleep_until};

/// Wakes a task when a deadline comes that moves later with every byte of a stream.
///
/// The timer is set for an old deadline and, when it fires too early, for the current one: a stream of a
/// thousand events touches it once per limit instead of twice per event.
#[derive(Debug, Default)]
pub struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom the timer would wake.
    waker: Option<Waker>,
}

impl Alarm {
    /// Ready once `at` has come; until then the task is woken no later than that.
    pub fn poll_at(&mut self, at: Instant, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if now >= at {
            return Poll::Ready(());
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
            self.waker = None;
        }
        loop {
            let is_set = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            if is_set && now < sleep.deadline() {
                return Poll::Pending;
            }
            if sleep.as_mut().poll(cx).is_pending() {
                self.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
            self.waker = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_last_deadline_told() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut alarm = Alarm::default();
        let mut deadline = start + second;
        // The deadline moves by half a second every quarter of one, for two seconds.
        for _ in 0..8 {
            let polled = poll_fn(|cx| Poll::Ready(alarm.poll_at(deadline, Instant::now(), cx))).await;
            assert!(polled.is_pending());
            tokio::time::advance(second / 4).await;
            deadline += second / 2;
        }
        poll_fn(|cx| alarm.poll_at(deadline, Instant::now(), cx)).await;
        assert_eq!(start.elapsed(), 5 * second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_nearer_counts() {
        let start = Instant::now();
        let mut alarm = Alarm::default();
        let far = start + Duration::from_secs(60);
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll_at(far, Instant::now(), cx))).await.is_pending());
        let near = start + Duration::from_secs(3);
        poll_fn(|cx| alarm.poll_at(near, Instant::now(), cx)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(3));
    }
}
