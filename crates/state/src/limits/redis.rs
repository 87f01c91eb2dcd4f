//! The shared store of counters in Redis: one script decides.

use std::fmt::Write;
use std::time::Duration;

use futures_util::future::{BoxFuture, try_join, try_join_all};
use redis::Script;

use super::lease::{Answer, Exchange, History, Kind, SharedCounters, Statement, StoreError, WindowId};
use super::limit::Name;
use crate::redis::Redis;

/// Statements per run of the script: bounds the time that the server is busy with one.
const CHUNK: usize = 64;
/// Longest wait for one run; the caller has deadlines of its own.
const DEADLINE: Duration = Duration::from_secs(10);
/// Pico-dollars in a dollar: where an amount is cut in two for the script.
const UNIT: i128 = 1_000_000_000_000;
/// Dollars beyond this are as good as no limit; a Lua number still holds them exactly.
const MOST: i128 = 1_000_000_000_000_000 * UNIT;

/// Counters in Redis, Valkey, or a cluster of either.
#[derive(Debug)]
pub struct RedisCounters {
    redis: Redis,
    script: Script,
}

impl RedisCounters {
    /// Counters under the prefix of `redis`.
    pub fn new(redis: &Redis) -> Self {
        Self { redis: redis.another(), script: Script::new(include_str!("exchange.lua")) }
    }

    async fn chunk(&self, replica: &str, batch: &[Statement]) -> Result<Exchange, StoreError> {
        let mut call = self.script.prepare_invoke();
        for name in ["limits:replicas", "limits:wants", "limits:born"] {
            call.key(self.redis.key(name));
        }
        call.arg(replica);
        let mut name = String::new();
        for statement in batch {
            name.clear();
            // Writing to a string cannot fail.
            let _ = write!(name, "limits:c:{}", statement.name.as_str());
            call.key(self.redis.key(&name));
            for value in values(statement) {
                call.arg(value);
            }
        }
        let reply: (u8, u32, Vec<String>, Vec<String>) = self
            .redis
            .call(DEADLINE, async |mut connection| call.invoke_async(&mut connection).await)
            .await
            .map_err(|error| StoreError(error.to_string()))?;
        let (known, replicas, wanted, answers) = reply;
        let answers: Option<Vec<Answer>> = answers.iter().map(|line| answer(line)).collect();
        let answers = answers.ok_or_else(|| StoreError("an answer cannot be read".to_owned()))?;
        let wanted = wanted.into_iter().map(Name::new).collect();
        Ok(Exchange { answers, wanted, replicas: replicas.max(1), known: known == 1 })
    }
}

impl SharedCounters for RedisCounters {
    fn exchange<'a>(
        &'a self,
        replica: &'a str,
        batch: &'a [Statement],
    ) -> BoxFuture<'a, Result<Exchange, StoreError>> {
        Box::pin(async move {
            let (first, rest) = batch.split_at(batch.len().min(CHUNK));
            let rest = rest.chunks(CHUNK).map(|chunk| self.chunk(replica, chunk));
            // All at once, so that a server that is slow to answer is slow only once.
            let (mut all, rest) = try_join(self.chunk(replica, first), try_join_all(rest)).await?;
            for more in rest {
                all.answers.extend(more.answers);
                all.wanted = more.wanted;
                all.known &= more.known;
            }
            Ok(all)
        })
    }
}

/// The values of one statement, in the order of the script.
fn values(statement: &Statement) -> [String; 16] {
    let history = statement.history.unwrap_or(History { epoch: 0, base: 0, spent: 0 });
    let kind = match statement.kind {
        Kind::Budget => "budget",
        Kind::Rate => "rate",
        Kind::Parallel => "parallel",
    };
    let flag = match (statement.leave, statement.greedy) {
        (true, _) => "leave",
        (false, true) => "greedy",
        (false, false) => "",
    };
    [
        statement.name.as_str().to_owned(),
        kind.to_owned(),
        statement.seq.to_string(),
        text(statement.limit),
        statement.length_ms.to_string(),
        statement.window.ends_ms.to_string(),
        statement.window.reset_ms.to_string(),
        text(statement.spent),
        text(statement.held),
        text(statement.keep),
        text(statement.need),
        flag.to_owned(),
        text(statement.seed),
        history.epoch.to_string(),
        text(history.base),
        text(history.spent),
    ]
}

fn text(amount: i128) -> String {
    let amount = amount.clamp(-MOST, MOST);
    format!("{}:{}", amount.div_euclid(UNIT), amount.rem_euclid(UNIT))
}

fn amount(text: &str) -> Option<i128> {
    let (dollars, pico) = text.split_once(':')?;
    dollars.parse::<i128>().ok()?.checked_mul(UNIT)?.checked_add(pico.parse().ok()?)
}

fn answer(line: &str) -> Option<Answer> {
    let mut words = line.split(' ');
    let mut next = || words.next();
    Some(Answer {
        window: WindowId { ends_ms: next()?.parse().ok()?, reset_ms: next()?.parse().ok()? },
        left_ms: next()?.parse().ok()?,
        own_spent: amount(next()?)?,
        allowance: amount(next()?)?,
        fair: amount(next()?)?,
        others_spent: amount(next()?)?,
        others_held: amount(next()?)?,
        others_slack: amount(next()?)?,
        base: amount(next()?)?,
        epoch: next()?.parse().ok()?,
        young: next()? == "young",
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn amounts_survive_the_way_to_the_script_and_back(value in -MOST..MOST) {
            prop_assert_eq!(amount(&text(value)), Some(value));
        }
    }
}
