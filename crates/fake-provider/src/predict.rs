//! Predictions: a generation that is made by one request and fetched or streamed by others.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use crate::clock::now;
use crate::dialect::Head;
use crate::dialect::replicate::{self, Wish};
use crate::failure::{Class, Failure};
use crate::fault::{FakeBody, Step};
use crate::log::Tracked;
use crate::reply::compose;
use crate::route::PREDICTIONS;
use crate::scenario::Scenario;
use crate::server::{json_response, refused, understand};
use crate::store::Prediction;

/// Makes a prediction.
pub(crate) async fn create(
    head: &Head<'_>,
    scripted: Option<Scenario>,
    tracked: Option<Tracked>,
) -> Response<FakeBody> {
    let refuse = |failure: &Failure, tracked| refused(PREDICTIONS.refuse(head, failure), tracked);
    let (ask, scenario) = match understand(PREDICTIONS, head, scripted) {
        Ok(understood) => understood,
        Err(failure) => return refuse(&failure, tracked),
    };
    let Some(store) = head.store else { return refuse(&Failure::new(Class::NotFound), tracked) };
    if !scenario.faults.first_byte.is_zero() {
        tokio::time::sleep(scenario.faults.first_byte).await;
    }
    let outcome = match compose(&ask, &scenario, &PREDICTIONS.style()) {
        Ok(reply) => Ok(reply),
        // What the model itself refuses is a failed prediction; the rest is refused at once.
        Err(failure) if matches!(failure.class, Class::Context | Class::Policy) => {
            Err(failure.text(|| "The model refused this prompt (E005)".to_owned()))
        }
        Err(failure) => return refuse(&failure, tracked),
    };
    let input = serde_json::from_slice::<serde_json::Value>(head.body).unwrap_or_default()["input"].take();
    let id = ask.id.clone();
    let mut prediction =
        Prediction { ask, scenario, outcome, input, polls: 0, canceled: false, created: now() };
    let (status, body) = replicate::created(head.headers, &id, &mut prediction);
    store.keep_prediction(id, prediction);
    json_response(status, &body, tracked)
}

/// Fetches, cancels or streams a prediction.
pub(crate) fn proceed(head: &Head<'_>, wish: Wish, id: &str, tracked: Option<Tracked>) -> Response<FakeBody> {
    if let Err(failure) = PREDICTIONS.authorize(head) {
        return refused(PREDICTIONS.refuse(head, &failure), tracked);
    }
    let steps = head.store.filter(|_| wish == Wish::Stream);
    if let Some(steps) = steps.and_then(|store| store.predictions.lock().get(id).map(events)) {
        let mut response = Response::new(FakeBody::steps(steps, tracked));
        let kind = HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        return response;
    }
    match head.store.and_then(|store| replicate::proceed(store, head.headers, wish, id)) {
        Some(object) => json_response(StatusCode::OK, &object, tracked),
        None => refused(PREDICTIONS.refuse(head, &Failure::new(Class::NotFound)), tracked),
    }
}

fn events(prediction: &Prediction) -> Vec<Step> {
    let broken = || PREDICTIONS.broken(&prediction.ask);
    match &prediction.outcome {
        Ok(reply) => {
            let frames = PREDICTIONS.frames(&prediction.ask, reply);
            prediction.scenario.faults.steps(frames, broken, PREDICTIONS.garbage())
        }
        Err(_) => vec![Step::Send(broken())],
    }
}
