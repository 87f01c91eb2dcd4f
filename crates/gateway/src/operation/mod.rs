//! What the data plane serves besides calls to models: one file per kind of operation.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use crate::body::Body;
use crate::call::Arrival;
use crate::gate::{Gate, Table};
use crate::pipeline::{authorised, read};
use crate::refusal::Refusal;
use crate::routes::{Found, Operation};

pub mod cache;
pub mod count;
pub mod explain;
pub mod health;
pub mod info;
pub mod models;
pub mod responses;
pub mod utils;

/// True for requests that go through the whole pipeline.
pub fn goes_to_models(found: &Found) -> bool {
    if found.operation == Operation::Gemini {
        return found.verb.as_deref() != Some("countTokens");
    }
    matches!(
        found.operation,
        Operation::ChatCompletions
            | Operation::TextCompletions
            | Operation::Responses
            | Operation::Messages
            | Operation::Converse
            | Operation::ConverseStream
            | Operation::Invoke
            | Operation::InvokeStream
            | Operation::Embeddings
            | Operation::Rerank
            | Operation::Transcriptions
    )
}

/// Serves an operation that calls no model.
///
/// # Errors
/// What the caller is to be told.
pub async fn serve<B>(
    gate: &Arc<Gate>,
    table: &Table,
    arrival: Arrival,
    body: B,
) -> Result<Response<Body>, Refusal>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let operation = arrival.found.operation;
    match operation {
        Operation::Liveliness => return Ok(health::liveliness(gate)),
        Operation::Readiness => return Ok(health::readiness(gate, table)),
        Operation::ProbeOptions => return Ok(health::options()),
        Operation::ModelHub => return Ok(info::hub(gate, table)),
        Operation::ModelHubInfo => return Ok(info::hub_info(table)),
        Operation::Drain => return health::drain(gate, table, &arrival.headers).await,
        Operation::Metrics => return health::metrics(gate, table, &arrival).await,
        _ => {}
    }
    let principal = authorised(gate, table, &arrival).await?;
    match operation {
        Operation::Models => Ok(models::list(gate, table, &principal, &arrival)),
        Operation::Model => models::one(table, &principal, &arrival),
        Operation::ModelInfo => info::deployments(gate, table, &principal, &arrival),
        Operation::ModelInfoPaged => info::page(table, &principal, &arrival),
        Operation::ModelGroupInfo => Ok(info::groups(gate, table, &principal, &arrival)),
        Operation::SupportedParams => utils::supported_params(table, &arrival),
        Operation::ResponseGet => responses::get(gate, &arrival),
        Operation::ResponseDelete => responses::delete(gate, &arrival),
        Operation::ResponseCancel => responses::cancel(gate, &arrival),
        Operation::ResponseInputItems => responses::input_items(gate, &arrival),
        Operation::Health => health::check(gate, table, &principal, &arrival).await,
        Operation::ReadinessDetails => health::details(gate, table, &principal),
        Operation::Backlog => health::backlog(gate, &principal),
        Operation::License => health::license(&principal),
        Operation::SharedHealth => health::shared_status(gate, table, &principal),
        Operation::HealthServices => health::services(&principal, &arrival),
        Operation::TestConnection => {
            let body = read(body, table).await?;
            health::test_connection(gate, table, &principal, &body).await
        }
        Operation::CachePing => cache::ping(gate, table, &principal).await,
        Operation::CacheFlush => cache::flush(gate, table, &principal).await,
        Operation::CacheServer => cache::server(gate, table, &principal).await,
        Operation::CacheDelete => {
            let body = read(body, table).await?;
            cache::delete(gate, table, &principal, &body).await
        }
        Operation::Gemini => {
            let body = read(body, table).await?;
            count::gemini(table, arrival, body).await
        }
        Operation::TokenCounter => {
            let body = read(body, table).await?;
            count::token_counter(table, &arrival, body).await
        }
        Operation::MessagesCountTokens => {
            let body = read(body, table).await?;
            count::messages(table, arrival, body).await
        }
        Operation::RouteExplain => {
            let body = read(body, table).await?;
            explain::route(gate, table, &principal, arrival, body).await
        }
        Operation::TransformRequest => {
            let body = read(body, table).await?;
            utils::transform_request(table, &arrival, body)
        }
        _ => Err(Refusal::NotImplemented(format!("{} is not supported yet", arrival.found.route))),
    }
}
