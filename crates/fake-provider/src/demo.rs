//! The provider without a socket, for the gateway's demonstration model.

use bytes::Bytes;
use http::{Request, Response};

use crate::fault::FakeBody;

/// Answers one request in process. A model named `fake-demo` (or ending so) is the demonstration model.
///
/// The request needs what the dialect of its path needs; for `POST /v1/chat/completions` that is any bearer
/// token. Nothing is logged and nothing scripted; dropping the body stops the answer.
pub async fn answer(request: Request<Bytes>) -> Response<FakeBody> {
    let (head, body) = request.into_parts();
    crate::server::answer(None, &head, &body, None).await
}
