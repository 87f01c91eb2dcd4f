//! One call to one deployment, outside of any plan: nobody retries it, and nothing follows from its failure.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;

use crate::call::Call;
use crate::destination::Destination;
use crate::gate::{Deployment, Table};
use crate::refusal::Refusal;
use crate::stage::admit::{Admitted, How};
use crate::stage::deliver::deliver;
use crate::stage::mock;
use crate::stage::send::{Answer, send};

/// Makes the call, books it, and returns the provider's headers; the answer itself is of no interest.
///
/// # Errors
/// The provider's failure, or what keeps this call from being made to it.
pub(crate) async fn single(
    table: &Table,
    call: &Arc<Call>,
    deployment: &Deployment,
    destination: &Arc<Destination>,
    mut admitted: Box<Admitted>,
) -> Result<HeaderMap, Refusal> {
    admitted.open();
    let since = Instant::now();
    let outcome = match mock::of(call, deployment, &admitted.principal) {
        Some(mock) => mock::answer(table, call, destination, mock, call.options.timeout).await,
        None => send(table, call, destination, None, &mut admitted.meter, call.options.timeout).await,
    };
    match outcome {
        Ok(answer) => {
            admitted.attempted(destination, since, How::Answered);
            admitted.meter.destination = Some(Arc::clone(destination));
            let headers = match &answer {
                Answer::Same { headers, .. }
                | Answer::Translated { headers, .. }
                | Answer::Made { headers, .. }
                | Answer::Stream { headers, .. } => headers.clone(),
                Answer::Cached(_) => HeaderMap::new(),
            };
            let (_, recorded) = deliver(call, admitted, answer);
            recorded.await;
            Ok(headers)
        }
        Err(refusal) => {
            if let Refusal::Upstream { fault, .. } = &refusal {
                admitted.attempted(destination, since, How::Failed { fault, own: true });
                admitted.meter.destination = Some(Arc::clone(destination));
            }
            admitted.refused(&refusal);
            Err(refusal)
        }
    }
}
