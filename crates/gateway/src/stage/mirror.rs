//! Copies of requests that go to other groups in the background (`silent_model`), to see how those would do.
//!
//! A copy is a request of its own: planned, paid by the same key, on record. Nobody waits for it, its answer is
//! dropped, and its failure is nobody's. Source: LiteLLM, `Router._silent_experiment_acompletion`.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use http_body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use faregate_terms::CallId;

use crate::body::Body;
use crate::call::{Arrival, Call};
use crate::gate::{Gate, Table};
use crate::refusal::Refusal;
use crate::stage::admit::Admitted;
use crate::stage::attempt::attempt;
use crate::stage::deliver::deliver;
use crate::stage::plan::{Planned, plan};
use crate::stage::reserve::reserve;
use crate::stage::send::Answer;

/// Copies under way at most, in each process. Further ones are left out.
const MOST: usize = 64;

/// Room for copies.
pub(crate) struct Copies(Arc<Semaphore>);

impl Default for Copies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

/// Sends a copy of the call to each group that its first deployment names, and does not wait for them.
pub(crate) fn send(
    gate: &Arc<Gate>,
    table: &Table,
    call: &Arc<Call>,
    planned: &Planned,
    admitted: &Admitted,
) {
    let Some(first) = planned.first() else { return };
    for group in &table.deployments[first].config.params.silent_models {
        let Ok(permit) = Arc::clone(&gate.copies.0).try_acquire_owned() else {
            gate.metrics.copied(group, "left_out");
            continue;
        };
        let (gate, copy) = (Arc::clone(gate), copy(gate, call, group, admitted));
        let (call, admitted) = copy;
        tokio::spawn(run(gate, call, admitted, permit));
    }
}

/// The copy as a request of its own, of the same caller.
fn copy(gate: &Gate, call: &Call, group: &str, admitted: &Admitted) -> (Arc<Call>, Box<Admitted>) {
    let id = CallId::from(Uuid::now_v7().to_string());
    let arrival = Arc::new(Arrival { id, own_id: None, at: Instant::now(), ..(*call.arrival).clone() });
    let call = Arc::new(call.copied(Arc::clone(&arrival), group));
    let mut copy = Admitted::new(Arc::clone(&gate.settler), admitted.principal.clone(), arrival);
    copy.meter.copy_of = Some(admitted.meter.arrival.id.clone());
    copy.meter.account.clone_from(&admitted.meter.account);
    group.clone_into(&mut copy.meter.requested_model);
    copy.meter.input_bytes = admitted.meter.input_bytes;
    copy.meter.stream = call.stream;
    (call, copy)
}

async fn run(gate: Arc<Gate>, call: Arc<Call>, mut admitted: Box<Admitted>, permit: OwnedSemaphorePermit) {
    let group = call.model.clone();
    let outcome = match answer(&gate, call, &mut admitted).await {
        Ok((call, answer)) => {
            let (response, recorded) = deliver(&call, admitted, answer);
            drain(response.into_body()).await;
            recorded.await;
            "answered"
        }
        Err(refusal) => {
            tracing::debug!(group, reason = %refusal, "a copy of a request was not answered");
            admitted.refused(&refusal);
            "failed"
        }
    };
    gate.metrics.copied(&group, outcome);
    drop(permit);
}

async fn answer(
    gate: &Arc<Gate>,
    call: Arc<Call>,
    admitted: &mut Admitted,
) -> Result<(Arc<Call>, Answer), Refusal> {
    let table = gate.table.load_full();
    let mut dice = gate.dice();
    let planned = plan(gate, &table, &call, admitted.asker(), &mut dice).await?;
    admitted.meter.group = Some(planned.resolved.group.clone());
    reserve(gate, &table, &call, &planned, admitted).await?;
    admitted.open();
    attempt(gate, &table, call, &planned, admitted, &mut dice).await
}

/// Reads an answer to its end.
async fn drain(mut body: Body) {
    while poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.is_some() {}
}
