//! Vectors of texts for the gateway's own use, made by a model group of its own.
//!
//! Each is a request of its own: planned with retries and fallbacks, paid by whoever's request it is made for, on
//! record. It counts in budgets, not in rates of requests: nobody asked for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use serde_json::json;
use uuid::Uuid;

use faregate_terms::{CallId, Fault, FaultClass};
use faregate_wire::json;
use faregate_wire::task::embedding::Embeddings;

use crate::call::{Arrival, Call};
use crate::gate::{Gate, Table};
use crate::refusal::Refusal;
use crate::routes::{Found, Operation};
use crate::stage::admit::Admitted;
use crate::stage::attempt::attempt;
use crate::stage::decode::decode;
use crate::stage::deliver::deliver;
use crate::stage::plan::{Asker, plan};
use crate::stage::reserve::reserve;
use crate::stage::send::Answer;

const ROUTE: &str = "/v1/embeddings";

/// The vectors of `texts` by the model group `model`, within so much time, on account of `asker`'s request.
///
/// # Errors
/// What keeps the group from answering.
pub(crate) async fn vectors(
    gate: &Arc<Gate>,
    table: &Table,
    model: &str,
    texts: &[String],
    within: Duration,
    asker: Asker<'_>,
) -> Result<Vec<Vec<f32>>, Refusal> {
    let late = || {
        let text = format!("`{model}` gave no vectors within {} s", within.as_secs_f64());
        Refusal::upstream(Fault::new(FaultClass::Timeout, text), "")
    };
    // Boxed: a request carries no room for another one.
    let asked: BoxFuture<'_, _> = Box::pin(ask(gate, table, model, texts, within, asker));
    let body = tokio::time::timeout(within, asked).await.map_err(|_| late())??;
    let unreadable = |error: faregate_wire::dialect::Malformed| {
        Refusal::upstream(Fault::new(FaultClass::BadGateway, error.to_string()), "")
    };
    let vectors = Embeddings::read(&body).and_then(|answer| answer.numbers()).map_err(unreadable)?;
    if vectors.len() != texts.len() {
        let text = format!("`{model}` gave {} vectors for {} texts", vectors.len(), texts.len());
        return Err(Refusal::upstream(Fault::new(FaultClass::BadGateway, text), ""));
    }
    Ok(vectors)
}

async fn ask(
    gate: &Arc<Gate>,
    table: &Table,
    model: &str,
    texts: &[String],
    within: Duration,
    asker: Asker<'_>,
) -> Result<Bytes, Refusal> {
    let arrival = Arc::new(Arrival {
        id: CallId::from(Uuid::now_v7().to_string()),
        own_id: None,
        at: Instant::now(),
        found: Found { operation: Operation::Embeddings, route: ROUTE, subject: None, verb: None },
        headers: HeaderMap::new(),
        query: None,
        client_ip: None,
    });
    let body = Bytes::from(json::write(&json!({"model": model, "input": texts})));
    let principal = asker.principal.clone();
    let mut admitted = Admitted::new(Arc::clone(&gate.settler), principal, Arc::clone(&arrival));
    admitted.meter.account.clone_from(asker.account);
    admitted.meter.is_ours = true;
    model.clone_into(&mut admitted.meter.requested_model);
    admitted.meter.input_bytes = body.len() as u64;
    let mut call = decode(arrival, body, false)?;
    call.options.timeout = Some(within);
    match answer(gate, table, Arc::new(call), &mut admitted).await {
        Ok((call, answer)) => {
            let body = match &answer {
                Answer::Same { body, .. } | Answer::Made { body, .. } => body.clone(),
                Answer::Translated { .. } | Answer::Stream { .. } | Answer::Cached(_) => Bytes::new(),
            };
            let (_, recorded) = deliver(&call, admitted, answer);
            recorded.await;
            Ok(body)
        }
        Err(refusal) => {
            admitted.refused(&refusal);
            Err(refusal)
        }
    }
}

async fn answer(
    gate: &Arc<Gate>,
    table: &Table,
    call: Arc<Call>,
    admitted: &mut Admitted,
) -> Result<(Arc<Call>, Answer), Refusal> {
    let mut dice = gate.dice();
    let planned = plan(gate, table, &call, admitted.asker(), &mut dice).await?;
    admitted.meter.group = Some(planned.resolved.group.clone());
    reserve(gate, table, &call, &planned, admitted).await?;
    admitted.open();
    attempt(gate, table, call, &planned, admitted, &mut dice).await
}
