//! What the gateway itself contributes to an answer, and whole answers in the client's dialect.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use faregate_wire::chat::ChatResponse;
use faregate_wire::dialect::{Losses, Reply};

use crate::call::Call;

/// What the gateway contributes to an answer of `call`.
pub fn reply(call: &Call) -> Reply {
    Reply { request: call.request().unwrap_or_default(), ..bare_reply(call) }
}

/// The same without the request, which then need not be decoded: enough for errors and heartbeats.
pub(super) fn bare_reply(call: &Call) -> Reply {
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    Reply {
        id: call.arrival.id.as_str().replace('-', ""),
        model: call.model.clone(),
        created: i64::try_from(created).unwrap_or_default(),
        request: Arc::default(),
        alt_sse: call.alt_sse,
    }
}

/// Losses of rendering a whole answer.
pub fn render(call: &Call, response: &ChatResponse, losses: &mut Losses) -> Vec<u8> {
    call.client.encode(response, &reply(call), losses)
}
